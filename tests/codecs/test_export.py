"""Decoding within ``torch.export``: the graph gives the points and scores that eager code gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trigpoint.codecs import DECODERS, GaussianHeatmap


class Decode(nn.Module):
    def __init__(self, codec: GaussianHeatmap) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return self.codec.decode(maps)


def noisy(codec: GaussianHeatmap, images: int, seed: int) -> Tensor:
    """Peaks of several widths, at the border as well, one map that is constant and one that is lost."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([*reversed(codec.input_size)])
    points = torch.rand(images, 4, 2, generator=generator, dtype=torch.float64) * (size - 1)
    maps = codec.encode(points, torch.tensor([1.0, 1.5, 2.0, 4.0]))
    maps = maps + 0.05 * torch.randn(maps.shape, generator=generator, dtype=torch.float64)
    maps[0, 1] = 0.0
    maps[-1, 2, 3, 3] = float("nan")
    return maps


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_graph_decodes_as_eager_code_does(decoder: str) -> None:
    codec = GaussianHeatmap((128, 96), stride=2, decoder=decoder)
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    graph = torch.export.export(Decode(codec), (noisy(codec, 3, seed=0),), dynamic_shapes={"maps": batch}).module()
    for images, seed in [(3, 0), (2, 1), (7, 2)]:
        maps = noisy(codec, images, seed)
        for found, expected in zip(graph(maps), codec.decode(maps), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=0, equal_nan=True)
