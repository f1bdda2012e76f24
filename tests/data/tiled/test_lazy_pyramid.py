"""Glimpses from tiles on disk are those of the same picture in memory, from no more tiles than they touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch

from trigpoint.data import tiled
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.tiled import TiledImage, open_tiled, write_tiled
from trigpoint.data.tiled import pyramid as lazy_pyramid
from trigpoint.data.tiled.pyramid import LazyPyramid
from trigpoint.errors import DataError
from trigpoint.geometry import center, fit, resample, to_grid
from trigpoint.landmarks import LandmarkSet
from trigpoint.nn.pyramid import GaussianPyramid, TensorPyramid
from trigpoint.recipe import InputConfig

Array = npt.NDArray[Any]
Size = tuple[int, int]
SIDE = 32


def picture(size: Size, channels: int = 1, dtype: Any = np.uint8, shortest: float = 9) -> Array:
    """Waves of many lengths, all well above two pixels: what a pyramid keeps and what it has to drop."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    planes = []
    for _ in range(channels):
        total = np.zeros(size)
        for length in (shortest, 17 + shortest, 40 + shortest, 90, 200):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            total += np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length + phase)
        planes.append(total / 10 + 0.5)
    values = np.rint(np.stack(planes, -1).clip(0, 1) * np.iinfo(dtype).max).astype(dtype)
    return values if channels == 3 else values[..., 0]


def blob(size: Size, at: tuple[float, float], sd: float) -> Array:
    y, x = np.mgrid[: size[0], : size[1]]
    return np.rint(65535 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sd**2))).astype(np.uint16)


def write(file: Path, values: Array, tile: int = 64) -> Path:
    return write_tiled(file, values.shape[:2], [values], tile=tile)


def write_factor(file: Path, values: Array, factor: int, tile: int = 64) -> Path:
    """A pyramid that skips levels: those that ``write_tiled`` makes, but only every so many."""
    full = write_tiled(file.with_suffix(".all.tif"), values.shape[:2], [values], tile=tile)
    with open_tiled(full) as image:
        kept = [level for level, stored in enumerate(image.levels) if np.log(stored.stride) % np.log(factor) < 1e-9]
        pages = [image.read(level, 0, 0, *image.levels[level].size) for level in kept]
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            plane = page[0] if len(page) == 1 else np.moveaxis(page, 0, -1)
            kind = "minisblack" if len(page) == 1 else "rgb"
            writer.write(plane, tile=(tile, tile), metadata=None, compression="zlib", photometric=kind)
    return file


def in_memory(values: Array, config: InputConfig, levels: int) -> TensorPyramid:
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    prepared = InputPipeline(config, LandmarkSet(("tip",)))(torch.from_numpy(np.ascontiguousarray(planes)))[0]
    return TensorPyramid(GaussianPyramid(levels=levels)(prepared[None]))


def inner_centers(size: Size, levels: int, count: int = 5) -> torch.Tensor:
    """Centres whose glimpses on every level stay clear of the border, as far as the coarsest glimpse allows."""
    rng = np.random.default_rng(3)
    reach = min((SIDE / 2 + 3) * 2 ** (levels - 1), min(size) / 2 - 1)
    x = rng.uniform(reach, size[1] - 1 - reach, count)
    y = rng.uniform(reach, size[0] - 1 - reach, count)
    return torch.from_numpy(np.stack([x, y], -1)).float()[None]


def compare(image: TiledImage, values: Array, config: InputConfig, levels: int, tolerance: float) -> LazyPyramid:
    """Largest difference, in standard deviations of the image, over glimpses off the border."""
    lazy = LazyPyramid(image, config.size, config, levels)
    centers = inner_centers(config.size, levels)
    expected = in_memory(values, config, levels).glimpses(centers, SIDE)
    found = lazy.glimpses(centers, SIDE)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    worst = (found - expected).abs().amax(dim=(0, 1, 3, 4, 5))
    assert float(worst.max()) < tolerance, worst
    return lazy


# -- the same glimpses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(512, 512), (511, 487), (301, 640)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_glimpses_equal_those_in_memory(tmp_path: Path, size: Size, channels: int, dtype: Any) -> None:
    values = picture(size, channels, dtype)
    config = InputConfig(size=size, channels=channels)
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        # stored levels are rounded to the type: half a step of 1/255, over a standard deviation of about 0.15
        compare(image, values, config, 4, 0.03 if dtype == np.uint8 else 2e-3)


def test_glimpses_of_a_region_equal_those_in_memory(tmp_path: Path) -> None:
    values = picture((480, 640), dtype=np.uint16)
    config = InputConfig(size=(240, 320), region=(0.25, 0.2, 0.75, 0.7))
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        compare(image, values, config, 3, 2e-3)


@pytest.mark.parametrize(("stored", "asked"), [(1, 3), (3, 1)])
def test_grey_and_colour(tmp_path: Path, stored: int, asked: int) -> None:
    values = picture((400, 380), stored)
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        compare(image, values, InputConfig(size=(400, 380), channels=asked), 3, 0.03)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"normalize": "unit"}, {"normalize": "fixed", "mean": (0.4,), "std": (0.2,)}, {"normalize": "image"}],
    ids=lambda options: options["normalize"],
)
def test_normalisation(tmp_path: Path, options: dict[str, Any]) -> None:
    values = picture((256, 300), dtype=np.uint16)
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        compare(image, values, InputConfig(size=(256, 300), **options), 3, 2e-3)


def test_a_constant_image_is_zero_as_in_memory(tmp_path: Path) -> None:
    values = np.full((200, 200), 77, np.uint8)
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        lazy = compare(image, values, InputConfig(size=(200, 200)), 2, 1e-6)
        assert float(lazy.glimpses(torch.tensor([[[100.0, 100.0]]]), SIDE).abs().max()) == 0


@pytest.mark.parametrize(
    ("size", "canvas", "fitted"),
    [
        ((640, 512), (320, 256), "letterbox"),  # a half
        ((700, 520), (350, 300), "letterbox"),  # padded
        ((600, 600), (410, 410), "letterbox"),  # no power of 2
        ((200, 260), (400, 520), "letterbox"),  # enlarged
        ((500, 600), (400, 300), "crop"),
        ((400, 800), (384, 384), "stretch"),
        ((330, 990), (320, 320), "stretch"),
    ],
)
def test_images_larger_and_smaller_than_the_canvas(tmp_path: Path, size: Size, canvas: Size, fitted: Any) -> None:
    values = picture(size, dtype=np.uint16, shortest=36)
    config = InputConfig(size=canvas, fit=fitted, normalize="unit")
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        lazy = LazyPyramid(image, canvas, config, 3)
        np.testing.assert_array_equal(lazy.to_original.numpy(), fit(size, canvas, fitted).inverse().matrix)
        assert lazy.to_original.dtype == torch.float64
        centers = torch.tensor([[center(canvas)]]) + torch.tensor([[[0.0, 0.0], [11.3, -7.6], [-9.2, 14.8]]])
        expected = in_memory(values, config, 3).glimpses(centers, SIDE)
        difference = lazy.glimpses(centers, SIDE) - expected
        # two different, both fair, filters: block means and bilinear sampling against the pyramid's own
        assert float(difference.square().mean().sqrt()) < 0.15 * float(expected.std())
        assert float(difference.mean().abs()) < 0.01


@pytest.mark.parametrize("fitted", ["letterbox", "crop", "stretch"])
def test_statistics_are_those_of_what_the_canvas_shows(tmp_path: Path, fitted: Any) -> None:
    values = picture((400, 640), dtype=np.uint16)
    values[:, 500:] //= 8
    pixels, mask = resample(torch.from_numpy(values[None]), fit((400, 640), (200, 200), fitted), (200, 200))
    shown = pixels[:, mask] / 65535
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        lazy = LazyPyramid(image, (200, 200), InputConfig(size=(200, 200), fit=fitted), 2)
    assert float(lazy._mean) == pytest.approx(float(shown.mean()), rel=0.01)
    assert float(lazy._sd) == pytest.approx(float(shown.std(correction=0)), rel=0.05)


def test_statistics_come_from_an_even_sample_of_tiles(tmp_path: Path) -> None:
    values = picture((800, 800), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(16, 16))
    with open_tiled(tmp_path / "a.tif", cache_bytes=0) as image:
        lazy = LazyPyramid(image, (800, 800), InputConfig(size=(800, 800)), 1)
        assert 200 <= image.tiles_read <= 256
        at = torch.tensor([[[400.0, 400.0]]])
        found = lazy.glimpses(at, SIDE)
        expected = in_memory(values, InputConfig(size=(800, 800)), 1).glimpses(at, SIDE)
        assert float((found - expected).abs().max()) < 0.1


def test_at_the_border_only_the_edge_differs(tmp_path: Path) -> None:
    values = picture((256, 256), dtype=np.uint16)
    config = InputConfig(size=(256, 256), normalize="unit")
    centers = torch.tensor([[[0.0, 128.0], [255.0, 255.0], [-20.0, 90.0]]])
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        found = LazyPyramid(image, config.size, config, 3).glimpses(centers, SIDE)
        expected = in_memory(values, config, 3).glimpses(centers, SIDE)
    torch.testing.assert_close(found[:, :, 0], expected[:, :, 0], atol=1e-5, rtol=0)
    wrong = (found - expected).abs() > 2e-3
    assert 0 < float(wrong.float().mean()) < 0.1


def test_turned_and_scaled_stacks(tmp_path: Path) -> None:
    values = picture((512, 512), dtype=np.uint16)
    config = InputConfig(size=(512, 512))
    angle = torch.deg2rad(torch.tensor(20.0))
    turn = 1.1 * torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    centers = torch.tensor([[[250.3, 260.8], [240.0, 255.5]]])
    linear = turn.expand(1, 2, 2, 2)
    with open_tiled(write(tmp_path / "a.tif", values)) as image:
        found = LazyPyramid(image, (512, 512), config, 3).glimpses(centers, SIDE, linear)
    expected = in_memory(values, config, 3).glimpses(centers, SIDE, linear)
    assert float((found - expected).abs().max()) < 2e-3


# -- other pyramids, and none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [4, 8, 10**6], ids=["four", "eight", "none"])
def test_pyramids_with_gaps(tmp_path: Path, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_pyramid, "_STRIP", 40_000)  # so that the coarse levels are made of several strips
    values = picture((1024, 1024), dtype=np.uint16)
    with open_tiled(write_factor(tmp_path / "a.tif", values, factor)) as image:
        assert len(image.levels) == {4: 3, 8: 2, 10**6: 1}[factor]
        compare(image, values, InputConfig(size=(1024, 1024)), 5, 3e-3)


def test_levels_are_made_as_in_memory_up_to_the_border(tmp_path: Path) -> None:
    values = picture((1024, 900), dtype=np.uint16)
    config = InputConfig(size=(1024, 900), normalize="unit")
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64))
    centers = torch.tensor([[[0.0, 0.0], [899.0, 1023.0], [450.0, 512.0]]])
    with open_tiled(tmp_path / "a.tif") as image:
        found = LazyPyramid(image, config.size, config, 6).glimpses(centers, SIDE)
    torch.testing.assert_close(found, in_memory(values, config, 6).glimpses(centers, SIDE), atol=2e-4, rtol=0)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(tmp_path: Path, version: int) -> None:
    zarr = pytest.importorskip("zarr")
    values = picture((512, 480), 3)
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=(3, 512, 480), chunks=(1, 64, 64), dtype="u1", zarr_format=version
    )
    array[...] = np.moveaxis(values, -1, 0)
    with open_tiled(tmp_path / "a.zarr") as image:
        compare(image, values, InputConfig(size=(512, 480), channels=3), 4, 1e-4)


# -- where things are -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 4, 10**6], ids=["two", "four", "none"])
@pytest.mark.parametrize("canvas", [(900, 801), (450, 450), (1300, 1200)], ids=["same", "smaller", "larger"])
def test_a_blob_lies_at_the_same_image_point_on_every_level(tmp_path: Path, factor: int, canvas: Size) -> None:
    size, at, levels = (900, 801), (431.3, 377.8), 4
    config = InputConfig(size=canvas, normalize="unit")
    with open_tiled(write_factor(tmp_path / "a.tif", blob(size, at, 10.0), factor)) as image:
        lazy = LazyPyramid(image, canvas, config, levels)
        truth = fit(size, canvas).apply(np.array(at))
        middle = torch.from_numpy(truth + np.array([2.4, -1.7])).float()[None, None]
        glimpses = lazy.glimpses(middle, 128)[0, 0, :, 0].double()
    along = torch.arange(128, dtype=torch.float64) - 127 / 2
    for level, pixels in enumerate(glimpses):
        found = torch.stack([(pixels.sum(0) * along).sum(), (pixels.sum(1) * along).sum()]) / pixels.sum()
        expected = to_grid(truth, 2**level) - to_grid(middle[0, 0].double().numpy(), 2**level)
        assert np.abs(found.numpy() - expected).max() < 0.05, level


# -- how much is read -----------------------------------------------------------------------------------------------


def test_no_more_tiles_than_a_glimpse_touches(tmp_path: Path) -> None:
    config = InputConfig(size=(1024, 1024), normalize="unit")
    with open_tiled(write(tmp_path / "a.tif", picture((1024, 1024)), tile=32), cache_bytes=2**16) as image:
        lazy = LazyPyramid(image, (1024, 1024), config, 5)
        assert image.tiles_read == 0
        lazy.glimpses(torch.tensor([[[500.0, 550.0]]]), 32)
        # 33 pixels across touch at most 3 x 3 tiles of side 32 on each of 5 levels; the file has 1364 tiles
        assert 5 <= image.tiles_read <= 5 * 9
        before = image.tiles_read
        lazy.glimpses(torch.tensor([[[501.0, 549.0]]]), 32)
        assert image.tiles_read - before <= 4
        lazy.glimpses(torch.rand(1, 30, 2) * 1024, 32)
        assert image._kept_bytes <= 2**16


def test_far_outside_nothing_is_read_and_all_is_zero(tmp_path: Path) -> None:
    config = InputConfig(size=(256, 256), normalize="unit")
    with open_tiled(write(tmp_path / "a.tif", picture((256, 256)))) as image:
        lazy = LazyPyramid(image, (256, 256), config, 3)
        far = torch.tensor([[[1e4, -1e4], [1e30, 5.0], [-3e9, 1e9]]])
        assert float(lazy.glimpses(far, SIDE).abs().max()) == 0
        assert image.tiles_read == 0
        assert lazy.glimpses(torch.zeros(1, 0, 2), SIDE).shape == (1, 0, 3, 1, SIDE, SIDE)


def test_coarse_levels_are_made_once(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture((1024, 1024)), tile=(64, 64))
    config = InputConfig(size=(1024, 1024), normalize="unit")
    with open_tiled(tmp_path / "a.tif", cache_bytes=64 * 64 * 40) as image:
        lazy = LazyPyramid(image, (1024, 1024), config, 6)
        lazy.glimpses(torch.tensor([[[500.0, 500.0]]]), 16)
        before = image.tiles_read
        assert before >= 256
        lazy.glimpses(torch.tensor([[[520.0, 480.0]]]), 16)
        assert image.tiles_read - before < 100


# -- refusals -------------------------------------------------------------------------------------------------------


def test_a_huge_file_without_levels_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture((512, 512)), tile=(64, 64))
    monkeypatch.setattr(lazy_pyramid, "MAX_PIXELS", 512 * 512 - 1)
    config = InputConfig(size=(512, 512))
    with open_tiled(tmp_path / "a.tif") as image:
        LazyPyramid(image, (512, 512), config, 4)
        with pytest.raises(DataError, match=r"a\.tif.*trigpoint data tile IN OUT"):
            LazyPyramid(image, (512, 512), config, 5)
        assert image.tiles_read <= 64


def test_bad_centres_and_damage_are_named(tmp_path: Path) -> None:
    config = InputConfig(size=(256, 256), normalize="unit")
    tifffile.imwrite(tmp_path / "a.tif", picture((256, 256)), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page: Any = tiff.pages[0]
        offset = page.dataoffsets[5]
    with (tmp_path / "a.tif").open("r+b") as stream:
        stream.seek(offset)
        stream.write(bytes(40))
    with open_tiled(tmp_path / "a.tif") as image:
        lazy = LazyPyramid(image, (256, 256), config, 1)
        with pytest.raises(DataError, match=r"a\.tif.*finite centres"):
            lazy.glimpses(torch.full((1, 1, 2), float("nan")), SIDE)
        with pytest.raises(DataError, match=r"\(1, N, 2\)"):
            lazy.glimpses(torch.zeros(2, 1, 2), SIDE)
        lazy.glimpses(torch.tensor([[[200.0, 200.0]]]), SIDE)
        with pytest.raises(DataError, match=r"a\.tif.*level 0, tile 1, 1"):
            lazy.glimpses(torch.tensor([[[96.0, 96.0]]]), SIDE)
    assert tiled.is_tiled(tmp_path / "a.tif")
