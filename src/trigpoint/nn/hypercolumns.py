"""Features of a pretrained encoder at every place of an image, from several of its levels: hypercolumns.

Hariharan et al., CVPR 2015. Fine levels know where, coarse ones know what. Each level's features get unit length, so
that a product with a template is a cosine, and no level drowns the others.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigpoint.errors import ConfigError
from trigpoint.geometry import from_grid, pixel_centers
from trigpoint.nn.backbones import build_encoder, examine


class Hypercolumns(nn.Module):
    """Images (B, C, H, W) to the features (B, D, ceil(H / stride), ceil(W / stride)) of these ``levels`` (reductions).

    ``stride`` is the finest level, ``width`` is D. Never trained, always in inference mode. Raises ConfigError for an
    encoder that cannot be had (see ``TimmUNet``), and for levels that it does not have.

    >>> columns = Hypercolumns(1, "test_resnet", levels=(4, 8))
    >>> columns(torch.zeros(2, 1, 33, 64)).shape[-2:]
    torch.Size([9, 16])
    """

    def __init__(
        self,
        channels: int,
        encoder: str,
        pretrained: bool = False,
        weights: str | None = None,
        levels: Sequence[int] = (4, 8, 16, 32),
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, channels, pretrained, weights)
        widths, offsets = examine(self.encoder, encoder, channels)
        if missing := [level for level in levels if level not in widths]:
            there = ", ".join(map(str, sorted(widths)))
            raise ConfigError(f"levels: expected some of {there}, which '{encoder}' has, got {missing[0]}; choose them")
        self.levels, self.stride, self.multiple = tuple(sorted(levels)), min(levels), max(widths)
        self.offsets = [offsets[level] for level in self.levels]
        self.widths = [widths[level] for level in self.levels]
        self.width = sum(self.widths)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Hypercolumns":
        """Stays in inference mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """The features (B, D_l, h_l, w_l) of each level at its own resolution, of unit length at each place."""
        bottom, right = -images.shape[-2] % self.multiple, -images.shape[-1] % self.multiple
        padded = F.pad(images, (0, right, 0, bottom), mode="replicate")
        found = {padded.shape[-1] // level.shape[-1]: level for level in self.encoder(padded)}
        return [F.normalize(found[level].float(), dim=1) for level in self.levels]

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        size = self.map_size(images.shape[-2:])
        return torch.cat([self._placed(each, i, size) for i, each in enumerate(self.features(images))], dim=1)

    @torch.no_grad()
    def responses(self, images: Tensor, templates: Tensor) -> Tensor:
        """Products (B, K, h, w) of the features with ``templates`` (K, D).

        Taken at each level's own resolution, for interpolation and product commute: far less work than on columns.
        """
        size = self.map_size(images.shape[-2:])
        total: Tensor | None = None
        for i, (level, part) in enumerate(
            zip(self.features(images), torch.split(templates, self.widths, 1), strict=True)
        ):
            placed = self._placed(torch.einsum("bdhw,kd->bkhw", level, part), i, size)
            total = placed if total is None else total + placed
        assert total is not None  # there is at least one level
        return total

    def map_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the maps of images of this size (H, W)."""
        return -(-int(size[0]) // self.stride), -(-int(size[1]) // self.stride)

    def _placed(self, maps: Tensor, index: int, size: tuple[int, int]) -> Tensor:
        """Maps of a level at the centres of the finest cells, linear between the places that its features stand for."""
        level, offset = self.levels[index], self.offsets[index]
        for axis, count in ((-1, size[1]), (-2, size[0])):
            pixels = from_grid(pixel_centers(count, maps.dtype, maps.device), self.stride)
            at = ((pixels - offset) / level).clamp(0, maps.shape[axis] - 1)
            before = at.long()
            after = (before + 1).clamp(max=maps.shape[axis] - 1)
            share = (at - before).view(-1, *[1] * (-1 - axis))
            maps = torch.lerp(maps.index_select(axis, before), maps.index_select(axis, after), share)
        return maps
