"""Metrics against numbers worked by hand and against plain loops over images and landmarks."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet, Normalizer
from trigpoint.metrics import functional as F
from trigpoint.metrics.units import to_millimetres

NAN, INF = math.nan, math.inf

# image 0: errors 5, 0, missing; image 1: 1, 10, 2
TRUTH = np.array([[[0, 0], [10, 10], [NAN, NAN]], [[1, 1], [2, 2], [3, 3]]], float)
PRED = np.array([[[3, 4], [10, 10], [7, 7]], [[1, 2], [8, 10], [5, 3]]], float)


def loop_errors(pred, truth):
    out = []
    for p_image, t_image in zip(pred, truth, strict=True):
        for p, t in zip(p_image, t_image, strict=True):
            if any(math.isnan(v) for v in t):
                continue
            out.append(math.dist(p, t) if all(math.isfinite(v) for v in p) else INF)
    return out


@st.composite
def pairs(draw):
    seed, n, k = draw(st.integers(0, 2**31)), draw(st.integers(1, 8)), draw(st.integers(1, 6))
    rng = np.random.default_rng(seed)
    truth, pred = rng.uniform(0, 100, (n, k, 2)), rng.uniform(0, 100, (n, k, 2))
    truth[rng.random((n, k)) < draw(st.floats(0, 0.5)), rng.integers(2)] = NAN
    pred[rng.random((n, k)) < draw(st.floats(0, 0.3)), rng.integers(2)] = NAN
    return pred, truth


def test_radial_error_by_hand():
    np.testing.assert_array_equal(F.radial_error(PRED, TRUTH), [[5, 0, NAN], [1, 10, 2]])


def test_tensors_and_lists_give_the_same():
    expected = F.radial_error(PRED, TRUTH)
    np.testing.assert_array_equal(F.radial_error(torch.tensor(PRED, requires_grad=True), torch.tensor(TRUTH)), expected)
    np.testing.assert_array_equal(F.radial_error(torch.tensor(PRED).bfloat16(), TRUTH.tolist()), expected)


def test_missing_prediction_is_infinite_and_missing_truth_is_not():
    pred = PRED.copy()
    pred[0, 0, 1], pred[0, 2] = NAN, NAN
    np.testing.assert_array_equal(F.radial_error(pred, TRUTH), [[INF, 0, NAN], [1, 10, 2]])
    pred[0, 0, 1] = -INF
    assert F.radial_error(pred, TRUTH)[0, 0] == INF


def test_the_ordinary_numbers_by_hand():
    assert F.mean_radial_error(PRED, TRUTH) == pytest.approx(18 / 5)
    assert F.success_detection_rate(PRED, TRUTH, [1, 2, 4.9, 10]) == {1.0: 0.4, 2.0: 0.6, 4.9: 0.6, 10.0: 1.0}
    errors = F.radial_error(PRED, TRUTH)
    assert F.standard_deviation(errors) == pytest.approx(math.sqrt((1.4**2 + 3.6**2 + 2.6**2 + 6.4**2 + 1.6**2) / 4))
    assert F.median_error(errors) == 2
    assert F.failure_rate(errors, 5) == pytest.approx(0.2)
    np.testing.assert_allclose(F.image_errors(errors), [2.5, 13 / 3])
    assert F.area_under_ced(errors, 4.0) == pytest.approx(1 - (4 + 0 + 1 + 4 + 2) / 5 / 4)


def test_sdr_and_fr_share_the_threshold_without_overlap():
    errors = np.array([1.0, 2.0, 3.0])
    assert F.success_rate(errors, [2.0])[2.0] + F.failure_rate(errors, 2.0) == 1.0


def test_means_refuse_missing_predictions_unless_told_to_ignore_them():
    pred = PRED.copy()
    pred[1, 1] = NAN
    with pytest.raises(
        DataError, match=r"1 annotated landmarks have no finite prediction, the first at index \(1, 1\)"
    ):
        F.mean_radial_error(pred, TRUTH)
    for function in (F.image_errors, F.standard_deviation, F.mean_error):
        with pytest.raises(DataError, match="no finite prediction"):
            function(F.radial_error(pred, TRUTH))
    assert F.mean_radial_error(pred, TRUTH, missing="ignore") == pytest.approx(2.0)
    assert F.success_detection_rate(pred, TRUTH, [1e9]) == {1e9: 0.8}
    assert F.failure_rate(F.radial_error(pred, TRUTH), 1e9) == pytest.approx(0.2)
    assert F.median_error(F.radial_error(pred, TRUTH)) == 2
    with pytest.raises(ConfigError, match="missing"):
        F.mean_radial_error(PRED, TRUTH, missing="drop")  # type: ignore[arg-type]


def test_nothing_annotated_is_nan_everywhere():
    truth = np.full((2, 3, 2), NAN)
    errors = F.radial_error(PRED, truth)
    assert math.isnan(F.mean_radial_error(PRED, truth))
    assert math.isnan(F.success_detection_rate(PRED, truth, [2])[2.0])
    assert math.isnan(F.normalized_mean_error(PRED, truth, [1.0, 1.0]))
    for value in (F.median_error(errors), F.standard_deviation(errors), F.failure_rate(errors, 1), F.mean_error([])):
        assert math.isnan(value)
    assert math.isnan(F.area_under_ced(errors, 1.0))
    assert np.isnan(F.image_errors(errors)).all()
    assert np.isnan(F.cumulative_error(errors, [1.0, 2.0])[1]).all()


@settings(deadline=None, max_examples=30)
@given(pair=pairs(), threshold=st.floats(0.5, 120))
def test_everything_equals_plain_loops(pair, threshold):
    pred, truth = pair
    values = loop_errors(pred, truth)
    finite = [v for v in values if v < INF]
    errors = F.radial_error(pred, truth)
    nan_ok = {"nan_ok": True}

    def mean(numbers):
        return sum(numbers) / len(numbers) if len(numbers) else NAN

    assert F.mean_radial_error(pred, truth, missing="ignore") == pytest.approx(mean(finite), **nan_ok)
    sd = statistics.stdev(finite) if len(finite) > 1 else NAN
    assert F.standard_deviation(errors, missing="ignore") == pytest.approx(sd, abs=1e-9, **nan_ok)
    assert F.median_error(errors) == pytest.approx(statistics.median(values) if values else NAN, **nan_ok)
    sdr = mean([v <= threshold for v in values])
    assert F.success_detection_rate(pred, truth, [threshold])[threshold] == pytest.approx(sdr, **nan_ok)
    assert F.failure_rate(errors, threshold) == pytest.approx(mean([v > threshold for v in values]), **nan_ok)
    np.testing.assert_allclose(F.cumulative_error(errors, [threshold])[1], [sdr])


@settings(deadline=None, max_examples=30)
@given(pair=pairs(), threshold=st.floats(0.5, 120))
def test_auc_is_the_integral_of_the_curve(pair, threshold):
    errors = F.radial_error(*pair)
    if np.isnan(errors).all():
        return
    x = (np.arange(20000) + 0.5) / 20000 * threshold
    assert F.area_under_ced(errors, threshold) == pytest.approx(F.cumulative_error(errors, x)[1].mean(), abs=1e-4)


def test_ced_steps_are_its_own_errors():
    steps, shares = F.cumulative_error([[3.0, 1.0], [3.0, NAN]])
    np.testing.assert_array_equal(steps, [1, 3])
    np.testing.assert_allclose(shares, [1 / 3, 1])
    assert F.area_under_ced([INF, INF], 3.0) == 0
    assert F.area_under_ced([0.0], 3.0) == 1
    with pytest.raises(ConfigError, match="threshold"):
        F.area_under_ced([1.0], 0.0)


# ---- normalised error


MARKS = LandmarkSet(("a", "b", "c"))


def test_nme_by_hand_is_a_mean_over_images():
    # means of the images 2.5 and 13/3, lengths 10 and 20
    assert F.normalized_mean_error(PRED, TRUTH, [10, 20]) == pytest.approx((0.25 + 13 / 60) / 2)
    np.testing.assert_allclose(F.normalized_error(PRED, TRUTH, torch.tensor([10.0, 20.0]))[1], [0.05, 0.5, 0.1])


def test_normalizer_between_and_box():
    between = Normalizer("a_to_b", between=("a", "b"))
    np.testing.assert_allclose(F.normalizer_lengths(TRUTH, between, MARKS), [math.sqrt(200), math.sqrt(2)])
    truth = np.array([[[0, 0], [4, 9], [NAN, 50]]], float)
    np.testing.assert_allclose(F.normalizer_lengths(truth, Normalizer("box", box=True), MARKS), [6.0])
    lengths = F.normalizer_lengths(TRUTH, between, MARKS)
    expected = F.normalized_mean_error(PRED, TRUTH, lengths)
    assert F.normalized_mean_error(PRED, TRUTH, between, MARKS) == pytest.approx(expected)


def test_images_without_a_length_do_not_count():
    to_c = Normalizer("a_to_c", between=("a", "c"))
    lengths = F.normalizer_lengths(TRUTH, to_c, MARKS)
    assert np.isnan(lengths[0])
    assert F.normalized_mean_error(PRED, TRUTH, to_c, MARKS) == pytest.approx(13 / 3 / math.sqrt(8))
    same = np.zeros((1, 3, 2))
    assert np.isnan(F.normalizer_lengths(same, to_c, MARKS)).all()
    assert np.isnan(F.normalizer_lengths(np.full((1, 3, 2), NAN), Normalizer("box", box=True), MARKS)).all()


def test_normalizer_mistakes():
    with pytest.raises(DataError, match="image 1: expected above 0"):
        F.normalized_mean_error(PRED, TRUTH, [1.0, 0.0])
    with pytest.raises(DataError, match="normaliser lengths: expected one number for each"):
        F.normalized_mean_error(PRED, TRUTH, [1.0])
    with pytest.raises(ConfigError, match="landmark set"):
        F.normalized_mean_error(PRED, TRUTH, Normalizer("box", box=True))
    with pytest.raises(ConfigError, match="'between' or 'box'"):
        F.normalizer_lengths(TRUTH, Normalizer("empty"), MARKS)
    with pytest.raises(DataError, match="expected shape"):
        F.normalizer_lengths(TRUTH[:, :2], Normalizer("box", box=True), MARKS)


# ---- millimetres


def test_millimetres_of_points_and_errors_agree():
    spacing = [0.1, 0.5]
    in_mm = F.radial_error(to_millimetres(PRED, spacing), to_millimetres(TRUTH, spacing))
    np.testing.assert_allclose(in_mm, to_millimetres(F.radial_error(PRED, TRUTH), spacing))
    np.testing.assert_allclose(in_mm, [[0.5, 0, NAN], [0.5, 5, 1]])


@pytest.mark.parametrize("spacing", [[0.1, NAN], [0.1, 0.0], [0.1, -1.0], [0.1, INF]])
def test_spacing_is_never_guessed(spacing):
    with pytest.raises(DataError, match="spacing_mm of image 1"):
        to_millimetres(PRED, spacing)


@pytest.mark.parametrize("spacing", [0.1, [0.1], [[0.1, 0.1]]])
def test_spacing_needs_one_number_an_image(spacing):
    with pytest.raises(DataError, match="one number for each"):
        to_millimetres(PRED, spacing)


# ---- shapes


@pytest.mark.parametrize(("pred", "truth"), [(PRED[:1], TRUTH), (PRED[..., :1], TRUTH), (PRED[0], TRUTH[0])])
def test_shapes_must_agree(pred, truth):
    with pytest.raises(DataError, match="one shape"):
        F.radial_error(pred, truth)


def test_infinite_truth_is_refused():
    truth = TRUTH.copy()
    truth[1, 2, 0] = INF
    with pytest.raises(DataError, match="image 1, landmark 2"):
        F.radial_error(PRED, truth)


# ---- bootstrap


def test_bootstrap_equals_loops_over_subjects():
    rng = np.random.default_rng(1)
    values, groups = rng.gamma(5, 1, (40, 3)), rng.choice(["a", "b", "c", "d", "e"], 40)
    values[3, 1] = NAN
    low, high = F.bootstrap_interval(values, groups, n=200, seed=7)
    names = sorted(set(groups.tolist()))
    draws, means = np.random.default_rng(7), []
    for _ in range(200):
        drawn = [names[i] for i in draws.integers(len(names), size=len(names))]
        rows = [
            value for name in drawn for row, group in zip(values, groups, strict=True) if group == name for value in row
        ]
        means.append(statistics.fmean(value for value in rows if not math.isnan(value)))
    width = 2.7764 * math.sqrt(6 / 4) * statistics.stdev(map(math.log, means))  # Student's t of 4 degrees of freedom
    known = values[~np.isnan(values)].mean()
    assert (low, high) == pytest.approx((known * math.exp(-width), known * math.exp(width)), rel=1e-4)


def test_bootstrap_draws_subjects_not_images():
    """A hundred copies of each subject's image say no more than one of each."""
    few = np.array([1.0, 2.0, 4.0, 8.0, 3.0])
    once = F.bootstrap_interval(few, list("abcde"))
    copies = F.bootstrap_interval(np.repeat(few, 100), np.repeat(list("abcde"), 100))
    assert copies == pytest.approx(once)
    low, high = F.bootstrap_interval(np.repeat(few, 100))
    assert high - low < 0.3 * (once[1] - once[0])


def test_bootstrap_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(120):
        subject = rng.normal(0, 1, 40)
        values = np.repeat(subject, 3) + rng.normal(0, 0.1, 120)
        low, high = F.bootstrap_interval(values, np.repeat(np.arange(40), 3), n=200, seed=trial)
        hits += low <= 0 <= high
    assert 0.86 <= hits / 120 <= 0.99


def test_bootstrap_seed_statistic_and_degenerate_cases():
    values = np.arange(30.0)
    assert F.bootstrap_interval(values, seed=1) == F.bootstrap_interval(values, seed=1)
    assert F.bootstrap_interval(values, seed=1) != F.bootstrap_interval(values, seed=2)
    low, high = F.bootstrap_interval(values, statistic=F.median_error, level=0.5)
    assert 10 < low < high < 19
    assert np.isnan(F.bootstrap_interval(values, ["one"] * 30)).all()
    assert np.isnan(F.bootstrap_interval([])).all()
    with pytest.raises(DataError, match="groups"):
        F.bootstrap_interval(values, ["a", "b"])
    with pytest.raises(ConfigError, match="level"):
        F.bootstrap_interval(values, level=95)
