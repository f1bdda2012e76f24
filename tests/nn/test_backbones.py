"""timm encoders: where their features lie, their weights, and what is refused. No network is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from trigpoint.errors import ConfigError
from trigpoint.nn import TimmUNet
from trigpoint.nn import backbones as module
from trigpoint.nn.backbones import examine, move

WIDTHS = (8, 8, 8, 8, 8)


def averaging(net: nn.Module) -> nn.Module:
    """The same geometry, linear: positive equal weights, mean instead of maximum, no activation that cuts."""
    for layer in net.modules():
        for name, child in layer.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(layer, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net.double().eval()


def seen_from(net: nn.Module, x: torch.Tensor, cell: int) -> tuple[float, float]:
    """Centre (x, y) of what the map's cell (cell, cell) depends on."""
    x.requires_grad_()
    (weight,) = torch.autograd.grad(net(x)[0, 0, cell, cell], x)
    weight = weight[0].sum(0) / weight.sum()
    axis = torch.arange(x.shape[-1], dtype=weight.dtype)
    return float((weight.sum(0) * axis).sum()), float((weight.sum(1) * axis).sum())


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet_lite0", "tf_efficientnet_lite0"])
def test_each_cell_looks_at_its_own_place(encoder: str, stride: int) -> None:
    torch.manual_seed(0)
    net = averaging(TimmUNet(1, 1, encoder=encoder, stride=stride, widths=WIDTHS))  # type: ignore[arg-type]
    cell = 192 // stride
    x = torch.full((1, 1, 384, 384), 0.1, dtype=torch.float64)
    expected = (cell + 0.5) * stride - 0.5
    assert seen_from(net, x, cell) == pytest.approx((expected, expected), abs=0.1)


def test_without_the_moves_the_cells_look_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "move", lambda x, by: x)
    net = averaging(TimmUNet(1, 1, widths=WIDTHS))
    x = torch.full((1, 1, 384, 384), 0.1, dtype=torch.float64)
    assert abs(seen_from(net, x, 48)[0] - 193.5) > 1


def test_mirrored_patch_encoder_gives_mirrored_maps() -> None:
    torch.manual_seed(0)
    net = TimmUNet(1, 2, encoder="convnext_atto", widths=WIDTHS).eval()
    x = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        maps = net(x)
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.flip(-1))
        mirrored = net(x.flip(-1)).flip(-1)
    scale = float(maps.abs().max())
    torch.testing.assert_close(mirrored / scale, maps / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("encoder", "channels", "centers"),
    [
        ("resnet18", [64, 64, 128, 256, 512], [0.0] * 5),  # 3 x 3 with padding 1: every second pixel
        ("tf_efficientnet_lite0", [16, 24, 40, 112, 320], [1.0, 3.0, 7.0, 15.0, 31.0]),  # padded at the right only
        ("resnetblur18", [64, 64, 128, 256, 512], [0.0] * 5),  # blurred before it is thinned out
        ("convnext_atto", [40, 80, 160, 320], [1.5, 3.5, 7.5, 15.5]),  # patches: already in the middle
    ],
)
def test_examine_finds_channels_and_places(encoder: str, channels: list[int], centers: list[float]) -> None:
    found, places = examine(timm.create_model(encoder, features_only=True), encoder, 3)
    assert list(found.values()) == channels
    assert list(places.values()) == pytest.approx(centers)


def test_move_reads_between_the_cells_and_repeats_the_edge() -> None:
    row = torch.arange(6.0).expand(1, 1, 6, 6)
    assert move(row, 0.0) is row
    assert move(row, 0.25)[0, 0, 2].tolist() == pytest.approx([0.25, 1.25, 2.25, 3.25, 4.25, 5.0])
    assert move(row.mT, -0.5)[0, 0, :, 2].tolist() == pytest.approx([0.0, 0.5, 1.5, 2.5, 3.5, 4.5])


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    model = timm.create_model("resnet10t", num_classes=8)
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", [".safetensors", ".pt", "wrapped.pth"])
def test_local_weights_are_read(tmp_path: Path, checkpoint: dict[str, torch.Tensor], kind: str) -> None:
    file = tmp_path / f"weights{kind}"
    if kind == ".safetensors":
        safetensors.torch.save_file(checkpoint, file)
    else:
        torch.save({"state_dict": checkpoint} if "wrapped" in kind else checkpoint, file)
    net = TimmUNet(3, 1, encoder="resnet10t", weights=str(file), widths=WIDTHS)
    assert torch.equal(net.encoder.state_dict()["layer2.0.conv1.weight"], checkpoint["layer2.0.conv1.weight"])
    gray = TimmUNet(1, 1, encoder="resnet10t", weights=str(file), widths=WIDTHS).encoder.state_dict()
    first = checkpoint["conv1.0.weight"].sum(1, keepdim=True)  # grey = the same value in all three colours
    torch.testing.assert_close(gray["conv1.0.weight"], first)


def test_weights_do_not_disturb_the_random_state(tmp_path: Path, checkpoint: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(checkpoint, file)
    heads = []
    for _ in range(2):
        torch.manual_seed(3)
        heads.append(TimmUNet(3, 1, encoder="resnet10t", weights=str(file), widths=WIDTHS).head[0].weight)
        torch.manual_seed(4)
    assert torch.equal(heads[0], heads[1])


def test_weights_of_another_encoder_are_refused(tmp_path: Path, checkpoint: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(checkpoint, file)
    with pytest.raises(ConfigError, match=r"weights\.safetensors: no weights of encoder 'resnet18'"):
        TimmUNet(3, 1, encoder="resnet18", weights=str(file))
    half = {key: value for key, value in checkpoint.items() if not key.startswith("layer3")}
    safetensors.torch.save_file(half, file)
    with pytest.raises(ConfigError, match="such as 'layer3"):
        TimmUNet(3, 1, encoder="resnet10t", weights=str(file))


def test_unreadable_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        TimmUNet(3, 1, weights=str(tmp_path / "none.pt"))
    for name in ("text.safetensors", "text.pt"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(ConfigError, match=f"{name}: not readable"):
            TimmUNet(3, 1, weights=str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ConfigError, match="expected named tensors"):
        TimmUNet(3, 1, weights=str(tmp_path / "list.pt"))
    torch.save(nn.Linear(1, 1), tmp_path / "code.pt")
    with pytest.raises(ConfigError, match="plain tensors"):
        TimmUNet(3, 1, weights=str(tmp_path / "code.pt"))


def test_unreachable_weights_name_the_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    for options in ({"pretrained": True}, {"encoder": "hf_hub:somebody/something"}):
        with pytest.raises(ConfigError, match=r"no route to host.*pretrained=false.*weights=FILE"):
            TimmUNet(3, 1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet81"}, "did you mean.*resnet"),
        ({"encoder": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224"),
        ({"stride": 3}, "stride: expected 1, 2 or 4"),
        ({"widths": (8, 8)}, "at least 3 numbers"),
        ({"widths": (8, 0, 8)}, "widths.1: expected at least 1, got 0"),
        ({"pretrained": True, "weights": "x.pt"}, "one of the two"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TimmUNet(3, 1, **options)  # type: ignore[arg-type]
