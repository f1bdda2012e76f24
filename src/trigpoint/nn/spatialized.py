"""From a glimpse to an offset: trunk, spatialised features and head of the foveated pyramid (arXiv 2008.04428).

The trunk (a ResNet-34 without its last stage and with a stem of stride 1) sees each level of the glimpse alone and
with the same weights: 64 x 64 pixels to 256 maps of 8 x 8. Each map is reduced to where it lies and how strong it is
(``SpatializedFeatures``); the head, a small perceptron, turns the numbers of all levels into an offset.
"""

from typing import Any, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from trigpoint.errors import ConfigError
from trigpoint.geometry import center, pixel_centers
from trigpoint.nn.backbones import build_encoder
from trigpoint.nn.base import conv_block, initialise
from trigpoint.recipe import WeightsConfig

HIDDEN = (512, 128)  # widths of the head (the paper's 4608-512-128-2)
LEAK = 0.1  # slope of ``leaky_relu`` below 0
EMBEDDING = 64  # numbers that stand for a landmark when one head serves all
REDUCTION = 8  # how much smaller than the glimpse the trunk's maps are
FEW = 16  # samples in a batch (images x starts x landmarks) below which their statistics are not used
SMALL_WIDTH = 32  # channels of the first convolution of the trunk ``small``
TRUNKS = "resnet34, resnet18, resnet10t or small"
"""What to take where an encoder cannot serve."""


class SpatializedFeatures(nn.Module):
    """Maps (..., C, h, w) to (..., 3 C): strength, x and y of every map.

    The softmax p of a map over its cells is read as a distribution: E[x] and E[y] of the cells' positions, and E[a] of
    the map itself, a soft maximum. Positions run from -1 to 1 between the edges of the map, x right, y down.

    >>> maps = torch.zeros(1, 1, 4, 4)
    >>> maps[0, 0, 1, 3] = 50.0
    >>> SpatializedFeatures()(maps).tolist()
    [[50.0, 0.75, -0.25]]
    """

    def forward(self, maps: Tensor) -> Tensor:
        """The C strengths, then the C x, then the C y."""
        weights = maps.flatten(-2).softmax(-1).reshape(maps.shape)
        height, width = maps.shape[-2:]
        middle_x, middle_y = center((height, width))
        x = (pixel_centers(width, maps.dtype, maps.device) - middle_x) / (width / 2)
        y = (pixel_centers(height, maps.dtype, maps.device) - middle_y) / (height / 2)
        strength = (weights * maps).sum((-2, -1))
        return torch.cat([strength, weights.sum(-2) @ x, weights.sum(-1) @ y], dim=-1)


class GlimpseNetwork(nn.Module):
    """Glimpses (M, K, L, C, g, g) of K landmarks to offsets (M, K, 2) in whatever unit they are trained in.

    ``num_landmarks`` 1 is the paper's network. With more, the trunk and the first layer of the head are shared, the
    features are standardised and the first outputs are 0, which trains faster from scratch. ``active`` (K, 128) counts
    the batches in which a unit of the head's last hidden layer was above 0 for any glimpse, in training only, until it
    is set to 0. Raises ConfigError for a trunk that does not fit.
    """

    active: Tensor

    class Config(WeightsConfig):
        trunk: str = "resnet34"
        """Convolutions that see each level: ``small``, or a timm encoder without its stages beyond an eighth."""
        stem_stride: Literal[1, 2] = 1
        """First stride of a timm encoder: 1, of the paper, sees more; 2, as it was pretrained, is many times faster."""
        glimpse: int = Field(default=64, ge=REDUCTION, multiple_of=REDUCTION)
        """Side of the glimpse at each level, pixels."""
        features: Literal["spatialized", "flatten"] = "spatialized"
        """What the head sees of the trunk's maps: place and strength of each, or all cells, for comparison."""
        conditioning: Literal["heads", "embedding"] | None = None
        """How a shared network tells landmarks apart: by own last layers (also null), or by a learned vector each."""
        activation: Literal["relu", "leaky_relu"] = "relu"
        """Activation in the head: ReLU (the paper), or one with a slope of 0.1 below 0, by which no unit stays off."""
        dropout: float = Field(default=0.0, ge=0, lt=1)
        """Share of the numbers that the head is fed which each training step leaves out."""

        @model_validator(mode="after")
        def _check_trunk(self) -> Self:
            if self.trunk == "small" and self.stem_stride != 1:
                raise ValueError("stem_stride: expected 1 for the trunk small, got 2; leave it out, or take resnet34")
            if self.trunk == "small" and (self.pretrained or self.weights is not None):
                raise ValueError(
                    "trunk small: expected neither pretrained nor weights, for it has none; drop them, or take resnet34"
                )
            return self

    def __init__(self, num_landmarks: int, channels: int, levels: int, *given: Any, **options: Any) -> None:
        super().__init__()
        chosen = self.Config.of(*given, **options)
        self.trunk, depth = build_trunk(chosen.trunk, channels, chosen.pretrained, chosen.weights, chosen.stem_stride)
        self.trunk.to(memory_format=torch.channels_last)
        self.features: nn.Module = SpatializedFeatures() if chosen.features == "spatialized" else nn.Flatten(-3)
        per_level = depth * (3 if chosen.features == "spatialized" else (chosen.glimpse // REDUCTION) ** 2)
        self.embedding: nn.Parameter | None = None
        own = num_landmarks  # sets of weights of the last two layers
        if num_landmarks > 1 and chosen.conditioning == "embedding":
            self.embedding = nn.Parameter(torch.randn(num_landmarks, EMBEDDING))
            own = 1
        inputs = levels * per_level + (EMBEDDING if self.embedding is not None else 0)
        self.standardize = Standardize(levels * per_level, affine=False) if num_landmarks > 1 else None
        self.first = nn.Linear(inputs, HIDDEN[0])
        nn.init.orthogonal_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        self.second, self.last = LandmarkLinear(own, *HIDDEN), LandmarkLinear(own, HIDDEN[1], 2)
        if num_landmarks > 1:
            nn.init.zeros_(self.last.weight)
        self.leak = LEAK if chosen.activation == "leaky_relu" else 0.0
        self.dropout = nn.Dropout(chosen.dropout)
        self.register_buffer("active", torch.zeros(num_landmarks, HIDDEN[1]), persistent=False)

    def forward(self, glimpses: Tensor) -> Tensor:
        """Offsets; only the trunk computes in reduced precision when training does."""
        maps = self.maps(glimpses.flatten(0, 2)).float()
        with torch.autocast(glimpses.device.type, enabled=False):
            numbers = self.features(maps).reshape(*glimpses.shape[:2], -1)
            if self.standardize is not None:
                numbers = self.standardize(numbers.flatten(0, 1)).reshape(numbers.shape)
            if self.embedding is not None:
                numbers = torch.cat([numbers, self.embedding.expand(len(numbers), -1, -1)], dim=-1)
            hidden = self._activate(self.second(self._activate(self.first(self.dropout(numbers)))))
            if self.training:
                self.active += (hidden > 0).any(0).to(self.active)
            return cast(Tensor, self.last(hidden))

    def _activate(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(x, self.leak) if self.leak else x.relu()

    def maps(self, glimpses: Tensor) -> Tensor:
        """The trunk's maps (N, depth, g / 8, g / 8) of glimpses (N, C, g, g)."""
        found = self.trunk(glimpses)
        return cast(Tensor, found[-1] if isinstance(found, list) else found)


class Standardize(nn.BatchNorm1d):
    """Batch normalisation of (N, features) that takes its running statistics in training too when N is below
    ``FEW``: mean and spread of so few samples are mostly noise."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, features), each feature with mean 0 and standard deviation 1."""
        if not self.training or len(input) >= FEW:
            return super().forward(input)
        with torch.no_grad():
            if len(input) > 1:
                super().forward(input)  # moves the running statistics
        self.eval()
        out = super().forward(input)
        self.train()
        return out


class LandmarkLinear(nn.Module):
    """A linear layer per landmark, (M, K, a) -> (M, K, b); with one set of weights the same for all."""

    def __init__(self, sets: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sets, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(sets, outputs))
        for matrix in self.weight:
            nn.init.orthogonal_(matrix)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.weight) == 1:
            return x @ self.weight[0] + self.bias[0]
        return torch.einsum("mka,kab->mkb", x, self.weight) + self.bias


class SmallTrunk(nn.Sequential):
    """A residual trunk for small machines: about a twelfth of the ResNet-34 trunk's time on a CPU, 0.8 M weights."""

    def __init__(self, in_channels: int, width: int = SMALL_WIDTH) -> None:
        super().__init__(
            conv_block(in_channels, width, 5, "relu", stride=2),
            conv_block(width, 2 * width, 3, "relu", stride=2),
            Residual(2 * width),
            conv_block(2 * width, 4 * width, 3, "relu", stride=2),
            Residual(4 * width),
            Residual(4 * width),
        )
        self.depth = 4 * width
        initialise(self)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv_block(width, width, 3, "relu")
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), unchanged in shape."""
        return cast(Tensor, (x + self.second(self.first(x))).relu())


class TwoStages(nn.Module):
    """The maps of an encoder's two stages as one, the coarser ones between their cells: what the finer stage of a few
    layers sees is exact, what the coarser one of more layers sees is telling."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, depth, h / 8, w / 8)."""
        fine, coarse = self.encoder(x)
        coarse = nn.functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, coarse], dim=1)


def build_trunk(
    name: str, in_channels: int, pretrained: bool = False, weights: str | None = None, stem_stride: int = 1
) -> tuple[nn.Module, int]:
    """A trunk that makes maps an eighth of the glimpse, and how many.

    ``name``: ``small``, or a timm encoder, whose first strided convolution gets ``stem_stride`` and whose stages beyond
    an eighth of the glimpse are left out: ``resnet34`` with 1 is the paper's. With 2 the stage of a sixteenth joins,
    see ``TwoStages``. Raises ConfigError for an encoder that has no such stages or begins with no strided convolution,
    and as ``build_encoder``.
    """
    if name == "small":
        trunk = SmallTrunk(in_channels)
        return trunk, trunk.depth
    with torch.random.fork_rng(devices=[]):
        plain = build_encoder(name, in_channels, False, None)
    unit = max(_stem(plain, name).stride) // stem_stride
    reductions = [int(r) for r in plain.feature_info.reduction()]  # type: ignore[union-attr, operator]
    wanted = [unit * REDUCTION * 2**i for i in range(stem_stride)]
    if not set(wanted) <= set(reductions):
        raise ConfigError(
            f"trunk '{name}': expected an encoder with maps at 1/{unit * REDUCTION}, got 1/"
            f"{', 1/'.join(map(str, reductions))}; take {TRUNKS}"
        )
    encoder = build_encoder(name, in_channels, pretrained, weights, tuple(map(reductions.index, wanted)))
    _leave_out(encoder)
    _stem(encoder, name).stride = (stem_stride, stem_stride)
    channels: Any = encoder.feature_info.channels()  # type: ignore[union-attr, operator]
    depth = sum(int(count) for count in channels)
    return (encoder if stem_stride == 1 else TwoStages(encoder)), depth


def _leave_out(encoder: nn.Module) -> None:
    """Take the stages away that give no feature which is used; timm computes them in EfficientNets all the same.

    Weights that hold them, of runs made before, still load.
    """
    stages, blocks = getattr(encoder, "_stage_out_idx", None), getattr(encoder, "blocks", None)
    if not stages or not isinstance(blocks, nn.Sequential) or getattr(encoder, "feature_hooks", None) is not None:
        return
    count = max(stages)
    encoder.blocks = blocks[:count]

    def forget(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        start = f"{prefix}blocks."
        for key in [key for key in state if key.startswith(start)]:
            if int(key[len(start) :].split(".")[0]) >= count:
                del state[key]

    cast(Any, encoder).register_load_state_dict_pre_hook(forget)


def _stem(encoder: nn.Module, name: str) -> nn.Conv2d:
    """The first convolution that strides; raises ConfigError where there is none."""
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1:
            return layer
    raise ConfigError(
        f"trunk '{name}': expected an encoder with a strided convolution, got one that only pools; take {TRUNKS}"
    )
