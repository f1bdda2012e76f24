"""300-W and its stand-in on a few drawn faces in 300-W's own folders: layout, crops, tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from trigpoint.data import LandmarkDataset
from trigpoint.data.formats.pts import Pts
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments import Request, Study, baseline, faces, load_study, run_study
from trigpoint.experiments.faces import MARGIN, Faces300W, crop_face, read_parts, write_crops
from trigpoint.landmarks import FloatArray, LandmarkSet

VALUES = load_study("adaloss-300w").values
COUNTS, LANDMARKS = VALUES["counts"], LandmarkSet.from_dict(VALUES["landmarks"])
PER_FOLDER = dict.fromkeys(COUNTS, 4)
RECIPE = {
    "data": {"input": {"size": [32, 32]}, "workers": 0},
    "method": {"network": {"name": "res_unet", "width": 4, "max_width": 8}, "schedule": {"sigma_min": 1.0}},
    "train": {"batch_size": 6},
}


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Study]) -> Callable[..., Study]:
    """A study of faces with a tiny network, so many epochs, and so many images expected in each folder of 300-W."""

    def make(name: str, epochs: int, **counts: int) -> Study:
        recipe = {**RECIPE, "extends": name, "train": {**RECIPE["train"], "epochs": epochs}}
        return tiny(name, recipe=recipe, about="a tiny network", study_values={"counts": {**PER_FOLDER, **counts}})

    return make


def shape() -> FloatArray:
    """68 points of a face about (0, 0), one unit wide, left and right where the names say."""
    jaw = [(-0.5 * np.cos(t), 0.1 + 0.5 * np.sin(t)) for t in np.linspace(0, np.pi, 17)]
    brows = [(x, -0.3) for x in (*np.linspace(-0.4, -0.1, 5), *np.linspace(0.1, 0.4, 5))]
    nose = [(0.0, y) for y in np.linspace(-0.2, 0.1, 4)] + [(x, 0.15) for x in np.linspace(-0.1, 0.1, 5)]
    turn = np.linspace(0, 2 * np.pi, 7)[:6]
    eyes = [(s * 0.22 - 0.08 * np.cos(t), -0.2 - 0.03 * np.sin(t)) for s in (-1, 1) for t in turn]
    mouth = [(-0.18 * np.cos(t), 0.35 - 0.07 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 13)[:12]]
    lips = [(-0.12 * np.cos(t), 0.35 - 0.03 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 9)[:8]]
    return np.array([*jaw, *brows, *nose, *eyes, *mouth, *lips])


def draw(points: FloatArray, size: tuple[int, int], tip: int = 30) -> Image.Image:
    """A Gaussian spot of 4 px at one landmark on black."""
    y, x = np.mgrid[: size[0], : size[1]]
    spot = np.exp(-((x - points[tip, 0]) ** 2 + (y - points[tip, 1]) ** 2) / 32)
    return Image.fromarray(np.repeat((255 * spot).round().astype(np.uint8)[..., None], 3, axis=2))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("300w")
    rng = np.random.default_rng(0)
    for folder, count in PER_FOLDER.items():
        (root / folder).mkdir(parents=True)
        for i in range(count):
            size = (int(rng.integers(150, 220)), int(rng.integers(150, 260)))
            points = shape() * rng.uniform(80, 110) + np.array(size[::-1]) / 2 + rng.normal(0, 5, 2)
            name = "image_092 _01" if folder == "ibug" and i == 0 else f"face_{i}"  # IBUG has this name with a space
            draw(points, size).save(root / folder / f"{name}.png")
            rows = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points)  # .pts counts from 1
            text = f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n"
            (root / folder / f"{name}.pts").write_text(text)
    return root


@pytest.fixture(scope="module")
def crops(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops") / "data"
    write_crops(read_parts(tree, LANDMARKS.names, COUNTS), VALUES["splits"], LANDMARKS, folder)
    return folder


def test_the_landmark_set_mirrors_onto_itself() -> None:
    """Each pair is a mirror image in a symmetric face, each point in the middle has no partner, groups cover all."""
    points = shape()
    order = LANDMARKS.flip_permutation()
    mirrored = points[order] * [-1, 1]
    np.testing.assert_allclose(mirrored[:48], points[:48], atol=1e-9)
    assert len(LANDMARKS.pairs) == 29
    assert sorted(name for members in LANDMARKS.groups.values() for name in members) == list(LANDMARKS.names)


def test_counts_of_the_paper() -> None:
    assert sum(COUNTS[f] for f in ("afw", "helen/trainset", "lfpw/trainset")) == 3148
    assert COUNTS["helen/testset"] + COUNTS["lfpw/testset"] == 554
    assert list(VALUES["splits"]) == list(COUNTS)


def test_everything_that_is_missing_is_listed_at_once(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "300w"
    shutil.copytree(tree, root)
    shutil.rmtree(root / "lfpw" / "testset")
    (root / "afw" / "face_2.png").unlink()
    (root / "ibug" / "image_092 _01.png").unlink()
    with pytest.raises(DataError) as error:
        read_parts(root, LANDMARKS.names, COUNTS)
    for text in ("lfpw/testset/ (expected 224 images", "image of afw/face_2.pts", "image of ibug/image_092 _01.pts"):
        assert text in str(error.value)
    assert "helen" not in str(error.value)
    with pytest.raises(DataError, match="expected the folder of 300-W, got none"):
        read_parts(tmp_path / "nowhere", LANDMARKS.names, COUNTS)


def test_a_crop_moves_image_and_points_by_the_same_map(tree: Path) -> None:
    for sample in Pts(LANDMARKS.names).read(tree / "helen" / "trainset").samples:
        png, points = crop_face(sample)
        (target := tree.parent / "crop.png").write_bytes(png)
        values = np.asarray(Image.open(target), dtype=float)[..., 0]
        assert values.shape == (256, 256)
        y, x = np.mgrid[:256, :256]
        centroid = np.array([(x * values).sum(), (y * values).sum()]) / values.sum()
        assert np.abs(centroid - points[30]).max() < 0.1
        extent = points.max(axis=0) - points.min(axis=0)
        assert extent.max() == pytest.approx(256 / (1 + 2 * MARGIN))
        np.testing.assert_allclose((points.max(axis=0) + points.min(axis=0)) / 2, 127.5)


def test_the_crops_are_a_native_dataset_and_made_once(tree: Path, tmp_path: Path, small: Callable[..., Study]) -> None:
    request = Request("adaloss-300w", tmp_path / "out", data=tree, options={"dlib": "no"})
    crops = tmp_path / "out" / "data"

    def prepared() -> dict[Path, int]:
        Faces300W(small("adaloss-300w", 1), request).prepare()
        return {path: path.stat().st_mtime_ns for path in crops.rglob("*.png")}

    before = prepared()
    data = LandmarkDataset.load(crops)
    assert data.splits() == {"train": 12, "common": 8, "challenging": 4}
    assert data.landmarks == LANDMARKS
    assert "ibug-image_092__01.png" in {sample.image.name for sample in data.samples}
    assert prepared() == before
    (crops / "prepared.yaml").unlink()  # as an interrupted preparation leaves it
    assert prepared() != before
    assert LandmarkDataset.load(crops).splits() == data.splits()


def test_300w_prints_table_three_with_our_row(tree: Path, tmp_path: Path, small: Callable[..., Study]) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    request = Request("adaloss-300w", out, data=tree, say=said.append, options={"dlib": "no"})
    findings = run_study(small("adaloss-300w", 1, afw=337), request)
    assert findings.warnings == ["afw: expected 337 images, got 4"]
    assert "warning: afw: expected 337 images, got 4" in said
    rows = {row["method"]: row for row in findings.tables[0].rows}
    assert rows["SAN"]["full"] == "3.98"
    assert rows["LBF"]["normaliser"] == "inter-pupil"
    ours = rows["Adaloss, bounded (this run)"]
    common, challenging, full = (float(ours[part]) for part in faces.SETS)
    assert full == pytest.approx((8 * common + 4 * challenging) / 12, abs=0.02)
    assert [claim.outcome for claim in findings.claims] == ["not testable"] * 4
    assert "sigma never left its upper bound, 2 map px" in findings.claims[3].numbers
    assert [row["region"] for row in findings.tables[1].rows] == ["jaw", "brows", "nose", "eyes", "mouth"]
    assert "a tiny network" in (out / "table.md").read_text()
    used = (out / "runs" / "adaloss-seed0" / "split.csv").read_text()
    assert "ibug" not in used
    assert "testset" not in used


@pytest.fixture(scope="module")
def face_set(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crops as a dataset with train, val and test."""
    root = tmp_path_factory.mktemp("faces") / "set"
    shutil.copytree(crops, root)
    table = (root / "landmarks.csv").read_text()
    (root / "landmarks.csv").write_text(table.replace(",common,", ",val,").replace(",challenging,", ",test,"))
    return root


def test_muct_compares_with_a_fixed_sigma_and_shows_regions(
    face_set: Path, tmp_path: Path, small: Callable[..., Study]
) -> None:
    study = small("adaloss-muct", 2)
    request = Request("adaloss-muct", tmp_path / "out", seeds=(3,), data=face_set, options={"dlib": "no"})
    findings = run_study(study, request)
    rows = findings.tables[0].rows
    assert [row["model"] for row in rows] == ["paced", "fixed sigma 2.5"]
    assert float(rows[0]["NME %"]) > 0
    regions = {row["region"]: row for row in findings.tables[1].rows}
    assert regions["jaw"]["landmarks"] == 17
    assert regions["jaw"]["last sigma"] == "2.00"  # two epochs are too few for a move
    assert findings.claims[1].outcome == "not testable"  # widths that never moved have no order
    assert {"fig7_sigma", "time_to_accuracy"} <= set(findings.figures)
    runs = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert [run["run"] for run in runs] == ["paced-seed3", "fixed-seed3"]
    paced = yaml.safe_load((tmp_path / "out" / "runs" / "paced-seed3" / "config.yaml").read_text())
    assert paced["method"]["schedule"]["rule"] == "paced"
    assert "(paced) against" in findings.claims[0].numbers


FEW = {"cascade_depth": 2, "num_trees_per_cascade_level": 10, "oversampling_amount": 2, "random_seed": "0"}


def test_dlib_learns_and_finds_the_points_of_the_stored_pixels(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All faces have one shape in their crops, so what dlib finds is that shape, in whole pixels."""
    pytest.importorskip("dlib")
    monkeypatch.setattr(baseline, "SETTINGS", FEW)
    test = LandmarkDataset.load(crops, split="common")
    request = Request("adaloss-300w", tmp_path / "out")
    line = baseline.baseline(request, crops, test)
    assert line.points.shape == test.points.shape
    assert yaml.safe_load((tmp_path / "out" / "dlib" / "about.yaml").read_text())["images"] == 12
    assert np.abs((line.points - test.points).mean(axis=(0, 1))).max() < 0.25  # whole pixels, and no half of one off
    assert np.abs(line.points - test.points).max() < 1.5
    kept = (tmp_path / "out" / "dlib" / "predictor.dat").stat().st_mtime_ns
    again = baseline.baseline(request, crops, test)
    np.testing.assert_array_equal(again.points, line.points)
    assert (tmp_path / "out" / "dlib" / "predictor.dat").stat().st_mtime_ns == kept


def test_dlib_has_its_row_in_both_tables(
    tree: Path,
    face_set: Path,
    tmp_path: Path,
    small: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("dlib")
    monkeypatch.setattr(baseline, "SETTINGS", FEW)
    asked = {"dlib": "yes"}
    request = Request("adaloss-300w", tmp_path / "300w", data=tree, options=asked)
    table = run_study(small("adaloss-300w", 1), request).tables[0]
    row = next(row for row in table.rows if str(row["method"]).startswith("dlib 2"))
    common, challenging, full = (float(row[part]) for part in faces.SETS)
    assert full == pytest.approx((8 * common + 4 * challenging) / 12, abs=0.02)
    request = Request("adaloss-muct", tmp_path / "muct", data=face_set, options=asked)
    findings = run_study(small("adaloss-muct", 1), request)
    row = findings.tables[0].rows[-1]
    assert str(row["model"]).startswith("dlib")
    assert 0 < float(row["MRE px"]) < 2
    assert findings.warnings == []


def test_dlib_that_is_not_there_is_told_before_anything_is_run(
    tree: Path, tmp_path: Path, small: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "find_spec", lambda name: None)
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"expected dlib, which is not installed; pip install 'trigpoint\[dlib\]'"):
        run_study(load_study("adaloss-300w"), Request("adaloss-300w", out, data=tree, options={"dlib": "yes"}))
    assert not out.exists()
    for choice, warnings in (("auto", [baseline.WITHOUT]), ("no", [])):
        asked = Request("adaloss-300w", tmp_path / choice, data=tree, options={"dlib": choice})
        experiment = Faces300W(small("adaloss-300w", 1), asked)
        experiment.prepare()
        assert experiment.warnings == warnings
    with pytest.raises(ConfigError, match="unknown value 'maybe'"):
        run_study(load_study("adaloss-300w"), Request("adaloss-300w", out, options={"dlib": "maybe"}))


def test_dlib_learns_from_images_that_lack_landmarks(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dlib")
    monkeypatch.setattr(baseline, "SETTINGS", FEW)
    partly = tmp_path / "partly"
    shutil.copytree(crops, partly)
    table = pd.read_csv(partly / "landmarks.csv")
    columns = [column for column in table.columns if column.endswith("_x")]
    for row in np.flatnonzero(table["split"] == "train"):  # none has all, each is in most
        column = columns[row % len(columns)]
        table.loc[row, [column, column[:-1] + "y"]] = np.nan
    table.to_csv(partly / "landmarks.csv", index=False)
    test = LandmarkDataset.load(crops, split="common")
    found = baseline.baseline(Request("adaloss-300w", tmp_path / "out"), partly, test)
    assert yaml.safe_load((tmp_path / "out" / "dlib" / "about.yaml").read_text())["images"] == 12
    assert np.abs(found.points - test.points).max() < 3


def test_dlib_needs_each_landmark_once_and_eight_bits(face_set: Path, tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    plain = tmp_path / "plain"
    shutil.copytree(face_set, plain)
    table = pd.read_csv(plain / "landmarks.csv")
    column = next(c for c in table.columns if c.endswith("_x"))
    table[[column, column[:-1] + "y"]] = np.nan
    table.to_csv(plain / "landmarks.csv", index=False)
    with pytest.raises(DataError, match=f"expected training images of every landmark, got none of {column[:-2]}"):
        baseline.baseline(Request("x", tmp_path / "out"), plain, LandmarkDataset.load(plain, split="test"))
    Image.fromarray(np.array([[0, 65535], [32896, 257]], dtype=np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(baseline.pixels(tmp_path / "deep.png"), [[0, 255], [128, 1]])


def test_muct_refuses_data_it_cannot_use(face_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data"):
        run_study(load_study("adaloss-muct"), Request("adaloss-muct", tmp_path / "out"))
    plain = tmp_path / "plain"
    shutil.copytree(face_set, plain)
    (plain / "dataset.yaml").unlink()
    with pytest.raises(DataError, match="expected 'groups' in dataset"):
        run_study(load_study("adaloss-muct"), Request("adaloss-muct", tmp_path / "out", data=plain))
    (plain / "landmarks.csv").write_text((plain / "landmarks.csv").read_text().replace(",test,", ",rest,"))
    with pytest.raises(DataError, match="unknown split 'test'"):
        run_study(load_study("adaloss-muct"), Request("adaloss-muct", tmp_path / "out", data=plain))
    assert not (tmp_path / "out").exists()
