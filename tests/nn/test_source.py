"""Source models: Caffe's ResNet-50 against an independent forward, every origin, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from trigpoint.config import apply_overrides, parse
from trigpoint.data.input.augment import InputPipeline
from trigpoint.errors import ConfigError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.nn import SimpleBaseline, Source, SourceConfig, load_source
from trigpoint.nn.caffe_resnet import BGR_MEAN
from trigpoint.nn.source import ExpectedInput, pooled_logits
from trigpoint.recipe import InputConfig, Recipe, SourceRecipe
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.training.source import ClassNetwork

ENCODER = "test_resnet"  # timm's smallest


def randomised(model: torch.nn.Module, seed: int) -> dict[str, Tensor]:
    """A state in which no statistic and no factor is still what it starts as."""
    generator = torch.Generator().manual_seed(seed)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for key, value in state.items():
        if key.endswith("running_mean"):
            value.copy_(0.2 * torch.randn(value.shape, generator=generator))
        elif key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight")):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return state


# -- Caffe's ResNet-50 ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces() -> dict[str, Tensor]:
    """Weights as they are published: blue first, with the keys of the usual ResNet-50."""
    torch.manual_seed(7)
    return randomised(timm.create_model("resnet50", num_classes=5), 3)


@pytest.fixture(scope="module")
def faces_file(faces: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "faces.safetensors"
    safetensors.torch.save_file(faces, file)
    return file


@pytest.fixture(scope="module")
def caffe(faces_file: Path) -> Source:
    return load_source(SourceConfig(weights=str(faces_file)), "resnet50_caffe", 3, classifier=True)


def caffe_forward(bgr: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Features and scores of (B, 3, H, W), blue first, 0..255, as the published prototxt computes them."""

    def norm(x: Tensor, key: str) -> Tensor:
        at = {name: state[f"{key}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")}
        return (x - at["running_mean"]) / (at["running_var"] + 1e-5).sqrt() * at["weight"] + at["bias"]

    x = bgr - torch.tensor([91.4953, 103.8827, 131.0912])[:, None, None]
    x = norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, padding=0, ceil_mode=True)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            key = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = norm(F.conv2d(x, state[f"{key}.conv1.weight"], stride=stride), f"{key}.bn1").relu()
            y = norm(F.conv2d(y, state[f"{key}.conv2.weight"], padding=1), f"{key}.bn2").relu()
            y = norm(F.conv2d(y, state[f"{key}.conv3.weight"]), f"{key}.bn3")
            if block == 0:
                x = norm(F.conv2d(x, state[f"{key}.downsample.0.weight"], stride=stride), f"{key}.downsample.1")
            x = (x + y).relu()
    return x, F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_caffe_features_equal_an_independent_forward(caffe: Source, faces: dict[str, Tensor]) -> None:
    """From a stored colour image: our input red first and normalised, theirs blue first from 0 to 255 minus a mean."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    expects = caffe.expects
    given = InputConfig(size=(64, 96), channels=3, normalize=expects.normalize, mean=expects.mean, std=expects.std)  # type: ignore[arg-type]
    expects.check(given)
    image, _, _ = InputPipeline(given, LandmarkSet(()))(torch.from_numpy(pixels))
    features = caffe(image[None])
    expected, scores = caffe_forward(torch.from_numpy(pixels[::-1].copy())[None].float(), faces)
    assert features.shape == expected.shape == (1, 2048, 2, 3)
    scale = float(expected.abs().max())
    torch.testing.assert_close(features / scale, expected / scale, rtol=1e-4, atol=1e-5)
    assert caffe.classifier is not None
    ours = pooled_logits(caffe.classifier, features)
    torch.testing.assert_close(ours / scale, scores / scale, rtol=1e-4, atol=1e-5)


def test_the_usual_resnet_has_the_same_keys_and_other_features(caffe: Source, faces_file: Path) -> None:
    usual = load_source(SourceConfig(weights=str(faces_file)), "resnet50", 3, classifier=False)
    ours, theirs = caffe.encoder.state_dict(), usual.encoder.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert torch.equal(ours["conv1.weight"], theirs["conv1.weight"].flip(1))
    usual.encoder.load_state_dict(ours)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    far = (caffe(x) - usual(x)).norm() / usual(x).norm()
    assert far > 0.3  # the trap: it loads without a word


def test_caffe_expects_red_first_from_0_to_1(caffe: Source) -> None:
    assert caffe.expects.normalize == "fixed"
    assert caffe.expects.mean == pytest.approx([value / 255 for value in BGR_MEAN[::-1]])
    assert caffe.expects.std == pytest.approx([1 / 255] * 3)
    assert caffe.expects.channels == 3


def test_caffe_carries_a_landmark_network() -> None:
    net = SimpleBaseline(3, 2, encoder="resnet50_caffe", width=4).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 70, 64)).shape == (1, 2, 18, 16)


# -- where a source comes from ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(7)
    return randomised(timm.create_model(ENCODER, num_classes=4), 5)


@pytest.fixture(scope="module")
def place(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in two forms, one without classifier, a classification run and a landmark run, all of ENCODER."""
    folder = tmp_path_factory.mktemp("sources")
    safetensors.torch.save_file(state, folder / "whole.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "whole.pt")
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


def image(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("file", ["whole.safetensors", "whole.pt"])
def test_a_local_checkpoint_gives_encoder_and_classifier(file: str, place: Path, state: dict[str, Tensor]) -> None:
    source = load_source(SourceConfig(weights=str(place / file)), ENCODER, 3, classifier=True)
    whole = timm.create_model(ENCODER, num_classes=4).eval()
    whole.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(source(image()), whole.forward_features(image()))
        assert source.classifier is not None
        torch.testing.assert_close(pooled_logits(source.classifier, source(image())), whole(image()))
    assert source.expects == ExpectedInput("fixed", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 3)
    without = load_source(SourceConfig(weights=str(place / file)), ENCODER, 3, classifier=False)
    assert without.classifier is None
    assert torch.equal(without(image()), source(image()))


def test_a_classification_run_gives_encoder_and_classifier(place: Path) -> None:
    weights, _ = RunFolder(place / "classes").load_weights()
    network = ClassNetwork(parse(SourceRecipe, {"encoder": ENCODER}), 3).eval()
    network.load_state_dict(weights)
    source = load_source(SourceConfig(run=str(place / "classes")), ENCODER, 1, classifier=True)
    assert source.classifier is not None
    with torch.no_grad():
        assert torch.equal(source(image(1)), network.encoder(image(1))[-1])
        assert torch.equal(pooled_logits(source.classifier, source(image(1))), network(image(1)))
    assert source.expects == ExpectedInput("unit", None, None, 1)


def test_a_landmark_run_gives_its_encoder(place: Path) -> None:
    weights, _ = RunFolder(place / "landmarks").load_weights()
    source = load_source(SourceConfig(run=str(place / "landmarks")), ENCODER, 1, classifier=False)
    for key, value in source.encoder.state_dict().items():
        assert torch.equal(value, weights[f"encoder.{key}"]), key
    assert source.expects == ExpectedInput("image", None, None, 1)


def test_the_input_of_a_checkpoint_can_be_stated(place: Path) -> None:
    given = SourceConfig(weights=str(place / "bare.safetensors"), normalize="fixed", mean=(0.3,), std=(0.2,))
    source = load_source(given, ENCODER, 1, classifier=False)
    assert source.expects == ExpectedInput("fixed", (0.3,), (0.2,), 1)
    source.expects.check(InputConfig(normalize="fixed", mean=(0.3,), std=(0.2,)))


def test_a_source_never_learns(place: Path) -> None:
    source = load_source(SourceConfig(run=str(place / "classes")), ENCODER, 1, classifier=True)
    before = {key: value.clone() for key, value in source.state_dict().items()}
    assert source.train() is source
    assert not any(module.training for module in source.modules())
    assert not any(parameter.requires_grad for parameter in source.parameters())
    asked = image(1).requires_grad_()
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
        load_source(SourceConfig(pretrained=True), ENCODER, 3, classifier=False)
    for remedy in ("connect to the internet", "source.weights=FILE", "source.run=FOLDER", "train source-classes"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("origin", "encoder", "classifier", "message"),
    [
        ({"weights": "none.pt"}, ENCODER, False, "no such file.*source.run=FOLDER"),
        ({"weights": "whole.pt"}, "resnet10t", False, "no weights of encoder 'resnet10t'.*source.run=FOLDER"),
        ({"weights": "bare.safetensors"}, ENCODER, True, r"bare.*with a classifier.*method\.transfer\.loss=encoder"),
        ({"run": "nowhere"}, ENCODER, False, "expected a run folder.*nowhere"),
        ({"run": "classes"}, "resnet10t", False, f"got '{ENCODER}'; set method.network.encoder={ENCODER}"),
        ({"run": "landmarks"}, ENCODER, True, r"landmarks.*with a classifier.*method\.transfer\.loss=encoder"),
        ({"run": "plain"}, ENCODER, False, r"whose network has a timm encoder, got unet; give one of"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    origin: dict[str, str], encoder: str, classifier: bool, message: str, place: Path
) -> None:
    given = {key: str(place / name) for key, name in origin.items()}
    with pytest.raises(ConfigError, match=message):
        load_source(SourceConfig(**given), encoder, 1 if "run" in origin else 3, classifier)  # type: ignore[arg-type]


def test_other_channels_are_refused_before_the_weights_are_read(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"set data\.input\.channels=1$"):
        load_source(SourceConfig(run=str(place / "classes")), ENCODER, 3, classifier=False)


def test_a_classifier_of_more_than_one_layer_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(7)
    whole = timm.create_model("test_convnext", num_classes=4)  # normalises between average and linear layer
    safetensors.torch.save_file(whole.state_dict(), tmp_path / "w.safetensors")
    given = SourceConfig(weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(ConfigError, match=r"more than that; set method\.transfer\.loss=encoder, or choose a ResNet"):
        load_source(given, "test_convnext", 3, classifier=True)
    assert load_source(given, "test_convnext", 3, classifier=False)(image()).shape == (2, 64, 2, 2)


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
        expects.check(parse(InputConfig, given))
    advice = str(caught.value).split("; set ")[1].replace(", ", ",").split(" ")
    followed = apply_overrides({"data": {"input": given}}, advice)
    expects.check(parse(InputConfig, followed["data"]["input"]))
