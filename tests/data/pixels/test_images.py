"""Image files of every kind keep their pixels, orientation and spacing; damaged ones are named."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pydicom
import pytest
import tifffile
from dicom_files import dicom
from pydicom.uid import JPEG2000Lossless

from trigpoint.data.pixels import dicom as dicom_reader
from trigpoint.data.pixels.images import image_size, image_spacing, read_image
from trigpoint.errors import DataError

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (5, 8), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (5, 8), dtype=np.uint16)
RGB8 = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (5, 8, 3), dtype=np.uint16)


def planes(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def check(file: Path, expected: npt.NDArray[np.generic]) -> None:
    image = read_image(file)
    np.testing.assert_array_equal(image.pixels, planes(expected))
    assert image.pixels.dtype == expected.dtype
    assert image.pixels.flags.carray
    assert image_size(file) == (image.height, image.width) == expected.shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
@pytest.mark.parametrize("values", [GREY8, RGB8], ids=["grey", "rgb"])
def test_eight_bit(tmp_path: Path, suffix: str, values: npt.NDArray[np.uint8]) -> None:
    PIL.Image.fromarray(values).save(tmp_path / f"a{suffix}")
    check(tmp_path / f"a{suffix}", values)


def test_sixteen_bit_png(tmp_path: Path) -> None:
    PIL.Image.fromarray(GREY16).save(tmp_path / "a.png")
    check(tmp_path / "a.png", GREY16)
    assert read_image(tmp_path / "a.png").value_range == (0.0, 65535.0)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("values", [GREY16, RGB16, GREY16.astype(np.float32)], ids=["grey", "rgb", "float"])
def test_sixteen_bit_and_float_tiff(tmp_path: Path, values: npt.NDArray[np.generic], byteorder: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder, compression="zlib")
    check(tmp_path / "a.tif", values)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    PIL.Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.pixels.shape == (1, 64, 96)
    assert np.abs(image.pixels[0].astype(int) - smooth).max() <= 3
    PIL.Image.fromarray(smooth).convert("CMYK").save(tmp_path / "c.jpg")
    assert read_image(tmp_path / "c.jpg").pixels.shape == (3, 64, 96)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((32, 48), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = 250, 150, 80
    # where row 0 and column 0 of the stored array lie in the upright picture (the EXIF standard)
    undo = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T}
    undo |= {6: np.rot90(upright, 1), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1)}
    stored = np.ascontiguousarray(undo[orientation])
    file = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(file, stored, extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = PIL.Image.Exif()
        exif[274] = orientation
        PIL.Image.fromarray(stored).save(file, exif=exif, **({"quality": 98} if suffix == ".jpg" else {}))
    image = read_image(file)
    assert image_size(file) == (image.height, image.width) == (32, 48)
    assert np.abs(image.pixels[0].astype(int) - upright).max() <= 6


def test_alpha_is_dropped_and_palette_converted(tmp_path: Path) -> None:
    colour = PIL.Image.fromarray(RGB8)
    colour.putalpha(128)
    colour.save(tmp_path / "a.png")
    check(tmp_path / "a.png", RGB8)
    PIL.Image.fromarray(np.dstack([GREY8, GREY8])).save(tmp_path / "la.png")
    check(tmp_path / "la.png", GREY8)
    few = PIL.Image.fromarray(RGB8 // 128 * 255).convert("P", palette=PIL.Image.Palette.ADAPTIVE)
    for name in ("p.png", "p.tif", "p.bmp"):
        few.save(tmp_path / name)
        check(tmp_path / name, np.asarray(few.convert("RGB")))
    bits = PIL.Image.fromarray(GREY8 > 128)
    for name in ("b.png", "b.tif"):
        bits.save(tmp_path / name)
        check(tmp_path / name, np.asarray(bits.convert("L")))


def test_tiff_variants(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "w.tif", GREY8, photometric="miniswhite")
    check(tmp_path / "w.tif", 255 - GREY8)
    tifffile.imwrite(tmp_path / "p.tif", np.moveaxis(RGB8, -1, 0), photometric="rgb", planarconfig="separate")
    check(tmp_path / "p.tif", RGB8)
    PIL.Image.fromarray(GREY8).save(tmp_path / "l.tif", compression="tiff_lzw")
    check(tmp_path / "l.tif", GREY8)
    PIL.Image.fromarray(GREY16).save(tmp_path / "l16.tif", compression="tiff_lzw")
    check(tmp_path / "l16.tif", GREY16)
    PIL.Image.new("CMYK", (8, 5), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    check(tmp_path / "cmyk.tif", np.full((5, 8, 3), [255, 0, 0], np.uint8))
    tifffile.imwrite(tmp_path / "many.tif", np.stack([GREY8] * 3), photometric="minisblack")
    for call in (read_image, image_size):
        with pytest.raises(DataError, match=r"many\.tif: expected one image, got 3 pages"):
            call(tmp_path / "many.tif")


def test_dicom_pixels(tmp_path: Path) -> None:
    check(dicom(tmp_path / "a.dcm", GREY8), GREY8)
    check(dicom(tmp_path / "b.dcm", RGB8), RGB8)
    twelve = GREY16 >> 4
    file = dicom(tmp_path / "c.dcm", twelve, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    check(file, 4095 - twelve)
    assert read_image(file).value_range == (0.0, 4095.0)
    signed = GREY16.astype(np.int32).__sub__(32768).astype(np.int16)
    check(dicom(tmp_path / "d.dcm", signed), signed.astype(np.float32))
    scaled = dicom(tmp_path / "e.dcm", twelve, BitsStored=12, RescaleSlope="2", RescaleIntercept="-1000")
    check(scaled, (twelve * 2.0 - 1000).astype(np.float32))
    assert read_image(scaled).value_range == (-1000.0, 7190.0)
    check(dicom(tmp_path / "no_suffix", GREY8), GREY8)


@pytest.mark.parametrize(
    ("tags", "spacing", "source"),
    [
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.14, 0.14]}, (0.1, 0.1), "PixelSpacing"),
        ({"ImagerPixelSpacing": [0.14, 0.14]}, (0.14, 0.14), "ImagerPixelSpacing"),
        ({}, None, "the file states none"),
        ({"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2), "PixelSpacing"),  # DICOM states the distance of rows first
    ],
)
def test_dicom_spacing(
    tmp_path: Path, tags: dict[str, object], spacing: tuple[float, float] | None, source: str
) -> None:
    file = dicom(tmp_path / "a.dcm", GREY8, **tags)
    image = read_image(file)
    assert image.spacing_mm == spacing
    assert image.spacing_source == source
    assert image_spacing(file) == (image.spacing_mm, image.spacing_source)


def test_dicom_errors_name_the_file_and_no_patient(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "w.dcm", GREY8).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-20])
    (tmp_path / "text.dcm").write_text("Doe^Secret")
    dicom(tmp_path / "frames.dcm", GREY8, NumberOfFrames=3)
    expected = {"cut": "truncated", "text": "expected a DICOM file", "frames": "3 frames"}
    for name, words in expected.items():
        with pytest.raises(DataError, match=words) as error:
            read_image(tmp_path / f"{name}.dcm")
        assert f"{name}.dcm" in str(error.value)
        assert "Secret" not in str(error.value)
    assert "Secret" not in repr(read_image(tmp_path / "w.dcm"))


def test_dicom_compression_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_reader, "find_spec", lambda name: None)
    file = dicom(tmp_path / "a.dcm", GREY8)
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    codestream = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, 8, 5, 0, 0) + bytes(60)
    data.PixelData = pydicom.encaps.encapsulate([codestream])
    data["PixelData"].is_undefined_length = True
    data.save_as(file)
    with pytest.raises(DataError, match=r'JPEG 2000.*pip install "trigpoint\[dicom\]"'):
        read_image(file)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_truncated_and_renamed_files(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    PIL.Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8)).save(file)
    whole = file.read_bytes()
    for length in (len(whole) // 2, 40, 3):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError) as error:
            read_image(file)
        assert str(file) in str(error.value)
    file.write_text("this is no image, only a text")
    for call in (read_image, image_size):
        with pytest.raises(DataError, match="expected an image, got something else"):
            call(file)
    file.write_bytes(b"")
    with pytest.raises(DataError, match="empty file"):
        read_image(file)


def test_missing_file_unknown_suffix_and_pixel_limit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: expected an image file, got No such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"a\.gif: expected an image, got something else"):
        read_image(tmp_path / "a.gif")
    (tmp_path / "a.txt").write_bytes(b"P1_x,P1_y")
    with pytest.raises(DataError, match=r"a\.txt: expected an image \(PNG, JPEG, BMP"):
        read_image(tmp_path / "a.txt")
    for name in ("a.png", "a.tif"):
        PIL.Image.fromarray(GREY8).save(tmp_path / name)
        assert read_image(tmp_path / name, max_pixels=40).width == 8
        with pytest.raises(DataError, match="expected at most 39 pixels, got 8 x 5"):
            read_image(tmp_path / name, max_pixels=39)


def test_the_pixel_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    crc = zlib.crc32(chunk)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", crc)
    (tmp_path / "bomb.png").write_bytes(data + struct.pack(">I", 4) + b"IDAT" + bytes(8))
    limit = PIL.Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match="got 60000 x 60000"):
        read_image(tmp_path / "bomb.png")
    assert limit == PIL.Image.MAX_IMAGE_PIXELS


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_and_alpha_png_is_not_cut(tmp_path: Path, colour_type: int, channels: int) -> None:
    values = RNG.integers(0, 65536, (5, 8, channels), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 5, 16, colour_type, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    check(tmp_path / "a.png", values[..., 0] if channels == 2 else values[..., :3])
    assert read_image(tmp_path / "a.png").pixels.dtype == np.uint16


def test_a_disk_that_fails_while_an_image_is_read_is_a_fault_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = tmp_path / "a.png"
    PIL.Image.new("L", (4, 3)).save(file)
    monkeypatch.setattr("trigpoint.data.pixels.images.open_file", lambda path: Failing())
    with pytest.raises(DataError, match=r"a\.png: expected an image file, got Input/output error"):
        read_image(file)
