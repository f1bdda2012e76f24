"""Numbers of measurements: against other ways to compute them, and what their intervals promise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from trigpoint.errors import ConfigError
from trigpoint.metrics.agreement import deviation, intraclass_correlation, limits_of_agreement
from trigpoint.metrics.measured import summarize_measurements

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.coverage import Pairs, coverages, drawn, main


def test_the_interval_holds_in_90_percent_of_new_subjects_images() -> None:
    pairs = drawn(120, 3)
    several = {name: values.mean() for name, values in coverages(pairs, 40, 60).items()}
    assert len(several) == 9
    assert all(0.87 <= share <= 0.93 for share in several.values()), several
    once = Pairs(*({n: v[::3] for n, v in part.items()} for part in pairs[:2]), pairs.units, pairs.subjects[::3])
    for subjects in (9, 20, 40):
        single = {name: values.mean() for name, values in coverages(once, subjects, 60).items()}
        assert all(0.87 <= share <= 0.93 for share in single.values()), (subjects, single)
    few = [values.mean() for values in coverages(pairs, 9, 30).values()]
    assert all(0.89 <= share <= 0.98 for share in few)  # few subjects with several images: on the safe side
    assert all((values == 0).all() for values in coverages(pairs, 8, 3).values())  # too few: none, which holds nothing


def test_coverage_is_printed() -> None:
    text = main(["--rounds", "3", "--subjects", "9", "--heads", "12"])
    assert "| ANB |" in text
    assert "12 subjects, 36 images, 3 random divisions" in text
    with pytest.raises(ConfigError, match="1 to 11 of 12"):
        main(["--rounds", "1", "--subjects", "12", "--heads", "12"])
    with pytest.raises(ConfigError, match="together"):
        main(["--found", "a.csv"])


def test_the_deviation_of_a_new_subject_by_variance_components() -> None:
    """Unbalanced groups, against the sums of squares of a one-way analysis of variance as scipy has them."""
    rng = np.random.default_rng(1)
    sizes = [1, 4, 2, 7, 3]
    groups = [rng.normal(m, 1.0, n) for m, n in zip(rng.normal(0, 3, 5), sizes, strict=True)]
    values, owner = np.concatenate(groups), np.repeat(np.arange(5), sizes)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (17 - 5)
    between = stats.f_oneway(*groups).statistic * within
    each = (17 - sum(n * n for n in sizes) / 17) / 4
    assert deviation(values, owner) == pytest.approx(np.sqrt(within + (between - within) / each))
    assert deviation(np.append(values, np.nan), np.append(owner, 9)) == pytest.approx(deviation(values, owner))
    alone = rng.normal(size=8)
    assert deviation(alone, list("abcdefgh")) == pytest.approx(alone.std(ddof=1))
    assert np.isnan(deviation(alone, ["a"] * 8))
    assert limits_of_agreement(values, owner)[2] == pytest.approx(
        values.mean() + 1.95996 * deviation(values, owner), rel=1e-4
    )


def test_many_images_of_a_subject_widen_the_limits_they_do_not_narrow_them() -> None:
    rng, held, naive = np.random.default_rng(2), [], []
    for _ in range(300):
        differences = rng.normal(0, 1, (8, 1)) + rng.normal(0, 0.2, (8, 10))
        new = rng.normal(0, np.hypot(1, 0.2), 200)
        for kept, owner in ((held, np.repeat(np.arange(8), 10)), (naive, np.arange(80))):
            _, low, high = limits_of_agreement(differences.ravel(), owner)
            kept.append(((new > low) & (new < high)).mean())
    assert np.mean(held) > np.mean(naive) + 0.01
    assert np.mean(held) > 0.88


def test_numbers_of_a_measurement() -> None:
    truth = np.array([10.0, 20, 30, 40, np.nan, 60, 70])
    found = np.array([11.0, 19, 33, np.nan, 50, 60, 72])
    subjects = ["a", "b", "c", "d", "e", "f", "f"]
    numbers, intervals = summarize_measurements({"x": found}, {"x": truth}, {"x": "mm"}, subjects, {"x": 2.0})
    one = numbers["x"]
    off = np.array([1.0, -1, 3, 0, 2])
    assert (one["n_images"], one["n_subjects"], one["n_unpredicted"], one["unit"]) == (5, 4, 1, "mm")
    assert one["mae"] == pytest.approx(1.4)
    assert one["bias"] == pytest.approx(1.0)
    assert one["sd"] == pytest.approx(deviation(off, ["a", "b", "c", "f", "f"]))
    both = np.stack([[11, 19, 33, 60, 72], [10, 20, 30, 60, 70]], 1)
    assert one["icc"] == pytest.approx(intraclass_correlation(both))
    assert one["within"] == pytest.approx((1 + 1 + 0 + 0 + 1) / 5)  # a, b, f of five subjects; d was not found
    assert intervals["x"] == {"mae": None, "bias": None, "icc": None}  # of four subjects


def test_angles_are_compared_the_short_way_round() -> None:
    truth = np.array([179.0, -179, 178, 177, -178])
    found = np.array([-179.0, 179, -179, 178, 178])
    numbers, intervals = summarize_measurements({"x": found}, {"x": truth}, {"x": "deg"}, list("abcde"))
    assert numbers["x"]["mae"] == pytest.approx((2 + 2 + 3 + 1 + 4) / 5)
    assert numbers["x"]["half_width"] is None
    assert numbers["x"]["within"] is None
    low, high = intervals["x"]["icc"]
    assert -1 <= low <= numbers["x"]["icc"] <= high <= 1


def test_what_is_never_annotated_has_no_numbers_and_what_is_never_found_says_so() -> None:
    nothing = np.full(3, np.nan)
    numbers, _ = summarize_measurements({"x": np.ones(3)}, {"x": nothing}, {"x": "px"}, list("abc"))
    assert numbers == {}
    numbers, _ = summarize_measurements({"x": nothing}, {"x": np.ones(3)}, {"x": "px"}, list("abc"), {"x": 1.0})
    assert numbers["x"] == {
        "unit": "px", "n_images": 0, "n_subjects": 0, "n_unpredicted": 3, "mae": None, "bias": None, "sd": None,
        "limits": None, "icc": None, "half_width": 1.0, "within": 0.0,
    }  # fmt: skip
