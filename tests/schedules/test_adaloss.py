"""Adaloss against numbers worked by hand, an independent scalar version, and the study of Eq. 5 in the notes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.errors import ConfigError
from trigpoint.schedules import Adaloss
from trigpoint.schedules.adaloss import LITERAL_FLOOR, Guard, Rule


def feed(schedule: Adaloss, losses: Sequence[float], energy: Sequence[float] | None = None) -> list[float]:
    """Step one landmark through ``losses``; its width after each epoch."""
    widths = []
    for epoch, loss in enumerate(losses):
        power = None if energy is None else torch.tensor([energy[epoch]], dtype=torch.float64)
        schedule.step(torch.tensor([loss], dtype=torch.float64), power)
        widths.append(float(schedule.literal_sigma[0]))
    return widths


def one(rule: Rule = "none", guard: Guard = "literal", sigma0: float = 64.0, window: int = 3) -> Adaloss:
    return Adaloss(num_landmarks=1, sigma0=sigma0, window=window, rho=0.9, rule=rule, guard=guard)


# losses 4 1 1 | 3 | 9: windows (4 1 1) V=2, (1 1 3) V=8/9, (1 3 9) V=104/9
HAND = [4.0, 1.0, 1.0, 3.0, 9.0]


def test_literal_is_equation_5() -> None:
    drop = 0.9 * (1 - 2 / (8 / 9))  # -1.125
    rise = 0.9 * (1 - (8 / 9) / (104 / 9))  # 0.9 * 12/13
    assert feed(one(), HAND) == pytest.approx([64, 64, 64, 64 + drop, 64 + drop + rise])


def test_rule_paper_relaxes_only_when_the_loss_rises_too() -> None:
    # windows (1 1.1 1) V=.02/9, then the last loss falls to 0 or rises to 2: V grows in both
    falling, rising = [1.0, 1.1, 1.0, 0.0], [1.0, 1.1, 1.0, 2.0]
    assert feed(one("none"), falling)[-1] > 64
    assert feed(one("paper"), falling)[-1] == 64
    assert feed(one("paper"), rising)[-1] == feed(one("none"), rising)[-1] > 64
    assert feed(one("non_increasing"), rising)[-1] == 64


@pytest.mark.parametrize("rule", ["none", "paper", "non_increasing"])
def test_every_rule_lets_the_width_fall(rule: Rule) -> None:
    assert feed(one(rule), HAND[:4])[-1] == pytest.approx(64 - 1.125)


@pytest.mark.parametrize("window", [2, 3, 5])
@pytest.mark.parametrize("r", [0.99, 0.97, 0.95, 0.93, 0.9, 0.8, 0.7, 0.5])
def test_smooth_curve_falls_by_a_constant(r: float, window: int) -> None:
    widths = feed(one(window=window), [r**t for t in range(12)])
    assert widths[window - 1] == 64
    assert np.diff(widths[window - 1 :]) == pytest.approx(0.9 * (1 - r**-2), rel=1e-6)


def test_smooth_curves_take_the_epochs_of_the_table() -> None:
    table = {0.99: 3229, 0.97: 1044, 0.95: 607, 0.93: 420, 0.9: 279, 0.8: 117, 0.7: 63, 0.5: 22}
    for r, epochs in table.items():
        per_epoch = feed(one(), [r**t for t in range(4)])[-1] - 64
        assert abs(-59 / per_epoch - epochs) <= 1


def test_noise_gives_a_heavy_tail() -> None:
    # P(V_(t-1) / V_t > a) is about 0.456 / a for w = 3; 100 000 independent landmarks, one update each
    count = 100_000
    schedule = Adaloss(num_landmarks=count, sigma0=64.0, rule="none", guard="literal")
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        schedule.step(torch.randn(count, generator=generator, dtype=torch.float64))
    ratio = 1 - (schedule.literal_sigma - 64) / 0.9
    for a in (20, 50):
        assert float((ratio > a).double().mean()) * a == pytest.approx(0.456, rel=0.12)


def test_literal_collapse_is_reported_and_stays_encodable() -> None:
    zero_variance = one()
    assert feed(zero_variance, [1.0, 2.0, 2.0, 2.0])[-1] == -math.inf  # V_t = 0 after V_(t-1) > 0
    assert math.isnan(feed(zero_variance, [2.0])[-1])  # 0 / 0
    for schedule in (zero_variance, one(sigma0=0.2)):
        if not schedule.collapsed[0]:
            assert -1 < feed(schedule, HAND[:4])[-1] < 0
        assert schedule.collapsed.tolist() == [True]
        assert schedule.sigma.tolist() == pytest.approx([LITERAL_FLOOR])


def test_literal_ignores_energy_and_bounded_divides_by_it() -> None:
    energy = [0.2, 0.1, 0.05, 0.4, 0.3]
    assert feed(one(), HAND, energy) == feed(one(), HAND)
    explained = [loss / power for loss, power in zip(HAND, energy, strict=True)]
    with_energy = feed(one(guard="bounded", sigma0=64.0), HAND, energy)
    assert with_energy == pytest.approx(feed(one(guard="bounded", sigma0=64.0), explained))
    assert with_energy != feed(one(guard="bounded", sigma0=64.0), HAND)


def test_bounded_caps_one_fall_at_an_eighteenth() -> None:
    widths = feed(one(guard="bounded", sigma0=36.0), [1.0, 9.0, 1.0, 1.0, 1.0])
    assert widths[3:] == pytest.approx([36.0, 34.0], abs=1e-9)  # (1 9 1) (9 1 1): ratio 1; (1 1 1): the cap
    assert feed(one(guard="bounded", sigma0=36.0), [1.0] * 9)[-1] == 36  # constant: both V are 0, no move


def scalar(losses: Sequence[float], rule: Rule, sigma0: float = 16.0, rho: float = 0.9, w: int = 3) -> list[float]:
    """The recommended algorithm for one landmark, written down once more without tensors; NaN = not annotated."""
    history: list[float] = []
    sigma, previous, out = sigma0, None, []
    for loss in losses:
        if not math.isnan(loss):
            history.append(loss)
            if len(history) >= w:
                last = history[-w:]
                mean = sum(last) / w
                variance = sum((value - mean) ** 2 for value in last) / w
                eps = (1e-3 * mean) ** 2
                if previous is not None:
                    if variance + eps > 0:
                        ratio = (previous + eps) / (variance + eps)
                    else:  # all losses of the window are 0: the cap, unless they were 0 before too
                        ratio = math.inf if previous > 0 else 1.0
                    change = rho * (1 - min(ratio, 1 + sigma0 / (18 * rho)))
                    if rule == "paper" and change > 0 and loss <= last[-2]:
                        change = 0.0
                    if rule == "non_increasing":
                        change = min(change, 0.0)
                    sigma = min(max(sigma + change, 1.5), sigma0)
                previous = variance
        out.append(sigma)
    return out


curve = st.lists(st.one_of(st.sampled_from([0.0, 1.0, 1e3, math.nan]), st.floats(1e-4, 2.0)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=30)
@given(losses=curve, rule=st.sampled_from(["none", "paper", "non_increasing"]))
def test_bounded_equals_the_scalar_version(losses: list[float], rule: Rule) -> None:
    schedule = Adaloss(num_landmarks=1, sigma0=16.0, rho=0.9, rule=rule)
    assert feed(schedule, losses) == pytest.approx(scalar(losses, rule), abs=1e-6)


wild = st.one_of(st.sampled_from([0.0, 1.0, 1e300, 1e-300, math.nan]), st.floats(0, 1e38), st.floats(-1, 1))


@settings(deadline=None, max_examples=30)
@given(
    losses=st.lists(st.tuples(wild, st.floats(0, 10)), min_size=1, max_size=30),
    rule=st.sampled_from(["none", "paper", "non_increasing"]),
    sigma0=st.floats(1.5, 100),
    window=st.integers(2, 6),
)
def test_bounded_never_leaves_its_range(
    losses: list[tuple[float, float]], rule: Rule, sigma0: float, window: int
) -> None:
    schedule = Adaloss(num_landmarks=1, sigma0=sigma0, rule=rule, window=window)
    for loss, energy in losses:
        schedule.step(torch.tensor([loss], dtype=torch.float64), torch.tensor([energy], dtype=torch.float64))
        assert 1.5 * (1 - 1e-6) <= float(schedule.sigma[0]) <= sigma0 * (1 + 1e-6)
    assert not schedule.collapsed.any()


def test_missing_epochs_leave_no_trace() -> None:
    gaps = Adaloss(num_landmarks=2, sigma0=16.0)
    for loss in [4.0, math.nan, 1.0, math.nan, math.nan, 1.0, 3.0, 9.0]:
        gaps.step(torch.tensor([loss, 1.0]))
    straight = Adaloss(num_landmarks=1, sigma0=16.0)
    feed(straight, HAND)
    assert gaps.sigma[0] == straight.sigma[0]


def test_landmarks_do_not_touch_each_other() -> None:
    both = Adaloss(num_landmarks=2, sigma0=16.0, rho=0.9)
    for a, b in zip(HAND, reversed(HAND), strict=True):
        both.step(torch.tensor([a, b], dtype=torch.float64))
    apart = [feed(one("paper", "bounded", 16.0), losses)[-1] for losses in (HAND, HAND[::-1])]
    assert both.literal_sigma.tolist() == pytest.approx(apart)


def test_a_resumed_literal_collapse_stays() -> None:
    schedule = one()
    feed(schedule, [1.0, 2.0, 2.0, 2.0])
    again = one()
    again.load_state_dict({key: torch.as_tensor(value).tolist() for key, value in schedule.state_dict().items()})
    assert feed(again, [3.0]) == feed(schedule, [3.0]) == [-math.inf]


@pytest.mark.parametrize(
    "options",
    [{"window": 1}, {"rho": 0.0}, {"rule": "Paper"}, {"guard": "off"}, {"sigma_min": 0.0}, {"sigma_min": 65.0}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Adaloss(1, 64.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma0", [4.0, 16.0, 64.0])
def test_rises_and_falls_are_in_proportion_to_the_map(sigma0: float) -> None:
    # (1 1.1 1) and then a loss that rises: the same share of sigma0 whatever the map, as falls are
    losses = [9.0, 1.0, 1.1, 1.0, 9.0, 1.0]
    widths = feed(Adaloss(num_landmarks=1, sigma0=sigma0, sigma_min=1e-3, rule="none"), losses)
    paper = feed(Adaloss(num_landmarks=1, sigma0=64.0, sigma_min=1e-3, rule="none", rho=0.9), losses)
    assert np.array(widths) / sigma0 == pytest.approx(np.array(paper) / 64)


def test_targets_divided_by_their_mean_keep_the_brake_of_the_paper() -> None:
    # the loss of such a target grows as it sharpens; divided by its energy the growth would be gone
    sharp, energy = [0.5, 0.5, 0.5, 1.0, 2.0], [1.0, 1.0, 1.0, 2.0, 4.0]
    peak, mean = (Adaloss(num_landmarks=1, sigma0=16.0, rule="none") for _ in range(2))
    mean.mean_normalized = True
    assert feed(peak, sharp, energy)[-1] == 16
    assert feed(mean, sharp, energy) == feed(Adaloss(num_landmarks=1, sigma0=16.0, rule="none"), sharp)


def settled(tau: float, moves: int, **options: float) -> float:
    """Where ``paced`` ends when labels scatter by ``tau`` and the network says the best that can be said."""
    schedule = Adaloss(1, 16.0, epochs=moves, rule="paced", sigma_min=0.25, **options)  # type: ignore[arg-type]
    for _ in range(moves):
        sigma = float(schedule.sigma[0])
        schedule.step(torch.tensor([tau**2 / (sigma**2 + tau**2)]), torch.ones(1))
    return float(schedule.sigma[0])


@pytest.mark.parametrize(("moves", "within"), [(60, 0.25), (150, 0.12), (600, 0.05)])
@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0, 5.0])
def test_paced_ends_at_the_uncertainty_of_the_labels_however_long_it_trains(
    tau: float, moves: int, within: float
) -> None:
    assert settled(tau, moves, share=0.5) == pytest.approx(tau, rel=within)


def test_paced_ends_at_twice_the_uncertainty_by_default() -> None:
    assert settled(2.0, 600) == settled(2.0, 600, share=0.2) == pytest.approx(4.0, rel=0.05)  # 4 / (16 + 4) = 0.2


def settled_by_distance(tau: float, moves: int, missed: float = 0.0, **options: float) -> float:
    """Where ``paced`` ends when points found scatter by ``tau`` (per axis) around their labels, but for the missed."""
    schedule = Adaloss(1, 16.0, epochs=moves, rule="paced", sigma_min=0.25, **options)  # type: ignore[arg-type]
    for _ in range(moves):
        assert schedule.near is not None
        within = schedule.near * float(schedule.sigma[0])
        near = (1 - missed) * (1 - math.exp(-(within**2) / (2 * tau**2)))  # Rayleigh
        schedule.step(torch.ones(1), torch.ones(1), near=torch.tensor([near]))
    return float(schedule.sigma[0])


@pytest.mark.parametrize(("moves", "within"), [(60, 0.25), (150, 0.12), (600, 0.05)])
@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0, 5.0])
def test_paced_by_distance_ends_at_the_scatter_of_the_points(tau: float, moves: int, within: float) -> None:
    median = math.sqrt(2 * math.log(2)) * tau
    assert settled_by_distance(tau, moves, reach=median / tau) == pytest.approx(tau, rel=within)
    assert settled_by_distance(tau, moves) == pytest.approx(min(16, 2 * median), rel=within)


def test_images_in_which_another_thing_is_found_hold_no_width_back() -> None:
    assert settled_by_distance(1.0, 600, missed=0.3) == pytest.approx(2 * math.sqrt(2 * math.log(1 / 0.286)), rel=0.06)
    assert settled_by_distance(1.0, 600, missed=0.5) == 16  # half of them do: it is not learned


def test_paced_waits_for_a_landmark_that_is_not_learned_yet() -> None:
    schedule = Adaloss(2, 8.0, epochs=20, rule="paced", sigma_min=1.0, smoothing=0.0)
    for _ in range(4):
        schedule.step(torch.tensor([0.9, 0.1]), torch.ones(2))
    assert schedule.sigma[0] == 8
    assert schedule.sigma[1] < 6
    before = float(schedule.sigma[1])
    schedule.step(torch.tensor([math.nan, 0.9]), torch.ones(2))
    assert schedule.sigma.tolist() == [8, before]


def test_paced_takes_up_where_it_was() -> None:
    moves = 12
    losses = torch.rand(moves, 3, generator=torch.Generator().manual_seed(0))
    whole, first, second = (Adaloss(3, 8.0, epochs=moves, rule="paced") for _ in range(3))
    for step, loss in enumerate(losses):
        whole.step(loss, torch.ones(3))
        if step < 5:
            first.step(loss, torch.ones(3))
        if step == 4:
            second.load_state_dict(first.state_dict())
        if step > 4:
            second.step(loss, torch.ones(3))
    assert torch.equal(whole.sigma, second.sigma)


def test_paced_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ConfigError, match="guard"):
        Adaloss(1, 8.0, epochs=4, rule="paced", guard="literal")
    with pytest.raises(ConfigError, match="factor"):
        Adaloss(1, 8.0, rule="paced")
    with pytest.raises(ConfigError, match="near="):
        Adaloss(1, 8.0, epochs=4, rule="paced").step(torch.ones(1))
    with pytest.raises(ConfigError, match=r"schedule\.by=energy"):
        Adaloss(1, 8.0, epochs=4, rule="paced", by="distance").step(torch.ones(1), torch.ones(1))
    assert Adaloss(1, 8.0, epochs=4, rule="paced", by="energy").near is None
    assert Adaloss(1, 8.0).near is None


@pytest.mark.parametrize(("epochs", "short"), [(24, True), (40, False)])
def test_what_cannot_be_reached_before_the_freeze_is_told(epochs: int, short: bool) -> None:
    # 16 -> 1.5 takes 17 falls of an eighteenth after a window of 3; a quarter of the epochs is frozen
    told = Adaloss(1, 16.0, epochs=epochs).shortfall()
    assert (told is not None) == short
    if told:
        assert "sigma_min=1.5" in told
        assert "takes 20 epochs, and there are 18" in told
