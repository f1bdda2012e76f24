"""Cross-task representation learning (Fu, Jiao, Suttie, Noble, MLMI 2020): a frozen source regularises few-label
training.

The landmark network begins with the source's encoder, theta_1, and while it learns the landmarks with L_R it is held to
what the source says of the same images:

    L = L_R + lambda L_D                                                                    (Eq. 2)
    L_CD = mean_i || softmax(g(f_s(I_i)) / mu) - softmax(g(f_t(I_i)) / mu) ||_2^2            (Eq. 3, ``classifier``)
    L_ED = mean_i (1 - cos(f_s(I_i), f_t(I_i)))                                             (Eq. 4, ``encoder``)

f is the encoder's output, g the source's classifier, mu a temperature. Eq. 4 prints 1 - sum_i cos(.), which has the
same gradient times the size of the batch. L_R is the mean over the pixels of the squared error: with the sum that Eq. 1
prints, lambda = 0.002 would be drowned (``method.loss.reduction=sum`` has it).
"""

from __future__ import annotations

import copy
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.nn import EncoderNetwork, LandmarkNetwork, Source, SourceConfig, load_source
from trigpoint.nn.source import pooled_logits


class CrossTask(nn.Module):
    """A network that starts as the source, and L_D, which keeps it near.

    Called with the padded images (B, C, H, W) of a batch, the network's deepest features (B, F, h, w) of them and their
    positions in the dataset (B,), it gives lambda L_D, a scalar. Raises ConfigError for a network without a timm
    encoder, and for a source that does not fit (``load_source``).
    """

    class Config(config.Component):
        """Options of ``CrossTask``."""

        name: Literal["cross_task"] = "cross_task"
        source: SourceConfig
        """Where the source model comes from."""
        loss: Literal["none", "classifier", "encoder", "both"] = "encoder"
        """What is kept near the source's, L_D; none only starts from the source (the paper's FT, FTP, FE)."""
        weight: float = Field(default=0.002, ge=0)
        """Weight of L_D, lambda."""
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
        """Keep what the source says of each image; training then has to go without augmentation."""

        @property
        def regularises(self) -> bool:
            """Whether there is an L_D at all; without, this is plain fine-tuning."""
            return self.loss != "none" and self.weight > 0

    def __init__(
        self, options: CrossTask.Config, network: LandmarkNetwork, about: config.Config, channels: int
    ) -> None:
        super().__init__()
        if not isinstance(network, EncoderNetwork):
            name = cast(Any, about).name
            raise ConfigError(
                f"method.transfer: expected a network with a timm encoder, got {name}; "
                "set method.network.name=simple_baseline or timm_unet"
            )
        given = [key for key in ("pretrained", "weights") if getattr(about, key)]
        if given:
            raise ConfigError(
                f"method.transfer: the encoder starts with the source's weights, got method.network.{given[0]} as "
                f"well; "
                f"move it to method.transfer.source.{given[0]}"
            )
        self.options = options
        compares_classes = options.regularises and options.loss in ("classifier", "both")
        with torch.random.fork_rng(devices=[]):  # training draws the same numbers with a source and without
            source = load_source(options.source, str(cast(Any, about).encoder), channels, compares_classes)
        network.encoder.load_state_dict(source.encoder.state_dict())
        self.expects = source.expects
        self.source: Source | None = source.to(memory_format=torch.channels_last) if options.regularises else None
        self.classifier = copy.deepcopy(source.classifier) if compares_classes else None
        if self.classifier is not None:
            self.classifier.requires_grad_(options.classifier == "trained")
        _freeze(network.encoder, options.train)
        self._cached: dict[int, tuple[Tensor, Tensor | None]] = {}

    def hold(self, network: nn.Module) -> None:
        """Keep the statistics of the encoder's normalisation that are not to follow the batches."""
        for layer in cast(EncoderNetwork, network).encoder.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                learns = layer.weight is None or layer.weight.requires_grad
                if self.options.encoder_norm == "frozen" or not learns:
                    layer.eval()

    def forward(self, images: Tensor, features: Tensor, index: Tensor) -> Tensor:
        """lambda L_D of a batch; zero without a regulariser."""
        if self.source is None:
            return features.new_zeros((), dtype=torch.float32)
        theirs, probabilities = self._of_source(images, index)
        total = torch.zeros((), device=features.device)
        if self.options.loss in ("encoder", "both"):
            total = total + encoder_distance(theirs, features, self.options.features == "pooled")
        if self.classifier is not None and probabilities is not None:
            own = self.probabilities(self.classifier, features)
            total = total + (probabilities - own).square().sum(-1).mean()
        return self.options.weight * total

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
            features = source(images)
            classes = None if source.classifier is None else self.probabilities(source.classifier, features)
            if not self.options.cache:
                return features, classes
            for row, i in enumerate(positions):
                self._cached[i] = (features[row].cpu(), None if classes is None else classes[row].cpu())
        kept = [self._cached[i] for i in positions]
        features = torch.stack([f for f, _ in kept]).to(images.device)
        known = [p for _, p in kept if p is not None]
        return features, torch.stack(known).to(images.device) if known else None


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
