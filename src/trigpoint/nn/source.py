"""A model of another task whose features are kept: the *source* of cross-task learning, frozen and in inference mode.

It has the encoder of the landmark network and, where it came with one, the classifier of its own task: global average
pooling and one linear layer, after a last convolution in some networks. It comes from timm (by name, or ``hf_hub:``),
from a local checkpoint, or from the weights of a network of ours.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self, cast

import timm
import torch
from torch import nn

from trigpoint.errors import ConfigError
from trigpoint.nn.backbones import build_encoder
from trigpoint.nn.pretrained import weights_for


class ExpectedInput(NamedTuple):
    """What a source was trained with; see ``InputConfig``. ``channels`` None: any number."""

    normalize: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: int | None = None


class WideClassifier(nn.Module):
    """A classifier that widens the deepest features first, as those of the EfficientNets do.

    ``widen``: convolution and normalisation, the statistics of which are never those of a batch. Called with the
    deepest features (B, C, h, w), it gives scores (B, classes).
    """

    def __init__(self, widen: nn.Module, linear: nn.Linear) -> None:
        super().__init__()
        self.widen, self.linear = widen, linear
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in inference mode, whatever is asked for."""
        return super().train(False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scores."""
        return pooled_logits(self.linear, self.widen(features))


class Source(nn.Module):
    """Encoder and, perhaps, classifier of another task; never trained, always in inference mode."""

    def __init__(
        self, encoder: nn.Module, classifier: nn.Linear | WideClassifier | None, expects: ExpectedInput
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier
        self.expects = expects
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in inference mode, whatever is asked for."""
        return super().train(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Deepest features (B, C, h, w) of images."""
        return self.levels(x)[-1]

    @torch.no_grad()
    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features (B, C, h, w) of images at every level, finest first."""
        return cast(list[torch.Tensor], self.encoder(x))


def pooled_logits(classifier: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Scores (B, classes) of the deepest features (B, C, h, w): average over the places, one linear layer."""
    if isinstance(classifier, WideClassifier):
        return cast(torch.Tensor, classifier(features))
    return cast(torch.Tensor, classifier(features.mean((-2, -1))))


def load_source(
    encoder: str,
    channels: int,
    weights: str | None = None,
    classifier: bool = False,
    expects: ExpectedInput | None = None,
) -> Source:
    """The source model with the architecture ``encoder`` for ``channels`` input channels: timm's, or a checkpoint's.

    ``classifier``: whether its classifier is needed. ``expects``: the input that it was trained with, where timm does
    not say it rightly. Raises ConfigError for weights that cannot be had, that belong to another encoder, or that have
    no classifier where one is needed.
    """
    body = build_encoder(encoder, channels, weights is None, weights)
    head = _timm_classifier(weights, encoder, channels, body) if classifier else None
    if expects is not None:
        return Source(body, head, expects)
    known = _timm_settings(encoder)
    return Source(body, head, ExpectedInput("fixed", known["mean"], known["std"], 3))


def source_of(
    state: Mapping[str, torch.Tensor],
    encoder: str,
    channels: int,
    classifier: bool,
    expects: ExpectedInput,
    where: str,
) -> Source:
    """The source model in the weights of a network of ours, from ``where``; errors as of ``load_source``."""
    body = build_encoder(encoder, channels, False, None)
    own = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    try:
        body.load_state_dict(own)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ConfigError(f"{where}: its weights do not fit encoder '{encoder}' ({first}); train it again") from None
    head = None
    if classifier:
        if "classifier.weight" not in state:
            raise ConfigError(_no_classes(where))
        weight = state["classifier.weight"]
        head = nn.Linear(weight.shape[1], weight.shape[0])
        head.load_state_dict({"weight": weight, "bias": state["classifier.bias"]})
    return Source(body, head, expects)


def _timm_classifier(weights: str | None, encoder: str, channels: int, body: nn.Module) -> nn.Linear | WideClassifier:
    """The classifier of timm's whole model, if that is average pooling and a linear layer, perhaps after one
    convolution."""
    more: dict[str, Any] = {}
    if weights is not None:
        state = weights_for(weights, encoder)
        key = str(_timm_settings(encoder).get("classifier") or "fc") + ".weight"
        if key not in state:
            raise ConfigError(_no_classes(weights))
        count = int(state[key].shape[0])
        more = {"num_classes": count, "pretrained_cfg_overlay": {"state_dict": state, "num_classes": count}}
    whole: Any = timm.create_model(encoder, pretrained=True, in_chans=channels, **more).eval()
    head = whole.get_classifier()
    probe = torch.linspace(-1, 1, channels * 64 * 64).view(1, channels, 64, 64).sin()
    if not isinstance(head, nn.Linear) and not getattr(head, "weight", torch.empty(0)).numel():
        raise ConfigError(_no_classes(f"encoder '{encoder}'"))
    if isinstance(head, nn.Linear):
        after = [getattr(whole, name, None) for name in ("conv_head", "bn2")]  # timm's names
        widen = [layer for layer in after if isinstance(layer, nn.Module)]
        found = WideClassifier(nn.Sequential(*widen), head) if widen else head
        takes = widen[0].in_channels if widen and isinstance(widen[0], nn.Conv2d) else head.in_features
        with torch.no_grad():
            features = body.eval()(probe)[-1]
            same = takes == features.shape[1] and torch.allclose(
                whole(probe), pooled_logits(found, features), rtol=1e-3, atol=1e-4
            )
        if same:
            return found
    raise ConfigError(
        f"encoder '{encoder}': expected a classifier that averages the deepest features and applies one linear layer, "
        "got more than that; set method.transfer.loss=encoder, or choose a ResNet"
    )


def _timm_settings(encoder: str) -> dict[str, Any]:
    """Mean, standard deviation and name of the classifier that timm knows of an encoder."""
    if encoder.startswith(("hf_hub:", "hf-hub:", "local-dir:")):
        return cast(dict[str, Any], timm.create_model(encoder, pretrained=False).pretrained_cfg)
    found: Any = timm.get_pretrained_cfg(encoder)
    if found is None:
        raise ConfigError(f"encoder '{encoder}': timm does not say what input it expects; give source.normalize")
    return cast(dict[str, Any], found.to_dict())


def _no_classes(what: str) -> str:
    return (
        f"{what}: expected a source with a classifier, which method.transfer.loss=classifier or both compares, got "
        "none; set method.transfer.loss=encoder, or give a source that was trained to classify"
    )
