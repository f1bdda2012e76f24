"""Cross-task representation learning (Fu, Jiao, Suttie, Noble, MLMI 2020): a frozen source regularises few-label
training.

The landmark network begins with the source's encoder, theta_1, and while it learns the landmarks with L_R it is
penalised for features that differ from those of the source on the same images:

    L = L_R + lambda L_D                                                                    (Eq. 2)
    L_CD = mean_i || softmax(g(f_s(I_i)) / mu) - softmax(g(f_t(I_i)) / mu) ||_2^2            (Eq. 3, ``classifier``)
    L_ED = mean_i (1 - cos(f_s(I_i), f_t(I_i)))                                             (Eq. 4, ``encoder``)

or for attention maps that differ from those of the source (the authors' later paper, arXiv 2109.05485; the distance is
that of Zagoruyko and Komodakis, ICLR 2017):

    L_A = mean_i (|| s(f_s) - s(f_t) ||_2^2 + || c(f_s) - c(f_t) ||_2^2)                    (``attention``)

s is the sum over the channels of the squared features, at each place, c their mean over the places, of each channel,
both divided by their norm. f is the encoder's output, g the source's classifier, mu a temperature. Eq. 4 prints
1 - sum_i cos(.), which has the same gradient times the size of the batch. L_R is the mean over the pixels of the
squared error: with the sum that Eq. 1 prints, lambda = 0.002 would be drowned (``method.loss.reduction=sum`` has it).

The deepest features hardly know where things are, so at lambda = 0.002 L_ED mostly fights the fit. ``level`` compares
finer ones instead, and ``decay`` lets lambda fall to 0; both are beyond the paper.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.methods.base import StageRun
from trigpoint.nn import EncoderNetwork, LandmarkNetwork
from trigpoint.nn.source import ExpectedInput, Source, load_source, pooled_logits, source_of
from trigpoint.recipe import AugmentConfig, DataConfig, InputConfig, WeightsConfig

REMEDIES = (
    "give one of: source.pretrained=true (timm's weights, needs the internet once), source.weights=FILE (a checkpoint "
    "of that encoder), source.run=FOLDER (train one: trigpoint train source-classes data.path=IMAGES --out FOLDER)"
)


class SourceConfig(WeightsConfig):
    """Where the source model comes from; its encoder is the one that the landmark network names."""

    run: str | None = None
    """Run folder of ``trigpoint train``, of a classification or of landmarks."""
    normalize: Literal["image", "fixed", "unit"] | None = None
    """Input that it was trained with, as ``data.input.normalize``; null: as timm or the run says."""
    mean: tuple[float, ...] | None = None
    """Means of the input, one per channel, for ``normalize: fixed``."""
    std: tuple[float, ...] | None = None
    """Standard deviations of the input, one per channel, for ``normalize: fixed``."""

    @model_validator(mode="after")
    def _check(self) -> SourceConfig:
        given = [name for name in ("pretrained", "weights", "run") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"expected one origin, got {' and '.join(given) or 'none'}; {REMEDIES}")
        if self.run is not None and self.normalize is not None:
            raise ValueError("a run says itself what input it had; remove source.normalize")
        if (self.mean is None) != (self.std is None) or (self.mean is not None) != (self.normalize == "fixed"):
            raise ValueError("mean and std go together with normalize=fixed; give all three or none")
        return self


class CrossTask(nn.Module):
    """A network that starts as the source, and L_D, which keeps it near.

    Called with the padded images (B, C, H, W) of a batch, the features (B, F, h, w) of the levels of the network's
    encoder, positions in the dataset (B,) and the share of training that is done, it gives lambda L_D. Raises
    ConfigError for a network or source that does not fit.
    """

    class Config(config.Component):
        name: Literal["cross_task"] = "cross_task"
        source: SourceConfig
        """Where the source model comes from."""
        loss: Literal["none", "classifier", "encoder", "both", "attention"] = "none"
        """What is kept near the source's, L_D; none only starts from the source (the paper's FT, FTP, FE)."""
        weight: float = Field(default=0.002, ge=0)
        """Weight of L_D, lambda."""
        decay: Literal["none", "linear"] = "none"
        """Whether lambda stays, or falls to 0 by the end of training."""
        level: Literal["last", 4, 8, 16] = "last"
        """Features that L_ED and L_A compare: the encoder's deepest, or those of this stride."""
        temperature: float = Field(default=2.0, gt=0)
        """Temperature of the class probabilities, mu."""
        features: Literal["flattened", "pooled"] = "flattened"
        """What L_ED compares: whole maps, or their average over the places."""
        classifier: Literal["frozen", "trained"] = "frozen"
        """Whether the landmark network's copy of the source's classifier stays or learns."""
        train: Literal["all", "last", "decoder"] = "all"
        """What learns: all (FT), the encoder's last convolution and the decoder (FTP), or the decoder alone (FE)."""
        encoder_norm: Literal["frozen", "batch"] = "frozen"
        """Statistics of batch normalisation: the source's, as small batches need, or those of each batch."""
        cache: bool = False
        """Keep the source's features of each image; training then has to go without augmentation."""

        @property
        def regularises(self) -> bool:
            """Whether there is an L_D at all; without, this is plain fine-tuning."""
            return self.loss != "none" and self.weight > 0

    def __init__(
        self,
        options: CrossTask.Config,
        network: LandmarkNetwork,
        about: config.Component,
        channels: int,
        run: StageRun | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(network, EncoderNetwork):
            raise ConfigError(
                f"method.transfer: expected a network with a timm encoder, got {about.name}; "
                "set method.network.name=simple_baseline or timm_unet"
            )
        given = [key for key in ("pretrained", "weights") if getattr(about, key)]
        if given:
            raise ConfigError(
                f"method.transfer: the encoder starts with the source's weights, got method.network.{given[0]} as "
                f"well; move it to method.transfer.source.{given[0]}"
            )
        self.options = options
        compares_classes = options.regularises and options.loss in ("classifier", "both")
        with torch.random.fork_rng(devices=[]):  # training draws the same numbers with a source and without
            source = origin(options.source, str(cast(Any, about).encoder), channels, compares_classes, run)
        network.encoder.load_state_dict(source.encoder.state_dict())
        self.at = level_index(source, channels, options.level)
        self.expects = source.expects
        self.source: Source | None = source.to(memory_format=torch.channels_last) if options.regularises else None
        self.classifier = copy.deepcopy(source.classifier) if compares_classes else None
        if self.classifier is not None:
            self.classifier.requires_grad_(options.classifier == "trained")
        _freeze(network.encoder, options.train)
        self._cached: dict[int, tuple[Tensor, Tensor | None]] = {}

    def check_data(self, data: DataConfig) -> None:
        """Raise ConfigError, with what to set, for data that a source cannot be compared on."""
        check_input(self.expects, data.input)
        varied = data.augment.model_copy(update={"drop_outside": AugmentConfig().drop_outside})
        if self.options.cache and varied != AugmentConfig():
            raise ConfigError(
                "method.transfer.cache: the source's features of an image can be kept only while the image stays the "
                "same, got data.augment; remove the augmentation, or set method.transfer.cache=false"
            )
        if data.unlabelled and not self.options.regularises:
            raise ConfigError(
                f"data.unlabelled={data.unlabelled}: expected method.transfer with a loss and a weight above 0, which "
                "learns from images without labels, got one that only starts from the source; set "
                "method.transfer.loss=encoder and a weight above 0, or set data.unlabelled=0"
            )

    def hold(self, network: nn.Module) -> None:
        """Keep the statistics of the encoder's normalisation that are not to follow the batches."""
        for layer in cast(EncoderNetwork, network).encoder.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                learns = layer.weight is None or layer.weight.requires_grad
                if self.options.encoder_norm == "frozen" or not learns:
                    layer.eval()

    def forward(self, images: Tensor, levels: Sequence[Tensor], index: Tensor, progress: float = 0.0) -> Tensor:
        """lambda L_D of a batch; zero without a regulariser."""
        if self.source is None:
            return levels[-1].new_zeros((), dtype=torch.float32)
        theirs, probabilities = self._of_source(images, index)
        features = levels[self.at]
        total = torch.zeros((), device=features.device)
        if self.options.loss in ("encoder", "both"):
            total = total + encoder_distance(theirs, features, self.options.features == "pooled")
        if self.options.loss == "attention":
            total = total + attention_distance(theirs, features)
        if self.classifier is not None and probabilities is not None:
            own = self.probabilities(self.classifier, levels[-1])
            total = total + (probabilities - own).square().sum(-1).mean()
        left = 1.0 if self.options.decay == "none" else max(0.0, 1 - progress)
        return left * self.options.weight * total

    def probabilities(self, classifier: nn.Module, features: Tensor) -> Tensor:
        """softmax(g(f) / mu), (B, classes), in full precision."""
        with torch.autocast(features.device.type, enabled=False):
            return (pooled_logits(classifier, features.float()) / self.options.temperature).softmax(-1)

    @torch.no_grad()
    def _of_source(self, images: Tensor, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and class probabilities of the source, from the cache where that is asked for."""
        positions = index.tolist()
        source = cast(Source, self.source)
        if not self.options.cache or any(i not in self._cached for i in positions):
            levels = source.levels(images)
            features = levels[self.at]
            classes = None if source.classifier is None else self.probabilities(source.classifier, levels[-1])
            if not self.options.cache:
                return features, classes
            for row, i in enumerate(positions):
                self._cached[i] = (features[row].cpu(), None if classes is None else classes[row].cpu())
        kept = [self._cached[i] for i in positions]
        features = torch.stack([f for f, _ in kept]).to(images.device)
        known = [p for _, p in kept if p is not None]
        return features, torch.stack(known).to(images.device) if known else None


def origin(options: SourceConfig, encoder: str, channels: int, classifier: bool, run: StageRun | None = None) -> Source:
    """The source model that the options name, with the architecture ``encoder``; raises ConfigError with what helps."""
    if run is not None:
        return _of_run(run, encoder, channels, classifier)
    expects = None
    if options.normalize is not None:
        expects = ExpectedInput(options.normalize, options.mean, options.std, channels)
    try:
        return load_source(encoder, channels, options.weights, classifier, expects)
    except ConfigError as error:
        raise ConfigError(f"method.transfer.source: {error}. Else {REMEDIES}") from error


def _of_run(run: StageRun, encoder: str, channels: int, classifier: bool) -> Source:
    method: Any = getattr(run.recipe, "method", None)
    theirs = getattr(run.recipe, "encoder", None) or getattr(getattr(method, "network", None), "encoder", None)
    if theirs is None:
        got = getattr(getattr(method, "network", method), "name", "another")
        raise ConfigError(f"{run.folder}: expected a run whose network has a timm encoder, got {got}; {REMEDIES}")
    if theirs != encoder:
        raise ConfigError(
            f"{run.folder}: expected a source with encoder '{encoder}' as the landmark network, got '{theirs}'; "
            f"set method.network.encoder={theirs}, or give another source"
        )
    seen = run.recipe.data.input
    expects = ExpectedInput(seen.normalize, seen.mean, seen.std, seen.channels)
    check_input(expects, seen.model_copy(update={"channels": channels}))
    return source_of(run.weights, encoder, channels, classifier, expects, str(run.folder))


def check_input(expects: ExpectedInput, given: InputConfig) -> None:
    """Raise ConfigError, with what to set, when the landmark network would see its images otherwise than the source."""
    ask = []
    if expects.channels is not None and given.channels != expects.channels:
        ask.append(f"data.input.channels={expects.channels}")
    if given.normalize != expects.normalize or not (
        _close(given.mean, expects.mean) and _close(given.std, expects.std)
    ):
        ask.append(f"data.input.normalize={expects.normalize}")
        for name, values in (("mean", expects.mean), ("std", expects.std)):
            if values is not None:
                ask.append(f"data.input.{name}=[{', '.join(f'{value:.6g}' for value in values)}]")
            elif getattr(given, name) is not None:
                ask.append(f"data.input.{name}=null")
    if ask:
        raise ConfigError(
            "method.transfer: expected source and landmark network to see images alike, got "
            f"data.input.normalize={given.normalize} with {given.channels} channel(s); set " + " ".join(ask)
        )


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    a, b = a or (), b or ()
    return len(a) == len(b) and np.allclose(a, b, rtol=1e-4, atol=1e-6)


def encoder_distance(source: Tensor, target: Tensor, pooled: bool = False) -> Tensor:
    """L_ED, the mean over the images of 1 - cos between two features (B, C, h, w): 0 = same direction, 2 = opposite.

    ``pooled`` averages over the places first; otherwise each image's C h w numbers are one vector.

    >>> a = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    >>> b = torch.tensor([4.0, 3.0]).view(1, 2, 1, 1)
    >>> round(float(encoder_distance(a, b)), 6)  # 1 - 24 / 25
    0.04
    """
    if pooled:
        source, target = source.mean((-2, -1)), target.mean((-2, -1))
    with torch.autocast(target.device.type, enabled=False):
        cosine = functional.cosine_similarity(source.float().flatten(1), target.float().flatten(1), dim=1)
    return (1 - cosine).mean()


def attention_distance(source: Tensor, target: Tensor) -> Tensor:
    """L_A, the mean over the images of the squared distances of two features' (B, C, h, w) attention maps, 0 to 8.

    >>> a = torch.tensor([[[[1.0, 0.0]]]])
    >>> b = torch.tensor([[[[0.0, 1.0]]]])  # as strong, elsewhere
    >>> float(attention_distance(a, a)), float(attention_distance(a, b))
    (0.0, 2.0)
    """
    total = torch.zeros((), device=target.device)
    with torch.autocast(target.device.type, enabled=False):
        for over in (1, (-2, -1)):
            maps = [functional.normalize(f.float().square().mean(over).flatten(1), dim=1) for f in (source, target)]
            total = total + (maps[0] - maps[1]).square().sum(1).mean()
    return total


@torch.no_grad()
def level_index(source: Source, channels: int, level: str | int) -> int:
    """Which of the encoder's levels is compared; raises ConfigError for a resolution that it does not have."""
    if level == "last":
        return -1
    side = 128
    reductions = [side // features.shape[-1] for features in source.levels(torch.zeros(1, channels, side, side))]
    if level not in reductions:
        have = ", ".join(map(str, reductions))
        raise ConfigError(f"method.transfer.level: expected one that the encoder has ({have}) or last, got {level}")
    return reductions.index(int(level))


def _freeze(encoder: nn.Module, train: str) -> None:
    """Let all of the encoder learn, only its last convolution and the normalisation after it, or nothing."""
    if train == "all":
        return
    encoder.requires_grad_(False)
    if train == "last":
        beside = {"downsample", "shortcut", "se"}  # timm's names of what stands after a block's own layers
        layers = [layer for name, layer in encoder.named_modules() if not beside & {*name.split(".")}]
        last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d | nn.Linear))
        for layer in layers[last:]:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(True)
