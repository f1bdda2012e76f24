"""The same values give the same points, whatever file, array or tile they come in, and all are drawn visibly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "data" / "pixels"))
from dicom_files import dicom

from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import read_image
from trigpoint.data.tiled import open_tiled, tile_image
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.prediction import Predictor, predict_files, predict_frames
from trigpoint.prediction import base as inference
from trigpoint.recipe import Recipe
from trigpoint.report.displayed import as_displayed
from trigpoint.report.frame_overlay import draw_points

MARKS = LandmarkSet(("tip", "end"))
CANVAS, SIZE = (48, 64), (60, 80)  # of the input, and of the image


def predictor(method: str = "heatmap") -> Predictor:
    torch.manual_seed(0)
    network = {"name": "unet", "width": 4, "depth": 2, "kernel": 3}
    options = {"network": network} if method == "heatmap" else {"trunk": "small", "glimpse": 16, "iterations": 2}
    data = {"input": {"size": list(CANVAS), "channels": 1, "normalize": "image"}}
    made = Recipe.model_validate({"data": data, "method": {"name": method, **options}})
    built: Any = build_method(made, MARKS)
    if method == "foveated":
        for own in built.network.networks:
            torch.nn.init.normal_(own.last.weight, std=0.05)
        built.set_start(torch.tensor([[40.0, 30.0], [20.0, 15.0]]), torch.full((2, 2), 4.0))
    return Predictor(built, made, MARKS, np.full(2, np.nan), "cpu")


def grey(bits: int) -> np.ndarray:
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    unit = 0.2 + 0.7 * np.exp(-((u - 50) ** 2 + (v - 22) ** 2) / 60) + np.random.default_rng(0).normal(0, 0.02, SIZE)
    return np.rint(unit.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def pgm(file: Path, values: np.ndarray, bits: int) -> Path:
    file.write_bytes(f"P5\n{SIZE[1]} {SIZE[0]}\n{2**bits - 1}\n".encode() + values.astype(">u2").tobytes())
    return file


def video(file: Path, values: np.ndarray, bits: int) -> Path:
    av: Any = pytest.importorskip("av")
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], f"gray{bits}le"
        frame = av.VideoFrame(SIZE[1], SIZE[0], f"gray{bits}le")
        rows = np.zeros((SIZE[0], frame.planes[0].line_size // 2), np.uint16)
        rows[:, : SIZE[1]] = values
        frame.planes[0].update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def kept(file: Path, save: Callable[[Path], object]) -> Path:
    save(file)
    return file


def sources(folder: Path, values: np.ndarray, bits: int) -> dict[str, Path]:
    """The same values as a file of every kind that holds them."""
    image = Image.fromarray(values)
    made = {
        "tif": kept(folder / "a.tif", lambda file: tifffile.imwrite(file, values)),
        "float": kept(folder / "f.tif", lambda file: tifffile.imwrite(file, values.astype(np.float32) / 7 - 30)),
        "png": kept(folder / "a.png", image.save),
        "dicom": dicom(folder / "IM0001", values, BitsStored=bits),
        "scaled": dicom(folder / "s.dcm", values, BitsStored=bits, RescaleSlope=2, RescaleIntercept=-1000),
        "stack": kept(
            folder / "st.tif", lambda file: tifffile.imwrite(file, np.stack([values] * 3), photometric="minisblack")
        ),
    }
    if bits > 8:
        made["pgm"] = pgm(folder / "a.pgm", values, bits)
    if bits in (10, 12, 16):
        made["video"] = video(folder / "v.mkv", values, bits)
    return made


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_files_frames_and_arrays_give_equal_points(tmp_path: Path, bits: int) -> None:
    values, found = grey(bits), predictor()
    expected = found.predict(values).points
    assert np.ptp(expected[0, :, 0]) > 0.5  # an answer that tells images apart
    for as_array in (values[None], values.astype(np.int32), values.astype(np.float32), values.astype(np.float64) / 9):
        np.testing.assert_allclose(found.predict(as_array).points, expected, atol=0.05)
    np.testing.assert_allclose(
        found.predict(torch.from_numpy(values.astype(np.int32))[None]).points, expected, atol=0.05
    )
    for kind, file in sources(tmp_path, values, bits).items():
        for frame in Frames(file):
            points = found.predict(frame.image).points
            np.testing.assert_allclose(points, expected, atol=0.05, err_msg=kind)
            drawn = draw_points(frame.image.pixels, np.zeros((0, 2, 2)), frame.image.window)
            assert drawn.mean() > 16, kind
            assert len(np.unique(drawn)) > 40, kind


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_folder_gives_one_table_with_and_without_a_drawing(tmp_path: Path, bits: int) -> None:
    pytest.importorskip("av")
    made, found = sources(tmp_path, grey(bits), bits), predictor()
    folder = tmp_path / "folder"
    folder.mkdir()
    for kind in ("png", "tif", "dicom", "float", "scaled"):
        made[kind].rename(folder / made[kind].name)
    files = sorted(folder.iterdir())
    still = predict_files(found, files, tmp_path / "still.csv")
    for overlay in (None, tmp_path / "drawn.mp4", tmp_path / "drawn"):
        frames = predict_frames(found, folder, tmp_path / f"{overlay and overlay.name}.csv", overlay=overlay)
        by_name = dict(zip((Path(name).name for name in frames.images), frames.points, strict=True))
        for name, points in zip(still.images, still.points, strict=True):
            np.testing.assert_allclose(points, by_name[Path(name).name], atol=1e-6)
    assert min(frame.image.pixels.mean() for frame in Frames(tmp_path / "drawn.mp4")) > 16


def test_tiles_give_equal_points_whatever_their_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read whole as any file; read by tiles, a pyramid differs at its border, but not by how values are stored."""
    found, lazy = predictor("foveated"), []
    for bits in (8, 12, 16):
        values = grey(bits)
        expected = found.predict(values).points
        for kind in ("png", "dicom", "float"):
            file = tile_image(sources(tmp_path, values, bits)[kind], tmp_path / f"{kind}{bits}.tif", tile=16)
            with open_tiled(file) as image:
                assert image.read(0, 0, 0, *SIZE).max() > 0
            np.testing.assert_allclose(found.predict(file).points, expected, atol=0.05, err_msg=kind)
            with monkeypatch.context() as patched:
                patched.setattr(inference, "MAX_PIXELS", 1)  # so that it is read by tiles
                lazy.append(found.predict(file).points)
    for points in lazy:
        np.testing.assert_allclose(points, lazy[0], atol=0.05)
        np.testing.assert_allclose(points, expected, atol=1.0)


def test_arrays_count_as_files_of_their_values(tmp_path: Path) -> None:
    """Also where the scale of the values is kept (normalize: unit)."""
    floats = grey(16).astype(np.float32) / 30 - 900
    tifffile.imwrite(tmp_path / "f.tif", floats)
    for array in (floats, floats.astype(np.float64), torch.from_numpy(floats)[None]):
        assert inference.stored_pixels(array)[1] == pytest.approx(read_image(tmp_path / "f.tif").value_range)
    signed = floats.astype(np.int16)
    tifffile.imwrite(tmp_path / "s.tif", signed)
    for array in (signed, signed.astype(np.int32), signed.astype(np.int64)):
        assert inference.stored_pixels(array)[1] == read_image(tmp_path / "s.tif").value_range
    for array in (grey(8), grey(16), grey(16) / 65535):
        assert inference.stored_pixels(array)[1] is None


def test_a_dicom_of_32_bits_is_not_flat(tmp_path: Path) -> None:
    values, found = grey(12), predictor()
    expected = found.predict(values).points
    for tags in ({}, {"RescaleSlope": 2}):
        image = read_image(dicom(tmp_path / "a.dcm", values.astype(np.uint32), **tags))
        np.testing.assert_allclose(found.predict(image).points, expected, atol=0.05)
    inverted = read_image(dicom(tmp_path / "b.dcm", values.astype(np.uint32), PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(found.predict(inverted).points, found.predict(4095 - values).points, atol=0.05)


def test_the_window_of_a_dicom_is_for_drawing_only(tmp_path: Path) -> None:
    values = grey(12)
    plain = read_image(dicom(tmp_path / "a.dcm", values, BitsStored=12))
    windowed = read_image(dicom(tmp_path / "b.dcm", values, BitsStored=12, WindowCenter=1000, WindowWidth=400))
    assert (plain.window, windowed.window) == (None, (800.0, 1200.0))
    np.testing.assert_array_equal(plain.pixels, windowed.pixels)
    shown = as_displayed(windowed.pixels, windowed.window)
    np.testing.assert_array_equal(shown, np.rint(((values.astype(float) - 800) / 400).clip(0, 1) * 255))
    assert (as_displayed(windowed.pixels) != shown).any()
    many = read_image(dicom(tmp_path / "c.dcm", values, BitsStored=12, WindowCenter=[1000, 9], WindowWidth=[400, 9]))
    assert many.window == (800.0, 1200.0)
    inverted = dicom(
        tmp_path / "d.dcm", 4095 - values, BitsStored=12, WindowCenter=4095 - 1000, WindowWidth=400,
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    np.testing.assert_array_equal(as_displayed(read_image(inverted).pixels, read_image(inverted).window), shown)
    for odd in ({"WindowWidth": 0}, {"WindowWidth": -3}, {}):
        assert read_image(dicom(tmp_path / "e.dcm", values, BitsStored=12, WindowCenter=9, **odd)).window is None
    beside = as_displayed(values, (-5000.0, -4000.0))  # a window that would show all in white
    np.testing.assert_array_equal(beside, as_displayed(values))


def test_a_small_bright_spot_on_nothing_is_seen() -> None:
    values = np.zeros((200, 200), np.uint16)
    values[5:8, 5:8] = 3
    assert as_displayed(values).max() == 255
    assert as_displayed(np.full((9, 9), 7, np.uint16)).shape == (9, 9)
