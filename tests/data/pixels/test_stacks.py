"""Files of several frames: read one after another as those of a video, and refused by name where one image is meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
import tifffile
from dicom_files import dicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from trigpoint.data.pixels import images as reader
from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import frame_count, image_size, read_frames, read_image
from trigpoint.data.tiled import is_tiled, open_tiled
from trigpoint.errors import DataError

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 65536, (5, 12, 16), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (5, 12, 16, 3), dtype=np.uint8)


def dicom_stack(file: Path, values: np.ndarray = STACK, **tags: object) -> Path:
    whole = values.reshape(-1, *values.shape[2:])
    dicom(file, whole, **tags)
    data = pydicom.dcmread(file)
    data.Rows, data.NumberOfFrames = values.shape[1], len(values)
    data.save_as(file)
    return file


def animation(file: Path) -> Path:
    first, *others = [PIL.Image.fromarray(frame) for frame in COLOUR]
    options = {"lossless": True} if file.suffix == ".webp" else {}
    first.save(file, save_all=True, append_images=others, duration=[40, 60, 40, 40, 40], **options)
    return file


def check(file: Path, values: np.ndarray, times: list[float | None] | None = None) -> None:
    """Read as the frames of a video, and every other one; one image is refused with the way out."""
    frames = Frames(file)
    assert (frames.count, frames.of_files, frame_count(file)) == (len(values), False, len(values))
    found = list(frames)
    assert [frame.index for frame in found] == list(range(len(values)))
    assert found[1].name == f"{file.stem}_000001.png"
    assert [frame.time_s for frame in found] == pytest.approx(times or [None] * len(values))
    for frame, expected in zip(found, values, strict=True):
        planes = expected[None] if expected.ndim == 2 else np.moveaxis(expected, -1, 0)
        np.testing.assert_array_equal(frame.image.pixels, planes)
        assert frame.image.pixels.dtype == values.dtype
    assert [frame.index for frame in Frames(file, every=2)] == list(range(0, len(values), 2))
    for call in (read_image, image_size):
        message = rf"{file.name}: expected one image, got {len(values)} .*trigpoint predict RUN {file.name}"
        with pytest.raises(DataError, match=message):
            call(file)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"tile": (16, 16)}], ids=str)
def test_pages_of_a_tiff(tmp_path: Path, options: dict[str, object]) -> None:
    tifffile.imwrite(tmp_path / "s.tif", STACK, photometric="minisblack", **options)
    check(tmp_path / "s.tif", STACK)
    tifffile.imwrite(tmp_path / "c.tif", COLOUR, photometric="rgb", **options)
    check(tmp_path / "c.tif", COLOUR)
    if is_tiled(tmp_path / "s.tif"):
        with pytest.raises(DataError, match="got 5 pages of one size"):
            open_tiled(tmp_path / "s.tif")


def test_other_kinds_of_tiff_stacks(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "j.tif", STACK, imagej=True, metadata={"unit": "um"}, resolution=(2, 4))
    check(tmp_path / "j.tif", STACK)
    assert next(iter(read_frames(tmp_path / "j.tif"))).image.spacing_mm == pytest.approx((0.0005, 0.00025))
    with tifffile.TiffWriter(tmp_path / "one.tif", imagej=True) as writer:  # as ImageJ writes large ones
        writer.write(STACK, truncate=True)
    assert len(tifffile.TiffFile(tmp_path / "one.tif").pages) == 1
    check(tmp_path / "one.tif", STACK)
    data = (tmp_path / "one.tif").read_bytes()
    (tmp_path / "one.tif").write_bytes(data[:-500])
    with pytest.raises(DataError, match=r"one\.tif: expected 5 frames of 384 bytes, got 3"):
        Frames(tmp_path / "one.tif")
    first, *others = [PIL.Image.fromarray(frame) for frame in COLOUR]
    first.save(tmp_path / "l.tif", save_all=True, append_images=others, compression="tiff_lzw")  # Pillow decodes it
    check(tmp_path / "l.tif", COLOUR)
    with tifffile.TiffWriter(tmp_path / "p.tif") as writer:  # with a preview of each
        for frame in STACK:
            writer.write(frame, metadata=None)
            writer.write(frame[::2, ::2], metadata=None)
    check(tmp_path / "p.tif", STACK)


def test_frames_of_a_dicom(tmp_path: Path) -> None:
    check(dicom_stack(tmp_path / "a.dcm", FrameTime=40), STACK, [0, 0.04, 0.08, 0.12, 0.16])
    check(dicom_stack(tmp_path / "b.dcm", COLOUR), COLOUR)
    check(dicom_stack(tmp_path / "IM0001", FrameTimeVector=[0, 10, 10, 50, 10]), STACK, [0, 0.01, 0.02, 0.07, 0.08])
    check(dicom_stack(tmp_path / "c.dcm", FrameTimeVector=[0, 10]), STACK)  # too few say nothing
    inverted = dicom_stack(tmp_path / "d.dcm", STACK >> 4, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    check(inverted, 4095 - (STACK >> 4))
    assert next(iter(read_frames(inverted))).image.value_range == (0.0, 4095.0)
    check(dicom_stack(tmp_path / "e.dcm", syntax=DeflatedExplicitVRLittleEndian), STACK)
    whole = dicom_stack(tmp_path / "f.dcm").read_bytes()
    (tmp_path / "old").write_bytes(whole[132:])
    check(tmp_path / "old", STACK)


def test_the_pixel_size_that_all_frames_share(tmp_path: Path) -> None:
    file = dicom_stack(tmp_path / "a.dcm")
    data = pydicom.dcmread(file)
    measures, group = Dataset(), Dataset()
    measures.PixelSpacing = [0.1, 0.2]
    group.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [group]
    data.save_as(file)
    assert next(iter(read_frames(file))).image.spacing_mm == (0.2, 0.1)


def test_a_slide_of_dicom_is_no_stack_of_frames(tmp_path: Path) -> None:
    file = dicom_stack(tmp_path / "a.dcm", TotalPixelMatrixColumns=64)
    for call in (read_image, image_size, Frames):
        with pytest.raises(DataError, match=r"a\.dcm: expected an image, got a slide whose 5 frames are its tiles"):
            call(file)


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animations_have_frames_and_times(tmp_path: Path, suffix: str) -> None:
    check(animation(tmp_path / f"a{suffix}"), COLOUR, [0, 0.04, 0.1, 0.14, 0.18])


def test_a_gif_of_several_frames(tmp_path: Path) -> None:
    found = list(Frames(animation(tmp_path / "a.gif")))
    assert [frame.time_s for frame in found] == pytest.approx([0, 0.04, 0.1, 0.14, 0.18])
    for frame, expected in zip(found, COLOUR, strict=True):
        near = np.abs(frame.image.pixels.astype(int) - np.moveaxis(expected, -1, 0))
        assert near.mean() < 12  # 256 colours


def test_a_damaged_frame_comes_after_those_before_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", STACK, compression="zlib")
    with tifffile.TiffFile(tmp_path / "s.tif") as tiff:
        place = tiff.pages[3].dataoffsets[0]
    data = bytearray((tmp_path / "s.tif").read_bytes())
    data[place : place + 20] = bytes(20)
    (tmp_path / "s.tif").write_bytes(data)
    given = []
    with pytest.raises(DataError, match=r"s\.tif: frame 3: expected a whole TIFF"):  # noqa: PT012
        for frame in Frames(tmp_path / "s.tif"):
            given.append(frame.index)  # noqa: PERF401
    assert given == [0, 1, 2]
    whole = dicom_stack(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"a\.dcm: frame \d: expected whole pixel data"):
        list(Frames(tmp_path / "a.dcm"))


def test_frames_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame is there although the file as a whole would be too large."""
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((40, 64, 64), np.uint16), photometric="minisblack")
    dicom_stack(tmp_path / "a.dcm", np.zeros((40, 64, 64), np.uint16))
    original = reader.check_size

    def small(*given: object, **options: object) -> None:
        original(*given, **{"max_pixels": 2 * 64 * 64, **options})  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "check_size", small)
    for name in ("s.tif", "a.dcm"):
        assert next(iter(read_frames(tmp_path / name))).image.pixels.shape == (1, 64, 64)
