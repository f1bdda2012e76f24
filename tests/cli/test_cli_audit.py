"""``trigpoint data audit --run``: labels against what runs find in images that they have not learned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_entry import call

from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.prediction import Predictor
from trigpoint.prediction.unseen import unseen_points
from trigpoint.runs import RunFolder


@pytest.fixture
def three(data: Path) -> Path:
    """The drawn set with two more landmarks, which no run knows; its tip in one row is 9 px off."""
    table = pd.read_csv(data / "landmarks.csv")
    table["hub_x"], table["hub_y"] = table["tip_x"] / 2 + 3, table["tip_y"] / 2 + 9
    table["eye_x"], table["eye_y"] = table["tip_y"] / 3 + 12, table["tip_x"] / 4 + 2
    table.loc[4, "tip_x"] = (table.loc[4, "tip_x"] + 9) % 32
    table.to_csv(data / "landmarks.csv", index=False)
    names = [column.removesuffix("_x") for column in table if column.endswith("_x")]
    (data / "dataset.yaml").write_text(f"landmarks: [{', '.join(names)}]\n")
    return data


def test_audit_compares_with_a_run_and_tells_what_it_has_learned(three: Path, trained: Path, tmp_path: Path) -> None:
    result = call("data", "audit", three, "--run", trained, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    learned = len(RunFolder(trained).parts()["train"])
    assert f"was trained on {learned} of 24 rows" in result.stderr
    plain = call("data", "audit", three, "--json", tmp_path / "plain.json")
    assert "trained on" not in plain.stderr
    by_run, by_shape = (json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in ("found", "plain"))
    assert len(by_run) == len(by_shape) == 24
    assert by_run != by_shape


def test_each_image_is_judged_by_runs_that_have_not_learned_it(three: Path, trained: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    table = pd.read_csv(other / "split.csv", dtype=str)
    table["part"] = table["part"].map({"train": "val", "val": "train"}).fillna(table["part"])
    table.to_csv(other / "split.csv", index=False)
    set_ = LandmarkDataset.load(three)
    trained_on = set(RunFolder(trained).parts()["train"])
    points, learned = unseen_points([trained], set_)
    assert learned.tolist() == [set_.image_name(sample) in trained_on for sample in set_.samples]
    found = Predictor.load(trained).predict(set_).points
    own = [set_.landmarks.index(name) for name in Predictor.load(trained).landmarks.names]
    np.testing.assert_allclose(points[:, own], found)
    assert np.isnan(np.delete(points, own, axis=1)).all()
    both, unknown = unseen_points([trained, other], set_)
    assert not unknown.any()
    np.testing.assert_allclose(both[:, own], found)


def test_what_cannot_judge_is_refused(three: Path, instances_run: tuple[Path, Path], trained: Path) -> None:
    with pytest.raises(DataError, match="expected one of each landmark"):
        unseen_points([instances_run[0]], LandmarkDataset.load(three))
    other = pd.read_csv(three / "landmarks.csv").rename(columns={"hub_x": "a_x", "hub_y": "a_y"})
    other = other[["image", "a_x", "a_y"]]
    with pytest.raises(DataError, match="expected landmarks of"):
        unseen_points([trained], LandmarkDataset.from_table(other))
