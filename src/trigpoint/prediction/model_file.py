"""The file of an exported model: what it says of itself, and whether it is whole. Needs no ONNX library.

An ONNX file that holds three entries beside its graph: the version of what follows, a hash of the whole file with the
digits of the hash itself as zeros, and what predicting with it needs to know, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from trigpoint.data.files import check_path, open_file
from trigpoint.errors import RunError

FORMAT = 1
"""Raised when files of this version are no longer read by the trigpoint of before."""
FORMAT_KEY, HASH_KEY, ABOUT_KEY = "trigpoint.format", "trigpoint.sha256", "trigpoint.about"
PRODUCER = "trigpoint"
NO_HASH = "0" * 64
_HASH = re.compile(rb"trigpoint\.sha256\x12\x40([0-9a-f]{64})")  # key, then the field's tag and length
_MOST = 2**31  # bytes that an ONNX file can have


def is_model_file(path: str | Path) -> bool:
    """Whether a name is that of an exported model.

    >>> is_model_file("heads.onnx"), is_model_file("runs/heads")
    (True, False)
    """
    return Path(path).suffix.lower() == ".onnx"


def sealed(data: bytes) -> bytes:
    """A serialised model whose hash is still zeros, with its hash."""
    found = _last(data)
    if found is None or found[1] != NO_HASH.encode():
        raise ValueError("expected a model with a hash of zeros")
    return _with_hash(data, found, hashlib.sha256(data).hexdigest())


def _with_hash(data: bytes, found: re.Match[bytes], digits: str) -> bytes:
    return data[: found.start(1)] + digits.encode() + data[found.end(1) :]


def read_model(path: str | Path) -> bytes:
    """The bytes of an exported model, whole as they were written.

    Raises RunError for a file that is missing, cut or changed, and for one of another tool.
    """
    file = Path(path)
    check_path(file)
    if not file.exists():
        raise RunError(f"{file}: no such model; check the path, or make one: trigpoint export RUN --out {file}")
    if file.is_dir():
        got = "got a folder, which containers make of a file that is missing"
        raise RunError(f"{file}: expected a model, {got}; check the path")
    with open_file(file) as stream:
        data = stream.read(_MOST)
    found = _last(data)
    if found is None:
        if PRODUCER.encode() in data[:64]:
            raise RunError(f"{file}: is cut short; copy it again, or export it again")
        raise RunError(
            f"{file}: expected a model that trigpoint exported, got another file or one of another tool; make one: "
            "trigpoint export RUN --out MODEL.onnx"
        )
    if hashlib.sha256(_with_hash(data, found, NO_HASH)).hexdigest().encode() != found[1]:
        raise RunError(
            f"{file}: is not what was exported, some of its bytes changed; copy it again, or export it again"
        )
    return data


def _last(data: bytes) -> re.Match[bytes] | None:
    """Where the hash is: what stands after the graph, whatever the graph contains."""
    return next(iter([*_HASH.finditer(data)][-1:]), None)


def read_about(path: str | Path, entries: dict[str, str]) -> dict[str, Any]:
    """What a model says of itself by its metadata, and its ``format``. Raises RunError for one of a newer trigpoint."""
    version = int(entries.get(FORMAT_KEY, "0"))
    if version > FORMAT:
        raise RunError(
            f"{path}: expected a model of format {FORMAT}, got {version}, which a newer trigpoint wrote; "
            "pip install --upgrade trigpoint"
        )
    about: dict[str, Any] = json.loads(entries[ABOUT_KEY])
    return about | {"format": version}
