"""Cross-task learning: the regularisers by hand, what learns and what never does, the cache, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.landmarks import Batch
from trigpoint.methods import HeatmapMethod
from trigpoint.methods.transfer import CrossTask, attention_distance, encoder_distance, level_index
from trigpoint.nn import Source

NAN = float("nan")
ENCODER = "test_resnet"  # timm's smallest


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Local weights by encoder, statistics and factors of the normalisation other than their first values."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for encoder in (ENCODER, "resnet10t", "resnet18", "seresnet18"):
        torch.manual_seed(7)
        model = timm.create_model(encoder, num_classes=4)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.running_mean, std=0.1)  # type: ignore[arg-type]
        made[encoder] = str(folder / f"{encoder}.safetensors")
        safetensors.torch.save_file(model.state_dict(), made[encoder])
    return made


def method(files: dict[str, str], encoder: str = ENCODER, size: tuple[int, int] = (32, 32), **options: Any) -> Any:
    torch.manual_seed(0)
    values = {
        "network": {"name": "simple_baseline", "encoder": encoder, "width": 4},
        "schedule": {"name": "fixed", "sigma0": 1.5},
        "transfer": {"source": {"weights": files[encoder]}, "loss": "encoder", "weight": 0.5, **options},
    }
    made = HeatmapMethod(parse(HeatmapMethod.Config, values), ("a", "b"), 3, size)
    return made.train()


def batch(count: int = 2, size: tuple[int, int] = (32, 32), unlabelled: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(1)
    total = count + unlabelled
    points = 4 + 20 * torch.rand(total, 2, 2, generator=generator)
    points[count:] = NAN
    back = torch.eye(3, dtype=torch.float64)[:2].expand(total, 2, 3)
    return Batch(torch.randn(total, 3, *size, generator=generator), points, back, torch.arange(total))


def disturb(m: Any) -> None:
    """Move the landmark network away from its source, so that L_D is not zero."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in m.network.encoder.parameters():
            parameter.add_(0.3 * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}


def steps(m: Any, count: int = 2) -> None:
    optimizer = torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1)
    for _ in range(count):
        optimizer.zero_grad()
        m.training_step(batch(4), 0).backward()
        optimizer.step()


# -- the equations ----------------------------------------------------------------------------------------------------

SOURCE = [[[1.0, 3.0], [2.0, -1.0]], [[0.5, 0.5], [4.0, 2.0]]]  # two images, two channels, two places
TARGET = [[[2.0, -3.0], [0.0, 1.0]], [[-1.0, 2.0], [3.0, -5.0]]]


def by_hand_cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def by_hand_distance(pooled: bool) -> float:
    found = []
    for theirs, ours in zip(SOURCE, TARGET, strict=True):
        if pooled:
            vectors = [[sum(places) / 2 for places in image] for image in (theirs, ours)]
        else:
            vectors = [[value for places in image for value in places] for image in (theirs, ours)]
        found.append(1 - by_hand_cosine(*vectors))
    return sum(found) / 2


def features(values: list[Any]) -> Tensor:
    return torch.tensor(values).view(2, 2, 1, 2)


@pytest.mark.parametrize("pooled", [False, True])
def test_encoder_distance_by_hand(pooled: bool) -> None:
    assert by_hand_distance(False) != pytest.approx(by_hand_distance(True), abs=0.01)
    found = encoder_distance(features(SOURCE), features(TARGET), pooled)
    assert float(found) == pytest.approx(by_hand_distance(pooled), rel=1e-6)
    assert float(encoder_distance(features(SOURCE), 7 * features(SOURCE), pooled)) == pytest.approx(0, abs=1e-6)
    assert float(encoder_distance(features(SOURCE), -features(SOURCE), pooled)) == pytest.approx(2, abs=1e-6)


class Says(nn.Module):
    """An encoder that gives these features whatever it sees."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self.values = features(values)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.values]


WEIGHT = [[0.5, -1.0], [2.0, 0.25], [-0.75, 1.0]]  # three classes, two channels
BIAS = [0.1, -0.2, 0.3]


def by_hand_softmax(image: list[list[float]], temperature: float) -> list[float]:
    pooled = [sum(places) / 2 for places in image]
    scores = [sum(w * p for w, p in zip(row, pooled, strict=True)) + b for row, b in zip(WEIGHT, BIAS, strict=True)]
    powers = [math.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def by_hand_classes(temperature: float) -> float:
    found = []
    for theirs, ours in zip(SOURCE, TARGET, strict=True):
        pairs = zip(by_hand_softmax(theirs, temperature), by_hand_softmax(ours, temperature), strict=True)
        found.append(sum((s - t) ** 2 for s, t in pairs))
    return sum(found) / 2


def held(files: dict[str, str], **options: Any) -> float:
    """lambda L_D of TARGET, where the source says SOURCE and both classify alike."""
    transfer = method(files, **options).transfer
    transfer.source.encoder = Says(SOURCE)
    for classifier in (transfer.source.classifier, transfer.classifier):
        if classifier is not None:
            classifier.weight.data, classifier.bias.data = torch.tensor(WEIGHT), torch.tensor(BIAS)
    return float(transfer(torch.zeros(2, 3, 32, 32), [features(TARGET)], torch.arange(2)))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("weight", [1.0, 0.002])
def test_regularisers_by_hand(files: dict[str, str], temperature: float, weight: float) -> None:
    assert by_hand_classes(1.0) != pytest.approx(by_hand_classes(2.0), rel=0.1)
    given = {"weight": weight, "temperature": temperature}
    classes = held(files, loss="classifier", **given)
    assert classes == pytest.approx(weight * by_hand_classes(temperature), rel=1e-5)
    for name, pooled in (("flattened", False), ("pooled", True)):
        distance = held(files, loss="encoder", features=name, **given)
        assert distance == pytest.approx(weight * by_hand_distance(pooled), rel=1e-5)
        assert held(files, loss="both", features=name, **given) == pytest.approx(classes + distance, rel=1e-5)


def by_hand_attention() -> float:
    """Squared distances of the maps over the places and over the channels, each of length 1."""
    found = 0.0
    for theirs, ours in zip(SOURCE, TARGET, strict=True):
        for axis in (0, 1):
            maps = []
            for image in (theirs, ours):
                squares = [[value * value for value in places] for places in image]
                sums = (
                    [sum(column) for column in zip(*squares, strict=True)] if axis == 0 else [sum(r) for r in squares]
                )
                length = math.sqrt(sum(value * value for value in sums))
                maps.append([value / length for value in sums])
            found += sum((s - t) ** 2 for s, t in zip(*maps, strict=True))
    return found / 2


def test_attention_by_hand(files: dict[str, str]) -> None:
    assert held(files, loss="attention", weight=0.25) == pytest.approx(0.25 * by_hand_attention(), rel=1e-5)
    assert float(attention_distance(features(SOURCE), -3 * features(SOURCE))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", ["encoder", "attention"])
def test_another_level_of_the_encoder_is_compared(files: dict[str, str], loss: str) -> None:
    found = {}
    for level in (4, 8, "last"):
        m = method(files, loss=loss, level=level, weight=1.0)
        given = batch()
        out = m.network.run(given.images)
        assert m.transfer(given.images, out.levels, given.index).item() == pytest.approx(0, abs=1e-6)
        disturb(m)
        out = m.network.run(given.images)
        at = {32 // each.shape[-1]: each for each in out.levels}
        theirs = {32 // each.shape[-1]: each for each in m.transfer.source.levels(given.images)}
        deepest = max(at)
        measure = encoder_distance if loss == "encoder" else attention_distance
        own = deepest if level == "last" else level
        found[level] = m.transfer(given.images, out.levels, given.index).item()
        assert found[level] == pytest.approx(measure(theirs[own], at[own]).item(), rel=1e-5)
    assert len(set(found.values())) == 3


def test_lambda_falls_to_zero_by_the_end(files: dict[str, str]) -> None:
    m = method(files, decay="linear", weight=1.0)
    disturb(m)
    given = batch()
    levels = m.network.run(given.images).levels
    begun, half, done = (m.transfer(given.images, levels, given.index, share).item() for share in (0.0, 0.5, 1.0))
    assert begun > 0.01
    assert half == pytest.approx(begun / 2)
    assert done == 0
    stays = method(files, weight=1.0)
    disturb(stays)
    assert stays.transfer(given.images, levels, given.index, 1.0).item() == pytest.approx(begun)


def test_a_level_that_the_encoder_lacks_is_refused(files: dict[str, str]) -> None:
    m = method(files)
    levels = [128 // each.shape[-1] for each in m.transfer.source.levels(torch.zeros(1, 3, 128, 128))]
    assert 16 in levels  # of this encoder; one without it is cut short
    m.transfer.source.encoder = Says(SOURCE)
    with pytest.raises(ConfigError, match="level: expected one that the encoder has"):
        level_index(m.transfer.source, 3, 16)


def test_the_defaults_are_the_paper_s_values_without_its_penalty() -> None:
    options = parse(CrossTask.Config, {"source": {"weights": "x"}})
    assert (options.loss, options.weight, options.temperature) == ("none", 0.002, 2.0)  # its penalty gained nothing


@pytest.mark.parametrize("loss", ["encoder", "classifier", "both"])
def test_training_begins_as_the_source(files: dict[str, str], loss: str) -> None:
    m = method(files, size=(33, 50), loss=loss)
    given = batch(size=(33, 50))  # sides that are no multiples: both see the image continued
    out = m.network.run(given.images)
    assert m.transfer(m.network.padded(given.images), out.levels, given.index).item() == pytest.approx(0, abs=1e-6)
    disturb(m)
    out = m.network.run(given.images)
    assert m.transfer(m.network.padded(given.images), out.levels, given.index).item() > 1e-6


def test_the_loss_is_that_of_the_landmarks_plus_the_regulariser(files: dict[str, str]) -> None:
    found = {}
    for weight in (0.0, 0.5, 1.0):
        m = method(files, weight=weight)
        disturb(m)
        found[weight] = m.training_step(batch(), 0).item()
    out, given = m.network.run(batch().images), batch()
    distance = encoder_distance(m.transfer.source(given.images), out.levels[-1]).item()
    assert distance > 0.01
    assert found[1.0] - found[0.0] == pytest.approx(distance, rel=1e-4)
    assert found[0.5] - found[0.0] == pytest.approx(distance / 2, rel=1e-4)


def test_unlabelled_images_count_for_the_regulariser_only(files: dict[str, str]) -> None:
    m = method(files, weight=1.0).eval()  # or the decoder's normalisation would see them
    disturb(m)
    mixed, alone = batch(2, unlabelled=3), batch(2)
    torch.testing.assert_close(mixed.points[:2], alone.points[:2])
    alone.images = mixed.images[:2]
    source, theirs = m.transfer.source, m.network.run(mixed.images).levels[-1]
    landmarks = m.training_step(alone, 0) - encoder_distance(source(alone.images), theirs[:2])
    m.transfer_sums.zero_()
    m.epoch_sums.zero_()
    distance = encoder_distance(source(mixed.images), theirs)
    torch.testing.assert_close(m.training_step(mixed, 0) - distance, landmarks)
    assert m.transfer_sums.tolist() == pytest.approx([5 * distance.item(), 5])
    assert m.epoch_sums[-1].tolist() == [2, 2]


def test_the_sum_of_equation_1(files: dict[str, str]) -> None:
    values = {
        "network": {"name": "simple_baseline", "encoder": ENCODER, "width": 4},
        "schedule": {"name": "fixed", "sigma0": 1.5},
        "loss": {"name": "mse", "reduction": "sum"},
    }
    m = HeatmapMethod(parse(HeatmapMethod.Config, values), ("a", "b"), 3, (16, 24)).eval()
    given = batch(size=(16, 24))
    given.points = torch.tensor([[[3.0, 4.0], [10.0, 7.0]], [[20.0, 9.0], [5.0, 12.0]]])
    total = m.training_step(given, 0)
    with torch.no_grad():
        maps = m.network(given.images)
    by_hand = 0.0
    for i in range(2):
        for k in range(2):
            x, y = ((value + 0.5) / 4 - 0.5 for value in given.points[i, k].tolist())
            for row in range(4):
                for column in range(6):
                    g = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.5**2))
                    by_hand += (g - float(maps[i, k, row, column])) ** 2
    assert total.item() == pytest.approx(by_hand / 2, rel=1e-5)  # Frobenius norm of each image, mean over the images


# -- what learns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_the_source_is_never_reached(files: dict[str, str], norm: str) -> None:
    m = method(files, loss="both", classifier="trained", encoder_norm=norm)
    source = m.transfer.source
    before = snapshot(source)
    steps(m)
    assert changed(before, source) == set()
    assert all(parameter.grad is None for parameter in source.parameters())
    assert not any(module.training for module in m.train().transfer.source.modules())
    trained = {id(p) for p in m.parameters() if p.requires_grad}
    assert not trained & {id(p) for p in source.parameters()}


def test_the_encoder_is_a_copy_and_feels_the_regulariser(files: dict[str, str]) -> None:
    m = method(files)
    assert changed(snapshot(m.transfer.source.encoder), m.network.encoder) == set()
    own = {parameter.data_ptr() for parameter in m.network.encoder.parameters()}
    assert not own & {parameter.data_ptr() for parameter in m.transfer.source.parameters()}
    disturb(m)
    out = m.network.run(batch().images)
    m.transfer(batch().images, out.levels, batch().index).backward()
    assert all(p.grad is not None for p in m.network.encoder.parameters())
    assert float(m.network.encoder.conv1[0].weight.grad.abs().sum()) > 0
    assert all(p.grad is None for p in m.network.decoder.parameters())


@pytest.mark.parametrize("classifier", ["frozen", "trained"])
def test_the_copied_classifier_stays_or_learns(files: dict[str, str], classifier: str) -> None:
    m = method(files, loss="classifier", classifier=classifier)
    before = snapshot(m.transfer.classifier)
    disturb(m)
    steps(m)
    moved = {"weight", "bias"} if classifier == "trained" else set()
    assert changed(before, m.transfer.classifier) == moved


@pytest.mark.parametrize("norm", ["frozen", "batch"])
@pytest.mark.parametrize(
    ("encoder", "train", "last"),
    [
        (ENCODER, "decoder", None),
        (ENCODER, "last", ("layer4.0.conv2", "layer4.0.bn2")),  # not the shortcut, which timm keeps behind it
        ("resnet18", "last", ("layer4.1.conv2", "layer4.1.bn2")),
        ("seresnet18", "last", ("layer4.1.conv2", "layer4.1.bn2")),  # nor the attention behind them
    ],
)
def test_exactly_what_is_asked_for_changes(
    files: dict[str, str], encoder: str, train: str, last: tuple[str, str] | None, norm: str
) -> None:
    m = method(files, encoder, train=train, encoder_norm=norm, loss="none")
    before = snapshot(m.network)
    steps(m)
    found = changed(before, m.network)
    assert {key for key in found if not key.startswith("encoder.")}
    expected = set()
    if last is not None:
        expected = {f"encoder.{last[0]}.weight", f"encoder.{last[1]}.weight", f"encoder.{last[1]}.bias"}
        if norm == "batch":
            statistics = ("running_mean", "running_var", "num_batches_tracked")
            expected |= {f"encoder.{last[1]}.{name}" for name in statistics}
    assert {key for key in found if key.startswith("encoder.")} == expected


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_statistics_of_the_encoder_stay_or_follow_the_batches(files: dict[str, str], norm: str) -> None:
    m = method(files, encoder_norm=norm, loss="none")
    before = snapshot(m.network.encoder)
    steps(m)
    found = changed(before, m.network.encoder)
    statistics = {key for key in before if "running" in key or "tracked" in key}
    assert found & statistics == (set() if norm == "frozen" else statistics)
    assert "conv1.0.weight" in found
    decoder = [layer for layer in m.network.decoder if isinstance(layer, nn.BatchNorm2d)]
    assert all(layer.training and int(layer.num_batches_tracked) == 2 for layer in decoder)  # type: ignore[arg-type]
    assert not any(layer.training for layer in m.eval().network.modules())


# -- random numbers, cache --------------------------------------------------------------------------------------------


def test_the_decoder_begins_alike_wherever_the_encoder_comes_from(files: dict[str, str]) -> None:
    def built(network: dict[str, Any], transfer: dict[str, Any] | None) -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(0)
        values = {"network": {"name": "simple_baseline", "encoder": ENCODER, "width": 4, **network}}
        values |= {} if transfer is None else {"transfer": transfer}
        m = HeatmapMethod(parse(HeatmapMethod.Config, values), ("a", "b"), 3, (32, 32))
        return snapshot(m.network), torch.rand(4)

    weights = {"weights": files[ENCODER]}
    (new, one), (local, two), (held, three) = (
        built({}, None),
        built(weights, None),
        built({}, {"source": weights, "loss": "both"}),
    )
    assert torch.equal(one, two)
    assert torch.equal(one, three)
    assert all(torch.equal(local[key], held[key]) for key in local)
    assert all(torch.equal(new[key], local[key]) for key in new if not key.startswith("encoder."))
    assert any(not torch.equal(new[key], local[key]) for key in new if key.startswith("encoder."))


@pytest.mark.parametrize("pooling", ["flattened", "pooled"])
def test_the_cache_gives_the_same_and_asks_once(
    files: dict[str, str], pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    levels = Source.levels

    def count(self: Source, x: Tensor) -> list[Tensor]:
        asked.append(len(x))
        return levels(self, x)

    monkeypatch.setattr(Source, "levels", count)
    found: dict[bool, list[float]] = {True: [], False: []}
    for cache in found:
        asked.clear()
        m = method(files, loss="both", features=pooling, cache=cache)
        disturb(m)
        for _ in range(3):
            found[cache].append(m.training_step(batch(4), 0).item())
        assert asked == ([4] if cache else [4, 4, 4])
    assert found[True] == found[False]
    other = batch(4)
    other.images, other.index = other.images[[2, 0]], torch.tensor([2, 0])
    kept = method(files, loss="both", features=pooling, cache=True)
    theirs, classes = kept.transfer._of_source(batch(4).images, batch(4).index)
    again, same = kept.transfer._of_source(other.images, other.index)
    assert torch.equal(again, theirs[[2, 0]])
    assert torch.equal(same, classes[[2, 0]])


def test_without_a_regulariser_no_source_is_kept(files: dict[str, str]) -> None:
    for options in ({"loss": "none"}, {"weight": 0.0, "loss": "both"}):
        m = method(files, **options)
        assert m.transfer.source is None
        assert m.transfer.classifier is None
        assert m.epoch_results() == {}
        assert not any("transfer" in key for key in m.state_dict())
        assert float(m.transfer(batch().images, torch.ones(2, 3, 1, 1), batch().index)) == 0


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(files: dict[str, str], network: dict[str, Any], **transfer: Any) -> str:
    given = {"network": network, "transfer": {"source": {"weights": files[ENCODER]}, **transfer}}
    with pytest.raises(ConfigError) as caught:
        HeatmapMethod(parse(HeatmapMethod.Config, given), ("a",), 3, (32, 32))
    return str(caught.value)


@pytest.mark.parametrize("network", [{"name": "unet", "width": 4}, {"name": "hourglass", "width": 8}])
def test_a_network_without_encoder_is_refused(files: dict[str, str], network: dict[str, Any]) -> None:
    text = refused(files, network)
    assert f"expected a network with a timm encoder, got {network['name']}" in text
    assert "set method.network.name=simple_baseline or timm_unet" in text


def test_two_origins_of_the_encoder_are_refused(files: dict[str, str]) -> None:
    text = refused(files, {"name": "simple_baseline", "encoder": ENCODER, "weights": files[ENCODER]})
    assert "got method.network.weights as well; move it to method.transfer.source.weights" in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -1}, "weight: expected at least 0"),
        ({"temperature": 0}, "temperature: expected more than 0"),
        ({"loss": "features"}, "loss: expected none, classifier, encoder, both or attention"),
        ({"lambda": 1}, "unknown key 'lambda'"),
    ],
)
def test_options_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(CrossTask.Config, {"source": {"weights": "x"}, **values})
    with pytest.raises(ConfigError, match="'source' is required"):
        parse(CrossTask.Config, {})
