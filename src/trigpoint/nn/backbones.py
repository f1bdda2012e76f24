"""Any encoder of timm, pretrained or not, with an upsampling decoder that keeps the maps aligned to the pixel.

Most encoders do not: a 3 x 3 convolution of stride 2 and padding 1 is centred on every second pixel, so that the
features of reduction r lie (r - 1) / 2 input pixels to the left and above of the cells they stand for, 15.5 px at
reduction 32. Others (patches, "same" padding) lie elsewhere. Where the features of an encoder lie follows from the
kernel, stride and padding of its strided layers; the decoder moves them accordingly.
"""

import difflib
import itertools
import logging
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, cast

import numpy as np
import timm
import torch
from pydantic import Field
from torch import nn

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.geometry import from_grid
from trigpoint.nn.base import EncoderNetwork, conv, conv_block, double, initialise
from trigpoint.nn.precision import grouped_in_float
from trigpoint.nn.pretrained import weights_for
from trigpoint.recipe import WeightsConfig

PROBE = 128  # side of the image that an encoder is tried with; a multiple of every usual reduction


class TimmUNet(EncoderNetwork):
    """A timm encoder and a decoder that doubles the resolution until ``stride``, with skip connections.

    Raises ConfigError for an unknown encoder, with the nearest names, for one that gives no pyramid of features, and
    for weights that cannot be reached or do not belong to the encoder.

    >>> net = TimmUNet(in_channels=1, num_landmarks=3, encoder="resnet10t", widths=(16, 8, 8))
    >>> net(torch.zeros(2, 1, 65, 130)).shape
    torch.Size([2, 3, 17, 33])
    """

    class Config(WeightsConfig, config.Component):
        name: Literal["timm_unet"] = "timm_unet"
        encoder: str = "resnet18"
        """Name of timm, with or without the tag of its weights, or ``hf_hub:owner/model``."""
        stride: Literal[1, 2, 4] = 4
        """Input pixels per cell of the maps."""
        widths: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128, 64, 32, 16)
        """Channels of the decoder's steps, the coarsest first; those not needed for ``stride`` are left out."""

    options: Config

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__(in_channels, num_landmarks, *given, **options)
        encoder, stride, widths = self.options.encoder, self.options.stride, self.options.widths
        self.encoder = build_encoder(encoder, in_channels, self.options.pretrained, self.options.weights)
        channels, offsets = examine(self.encoder, encoder, in_channels)
        deepest = max(channels)
        reductions = list(itertools.takewhile(lambda r: r >= stride, (deepest >> i for i in itertools.count(1))))
        if len(widths) < len(reductions):
            need = f"expected at least {len(reductions)} numbers for stride {stride}"
            raise ConfigError(f"widths: {need}, got {list(widths)}; one for each doubling of the encoder's maps")
        self.stride, self.multiple = stride, deepest
        self.steps = nn.ModuleList()
        at, depth = offsets[deepest], channels[deepest]
        for reduction, width in zip(reductions, widths, strict=False):
            aligned = _center(reduction)
            to = aligned if reduction == stride else offsets.get(reduction, aligned)
            skip = channels.get(reduction, 0)
            shift = (to - at) / (2 * reduction) - (aligned - _center(2 * reduction)) / (2 * reduction)
            skip_shift = (to - offsets.get(reduction, to)) / reduction
            self.steps.append(DecoderStep(depth, skip, width, shift, skip_shift))
            at, depth = to, width
        self.reductions = tuple(reductions)
        self.head = conv(depth, num_landmarks, 3)
        initialise(self.steps)
        initialise(self.head, last=self.head)

    def decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        y = features[-1]
        width = self.multiple * y.shape[-1]
        by_reduction = {width // level.shape[-1]: level for level in features}
        for reduction, step in zip(self.reductions, self.steps, strict=True):
            y = step(y, by_reduction.get(reduction))
        return cast(torch.Tensor, self.head(y))


class DecoderStep(nn.Module):
    """Twice the resolution, the encoder's features of that resolution beside it, two convolutions.

    ``shift`` and ``skip_shift`` move the two inputs onto the cells of the output, each in its own pixels.
    """

    def __init__(self, channels: int, skip: int, width: int, shift: float, skip_shift: float) -> None:
        super().__init__()
        self.shift, self.skip_shift = shift, skip_shift
        self.convs = nn.Sequential(conv_block(channels + skip, width, 3, "relu"), conv_block(width, width, 3, "relu"))

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """(B, C, H, W) and (B, S, 2H, 2W) or None -> (B, width, 2H, 2W)."""
        x = double(move(x, self.shift))
        if skip is not None:
            x = torch.cat([x, move(skip, self.skip_shift)], dim=1)
        return cast(torch.Tensor, self.convs(x))


def move(x: torch.Tensor, by: float) -> torch.Tensor:
    """Values of (B, C, H, W) at the points ``by`` cells further right and below, linear between cells, |by| <= 1.

    >>> move(torch.tensor([[[[0.0, 4.0, 8.0]]]]), 0.25)
    tensor([[[[1., 5., 8.]]]])
    """
    if by == 0:
        return x
    for axis in (-1, -2):
        size = x.shape[axis]
        if by > 0:
            neighbour = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], dim=axis)
        else:
            neighbour = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], dim=axis)
        x = torch.lerp(x, neighbour, abs(by))
    return x


def build_encoder(
    name: str, in_channels: int, pretrained: bool, weights: str | None, stages: tuple[int, ...] | None = None
) -> nn.Module:
    """The encoder as a module that gives its features, finest first; raises ConfigError as ``TimmUNet``.

    ``stages``: only these of timm's features, without the layers beyond them (None: all).
    """
    remote = name.startswith(("hf_hub:", "hf-hub:", "local-dir:"))
    if not remote and not timm.is_model(name):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() gives all names"
        raise ConfigError(f"encoder: unknown to timm: '{name}'; {hint}")
    create: Any = partial(timm.create_model, name, features_only=True, in_chans=in_channels)
    if stages is not None:
        create = partial(create, out_indices=stages)
    if weights is not None:
        return grouped_in_float(_with_local_weights(create, name, weights))
    try:
        return grouped_in_float(cast(nn.Module, create(pretrained=pretrained)))
    except Exception as error:  # timm and its hub client raise whatever their transport raises
        if not (pretrained or remote):
            raise ConfigError(f"encoder '{name}': timm cannot give its features: {error}; choose another") from error
        remedy = "connect to the internet, or set pretrained=false, or give weights=FILE, a local checkpoint"
        raise ConfigError(f"encoder '{name}': its weights cannot be had ({_short(error)}); {remedy}") from error


def _with_local_weights(create: Callable[..., nn.Module], name: str, weights: str) -> nn.Module:
    """timm loads leniently, so the encoder is also made without the file: what is equal in both was not loaded.

    As many random numbers are drawn as without the file, so that the decoder begins alike with all weights.
    """
    state = weights_for(weights, name)
    with torch.random.fork_rng(devices=[]):
        plain = create(pretrained=False)
    logging.getLogger("timm").setLevel(logging.ERROR)  # it warns of the layers of a classifier, which have no use here
    try:
        loaded = create(pretrained=True, pretrained_cfg_overlay={"state_dict": state})
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(f"{weights}: no weights of encoder '{name}': {_short(error)}") from error
    before = dict(plain.named_parameters())
    kept = [key for key, value in loaded.named_parameters() if value.ndim > 1 and torch.equal(value, before[key])]
    kept = [key for key in kept if (before[key] != before[key].flatten()[0]).any()]  # not what starts constant
    if kept:
        missing = f"{len(kept)} of its weights are missing, such as '{kept[0]}'"
        raise ConfigError(f"{weights}: no weights of encoder '{name}': {missing}; name the encoder they were made for")
    return loaded


def examine(encoder: nn.Module, name: str, in_channels: int) -> tuple[dict[int, int], dict[int, float]]:
    """Channels by reduction, and the input pixel that the first feature of each reduction is centred on.

    Every strided layer of kernel k and padding p sees its own input from (k - 1) / 2 - p on; layers side by side
    (main path and shortcut) count by their mean. Raises ConfigError when the features form no pyramid of powers of 2.
    """
    moves: dict[int, list[float]] = {}

    def record(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        reduction = PROBE // inputs[0].shape[-1]
        moves.setdefault(reduction, []).append(_first_center(layer))

    strided = [layer for layer in encoder.modules() if _stride(layer) > 1]
    hooks = [layer.register_forward_hook(record) for layer in strided]
    training = encoder.training
    try:
        with torch.no_grad():
            features = encoder.eval()(torch.zeros(1, in_channels, PROBE, PROBE))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"encoder '{name}' does not take images of any size: {_short(error)}; choose another"
        ) from error
    finally:
        encoder.train(training)
        for hook in hooks:
            hook.remove()
    channels = {PROBE // level.shape[-1]: int(level.shape[1]) for level in features}
    levels = sorted(channels)
    regular = all(a * 2 == b for a, b in itertools.pairwise(levels)) and levels[0] & (levels[0] - 1) == 0
    if not regular or any(level.shape[-1] != level.shape[-2] for level in features):
        shapes = [tuple(level.shape[1:]) for level in features]
        raise ConfigError(
            f"encoder '{name}': expected features at reductions 2, 4, 8 ..., got {shapes}; choose another"
        )
    centers = {1: 0.0}
    for reduction in sorted(moves):
        after = next((r for r in sorted({*moves, *levels}) if r > reduction), 2 * reduction)
        centers[after] = centers.get(reduction, _center(reduction)) + reduction * float(np.mean(moves[reduction]))
    return channels, {level: centers.get(level, _center(level)) for level in levels}


def _stride(layer: nn.Module) -> int:
    return _side(getattr(layer, "stride", 1)) if hasattr(layer, "kernel_size") or hasattr(layer, "filt_size") else 1


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _first_center(layer: Any) -> float:
    """Where the first output of a convolution or pooling is centred, in pixels of its input."""
    size = layer.kernel_size if hasattr(layer, "kernel_size") else layer.filt_size  # the latter: timm's BlurPool2d
    kernel, padding = _side(size), _side(layer.padding)
    if type(layer).__name__.endswith("Same"):  # TensorFlow's rule for an even size, which pads the right side more
        padding = max(kernel - _stride(layer), 0) // 2
    return (kernel - 1) * _side(getattr(layer, "dilation", 1)) / 2 - padding


def _center(reduction: int) -> float:
    """Input pixel that the first cell of a map of that stride is centred on."""
    return float(from_grid(np.zeros(1), reduction)[0])


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else 'no details'}"
