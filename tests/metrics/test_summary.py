"""The dict of an evaluation against numbers worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trigpoint.landmarks import LandmarkSet, Normalizer
from trigpoint.metrics.summary import summarize

NAN = float("nan")
MARKS = LandmarkSet(
    ("left", "right", "chin"),
    groups={"eyes": ("left", "right"), "jaw": ("chin",)},
    normalizer=Normalizer("inter_ocular", between=("left", "right")),
)
TRUTH = np.array(
    [
        [[0.0, 0.0], [50.0, 0.0], [25.0, 60.0]],
        [[0.0, 0.0], [100.0, 0.0], [NAN, NAN]],
    ]
)
PRED = TRUTH.copy()
PRED[0, 0] += (3, 4)  # 5 px
PRED[0, 2] += (0, 1)  # 1 px
PRED[1, 1] += (8, 6)  # 10 px
PRED[1, 2] = (7, 7)  # not annotated: must not count


def test_by_hand() -> None:
    found = summarize(PRED, TRUTH, MARKS, np.array([0.1, 0.2]), ["a", "b"], sdr_px=(1, 5), sdr_mm=(0.5, 2.0))
    errors = [5, 0, 1, 0, 10]
    assert (found["n_images"], found["n_landmarks"], found["n_points"]) == (2, 3, 5)
    assert found["mre_px"] == pytest.approx(np.mean(errors))
    assert found["sd_px"] == pytest.approx(np.std(errors, ddof=1))
    assert found["median_px"] == 1
    assert found["sdr_px"] == {"1.0": pytest.approx(3 / 5), "5.0": pytest.approx(4 / 5)}
    in_mm = [0.5, 0, 0.1, 0, 2.0]
    assert found["mre_mm"] == pytest.approx(np.mean(in_mm))
    assert found["sdr_mm"]["0.5"] == pytest.approx(4 / 5)
    assert found["sdr_mm"]["2.0"] == 1
    per_image = [6 / 3 / 50, 10 / 2 / 100]  # 0.04, 0.05
    assert found["nme"] == {"name": "inter_ocular", "mean": pytest.approx(np.mean(per_image))}
    assert found["fr"] == {"threshold": 0.08, "value": 0}
    assert found["auc"]["value"] == pytest.approx(1 - np.mean(per_image) / 0.08)
    assert found["per_landmark"]["chin"]["mre_px"] == 1
    assert found["per_landmark"]["right"]["mre_px"] == 5
    assert found["per_group"]["eyes"]["mre_px"] == pytest.approx(15 / 4)
    assert found["per_group"]["eyes"]["n_points"] == 4
    json.dumps(found)


def test_intervals_are_over_subjects() -> None:
    pred, truth = (np.concatenate([values] * 6) for values in (PRED, TRUTH))
    few = summarize(pred, truth, MARKS, None, [f"s{i // 2}" for i in range(12)])
    many = summarize(pred, truth, MARKS, None, [f"s{i}" for i in range(12)])
    assert (few["n_subjects"], many["n_subjects"]) == (6, 12)
    assert few["ci95"]["mre_px"] == pytest.approx([3.2, 3.2])  # six subjects of the same two images
    assert many["ci95"]["mre_px"][0] < 2.9 < 3.5 < many["ci95"]["mre_px"][1]
    assert 0 <= few["ci95"]["sdr_px"]["5.0"][0] < few["sdr_px"]["5.0"] < few["ci95"]["sdr_px"]["5.0"][1] <= 1
    assert summarize(pred, truth, MARKS, None, ["a", "b"] * 6)["ci95"]["mre_px"] is None  # two are too few


def test_one_unknown_spacing_leaves_no_millimetres() -> None:
    found = summarize(PRED, TRUTH, MARKS, np.array([0.1, NAN]))
    assert found["mre_mm"] is None
    assert found["sdr_mm"] is None
    assert "mre_mm" not in found["per_landmark"]["left"]


def test_a_missing_prediction_is_a_failure_and_counted() -> None:
    pred = PRED.copy()
    pred[0, 0] = NAN
    found = summarize(pred, TRUTH, MARKS, sdr_px=(5,))
    assert found["n_unpredicted"] == 1
    assert found["mre_px"] == pytest.approx(np.mean([0, 1, 0, 10]))
    assert next(iter(found["sdr_px"].values())) == pytest.approx(3 / 5)
    assert found["fr"]["value"] == pytest.approx(1 / 2)


def test_nothing_annotated_gives_null_not_zero() -> None:
    found = summarize(PRED, np.full_like(TRUTH, NAN), MARKS)
    assert found["mre_px"] is None
    assert found["nme"]["mean"] is None
    assert found["per_landmark"]["left"]["mre_px"] is None
