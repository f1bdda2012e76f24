"""What an image is, whatever its name: hashes of its file, pixels and annotations, and its look.

The look finds copies that no hash finds: other brightness, contrast, gamma, bit depth, size or compression. It is the
order of neighbouring cells of a small grey version, so what keeps the order of grey values keeps the look. Its cost:
about 1 ms for 256 x 256 pixels with decoding, 25 ms for 1935 x 2400 (one core).
"""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import csv_text, open_file, reachable, read_csv
from trigpoint.data.pixels.images import ImageData, read_image
from trigpoint.errors import DataError, RunError

Looks = npt.NDArray[np.int8]

COPY = 0.85
"""Similarity from which two images count as copies. Measured: 23 known copies among 300 cephalograms, some with another
window, have 0.98 and more, no other pair of them more than 0.79, nor any two of 3755 photographs of 276 faces; gamma
0.4 to 2.5, clipped contrast, JPEG quality 30, half the size and noise leave 0.91 and more."""
_SIDE = 32  # cells of the small grey version, across and down
_LOOK = 2 * _SIDE * (_SIDE - 1)
_FLAT = 0.003  # of the range of grey: neighbours that differ by less have no order, else noise would be their order
_LEAST = 0.25  # share of neighbours that must have an order in both images
_SAMPLED = 1024  # pixels along the shorter side that are enough
_BLOCK = 1024  # images that are compared at a time


@dataclass(frozen=True)
class ImageRecord:
    """One row of a run's ``data.csv``: an image as it was learned from.

    ``part`` is train, val or unlabelled; ``stamp`` size and time of the file; the hashes are BLAKE2b of 128 bits, of
    the annotations (``labels``), the file's bytes and the decoded pixels; all but ``labels`` are empty for an image
    that could not be read.
    """

    image: str
    part: str
    labels: str
    stamp: str = ""
    file: str = ""
    pixels: str = ""
    look: str = ""


class Match(NamedTuple):
    """An image and what it is a copy of; ``similarity`` 1 means the same pixels."""

    image: str
    twin: ImageRecord
    similarity: float


def pixel_hash(image: ImageData) -> str:
    """Hash of the decoded pixels, their type and shape."""
    values = np.ascontiguousarray(image.pixels)
    digest = _hash(f"{values.dtype} {values.shape}".encode())
    digest.update(values.data)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Hash of the file's bytes. Raises DataError when it cannot be read."""
    with open_file(path) as stream, reachable(path):
        return hashlib.file_digest(stream, _hash).hexdigest()


def look_of(pixels: npt.NDArray[Any]) -> Looks:
    """Which of two neighbouring cells of ``pixels`` (C, H, W) is brighter: (1984,) of 1, -1, or 0 where they are equal.

    >>> ramp = np.broadcast_to(np.arange(64.0), (1, 64, 64))
    >>> look = look_of(ramp)
    >>> bool((look[:992] == 1).all()), bool(look[992:].any())
    (True, False)
    >>> bool((look_of((ramp + 16) ** 2) == look).all())
    True
    """
    step = max(1, min(pixels.shape[1:]) // _SAMPLED)
    planes = [torch.from_numpy(plane[::step, ::step].astype(np.float32)) for plane in pixels]
    grey = np.sum([functional.adaptive_avg_pool2d(plane[None], _SIDE)[0].numpy() for plane in planes], axis=0)
    low, high = np.percentile(grey, [1, 99])
    steps = np.concatenate([np.diff(grey, axis=1).ravel(), np.diff(grey, axis=0).ravel()])
    ordered = np.abs(steps) > _FLAT * (high - low)
    return np.asarray(np.sign(steps) * ordered, np.int8)


def look_text(look: Looks) -> str:
    """A look as text, for a table."""
    return base64.b64encode(np.packbits(np.stack([look > 0, look < 0])).tobytes()).decode("ascii")


def parse_look(text: str) -> Looks:
    """The look that ``look_text`` wrote; raises ValueError for any other text.

    >>> look = look_of(np.random.default_rng(0).random((1, 40, 50)))
    >>> bool((parse_look(look_text(look)) == look).all())
    True
    """
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if 8 * len(bits) != 2 * _LOOK:
        raise ValueError(f"expected a look of {2 * _LOOK} bits, got {8 * len(bits)}")
    brighter, darker = np.unpackbits(bits).reshape(2, _LOOK).astype(np.int8)
    return np.asarray(brighter - darker, np.int8)


def similarity(a: Looks, b: Looks) -> npt.NDArray[np.float32]:
    """Similarity (N, M) from 0 to 1 of looks (N, L) and (M, L): how much more neighbours agree than disagree.

    Neighbours without an order in either image do not count; 0 when too few are left to tell. A negative is as good as
    a copy.
    """
    own, other = a.astype(np.float32), b.astype(np.float32).T
    both = np.abs(own) @ np.abs(other)
    agreement: npt.NDArray[np.float32] = np.abs(own @ other) / np.maximum(both, 1)
    return np.where(both >= _LEAST * a.shape[1], agreement, np.float32(0))


def nearest(looks: Looks, among: Looks) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Of each of ``looks`` (N, L) the most similar one ``among`` (M, L), and how similar it is; 0 where M is 0."""
    best, place = np.zeros(len(looks), np.float32), np.zeros(len(looks), np.int64)
    for start in range(0, len(looks) if len(among) else 0, _BLOCK):
        rows = slice(start, start + _BLOCK)
        blocks = [similarity(looks[rows], among[first : first + _BLOCK]) for first in range(0, len(among), _BLOCK)]
        found = np.concatenate(blocks, axis=1)
        place[rows], best[rows] = found.argmax(axis=1), found.max(axis=1)
    return place, best


def take(
    data: LandmarkDataset,
    part: str,
    known: Iterable[ImageRecord] = (),
    *,
    trust_stamp: bool = False,
    skip: bool = False,
    read: Callable[[Path], ImageData] = read_image,
) -> list[ImageRecord]:
    """Records of all images of ``data``.

    An image whose file is as in ``known`` is not decoded, with ``trust_stamp`` not even opened when size and time are
    the same. ``skip``: an image that cannot be read gets a record without hashes; otherwise DataError names it.
    """
    before = {key: record for key, record in last_records(known).items() if record.pixels}

    def one(rows: tuple[int, ...]) -> ImageRecord:
        sample = data.samples[rows[0]]
        name, labels = data.image_name(sample), label_hash(data, rows)
        old = before.get((part, name))
        if old and old.labels == label_hash(data, rows, exact=True):
            labels = old.labels
        try:
            with reachable(sample.image):
                about = sample.image.stat()
            stamp = f"{about.st_size} {about.st_mtime_ns}"
            digest = old.file if old and trust_stamp and old.stamp == stamp else file_hash(sample.image)
            if old and old.file == digest:
                return replace(old, labels=labels, stamp=stamp)
            image = read(sample.image)
        except DataError:
            if not skip:
                raise
            return ImageRecord(name, part, labels)
        return ImageRecord(name, part, labels, stamp, digest, pixel_hash(image), look_text(look_of(image.pixels)))

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, data.by_image()))


def label_hash(data: LandmarkDataset, rows: Sequence[int], exact: bool = False) -> str:
    """Hash of the annotations of one image; of a set without landmarks, of its class.

    To a millionth of a pixel, for a program that writes a table anew may change the last digits of its numbers.
    ``exact``: to the last bit, as versions before 0.2 did.
    """
    digest = _hash(repr(data.landmarks.names).encode())
    own = [data.samples[row] for row in rows]
    digest.update(b"" if len(data.landmarks) else own[0].subject.encode())
    told = []
    for sample in own:
        shown = (sample.visibility > 0)[:, None] & np.isfinite(sample.points)
        points = np.where(shown, sample.points if exact else sample.points.round(6) + 0.0, -1e9).astype("<f8")
        unknown = sample.visibility == 0 if data.instances else np.zeros(0)  # told from absent only there
        told.append(points.tobytes() + unknown.astype(np.uint8).tobytes())
    digest.update(b"".join(sorted(told)))
    return digest.hexdigest()


def last_records(records: Iterable[ImageRecord]) -> dict[tuple[str, str], ImageRecord]:
    """The last record of each (part, image)."""
    return {(record.part, record.image): record for record in records}


def differences(then: Iterable[ImageRecord], now: Iterable[ImageRecord]) -> dict[str, str]:
    """Images of ``now`` that are not what they were ``then``, and what is different: "picture" or "annotation".

    One that could not be read at either time does not count.
    """
    before, found = last_records(then), {}
    for key, record in last_records(now).items():
        old = before.get(key)
        if old is not None and old.pixels and record.pixels and old.pixels != record.pixels:
            found[record.image] = "picture"
        elif old is not None and old.labels != record.labels:
            found[record.image] = "annotation"
    return found


def copies(data: LandmarkDataset, records: Sequence[ImageRecord], threshold: float = COPY) -> list[Match]:
    """Images of ``data`` that are among ``records`` by the bytes of the file, the pixels or the look, not by name.

    The similarity is 1 for equal bytes or pixels. Images that cannot be read are left out.
    """
    own = [record for record in take(data, "", skip=True) if record.pixels]
    by_content = {key: record for record in reversed(records) for key in (record.file, record.pixels) if key}
    compared = [record for record in records if record.look]
    place, best = nearest(*(stack_looks([record.look for record in part]) for part in (own, compared)))
    found = []
    for record, near, alike in zip(own, place, best, strict=True):
        twin = by_content.get(record.file) or by_content.get(record.pixels)
        if twin is not None:
            found.append(Match(record.image, twin, 1.0))
        elif alike >= threshold:
            found.append(Match(record.image, compared[near], min(float(alike), 0.9999)))
    return found


def stack_looks(texts: Sequence[str]) -> Looks:
    """Looks (N, 1984) from their texts."""
    return np.stack([parse_look(text) for text in texts]) if texts else np.zeros((0, _LOOK), np.int8)


def fingerprint(records: Iterable[ImageRecord]) -> str:
    """One hash of all images and annotations; names and order do not matter, parts do."""
    lines = sorted(f"{record.part} {record.labels} {record.pixels}" for record in last_records(records).values())
    return _hash("\n".join(lines).encode()).hexdigest()


def to_csv(records: Iterable[ImageRecord]) -> str:
    """The table ``data.csv``."""
    return csv_text([_COLUMNS, *(astuple(record) for record in records)])


def read_records(file: Path) -> list[ImageRecord]:
    """The records of a ``data.csv``. Raises RunError when it is damaged."""
    header, *rows = [row for row in read_csv(file, strict=False) if row] or [[]]
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            if sorted(header) != sorted(_COLUMNS) or len(row) != len(header):
                raise ValueError(f"expected the columns {', '.join(_COLUMNS)}")
            record = ImageRecord(**dict(zip(header, row, strict=True)))
            if record.look:
                parse_look(record.look)
        except ValueError as error:
            raise RunError(f"{file}, line {number}: damaged ({error}); put back the file that training wrote") from None
        found.append(record)
    return found


_COLUMNS = [column.name for column in fields(ImageRecord)]


def _hash(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=16)
