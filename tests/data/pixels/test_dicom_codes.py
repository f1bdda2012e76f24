"""Compressed DICOM: read with the extra ``dicom``, its lack is told, and sizes that frames state are not believed."""

from __future__ import annotations

import base64
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pydicom.encaps
import pytest
from dicom_files import dicom
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLossless, JPEGLSLossless, RLELossless

from trigpoint.data.pixels import dicom as reader
from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import image_size, read_image
from trigpoint.errors import DataError

Y, X = np.mgrid[:6, :8]
VALUES = ((Y * 37 + X * 111) * 13 % 4096).astype(np.uint16)  # what the codes below hold, 12 bits
CODES = {  # as CharLS, ljpeg and OpenJPEG write them
    JPEGLSLossless: (
        "/9j/6AAgU1BJRkYAAgAAAQAAAAYAAAAIChAGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsQAAYACAEBEQD/+AANAf//ABIAQwEUAED/"
        "2gAIAQEAAAAAjop0Uy8OirRTLxaL8L4XwYAfA9/AHwvfe897AHuvdwD4HuPbAIjLTPaDEJaR772V4MA9hd/APXe89Zd7APVXdwHq"
        "AERQ/9k="
    ),
    JPEGLossless: (
        "/9j/xAAXAAEBAQEAAAAAAAAAAAAAAAAIDAkL/8MACwwABgAIAQARAP/aAAgBAAAGAACf/wCtH1o5aLrR9aOWi60e8LxeLxeLxeLx"
        "3heLxeLxeLxeO8Lxg8KPF4weFHi8d4Xi8Xi8Xi8XjvC8Xi8Xi8XjB4D/2Q=="
    ),
    JPEG2000Lossless: (
        "/0//UQApAAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/ZAAlAAFDcmVh"
        "dGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABbAAH/k9/hKBInd4yWIyVYKjcDNNTeeCN1WT0/bTAkyPx/WvC/"
        "D1adjDsO0qShsYBnKTdWyBsv5hNZyQnP/bYHQPjw8TnZcGvfWyNQHXInEWiv/9k="
    ),
}
JP2 = (
    "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAABgAAAAgAAQsHAAAAAAAPY29scgEAAAAA"
    "ABEAAADNanAyYw=="
)
needs_gdcm = pytest.mark.skipif(find_spec("gdcm") is None, reason="the extra dicom is not installed")


def packed(file: Path, syntax: UID, frames: list[bytes], **tags: object) -> Path:
    dicom(file, VALUES, BitsStored=12, **tags)
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = pydicom.encaps.encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data.save_as(file)
    return file


@needs_gdcm
@pytest.mark.parametrize("syntax", CODES, ids=lambda syntax: syntax.name)
def test_lossless_codes_keep_all_bits(tmp_path: Path, syntax: UID) -> None:
    code = base64.b64decode(CODES[syntax])
    image = read_image(packed(tmp_path / "a.dcm", syntax, [code]))
    np.testing.assert_array_equal(image.pixels[0], VALUES)
    assert image.value_range == (0.0, 4095.0)
    frames = list(Frames(packed(tmp_path / "b.dcm", syntax, [code] * 3, NumberOfFrames=3, FrameTime=20)))
    assert [frame.time_s for frame in frames] == [0, 0.02, 0.04]
    for frame in frames:
        np.testing.assert_array_equal(frame.image.pixels[0], VALUES)


def test_what_needs_no_extra(tmp_path: Path) -> None:
    file = dicom(tmp_path / "a.dcm", VALUES)
    data = pydicom.dcmread(file)
    data.compress(RLELossless)
    data.save_as(file)
    np.testing.assert_array_equal(read_image(file).pixels[0], VALUES)


@pytest.mark.parametrize("syntax", CODES, ids=lambda syntax: syntax.name)
def test_without_the_extra_one_command_is_named(tmp_path: Path, syntax: UID, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(tmp_path / "a.dcm", syntax, [base64.b64decode(CODES[syntax])[:-30]])
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    data = pydicom.dcmread(file)
    assert reader._why(data, RuntimeError()).endswith('pip install "trigpoint[dicom]", or decompress the file')
    assert image_size(file) == VALUES.shape


@pytest.mark.parametrize("syntax", CODES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("frames", [1, 3])
def test_a_code_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path, syntax: UID, frames: int) -> None:
    code = base64.b64decode(CODES[syntax])
    height, width = (6).to_bytes(2, "big"), (8).to_bytes(2, "big")
    large = code.replace(height + width, b"\xff\xf0\xff\xf0", 1).replace(
        bytes(2) + width + bytes(2) + height, b"\x7f" * 8
    )
    file = packed(tmp_path / "a.dcm", syntax, [code] * (frames - 1) + [large], NumberOfFrames=frames)
    with pytest.raises(DataError, match=r"a\.dcm: expected frames of 8 x 6 pixels, got \d{5,} x \d{5,}"):
        list(Frames(file))


def test_a_damaged_code_is_an_error_of_ours(tmp_path: Path) -> None:
    for syntax in (*CODES, JPEGBaseline8Bit, RLELossless):
        file = packed(tmp_path / "a.dcm", syntax, [bytes(100)])
        with pytest.raises(DataError, match=r"a\.dcm: "):
            read_image(file)


def test_twelve_bits_of_jpeg_2000_alone(tmp_path: Path) -> None:
    """Pillow fills them up to 16."""
    code = base64.b64decode(CODES[JPEG2000Lossless])
    for name, data in (("a.j2k", code), ("a.jp2", base64.b64decode(JP2) + code)):
        (tmp_path / name).write_bytes(data)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.pixels[0], VALUES)
        assert image.value_range == (0.0, 4095.0)
