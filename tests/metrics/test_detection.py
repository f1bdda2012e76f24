"""Instance matching, scores of sets and curves, against every possible pairing and numbers worked by hand."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import (
    best_threshold,
    count_detections,
    detection_scores,
    match_instances,
    matching_radius,
    precision_recall,
)


def best_by_trial(pred, truth, radius, strictly=False):
    """(number of pairs, sum of distances) of the best pairing, by trying all."""
    best = (0, 0.0)
    short, long = (pred, truth) if len(pred) <= len(truth) else (truth, pred)
    for chosen in itertools.permutations(range(len(long)), len(short)):
        distances = [math.dist(short[i], long[j]) for i, j in enumerate(chosen)]
        within = [d for d in distances if (d < radius if strictly else d <= radius)]
        if (len(within), -sum(within)) > (best[0], -best[1]):
            best = (len(within), sum(within))
    return best


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), m=st.integers(0, 5), n=st.integers(0, 5), radius=st.floats(0.5, 12))
def test_equals_trying_all(seed, m, n, radius):
    rng = np.random.default_rng(seed)
    pred, truth = rng.uniform(0, 10, (m, 2)), rng.uniform(0, 10, (n, 2))
    found = match_instances(pred, truth, radius)
    count, total = best_by_trial(pred.tolist(), truth.tolist(), radius)
    assert found.true_positives == count
    assert found.distance.sum() == pytest.approx(total)
    assert (found.false_positives, found.false_negatives) == (m - count, n - count)
    assert len(set(found.pred.tolist())) == len(set(found.truth.tolist())) == count
    for i, j, distance in zip(found.pred, found.truth, found.distance, strict=True):
        assert distance == pytest.approx(math.dist(pred[i], truth[j]))
        assert distance <= radius


def test_more_pairs_come_before_a_shorter_sum():
    # pairing 4.1 with 4 would be shortest, and would leave the other two more than 5 apart
    found = match_instances([[4.1, 0.0], [8.0, 0.0]], [[0.0, 0.0], [4.0, 0.0]], radius=5)
    assert found.true_positives == 2
    assert found.pred.tolist() == [0, 1]


def test_radius_is_included_and_each_instance_is_used_once():
    assert match_instances([[3.0, 4.0]], [[0.0, 0.0]], radius=5).true_positives == 1
    assert match_instances([[3.0, 4.0]], [[0.0, 0.0]], radius=5, inclusive=False).true_positives == 0
    twice = match_instances([[0.0, 0.0], [0.1, 0.0]], [[0.0, 0.0]], radius=5)
    assert (twice.true_positives, twice.false_positives, twice.false_negatives) == (1, 1, 0)


def test_nan_rows_are_no_instances_and_numbers_refer_to_the_rows_given():
    nan = math.nan
    found = match_instances(torch.tensor([[nan, 0.0], [5.0, 5.0]]), [[nan, nan], [9.0, 9.0], [5.0, 6.0]], radius=2)
    assert (found.pred.tolist(), found.truth.tolist(), found.distance.tolist()) == ([1], [2], [1.0])
    assert (found.false_positives, found.false_negatives) == (0, 1)


@pytest.mark.parametrize(("pred", "truth"), [([], []), ([], [[1.0, 1.0]]), ([[1.0, 1.0]], [])])
def test_empty_sides(pred, truth):
    found = match_instances(pred, truth, radius=1)
    assert (found.true_positives, found.false_positives, found.false_negatives) == (0, len(pred), len(truth))


def test_wrong_input():
    with pytest.raises(ConfigError, match="radius"):
        match_instances([[0.0, 0.0]], [[0.0, 0.0]], radius=0)
    with pytest.raises(DataError, match="predictions: expected shape"):
        match_instances([0.0, 0.0], [[0.0, 0.0]], radius=1)
    with pytest.raises(DataError, match="truth: expected shape"):
        match_instances([[0.0, 0.0]], [[0.0, 0.0, 0.0]], radius=1)


# -- scores of a set ------------------------------------------------------------------------------------------------


def random_set(seed, images=4, landmarks=2, most=4):
    """(predictions, truth, scores, annotated) in a 12 px square: crowded, so that matching is not trivial."""
    rng = np.random.default_rng(seed)

    def points():
        return [
            [rng.integers(0, 25, (rng.integers(0, most + 1), 2)) / 2 for _ in range(landmarks)] for _ in range(images)
        ]

    pred, truth = points(), points()
    scores = [[rng.integers(0, 6, len(p)) / 5 for p in row] for row in pred]  # ties are frequent
    return pred, truth, scores, rng.random((images, landmarks)) < 0.8


def counted_by_trial(pred, truth, scores, annotated, radius, threshold):
    """{landmark: [pairs, predictions, strict misses, lenient misses, sum of distances]} by trying all assignments."""
    sums = {k: [0, 0, 0, 0, 0.0] for k in range(annotated.shape[1])}
    for i, k in np.argwhere(annotated):
        kept = [p for p, s in zip(pred[i][k].tolist(), scores[i][k], strict=True) if s > threshold]
        pairs, total = best_by_trial(kept, truth[i][k].tolist(), radius, strictly=True)
        missing = len(truth[i][k])
        lenient = missing - len(kept) if len(kept) < missing else 0
        for j, value in enumerate((pairs, len(kept), missing - pairs, lenient, total)):
            sums[k][j] += value
    return sums


def divided(above, below):
    return above / below if below else math.nan


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    radius=st.floats(0.5, 8) | st.just(2.5),
    threshold=st.sampled_from([-1.0, 0.2, 0.6, 1.0]),
)
def test_scores_equal_trying_all_assignments(seed, radius, threshold):
    pred, truth, scores, annotated = random_set(seed)
    report = detection_scores(
        pred, truth, radius, ["a", "b"], scores=scores, threshold=threshold, annotated=annotated, draws=0
    )
    sums = counted_by_trial(pred, truth, scores, annotated, radius, threshold)
    everything = [sum(column) for column in zip(*sums.values(), strict=True)]
    for j, counting in enumerate(("strict", "lenient")):
        rows = {**report.per_landmark[counting], "all": report.total[counting]}
        for row, (hits, predicted, *misses, distance) in zip(rows.values(), [*sums.values(), everything], strict=True):
            assert (row.true_positives, row.false_positives, row.misses) == (hits, predicted - hits, misses[j])
            expected = [
                divided(hits, predicted),
                divided(hits, hits + misses[j]),
                divided(hits, hits + (predicted - hits + misses[j]) / 2),
                divided(distance, hits),
            ]
            assert [row.precision, row.recall, row.f1, row.distance] == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_hand_worked_numbers():
    truth = [
        [[[0.0, 0.0], [100.0, 0.0]], [[50.0, 50.0]]],  # image 0: two of landmark 0, one of landmark 1
        [[[10.0, 10.0], [90.0, 90.0]], []],  # image 1: two, and none: a true negative
        [[], [[30.0, 30.0]]],
    ]
    found = [
        [[[3.0, 4.0], [400.0, 0.0]], []],  # 5 px; one too far to match: strict 1 miss, lenient none | 1 miss in both
        [[[10.0, 17.0]], [[5.0, 5.0]]],  # 7 px; one fewer: 1 miss in both | a false positive
        [[], [[42.0, 46.0]]],  # 12, 16: exactly 20 px, not nearer than the radius
    ]
    report = detection_scores(found, truth, 20, ["tip", "end"], draws=0)
    tip, end = report.per_landmark["strict"].values()
    assert (tip.true_positives, tip.false_positives, tip.misses, tip.distance) == (2, 1, 2, 6.0)
    assert (tip.precision, tip.recall, tip.f1) == (2 / 3, 1 / 2, 4 / 7)
    assert (end.true_positives, end.false_positives, end.misses) == (0, 2, 2)
    assert (end.precision, end.recall, end.f1) == (0.0, 0.0, 0.0)
    assert math.isnan(end.distance)
    tip, end = report.per_landmark["lenient"].values()
    assert (tip.precision, tip.recall, tip.f1, tip.misses) == (2 / 3, 2 / 3, 2 / 3, 1)
    assert (end.recall, end.misses, end.false_positives) == (0.0, 1, 2)
    assert (report.total["strict"].precision, report.total["strict"].recall) == (2 / 5, 2 / 6)
    assert report.total["lenient"].recall == 2 / 4
    wider = detection_scores(found, truth, [20, 20, 20.1], ["tip", "end"], draws=0)
    assert wider.per_landmark["strict"]["end"].true_positives == 1
    assert (wider.to_dict()["detection_radius_px"], report.to_dict()["detection_radius_px"]) == ([20.0, 20.1], 20.0)


def test_what_cannot_be_divided_is_nan_and_null():
    nothing = detection_scores([[[]]], [[[]]], 5, ["a"]).per_landmark["strict"]["a"]
    assert all(map(math.isnan, (nothing.precision, nothing.recall, nothing.f1, nothing.distance)))
    assert all(map(math.isnan, nothing.intervals["f1"]))
    lost = detection_scores([[[]]], [[[[1.0, 1.0]]]], 5, ["a"])
    assert math.isnan(lost.total["strict"].precision)
    assert (lost.total["strict"].recall, lost.total["strict"].f1) == (0.0, 0.0)
    invented = detection_scores([[[[1.0, 1.0]]]], [[[]]], 5, ["a"]).total["strict"]
    assert math.isnan(invented.recall)
    assert (invented.precision, invented.f1) == (0.0, 0.0)
    far = detection_scores([[[[99.0, 1.0]]]], [[[[1.0, 1.0]]]], 5, ["a"]).total
    assert (far["strict"].recall, far["strict"].misses, far["lenient"].misses) == (0.0, 1, 0)
    assert math.isnan(far["lenient"].recall)
    written = lost.to_dict()
    measures = {"precision": None, "recall": 0.0, "f1": 0.0, "distance_px": None}
    assert written["detection"] == {"a": measures | {"true_positives": 0, "false_positives": 0, "misses": 1}}
    assert list(written["detection_total"]) == ["strict", "lenient"]
    assert written["detection_lenient"] == written["detection"]
    assert lost.intervals()["detection"]["a"]["recall"] is None
    json.dumps(written | lost.intervals(), allow_nan=False)


def numbers(report):
    rows = [row for rows in report.per_landmark.values() for row in rows.values()] + list(report.total.values())
    return [[r.precision, r.recall, r.f1, r.distance, r.true_positives, r.false_positives, r.misses] for r in rows]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_order_of_points_and_of_images_does_not_matter(seed):
    pred, truth, scores, annotated = random_set(seed)
    rng = np.random.default_rng(seed)
    orders = [[rng.permutation(len(p)) for p in row] for row in pred]
    images = rng.permutation(len(pred))

    def mixed(values):
        return [[v[o] for v, o in zip(values[i], orders[i], strict=True)] for i in images]

    back = [[t[::-1] for t in truth[i]] for i in images]
    options = {"radius": 3.0, "names": ["a", "b"], "threshold": 0.4, "draws": 0}
    first = detection_scores(pred, truth, scores=scores, annotated=annotated, **options)
    second = detection_scores(mixed(pred), back, scores=mixed(scores), annotated=annotated[images], **options)
    np.testing.assert_allclose(numbers(first), numbers(second), rtol=1e-12)
    curves = (
        precision_recall(pred, truth, scores, 3.0, annotated=annotated),
        precision_recall(mixed(pred), back, mixed(scores), 3.0, annotated=annotated[images]),
    )
    for name in ("levels", "true_positives", "predicted", "actual"):
        np.testing.assert_array_equal(getattr(curves[0], name), getattr(curves[1], name))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_a_far_prediction_lowers_precision_only(seed):
    pred, truth, _, _ = random_set(seed)
    more = [
        [np.vstack([p, [[500.0, 500.0]]]) if (i, k) == (1, 0) else p for k, p in enumerate(r)]
        for i, r in enumerate(pred)
    ]
    before, after = (detection_scores(p, truth, 3.0, ["a", "b"], draws=0) for p in (pred, more))
    old, new = (report.per_landmark["strict"]["a"] for report in (before, after))
    np.testing.assert_equal((new.recall, new.distance, new.misses), (old.recall, old.distance, old.misses))
    assert new.precision < old.precision or (new.precision == 0 and not old.precision > 0)
    assert new.false_positives == old.false_positives + 1
    assert not new.f1 > old.f1
    # what strict counting is for: counted leniently, the same far prediction never lowers recall, and may raise it
    assert not after.per_landmark["lenient"]["a"].recall < before.per_landmark["lenient"]["a"].recall
    np.testing.assert_equal(numbers(after)[1], numbers(before)[1])


def test_a_far_prediction_raises_lenient_recall():
    truth = [[[[0.0, 0.0], [50.0, 0.0]]]]
    recalls = [
        detection_scores([[points]], truth, 5, ["a"], draws=0).total["lenient"].recall
        for points in ([[0.0, 0.0]], [[0.0, 0.0], [900.0, 0.0]])
    ]
    assert recalls == [0.5, 1.0]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), radius=st.floats(0.5, 8))
def test_strict_recall_is_at_most_lenient_recall(seed, radius):
    pred, truth, _, annotated = random_set(seed)
    report = detection_scores(pred, truth, radius, ["a", "b"], annotated=annotated, draws=0)
    for strict, lenient in zip(*(report.per_landmark[c].values() for c in ("strict", "lenient")), strict=True):
        assert strict.misses >= lenient.misses
        assert (strict.precision, strict.distance) == pytest.approx((lenient.precision, lenient.distance), nan_ok=True)
        if not math.isnan(lenient.recall):
            assert strict.recall <= lenient.recall
        else:  # no pair, and no image with too few predictions
            assert math.isnan(strict.recall) or strict.recall == 0


def test_what_is_not_annotated_is_ignored_and_padding_is_no_instance():
    nan = math.nan
    pred = np.full((2, 2, 3, 2), nan)
    truth, scores = pred.copy(), np.zeros((2, 2, 3))
    pred[0, 0, 1], truth[0, 0, 2], scores[0, 0, 1] = (3.0, 4.0), (0.0, 0.0), 0.9
    pred[1, 1, 0] = (7.0, 7.0)  # a prediction of a landmark that is not annotated there
    truth[1, 0, 0] = (1.0, 1.0)
    annotated = [[True, True], [False, False]]
    tensors = [torch.from_numpy(v) for v in (pred, truth, scores)]
    for p, t, s in ((pred, truth, scores), tensors):
        report = detection_scores(p, t, 6.0, ["a", "b"], scores=s, threshold=0.5, annotated=annotated)
        a, b = report.per_landmark["strict"].values()
        assert (a.precision, a.recall, a.distance) == (1.0, 1.0, 5.0)
        assert math.isnan(b.precision)
        assert report.counts.actual.tolist() == [[1, 0], [0, 0]]
        assert precision_recall(p, t, s, 6.0, annotated=annotated).levels.tolist() == [0.9]


def test_intervals_are_drawn_over_groups():
    truth = [[[[10.0, 10.0]]]] * 36
    found = [[[[10.0, 11.0]]]] * 18 + [[[]]] * 18
    groups = [f"g{i // 6}" for i in range(36)]  # three with recall 1, three with 0
    report = detection_scores(found, truth, 5, ["a"], groups=groups)
    row = report.per_landmark["strict"]["a"]
    low, high = row.intervals["recall"]
    assert 0.05 < low < 0.2
    assert high == pytest.approx(1 - low, abs=0.05)
    assert row.intervals["precision"][0] < 0.6  # all right, but in few groups
    assert row.intervals["precision"][1] == 1.0
    nearer = detection_scores(found, truth, 5, ["a"]).per_landmark["strict"]["a"].intervals["recall"]
    assert low < nearer[0] < 0.5 < nearer[1] < high  # 36 images for themselves say more than 6 groups
    assert report.intervals()["detection_total"]["strict"]["recall"] == [low, high]
    assert report.total["lenient"].intervals["recall"] == (low, high)
    two = detection_scores(found, truth, 5, ["a"], groups=["x"] * 18 + ["y"] * 18)
    assert np.isnan(two.total["strict"].intervals["recall"]).all()  # too few to tell
    assert detection_scores(found, truth, 5, ["a"], draws=0).total["strict"].intervals == {}


def test_radius_follows_the_height():
    assert [matching_radius(h) for h in (576, 288, 1080)] == [20.0, 10.0, 37.5]
    for height in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="height"):
            matching_radius(height)


# -- against the threshold ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), radius=st.floats(0.5, 8) | st.just(2.5))
def test_the_curve_equals_counting_at_every_threshold(seed, radius):
    pred, truth, scores, annotated = random_set(seed)
    curve = precision_recall(pred, truth, scores, radius, annotated=annotated)
    used = [scores[i][k] for i, k in np.argwhere(annotated)]
    assert curve.levels.tolist() == sorted({float(s) for row in used for s in row}, reverse=True)
    for row, level in enumerate(curve.levels):
        threshold = np.nextafter(level, -np.inf)
        counts = count_detections(pred, truth, radius, scores=scores, threshold=threshold, annotated=annotated)
        np.testing.assert_array_equal(curve.true_positives[row], counts.true_positives.sum(0))
        np.testing.assert_array_equal(curve.predicted[row], counts.predicted.sum(0))
        np.testing.assert_array_equal(curve.actual, counts.actual.sum(0))
        np.testing.assert_array_equal(curve.actual - curve.true_positives[row], counts.misses().sum(0))
    if curve.actual.any() and curve.levels.size:
        chosen = best_threshold(curve)
        means = {}
        for threshold in curve.levels.tolist():
            just_below = np.nextafter(threshold, -np.inf)
            kept = detection_scores(
                pred, truth, radius, "ab", scores=scores, threshold=just_below, annotated=annotated, draws=0
            )
            rows = [r for r in kept.per_landmark["strict"].values() if r.true_positives + r.misses > 0]
            means[threshold] = sum(r.f1 for r in rows) / len(rows)
        best = max(means.values())
        level = max(t for t, mean in means.items() if mean > best - 1e-12)
        assert chosen < level == pytest.approx(chosen, abs=1e-6)
        assert chosen < np.float32(level)  # so that the score counts in single precision too


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_average_precision_equals_its_definition(seed):
    pred, truth, scores, annotated = random_set(seed)
    curve = precision_recall(pred, truth, scores, 3.0, annotated=annotated)
    for one in (curve, curve.pooled()):
        precision, recall = one.precision(), one.recall()
        for k, area in enumerate(one.average_precision()):
            if one.actual[k] == 0:
                assert math.isnan(area)
                continue
            expected, before = 0.0, 0.0
            for t in range(len(one.levels)):
                later = [precision[u, k] for u in range(len(one.levels)) if recall[u, k] >= recall[t, k]]
                expected += (recall[t, k] - before) * max((p for p in later if not math.isnan(p)), default=0.0)
                before = recall[t, k]
            assert area == pytest.approx(expected)
            assert 0 <= area <= 1


def test_curve_and_threshold_by_hand():
    truth = [[[[0.0, 0.0]], [[50.0, 50.0]]], [[[10.0, 0.0]], []]]
    found = [[[[1.0, 0.0], [90.0, 0.0]], [[50.0, 51.0]]], [[[10.0, 2.0]], [[5.0, 5.0]]]]
    scores = [[[0.9, 0.8], [0.7]], [[0.6], [0.65]]]
    curve = precision_recall(found, truth, scores, 5)
    assert curve.levels.tolist() == [0.9, 0.8, 0.7, 0.65, 0.6]
    assert curve.true_positives.T.tolist() == [[1, 1, 1, 1, 2], [0, 0, 1, 1, 1]]
    assert curve.predicted.T.tolist() == [[1, 2, 2, 2, 3], [0, 0, 1, 2, 2]]
    assert curve.average_precision().tolist() == pytest.approx([0.5 * 1 + 0.5 * 2 / 3, 1.0])
    assert curve.pooled().actual.tolist() == [3]
    assert curve.pooled().true_positives[:, 0].tolist() == [1, 1, 2, 2, 3]
    # mean F1: 1/3, 1/4, 3/4, (1/2 + 2/3) / 2, (4/5 + 2/3) / 2
    assert curve.f1().mean(1).tolist() == pytest.approx([1 / 3, 1 / 4, 3 / 4, 7 / 12, 11 / 15])
    assert 0.7 - 1e-6 < best_threshold(curve) < 0.7
    assert math.isnan(curve.precision()[0, 1])


def test_of_equal_f1_the_higher_threshold_is_taken():
    # one more pair and two more false positives leave F1 at 2/3
    found, truth = [[[[0.0, 0.0], [90.0, 0.0], [95.0, 0.0], [50.0, 0.0]]]], [[[[0.0, 0.0], [50.0, 0.0]]]]
    curve = precision_recall(found, truth, [[[0.9, 0.5, 0.5, 0.5]]], 5)
    assert curve.f1()[:, 0].tolist() == [2 / 3, 2 / 3]
    assert 0.9 - 1e-6 < best_threshold(curve) < 0.9
    # a landmark without instances has no say, though its false positives come first
    lone = precision_recall([[[[0.0, 0.0]], [[1.0, 1.0]]]], [[[[0.0, 0.0]], []]], [[[0.5], [0.9]]], 5)
    assert 0.5 - 1e-6 < best_threshold(lone) < 0.5
    assert np.isnan(lone.average_precision()).tolist() == [False, True]


def test_nothing_to_choose_by():
    none = precision_recall([[[]]], [[[[1.0, 1.0]]]], [[[]]], 5)
    assert math.isnan(best_threshold(none))
    assert none.average_precision().tolist() == [0.0]
    with pytest.raises(DataError, match="at least one true instance"):
        best_threshold(precision_recall([[[[1.0, 1.0]]]], [[[]]], [[[0.5]]], 5))


def test_wrong_input_of_a_set():
    one = [[[[0.0, 0.0]]]]
    for options, error, words in (
        ({"pred": []}, DataError, "same images, got 0 and 1"),
        ({"pred": [[[], []]]}, DataError, "predictions of image 0: expected 1 landmarks, got 2"),
        ({"pred": [[[[1.0, 2.0, 3.0]]]]}, DataError, r"predictions of image 0, landmark 0: expected shape \(M, 2\)"),
        ({"truth": [[[1.0, 2.0]]]}, DataError, r"truth of image 0, landmark 0: expected shape \(M, 2\)"),
        ({"scores": [[[0.5, 0.5]]]}, DataError, "scores of image 0, landmark 0: expected one for each of the 1"),
        ({"scores": [[[math.nan]]]}, DataError, "got NaN for a prediction that has a point"),
        ({"scores": []}, DataError, "scores: expected 1 images"),
        ({"annotated": [True]}, DataError, "one flag per image and landmark"),
        ({"names": ["a", "b"]}, DataError, "names: expected 1"),
        ({"groups": ["x", "y"]}, DataError, "groups"),
        ({"threshold": 0.5}, ConfigError, "pass scores too"),
        ({"threshold": math.nan, "scores": [[[0.5]]]}, ConfigError, "got NaN"),
        ({"radius": 0.0}, ConfigError, "radius"),
        ({"radius": [5.0, 5.0]}, ConfigError, "one for each of 1 images"),
        ({"radius": math.nan}, ConfigError, "radius"),
    ):
        with pytest.raises(error, match=words):
            detection_scores(**({"pred": one, "truth": one, "radius": 5.0, "names": ["a"]} | options))
    with pytest.raises(ConfigError, match="did you mean 'lenient'"):
        count_detections(one, one, 5.0).misses("leniant")
