"""Tiled files give back exactly the pixels that were written, read no more than they must, and damage is named."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile
import torch

from trigpoint.data.pixels.images import read_image
from trigpoint.data.tiled import TiledImage, halve_edge, is_tiled, open_tiled, tile_image, write_tiled
from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import halve

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (150, 203), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (150, 203), dtype=np.uint16)
RGB8 = RNG.integers(0, 256, (150, 203, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (150, 203, 3), dtype=np.uint16)
KINDS = pytest.mark.parametrize("values", [GREY8, GREY16, RGB8, RGB16], ids=["grey8", "grey16", "rgb8", "rgb16"])
Array = npt.NDArray[Any]


def planes(values: Array) -> Array:
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def check(image: TiledImage, values: Array, level: int = 0) -> None:
    """The whole level, and regions that reach beyond every side."""
    expected = planes(values)
    height, width = expected.shape[1:]
    assert image.levels[level].size == (height, width)
    np.testing.assert_array_equal(image.read(level, 0, 0, height, width), expected)
    for top, left, h, w in [(-5, -7, 20, 30), (60, 60, 5, 9), (height - 3, width - 2, 9, 9), (63, 63, 2, 2)]:
        part = image.read(level, top, left, h, w)
        inside = expected[:, max(top, 0) : max(top + h, 0), max(left, 0) : max(left + w, 0)]
        np.testing.assert_array_equal(part, inside)
    assert image.read(level, height + 4, 0, 5, 5).size == 0
    assert image.read(level, 0, -9, 5, 9).shape == (expected.shape[0], 5, 0)


# -- reading TIFF ---------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "predictor": True},
        {"bigtiff": True, "byteorder": ">"},
        {"compression": "lzma"},
        {"compression": "packbits"},
    ],
    ids=["plain", "deflate", "big", "lzma", "packbits"],
)
def test_tiff(tmp_path: Path, values: Array, options: dict[str, Any]) -> None:
    file = tmp_path / "a.tif"
    if options.get("compression") == "packbits":
        write_packbits(file, values)
    else:
        tifffile.imwrite(file, values, tile=(64, 48), photometric=photometric(values), **options)
    assert is_tiled(file)
    with open_tiled(file) as image:
        assert image.size == (150, 203)
        assert image.dtype == values.dtype
        assert image.value_range == (0.0, float(np.iinfo(values.dtype).max))
        assert [tuple(level) for level in image.levels] == [((150, 203), 1.0)]
        assert image.spacing_mm is None
        check(image, values)


def photometric(values: Array) -> str:
    return "rgb" if values.ndim == 3 else "minisblack"


def write_packbits(file: Path, values: Array) -> None:
    """Uncompressed tiles, each as packbits of runs without repetition."""

    def pack(data: bytes) -> bytes:
        parts = (data[start : start + 128] for start in range(0, len(data), 128))
        return b"".join(bytes([len(part) - 1]) + part for part in parts)

    h, w = 64, 48
    tiles = []
    for top in range(0, values.shape[0], h):
        for left in range(0, values.shape[1], w):
            part = values[top : top + h, left : left + w]
            fill = ((0, h - part.shape[0]), (0, w - part.shape[1]), *[(0, 0)] * (values.ndim - 2))
            tiles.append(pack(np.pad(part, fill).tobytes()))
    tifffile.imwrite(
        file,
        iter(tiles),
        shape=values.shape,
        dtype=values.dtype,
        tile=(h, w),
        compression="zlib",  # of which nothing but the tag is written
        photometric=photometric(values),
    )
    patch_tag(file, "Compression", 32773)


@pytest.mark.parametrize("where", ["subifds", "pages"])
def test_levels_in_subifds_or_following_pages(tmp_path: Path, where: str) -> None:
    file = tmp_path / "a.tif"
    small, smaller = RGB8[::2, ::2], RGB8[::4, ::4][:37, :50]
    label = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with tifffile.TiffWriter(file) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32), "metadata": None}
        writer.write(RGB8, subifds=2 if where == "subifds" else None, **options)
        writer.write(small, subfiletype=1, **options)
        writer.write(smaller, subfiletype=1, **options)
        writer.write(label, photometric="rgb", metadata=None)
    with open_tiled(file) as image:
        assert [tuple(level) for level in image.levels] == [((150, 203), 1.0), ((75, 102), 2.0), ((37, 50), 4.0)]
        check(image, small, 1)
        check(image, smaller, 2)


def test_levels_of_any_factor(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        for values in (GREY8, GREY8[::3, ::3], GREY8[:15, :50]):
            writer.write(values, tile=(32, 32), metadata=None)
    with open_tiled(file) as image:
        assert [tuple(level) for level in image.levels] == [((150, 203), 1.0), ((50, 68), 3.0)]  # the last is no copy


def test_separate_planes_alpha_and_white_is_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "p.tif", planes(RGB8), photometric="rgb", planarconfig="separate", tile=(64, 64))
    alpha = np.dstack([RGB8, GREY8])
    tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64))
    tifffile.imwrite(tmp_path / "w.tif", 255 - GREY8, photometric="miniswhite", tile=(64, 64))
    for name, values in (("p", RGB8), ("a", RGB8), ("w", GREY8)):
        with open_tiled(tmp_path / f"{name}.tif") as image:
            check(image, values)


@pytest.mark.parametrize(
    ("x", "y", "unit", "expected"), [(100, 100, "µm", (0.1, 0.1)), (0.2, 0.2, "mm", (0.2, 0.2)), (1, 2, "mm", (1, 2))]
)
def test_ome_spacing(tmp_path: Path, x: float, y: float, unit: str, expected: tuple[float, float]) -> None:
    size = {"PhysicalSizeX": x, "PhysicalSizeXUnit": unit, "PhysicalSizeY": y, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY8, tile=(64, 64), metadata={"axes": "YX", **size})
    with open_tiled(tmp_path / "a.ome.tif") as image:
        assert image.spacing_mm == pytest.approx(expected)
    assert read_image(tmp_path / "a.ome.tif").spacing_mm == pytest.approx(expected)


# -- reading zarr ---------------------------------------------------------------------------------------------------


def write_zarr(path: Path, values: Array, version: int, chunks: tuple[int, ...], **options: Any) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(
        store=str(path), shape=values.shape, chunks=chunks, dtype=values.dtype, zarr_format=version, **options
    )
    array[...] = values


@pytest.mark.parametrize("version", [2, 3])
@KINDS
def test_zarr_arrays(tmp_path: Path, values: Array, version: int) -> None:
    stored = planes(values) if values.ndim == 3 else values
    write_zarr(tmp_path / "a.zarr", stored, version, (1,) * (stored.ndim - 2) + (64, 48))
    write_zarr(tmp_path / "b.zarr", planes(values)[None], version, (1, planes(values).shape[0], 32, 80))
    assert is_tiled(tmp_path / "a.zarr")
    for name in "ab":
        with open_tiled(tmp_path / f"{name}.zarr") as image:
            check(image, values)


def test_zarr_shards(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", GREY8, 3, (32, 32), shards=(64, 64))
    with open_tiled(tmp_path / "a.zarr") as image:
        assert image.tiles == ((32, 32),)
        check(image, GREY8)


def write_ngff(path: Path, version: int, names: str = "tczyx") -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    kinds = {"t": "time", "c": "channel"}
    axes: list[dict[str, str]] = [{"name": name, "type": kinds.get(name, "space")} for name in names]
    for axis in axes:
        if axis["type"] == "space":
            axis["unit"] = "micrometer"
    datasets = []
    for level, step in enumerate((1, 2, 4)):
        values = planes(RGB8)[:, ::step, ::step]
        place = [slice(None) if name in "cyx" else None for name in names]
        shape = values[tuple(place)].shape
        array = group.create_array(f"s{level}", shape=shape, chunks=(1,) * (len(names) - 2) + (64, 64), dtype="u1")
        array[...] = values[tuple(place)]
        scale = [50.0 * step if name in "zyx" else 1.0 for name in names]
        datasets.append({"path": f"s{level}", "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    scales = [{"axes": axes, "datasets": datasets}]
    group.attrs.update({"ome": {"version": "0.5", "multiscales": scales}} if version == 3 else {"multiscales": scales})


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("names", ["tczyx", "cyx"])
def test_ngff_groups(tmp_path: Path, version: int, names: str) -> None:
    write_ngff(tmp_path / "a.zarr", version, names)
    with open_tiled(tmp_path / "a.zarr") as image:
        assert [level.stride for level in image.levels] == [1.0, 2.0, 4.0]
        assert image.spacing_mm == pytest.approx((0.05, 0.05))
        check(image, RGB8)
        check(image, RGB8[::4, ::4], 2)


def test_zarr_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr(tmp_path / "a.zarr", GREY8, 3, (64, 64))
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert is_tiled(tmp_path / "a.zarr")
    with pytest.raises(DataError, match=r'a\.zarr.*pip install "trigpoint\[zarr\]"'):
        open_tiled(tmp_path / "a.zarr")


# -- how much is read -----------------------------------------------------------------------------------------------


def test_only_touched_tiles_are_read_and_kept(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY8, tile=(16, 16))
    with open_tiled(tmp_path / "a.tif") as image:
        image.read(0, 16, 16, 16, 16)
        assert image.tiles_read == 1
        image.read(0, 15, 16, 17, 17)
        assert image.tiles_read == 4
        image.read(0, 15, 16, 17, 17)
        assert image.tiles_read == 4
        image.read(0, 500, 0, 5, 5)
        assert image.tiles_read == 4


def test_the_cache_keeps_its_limit_and_what_was_used_last(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY8, tile=(16, 16))
    with open_tiled(tmp_path / "a.tif", cache_bytes=2 * 256) as image:
        for left in (0, 16, 0, 32, 0):  # the third evicts the second tile, not the first
            image.read(0, 0, left, 16, 16)
        assert image.tiles_read == 3
        image.read(0, 0, 16, 16, 16)
        assert image.tiles_read == 4
        assert image._kept_bytes <= 512
    with open_tiled(tmp_path / "a.tif", cache_bytes=0) as image:
        check(image, GREY8)
        assert image._kept_bytes == 0


# -- refusals -------------------------------------------------------------------------------------------------------


def test_what_is_not_tiled_is_refused_with_the_remedy(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", GREY8)
    PIL.Image.fromarray(GREY8).save(tmp_path / "a.png")
    PIL.Image.fromarray(GREY8).save(tmp_path / "a.jpg")
    for name in ("s.tif", "a.png", "a.jpg"):
        assert not is_tiled(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}.*trigpoint data tile IN OUT"):
            open_tiled(tmp_path / name)
    with pytest.raises(DataError, match=r"a\.png.*trigpoint data tile IN OUT"):
        read_image(tmp_path / "a.png", max_pixels=100)
    (tmp_path / "folder").mkdir()
    assert not is_tiled(tmp_path / "folder")
    assert not is_tiled(tmp_path / "nothing")
    for name in ("folder", "nothing"):
        with pytest.raises(DataError, match=name):
            open_tiled(tmp_path / name)


def test_kinds_that_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"

    def refused(words: str, *pages: Array, **options: Any) -> None:
        with tifffile.TiffWriter(file) as writer:
            for page in pages:
                writer.write(page, tile=(64, 64), metadata=None, **options)
        with pytest.raises(DataError, match=rf"a\.tif.*{words}"):
            open_tiled(file)

    refused("float32", GREY8.astype(np.float32))
    refused("2 pages of one size", GREY8, GREY8, photometric="minisblack")
    refused("orientation 6", GREY8, extratags=[(274, 3, 1, 6, True)])
    refused("PALETTE", GREY8, photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    refused("5 samples|1 to 4 samples", np.dstack([GREY8] * 5), photometric="minisblack", planarconfig="contig")


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs is there and decodes it")
def test_a_compression_without_decoder_names_the_package(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY8, tile=(64, 64))
    patch_tag(tmp_path / "a.tif", "Compression", 5)
    with pytest.raises(DataError, match=r"a\.tif.*LZW.*pip install imagecodecs"):
        open_tiled(tmp_path / "a.tif")


def patch_tag(file: Path, name: str, value: int) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[0].tags[name].overwrite(value)


@pytest.mark.parametrize(
    ("tag", "value"),
    [("TileWidth", 16), ("TileLength", 4096), ("ImageWidth", 9000), ("TileWidth", 60000), ("TileWidth", 0)],
)
def test_tile_sizes_that_lie(tmp_path: Path, tag: str, value: int) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, GREY8, tile=(64, 64), compression="zlib")
    patch_tag(file, tag, value)
    with pytest.raises(DataError, match=r"a\.tif"), open_tiled(file) as image:
        image.read(0, 0, 0, *image.size)


def test_absurd_tiles_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((100, 100), np.uint8), tile=(112, 112))
    for tag, value in (("TileWidth", 60_000), ("TileLength", 60_000), ("ImageWidth", 60_000), ("ImageLength", 60_000)):
        patch_tag(file, tag, value)
    with pytest.raises(DataError, match=r"a\.tif: expected tiles of at most 64000000 pixels, got 60000 x 60000"):
        open_tiled(file)


def test_a_tile_that_inflates_beyond_its_size_is_measured_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zlib

    from trigpoint.data.tiled import tiff

    file = tmp_path / "a.tif"
    bomb = zlib.compress(bytes(10_000_000))
    tifffile.imwrite(file, iter([bomb]), shape=(64, 64), dtype=np.uint8, tile=(64, 64), compression="zlib")
    monkeypatch.setattr(tiff, "_BOMB", 1_000_000)
    with open_tiled(file) as image, pytest.raises(DataError, match=r"a\.tif: expected tiles of 4096 bytes"):
        image.read(0, 0, 0, 64, 64)


def test_a_file_cut_anywhere_gives_no_other_error(tmp_path: Path) -> None:
    whole = write_tiled(tmp_path / "whole.tif", GREY8.shape, [GREY8], tile=64).read_bytes()
    file = tmp_path / "cut.tif"
    for length in [*range(0, 600, 7), *range(600, len(whole), 1999), len(whole) - 1]:
        file.write_bytes(whole[:length])
        read_all(file)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.tif.*"):
        open_tiled(file)


def read_all(file: Path) -> None:
    """Read every level; nothing but a DataError may escape."""
    is_tiled(file)
    with suppress(DataError), open_tiled(file) as image:
        for level, stored in enumerate(image.levels):
            image.read(level, 0, 0, *stored.size)


def test_damaged_bytes_give_no_other_error(tmp_path: Path) -> None:
    whole = write_tiled(tmp_path / "whole.tif", (96, 70), [GREY8[:96, :70]], tile=32).read_bytes()
    file = tmp_path / "damaged.tif"
    rng = np.random.default_rng(1)
    for _ in range(120):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 1500), 3):
            data[place] = int(rng.integers(256))
        file.write_bytes(data)
        read_all(file)


def test_missing_tiles_are_refused_or_filled(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tiles = [np.full((64, 64), 7, np.uint8), None]
    tifffile.imwrite(file, iter(tiles), shape=(64, 128), dtype=np.uint8, tile=(64, 64), compression="zlib")
    with open_tiled(file) as image:
        assert np.unique(image.read(0, 0, 0, 64, 64)).tolist() == [7]
        with pytest.raises(DataError, match=r"a\.tif: expected every tile"):
            image.read(0, 0, 64, 64, 64)
    with open_tiled(file, fill_missing=True) as image:
        assert np.unique(image.read(0, 0, 63, 64, 65)).tolist() == [0, 7]


def lose_chunk(folder: Path) -> None:
    (folder / "c" / "1" / "1").unlink()


def cut_chunk(folder: Path) -> None:
    chunk = folder / "c" / "1" / "1"
    chunk.write_bytes(chunk.read_bytes()[:-20])


def swap_chunk(folder: Path) -> None:
    (folder / "c" / "1" / "1").write_bytes(bytes(1000))


def lie_about_chunks(folder: Path) -> None:
    change(folder, lambda data: data["chunk_grid"]["configuration"].update(chunk_shape=[80, 80]))


def claim_huge_chunks(folder: Path) -> None:
    change(folder, lambda data: data.update(shape=[90_000, 90_000]))
    change(folder, lambda data: data["chunk_grid"]["configuration"].update(chunk_shape=[90_000, 90_000]))


def claim_channels(folder: Path) -> None:
    change(folder, lambda data: data.update(shape=[7, 203, 150]))
    change(folder, lambda data: data["chunk_grid"]["configuration"].update(chunk_shape=[1, 64, 64]))


def claim_floats(folder: Path) -> None:
    change(folder, lambda data: data.update(data_type="float32"))


def cut_metadata(folder: Path) -> None:
    (folder / "zarr.json").write_text((folder / "zarr.json").read_text()[:-40])


def empty_metadata(folder: Path) -> None:
    (folder / "zarr.json").write_text("{}")


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / "zarr.json").read_text())
    edit(data)
    (folder / "zarr.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    "damage",
    [
        lose_chunk,
        cut_chunk,
        swap_chunk,
        lie_about_chunks,
        claim_huge_chunks,
        claim_channels,
        claim_floats,
        cut_metadata,
        empty_metadata,
    ],
    ids=lambda damage: damage.__name__,
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_damaged_zarr_is_named(tmp_path: Path, damage: Callable[[Path], None], packed: bool) -> None:
    folder = tmp_path / "a.zarr"
    write_zarr(folder, GREY8, 3, (64, 64), **({} if packed else {"compressors": None}))
    damage(folder)
    with pytest.raises(DataError, match=r"a\.zarr"), open_tiled(folder) as image:
        image.read(0, 0, 0, *image.size)


def test_chunks_that_were_left_out_can_be_filled(tmp_path: Path) -> None:
    values = GREY8.copy()
    values[:64, :64] = 0  # zarr leaves such a chunk out
    write_zarr(tmp_path / "a.zarr", values, 3, (64, 64))
    with open_tiled(tmp_path / "a.zarr") as image, pytest.raises(DataError, match=r"a\.zarr.*--fill-missing"):
        image.read(0, 0, 0, 10, 10)
    with open_tiled(tmp_path / "a.zarr", fill_missing=True) as image:
        check(image, values)
    copy = tile_image(tmp_path / "a.zarr", tmp_path / "copy.tif", fill_missing=True)
    with open_tiled(copy) as image:
        check(image, values)


def test_ngff_groups_that_are_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    write_ngff(tmp_path / "a.zarr", 3)
    shutil.rmtree(tmp_path / "a.zarr" / "s1")
    with pytest.raises(DataError, match=r"a\.zarr"):
        open_tiled(tmp_path / "a.zarr")
    group = zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    group.create_array("first", shape=(5, 5), dtype="u1")
    with pytest.raises(DataError, match=r"b\.zarr.*arrays: first"):
        open_tiled(tmp_path / "b.zarr")
    group.attrs["ome"] = {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "../a.zarr/s0"}]}]}
    with pytest.raises(DataError, match=r"b\.zarr.*inside the group"):
        open_tiled(tmp_path / "b.zarr")
    group.attrs["ome"] = {"multiscales": [{"datasets": []}]}
    with pytest.raises(DataError, match=r"b\.zarr"):
        open_tiled(tmp_path / "b.zarr")


# -- writing --------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("step", [1, 37, 1000])
def test_written_levels_are_the_filter_of_the_pyramid(tmp_path: Path, values: Array, step: int) -> None:
    seen: list[tuple[int, int]] = []
    strips = (values[top : top + step] for top in range(0, len(values), step))
    file = write_tiled(
        tmp_path / "a.tif", (150, 203), strips, tile=64, spacing_mm=0.1, progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (263, 263)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    with open_tiled(file) as image:
        assert image.spacing_mm == pytest.approx((0.1, 0.1))
        assert [tuple(level) for level in image.levels] == [((150, 203), 1.0), ((75, 102), 2.0), ((38, 51), 4.0)]
        check(image, values)
        exact = torch.from_numpy(planes(values).astype(np.float32))[None]
        for level in (1, 2):
            exact = halve_edge(exact)
            stored = image.read(level, 0, 0, *image.levels[level].size).astype(np.float32)
            # rounded once, plus what float32 loses of 16 bit
            assert np.abs(stored - exact[0].numpy()).max() <= 0.5 + 0.02


def test_the_edge_is_repeated_and_the_inside_is_halve() -> None:
    image = torch.from_numpy(RNG.random((1, 1, 21, 30), dtype=np.float32))
    torch.testing.assert_close(halve_edge(image)[..., 1:9, 1:13], halve(image)[..., 1:9, 1:13])
    torch.testing.assert_close(halve_edge(torch.full((1, 1, 7, 5), 3.0)), torch.full((1, 1, 4, 3), 3.0))


def test_other_tools_see_a_pyramid(tmp_path: Path) -> None:
    write_tiled(tmp_path / "a.tif", (150, 203), [RGB8])
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
        assert tiff.is_ome
        assert [level.shape for level in tiff.series[0].levels] == [(150, 203, 3), (75, 102, 3), (38, 51, 3)]


def test_memory_while_writing_is_a_few_strips(tmp_path: Path) -> None:
    import tracemalloc

    height, width = 4096, 512
    strips = (np.full((64, width), top % 251, np.uint8) for top in range(0, height, 64))
    tracemalloc.start()
    write_tiled(tmp_path / "a.tif", (height, width), strips, tile=64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < height * width / 2  # of one byte a pixel; torch holds strips besides


@pytest.mark.parametrize(
    ("size", "rows", "options", "error"),
    [
        ((150, 203), [GREY8[:100]], {}, "expected 150 rows, got 100"),
        ((150, 203), [GREY8, GREY8[:1]], {}, "expected 150 rows"),
        ((128, 203), [GREY8[:128], GREY8[:1]], {}, "expected 128 rows"),
        ((150, 200), [GREY8], {}, "rows of 200"),
        ((150, 203), [GREY8[:70], GREY16[70:]], {}, "of one kind"),
        ((150, 203), [GREY8.astype(np.float32)], {}, "uint8 or uint16"),
        ((0, 203), [], {}, "at least 1 x 1"),
        ((150, 203), [], {}, "got 0"),
        ((150, 203), [GREY8], {"tile": 100}, "multiple of 16"),
    ],
)
def test_rows_that_do_not_fit(
    tmp_path: Path, size: tuple[int, int], rows: list[Array], options: dict[str, Any], error: str
) -> None:
    with pytest.raises((DataError, ConfigError), match=error):
        write_tiled(tmp_path / "a.tif", size, rows, **{"tile": 64, **options})
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_or_left_half_written(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    file.write_text("mine")
    with pytest.raises(DataError, match="exists"):
        write_tiled(file, (150, 203), [GREY8])

    def broken() -> Any:
        yield GREY8[:70]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_tiled(file, (150, 203), broken(), tile=64, overwrite=True)
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


# -- copying --------------------------------------------------------------------------------------------------------


def test_any_image_becomes_tiled(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB8).save(tmp_path / "png.png")
    tifffile.imwrite(tmp_path / "plain.tif", RGB16, photometric="rgb")
    tifffile.imwrite(tmp_path / "strips.tif", GREY16, compression="zlib", rowsperstrip=7)
    tifffile.imwrite(tmp_path / "separate.tif", planes(RGB8), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "white.tif", 255 - GREY8, photometric="miniswhite", byteorder=">")
    tifffile.imwrite(tmp_path / "tiles.tif", GREY8, tile=(32, 48))
    PIL.Image.fromarray(GREY8).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    tifffile.imwrite(tmp_path / "turned.tif", GREY8.T, extratags=[(274, 3, 1, 5, True)])
    whole: list[str] = []
    expected = {"png.png": RGB8, "plain.tif": RGB16, "strips.tif": GREY16, "separate.tif": RGB8}
    expected |= {"white.tif": GREY8, "tiles.tif": GREY8, "lzw.tif": GREY8, "turned.tif": GREY8}
    for name, values in expected.items():
        out = tile_image(
            tmp_path / name,
            tmp_path / "out.tif",
            tile=64,
            overwrite=True,
            on_whole=lambda _, name=name: whole.append(name),
        )
        with open_tiled(out) as image:
            check(image, values)
    assert set(whole) >= {"png.png", "turned.tif"}
    assert not set(whole) & {"plain.tif", "strips.tif", "separate.tif", "white.tif", "tiles.tif"}


def test_floats_are_stretched_to_sixteen_bit(tmp_path: Path) -> None:
    values = np.linspace(-1, 3, 150 * 203, dtype=np.float32).reshape(150, 203)
    tifffile.imwrite(tmp_path / "a.tif", values)
    with open_tiled(tile_image(tmp_path / "a.tif", tmp_path / "b.tif")) as image:
        stored = image.read(0, 0, 0, 150, 203)[0]
    assert (stored[0, 0], stored[-1, -1]) == (0, 65535)
    np.testing.assert_allclose(stored / 65535 * 4 - 1, values, atol=1e-4)


def test_copies_that_are_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(GREY8).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", GREY8)
    for source, target, words in (
        ("a.png", "b.png", r"\.tif"),
        ("a.tif", "a.tif", "another file"),
        ("a.png", "a.tif", "exists"),
        ("none.png", "b.tif", r"none\.png"),
    ):
        with pytest.raises(DataError, match=words):
            tile_image(tmp_path / source, tmp_path / target)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.tif"):
        tile_image(tmp_path / "cut.tif", tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()
