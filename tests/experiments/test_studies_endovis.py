"""The experiment ``endovis`` and its stand-ins: data, tables, and what it says when frames are missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments import Request, Study, load_study, run_study
from trigpoint.experiments.endovis import GAP, Endovis, with_validation
from trigpoint.landmarks import LandmarkSet, Sample
from trigpoint.synthetic import write_instruments

STUDY = load_study("endovis")
RECIPE = {
    "extends": "instances",
    "data": {"input": {"size": [48, 64]}, "workers": 0},
    "method": {"network": {"width": 4, "depth": 2, "stem_stride": 1}},
    "train": {"epochs": 2, "accelerator": "cpu", "threads": 1, "precision": "32"},
}
ADALOSS = {"name": "adaloss", "sigma0": 4.0, "sigma_min": 2.2}
FIXED = {"name": "fixed", "sigma0": 3.0}


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Study]) -> Study:
    vary = ({"adaloss": {"method.schedule": ADALOSS}, "fixed": {"method.schedule": FIXED}},)
    return tiny("endovis", recipe=RECIPE, draw={"images": 24, "size": [48, 64]}, vary=vary)


def request(out: Path, data: Path | None = None, **options: str) -> Request:
    return Request("endovis", out, data=data, options=options)


def video(frames: int, subject: str = "video1", split: str = "train") -> list[Sample]:
    """Two instances in each frame; every fourth frame has none."""
    samples = []
    for index in range(frames):
        about = {"image": Path(f"{split}_{subject}_{index:03d}.png"), "split": split, "subject": subject}
        for name in ("1", "2") if index % 4 else ("",):
            points = np.full((1, 2), float(index)) if name else np.full((1, 2), np.nan)
            samples.append(Sample(points=points, visibility=np.array([2 if name else -1]), instance=name, **about))
    return samples


def test_validation_is_the_end_of_each_video_after_a_gap() -> None:
    data = LandmarkDataset(
        [*video(40), *video(80, "video2"), *video(8, "video1", "test")], LandmarkSet(("tip",)), instances=True
    )
    made = with_validation(data)
    for subject, frames, held in (("video1", 40, 6), ("video2", 80, 12)):
        learned = [int(s.image.stem[-3:]) for s in made.only("train").samples if s.subject == subject]
        chosen = [int(s.image.stem[-3:]) for s in made.only("val").samples if s.subject == f"{subject} (end)"]
        assert sorted(set(learned)) == list(range(frames - held - GAP))
        assert sorted(set(chosen)) == list(range(frames - held, frames))
    parts = {split: {s.subject for s in made.only(split).samples} for split in ("train", "val", "test")}
    assert parts["test"] == {"video1 (test)"}
    assert not parts["train"] & (parts["val"] | parts["test"])
    assert len(made.only("train").samples) == sum(
        2 if int(i) % 4 else 1 for n in (24, 58) for i in range(n)
    )  # all instances of each image
    assert with_validation(made) is made
    with pytest.raises(DataError, match=r"more than 12 training images of 'video1', got 12"):
        with_validation(LandmarkDataset([*video(12), *video(3, "x", "test")], LandmarkSet(("tip",)), instances=True))


def test_drawn_instruments_end_to_end(tmp_path: Path, small: Study) -> None:
    out = tmp_path / "out"
    asked = request(out, stand_in="synthetic")
    found = run_study(small, asked)
    values = json.loads((out / "results.json").read_text())
    assert [run["setting"] for run in values["runs"]] == ["adaloss", "fixed"]
    titles = [table.title for table in found.tables]
    assert any(title.startswith("Test images: no scissors") for title in titles)
    assert any(title.startswith("Test images: with scissors") for title in titles)
    assert titles[-1] == "Scissors taken for a known instrument"
    rows = found.tables[0].rows
    assert {row["counting"] for row in rows} == {"strict", "lenient"}
    assert {row["landmark"] for row in rows} == {"left_clasper", "right_clasper", "joint", "shaft", "all together"}
    claims = {claim.text: claim for claim in found.claims}
    assert len(claims) == 2
    assert {claim.outcome for claim in claims.values()} == {"not testable"}  # two epochs find nothing
    assert "paper 96.56 and 92.16 %" in list(claims.values())[1].numbers
    assert {"precision_recall.png", "instances.png", "table.md"} <= {path.name for path in out.iterdir()}
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("weights.safetensors")}
    assert len(before) == 2
    run_study(small, asked)  # finished runs are only read
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_labelled_video_stands_in(tmp_path: Path, small: Study) -> None:
    drawn = write_instruments(tmp_path / "video", 44, (48, 64), splits={"train": 0.8, "test": 0.2}, per_subject=44)
    whole = LandmarkDataset.load(drawn)
    samples = [
        replace(whole.samples[row], split="train" if i < 34 else "test", subject="video1")
        for i, rows in enumerate(whole.by_image())
        for row in rows
    ]
    LandmarkDataset(samples, whole.landmarks, name="video", images=whole.images, instances=True).save(
        tmp_path / "set", images="link"
    )
    found = run_study(small, request(tmp_path / "out", tmp_path / "set", stand_in="laparoscopy"))
    assert "19 training, 5 validation and 10 test images" in found.setting
    assert "not how the method fares with new patients" in found.setting
    assert [table.title for table in found.tables] == [
        "Test images: all (10)",
        "Nearness: F1 with wider matching radii",
    ]
    near = found.tables[1].rows
    assert len(near) == 2 * len({row["landmark"] for row in near})
    for row in near:
        shares = [float(row[f"F1 % within {times} x"]) for times in (1, 2, 3)]
        assert shares == sorted(shares)
    assert len(found.claims) == 1
    linked = LandmarkDataset.load(tmp_path / "out" / "data")
    assert linked.samples[0].image.resolve() == samples[0].image.resolve()


def write_labels(root: Path, sequences: tuple[str, ...], frames: int) -> None:
    for name in sequences:
        kind = "Training" if name.startswith("train") else "Testing"
        entries = [
            {
                "filename": f"/home/me/Tracking_Robotic_{kind}/{name}/img_{index:04d}.png",
                "annotations": [
                    {"class": joint, "id": "tool1", "x": 300 + index, "y": 200 + 40 * k}
                    for k, joint in enumerate(("LeftClasperPoint", "RightClasperPoint", "HeadPoint"))
                ],
            }
            for index in range(frames)
        ]
        (root / f"{name}_labels.json").write_text(json.dumps(entries))


def test_missing_frames_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    out, root = tmp_path / "out", tmp_path / "endovis"
    with pytest.raises(ConfigError, match=r"no --data; .*stand_in=synthetic"):
        run_study(STUDY, request(out))
    root.mkdir()
    with pytest.raises(DataError, match=r"label files \*_labels\.json, got none"):
        run_study(STUDY, request(out, root))
    write_labels(root, ("train1", "test1", "test5"), 16)
    with pytest.raises(
        DataError, match=r"expected 48 annotated frames, 48 of them are missing, such as .*img_0000\.png"
    ):
        run_study(STUDY, request(out, root))
    assert not out.exists()


def test_the_challenge_in_its_parts(tmp_path: Path) -> None:
    root = tmp_path / "endovis"
    root.mkdir()
    write_labels(root, ("train1", "test1", "test5"), 16)
    for name in ("train1", "test1", "test5"):
        kind = "Training" if name.startswith("train") else "Testing"
        for index in range(16):
            file = root / f"Tracking_Robotic_{kind}" / name / f"img_{index:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (720, 576)).save(file)
    found = Endovis(STUDY, request(tmp_path / "out", root))
    found.prepare()
    assert {name: len(rows) for name, rows in found.subsets.items()} == {
        "no scissors": 16,
        "with scissors": 16,
        "all": 32,
    }
    assert found.test.landmarks.names == ("LeftClasperPoint", "RightClasperPoint")
    written = LandmarkDataset.load(found.folder)
    assert written.splits() == {"train": 4, "val": 2, "test": 32}
    for part, subject in (("no scissors", "test1"), ("with scissors", "test5")):
        images = found.test.by_image()
        assert {found.test.samples[images[i][0]].subject for i in found.subsets[part]} == {subject}


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assert list(STUDY.choices) == ["stand_in", "tools"]
    with pytest.raises(ConfigError, match=r"stand_in: unknown value 'synthetics'.*synthetic"):
        run_study(STUDY, request(tmp_path / "out", stand_in="synthetics"))
    with pytest.raises(ConfigError, match="tools: is of the EndoVis labels"):
        run_study(STUDY, request(tmp_path / "out", stand_in="synthetic", tools="all"))
    with pytest.raises(ConfigError, match="draws its own images, got --data"):
        run_study(STUDY, request(tmp_path / "out", tmp_path, stand_in="synthetic"))
    with pytest.raises(ConfigError, match="stand_in=laparoscopy expected a native set"):
        run_study(STUDY, request(tmp_path / "out", stand_in="laparoscopy"))
