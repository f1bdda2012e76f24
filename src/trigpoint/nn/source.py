"""A model of another task whose features are kept: the *source* of cross-task learning, frozen and in inference mode.

It has the encoder of the landmark network and, where it came with one, the classifier of its own task: global average
pooling and one linear layer. It comes from timm (by name, or ``hf_hub:``), from a local checkpoint, or from a run of
``trigpoint train``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import timm
import torch
from pydantic import model_validator
from torch import nn

from trigpoint import config
from trigpoint.config import read_yaml
from trigpoint.data.input.augment import InputConfig
from trigpoint.errors import ConfigError
from trigpoint.nn.backbones import build_encoder
from trigpoint.nn.weights import read_weights

REMEDIES = (
    "give one of: source.pretrained=true (timm's weights, needs the internet once), source.weights=FILE (a checkpoint "
    "of that encoder), source.run=FOLDER (train one: trigpoint train source-classes data.path=IMAGES --out FOLDER)"
)


class SourceConfig(config.Config):
    """Where the source model comes from; its encoder is the one that the landmark network names."""

    pretrained: bool = False
    """Timm's weights, or those of the encoder's ``hf_hub:`` address."""
    weights: str | None = None
    """Local checkpoint: .safetensors, or a torch file of plain tensors."""
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
        given = [
            name
            for name, value in (("pretrained", self.pretrained), ("weights", self.weights), ("run", self.run))
            if value
        ]
        if len(given) != 1:
            raise ValueError(f"expected one origin, got {' and '.join(given) or 'none'}; {REMEDIES}")
        if self.run is not None and self.normalize is not None:
            raise ValueError("a run says itself what input it had; remove source.normalize")
        if (self.mean is None) != (self.std is None) or (self.mean is not None) != (self.normalize == "fixed"):
            raise ValueError("mean and std go together with normalize=fixed; give all three or none")
        return self


class ExpectedInput(NamedTuple):
    """What a source was trained with; see ``InputConfig``. ``channels`` None: any number."""

    normalize: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: int | None = None

    def check(self, given: InputConfig) -> None:
        """Raise ConfigError, with what to set, when the landmark network would see its images otherwise."""
        ask = []
        if self.channels is not None and given.channels != self.channels:
            ask.append(f"data.input.channels={self.channels}")
        if given.normalize != self.normalize or not (_close(given.mean, self.mean) and _close(given.std, self.std)):
            ask.append(f"data.input.normalize={self.normalize}")
            for name, values in (("mean", self.mean), ("std", self.std)):
                if values is not None:
                    ask.append(f"data.input.{name}=[{', '.join(f'{value:.6g}' for value in values)}]")
        if ask:
            raise ConfigError(
                "method.transfer: expected source and landmark network to see images alike, got "
                f"data.input.normalize={given.normalize} with {given.channels} channel(s); set " + " ".join(ask)
            )


class Source(nn.Module):
    """Encoder and, perhaps, classifier of another task; never trained, always in inference mode."""

    def __init__(self, encoder: nn.Module, classifier: nn.Linear | None, expects: ExpectedInput) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier
        self.expects = expects
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Source:
        """Stays in inference mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Deepest features (B, C, h, w) of images."""
        features: torch.Tensor = self.encoder(x)[-1]
        return features


def pooled_logits(classifier: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Scores (B, classes) of the deepest features (B, C, h, w): average over the places, one linear layer."""
    scores: torch.Tensor = classifier(features.mean((-2, -1)))
    return scores


def load_source(options: SourceConfig, encoder: str, channels: int, classifier: bool) -> Source:
    """The source model with the architecture ``encoder`` for ``channels`` input channels.

    ``classifier``: whether its classifier is needed. Raises ConfigError for weights that cannot be had, that belong to
    another encoder, or that have no classifier where one is needed; the message says what helps.
    """
    if options.run is not None:
        return _from_run(Path(options.run), encoder, channels, classifier)
    try:
        body = build_encoder(encoder, channels, options.pretrained, options.weights)
    except ConfigError as error:
        raise ConfigError(f"method.transfer.source: {error}. Else {REMEDIES}") from error
    head = _timm_classifier(options, encoder, channels, body) if classifier else None
    if options.normalize is not None:
        return Source(body, head, ExpectedInput(options.normalize, options.mean, options.std, channels))
    known = _timm_settings(encoder)
    return Source(body, head, ExpectedInput("fixed", known["mean"], known["std"], 3))


def _from_run(folder: Path, encoder: str, channels: int, classifier: bool) -> Source:
    file = folder / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"source.run: expected a run folder, got {folder} without config.yaml; check the path")
    values = read_yaml(file)
    method = values.get("method") or {}
    network = method.get("network") or {}
    theirs = values.get("encoder") or network.get("encoder")
    if theirs is None:
        got = network.get("name") or method.get("name")
        raise ConfigError(f"{folder}: expected a run whose network has a timm encoder, got {got}; {REMEDIES}")
    if str(theirs) != encoder:
        raise ConfigError(
            f"{folder}: expected a source with encoder '{encoder}' as the landmark network, got '{theirs}'; "
            f"set method.network.encoder={theirs}, or give another source"
        )
    seen = InputConfig.model_validate((values.get("data") or {}).get("input") or {})
    if seen.channels != channels:
        ExpectedInput(seen.normalize, seen.mean, seen.std, seen.channels).check(
            seen.model_copy(update={"channels": channels})
        )
    state = read_weights(folder / "weights.safetensors")
    body = build_encoder(encoder, channels, False, None)
    own = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    try:
        body.load_state_dict(own)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ConfigError(f"{folder}: its weights do not fit encoder '{encoder}' ({first}); train it again") from None
    head = None
    if classifier:
        if "classifier.weight" not in state:
            raise ConfigError(_no_classes(str(folder)))
        weight = state["classifier.weight"]
        head = nn.Linear(weight.shape[1], weight.shape[0])
        head.load_state_dict({"weight": weight, "bias": state["classifier.bias"]})
    return Source(body, head, ExpectedInput(seen.normalize, seen.mean, seen.std, seen.channels))


def _timm_classifier(options: SourceConfig, encoder: str, channels: int, body: nn.Module) -> nn.Linear:
    """The classifier of timm's whole model, if that is nothing but average pooling and a linear layer."""
    more: dict[str, Any] = {}
    if options.weights is not None:
        state = read_weights(Path(options.weights))
        key = str(_timm_settings(encoder).get("classifier") or "fc") + ".weight"
        if key not in state:
            raise ConfigError(_no_classes(options.weights))
        count = int(state[key].shape[0])
        more = {"num_classes": count, "pretrained_cfg_overlay": {"state_dict": state, "num_classes": count}}
    whole = timm.create_model(encoder, pretrained=True, in_chans=channels, **more).eval()
    head = cast(Any, whole).get_classifier()
    probe = torch.linspace(-1, 1, channels * 64 * 64).view(1, channels, 64, 64).sin()
    body.eval()
    with torch.no_grad():
        same = (
            isinstance(head, nn.Linear)
            and head.in_features == body(probe)[-1].shape[1]
            and torch.allclose(whole(probe), pooled_logits(head, body(probe)[-1]), rtol=1e-3, atol=1e-4)
        )
    if not isinstance(head, nn.Linear) and not math.prod(getattr(head, "weight", torch.empty(0)).shape):
        raise ConfigError(_no_classes(f"encoder '{encoder}'"))
    if not same or not isinstance(head, nn.Linear):
        raise ConfigError(
            f"encoder '{encoder}': expected a classifier that averages the deepest features and applies one linear "
            "layer, got more than that; set method.transfer.loss=encoder, or choose a ResNet"
        )
    return head


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
        f"none; "
        "set method.transfer.loss=encoder, or give a source that was trained to classify"
    )


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(math.isclose(x, y, rel_tol=1e-4, abs_tol=1e-6) for x, y in zip(a, b, strict=True))
