"""``trigpoint data tile``: the copy holds the pixels, and what it cannot do is said in one message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from cli_entry import call, snapshot

from trigpoint.data.tiled import open_tiled

PIXELS = np.random.default_rng(0).integers(0, 256, (200, 150), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "strips.tif", PIXELS, compression="zlib", rowsperstrip=16)
    return tmp_path


@pytest.mark.parametrize(("name", "whole"), [("a.png", True), ("strips.tif", False)])
def test_a_tiled_copy(folder: Path, name: str, whole: bool) -> None:
    result = call("data", "tile", folder / name, folder / "out.tif", "--tile", 64)
    assert result.exit_code == 0, result.output
    assert f"wrote {folder / 'out.tif'}" in result.stderr
    assert ("decoded whole, 150 x 200 pixels in memory" in result.stderr) is whole
    with open_tiled(folder / "out.tif") as image:
        assert image.tiles[0] == (64, 64)
        np.testing.assert_array_equal(image.read(0, 0, 0, 200, 150)[0], PIXELS)


def test_nothing_is_replaced_without_force(folder: Path) -> None:
    (folder / "out.tif").write_text("mine")
    before = snapshot(folder)
    result = call("data", "tile", folder / "a.png", folder / "out.tif")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert snapshot(folder) == before
    assert call("data", "tile", folder / "a.png", folder / "out.tif", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("source", "target", "options", "words"),
    [
        ("none.png", "out.tif", (), "none.png"),
        ("a.png", "out.png", (), ".tif"),
        ("a.png", "out.tif", ("--tile", 100), "multiple of 16"),
        (".", "out.tif", (), "zarr"),
        ("strips.tif", "strips.tif", ("--force",), "another file"),
    ],
)
def test_bad_input(folder: Path, source: str, target: str, options: tuple[object, ...], words: str) -> None:
    before = snapshot(folder)
    result = call("data", "tile", folder / source, folder / target, *options)
    assert result.exit_code == 2
    assert "error: " in result.stderr
    assert words in result.stderr
    assert snapshot(folder) == before


def test_tiles_left_out_are_filled_on_demand(folder: Path) -> None:
    tiles = [np.full((64, 64), 7, np.uint8), None]
    tifffile.imwrite(folder / "gap.tif", iter(tiles), shape=(64, 128), dtype=np.uint8, tile=(64, 64))
    assert call("data", "tile", folder / "gap.tif", folder / "out.tif").exit_code == 2
    assert call("data", "tile", folder / "gap.tif", folder / "out.tif", "--fill-missing").exit_code == 0
    with open_tiled(folder / "out.tif") as image:
        assert image.read(0, 0, 0, 64, 128)[0, 0].tolist() == [7] * 64 + [0] * 64
