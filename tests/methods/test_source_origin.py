"""Where a source model comes from: every origin, the input that it expects, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from trigpoint.config import apply_overrides, parse
from trigpoint.errors import ConfigError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.methods.transfer import SourceConfig, check_input, origin
from trigpoint.nn import Source
from trigpoint.nn.source import ExpectedInput, pooled_logits
from trigpoint.recipe import InputConfig, Recipe, SourceRecipe
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.training import stages
from trigpoint.training.source import ClassNetwork

ENCODER = "test_resnet"  # timm's smallest


def source_of(channels: int = 1, encoder: str = ENCODER, classifier: bool = False, **options: Any) -> Source:
    """The source that ``method.transfer.source`` names by these options, found as training finds it."""
    network = {"name": "simple_baseline", "encoder": encoder}
    recipe = parse(Recipe, {"method": {"name": "heatmap", "network": network, "transfer": {"source": options}}})
    return origin(parse(SourceConfig, options), encoder, channels, classifier, stages.there(recipe).get("source"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a classifier and one without, a classification run and a landmark run, all of ENCODER."""
    folder = tmp_path_factory.mktemp("sources")
    torch.manual_seed(7)
    state = timm.create_model(ENCODER, num_classes=4).state_dict()
    torch.save(state, folder / "whole.pt")
    bare = {key: value for key, value in state.items() if not key.startswith("fc.")}
    safetensors.torch.save_file(bare, folder / "bare.safetensors")
    torch.manual_seed(8)
    classes = parse(SourceRecipe, {"encoder": ENCODER, "data": {"input": {"normalize": "unit"}}})
    network = ClassNetwork(classes, 3)
    run = RunFolder(folder / "classes")
    run.open_new()
    run.write_about(classes, {})
    run.save_weights(network.state_dict(), {})
    marks = LandmarkSet(("tip",))
    for name, more in (("landmarks", {"name": "timm_unet", "encoder": ENCODER}), ("plain", {"name": "unet"})):
        recipe = parse(Recipe, {"method": {"name": "heatmap", "network": more}})
        run = RunFolder(folder / name)
        run.begin(recipe, LandmarkFile(marks), {})
        run.save_weights(build_method(recipe, marks).inference_network().state_dict(), {})
    return folder


def image(channels: int = 1) -> Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_classification_run_gives_encoder_and_classifier(place: Path) -> None:
    weights, _ = RunFolder(place / "classes").load_weights()
    network = ClassNetwork(parse(SourceRecipe, {"encoder": ENCODER}), 3).eval()
    network.load_state_dict(weights)
    source = source_of(run=str(place / "classes"), classifier=True)
    assert source.classifier is not None
    with torch.no_grad():
        assert torch.equal(source(image()), network.encoder(image())[-1])
        assert torch.equal(pooled_logits(source.classifier, source(image())), network(image()))
    assert source.expects == ExpectedInput("unit", None, None, 1)


def test_a_landmark_run_gives_its_encoder(place: Path) -> None:
    weights, _ = RunFolder(place / "landmarks").load_weights()
    source = source_of(run=str(place / "landmarks"))
    for key, value in source.encoder.state_dict().items():
        assert torch.equal(value, weights[f"encoder.{key}"]), key
    assert source.expects == ExpectedInput("image", None, None, 1)


def test_the_input_of_a_checkpoint_can_be_stated(place: Path) -> None:
    source = source_of(weights=str(place / "bare.safetensors"), normalize="fixed", mean=(0.3,), std=(0.2,))
    assert source.expects == ExpectedInput("fixed", (0.3,), (0.2,), 1)
    check_input(source.expects, InputConfig(normalize="fixed", mean=(0.3,), std=(0.2,)))


def test_a_source_never_learns(place: Path) -> None:
    source = source_of(run=str(place / "classes"), classifier=True)
    before = {key: value.clone() for key, value in source.state_dict().items()}
    assert source.train() is source
    assert not any(module.training for module in source.modules())
    assert not any(parameter.requires_grad for parameter in source.parameters())
    asked = image().requires_grad_()
    assert not source(asked).requires_grad
    assert all(torch.equal(value, before[key]) for key, value in source.state_dict().items())


# -- what is refused --------------------------------------------------------------------------------------------------


def test_pretrained_weights_that_cannot_be_had_name_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=f"encoder '{ENCODER}': its weights cannot be had") as caught:
        source_of(3, pretrained=True)
    for remedy in ("connect to the internet", "source.weights=FILE", "source.run=FOLDER", "train source-classes"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("options", "encoder", "classifier", "message"),
    [
        ({"weights": "none.pt"}, ENCODER, False, "no such file.*source.run=FOLDER"),
        ({"weights": "whole.pt"}, "resnet10t", False, "no weights of encoder 'resnet10t'.*source.run=FOLDER"),
        ({"weights": "bare.safetensors"}, ENCODER, True, r"bare.*with a classifier.*method\.transfer\.loss=encoder"),
        ({"run": "classes"}, "resnet10t", False, f"got '{ENCODER}'; set method.network.encoder={ENCODER}"),
        ({"run": "landmarks"}, ENCODER, True, r"landmarks.*with a classifier.*method\.transfer\.loss=encoder"),
        ({"run": "plain"}, ENCODER, False, r"whose network has a timm encoder, got unet; give one of"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    options: dict[str, str], encoder: str, classifier: bool, message: str, place: Path
) -> None:
    given = {key: str(place / name) for key, name in options.items()}
    with pytest.raises(ConfigError, match=message):
        source_of(1 if "run" in options else 3, encoder, classifier, **given)


def test_a_source_that_is_no_run_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a run folder as its source, got none at .*nowhere"):
        source_of(run=str(place / "nowhere"))


def test_other_channels_are_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"set data\.input\.channels=1$"):
        source_of(3, run=str(place / "classes"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "expected one origin, got none; give one of.*pretrained=true.*weights=FILE.*run=FOLDER"),
        ({"pretrained": True, "run": "x"}, "got pretrained and run"),
        ({"run": "x", "normalize": "unit"}, r"remove source\.normalize"),
        ({"weights": "x", "normalize": "fixed"}, "give all three or none"),
        ({"weights": "x", "mean": [0.5], "std": [0.5]}, "give all three or none"),
        ({"weights": "x", "normalize": "unit", "mean": [0.5], "std": [0.5]}, "give all three or none"),
    ],
)
def test_contradicting_options_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(SourceConfig, values)


@pytest.mark.parametrize(
    ("expects", "given"),
    [
        (ExpectedInput("fixed", (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 3), {"normalize": "image"}),
        (ExpectedInput("fixed", (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 3), {"channels": 3, "normalize": "unit"}),
        (ExpectedInput("unit", None, None, 1), {"channels": 3, "normalize": "unit"}),
        (
            ExpectedInput("fixed", (0.4,), (0.25,), 1),
            {"normalize": "fixed", "mean": [0.4], "std": [0.2]},
        ),
    ],
)
def test_the_advice_on_the_input_is_what_helps(expects: ExpectedInput, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected source and landmark network to see images alike") as caught:
        check_input(expects, parse(InputConfig, given))
    advice = str(caught.value).split("; set ")[1].replace(", ", ",").split(" ")
    followed = apply_overrides({"data": {"input": given}}, advice)
    check_input(expects, parse(InputConfig, followed["data"]["input"]))
