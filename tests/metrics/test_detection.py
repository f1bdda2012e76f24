"""Instance matching against every possible pairing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import match_instances


def best_by_trial(pred, truth, radius):
    """(number of pairs, sum of distances) of the best pairing, by trying all."""
    best = (0, 0.0)
    short, long = (pred, truth) if len(pred) <= len(truth) else (truth, pred)
    for chosen in itertools.permutations(range(len(long)), len(short)):
        distances = [math.dist(short[i], long[j]) for i, j in enumerate(chosen)]
        within = [d for d in distances if d <= radius]
        if (len(within), -sum(within)) > (best[0], -best[1]):
            best = (len(within), sum(within))
    return best


@settings(deadline=None, max_examples=50)
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
    with pytest.raises(DataError, match="points alike"):
        match_instances([[0.0, 0.0]], [[0.0, 0.0, 0.0]], radius=1)
