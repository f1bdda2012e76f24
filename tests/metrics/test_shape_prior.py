"""Points drawn to the labelled shapes: what they gain, what stays, and every path that they take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trigpoint.config import parse
from trigpoint.errors import ConfigError, RunError
from trigpoint.export import export_predictor
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.methods import build_method
from trigpoint.metrics.shape_prior import ShapePrior
from trigpoint.prediction import Predictor, load_predictor
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_instruments, write_radiographs
from trigpoint.training import train

COUNT = 20


def shapes(count: int, seed: int = 0, modes: int = 3) -> FloatArray:
    """Points on a circle that move together in a few ways, each figure turned, scaled and moved."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, COUNT, endpoint=False)
    base = 50 * np.stack([np.cos(angle), np.sin(angle)], -1)
    ways = np.stack([np.stack([np.cos(k * angle), np.sin((k + 1) * angle)], -1) for k in range(2, 2 + modes)])
    out = base + np.einsum("nm,mkd->nkd", 5 * rng.standard_normal((count, modes)), ways)
    return np.stack([similar(one, 0.2 * rng.standard_normal(), rng.uniform(0.8, 1.2), rng.uniform(0, 300, 2))
                     for one in out])  # fmt: skip


def similar(points: FloatArray, turn: float, scale: float, move: FloatArray | tuple[float, float]) -> FloatArray:
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    out: FloatArray = points @ matrix.T + move
    return out


def off(found: FloatArray, truth: FloatArray) -> float:
    return float(np.nanmean(np.linalg.norm(found - truth, axis=-1)))


def noisy(truth: FloatArray, size: float = 3.0, seed: int = 1) -> FloatArray:
    return truth + size * np.random.default_rng(seed).standard_normal(truth.shape)


@pytest.fixture(scope="module")
def prior() -> ShapePrior:
    validation = shapes(30, 2)
    found = ShapePrior.fit(shapes(60), noisy(validation), validation)
    assert found is not None
    return found


def test_errors_that_the_shape_does_not_allow_are_taken_off(prior: ShapePrior) -> None:
    truth = shapes(200, 3)
    found = noisy(truth, seed=4)
    assert off(prior.applied(found), truth) < 0.75 * off(found, truth)


def test_how_a_figure_lies_changes_nothing(prior: ShapePrior) -> None:
    found = noisy(shapes(5, 5))
    for lies in ((2.0, 1.0, (0.0, 0.0)), (0.0, 7.0, (0.0, 0.0)), (-0.7, 0.1, (900.0, -40.0))):
        np.testing.assert_allclose(
            similar(prior.applied(found), *lies), prior.applied(similar(found, *lies)), atol=1e-6
        )
    mean = similar(prior.mean, 1.1, 37.0, (500.0, 20.0))
    np.testing.assert_allclose(prior.applied(mean), mean, atol=1e-6)


def test_it_is_left_out_where_it_does_not_help() -> None:
    validation = shapes(30, 2)
    rng = np.random.default_rng(0)
    free = 100 * rng.standard_normal((60, COUNT, 2))  # no shape at all
    own = 100 * rng.standard_normal((30, COUNT, 2))
    assert ShapePrior.fit(free, noisy(own), own) is None
    assert ShapePrior.fit(shapes(60), validation, validation) is None  # nothing is off
    assert ShapePrior.fit(shapes(9), noisy(validation), validation) is None
    assert ShapePrior.fit(shapes(60), noisy(validation)[:4], validation[:4]) is None
    assert ShapePrior.fit(shapes(60)[:, :4], noisy(validation)[:, :4], validation[:, :4]) is None


def test_few_shapes_help_a_little_and_never_harm_much() -> None:
    validation, truth = shapes(30, 2), shapes(200, 3)
    found = noisy(truth, seed=4)
    for count in (10, 15, 25):
        few = ShapePrior.fit(shapes(count, 7), noisy(validation), validation)
        assert few is None or off(few.applied(found), truth) < off(found, truth)


def test_what_may_be_chance_is_not_kept() -> None:
    """Of points that no shape holds together, whatever few validation images say."""
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        base = 100 * rng.standard_normal((8, 2))
        labels, truth = (base + 10 * rng.standard_normal((count, 8, 2)) for count in (12, 6))
        kept += ShapePrior.fit(labels, noisy(truth, 8.0, seed), truth) is not None
    assert kept <= 8


def test_landmarks_that_are_not_known_or_not_found_keep_their_points() -> None:
    labels, validation = shapes(60), shapes(30, 2)
    labels[:, 3] = np.nan  # nobody labelled it
    labels[::7, 5] = np.nan
    guesses = noisy(validation)
    truth = validation.copy()
    truth[:, 3] = np.nan
    found = ShapePrior.fit(labels, guesses, truth)
    assert found is not None
    assert np.flatnonzero(~found.known).tolist() == [3]
    out = found.applied(guesses)
    np.testing.assert_array_equal(out[:, 3], guesses[:, 3])
    assert (out[:, 5] != guesses[:, 5]).all()
    lost = guesses.copy()
    lost[0, 7] = np.nan
    np.testing.assert_array_equal(found.applied(lost)[0], lost[0])
    np.testing.assert_allclose(found.applied(lost)[1:], out[1:])
    one_place = np.full((COUNT, 2), 8.0)
    np.testing.assert_array_equal(found.applied(one_place), one_place)


def test_it_is_kept_as_it_is_and_follows_the_names(prior: ShapePrior) -> None:
    again = ShapePrior.from_dict(json.loads(json.dumps(prior.to_dict())))
    found = noisy(shapes(5, 5))
    np.testing.assert_allclose(again.applied(found), prior.applied(found), atol=1e-3)
    names = [f"p{i}" for i in range(COUNT)]
    order = np.random.default_rng(0).permutation(COUNT)
    other = prior.among(names, ["new", *(names[i] for i in order)])
    assert other is not None
    more = np.concatenate([found[:, :1] + 3, found[:, order]], 1)
    np.testing.assert_allclose(other.applied(more)[:, 1:], prior.applied(found)[:, order], atol=1e-6)
    np.testing.assert_array_equal(other.applied(more)[:, 0], more[:, 0])
    assert prior.among(names, names[1:]) is None
    with pytest.raises(ValueError, match="expected a gain of 40 x 40"):
        ShapePrior.from_dict({**prior.to_dict(), "gain": [[1.0]]})


def test_the_exported_file_asks_the_shapes_too(prior: ShapePrior, tmp_path: Path) -> None:
    names = tuple(f"p{i}" for i in range(COUNT + 1))
    recipe = parse(
        Recipe,
        {
            "data": {"input": {"size": [48, 64]}},
            "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "fixed"},
        },
    )
    torch.manual_seed(0)
    own = Predictor(build_method(recipe, LandmarkSet(names)), recipe, LandmarkSet(names), np.full(21, 3.0), "cpu")
    image = np.random.default_rng(3).integers(0, 255, (100, 150), dtype=np.uint8)
    plain = own.predict(image).points
    own.shape = prior.among(names[1:], names)
    assert own.shape is not None
    found = own.predict(image).points
    assert np.abs(found - plain)[:, 1:].max() > 1
    np.testing.assert_array_equal(found[:, 0], plain[:, 0])
    Image.fromarray(image).save(tmp_path / "image.png")
    export_predictor(own, tmp_path / "model.onnx", [tmp_path / "image.png"])
    file = load_predictor(tmp_path / "model.onnx", "cpu")
    np.testing.assert_allclose(file.predict(image).points, found, atol=0.01)


VALUES: dict[str, Any] = {
    "data": {"input": {"size": [64, 64]}, "workers": 0},
    "method": {
        "name": "heatmap",
        "network": {"name": "res_unet", "width": 8, "stride": 4},
        "loss": "kl",
        "decoder": "soft_argmax",
        "schedule": {"name": "fixed", "sigma0": 1.0},
    },
    "train": {"epochs": 4, "batch_size": 4, "shape_prior": True, "optimizer": {"lr": 0.003}},
}


def test_a_run_keeps_its_prior_and_every_prediction_asks_it(tmp_path: Path) -> None:
    heads = write_radiographs(tmp_path / "heads", 40, size=(64, 56), seed=2)
    values = {**VALUES, "data": {**VALUES["data"], "path": str(heads)}}
    run = train(parse(Recipe, values), out=tmp_path / "run", progress=False)
    assert run.shape.is_file()
    predictor = Predictor.load(run)
    images = sorted((heads / "images").glob("*.png"))[:3]
    asked = predictor.predict(images).points
    own, predictor.shape = predictor.shape, None
    assert own is not None
    plain = predictor.predict(images).points
    np.testing.assert_allclose(asked, own.applied(plain), atol=1e-9)
    assert np.abs(asked - plain).max() > 0.25
    run.shape.write_text(run.shape.read_text()[:-9])
    with pytest.raises(RunError, match=r"shape\.json"):
        Predictor.load(run)


def test_several_instances_have_no_shape(tmp_path: Path) -> None:
    tools = write_instruments(tmp_path / "tools", 10, size=(64, 64), seed=1)
    values = {"data": {"path": str(tools)}, "method": "instances", "train": {"shape_prior": True}}
    with pytest.raises(ConfigError, match=r"train\.shape_prior.*one of each landmark"):
        train(parse(Recipe, values), out=tmp_path / "run", progress=False)
    assert not RunFolder(tmp_path / "run").exists()
