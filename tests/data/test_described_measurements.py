"""``measurements`` of ``dataset.yaml``: read, refused in words, carried along and told when they cannot be kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from every_measurement import EVERY_KIND
from trigpoint.cli import app
from trigpoint.data import LandmarkDataset
from trigpoint.data.measurements import FORMS, quantity, read_measurements, without
from trigpoint.data.merge import merge_datasets
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet
from trigpoint.metrics.measurements import FORMULAS
from trigpoint.synthetic import write_radiographs


def set_with(folder: Path, measurements: Any, table: str = "image,a_x,a_y,b_x,b_y,c_x,c_y,d_x,d_y\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    about = {"name": "t", "measurements": measurements}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")
    (folder / "landmarks.csv").write_text(table + "i.png,1,2,3,4,5,6,9,8\n", encoding="utf-8")
    return folder


def test_every_kind_is_read_and_kept(tmp_path: Path) -> None:
    given = EVERY_KIND | {"off": {"distance_to_line": "a", "line": ["c", "d"]}, "size": {"centroid_size": []}}
    data = LandmarkDataset.load(set_with(tmp_path / "s", given), check_images=False)
    assert data.landmarks.measurements == EVERY_KIND
    assert list(data.landmarks.measurements) == list(EVERY_KIND)
    assert {next(iter(one)) for one in EVERY_KIND.values()} == set(FORMS) == set(FORMULAS)
    assert LandmarkSet.from_dict(data.landmarks.to_dict()) == data.landmarks
    data.save(tmp_path / "copy", images="keep")
    assert LandmarkDataset.load(tmp_path / "copy", check_images=False).landmarks == data.landmarks
    assert [quantity(name, EVERY_KIND) for name in ("less", "size", "share")] == ["length", "length", "ratio"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"x": {"angle": ["a", "b"]}}, "expected angle with 3 landmarks, got"),
        ({"x": {"angel": ["a", "b", "c"]}}, "did you mean 'angle'"),
        ({"x": {"angle": ["a", "b", "a"]}}, "'a' twice"),
        ({"x": {"ratio": [["a", "a"], ["b", "c"]]}}, "'a' twice"),
        ({"x": {"ratio": ["a", "b"]}}, "2 pairs of landmarks"),
        ({"x": {"projection": ["a", "b"]}}, "expected the keys projection, onto, got projection"),
        ({"x": {"angle": ["a", "b", "c"], "line": ["a", "b"]}}, "expected the keys angle, got angle, line"),
        ({"x": {"angle": ["a", "b", "c"], "ratio": []}}, "expected one kind of measurement"),
        ({"x": ["a", "b"]}, "expected one of angle"),
        ({"x": {"angle": ["a", "b", True]}}, "expected angle with 3 landmarks"),
        ({"x": {"centroid_size": ["a"]}}, "expected centroid_size with a list of landmarks"),
        ({"x": {"difference": ["y", "x"]}}, "none stands above it"),
        ({"y": {"angle": ["a", "b", "c"]}, "x": {"difference": ["y", "z"]}}, "got 'z'"),
        (
            {"y": {"angle": ["a", "b", "c"]}, "z": {"distance": ["a", "b"]}, "x": {"difference": ["y", "z"]}},
            "got angle and length",
        ),
        ({"x,y": {"distance": ["a", "b"]}}, "plain name without comma"),
        ({"=x": {"distance": ["a", "b"]}}, "plain name without comma"),
        ({"image": {"distance": ["a", "b"]}}, "got another column 'image'"),
        ({"x": {"distance": ["a", "b"]}, "x_low": {"distance": ["a", "b"]}}, "got another column 'x_low'"),
        ({"x": {"distance": ["a", "tip"]}}, "measurements 'x': unknown landmark"),
        (["x"], "expected 'NAME: {angle: [a, b, c]}' for each"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(tmp_path: Path, wrong: Any, words: str) -> None:
    with pytest.raises(DataError) as error:
        LandmarkDataset.load(set_with(tmp_path / "s", wrong), check_images=False)
    assert words in str(error.value)
    assert "dataset.yaml" in str(error.value)


def test_one_wrong_measurement_does_not_hide_others() -> None:
    problems: list[str] = []
    found = read_measurements({"x": {"angle": 1}, "y": {"distance": ["a", "b"]}, "z": 3}, problems)
    assert list(found) == ["y"]
    assert len(problems) == 2


def test_fewer_landmarks_keep_the_measurements_that_stay_whole() -> None:
    marks = LandmarkSet(("a", "b", "c", "d"), measurements=EVERY_KIND)
    assert list(marks.pick(["b", "a"]).measurements) == ["far"]
    assert list(marks.pick(["a", "b", "c"]).measurements) == ["bend", "far"]  # not the difference of one that is lost
    assert "less" not in without(EVERY_KIND, ["far"])
    with pytest.raises(DataError, match="measurements: far: unknown landmark 'b'"):
        LandmarkSet(("a",), measurements={"far": {"distance": ["a", "b"]}})


def test_measurements_that_fewer_landmarks_cannot_make_are_told(tmp_path: Path) -> None:
    folder = set_with(tmp_path / "s", EVERY_KIND)
    few = LandmarkDataset.load(folder, names=["a", "b"], check_images=False)
    told = " ".join(map(str, few.problems))
    assert "measurements bend, between, turn, ahead, off, size, share, less: need landmarks that are left out" in told
    assert not LandmarkDataset.load(folder, check_images=False).problems


def test_annotators_are_compared_in_the_measurements_that_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    write_radiographs(folder, count=6, size=(96, 80), spacing_mm=0.5)
    with (folder / "dataset.yaml").open("a", encoding="utf-8") as file:
        file.write("measurements: {SN: {distance: [sella, nasion]}, at_S: {angle: [menton, sella, nasion]}}\n")
        file.write("annotators: {ann: ann.csv, ben: ben.csv}\n")
    table = pd.read_csv(folder / "landmarks.csv")
    table.to_csv(folder / "ann.csv", index=False)
    off = np.arange(6.0) - 1
    along = table[["nasion_x", "nasion_y"]].to_numpy() - table[["sella_x", "sella_y"]].to_numpy()
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    table[["nasion_x", "nasion_y"]] += off[:, None] * along  # ben's distance is longer by so many pixels
    table.to_csv(folder / "ben.csv", index=False)
    done = CliRunner().invoke(app, ["data", "agreement", str(folder), "--out", str(tmp_path / "a.csv")])
    assert done.exit_code == 0, done.output
    assert "Measurements, first minus second" in done.output
    found = pd.read_csv(tmp_path / "a-measurements.csv").set_index("measurement")
    assert found["annotators"].tolist() == ["ann - ben"] * 2
    assert found["unit"].tolist() == ["mm", "deg"]
    assert found.loc["SN", "bias"] == pytest.approx(-0.5 * off.mean(), rel=1e-3)
    assert found.loc["SN", "mae"] == pytest.approx(0.5 * np.abs(off).mean(), rel=1e-3)
    assert found.loc["at_S", "mae"] == pytest.approx(0, abs=1e-3)  # the same direction
    again = CliRunner().invoke(app, ["data", "agreement", str(folder), "--out", str(tmp_path / "b.csv")])
    assert again.exit_code == 0
    (tmp_path / "b.csv").unlink()
    refused = CliRunner().invoke(app, ["data", "agreement", str(folder), "--out", str(tmp_path / "b.csv")])
    assert refused.exit_code == 2
    assert "b-measurements.csv: exists already" in refused.output


def test_joined_sets_keep_their_measurements(tmp_path: Path) -> None:
    sets = []
    for name, marks in (("one", ["sella", "nasion"]), ("two", ["nasion", "sella"])):
        folder = tmp_path / name
        write_radiographs(folder, count=2, size=(96, 80))
        with (folder / "dataset.yaml").open("a", encoding="utf-8") as file:
            file.write(f"measurements: {{SN: {{distance: {marks}}}, own_{name}: {{distance: {marks}}}}}\n")
        sets.append(LandmarkDataset.load(folder))
    joined = merge_datasets(sets)
    assert set(joined.landmarks.measurements) == {"SN", "own_one", "own_two"}
    assert joined.landmarks.measurements["SN"] == {"distance": ["sella", "nasion"]}
    assert any("another measurement 'SN'" in str(problem) for problem in joined.problems)
