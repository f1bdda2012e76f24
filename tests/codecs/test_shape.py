"""The prior of a shape: from one label on, it decides between peaks, and more labels correct it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trigpoint.codecs.shape import ShapePrior

SIZE = (96, 128)
SHAPE = torch.tensor([[30.0, 30.0], [60.0, 28.0], [90.0, 33.0], [45.0, 60.0], [75.0, 62.0], [60.0, 80.0]])


def maps_of(points: torch.Tensor, sigma: float = 4.0, stride: int = 4) -> torch.Tensor:
    """Maps (K, h, w) with a Gaussian at each point, NaN = nothing."""
    x = (torch.arange(SIZE[1] // stride) + 0.5) * stride - 0.5
    y = (torch.arange(SIZE[0] // stride) + 0.5) * stride - 0.5
    away = (x - points[:, :1, None]) ** 2 + (y[:, None] - points[:, 1:, None]) ** 2
    return torch.exp(-away / (2 * sigma**2)).nan_to_num(0.0)


def moved(points: torch.Tensor, degrees: float, factor: float, dx: float, dy: float) -> torch.Tensor:
    c, s = factor * math.cos(math.radians(degrees)), factor * math.sin(math.radians(degrees))
    middle = points.mean(0)
    return (points - middle) @ torch.tensor([[c, s], [-s, c]]) + middle + torch.tensor([dx, dy])


@pytest.mark.parametrize("labels", [1, 4])
def test_a_moved_scaled_and_turned_shape_is_found(labels: int) -> None:
    given = torch.stack([moved(SHAPE, 4.0 * i, 1 + 0.03 * i, 2.0 * i, -i) for i in range(labels)])
    prior = ShapePrior.of(given, SIZE, 0.06)
    there = moved(SHAPE, 7, 1.08, 5, -4)
    points, scores = prior.fit(maps_of(there)[None], 4, 40.0)
    assert (points[0] - there).norm(dim=-1).max() < 2
    assert scores.min() > 0.6


def test_a_higher_peak_elsewhere_does_not_count() -> None:
    prior = ShapePrior.of(SHAPE[None], SIZE, 0.06)
    maps = maps_of(SHAPE)
    wrong = maps_of(torch.tensor([[110.0, 80.0]]))[0]
    maps[0] = 0.7 * maps[0] + wrong
    assert maps[0].flatten().argmax() == wrong.flatten().argmax()
    points, _ = prior.fit(maps[None], 4, 40.0)
    assert (points[0] - SHAPE).norm(dim=-1).max() < 2


def test_what_is_missing_in_a_label_is_known_from_others() -> None:
    labels = torch.stack([SHAPE, moved(SHAPE, 3, 1.05, 2, 2)])
    labels[0, 1], labels[1, 4] = torch.nan, torch.nan
    prior = ShapePrior.of(labels, SIZE, 0.06)
    assert prior.known.all()
    assert prior.mean.isfinite().all()
    assert torch.linalg.eigvalsh(prior.covariance).min() > 0
    points, _ = prior.fit(maps_of(SHAPE)[None], 4, 40.0)
    assert (points[0] - SHAPE).norm(dim=-1).max() < 2


def test_a_landmark_that_no_label_has_does_not_disturb_the_others() -> None:
    labels = SHAPE[None].clone()
    labels[0, 3] = torch.nan
    prior = ShapePrior.of(labels, SIZE, 0.06)
    assert prior.known.tolist() == [True, True, True, False, True, True]
    maps = maps_of(SHAPE)
    maps[3] = maps_of(torch.tensor([[5.0, 90.0]]))[0]
    points, _ = prior.fit(maps[None], 4, 40.0)
    others = [0, 1, 2, 4, 5]
    assert (points[0, others] - SHAPE[others]).norm(dim=-1).max() < 2
    assert points.isfinite().all()


def test_labels_correct_the_deviation() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(0, 1, (40, 6, 2))).float()
    noise[:, :4] = 0
    prior = ShapePrior.of(SHAPE + 6 * noise, SIZE, 0.06)
    stiff = ShapePrior.of(SHAPE + 0.01 * noise, SIZE, 0.06)
    assert prior.covariance[4, 4] > 3 * stiff.covariance[4, 4]


def test_one_landmark_has_no_others() -> None:
    prior = ShapePrior.of(torch.tensor([[[20.0, 20.0]]]), SIZE, 0.06)
    points, _ = prior.fit(maps_of(torch.tensor([[40.0, 50.0]]))[None], 4, 40.0)
    assert (points[0, 0] - torch.tensor([40.0, 50.0])).norm() < 3


def test_several_images_are_those_one_by_one() -> None:
    prior = ShapePrior.of(SHAPE[None], SIZE, 0.06)
    maps = torch.stack([maps_of(SHAPE), maps_of(moved(SHAPE, 5, 1, 3, 3))])
    both, _ = prior.fit(maps, 4, 40.0)
    for i in range(2):
        torch.testing.assert_close(prior.fit(maps[i : i + 1], 4, 40.0)[0][0], both[i])
