"""Normalised total variation against loops and the values of independent Gaussian filters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import normalized_total_variation as ntv


def loop_ntv(weight, padded):
    """One difference at a time over (filters, k, k)."""
    variation = size = 0.0
    for kernel in weight:
        rows = [list(map(float, row)) for row in kernel]
        if padded:
            wide = [0.0] * (len(rows[0]) + 2)
            rows = [wide, *([0.0, *row, 0.0] for row in rows), wide]
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                size += abs(value)
                variation += abs(value - rows[i + 1][j]) if i + 1 < len(rows) else 0
                variation += abs(value - row[j + 1]) if j + 1 < len(row) else 0
    return variation / size


@pytest.mark.parametrize(
    ("k", "valid", "padded"), [(3, 1.886, 3.22), (5, 2.263, 3.06), (7, 2.424, 3.00), (11, 2.571, 2.93)]
)
def test_independent_gaussian_filters(k, valid, padded):
    weight = torch.randn(256, 128, k, k, generator=torch.Generator().manual_seed(k))
    assert ntv(weight) == pytest.approx(valid, abs=0.005)
    assert ntv(weight, form="zero_padded") == pytest.approx(padded, abs=0.01)
    assert ntv(weight) == pytest.approx(2 * math.sqrt(2) * (k - 1) / k, abs=0.005)


@pytest.mark.parametrize("padded", [False, True])
def test_equals_loops(padded):
    weight = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    form = "zero_padded" if padded else "valid"
    assert ntv(weight, form=form) == pytest.approx(loop_ntv(weight.flatten(0, 1), padded))


def test_by_hand():
    assert ntv(torch.ones(2, 2, 3, 3)) == 0
    assert ntv(torch.ones(1, 1, 3, 3), form="zero_padded") == pytest.approx(12 / 9)
    assert ntv(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])) == pytest.approx(2.0)
    assert ntv(torch.tensor([[[1.0, 0.0, 1.0]]])) == pytest.approx(1.0)  # a 1-D convolution
    assert ntv(torch.ones(1, 1, 1, 1), form="zero_padded") == 4.0
    assert math.isnan(ntv(torch.zeros(1, 1, 3, 3)))


def test_scale_does_not_matter():
    weight = torch.randn(4, 4, 5, 5)
    assert ntv(weight * 1e-3) == pytest.approx(ntv(weight), rel=1e-5)


def test_module_aggregates():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 3, 5), nn.Conv2d(3, 4, 1), nn.Linear(4, 4)
    )
    first, second = network[0].weight, network[2].weight
    assert ntv(network) == pytest.approx((ntv(first) + ntv(second)) / 2)
    assert ntv(network, which="last") == pytest.approx(ntv(second))
    sizes = [weight.abs().sum().item() for weight in (first, second)]
    pooled = (ntv(first) * sizes[0] + ntv(second) * sizes[1]) / sum(sizes)
    assert ntv(network, which="pooled") == pytest.approx(pooled)
    assert ntv(network, "zero_padded", "last") == pytest.approx(ntv(second, "zero_padded"))


def test_wrong_input():
    with pytest.raises(DataError, match="kernel larger than 1"):
        ntv(nn.Conv2d(1, 1, 1))
    with pytest.raises(DataError, match="weights: expected"):
        ntv(torch.ones(3))
    with pytest.raises(ConfigError, match="form"):
        ntv(torch.ones(3, 3), form="padded")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="which"):
        ntv(torch.ones(3, 3), which="first")  # type: ignore[arg-type]
