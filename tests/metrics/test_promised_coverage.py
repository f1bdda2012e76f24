"""What intervals and radii promise is kept for new subjects: simulated, from few subjects up."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from trigpoint.methods.validation import conformal_radius
from trigpoint.metrics import MIN_SUBJECTS, bootstrap_interval

Drawn = tuple[npt.NDArray[np.float64], float]  # values (subjects, images), true mean
IMAGES = 5


def skewed(random: np.random.Generator, subjects: int) -> Drawn:
    """Some subjects are much harder than others."""
    harder = np.exp(random.normal(0, 0.5, subjects))
    return harder[:, None] * random.gamma(2, 1, (subjects, IMAGES)), 2 * np.exp(0.125)


def alike(random: np.random.Generator, subjects: int) -> Drawn:
    """Subjects differ by chance alone."""
    return random.gamma(2, 1, (subjects, IMAGES)), 2.0


def success(random: np.random.Generator, subjects: int) -> Drawn:
    """Hits and misses, 90 % hits, more of them in some subjects."""
    share = random.beta(9, 1, subjects)
    return (random.random((subjects, IMAGES)) < share[:, None]).astype(float), 0.9


@pytest.mark.parametrize("subjects", [5, 8, 20])
@pytest.mark.parametrize(("draw", "scale"), [(skewed, "length"), (alike, "length"), (success, "share")])
def test_a_95_percent_interval_holds_the_truth_as_often_as_it_says(
    draw: Callable[[np.random.Generator, int], Drawn], scale: str, subjects: int
) -> None:
    random, groups, hits, rounds = np.random.default_rng(subjects), np.repeat(np.arange(subjects), IMAGES), 0, 500
    for _ in range(rounds):
        values, truth = draw(random, subjects)
        low, high = bootstrap_interval(values.ravel(), groups, lambda rows: float(rows.mean()), n=60, scale=scale)  # type: ignore[arg-type]
        hits += low <= truth <= high
    assert 0.915 < hits / rounds <= 1.0  # 0.93 less chance: the deviation of 500 rounds is 0.01
    if scale == "length":  # shares of few subjects cannot be exact, and are on the safe side
        assert hits / rounds < 0.985


def test_percentiles_of_the_same_draws_would_promise_too_much() -> None:
    random, hits, rounds = np.random.default_rng(0), 0, 300
    for _ in range(rounds):
        values, truth = skewed(random, 5)
        means = values.mean(1)[random.integers(5, size=(200, 5))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        hits += low <= truth <= high
    assert hits / rounds < 0.85


@pytest.mark.parametrize("subjects", [1, 2, MIN_SUBJECTS - 1])
def test_too_few_subjects_have_no_interval_however_many_images(subjects: int) -> None:
    groups = np.repeat(np.arange(subjects), 50)
    assert np.isnan(bootstrap_interval(np.random.default_rng(0).random(len(groups)), groups)).all()


def test_where_all_subjects_succeed_the_interval_still_says_how_few_they_are() -> None:
    bounds = {n: bootstrap_interval(np.ones(n), scale="share") for n in (5, 20, 100)}
    assert all(high == 1 for _, high in bounds.values())
    assert bounds[5][0] < 0.5 < 0.75 < bounds[20][0] < 0.9 < 0.95 < bounds[100][0]


def test_a_difference_may_be_on_either_side_of_zero() -> None:
    gaps = np.random.default_rng(0).normal(0.1, 1.0, 20)
    low, high = bootstrap_interval(gaps)
    assert low < 0 < high
    only_gains = np.abs(gaps) + 0.1  # no negative value: told by name
    assert bootstrap_interval(only_gains, scale="difference") != bootstrap_interval(only_gains)


@pytest.mark.parametrize(("subjects", "images"), [(9, 1), (20, 1), (12, 6), (30, 10)])
def test_a_radius_holds_for_images_of_new_subjects(subjects: int, images: int) -> None:
    """Subjects differ, so that images of theirs are alike."""
    random, covered = np.random.default_rng(1), []
    for _ in range(600):
        harder = np.exp(random.normal(0, 0.8, subjects + 40))
        errors = harder[:, None] * random.gamma(3, 1, (subjects + 40, images))
        owners = np.repeat([f"s{i}" for i in range(subjects)], images)
        radius = conformal_radius(errors[:subjects].ravel(), 0.9, owners)
        covered.append(float((errors[subjects:] <= radius).mean()))
    assert 0.89 <= np.mean(covered) <= 0.97  # few subjects: on the safe side


@pytest.mark.parametrize("subjects", [1, 4, 8])
def test_too_few_subjects_have_no_radius_however_many_images(subjects: int) -> None:
    owners = np.repeat(np.arange(subjects), 30)
    assert np.isnan(conformal_radius(np.random.default_rng(0).random(len(owners)), 0.9, owners))
