"""Agreement of annotators: published numbers, a hand-made case, and the commands."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import trigpoint as tp
from trigpoint.cli import app
from trigpoint.data.annotators import read_annotators
from trigpoint.errors import DataError
from trigpoint.evaluation.agreement import EVERYBODY, POOLED, agreement
from trigpoint.metrics.agreement import intraclass_correlation, limits_of_agreement

JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
PEFR = (  # Bland and Altman, Lancet 1986: peak flow by a Wright and a mini meter, first readings
    [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427],
    [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451],
)


def test_the_icc_of_shrout_and_fleiss() -> None:
    """Table 2 and 4 of the paper."""
    assert intraclass_correlation(JUDGES) == pytest.approx(0.29, abs=0.005)
    assert intraclass_correlation(JUDGES, absolute=False) == pytest.approx(0.71, abs=0.005)


def test_the_icc_of_large_coordinates_and_of_missing_ones() -> None:
    far = np.vstack([JUDGES + 1e6, [[5, math.nan, 1, 2]]])
    assert intraclass_correlation(far) == pytest.approx(intraclass_correlation(JUDGES), rel=1e-9)
    same = np.array([[1, 1], [2, 2], [5, 5]], float)
    assert intraclass_correlation(same) == 1
    shifted = same + np.array([0, 3])
    assert intraclass_correlation(shifted, absolute=False) == 1
    assert intraclass_correlation(shifted) < 0.6  # a bias counts
    assert math.isnan(intraclass_correlation(np.ones((4, 2))))
    assert math.isnan(intraclass_correlation(JUDGES[:1]))
    with pytest.raises(DataError, match=r"two raters or more, got \(6, 1\)"):
        intraclass_correlation(JUDGES[:, :1])


def test_the_limits_of_bland_and_altman() -> None:
    """The paper's example: -2.1, SD 38.8, limits -79.7 and 75.5 with 2 in place of 1.96."""
    bias, low, high = limits_of_agreement(np.subtract(*PEFR))
    assert bias == pytest.approx(-2.1, abs=0.05)
    assert (high - low) / 2 / 1.96 == pytest.approx(38.8, abs=0.05)
    assert (low + high) / 2 == pytest.approx(bias)
    assert math.isnan(limits_of_agreement([3.0])[1])
    assert all(map(math.isnan, limits_of_agreement([math.nan])))


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """Six images, in pixels that are 0.2 mm wide and 0.1 mm high. Ben is 3 px right and 4 px below of Ann."""
    rng = np.random.default_rng(3)
    ann = rng.uniform(20, 60, (6, 2, 2)).round(2)
    people = {"ann": ann, "ben": ann + np.array([3, 4]), "cleo": ann.copy()}
    people["cleo"][2, 1] += [8, 0]
    people["ben"][5, 0] = np.nan
    for n in range(6):
        Image.fromarray(rng.integers(0, 255, (80, 80), np.uint8)).save(tmp_path / f"{n}.png")
    for name, points in people.items():
        columns = {f"{mark}_{letter}": points[:, k, i] for k, mark in enumerate("ab") for i, letter in enumerate("xy")}
        table = pd.DataFrame({"image": [f"{n}.png" for n in range(6)], **columns})
        table.sample(frac=1, random_state=len(name)).to_csv(tmp_path / f"{name}.csv", index=False)
    about: dict[str, Any] = {"spacing_mm": [0.2, 0.1], "annotators": {name: f"{name}.csv" for name in people}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(about))
    return tmp_path


def test_pairs_by_landmark(heads: Path) -> None:
    found = agreement(read_annotators(heads), worst=2)
    rows = {(row["annotators"], row["landmark"]): row for row in found.rows}
    assert len(rows) == len(found.rows) == (3 + 1) * 3
    assert (found.unit, found.images) == ("mm", 6)
    row = rows["ann - ben", "a"]
    assert (row["images"], row["mre_px"]) == (5, pytest.approx(5))
    assert row["mre_mm"] == pytest.approx(math.hypot(0.6, 0.4))
    assert [row[f"bias_{i}_mm"] for i in "xy"] == pytest.approx([-0.6, -0.4])  # first minus second
    assert [row[f"low_{i}_mm"] for i in "xy"] == pytest.approx([-0.6, -0.4])  # they never differ otherwise
    other = rows["ann - cleo", "b"]
    assert other["mre_px"] == pytest.approx(8 / 6)
    differences = np.array([0, 0, -1.6, 0, 0, 0])
    wide = 1.959964 * differences.std(ddof=1)
    assert [other["low_x_mm"], other["high_x_mm"]] == pytest.approx([-1.6 / 6 - wide, -1.6 / 6 + wide])
    assert rows["ann - cleo", "a"]["icc_x"] == 1
    assert 0 < other["icc_x"] < 1
    pooled = rows["ann - cleo", POOLED]
    assert (pooled["images"], pooled["mre_px"]) == (6, pytest.approx(8 / 12))
    assert pooled["icc_x"] == pytest.approx((1 + other["icc_x"]) / 2)
    everybody = rows[EVERYBODY, "b"]
    assert everybody["mre_px"] == pytest.approx((6 * 5 + 8 + 5 * 5 + math.hypot(5, 4)) / 18)
    assert math.isnan(everybody["bias_x_mm"])
    ranked = [(one["image"], one["landmark"], one["annotators"], round(one["px"], 3)) for one in found.worst]
    assert ranked[0] == ("2.png", "b", "ann - cleo", 8)
    assert ranked[1][3] == 5


def test_no_image_in_common(heads: Path) -> None:
    sets = read_annotators(heads)
    halves = {"ann": sets["ann"].subset([0, 1]), "ben": sets["ben"]}
    names = {sample.image for sample in halves["ann"].samples}
    halves["ben"] = halves["ben"].subset([i for i, s in enumerate(sets["ben"].samples) if s.image not in names])
    with pytest.raises(DataError, match="a landmark that two labelled in one image, got none in 6 images of ann, ben"):
        agreement(halves)


def call(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_commands(heads: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    told = call("data", "agreement", heads, "--out", out, "--worst", 1)
    assert told.exit_code == 0, told.output
    assert "3 annotators: ann, ben, cleo; 6 images that at least two have labelled" in told.output
    assert "Bias and limits in mm" in told.output
    assert "2.png" in told.output
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 12
    assert float(rows[0]["bias_x_mm"]) == pytest.approx(-0.6)
    assert rows[-1]["bias_x_mm"] == ""
    assert call("data", "agreement", heads, "--out", out).exit_code == 2  # exists
    first = call("data", "consensus", heads, "--how", "median")
    assert first.exit_code == 0, first.output
    assert "1 points are of fewer than 3 annotators" in first.output
    data = tp.LandmarkDataset.load(heads)
    assert np.isfinite(data.points).all()
    again = call("data", "consensus", heads)
    assert (again.exit_code, "--force" in again.output) == (2, True)
    assert call("data", "consensus", heads, "--how", "ann", "--force").exit_code == 0
    checked = call("data", "check", heads)
    assert "annotators: ann 6 images, ben 6 images, cleo 6 images" in checked.output
