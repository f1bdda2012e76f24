"""The foveated method: what a glimpse step learns, where guesses begin, and what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import trigpoint as tp
from glimpse_method import SIZE, STILL, TINY, Ideal, batch, blobs, learn, method, unit, with_networks
from trigpoint.config import parse
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import FoveatedMethod, build_method, foveated, glimpse_networks
from trigpoint.methods.base import NotFinite
from trigpoint.prediction import write_predictions
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter, write_radiographs
from trigpoint.training import train

NAN = float("nan")


class Says(nn.Module):
    """The same offset whatever it sees."""

    def __init__(self, offset: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))
        self.register_buffer("active", torch.zeros(1, 8))

    def forward(self, stacks: torch.Tensor) -> torch.Tensor:
        return self.offset.expand(*stacks.shape[:2], 2)


# -- augmentation ---------------------------------------------------------------------------------------------------


def ideal_losses(monkeypatch: pytest.MonkeyPatch | None = None, **options: Any) -> list[float]:
    """Loss of the first glimpse step, in pixels, where the network sees as well as anybody can."""
    points = [[38.3, 51.8], [44.1, 47.2], [36.9, 45.4]]
    m = method(("a",), glimpse=56, levels=1, noise=0.0, train_iterations=1, train_starts=8, **options)
    m.set_start(torch.tensor([[40.0, 48.0]]), torch.tensor([[3.0, 3.0]]))
    with_networks(m, Ideal(unit(m)))
    if monkeypatch is not None:
        right = foveated.without_shift
        monkeypatch.setattr(foveated, "without_shift", lambda linear: right(torch.linalg.inv(linear)))
    return [loss * unit(m) for loss in learn(m, batch([[p] for p in points], blobs(points)))]


@pytest.mark.parametrize(
    "options", [STILL, {"rotation": 180.0, "scale": 0.0}, {"rotation": 0.0, "scale": 0.2}, {"rotation": 30.0}]
)
def test_whoever_sees_right_has_no_loss_under_any_turn_and_scale(options: dict[str, Any]) -> None:
    assert max(ideal_losses(**{k: v for k, v in options.items() if k != "noise"})) < 0.02


@pytest.mark.parametrize("options", [{"rotation": 30.0, "scale": 0.0}, {"rotation": 0.0, "scale": 0.2}])
def test_the_inverted_sense_would_be_noticed(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the official code has the scale: whoever sees right is told that it is wrong."""
    assert min(ideal_losses(monkeypatch, **options)) > 0.2


def test_turn_and_scale_are_drawn_within_their_limits() -> None:
    linear = foveated.random_linear(torch.Size((50, 20)), 15.0, 0.05, np.random.default_rng(0))
    factor = torch.linalg.det(linear).sqrt()
    angle = torch.rad2deg(torch.atan2(linear[..., 1, 0], linear[..., 0, 0]))
    assert 0.949 < factor.min() < 0.96
    assert 1.04 < factor.max() < 1.052
    assert -15 <= angle.min() < -14
    assert 14 < angle.max() <= 15


def test_noise_has_the_stated_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    m = method(("a",), noise=0.3)
    stub = Says()
    stub.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].clone()))
    with_networks(m, stub)
    learn(m, batch([[[40.0, 40.0]]], torch.zeros(1, 1, *SIZE)))
    assert len(seen) == m.options.train_iterations
    assert seen[0].std().item() == pytest.approx(0.3, rel=0.05)
    assert not torch.equal(seen[0], seen[1])


# -- missing landmarks ----------------------------------------------------------------------------------------------


def test_loss_is_the_mean_over_annotated_landmarks_in_units() -> None:
    m = method(train_iterations=1, train_starts=1, **STILL)
    m.set_start(torch.tensor([[40.0, 40.0], [30.0, 50.0]]), torch.zeros(2, 2))
    with_networks(m, Says((0.5, -0.25)), Says())
    losses = learn(m, batch([[[42.0, 41.0], [30.0, 40.0]], [[44.0, 40.0], [NAN, NAN]]]))
    one = unit(m)
    first = sum(abs(0.5 + (40 - x) / one) + abs(-0.25 + (40 - y) / one) for x, y in [(42, 41), (44, 40)]) / 2
    second = (10 / one) / 2
    assert sum(losses) == pytest.approx((first + second) / 3, rel=1e-5)
    m.on_train_epoch_end()
    assert m.epoch_loss == pytest.approx((first + second) / 3, rel=1e-5)
    assert not m.loss_sums.any()


def test_the_relative_loss_is_divided_by_the_way_there() -> None:
    m = method(("a",), train_iterations=1, train_starts=1, loss="relative", **STILL)
    m.set_start(torch.tensor([[40.0, 40.0]]), torch.zeros(1, 2))
    with_networks(m, Says((1.0 / unit(m), 0.0)))  # one pixel to the right
    losses = learn(m, batch([[[44.0, 40.0]], [[40.0, 40.0]], [[NAN, NAN]]]))
    near = TINY["glimpse"] / 8  # px
    assert losses[0] == pytest.approx((1.5 / (2 + near) + 0.5 / near) / 2, rel=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_a_missing_landmark_adds_nothing_to_loss_or_gradient(shared: bool) -> None:
    m = method(shared=shared)
    losses = learn(m, batch([[[NAN, NAN], [NAN, NAN]]] * 2))
    assert set(losses) == {0.0}
    assert all(p.grad is None or not p.grad.any() for p in m.parameters())
    learn(m, batch([[[40.0, 40.0], [NAN, NAN]]] * 2))
    head = m.network.networks[0].last.weight.grad if shared else m.network.networks[1].last.weight.grad  # type: ignore[union-attr]
    assert isinstance(head, torch.Tensor)
    assert not head[-1].any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in m.parameters())


@pytest.mark.parametrize("missing", [[NAN, 12.0], [NAN, NAN]])
def test_half_a_point_is_none(missing: list[float]) -> None:
    m = method(shared=True)
    with_networks(m, Says((0.1, 0.1)))
    assert np.isfinite(learn(m, batch([[[40.0, 40.0], missing]]))).all()


def test_not_finite_loss_names_the_samples_and_comes_before_the_step() -> None:
    m = method()
    bad = batch([[[10.0, 9.0], [20.0, 21.0]]] * 2)
    bad.images[0] = float("inf")
    before = [p.clone() for p in m.parameters()]
    with pytest.raises(NotFinite) as caught:
        learn(m, bad, torch.optim.SGD(m.network.parameters(), lr=1.0))
    assert caught.value.index == [7, 8]
    assert all(torch.equal(old, new) for old, new in zip(before, m.parameters(), strict=True))


# -- one network per landmark ---------------------------------------------------------------------------------------


def test_the_loss_of_one_landmark_moves_only_its_network() -> None:
    m = method(("a", "b", "c"))
    learn(m, batch([[[40.0, 40.0], [NAN, NAN], [NAN, NAN]]] * 2))
    moved = [any(p.grad is not None and bool(p.grad.any()) for p in n.parameters()) for n in m.network.networks]
    assert moved == [True, False, False]
    shared = method(("a", "b", "c"), shared=True)
    assert len(shared.network.networks) == 1


def test_training_two_together_equals_training_each_alone() -> None:
    """The mean over twice as many landmarks halves each gradient, which twice the rate makes up exactly."""
    given = batch([[[43.0, 38.0], [37.0, 41.0]], [[41.0, 47.0], [44.0, 44.0]]])
    start = torch.tensor([[40.0, 40.0], [42.0, 43.0]])
    both = method(**STILL)
    both.set_start(start, torch.zeros(2, 2))
    states = [{k: v.clone() for k, v in n.state_dict().items()} for n in both.network.networks]
    learn(both, given, torch.optim.SGD(both.network.parameters(), lr=0.02))
    for k in range(2):
        alone = method(("a",), **STILL)
        alone.set_start(start[[k]], torch.zeros(1, 2))
        alone.network.networks[0].load_state_dict(states[k])
        single = Batch(given.images, given.points[:, [k]], given.to_original, given.index)
        learn(alone, single, torch.optim.SGD(alone.network.parameters(), lr=0.01))
        for name, value in alone.network.networks[0].state_dict().items():
            torch.testing.assert_close(value, both.network.networks[k].state_dict()[name], rtol=1e-5, atol=1e-7)
        assert any(not torch.equal(v, alone.network.networks[0].state_dict()[n]) for n, v in states[k].items())


# -- where guesses begin --------------------------------------------------------------------------------------------


def test_observe_takes_mean_and_deviation_of_the_annotated() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal((30, 50), (4, 9), (40, 4, 2))
    points[5:, 0] = np.nan
    points[1:, 1] = np.nan  # once: no deviation of its own
    points[:, 2] = np.nan  # never
    m = method(("few", "once", "never", "all"))
    m.observe(torch.from_numpy(points))
    mean, sd = m.network.start_mean.numpy(), m.network.start_sd.numpy()
    np.testing.assert_allclose(mean[[0, 1, 3]], np.nanmean(points[:, [0, 1, 3]], axis=0), rtol=1e-5)
    np.testing.assert_allclose(sd[[0, 3]], np.nanstd(points[:, [0, 3]], axis=0, ddof=1), rtol=1e-5)
    assert mean[2].tolist() == [39.5, 47.5]  # the middle of the input
    np.testing.assert_allclose(sd[[1, 2]], np.full((2, 2), sd[[0, 3]].mean()), rtol=1e-5)
    m.observe(torch.full((3, 4, 2), NAN))
    assert (m.network.start_sd == 10).all()  # an eighth of the shorter side


@pytest.mark.parametrize("start", ["mean", "landmark"])
def test_training_begins_normally_distributed_where_it_is_told(start: str) -> None:
    m = method(start=start, train_starts=4000)
    mean, sd = torch.tensor([[40.0, 45.0], [30.0, 50.0]]), torch.tensor([[3.0, 5.0], [2.0, 4.0]])
    m.set_start(mean, sd)
    truth = torch.tensor([[[[44.0, 48.0], [33.0, 41.0]]]])
    guess = m.training_guess(truth, np.random.default_rng(0))
    assert guess.shape == (1, 4000, 2, 2)
    middle = mean if start == "mean" else truth[0, 0]
    assert (guess[0].mean(0) - middle).abs().max() < 0.3
    assert (guess[0].std(0) / sd - 1).abs().max() < 0.05


def test_guesses_are_kept_inside() -> None:
    m = method(iterations=2)
    m.set_start(torch.tensor([[-900.0, 10.0], [10.0, 1e6]]), torch.ones(2, 2))
    with_networks(m, Says((100.0, 0.0)), Says((0.0, -100.0)))
    path = m.refine(m.source(torch.zeros(1, 1, *SIZE)), m.mean_guess(1, torch.device("cpu")))
    assert path[:, 0, 0].tolist() == [[[0, 10], [10, 95]], [[79, 10], [10, 0]], [[79, 10], [10, 0]]]


def test_prediction_begins_at_the_mean_and_moves_as_often_as_told() -> None:
    m = method(iterations=4)
    with_networks(m, Says((1 / unit(m), 0.0)), Says((0.0, -2 / unit(m))))
    path = m.refine(m.source(torch.zeros(2, 1, *SIZE)), m.mean_guess(2, torch.device("cpu")))
    assert path.shape == (5, 2, 1, 2, 2)
    torch.testing.assert_close(path[:, 1, 0, 0, 0], torch.arange(40.0, 45.0))
    torch.testing.assert_close(path[:, 0, 0, 1, 1], torch.arange(40.0, 30.0, -2))
    assert len(m.refine(m.source(torch.zeros(1, 1, *SIZE)), path[0, :1], iterations=7)) == 8
    _, scores, spread = m.conclude(path)
    torch.testing.assert_close(scores, 1 / (1 + torch.tensor([[1.0, 2.0]] * 2)))  # still moving
    assert spread is None


@pytest.mark.parametrize("starts", [2, 5])
def test_several_starts_give_their_median_and_spread(starts: int) -> None:
    m = method(starts=starts)
    with_networks(m, Says(), Says())  # everybody stays where it begins
    given = batch([[[1.0, 1.0], [2.0, 2.0]]] * 3)
    given.to_original = given.to_original * 2.5  # the input is smaller than the image
    found = m.predict(given)
    ends = m.mean_guess(3, torch.device("cpu")).numpy()
    assert ends.shape == (3, starts, 2, 2)
    assert (ends[:, 0] == 40).all()
    middle = np.median(ends, axis=1)
    np.testing.assert_allclose(found.points[:, 0].numpy(), 2.5 * middle, rtol=1e-5)
    spread = np.sqrt(((ends - middle[:, None]) ** 2).sum(-1).mean(1))
    np.testing.assert_allclose(found.numbers["spread"][:, 0].numpy(), 2.5 * spread, rtol=1e-4)
    np.testing.assert_allclose(found.scores[:, 0].numpy(), 1 / (1 + spread), rtol=1e-4)
    assert torch.equal(m.predict(given).points, found.points)  # the same starts every time


@pytest.mark.parametrize("shared", [False, True])
def test_predictions_of_a_batch_equal_single_ones(shared: bool) -> None:
    m = method(shared=shared, iterations=2, starts=3)
    rng = np.random.default_rng(0)
    # smooth images and short moves: an untrained network carries rounding on from step to step
    given = batch([[[1.0, 1.0], [2.0, 2.0]]] * 9, blobs(rng.uniform(25, 55, (9, 2)).tolist(), sd=9.0))
    with torch.no_grad():
        for network in m.network.networks:
            network.last.weight.normal_(0, 0.1)  # type: ignore[union-attr,operator]
    m.eval()
    whole = m.predict(given)
    assert (whole.points - 40).abs().max() > 0.5
    for i in range(len(given)):
        part = Batch(given.images[[i]], given.points[[i]], given.to_original[[i]], given.index[[i]])
        assert (m.predict(part).points[0] - whole.points[i]).abs().max() < 1e-4


def test_memory_of_prediction_is_bounded_by_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    m = method(shared=True, starts=4).eval()
    given = batch([[[1.0, 1.0], [2.0, 2.0]]] * 5)
    whole = m.predict(given).points
    most: list[int] = []
    m.network.networks[0].register_forward_hook(lambda module, inputs, output: most.append(inputs[0].shape[:2].numel()))
    monkeypatch.setattr(glimpse_networks, "STACKS", 6)
    torch.testing.assert_close(m.predict(given).points, whole, rtol=0, atol=1e-4)
    assert max(most) <= 6


# -- options --------------------------------------------------------------------------------------------------------


def test_the_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.shared=true"):
        method(conditioning="heads")
    with pytest.raises(ConfigError, match="expected a multiple of 8"):
        method(glimpse=20)
    with pytest.raises(ConfigError, match="resnet43"):
        method(trunk="resnet43")


def test_levels_are_as_many_as_the_input_needs() -> None:
    config = parse(FoveatedMethod.Config, {"trunk": "small", "glimpse": 16})
    assert FoveatedMethod(config, ("a",), 1, (256, 200)).levels == 5
    assert FoveatedMethod(config, ("a",), 1, (8, 8)).levels == 1
    assert method(levels=3).levels == 3


def test_an_input_smaller_than_a_glimpse_is_seen_whole() -> None:
    config = parse(FoveatedMethod.Config, {**TINY, "levels": None, "glimpse": 32})
    m = FoveatedMethod(config, ("a",), 1, (20, 12))
    m.set_start(torch.tensor([[5.5, 9.5]]), torch.ones(1, 2))
    m.eval()
    back = torch.eye(2, 3, dtype=torch.float64)[None]
    found = m.predict(Batch(torch.randn(1, 1, 20, 12), torch.zeros(1, 1, 2), back, torch.zeros(1)))
    assert found.points.isfinite().all()
    seen = m.look(m.source(torch.ones(1, 1, 20, 12)), torch.tensor([[[[5.5, 9.5]]]]))
    assert seen.sum().item() == 20 * 12


# -- training by the engine -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_radiographs(tmp_path_factory.mktemp("data") / "heads", 14, size=(96, 80), seed=1)


def recipe(folder: Path, options: dict[str, Any] | None = None, **train_options: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "path": str(folder),
            "landmarks": ["sella", "menton"],
            "input": {"size": list(SIZE)},
            "augment": {"rotation": 5},
            "workers": 0,
        },
        "method": {"name": "foveated", "shared": True, **TINY, **(options or {})},
        "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "threads": 1, **train_options},
    }
    return parse(Recipe, values)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(recipe(folder, ema=0.9), out=tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_every_image_in_every_epoch_and_several_steps_a_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[list[int]] = []
    steps: list[tuple[int, float]] = []
    step, follow = FoveatedMethod.training_step, FoveatedMethod.follow

    def note_batch(self: FoveatedMethod, given: Batch, batch_idx: int) -> None:
        used.append([self.current_epoch, *given.index.tolist()])
        step(self, given, batch_idx)

    def note_step(self: FoveatedMethod) -> None:
        optimizer: Any = self.optimizers()
        follow(self)
        steps.append((self.current_epoch, optimizer.param_groups[0]["lr"]))

    monkeypatch.setattr(FoveatedMethod, "training_step", note_batch)
    monkeypatch.setattr(FoveatedMethod, "follow", note_step)
    options = {"optimizer": {"lr": 1e-4}, "lr_schedule": {"name": "step", "milestones": [0.5], "gamma": 0.1}}
    run = train(recipe(folder, epochs=4, **options), out=tmp_path / "run", progress=False)
    count = len(run.parts()["train"])
    batches = -(-count // 4)
    for epoch in range(4):
        assert sorted(i for e, *index in used if e == epoch for i in index) == list(range(count))
    assert len(steps) == 4 * batches * TINY["train_iterations"] == run.history_table()["step"].iloc[-1]
    # the rate as it stands after a step is that of the next one: the step that ends epoch 1 makes it a tenth
    half = len(steps) // 2
    assert [rate for _, rate in steps[: half - 1]] == pytest.approx([1e-4] * (half - 1))
    assert [rate for _, rate in steps[half - 1 :]] == pytest.approx([1e-5] * (half + 1))


def test_gradients_are_clipped_and_averages_follow_every_step(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[float] = []
    counts: list[int] = []
    last: dict[str, torch.Tensor] = {}
    follow = FoveatedMethod.follow

    def note_step(self: FoveatedMethod) -> None:
        follow(self)
        now = torch.cat([p.detach().flatten().double() for p in self.network.parameters()])
        if "weights" in last:
            lengths.append(float(torch.linalg.vector_norm(now - last["weights"])))
        last["weights"] = now
        assert self.average is not None
        counts.append(int(self.average.n_averaged))

    monkeypatch.setattr(FoveatedMethod, "follow", note_step)
    options = {"optimizer": {"name": "sgd", "lr": 1.0}, "clip": 0.01, "ema": 0.9, "epochs": 1}
    train(recipe(folder, {"rotation": 0.0}, **options), out=tmp_path / "run", progress=False)
    assert len(lengths) >= 4
    assert max(lengths) <= 0.0101
    assert max(lengths) > 0.005
    assert counts == list(range(1, len(counts) + 1))


def test_averaged_weights_are_those_that_predict(finished: RunFolder) -> None:
    predictor = tp.Predictor.load(finished, device="cpu")
    last = torch.load(finished.last, weights_only=True)["state_dict"]
    best = int(finished.load_weights()[1]["epoch"])
    used, stored = predictor.method.inference_network().state_dict(), finished.load_weights()[0]
    assert all(torch.equal(value, stored[name]) for name, value in used.items())
    if best == 2:  # the last epoch
        assert all(torch.equal(last[f"average.module.{name}"], value) for name, value in stored.items())
    assert any(not torch.equal(last[f"network.{name}"], value) for name, value in stored.items())


# -- images of all kinds --------------------------------------------------------------------------------------------


def test_pixels_that_are_no_numbers_are_refused(finished: RunFolder) -> None:
    predictor = tp.Predictor.load(finished, device="cpu")
    for bad in (np.nan, np.inf):
        image = np.zeros((96, 80), np.float32)
        image[3, 5] = bad
        for given in (image, torch.from_numpy(image)[None], [np.zeros((9, 9)), image]):
            with pytest.raises(DataError, match="expected finite pixel values"):
                predictor.predict(given)


def test_colour_grey_and_small_images_are_taken(finished: RunFolder) -> None:
    predictor = tp.Predictor.load(finished, device="cpu")
    grey = np.random.default_rng(0).integers(0, 255, (96, 80), dtype=np.uint8)
    whole = predictor.predict(grey)
    colour = predictor.predict(np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_allclose(colour.points, whole.points, atol=0.05)
    small = predictor.predict(grey[:9, :7])  # fitted into the canvas, so points lie in its few pixels
    assert np.isfinite(small.points).all()
    assert small.points.min() > -1
    assert small.points[..., 0].max() < 8
    with pytest.raises(DataError, match="expected an array"):
        predictor.predict(np.zeros((20, 20, 4)))


def test_a_network_of_three_channels_takes_grey(folder: Path, tmp_path: Path) -> None:
    colour = recipe(folder, epochs=1).model_dump(mode="json")
    colour["data"]["input"]["channels"] = 3
    run = train(parse(Recipe, colour), out=tmp_path / "run", progress=False)
    found = tp.Predictor.load(run, device="cpu").predict(np.zeros((96, 80), np.uint8))
    assert np.isfinite(found.points).all()


def test_spread_reaches_the_table(finished: RunFolder, folder: Path, tmp_path: Path) -> None:
    again = recipe(folder, {"starts": 3}, ema=0.9)
    marks = LandmarkSet(("sella", "menton"))
    made = build_method(again, marks)
    made.inference_network().load_state_dict(finished.load_weights()[0])
    predictor = tp.Predictor(made, again, marks, np.zeros(2), "cpu")
    found = predictor.predict(tp.LandmarkDataset.load(folder, split="test", names=marks.names))
    assert found.spread is not None
    assert found.spread.shape == found.scores.shape
    table = pd.read_csv(write_predictions(tmp_path / "found.csv", found))
    np.testing.assert_allclose(table["menton_spread"], found.spread[:, 1], atol=1e-3)


def test_one_landmark_of_the_catheter(tmp_path: Path) -> None:
    """A shared network of a single landmark is the paper's, and nothing asks for a second."""
    data = write_catheter(tmp_path / "data", 10, size=32, seed=1)
    values = recipe(data, epochs=1).model_dump(mode="json")
    values["data"] |= {"landmarks": None, "input": {"size": [32, 32]}}
    run = train(parse(Recipe, values), out=tmp_path / "run", progress=False)
    assert tp.evaluate(run, data).metrics["n_landmarks"] > 0
