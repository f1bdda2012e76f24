"""Widths against annotators: labels are read and reduced, their spread is known, and outcomes follow the numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trigpoint.config import to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments import Request, Study, run_study
from trigpoint.experiments.annotators import Annotators, read_labels
from trigpoint.experiments.measures import Job, Outcome
from trigpoint.runs import RunFolder

NAMES = ["a", "b", "c", "d", "e", "f"]
APART = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0])  # SD of the annotators, px in x; none in y
WITHIN = (20.0, 60.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 100 x 80 pixels of 0.5 mm, a bright spot where landmark a is, two annotators who differ in x."""
    root = tmp_path_factory.mktemp("set")
    (root / "images").mkdir()
    rng, rows = np.random.default_rng(0), {"ann": [], "ben": []}
    for i in range(24):
        points = rng.uniform(*WITHIN, (len(NAMES), 2)).round()
        y, x = np.mgrid[:80, :100]
        spot = np.exp(-((x - points[0, 0]) ** 2 + (y - points[0, 1]) ** 2) / 18)
        Image.fromarray((255 * spot).round().astype(np.uint8)).save(root / "images" / f"{i:02d}.png")
        about = {"image": f"{i:02d}.png", "split": "train" if i < 16 else "test1", "subject": f"{i:02d}"}
        for way, name in zip((-1, 1), rows, strict=True):
            moved = points + np.stack([way * APART / np.sqrt(2), 0 * APART], axis=1)
            rows[name].append(
                about | {f"{n}_{c}": v for n, p in zip(NAMES, moved, strict=True) for c, v in zip("xy", p, strict=True)}
            )
    tables = {name: pd.DataFrame(each) for name, each in rows.items()}
    for name, table in tables.items():
        table.to_csv(root / f"{name}.csv", index=False)
    tables["ann"].to_csv(root / "landmarks.csv", index=False)
    pd.concat([table.assign(annotator=name) for name, table in tables.items()]).to_csv(root / "all.csv", index=False)
    (root / "dataset.yaml").write_text(
        to_yaml({"name": "set", "images": "images", "table": "landmarks.csv", "landmarks": NAMES, "spacing_mm": 0.5})
    )
    return root


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Study]) -> Study:
    recipe = {
        "extends": "adaloss-catheter",
        "data": {"workers": 0},
        "method": {
            "network": {"width": 2, "depth": 2},
            "schedule": {"rule": "paced", "sigma0": 4.0, "sigma_min": 0.3, "every": 1},
        },
        "train": {"batch_size": 8},
    }
    return tiny("adaloss-annotators", recipe=recipe, values={"mm_per_pixel": 1.0, "steps": 4}, seeds=(0,))


def request(out: Path, root: Path, tables: str) -> Request:
    return Request("adaloss-annotators", out, data=root, options={"tables": tables})


def test_every_image_is_shown_with_the_labels_of_each_annotator(root: Path, tmp_path: Path, small: Study) -> None:
    made = Annotators(small, request(tmp_path / "out", root, "all.csv"))
    made.prepare()
    assert made.human == pytest.approx(0.5 * APART / np.sqrt(2))  # of x and y together, in mm
    data = LandmarkDataset.load(made.folder)
    assert data.splits() == {"train": 32, "test": 16}
    assert len({sample.subject for sample in data.samples}) == 24
    first, second = data.samples[:2]
    assert (first.image.name, second.image.name) == ("00-ann.png", "00-ben.png")
    assert np.array_equal(data.read(0).pixels, data.read(1).pixels)
    gaps = second.points - first.points
    assert gaps[:, 0] == pytest.approx(APART * np.sqrt(2) / 2)  # two old pixels are a new one
    middle = (first.points[0] + second.points[0]) / 2  # the image and its labels moved alike
    values = data.read(0).pixels.squeeze().astype(float)
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    assert np.hypot(*(middle - [(x * values).sum() / values.sum(), (y * values).sum() / values.sum()])) < 0.1
    kept = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*.png")}
    Annotators(small, request(tmp_path / "out", root, "all.csv")).prepare()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_table_for_each_annotator_is_the_same_as_one_with_a_column(root: Path) -> None:
    one, two = read_labels(root, ["all.csv"]), read_labels(root, ["ann.csv", "ben.csv"])
    assert [each.annotator for each in one] == [each.annotator for each in two] == ["ann", "ben"]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.data.points, b.data.points)


def test_tables_that_do_not_belong_together_are_refused(root: Path, tmp_path: Path, small: Study) -> None:
    with pytest.raises(DataError, match=r"nobody\.csv: expected a table of labels, got no such file"):
        read_labels(root, ["nobody.csv"])
    with pytest.raises(ConfigError, match=r"expected the labels of two annotators or more, got ann\.csv"):
        Annotators(small, request(tmp_path / "out", root, "ann.csv")).prepare()
    table = pd.read_csv(root / "ann.csv")
    table.rename(columns={"a_x": "z_x", "a_y": "z_y"}).to_csv(root / "other.csv", index=False)
    with pytest.raises(DataError, match="expected tables of the same landmarks, got others from other"):
        read_labels(root, ["ann.csv", "other.csv"])


def test_the_study_trains_and_tells(root: Path, tmp_path: Path, small: Study) -> None:
    found = run_study(small, request(tmp_path / "out", root, "ann.csv,ben.csv"))
    assert "16 training images, 6 landmarks, 2 annotators (ann, ben)" in found.setting
    assert "at least a pixel for 4 of 6 landmarks" in found.setting
    assert [row["landmark"] for row in found.tables[2].rows] == NAMES  # by spread
    assert len(found.claims) == 2
    assert (tmp_path / "out" / "annotators.png").stat().st_size > 2000


@pytest.mark.parametrize(
    ("widths", "outcomes"),
    [
        (0.5 * APART / np.sqrt(2), ["holds", "holds"]),
        (3 * APART, ["holds", "fails"]),
        (3 - 0.3 * APART, ["fails", "fails"]),
        (np.full(6, 0.3), ["not testable", "not testable"]),  # at the clamp
    ],
)
def test_outcomes_follow_the_widths(
    root: Path, tmp_path: Path, small: Study, widths: np.ndarray, outcomes: list[str]
) -> None:
    made = Annotators(small, request(tmp_path / "out", root, "all.csv"))
    made.prepare()
    history = pd.DataFrame({f"sigma_{name}": [4.0, 2.0, width] for name, width in zip(NAMES, widths, strict=True)})
    run = RunFolder(tmp_path / "run")
    run.folder.mkdir()
    run.config.write_text(to_yaml({"method": {"schedule": {"sigma_min": 0.3}}}))
    errors = np.ones(made.test.points.shape[:2])
    done = Outcome(Job("paced", {}, {}, 0), run, made.test.points, errors, history, constant=9.0, test=made.test)
    made.runs = {"paced": [done]}
    assert [claim.outcome for claim in made.claims()] == outcomes
    made.runs, made.errors = {"paced": [done]}, {"paced": [errors * 10]}  # worse than a constant answer
    assert {claim.outcome for claim in made.claims()} == {"not testable"}
