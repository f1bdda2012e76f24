"""Small files that would take all memory or all time, and paths that are no files: refused at once, by name."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from dicom_files import dicom

from trigpoint.data.files import check_path, read_text
from trigpoint.data.pixels import tiff
from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import image_size, image_spacing, read_image
from trigpoint.data.tiled import open_tiled, tile_image
from trigpoint.errors import DataError

KINDS = {1: "B", 3: "H", 4: "I"}
MEMORY = 900 << 20  # bytes of address space of the child, most of which its libraries take

READ = """
import resource, sys
from trigpoint.data.pixels.images import image_size, read_image
from trigpoint.errors import DataError
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
for file in sys.argv[2:]:
    try:
        read_image(file)
        print("read", file)
    except DataError as error:
        print(str(error).replace("\\n", " "))
"""


def ifd(**tags: tuple[int, list[int]]) -> bytes:
    """A TIFF of one page with no pixels: {tag number: (kind, values)} as keywords t256=(4, [10])."""
    body, extra = struct.pack("<H", len(tags)), b""
    end = 8 + 2 + 12 * len(tags) + 4
    for name, (kind, values) in sorted(tags.items(), key=lambda item: int(item[0][1:])):
        raw = struct.pack(f"<{len(values)}{KINDS[kind]}", *values)
        place = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", end + len(extra))
        extra += b"" if len(raw) <= 4 else raw
        body += struct.pack("<HHI", int(name[1:]), kind, len(values)) + place
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(4) + extra


def page(width: int, height: int, samples: int, bits: int, **more: tuple[int, list[int]]) -> bytes:
    tags = {"t256": (4, [width]), "t257": (4, [height]), "t258": (3, [bits] * samples), "t277": (3, [samples])}
    tags |= {"t259": (3, [1]), "t262": (3, [2 if samples > 2 else 1]), "t284": (3, [1])}
    return ifd(**(tags | {"t273": (4, [8]), "t278": (4, [height]), "t279": (4, [100])} | more))


def png(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    """A PNG of zeros; of the pixels only the first rows are there."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


TILES = {"t322": (4, [4096]), "t323": (4, [4096]), "t324": (4, [0] * 16), "t325": (4, [0] * 16)}
FLOATS = {"t339": (3, [3] * 8)}
HUGE: dict[str, bytes] = {
    "tiles that are not there": page(14000, 14000, 8, 64, **FLOATS, **TILES),
    "one strip": page(14000, 14000, 8, 64, **FLOATS),
    "doubles": page(14000, 14000, 3, 64, t339=(3, [3] * 3)),
    "sixteen bits": page(14000, 14000, 4, 16),
    "complex": page(14000, 14000, 1, 128, t339=(3, [6])),
    "a tile far larger than the image": page(
        16, 16, 1, 8, t322=(4, [60000]), t323=(4, [60000]), t324=(4, [8]), t325=(4, [100]), t259=(3, [8])
    ),
    "ink": page(14000, 14000, 8, 16, t262=(3, [5])),
}


def jp2(width: int, height: int, tile: int, parts: int = 1) -> bytes:
    """The head of a JPEG 2000 codestream."""
    size = struct.pack(">HHIIIIIIIIH", 38 + 3 * parts, 0, width, height, 0, 0, tile, tile, 0, 0, parts)
    return b"\xff\x4f\xff\x51" + size + b"\x07\x01\x01" * parts + bytes(100)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 500) + b"WEBP" + kind + struct.pack("<I", len(body)) + body + bytes(400)


SCREEN = struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
PART = b"," + struct.pack("<HHHHB", 0, 0, 60000, 60000, 0) + b"\x02\x02\x4c\x01\x00"
CODED: dict[str, bytes] = {
    "a.gif": b"GIF89a" + SCREEN + PART + b";",
    "part.gif": b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + PART + b";",
    "x.webp": webp(b"VP8X", bytes(4) + b"\xff\x3f\0\xff\x3f\0"),
    "l.webp": webp(b"VP8L", b"\x2f\xff\xff\xff\x0f"),
    "p.webp": webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f"),
    "a.j2k": jp2(60000, 60000, 60000),
    "colour.j2k": jp2(14000, 14000, 14000, 3),
    "tiles.j2k": jp2(14000, 14000, 1),
    "a.pgm": b"P5\n60000 60000\n255\n",
    "text.pgm": b"P2 14000 14000 255\n",
    "a.pbm": b"P1 60000 60000\n",
    "a.pfm": b"PF\n14000 14000\n-1.0\n",
}


def test_headers_that_ask_for_gigabytes(tmp_path: Path) -> None:
    files: dict[str, Path] = {}
    for name, data in HUGE.items():
        files[name] = tmp_path / f"{name}.tif"
        files[name].write_bytes(data)
    for colour, interlace in ((2, 0), (4, 0), (6, 0), (6, 1)):
        files[f"png {colour} {interlace}"] = tmp_path / f"png {colour} {interlace}.png"
        files[f"png {colour} {interlace}"].write_bytes(png(14000, 14000, 16, colour, interlace))
    small = np.zeros((4, 4), np.uint16)
    files["dicom"] = dicom(tmp_path / "a.dcm", small, Rows=14000, Columns=14000, BitsAllocated=64)
    files["samples"] = dicom(tmp_path / "b.dcm", small, Rows=14000, Columns=14000, SamplesPerPixel=4)
    files["scaled"] = dicom(tmp_path / "c.dcm", small, Rows=14000, Columns=14000, RescaleSlope=2)
    for name, data in CODED.items():
        files[name] = tmp_path / name
        files[name].write_bytes(data)
    files["sparse"] = tmp_path / "sparse.png"
    files["sparse"].write_bytes(b"\x89PNG\r\n\x1a\n")
    os.truncate(files["sparse"], 1 << 40)
    command = [sys.executable, "-c", READ, str(MEMORY), *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == len(files), done.stderr
    for name, line in zip(files, lines, strict=True):
        assert str(files[name]) in line
        assert "expected at most" in line, line


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much memory a process took")
def test_images_of_the_usual_kinds_stay_below_what_is_reckoned(tmp_path: Path) -> None:
    """The bytes that a kind is said to take are those that it takes, so that whatever was read before still is."""
    values = np.random.default_rng(0).integers(0, 255, (2000, 2000, 4)).astype(np.uint8)
    for mode in ("L", "RGB", "RGBA", "CMYK", "P"):
        image = PIL.Image.fromarray(values).convert("RGB").convert(mode)
        image.save(tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}", compress_level=1)
        image.close()
    PIL.Image.fromarray(values[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png", compress_level=1)
    tifffile.imwrite(tmp_path / "strip.tif", values[..., :3], compression="zlib", rowsperstrip=2000, photometric="rgb")
    code = (
        "import sys\nfrom pathlib import Path\nfrom trigpoint.data.pixels.images import read_image\n"
        "def peak(): return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "read_image(sys.argv[2])\nbefore = peak()\nread_image(sys.argv[1])\nprint((peak() - before) / 4e6 * 1024)"
    )
    tifffile.imwrite(tmp_path / "small.tif", values[:16, :16], compression="zlib", photometric="rgb")
    for file in sorted(set(tmp_path.glob("*.*")) - {tmp_path / "small.tif"}):
        command = [sys.executable, "-c", code, str(file), str(tmp_path / "small.tif")]
        took = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(file.name, took)
        assert took < 17, f"{file.name}: {took} bytes per pixel"


def test_a_later_frame_that_is_larger_than_the_first(tmp_path: Path) -> None:
    small = PIL.Image.new("P", (4, 4))
    small.save(tmp_path / "a.gif", save_all=True, append_images=[PIL.Image.new("P", (4, 4), 1)], duration=40)
    data = (tmp_path / "a.gif").read_bytes()
    at = data.rindex(b"," + struct.pack("<HHHH", 0, 0, 4, 4))
    (tmp_path / "a.gif").write_bytes(data[: at + 5] + struct.pack("<HH", 60000, 60000) + data[at + 9 :])
    with pytest.raises(DataError, match=r"a\.gif: (frame 1: )?expected"):
        list(Frames(tmp_path / "a.gif"))


def test_absent_strips_and_tiles(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((64, 64), np.uint8), tile=(32, 32))
    assert read_image(file).width == 64
    for name in ("TileOffsets", "TileByteCounts"):
        tifffile.imwrite(file, np.zeros((64, 64), np.uint8), tile=(32, 32))
        with tifffile.TiffFile(file, mode="r+b") as opened:
            kept = opened.pages[0].tags[name].value
            opened.pages[0].tags[name].overwrite((*kept[:2], 0, kept[3]))
        with pytest.raises(DataError, match=r"a\.tif: expected 4 strips or tiles, got 3"):
            read_image(file)
    file.write_bytes(page(100, 100, 1, 8, t278=(4, [1])))  # a hundred strips, of which one has a place
    with pytest.raises(DataError, match=r"a\.tif: expected 100 strips or tiles, got 1"):
        read_image(file)


def test_a_hundred_thousand_pages(tmp_path: Path) -> None:
    one, file = page(8, 6, 1, 8)[8:-4], tmp_path / "a.tif"
    size, count = len(one) + 4, 100_000
    pages = b"".join(one + struct.pack("<I", 8 + size * (k + 1) if k + 1 < count else 0) for k in range(count))
    file.write_bytes(b"II*\0" + struct.pack("<I", 8) + pages)
    start = time.process_time()
    for act in (image_size, read_image, open_tiled, lambda path: tile_image(path, tmp_path / "out.tif")):
        with pytest.raises(DataError, match=r"a\.tif"):
            act(file)
    assert time.process_time() - start < 20


def test_entities_in_ome_are_not_expanded(tmp_path: Path) -> None:
    letters = "".join(f"<!ENTITY l{k} '{f'&l{k - 1};' * 10 if k else 'x' * 10}'>" for k in range(9))
    file = tmp_path / "a.tif"
    pixels = "<Pixels xmlns='x' PhysicalSizeX='2' PhysicalSizeY='2' PhysicalSizeXUnit='mm' PhysicalSizeYUnit='mm'/>"
    for text, spacing in (
        (f"<!DOCTYPE o [{letters}]><OME>{pixels}&l8;</OME>", None),
        (f"<OME>{pixels}</OME>", (2.0, 2.0)),
    ):
        tifffile.imwrite(file, np.zeros((64, 64), np.uint8), tile=(32, 32), description=text, metadata=None)
        with open_tiled(file) as image:
            assert image.spacing_mm == spacing


def test_a_video_that_is_a_list_of_other_files(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "secret.txt").write_text("mine")
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.txt\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.txt'\n",
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
    ):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(DataError, match=r"a\.mp4: expected a video, got something else"):
            Frames(tmp_path / "a.mp4")


# -- paths that are no files -----------------------------------------------------------------------------------------


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # a socket's name is short
        server.bind(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


READERS: dict[str, Callable[[Path], object]] = {
    "image": read_image,
    "size": image_size,
    "spacing": image_spacing,
    "frames": Frames,
    "text": read_text,
    "tiled": open_tiled,
    "tiff": tiff.is_tiff,
    "tile": lambda path: tile_image(path, path.with_name("out.tif")),
}


@pytest.mark.parametrize("make", [pipe, link_to_pipe, unix_socket, device, circle])
@pytest.mark.parametrize("suffix", [".tif", ".dcm", ".png"])
def test_what_is_no_file_is_refused(
    make: Callable[[Path], None], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"a{suffix}"
    make(path)
    for read in READERS.values():
        with pytest.raises(DataError, match=rf"a\{suffix}: expected"):
            read(path)


def test_names_that_no_file_has(tmp_path: Path) -> None:
    for name in ("a" * 252 + ".png", "é" * 126 + ".png", os.fsdecode(b"caf\xe9.png"), "a\0.png"):
        for read in READERS.values():
            with pytest.raises(DataError) as error:
                read(tmp_path / name)
            str(error.value).encode()
            assert len(str(error.value)) < 600
    longest = tmp_path / ("a" * 251 + ".png")
    PIL.Image.new("L", (4, 3)).save(longest)
    assert read_image(longest).width == 4
    check_path(tmp_path / "not there.png")
