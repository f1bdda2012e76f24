"""Every method as a graph: its steps find what it predicts, and so does the file (soak: translation takes seconds)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_methods_contract import GLIMPSES, HEATMAP, NAMES, SIZE, SMALL, values

from trigpoint.codecs import DECODERS
from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.export import export_predictor
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import METHODS, build_method
from trigpoint.methods.base import LandmarkMethod
from trigpoint.methods.graph import Nodes, example_values
from trigpoint.prediction import Predictor, load_predictor
from trigpoint.recipe import Recipe

CASES: dict[str, dict[str, Any]] = {name: {"name": name, **SMALL.get(name, {})} for name in METHODS}
CASES |= {f"heatmap, {decoder}": {**HEATMAP, "schedule": "fixed", "decoder": decoder} for decoder in DECODERS}
CASES["heatmap, kl"] = {**HEATMAP, "schedule": "fixed", "decoder": "soft_argmax", "loss": "kl"}
CASES["foveated, several"] = {
    "name": "foveated",
    **GLIMPSES,
    "starts": 3,
    "views": 2,
    "iterations": 2,
    "last": 2,
    "shared": True,
}
CASES["cascade, mixed"] = {**CASES["cascade"], "coarse_share": 0.3, "min_score": 0.1}


def predictor_of(case: str) -> Predictor:
    """A method that was never trained but knows where landmarks lie, with maps that are not flat."""
    torch.manual_seed(0)
    given = values("heatmap")
    given["method"] = CASES[case]
    recipe, marks = parse(Recipe, given), LandmarkSet(NAMES)
    method = build_method(recipe, marks)
    generator = torch.Generator().manual_seed(0)
    method.observe(torch.rand(6, len(NAMES), 2, generator=generator) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0]))
    for network in (method.network, method.inference_network()):
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1 and name.endswith(("weight", "filters")) and float(parameter.detach().std()) < 0.02:
                torch.nn.init.normal_(parameter, std=0.1)  # heads, which begin near zero
    return Predictor(method, recipe, marks, np.full(len(NAMES), 2.0), "cpu", scale=2.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    files = [folder / "a.png", folder / "b.png"]
    for file, size in zip(files, [(240, 200), (90, 130)], strict=True):
        y, x = np.mgrid[: size[0], : size[1]]
        blobs = sum(np.exp(-((x - size[1] * a) ** 2 + (y - size[0] * b) ** 2) / 90) for a, b in rng.random((5, 2)))
        pixels = 40 + 150 * blobs + 15 * rng.standard_normal(size)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
    return files


@pytest.mark.parametrize("case", CASES)
def test_the_steps_of_a_graph_find_what_the_method_predicts(case: str, images: list[Path]) -> None:
    method = predictor_of(case).method
    steps = method.graph_steps()
    if any(isinstance(step.module, Nodes) for step in steps):
        return  # held to the decoder in tests/export/test_instance_nodes.py
    prepared = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    back = torch.eye(2, 3, dtype=torch.float64)[None]
    found = method.predict(Batch(prepared, torch.zeros(1, len(NAMES), 2), back, torch.zeros(1)))
    values = example_values(steps, images=prepared)
    torch.testing.assert_close(values["points"].double(), found.points.double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(values["scores"], found.scores, atol=1e-5, rtol=0)
    assert ("spread" in values) == ("spread" in found.numbers)
    if "spread" in values:
        torch.testing.assert_close(values["spread"], found.numbers["spread"], atol=1e-4, rtol=0)


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES)
def test_the_file_of_a_method_finds_what_it_predicts(case: str, images: list[Path], tmp_path: Path) -> None:
    predictor = predictor_of(case)
    made = export_predictor(predictor, tmp_path / "a.onnx", images)
    assert made.largest <= 0.05
    of_run, of_file = predictor.predict(images), load_predictor(made.file, "cpu").predict(images)
    np.testing.assert_allclose(of_file.points, of_run.points, atol=0.05)
    np.testing.assert_allclose(of_file.scores, of_run.scores, atol=1e-3)
    np.testing.assert_allclose(of_file.scales, of_run.scales)
    if of_run.spread is not None:
        assert of_file.spread is not None
        np.testing.assert_allclose(of_file.spread, of_run.spread, atol=0.05)


@pytest.mark.soak
@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("case", ["heatmap", "foveated", "instances"])
def test_less_precision_is_smaller_and_its_cost_is_told(
    case: str, precision: Any, images: list[Path], tmp_path: Path
) -> None:
    predictor = predictor_of(case)
    full = export_predictor(predictor, tmp_path / "full.onnx", images)
    made = export_predictor(predictor, tmp_path / "less.onnx", images, precision)
    assert made.file.stat().st_size < full.file.stat().st_size
    assert made.mean > full.mean
    about = load_predictor(made.file, "cpu").about  # type: ignore[attr-defined]
    assert about["precision"] == precision
    assert about["check"]["limit_px"] is None


def test_a_method_without_steps_says_so() -> None:
    class Bare(LandmarkMethod):
        def __init__(self) -> None:
            super().__init__(NAMES, 0.0)

        def predict(self, batch: Batch) -> Any:
            raise NotImplementedError

        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            raise NotImplementedError

    with pytest.raises(ConfigError, match="expected a method with graph_steps, got Bare"):
        Bare().graph_steps()
