"""What a file holds decides how it is read; its suffix, or its first bytes, whether it is meant as an image."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pydicom
import pytest
import tifffile
from dicom_files import dicom
from pydicom.uid import MediaStorageDirectoryStorage

from trigpoint.data.pixels.images import SUFFIXES, image_size, image_spacing, is_image, read_image
from trigpoint.data.pixels.kinds import HEAD, kind_of
from trigpoint.data.tiled import is_tiled, tile_image
from trigpoint.errors import DataError
from trigpoint.prediction.files import image_files

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (15, 18), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (15, 18), dtype=np.uint16)
RGB8 = RNG.integers(0, 256, (15, 18, 3), dtype=np.uint8)
LOSSLESS = {".png": {}, ".bmp": {}, ".webp": {"lossless": True}, ".jp2": {"irreversible": False}, ".tif": {}}


def check(file: Path, expected: npt.NDArray[np.generic], value_range: tuple[float, float] | None = None) -> None:
    image = read_image(file)
    planes = expected[None] if expected.ndim == 2 else np.moveaxis(expected, -1, 0)
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(planes, image.pixels.shape))
    assert image.pixels.dtype == expected.dtype
    assert image_size(file) == (image.height, image.width) == expected.shape[:2]
    if value_range is not None:
        assert image.value_range == value_range


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".ppm", ".jfif", ".gif", ".j2k"])
def test_usual_formats(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    PIL.Image.fromarray(RGB8).save(file, format="JPEG" if suffix == ".jfif" else None, **LOSSLESS.get(suffix, {}))
    if suffix in (".jfif", ".gif", ".j2k"):
        assert read_image(file).pixels.shape == (3, 15, 18)
        assert image_size(file) == (15, 18)
    else:
        check(file, RGB8)
    assert is_image(file)


def test_grey_images_keep_their_depth(tmp_path: Path) -> None:
    twelve = GREY16 >> 4
    PIL.Image.fromarray(GREY8).save(tmp_path / "a.pgm")
    check(tmp_path / "a.pgm", GREY8, (0, 255))
    PIL.Image.fromarray(GREY16).save(tmp_path / "a.jp2", irreversible=False)
    check(tmp_path / "a.jp2", GREY16, (0, 65535))
    header = b"P5 # made by hand\n18 15\n# of a camera\n4095\n"
    (tmp_path / "b.pgm").write_bytes(header + twelve.astype(">u2").tobytes())
    check(tmp_path / "b.pgm", twelve, (0, 4095))
    colour = RNG.integers(0, 1024, (15, 18, 3), dtype=np.uint16)
    (tmp_path / "c.ppm").write_bytes(b"P6\n18 15\n1023\n" + colour.astype(">u2").tobytes())
    check(tmp_path / "c.ppm", colour, (0, 1023))
    text = "P2\n18 15\n1023\n" + "\n".join(" ".join(map(str, row)) for row in twelve // 5)
    (tmp_path / "d.pgm").write_text(text)
    check(tmp_path / "d.pgm", twelve // 5, (0, 1023))
    floats = RNG.normal(size=(15, 18)).astype(np.float32)
    for scale, order in ((b"-1.0", "<f4"), (b"1.0", ">f4")):
        (tmp_path / "e.pfm").write_bytes(b"Pf\n18 15\n" + scale + b"\n" + floats[::-1].astype(order).tobytes())
        check(tmp_path / "e.pfm", floats, (float(floats.min()), float(floats.max())))
    bits = GREY8 > 128
    PIL.Image.fromarray(bits).save(tmp_path / "f.pbm")
    check(tmp_path / "f.pbm", bits.astype(np.uint8) * np.uint8(255))
    (tmp_path / "g.pbm").write_text("P1\n18 15\n" + "\n".join("".join("01"[not bit] for bit in row) for row in bits))
    check(tmp_path / "g.pbm", bits.astype(np.uint8) * np.uint8(255))


def test_jpeg_2000_that_would_be_cut_to_eight_bits_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    PIL.Image.fromarray(RGB8).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    data = bytearray(stream.getvalue())
    for part in range(3):
        data[42 + 3 * part] = 11  # 12 bits a component
    (tmp_path / "a.j2k").write_bytes(data)
    for call in (read_image, image_size):
        with pytest.raises(DataError, match=r"a\.j2k: expected a JPEG 2000 of 16 bits in grey or 8 in colour.*12 bits"):
            call(tmp_path / "a.j2k")


@pytest.mark.parametrize("content", [".png", ".jpg", ".webp", ".tif", ".pgm", ".dcm"])
@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.dcm", "a", "1.2.840.113619.2.55", "a.IMA", "a.b c"])
def test_a_wrong_suffix_or_none_is_no_matter(tmp_path: Path, content: str, name: str) -> None:
    whole = tmp_path / f"whole{content}"
    if content == ".dcm":
        dicom(whole, GREY8, PixelSpacing=[0.2, 0.1])
    else:
        PIL.Image.fromarray(GREY8).save(whole)
    file = tmp_path / "in" / name
    file.parent.mkdir()
    shutil.copy(whole, file)
    found, expected = read_image(file), read_image(whole)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert image_size(file) == GREY8.shape
    assert image_spacing(file) == image_spacing(whole) == (expected.spacing_mm, expected.spacing_source)
    assert is_image(file)
    assert image_files([file.parent]) == [file]


def test_dicom_without_preamble(tmp_path: Path) -> None:
    for implicit, little in ((True, True), (False, True), (False, False)):
        data = pydicom.dcmread(dicom(tmp_path / "a.dcm", GREY16 >> 4, BitsStored=12))
        if not little:
            data.PixelData = (GREY16 >> 4).astype(">u2").tobytes()
        del data.file_meta
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, data, implicit_vr=implicit, little_endian=little)
        (tmp_path / "old").write_bytes(stream.getvalue())
        check(tmp_path / "old", GREY16 >> 4, (0, 4095))
        assert is_image(tmp_path / "old")
    whole = dicom(tmp_path / "b.dcm", GREY16).read_bytes()  # with the group about the file, but no preamble
    (tmp_path / "b").write_bytes(whole[132:])
    check(tmp_path / "b", GREY16)


def test_a_dicom_that_is_also_a_tiff(tmp_path: Path) -> None:
    """Its preamble may be a TIFF header, for viewers of slides."""
    file = dicom(tmp_path / "a.dcm", GREY8)
    file.write_bytes(b"II*\0" + (5000).to_bytes(4, "little") + bytes(120) + file.read_bytes()[128:])
    check(file, GREY8)


def test_what_is_no_image_is_not_listed(tmp_path: Path) -> None:
    index = dicom(tmp_path / "DICOMDIR", GREY8)
    data = pydicom.dcmread(index)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    data.save_as(index)
    notes = {"p.csv": "P1_x,P1_y\n1,2\n", "p.txt": "P1 10 20\nP2 30 40\n", "bm.txt": "BMW and others", "n.json": "{}"}
    notes |= {"empty": "", ".hidden": "P5\n1 1\n255\n0", "._a.png": "of a Mac", "GIF.txt": "GIF9 is a word"}
    for name, text in notes.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in tmp_path.iterdir() if is_image(file)] == []
    with pytest.raises(DataError, match=r"expected images \(PNG, JPEG"):
        image_files([tmp_path])
    dicom(tmp_path / "IM000001", GREY8)
    (tmp_path / "damaged.png").write_text("meant as one")
    assert {file.name for file in image_files([tmp_path])} == {"IM000001", "damaged.png"}


def test_every_kind_names_itself_in_its_first_bytes(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".bmp", ".gif", ".webp", ".jp2", ".pgm", ".tif"):
        PIL.Image.fromarray(GREY8).save(tmp_path / f"a{suffix}")
        assert kind_of((tmp_path / f"a{suffix}").read_bytes()[:HEAD]), suffix
        assert suffix in SUFFIXES


@pytest.mark.parametrize("suffix", [".svs", ".ndpi", ".scn", ".bif", ".btf", ".qptiff", ".TIF"])
@pytest.mark.parametrize("big", [False, True])
def test_slides_are_tiled_tiff(tmp_path: Path, suffix: str, big: bool) -> None:
    values = RNG.integers(0, 256, (100, 130, 3), dtype=np.uint8)
    file = tmp_path / f"w{suffix}"
    tifffile.imwrite(file, values, tile=(64, 64), photometric="rgb", bigtiff=big)
    check(file, values)
    assert is_tiled(file)
    assert is_image(file)
    check(tile_image(file, tmp_path / "out.tif"), values)


def test_the_largest_page_is_the_image(tmp_path: Path) -> None:
    """Some scanners put a label or an overview first."""
    label, image = GREY8, RNG.integers(0, 256, (100, 130), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.bif") as writer:
        writer.write(label, metadata=None)
        writer.write(image, tile=(64, 64), metadata=None)
        writer.write(image[::2, ::2], tile=(64, 64), metadata=None)
    check(tmp_path / "a.bif", image)
    check(tile_image(tmp_path / "a.bif", tmp_path / "out.tif"), image)
    with tifffile.TiffWriter(tmp_path / "raw.tif") as writer:
        writer.write(label, subifds=1, metadata=None)
        writer.write(image, metadata=None)
    with pytest.raises(DataError, match=r"raw\.tif: .*preview of a raw photo"):
        read_image(tmp_path / "raw.tif")


def test_pixel_size_of_tiff_is_read_where_its_unit_is_real(tmp_path: Path) -> None:
    def spacing(**options: object) -> tuple[float, float] | None:
        tifffile.imwrite(tmp_path / "a.tif", GREY8, **options)
        assert image_spacing(tmp_path / "a.tif")[0] == read_image(tmp_path / "a.tif").spacing_mm
        return image_spacing(tmp_path / "a.tif")[0]

    assert spacing(resolution=(72, 72), resolutionunit="INCH") is None  # of a print
    assert spacing(resolution=(100, 100), resolutionunit="CENTIMETER") is None
    assert spacing(imagej=True, resolution=(2, 4), metadata={"unit": "um"}) == pytest.approx((0.0005, 0.00025))
    assert spacing(imagej=True, resolution=(2, 4), metadata={"unit": "pixel"}) is None
    assert spacing(imagej=True, resolution=(72, 72), metadata={"unit": "inch"}) is None
    ome = {
        "axes": "YX",
        "PhysicalSizeX": 2.0,
        "PhysicalSizeXUnit": "mm",
        "PhysicalSizeY": 50,
        "PhysicalSizeYUnit": "µm",
    }
    assert spacing(ome=True, metadata=ome) == (2.0, 0.05)
    assert spacing(ome=True, metadata={"axes": "YX", "PhysicalSizeX": 2.0}) is None  # one of the two
    assert spacing(description="Aperio Image|AppMag = 40|MPP = 0.25", metadata=None) == (0.00025, 0.00025)
    assert spacing(description="Aperio Image|MPP = 0.0.1", metadata=None) is None
    for name in ("a.png", "a.jpg", "a.tif"):
        PIL.Image.fromarray(GREY8).save(tmp_path / name, dpi=(300, 300))
        assert image_spacing(tmp_path / name) == (None, "the file states none")


@pytest.mark.parametrize("stated", [[0, 0.1], [-0.1, 0.1], ["nan", 0.1]])
def test_a_pixel_size_that_is_none_is_refused(tmp_path: Path, stated: list[float]) -> None:
    file = dicom(tmp_path / "a.dcm", GREY8)
    data = pydicom.dcmread(file)
    data.PixelSpacing = stated if "nan" not in stated else [0.1, 0.1]
    data.save_as(file)
    if "nan" in stated:
        file.write_bytes(file.read_bytes().replace(b"0.1\\0.1", b"nan\\0.1"))
    with pytest.raises(DataError, match=r"a\.dcm: PixelSpacing: expected"):
        image_spacing(file)
