"""Zarr folders of strangers: nothing of them runs, and nothing inflates without end."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trigpoint.data.files import inflated_size
from trigpoint.data.tiled import open_tiled
from trigpoint.data.tiled.zarr_codecs import _zstd_size, read_codings
from trigpoint.errors import DataError

numcodecs = pytest.importorskip("numcodecs")
zarr = pytest.importorskip("zarr")

VALUES = np.random.default_rng(0).integers(0, 9, (1, 64, 96)).astype(np.uint8)
BOMB = 80 << 20
CHUNK = [1, 64, 96]


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


def array(folder: Path, data: bytes = b"", **changed: Any) -> Path:
    """A zarr array of version 2 in one chunk."""
    folder.mkdir(parents=True)
    about = {"zarr_format": 2, "shape": [1, 64, 96], "chunks": [1, 64, 96], "dtype": "|u1", "compressor": None}
    about |= {"filters": None, "fill_value": 0, "order": "C"}
    (folder / ".zarray").write_text(json.dumps(about | changed))
    if data:
        (folder / "0.0.0").write_bytes(data)
    return folder


def array3(folder: Path, codecs: list[Any], data: bytes = b"", chunk: tuple[int, ...] = (1, 64, 96)) -> Path:
    """The same of version 3."""
    folder.mkdir(parents=True)
    about = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [1, 64, 96],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
    }
    (folder / "zarr.json").write_text(json.dumps(about))
    if data:
        (folder / "c.0.0.0").write_bytes(data)
    return folder


def read(folder: Path) -> npt.NDArray[Any]:
    with open_tiled(folder) as image:
        return image.read(0, 0, 0, *image.size)


def refused(folder: Path, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        read(folder)
    assert "a.zarr" in str(error.value)
    assert len(str(error.value)) < 1000


def group(folder: Path, **arrays: dict[str, Any]) -> Path:
    """An OME-NGFF group of version 2 whose level is "0"; ``arrays`` change it and those beside it."""
    scales = [{"datasets": [{"path": "0"}], "axes": ["c", "y", "x"]}]
    array(folder / "0", VALUES.tobytes(), **arrays.pop("level", {}))
    for place, changed in arrays.items():
        array(folder / place.replace("__", "/"), **changed)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps({"multiscales": scales}))
    return folder


PICKLE: dict[str, dict[str, Any]] = {
    "compressor": {"compressor": {"id": "pickle"}},
    "filter": {"filters": [{"id": "pickle"}]},
    "filter behind a sound one": {"filters": [{"id": "delta", "dtype": "|u1"}, {"id": "pickle"}]},
    "objects": {"dtype": "|O", "filters": [{"id": "pickle"}]},
    "records": {"dtype": [["a", "|O"]]},
    "codec of another package": {"compressor": {"id": "imagecodecs_jpeg"}},
    "no name": {"compressor": {"level": 1}},
    "no object": {"compressor": 5},
}


@pytest.mark.parametrize("case", PICKLE)
def test_no_chunk_runs_code(case: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    refused(array(tmp_path / "a.zarr", pickle.dumps(Payload(mark)), **PICKLE[case]), "expected a(n array of|.codec)")
    for place in ("level", "labels__cells", "more__and__more"):
        refused(group(tmp_path / place / "a.zarr", **{place: PICKLE[case]}), "expected a(n array of|.codec)")
    assert not mark.exists()


SHARDS = {"chunk_shape": [1, 32, 32], "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "numcodecs.pickle"}],
        ["bytes", {"name": "vlen-utf8"}],
        [{"name": "sharding_indexed", "configuration": SHARDS | {"codecs": ["bytes", "pickle"]}}],
        [{"name": "sharding_indexed", "configuration": SHARDS | {"codecs": ["bytes"], "index_codecs": ["pickle"]}}],
        ["bytes", "gzip", "gzip"],
        [{"name": "sharding_indexed", "configuration": SHARDS | {"codecs": ["sharding_indexed"]}}],
    ],
    ids=["pickle", "texts", "in shards", "in the index", "twice", "shards in shards"],
)
def test_codecs_of_version_3(codecs: list[Any], tmp_path: Path) -> None:
    refused(array3(tmp_path / "a.zarr", codecs), "expected (a codec for numbers|one compressor)")
    whole = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    node = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    (tmp_path / "b" / "a.zarr").mkdir(parents=True)
    whole["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {"0": node}}
    (tmp_path / "b" / "a.zarr" / "zarr.json").write_text(json.dumps(whole))
    refused(tmp_path / "b" / "a.zarr", "expected (a codec for numbers|one compressor)")


def test_metadata_without_end(tmp_path: Path) -> None:
    for text, expected in (
        ("[" * 100_000, "too deep"),
        (" " * (5 << 20), "at most"),
        ("[]", "expected a JSON object"),
        ("{", "not readable as JSON"),
    ):
        folder = group(tmp_path / str(len(text)) / "a.zarr")
        (folder / ".zattrs").write_text(text)
        refused(folder, expected)
    folder = group(tmp_path / "circle" / "a.zarr")
    (folder / "labels").symlink_to(folder)
    refused(folder, "20 deep")
    folder = tmp_path / "pipe" / "a.zarr"
    folder.mkdir(parents=True)
    os.mkfifo(folder / ".zarray")
    with pytest.raises(DataError, match=r"got a (folder without|pipe)"):
        open_tiled(folder)


@pytest.mark.parametrize("name", ["blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma"])
@pytest.mark.parametrize("filters", [None, [{"id": "delta", "dtype": "|u1"}], [{"id": "shuffle", "elementsize": 1}]])
def test_known_codecs_are_read(name: str, filters: list[dict[str, Any]] | None, tmp_path: Path) -> None:
    data: Any = VALUES.reshape(-1)
    for each in filters or ():
        data = numcodecs.get_codec(each).encode(data)
    codec = numcodecs.get_codec({"id": name})
    folder = array(tmp_path / "a.zarr", bytes(codec.encode(data)), compressor=codec.get_config(), filters=filters)
    np.testing.assert_array_equal(read(folder), VALUES)


def test_shards_are_read(tmp_path: Path) -> None:
    options: dict[str, Any] = {"shape": VALUES.shape, "chunks": (1, 16, 32), "shards": (1, 32, 96), "dtype": np.uint8}
    for codec in (zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec(), zarr.codecs.BloscCodec(), None):
        zarr.create_array(store=str(tmp_path / "a.zarr"), compressors=codec, overwrite=True, **options)[:] = VALUES
        np.testing.assert_array_equal(read(tmp_path / "a.zarr"), VALUES)


def zstd(size: int, stated: bool = True) -> bytes:
    """A frame of blocks that repeat one byte."""
    head = struct.pack("<IB", 0xFD2FB528, 0xA0) + struct.pack("<I", size) if stated else b"(\xb5/\xfd\0\x60"
    blocks = [min(size - at, 1 << 17) for at in range(0, size, 1 << 17)]
    ends = [at == len(blocks) - 1 for at in range(len(blocks))]
    return head + b"".join(
        struct.pack("<I", n << 3 | 2 | end)[:3] + b"\x07" for n, end in zip(blocks, ends, strict=True)
    )


def test_sizes_of_zstd() -> None:
    for data in (b"", b"a" * 255, bytes(range(256)) * 3000):
        packed = bytes(numcodecs.Zstd().encode(data))
        assert len(data) <= _zstd_size(packed) <= len(data) + (1 << 17)
        assert _zstd_size(packed * 2) >= 2 * len(data)
    assert bytes(numcodecs.Zstd().decode(zstd(300_000, False))) == b"\x07" * 300_000
    assert _zstd_size(zstd(300_000, False)) == _zstd_size(zstd(300_000)) == 300_000
    with pytest.raises((ValueError, IndexError)):
        _zstd_size(zstd(300_000)[:-20])


ZEROS = bytes(BOMB)
BOMBS: dict[str, Callable[[], bytes]] = {  # a few hundred kilobytes at most that give ``BOMB`` bytes
    "zlib": lambda: zlib.compress(ZEROS, 1),
    "gzip": lambda: gzip.compress(ZEROS, 1),
    "gzip in parts": lambda: gzip.compress(ZEROS[: BOMB // 100], 1) * 100,
    "bz2": lambda: bz2.compress(ZEROS[: BOMB // 100], 1) * 100,
    "lzma": lambda: lzma.compress(ZEROS[: BOMB // 100], preset=0) * 100,
    "lz4": lambda: struct.pack("<I", BOMB) + bytes(100),
    "blosc": lambda: struct.pack("<BBBBIII", 2, 1, 0x13, 1, BOMB, BOMB, 100) + bytes(100),
    "zstd": lambda: zstd(BOMB),
    "zstd without a size": lambda: zstd(BOMB, False),
    "zstd in parts": lambda: zstd(BOMB // 2) * 2,
}


@pytest.mark.parametrize("case", BOMBS)
def test_chunks_that_inflate_beyond_their_size(case: str, tmp_path: Path) -> None:
    name, data = case.split()[0], BOMBS[case]()
    refused(array(tmp_path / "a.zarr", data, compressor={"id": name}), "inflates to over")
    if name in ("zstd", "gzip", "blosc"):
        inner = ["bytes", {"name": name, "configuration": {"level": 1}}]
        sharded = [{"name": "sharding_indexed", "configuration": SHARDS | {"codecs": inner, "chunk_shape": CHUNK}}]
        folder = array3(tmp_path / "b" / "a.zarr", sharded, data + struct.pack("<QQ", 0, len(data)))
        with pytest.raises(DataError, match=r"a\.zarr.*(inflates to over|damaged)"):
            read(folder)


def test_chunks_of_huge_unseen_axes(tmp_path: Path) -> None:
    refused(array(tmp_path / "a.zarr", chunks=[100_000, 64, 96]), "expected tiles of at most")


def test_counting_keeps_nothing() -> None:
    for make, pack in ((zlib.decompressobj, zlib.compress), (bz2.BZ2Decompressor, bz2.compress)):
        data = np.random.default_rng(0).integers(0, 4, 1 << 18).astype(np.uint8).tobytes()
        assert inflated_size(make, pack(data), 1 << 30) == len(data)
        assert inflated_size(make, pack(data) + pack(b"ab") * 50, 1 << 30) == len(data) + 100
        assert inflated_size(make, pack(data)[:-20], 1 << 30) <= len(data)
        assert 1000 < inflated_size(make, pack(data), 1000) < len(data) + 1
        assert inflated_size(make, b"", 1000) == 0


def test_codings_name_compressor_and_index(tmp_path: Path) -> None:
    folder = group(tmp_path / "a.zarr", labels={"compressor": {"id": "zlib", "level": 1}, "dtype": "<f4"})
    found = read_codings(folder)
    assert {place: coding.compressor for place, coding in found.items()} == {"0": "", "labels": "zlib"}
