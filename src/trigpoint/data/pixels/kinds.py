"""Which files are images: the content says how a file is read, its suffix or first bytes whether it is meant as one.

Formats that name themselves only weakly (PNM, BMP, DICOM without its preamble) are asked for more than their first two
bytes, so that a table or a note is not taken for a picture.
"""

import re
import struct
from pathlib import Path
from typing import Literal

from trigpoint.data.files import open_file, reachable
from trigpoint.errors import DataError

Kind = Literal["dicom", "tiff", "pnm", "PNG", "JPEG", "BMP", "GIF", "WEBP", "JPEG2000", ""]

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".jp2", ".j2k", ".jpx", ".jpf",
    ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".qptiff",
    ".dcm", ".dicom", ".dic", ".ima",
)  # fmt: skip
"""Of files that are meant as images, without a look into them."""
DICOM = (".dcm", ".dicom", ".dic", ".ima")
NAMES = "PNG, JPEG, BMP, GIF, WebP, JPEG 2000, PGM, PPM, TIFF or DICOM"
"""The formats, for messages."""
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEAD = 1024
"""Bytes from the beginning that tell the format; the name of what a DICOM file holds is among them."""

_DIB = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the header after that of a BMP
_PNM = re.compile(rb"P[1-6fF]\s+([0-9]|#)")
_CLASS = re.compile(rb"(?:\x02\0\x02\0|\x08\0\x16\0).{4}([0-9.]+)", re.DOTALL)  # DICOM: what a file holds
_NO_PICTURES = re.compile(  # DICOM: a disk's index; then, in this order:
    rb"1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.1\.1\.("
    rb"88\..*|11\..*|104\..*|131|200\..*"  # reports, what to show how, documents, protocols
    rb"|9\..*|4\.2|66|66\.[12356]|67|68\..*|7[89]\..*|80\..*|90\..*"  # curves, spectra, raw data, places, meshes, eyes
    rb"|481\.([3-9]|1[0-9])))"  # plans and records of radiotherapy
)


def kind_of(head: bytes) -> Kind:
    r"""The format of a file that begins with ``head`` (``HEAD`` bytes, or all that it has); "" for no image.

    >>> [kind_of(head) for head in (b"\x89PNG\r\n\x1a\n", b"P5\n# by hand\n4 3\n255\n", b"P1_x,P1_y\n", b"BMW")]
    ['PNG', 'pnm', '', '']
    """
    if head[128:132] == b"DICM":  # first: the bytes before may be those of a TIFF, for viewers of both
        return "dicom"
    for start, kind in _MAGIC:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in TIFF:
        return "tiff"
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _DIB:
        return "BMP"
    if _PNM.match(head):
        return "pnm"
    return "dicom" if _is_bare_dicom(head) else ""


_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a file begins with a DICOM element of group 2 or 8, as those without the 128-byte preamble do."""
    if len(head) < 16:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", head)
        if (group, element) not in ((2, 0), (2, 1), *((8, n) for n in (0, 1, 5, 6, 8, 0x12, 0x13, 0x14, 0x16, 0x18))):
            continue
        if head[4:6].isalpha() and head[4:6].isupper():  # the element says of what kind its value is
            return True
        return bool(order == "<" and struct.unpack_from("<I", head, 4)[0] <= HEAD)
    return False


def is_image(path: str | Path, met: bool = False) -> bool:
    """Whether a file is meant as an image: by its suffix, or where that says nothing, by its first bytes.

    False for folders, for what cannot be read, for notes of a Mac about a file (``._a.png``), and, unless their suffix
    is of images, for hidden files and DICOM that never holds a picture, such as a report or the index of a CD
    (DICOMDIR). Of files that are ``met`` in a folder, and not given by their names, such DICOM is none by any suffix.

    >>> is_image("tests/no such file.txt")
    False
    """
    file = Path(path)
    try:
        if file.name.startswith("._") or not file.is_file():
            return False
        named = file.suffix.lower() in SUFFIXES
        if named and not (met and file.suffix.lower() in DICOM):
            return True
        with open_file(file) as stream, reachable(file):
            head = stream.read(HEAD)
    except (DataError, OSError, ValueError):  # a name that no file has
        return False
    kind = "" if file.name.startswith(".") and not named else kind_of(head)
    if kind == "dicom":
        held = _CLASS.search(head)
        return held is None or not _NO_PICTURES.fullmatch(held[1])
    if named:  # who reads it says what is wrong with it
        return True
    return kind != "" and (kind != "pnm" or head[2] in b"\r\n")  # "P1 10 20" may be a note of a point


def head_of(file: Path) -> bytes:
    """The first bytes of a file. Raises DataError when it cannot be read or is empty."""
    with open_file(file) as stream, reachable(file):
        head = stream.read(HEAD)
    if not head:
        raise DataError(f"{file}: expected an image, got an empty file")
    return head


def check_kind(file: Path, head: bytes) -> Kind:
    """The format of a file that is to be read. Raises DataError where it is no image.

    A file that is called DICOM is handed to the reader of DICOM, which says best what is wrong with it.
    """
    kind = kind_of(head)
    if kind or file.suffix.lower() in DICOM:
        return kind or "dicom"
    if file.suffix.lower() in SUFFIXES:
        raise DataError(f"{file}: expected an image, got something else (no known image format)")
    raise DataError(f"{file}: expected an image ({NAMES}), got something else")
