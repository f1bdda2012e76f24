"""What training varies in a glimpse and what prediction makes of several: tones, views, last steps, one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from glimpse_method import SIZE, STILL, Ideal, batch, blobs, learn, method, unit, with_networks
from trigpoint.errors import ConfigError
from trigpoint.landmarks import Batch
from trigpoint.methods.glimpse_augment import GlimpseAugment

TRUTH = [[43.0, 38.0], [41.0, 47.0]]


def test_one_pass_trains_and_predicts_as_a_network_after_the_other() -> None:
    """All losses of a step in one backward pass: the same gradients, so the same weights after it."""
    given = batch([[[43.0, 38.0], [37.0, 41.0]], [[41.0, 47.0], [44.0, 44.0]]])
    made = [method(at_once=how, train_iterations=1, **STILL) for how in (False, True)]
    before = made[0].network.networks[1].trunk[0][0].weight.detach().clone()
    one, other = (learn(m, given, torch.optim.SGD(m.network.parameters(), lr=0.05)) for m in made)
    assert sum(one) == pytest.approx(sum(other), rel=1e-5)
    assert (len(one), len(other)) == (2, 1)
    states = [m.network.state_dict() for m in made]
    assert (states[0]["networks.1.trunk.0.0.weight"] - before).abs().max() > 2e-3
    for name, value in states[0].items():  # normalisation by few samples magnifies what is rounded
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=5e-4, msg=name)
    made[1].network.load_state_dict(states[0])
    found = [m.eval().predict(given).points for m in made]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-3)


def seen_in_training(**options: Any) -> list[torch.Tensor]:
    """The stacks (M, 1, L, 1, g, g) that the network is fed with an image of ones."""
    seen: list[torch.Tensor] = []
    m = method(("a",), train_iterations=2, train_starts=8, **{**STILL, **options})
    stub = Ideal(1.0)
    stub.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].clone()))
    with_networks(m, stub)
    m.network.networks[0].active = torch.zeros(1, 1)  # type: ignore[assignment]
    learn(m, batch([[[40.0, 40.0]]], torch.ones(1, 1, *SIZE)))
    return seen


def test_tones_are_of_a_whole_stack_and_within_their_limits() -> None:
    plain = seen_in_training()[0]
    for options, limits in (({"contrast": 0.5}, (np.exp(-0.5), np.exp(0.5))), ({"brightness": 0.5}, (0.5, 1.5))):
        first, second = seen_in_training(**options)
        middles = first[:, 0, :, 0, 8, 8]  # (M, L), deep inside the image
        assert torch.allclose(plain[:, 0, :, 0, 8, 8], torch.ones(()), atol=1e-5)
        assert torch.allclose(middles[:, 0], middles[:, 1], atol=1e-5)  # all levels alike
        assert limits[0] < middles.min() < 0.9 < 1.1 < middles.max() < limits[1]
        assert not torch.allclose(first, second)


def test_options_that_are_off_draw_nothing() -> None:
    """Runs that were made before these options were there draw the numbers that they drew."""
    turned = seen_in_training(rotation=15.0, noise=0.1)
    same = seen_in_training(rotation=15.0, noise=0.1, contrast=1e-9)
    assert torch.allclose(turned[0], same[0], atol=1e-5)
    assert GlimpseAugment(torch.eye(2), [], None).toned(turned[0], slice(0, 1)) is turned[0]


@pytest.mark.parametrize("views", [2, 3])
def test_whoever_sees_right_finds_the_point_from_every_view(views: int) -> None:
    m = method(("a",), glimpse=56, levels=1, views=views, view_rotation=30.0, iterations=1)
    m.set_start(torch.tensor([[40.0, 44.0]]), torch.tensor([[3.0, 3.0]]))
    with_networks(m, Ideal(unit(m)))
    m.eval()
    given = Batch(blobs(TRUTH), torch.tensor(TRUTH)[:, None], torch.eye(2, 3).double().expand(2, 2, 3), torch.arange(2))
    assert (m.predict(given).points[:, 0, 0] - torch.tensor(TRUTH)).abs().max() < 0.05


def test_views_are_averaged_in_every_step() -> None:
    """A network that answers (1, 0) whatever it sees: turned by 60 degrees either way the mean is half as long."""

    class Right(torch.nn.Module):
        def forward(self, stacks: torch.Tensor) -> torch.Tensor:
            return torch.tensor([1.0, 0.0]).expand(*stacks.shape[:2], 2)

    m = with_networks(method(("a",), views=2, view_rotation=60.0, iterations=2, unit="spread"), Right()).eval()
    moved = m.predict(batch([[[40.0, 40.0]]])).points[0, 0, 0] - 40.0
    torch.testing.assert_close(moved, torch.tensor([2 * 3.0 * 0.5, 0.0], dtype=torch.float64), atol=1e-4, rtol=0)


def test_the_mean_of_the_last_steps_counts() -> None:
    m = method(("a",), iterations=3, last=2)
    path = torch.tensor([0.0, 4.0, 6.0, 7.0])[:, None, None, None, None].expand(4, 1, 1, 1, 2)
    points, scores, _ = m.conclude(path)
    assert points.flatten().tolist() == [6.5, 6.5]
    assert scores.item() == pytest.approx(1 / (1 + 2**0.5))  # by the last move, as ever
    with pytest.raises(ConfigError, match="expected at most iterations=3, got 4"):
        method(iterations=3, last=4)
