"""``method.flip_test``: the mean with the mirror image, on every path that a prediction takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trigpoint.config import parse
from trigpoint.errors import ConfigError, DataError
from trigpoint.export import export_predictor
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.prediction import Predictor, load_predictor
from trigpoint.recipe import Recipe

MARKS = LandmarkSet(("left", "tip", "right"), pairs=(("left", "right"),))
VALUES: dict[str, Any] = {
    "data": {"input": {"size": [48, 64]}},
    "method": {
        "name": "heatmap",
        "network": {"name": "res_unet", "width": 8, "stride": 4},
        "loss": "kl",
        "decoder": "soft_argmax",
        "schedule": {"name": "fixed", "sigma0": 1.0},
        "flip_test": True,
    },
}


def predictor(marks: LandmarkSet = MARKS, **method: Any) -> Predictor:
    """A network that was never trained, whose maps have peaks all the same."""
    torch.manual_seed(0)
    recipe = parse(Recipe, {**VALUES, "method": {**VALUES["method"], **method}})
    made = build_method(recipe, marks)
    last = [parameter for parameter in made.network.parameters() if len(parameter) == len(marks)]
    for parameter in last:
        parameter.data *= 300
    return Predictor(made, recipe, marks, np.full(len(marks), 3.0), "cpu")


def picture(width: int = 150, height: int = 100) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 255, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("width", [150, 64, 116])
def test_the_points_of_a_mirror_image_are_those_of_the_image_mirrored(width: int) -> None:
    """Of even width, for blocks of an odd one are averaged from the left."""
    image, own = picture(width), predictor()
    found, mirrored = own.predict([image, image[:, ::-1]], names=["a", "b"]).points
    back = mirrored[[2, 1, 0]] * [-1, 1] + [width - 1, 0]
    np.testing.assert_allclose(back, found, atol=1e-3)
    plain = predictor(flip_test=False)
    found, mirrored = plain.predict([image, image[:, ::-1]], names=["a", "b"]).points
    assert np.abs(mirrored[[2, 1, 0]] * [-1, 1] + [width - 1, 0] - found).max() > 0.25


def test_maps_are_the_mean_of_both() -> None:
    own, plain = predictor().method, predictor(flip_test=False).method
    images = torch.randn(2, 1, 48, 64, generator=torch.Generator().manual_seed(0))
    one, other = plain.outputs(images), plain.outputs(images.flip(-1))  # type: ignore[operator]
    wanted = (one + other[:, [2, 1, 0]].flip(-1)) / 2
    torch.testing.assert_close(own.outputs(images), wanted, atol=1e-5, rtol=1e-5)  # type: ignore[operator]


def test_the_exported_file_looks_at_both(tmp_path: Path) -> None:
    own, image = predictor(), picture()
    Image.fromarray(image).save(tmp_path / "image.png")
    export_predictor(own, tmp_path / "model.onnx", [tmp_path / "image.png"])
    file = load_predictor(tmp_path / "model.onnx", "cpu")
    np.testing.assert_allclose(file.predict(image).points, own.predict(image).points, atol=0.01)


def test_a_set_without_pairs_and_cells_that_do_not_meet_are_refused() -> None:
    with pytest.raises(DataError, match=r"names no pairs.*method\.flip_test=false"):
        predictor(LandmarkSet(("a", "b")))
    recipe = parse(Recipe, {**VALUES, "data": {"input": {"size": [48, 62]}}})
    with pytest.raises(ConfigError, match=r"multiple of 4.*got 62"):
        build_method(recipe, MARKS)
