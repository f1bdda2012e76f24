"""Images too large for memory: the same points by tiles as in memory, in any mixture, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trigpoint.data.tiled import write_tiled
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.prediction import Predictor
from trigpoint.prediction import base as inference
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.synthetic import write_radiographs

MARKS = LandmarkSet(("a", "b"))


def predictor(method: str = "{name: foveated, shared: true, trunk: small, starts: 2}") -> Predictor:
    torch.manual_seed(0)
    recipe = load_recipe(Recipe(), ["data.input.size=[512, 400]", f"method={method}"])
    made = build_method(recipe, MARKS)
    if recipe.method_name == "foveated":
        torch.nn.init.normal_(made.network.networks[0].last.weight, std=0.05)  # type: ignore[union-attr, index, arg-type]
        made.observe(torch.tensor([[[210.0, 240.0], [150.0, 300.0]], [[190.0, 260.0], [170.0, 280.0]]]))
    return Predictor(made, recipe, MARKS, np.full(2, np.nan), "cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One radiograph as PNG and as tiled TIFF."""
    folder = tmp_path_factory.mktemp("huge")
    png = next((write_radiographs(folder / "set", 1, (640, 500)) / "images").iterdir())
    pixels = np.asarray(Image.open(png))
    tif = write_tiled(folder / "huge.tif", pixels.shape[:2], [pixels], tile=64)
    return {"png": png, "tif": tif}


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MAX_PIXELS", 500 * 640 - 1)


@pytest.mark.usefixtures("small_memory")
def test_by_tiles_as_in_memory(images: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found = predictor()
    monkeypatch.setattr(inference, "read_image", lambda path: pytest.fail(f"read {path} as a whole"))
    lazy = found.predict(images["tif"])
    monkeypatch.undo()
    whole = found.predict(images["png"])
    moved = np.linalg.norm(whole.points - [[200, 250], [160, 290]], axis=-1)
    assert moved.min() > 5  # the looks count
    # levels stored with 8 bit, and resampled from a stored level instead of the canvas
    np.testing.assert_allclose(lazy.points, whole.points, atol=1.0)
    assert lazy.spread is not None
    assert lazy.spread.shape == (1, 2)


@pytest.mark.usefixtures("small_memory")
def test_a_list_may_mix_both(images: dict[str, Path]) -> None:
    found = predictor()
    done: list[tuple[int, int]] = []
    both = found.predict(
        [images["png"], images["tif"], images["png"]], progress=lambda part, total: done.append((part, total))
    )
    assert both.images == tuple(map(str, (images["png"], images["tif"], images["png"])))
    np.testing.assert_allclose(both.points[1], found.predict(images["tif"]).points[0], atol=1e-4)
    np.testing.assert_allclose(both.points[2], both.points[0], atol=1e-4)
    assert done == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.usefixtures("small_memory")
def test_other_methods_cannot_read_by_tiles(images: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"huge.tif: is read by tiles, which .* heatmap cannot; .*foveated"):
        predictor("{name: heatmap, network: {name: unet, width: 4}}").predict(images["tif"])


def test_a_tiled_image_that_fits_is_read_as_a_whole(images: dict[str, Path]) -> None:
    assert not inference.is_lazy(images["tif"])
    assert not inference.is_lazy(np.zeros((4, 4)))
    assert not inference.is_lazy("nowhere.tif")
