"""What of a zarr folder may be opened: numeric arrays, known codecs, and chunks that inflate to what they hold.

zarr makes what an array's metadata names, and some codecs run what is in the file, such as pickle. So the metadata of
every array are read here as plain JSON before zarr sees the folder.
"""

import bz2
import lzma
import re
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trigpoint.data.files import inflated_size, load_json, open_file, shown
from trigpoint.errors import DataError

MARKERS = ("zarr.json", ".zarray", ".zgroup")  # one of them makes a folder zarr
_JSON, _NODES, _DEPTH = 4 << 20, 20_000, 20  # bytes of a metadata file, folders in all, and one in the other
_DTYPE = re.compile(r"[<>|=]?[biufc][1248]|[<>|=]?c16|bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)")
_STREAMS: dict[str, Any] = {
    "gzip": partial(zlib.decompressobj, 31),  # with the header of a gzip file
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    "lzma": partial(lzma.LZMADecompressor, memlimit=1 << 28),
}
_COMPRESSORS = {*_STREAMS, "blosc", "lz4", "zstd"}
_HARMLESS = {
    "bytes", "endian", "transpose", "crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3", "delta", "shuffle",
    "bitround", "fixedscaleoffset", "quantize", "packbits", "astype",
}  # fmt: skip
_SHARDS = "sharding_indexed"
_SLACK = 64 << 20  # bytes that any chunk may inflate to; real ones keep to their size


@dataclass(frozen=True)
class Coding:
    """How the chunks of an array are stored: their compressor ("": none), and whether and where shards have an index.

    ``index`` is "" without shards, else "start" or "end"; ``checked``: the index is followed by a checksum.
    """

    compressor: str
    index: str = ""
    checked: bool = False

    def check(self, file: Path, at: int, count: int, size: int) -> None:
        """Raise DataError when a chunk of ``size`` bytes, the ``at``-th of ``count`` in ``file``, inflates to more."""
        most = max(2 * size, _SLACK)
        with open_file(file) as stream:
            length = file.stat().st_size
            if self.index:
                place = length - 16 * count - 4 * self.checked if self.index == "end" else 0
                stream.seek(max(place + 16 * at, 0))
                entry = stream.read(16)
                start, length = (int.from_bytes(entry[k : k + 8], "little") for k in (0, 8))
                if start == length == (1 << 64) - 1:  # left out: nothing but the fill value
                    return
                stream.seek(min(start, file.stat().st_size))
            if length > most:  # bytes that are not compressed are no more than the chunk has
                raise DataError(f"{file}: expected a chunk of {size} bytes, got {length} compressed ones")
            if self.compressor and _inflated(self.compressor, stream.read(length), most) > most:
                raise DataError(f"{file}: expected a chunk of {size} bytes, got one that inflates to over {most}")


def read_codings(folder: Path) -> dict[str, Coding]:
    """The codings of all arrays in a zarr folder by their path in it ("." is the folder itself).

    Raises DataError for an array that is not numeric or of a codec that is not known, and for metadata that are
    damaged or have no end.
    """
    found: dict[str, Coding] = {}
    waiting, seen = [Path()], 0
    while waiting:
        place = waiting.pop()
        seen += 1
        if seen > _NODES or len(place.parts) > _DEPTH:
            raise DataError(f"{folder}: expected at most {_NODES} folders, {_DEPTH} deep, got more; name one of them")
        files = [folder / place / name for name in (*MARKERS, ".zattrs")]
        for file, values in [(file, load_json(file, _JSON)) for file in files if file.exists()]:
            if not isinstance(values, dict):
                raise DataError(f"{file}: expected a JSON object, got {type(values).__name__}")
            inner = values.get("consolidated_metadata") or {}  # where a group repeats those of its arrays
            for node in (values, *(inner.get("metadata") or {}).values()):
                if file.name in MARKERS and (node.get("node_type") == "array" or "shape" in node):
                    coding = _coding(file, node)
                    found |= {place.as_posix(): coding} if node is values else {}
        if place.as_posix() not in found:
            waiting += sorted(place / inner.name for inner in (folder / place).iterdir() if inner.is_dir())
    return found


def _coding(file: Path, values: dict[str, Any]) -> Coding:
    kind = values.get("dtype", values.get("data_type"))
    if not isinstance(kind, str) or not _DTYPE.fullmatch(kind):
        raise DataError(f"{file}: expected an array of numbers, got dtype {shown(kind)}; convert it")
    stored = [*(values.get("filters") or ()), values.get("compressor"), *(values.get("codecs") or ())]
    names = [_name(file, codec) for codec in stored if codec is not None]
    if names != [_SHARDS]:
        return Coding(_compressor(file, names))
    about = stored[-1]["configuration"]
    inner, index = ([_name(file, codec) for codec in about[key]] for key in ("codecs", "index_codecs"))
    if index not in (["bytes"], ["bytes", "crc32c"]) or about["index_codecs"][0]["configuration"]["endian"] != "little":
        raise DataError(f"{file}: expected an index of shards that is not compressed, got {shown(index)}")
    return Coding(_compressor(file, inner), str(about.get("index_location", "end")), len(index) == 2)


def _name(file: Path, codec: Any) -> str:
    name = codec.get("id", codec.get("name")) if isinstance(codec, dict) else codec
    plain = name.removeprefix("numcodecs.") if isinstance(name, str) else ""
    if plain not in _COMPRESSORS | _HARMLESS | {_SHARDS}:
        valid = ", ".join(sorted(_COMPRESSORS | _HARMLESS))
        raise DataError(f"{file}: expected a codec for numbers ({valid}), got {shown(name)}; convert it")
    return plain


def _compressor(file: Path, names: list[str]) -> str:
    found = [name for name in names if name not in _HARMLESS]
    if len(found) > 1 or _SHARDS in found:  # what one inside the other inflates to, nobody can tell beforehand
        raise DataError(f"{file}: expected one compressor, got {', '.join(found)}; convert it")
    return "".join(found)


def _inflated(compressor: str, data: bytes, most: int) -> int:
    """How many bytes a chunk gives: as its header says, which the decoder keeps to, or counted."""
    if compressor == "blosc":
        return int.from_bytes(data[4:8], "little")
    if compressor == "lz4":
        return int.from_bytes(data[:4], "little")
    return _zstd_size(data) if compressor == "zstd" else inflated_size(_STREAMS[compressor], data, most)


def _zstd_size(data: bytes) -> int:
    """What zstd data give: as their frame states, or at most, by the blocks of the frames (RFC 8878)."""
    at, stated, walked = 0, list[int](), 0
    while at < len(data):
        magic, flags = int.from_bytes(data[at : at + 4], "little"), data[at + 4]
        if magic >> 4 == 0x184D2A5:  # a frame to be skipped
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        single = flags >> 5 & 1
        width = (single, 2, 4, 8)[flags >> 6]
        at += 6 - single + (0, 1, 2, 4)[flags & 3]
        stated += [int.from_bytes(data[at : at + width], "little") + 256 * (width == 2)] if width else []
        at, last = at + width, 0
        while not last:
            if magic != 0xFD2FB528 or at + 3 > len(data):
                raise ValueError("a chunk that is not whole zstd data")
            head = int.from_bytes(data[at : at + 3], "little")
            last, kind, size = head & 1, head >> 1 & 3, head >> 3
            walked += size if kind < 2 else 1 << 17
            at += 3 + (1 if kind == 1 else size)
        at += 4 * (flags >> 2 & 1)
    return stated[0] if len(stated) == 1 else walked
