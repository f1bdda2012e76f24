"""Source models: Caffe's ResNet-50 against an independent forward, local checkpoints, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from trigpoint.data.input.augment import InputPipeline
from trigpoint.errors import ConfigError
from trigpoint.landmarks import LandmarkSet
from trigpoint.nn import SimpleBaseline, Source, load_source
from trigpoint.nn.caffe_resnet import BGR_MEAN
from trigpoint.nn.source import ExpectedInput, WideClassifier, pooled_logits
from trigpoint.recipe import InputConfig

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
    return load_source("resnet50_caffe", 3, str(faces_file), classifier=True)


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
    usual = load_source("resnet50", 3, str(faces_file))
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


# -- local checkpoints ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(7)
    return randomised(timm.create_model(ENCODER, num_classes=4), 5)


@pytest.fixture(scope="module")
def place(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in two forms."""
    folder = tmp_path_factory.mktemp("sources")
    safetensors.torch.save_file(state, folder / "whole.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "whole.pt")
    return folder


def image() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("file", ["whole.safetensors", "whole.pt"])
def test_a_local_checkpoint_gives_encoder_and_classifier(file: str, place: Path, state: dict[str, Tensor]) -> None:
    source = load_source(ENCODER, 3, str(place / file), classifier=True)
    whole = timm.create_model(ENCODER, num_classes=4).eval()
    whole.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(source(image()), whole.forward_features(image()))
        assert source.classifier is not None
        torch.testing.assert_close(pooled_logits(source.classifier, source(image())), whole(image()))
    assert source.expects == ExpectedInput("fixed", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 3)
    without = load_source(ENCODER, 3, str(place / file))
    assert without.classifier is None
    assert torch.equal(without(image()), source(image()))


def test_a_classifier_after_a_convolution_is_that_of_the_whole_network(tmp_path: Path) -> None:
    whole = timm.create_model("test_efficientnet", num_classes=4).eval()  # widens its features before the average
    whole.load_state_dict(randomised(whole, 5))
    safetensors.torch.save_file(whole.state_dict(), tmp_path / "w.safetensors")
    source = load_source("test_efficientnet", 3, str(tmp_path / "w.safetensors"), classifier=True)
    assert isinstance(source.classifier, WideClassifier)
    with torch.no_grad():
        expected = whole(image())
        torch.testing.assert_close(pooled_logits(source.classifier, source(image())), expected)
        source.classifier.train()  # as a landmark network's copy is told
        torch.testing.assert_close(pooled_logits(source.classifier, source(image())), expected)


def test_a_classifier_of_more_than_one_layer_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(7)
    whole = timm.create_model("test_convnext", num_classes=4)  # normalises between average and linear layer
    safetensors.torch.save_file(whole.state_dict(), tmp_path / "w.safetensors")
    given = str(tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"more than that; set method\.transfer\.loss=encoder, or choose a ResNet"):
        load_source("test_convnext", 3, given, classifier=True)
    assert load_source("test_convnext", 3, given)(image()).shape == (2, 64, 2, 2)
