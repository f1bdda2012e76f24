"""How smooth the filters of a network are: the normalised total variation of its convolution kernels."""

from typing import Literal

import torch
from torch import Tensor, nn

from trigpoint.errors import ConfigError, DataError


def normalized_total_variation(
    weights: Tensor | nn.Module,
    form: Literal["valid", "zero_padded"] = "valid",
    which: Literal["all", "last", "pooled"] = "all",
) -> float:
    """NTV (Ruderman et al. 2018): absolute differences of neighbouring kernel entries over the sum of absolute entries.

    NTV(W) = sum |W[i, j] - W[i+1, j]| + |W[i, j] - W[i, j+1]| / sum |W|, over all filters of a layer together.
    ``form="valid"`` takes the differences inside the kernel; ``"zero_padded"`` also those to a ring of zeros around it,
    which is the form that fits the values in the Adaloss paper. Filters of independent Gaussian numbers with k entries
    a side give 2 sqrt(2) (k - 1) / k and 2 (sqrt(2) (k - 1) + 2) / k; smoother filters give less.

    ``weights`` is one layer's weight in the layout of torch, (out, in, *kernel), or a single 2-D kernel, or a module.
    Of a module, the convolutions (transposed ones too) with a kernel of more than one entry count, in the order of
    registration: ``which="all"`` is the mean of the layers' NTV, each layer alike; ``"pooled"`` divides the sum of all
    variations by the sum of all absolute weights; ``"last"`` is the last layer alone. NaN when all weights are zero.

    Raises ConfigError for an unknown form or choice, DataError for weights without a kernel.

    >>> normalized_total_variation(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    0.6666666666666666
    """
    if form not in ("valid", "zero_padded"):
        raise ConfigError(f"form: expected 'valid' or 'zero_padded', got {form!r}")
    if which not in ("all", "last", "pooled"):
        raise ConfigError(f"which: expected 'all', 'last' or 'pooled', got {which!r}")
    parts = [_variation(weight, form) for weight in _kernels(weights)]
    if which == "last":
        parts = parts[-1:]
    if which == "pooled":
        parts = [(sum(v for v, _ in parts), sum(a for _, a in parts))]
    ratios = [variation / size if size > 0 else float("nan") for variation, size in parts]
    return sum(ratios) / len(ratios)


def _kernels(weights: Tensor | nn.Module) -> list[Tensor]:
    """Weights as (filters, *kernel)."""
    if isinstance(weights, nn.Module):
        layers = [layer.weight for layer in weights.modules() if isinstance(layer, nn.modules.conv._ConvNd)]
        found = [weight.flatten(0, 1) for weight in layers if weight[0, 0].numel() > 1]
        if not found:
            raise DataError("network: expected a convolution with a kernel larger than 1, found none")
        return found
    if weights.ndim == 2:
        return [weights[None]]
    if weights.ndim not in (3, 4, 5):
        raise DataError(f"weights: expected (out, in, *kernel) or one 2-D kernel, got shape {tuple(weights.shape)}")
    return [weights.flatten(0, 1)]


def _variation(filters: Tensor, form: str) -> tuple[float, float]:
    """Sum of absolute differences along every kernel axis, and sum of absolute weights."""
    values = filters.detach().to("cpu", torch.float64)
    total = 0.0
    for axis in range(1, values.ndim):
        edge = torch.zeros_like(values.narrow(axis, 0, 1))
        line = torch.cat([edge, values, edge], axis) if form == "zero_padded" else values
        total += float(line.diff(dim=axis).abs().sum())
    return total, float(values.abs().sum())
