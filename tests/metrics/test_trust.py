"""What a run says of its errors: radii that hold in easy and in hard images, and images that are unlike."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from trigpoint.landmarks import FloatArray, ImageDetections, LandmarkSet, Prediction
from trigpoint.methods.validation import conformal_radius
from trigpoint.metrics.difficulty import Difficulty, onto
from trigpoint.metrics.domain import Domain, look_of
from trigpoint.metrics.trust import DOUBTFUL, UNLIKE, Trust

MEAN = np.array([[0.0, 0.0], [40.0, 5.0], [35.0, 60.0], [5.0, 50.0], [20.0, 25.0]])
MARKS = LandmarkSet(tuple("abcde"))


def drawn(
    count: int, seed: int, size: float = 1.0, turn: float = 0.0, informed: bool = True
) -> tuple[Prediction, FloatArray]:
    """``count`` images of figures, found with errors that the scores know of (or do not)."""
    rng = np.random.default_rng(seed)
    turned = np.exp(1j * np.radians(turn + rng.normal(0, 4, (count, 1))))
    factor = size * np.exp(rng.normal(0, 0.05, (count, 1))) * turned
    shapes = (MEAN[:, 0] + 1j * MEAN[:, 1]) * factor + rng.normal(0, 1, (count, 5)) + 1j * rng.normal(0, 1, (count, 5))
    truth = np.stack([shapes.real, shapes.imag], -1) + 100
    hard = np.exp(rng.normal(0, 0.6, (count, 1)) + rng.normal(0, 0.3, (count, 5)))
    found = truth + hard[..., None] * rng.normal(0, 1, truth.shape)
    known = hard if informed else np.exp(rng.normal(0, 0.6, hard.shape))
    scores = 0.9 / (1 + known * np.exp(rng.normal(0, 0.2, hard.shape)))
    looks = np.clip(rng.normal([0.4, 0.2], 0.03, (count, 2)), 0.01, 1)
    each = [
        ImageDetections(str(i), found[i][None], scores[i][None], look=(float(looks[i, 0]), float(looks[i, 1])))
        for i in range(count)
    ]
    return Prediction(each, MARKS, np.ones(5)), truth


def fitted(count: int = 60, seed: int = 0, **how: bool) -> tuple[Trust, Prediction, FloatArray, FloatArray]:
    found, truth = drawn(count, seed, **how)  # type: ignore[arg-type]
    made = Trust.fit(found, truth, [str(i) for i in range(count)], drawn(80, 99)[1])
    assert made is not None
    return made[0], found, truth, made[1]


def test_radii_hold_in_each_third_of_difficulty_where_a_constant_one_does_not() -> None:
    held: dict[str, list[FloatArray]] = {"constant": [], "grows": []}
    widths = dict[str, list[float]](constant=[], grows=[])
    for seed in range(200):
        trust, found, truth, own = fitted(40, seed)
        new, right = drawn(60, 1000 + seed)
        doubts = trust.difficulty.doubts(new.detections)
        third = np.digitize(doubts, np.quantile(doubts, [1 / 3, 2 / 3]))
        errors = [np.linalg.norm(a.points - b, axis=-1) for a, b in ((found, truth), (new, right))]
        for name, before, after in (("constant", np.ones_like(own), np.ones_like(doubts)), ("grows", own, doubts)):
            radius = np.array([conformal_radius(column) for column in (errors[0] / before).T]) * after
            held[name].append(np.array([(errors[1] <= radius)[third == i].mean() for i in range(3)]))
            widths[name].append(float(np.median(radius)))
    grows, constant = (np.mean(held[name], axis=0) for name in ("grows", "constant"))
    assert (np.abs(grows - 0.9) < 0.04).all(), grows
    assert constant[0] > 0.96, constant
    assert constant[2] < 0.82, constant
    assert np.mean(widths["grows"]) < 0.9 * np.mean(widths["constant"])


def test_scores_that_say_nothing_leave_radii_as_they_are() -> None:
    trust, found, *_ = fitted(200, informed=False)
    assert (trust.difficulty.weights[: trust.difficulty.names.index("shape")] > -0.25).all()
    known = Trust.fit(found, found.points + 1e-3, [str(i) for i in range(200)], np.full((3, 5, 2), np.nan))
    assert known is not None
    assert known[0].difficulty.names == ("score", "mean score")  # no shapes: none is judged by them


def test_a_subject_does_not_judge_itself() -> None:
    found, truth = drawn(60, 3)
    subjects = [str(i // 2) for i in range(60)]
    made = Difficulty.fit(found, truth, subjects, drawn(80, 99)[1])
    assert made is not None
    worse = truth.copy()
    worse[:2] += 50  # of the first subject alone
    again = Difficulty.fit(found, worse, subjects, drawn(80, 99)[1])
    assert again is not None
    np.testing.assert_array_equal(made[1][:2], again[1][:2])
    assert not np.array_equal(made[1], again[1])


def test_few_subjects_and_several_instances_have_no_trust() -> None:
    found, truth = drawn(19, 0)
    assert Trust.fit(found, truth, [str(i) for i in range(19)], truth) is None
    found, truth = drawn(60, 0)
    assert Trust.fit(found, truth, [str(i % 19) for i in range(60)], truth) is None
    assert Trust.fit(replace(found, threshold=0.5), truth, [str(i) for i in range(60)], truth) is None


def test_missing_points_and_scores_are_no_trouble() -> None:
    found, truth = drawn(60, 0)
    truth[3, 2] = truth[:, 4] = np.nan
    found[5].points[0, 1] = np.nan
    made = Trust.fit(found, truth, [str(i) for i in range(60)], drawn(80, 99)[1])
    assert made is not None
    assert np.isfinite(made[1]).all()
    assert np.isfinite(made[0].difficulty.doubts(found.detections)).all()


def test_it_is_written_and_read_as_it_is() -> None:
    trust, found, *_ = fitted()
    read = Trust.from_dict(json.loads(json.dumps(trust.to_dict())))
    np.testing.assert_allclose(
        read.difficulty.doubts(found.detections), trust.difficulty.doubts(found.detections), rtol=1e-4
    )
    assert read.told(drawn(20, 5, size=1.4)[0].detections) == trust.told(drawn(20, 5, size=1.4)[0].detections)
    broken = trust.to_dict()
    broken["difficulty"]["residual"] = [[1.0]]
    with pytest.raises(ValueError, match="5 landmarks"):
        Trust.from_dict(broken)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 1.26}, "the figure is 2[0-9]% larger on the whole"),
        ({"size": 0.7}, "the figure is [23][0-9]% smaller on the whole"),
        ({"turn": 30.0}, "the figure is turned by [23][0-9] degrees to the right on the whole"),
        ({"turn": -30.0}, "the figure is turned by [23][0-9] degrees to the left on the whole"),
    ],
)
def test_figures_of_another_clinic_are_told(change: dict[str, float], words: str) -> None:
    trust, *_ = fitted()
    told = trust.told(drawn(20, 7, **change)[0].detections)  # type: ignore[arg-type]
    assert any(re.fullmatch(words, line) for line in told), told
    flags = trust.flags(drawn(20, 7, **change)[0].detections)  # type: ignore[arg-type]
    assert flags.count(UNLIKE) > 8


def test_images_like_those_of_validation_are_not_told() -> None:
    trust, *_ = fitted(200)
    told = [trust.told(drawn(50, 300 + i)[0].detections) for i in range(20)]
    assert sum(map(bool, told)) <= 6, told
    flags = [flag for i in range(10) for flag in trust.flags(drawn(50, 300 + i)[0].detections)]
    assert 0.05 < flags.count(DOUBTFUL) / len(flags) < 0.16
    assert flags.count(UNLIKE) <= 5


def test_other_grey_values_are_told() -> None:
    trust, *_ = fitted()
    found, _ = drawn(1, 7)
    found[0].look = (0.95, 0.2)
    assert trust.told(found.detections) == ["pixels are brighter by 55% of their range"]
    several, _ = drawn(3, 7)
    several[1].look, several[1].image = (0.95, 0.2), "ward/b.png"
    (told,) = [line for line in trust.told(several.detections) if "brighter" in line]
    assert told.endswith("in 1 of 3 images, such as b.png")
    found[0].look = None  # read by tiles: not known
    assert trust.told(found.detections) == []


def angled(*degrees: float, shape: bool = True) -> list[ImageDetections]:
    """Images with the mean figure turned by so much; not of its ``shape``: mirrored as well."""
    trust = fitted()[0]
    mean = (trust.difficulty.mean[:, 0] + 1j * trust.difficulty.mean[:, 1]) * (1 if shape else -1j)
    each = []
    for i, turn in enumerate(degrees):
        points = (mean if shape else mean.conj()) * np.exp(1j * np.radians(turn))
        stacked = np.stack([points.real, points.imag], -1)[None] + 100
        each.append(ImageDetections(f"{i}.png", stacked, np.full((1, 5), 0.45), look=(0.4, 0.2)))
    return each


def turns(found: list[ImageDetections]) -> str:
    """What is told of their turn, numbers in brackets rounded to those that were drawn."""
    (line,) = [text for text in fitted()[0].told(found) if "turned" in text]
    return re.sub(r"by (\d+) degrees", lambda match: f"by {5 * round(int(match[1]) / 5)}", line)


def test_images_that_are_off_to_both_sides_are_told_apart() -> None:
    assert turns(angled(-15, 15, -25, 0)) == (
        "the figure is turned by 20 to the left in 2 of 4 images, such as 2.png, and turned by 15 to the right in 1, "
        "such as 1.png"
    )
    half = turns(angled(*[-20] * 4, *[21] * 3, 25))  # whose median is of neither side
    assert half == (
        "the figure is turned by 20 to the right in 4 of 8 images, such as 7.png, and turned by 20 to the left in 4, "
        "such as 0.png"
    )
    most = turns(angled(*[-20] * 7, 20, 21, 25))
    assert most == (
        "the figure is turned by 20 to the left on the whole, and turned by 20 to the right in 3, such as 9.png"
    )
    dark = angled(*[0] * 9)
    for one, look in zip(dark, [0.05, 0.95, 0.85], strict=False):
        one.look = (look, 0.2)
    assert fitted()[0].told(dark)[0] == (
        "pixels are brighter by 50% of their range in 2 of 9 images, such as 1.png, and darker by 35% of their range "
        "in 1, such as 0.png"
    )


def test_the_turn_of_a_guessed_shape_is_not_told_in_degrees() -> None:
    guess = "turned or of another kind (how far cannot be told)"
    assert turns(angled(-60, shape=False)) == f"the figure is {guess}"
    assert turns(angled(*[-13] * 10, shape=False)) == f"the figure is {guess} on the whole"
    mixed = [*angled(-15, 15, 0), *angled(40, shape=False)]
    assert turns(mixed).startswith(
        f"the figure is {guess} in 1 of 4 images, such as 0.png, and turned by 15 to the left"
    )
    most = turns([*angled(*[-15] * 9), *angled(40, shape=False)])
    assert most == "the figure is turned by 15 to the left on the whole"


def test_one_degree_is_singular() -> None:
    trust = fitted()[0]
    assert trust.domain is not None
    turned = replace(trust.domain, usual={"turn": (0.0, 0.2)})
    assert turned.in_words({"turn": np.array([5.0])}) == ["the figure is turned by 1 degree to the right"]


def test_figures_that_are_turned_to_all_sides_are_not_told_by_their_turn() -> None:
    found, truth = drawn(60, 0)
    rng = np.random.default_rng(0)
    for one in found.detections:
        turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
        points = (one.points[..., 0] + 1j * one.points[..., 1]) * turn
        one.points = np.stack([points.real, points.imag], -1)
    made = Trust.fit(found, np.stack([one.points[0] for one in found.detections]), list(map(str, range(60))), truth)
    assert made is not None
    assert made[0].domain is not None
    assert "turn" not in made[0].domain.usual


def test_a_look_is_that_of_the_range() -> None:
    eight = np.full((1, 40, 30), 51, np.uint8)
    assert look_of(eight, None) == pytest.approx((0.2, 0.0))
    assert look_of(eight.astype(np.uint16) * 257, None) == pytest.approx((0.2, 0.0))
    assert look_of(eight.astype(np.float32) / 255, None) == pytest.approx((0.2, 0.0), abs=1e-6)
    assert look_of(eight.astype(np.int16) - 1000, (-1000.0, -745.0)) == pytest.approx((0.2, 0.0))
    large = np.zeros((3, 2000, 1000), np.uint8)
    large[:, :, 500:] = 255
    assert look_of(large, None) == pytest.approx((0.5, 0.5), abs=0.01)


def test_a_missing_point_says_nothing_of_the_others() -> None:
    difficulty = fitted()[0].difficulty
    points = difficulty.mean[None].copy()
    points[0, 3] = np.nan
    away = difficulty.away(points + 100)
    assert np.isnan(away[0, 3])
    np.testing.assert_allclose(np.delete(away[0], 3), 0, atol=1e-6)


def test_a_shape_moved_turned_and_scaled_onto_the_mean_is_the_mean() -> None:
    mean = MEAN[:, 0] + 1j * MEAN[:, 1]
    moved = (mean * 3 * np.exp(0.7j) + 5 - 2j)[None]
    back, factor = onto(moved, mean)
    np.testing.assert_allclose(back[0], mean, atol=1e-9)
    assert factor[0] == pytest.approx(np.exp(-0.7j) / 3)
    back, _ = onto(np.where([True, True, True, False, True], moved, np.nan), mean)
    assert np.isnan([back[0, 3].real, back[0, 3].imag]).all()
    np.testing.assert_allclose(np.delete(back[0], 3), np.delete(mean, 3), atol=1e-9)
    assert Domain.of([], fitted()[0].difficulty) is None
