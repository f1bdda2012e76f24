"""``compare``: paired differences against numbers worked out by hand, and runs that cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reports import NAMES, detecting, report, truth

from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.evaluation import compare
from trigpoint.metrics.paired import detection_differences, difference

RNG = np.random.default_rng(3)
HARD = RNG.gamma(2, 3, (16, 1)) * np.ones((16, 3))  # images differ far more than the runs do
BETTER, WORSE = HARD + RNG.normal(0, 0.1, (16, 3)), HARD + 0.5 + RNG.normal(0, 0.1, (16, 3))


def test_the_difference_is_paired_and_counts_images(tmp_path: Path) -> None:
    data = truth(16, (0.5, 0.5))
    found = compare([report(data, BETTER, "runs/a"), report(data, WORSE, "runs/b"), report(data, BETTER, "old/a")])
    assert list(found.reports) == ["runs/a", "b", "old/a"]
    first, second, same = found.total
    known = ~np.isnan(data.points[..., 0])
    gap = 0.5 * (WORSE - BETTER)[known].mean()
    np.testing.assert_allclose(second["difference"], gap)
    assert 0 < second["difference_low"] < gap < second["difference_high"]
    assert second["mre_mm_high"] - second["mre_mm_low"] > 10 * (second["difference_high"] - second["difference_low"])
    assert (second["better"], second["worse"]) == (0, 1)
    assert (same["difference"], same["better"], same["worse"]) == (0, 0, 0)  # equal is neither
    assert first["difference"] is None
    assert found.unit == "mm"
    rows = found.rows()
    assert rows[0]["difference"] == "–"
    assert str(rows[1]["difference"]).startswith(f"+{gap:.2f} [+0.2")
    assert rows[1]["worse"] == "100 %"
    files = found.to_tables(tmp_path / "e.csv")
    marks, images, subjects = (pd.read_csv(file) for file in files)
    assert marks["landmark"].tolist() == [name for name in NAMES for _ in range(3)]
    assert marks["run"].tolist()[:3] == ["runs/a", "b", "old/a"]
    chin = 0.5 * (WORSE - BETTER)[1:, 2].mean()
    np.testing.assert_allclose(marks["difference"][7], chin, atol=1e-4)
    np.testing.assert_allclose(images["b_mean_mm"][1], 0.5 * WORSE[1].mean(), atol=1e-4)
    assert len(subjects) == 8
    found.to_tables(tmp_path / "e.tex")
    text = (tmp_path / "e.tex").read_text()
    assert "Landmark & runs/a (mm) & b (mm) & Difference of b (mm) & old/a (mm) & Difference of old/a (mm)" in text
    assert f"+{gap:.2f} [+" in text.splitlines()[-3]
    assert len(found.to_figures(tmp_path / "e.svg")) == 2
    values = found.to_dict()
    assert values["reference"] == "runs/a"
    assert values["reports"]["b"]["mre_mm"] == second["mre_mm"]


def test_landmarks_in_another_order_are_paired_by_name() -> None:
    data = truth(16)
    turned = data.pick(NAMES[::-1])
    found = compare([report(data, BETTER, "a"), report(turned, BETTER[:, ::-1], "b")])
    assert found.total[1]["difference"] == 0
    assert all(row["difference"] in (0, None) for row in found.per_landmark)


def test_points_that_one_does_not_predict_are_left_out_and_told() -> None:
    data, lost = truth(16), WORSE.copy()
    lost[3, 0] = lost[4, 1] = np.inf
    found = compare([report(data, BETTER, "a"), report(data, lost, "b")])
    assert "2 points are not predicted by it or by a" in " ".join(found.warnings)
    known = ~np.isnan(data.points[..., 0]) & np.isfinite(lost)
    np.testing.assert_allclose(found.total[1]["difference"], (lost - BETTER)[known].mean())


def test_what_cannot_be_compared_is_named() -> None:
    data = truth(16)
    first = report(data, BETTER, "a")

    def refused(data: LandmarkDataset, errors: np.ndarray, message: str) -> None:
        with pytest.raises(DataError, match=message):
            compare([first, report(data, errors, "b")])

    refused(data.subset(range(15)), BETTER[:15], r"b: expected the 16 images of a, got 15 and .* 15\.png")
    refused(data.pick(NAMES[:2]), BETTER[:, :2], "b: expected the landmarks of a, got others: only a finds 'chin'")
    sample = data.samples[5]
    points = sample.points + np.array([[0, 0], [1, 0], [0, 0]])
    moved = [*data.samples[:5], replace(sample, points=points), *data.samples[6:]]
    refused(replace(data, samples=moved), BETTER, r"another 'nose & tip' in 05\.png")
    refused(truth(16, (0.5, 0.5)), BETTER, "b: expected the pixel sizes of a")
    with pytest.raises(DataError, match="got it twice"):
        compare([first, first])
    with pytest.raises(DataError, match="two or more, got 1"):
        compare([first])
    with pytest.raises(DataError, match="give data=FOLDER"):
        compare([first, "runs/b"])
    with pytest.raises(DataError, match="b: finds several instances in an image, a one instance"):
        compare([first, detecting([[]] * 6, "b")])


def test_several_instances_are_compared_by_f1(tmp_path: Path) -> None:
    both, one = [[10.0, 10.0], [60.0, 60.0]], [[10.0, 10.0]]
    found = compare([detecting([both] * 6, "a"), detecting([one] * 3 + [both] * 3, "b")])
    row = found.total[1]
    np.testing.assert_allclose(row["difference"], 2 * 9 / (9 + 12) - 1)
    assert row["difference_low"] < row["difference"] < 0
    assert (row["better"], row["worse"]) == (0, 0.5)
    assert found.rows()[1]["F1 (%)"].startswith("85.7 [")
    found.to_tables(tmp_path / "e.csv")
    assert pd.read_csv(tmp_path / "e-images.csv")["b_missed_or_wrong"].tolist() == [1] * 3 + [0] * 3
    assert len(found.to_figures(tmp_path / "e.svg")) == 2


def test_the_paired_interval_is_that_of_the_differences() -> None:
    subjects = [f"s{i // 2}" for i in range(16)]
    gap, (low, high) = difference([BETTER], [WORSE], subjects)
    np.testing.assert_allclose(gap, (BETTER - WORSE).mean())
    assert low < gap < high < 0
    counts = detecting([[[10.0, 10.0]]] * 6).detected
    assert counts is not None
    same = detection_differences(counts.scores.counts, counts.scores.counts, list("abcdef"))
    assert same["f1"] == (0.0, (0.0, 0.0))
