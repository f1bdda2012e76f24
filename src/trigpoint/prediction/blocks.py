"""Predictions of many images in blocks, files of their own, so that what was done is never done again.

A block holds what is found in some images, as it is found, with what these image files were. The blocks of a table lie
in the folder ``TABLE.blocks`` beside it, and are joined into the table in the order of the images, one in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import load_json, write_bytes, write_text
from trigpoint.errors import RunError, TrigpointError
from trigpoint.landmarks import ImageDetections, Spacing
from trigpoint.prediction.base import ImagePredictor
from trigpoint.prediction.broken import predict_sound
from trigpoint.runs.lock import locked

JOB, WORK = "job.json", "images.json"
SIZE = 256
"""Images of a block."""
# what decides of a run folder
_MODEL = ("weights.safetensors", "config.yaml", "landmarks.yaml", "trust.json", "shape.json")


@dataclass(frozen=True)
class Job:
    """Images to be predicted in blocks: their ``files`` and the ``names`` that the table ``out`` has for them.

    ``options`` are those that change what is found; ``batch_size`` and ``device`` change last digits at most.
    ``skip_broken``: images that cannot be read are left out.
    """

    run: Path
    files: tuple[Path, ...]
    names: tuple[str, ...]
    out: Path
    size: int = SIZE
    batch_size: int = 16
    device: str = "auto"
    group: float | None = None
    spacing_mm: Spacing | None = None
    skip_broken: bool = False

    @property
    def folder(self) -> Path:
        """Where the blocks are."""
        return self.out.with_name(f"{self.out.name}.blocks")

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return -(-len(self.files) // self.size)

    def images(self, block: int) -> slice:
        """Which images are in a block."""
        return slice(block * self.size, min((block + 1) * self.size, len(self.files)))

    def length(self, blocks: Sequence[int]) -> int:
        """How many images are in some blocks."""
        return sum(min(self.size, len(self.files) - block * self.size) for block in blocks)

    def file(self, block: int) -> Path:
        """Where a block is."""
        return self.folder / f"{block:06d}.npz"

    def own(self, shard: tuple[int, int] | None) -> range:
        """The blocks of shard I of N: I, I + N, ...; all without one."""
        return range(self.count) if shard is None else range(shard[0] - 1, self.count, shard[1])

    def keep(self) -> Path:
        """Write the job into its folder, for other processes and machines; see ``of``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"run": str(self.run.resolve()), "files": [str(file.absolute()) for file in self.files]}
        return write_text(self.folder / WORK, json.dumps(values | {"out": str(self.out.resolve())}), overwrite=True)

    @classmethod
    def of(cls, file: Path) -> Job:
        """The job that ``keep`` wrote."""
        values = load_json(file)
        values |= {"run": Path(values["run"]), "out": Path(values["out"])}
        values |= {"files": tuple(map(Path, values["files"])), "names": tuple(values["names"])}
        pair = values["spacing_mm"]
        return cls(**values | {"spacing_mm": None if pair is None else (pair[0], pair[1])})

    def about(self) -> dict[str, Any]:
        """What makes blocks those of this prediction."""
        listed = "\0".join(self.names).encode()
        options: dict[str, Any] = {
            "group": self.group,
            "spacing_mm": None if self.spacing_mm is None else list(self.spacing_mm),
        }
        if self.skip_broken:
            options |= {"skip_broken": True}
        return {
            "model": _digest(self.run),
            "images": hashlib.sha256(listed).hexdigest(),
            "number of images": len(self.files),
            "options": options,
            "images in a block": self.size,
        }


def _digest(run: Path) -> str:
    total = hashlib.sha256()
    for file in [run] if run.is_file() else [run / name for name in _MODEL if (run / name).is_file()]:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


class Blocks:
    """The blocks of a job that are there; see ``open`` and ``missing``."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.about = job.about()
        self.key = hashlib.sha256(json.dumps(self.about).encode()).hexdigest()

    def open(self, replace: bool = False) -> None:
        """Make the folder, or go on with it; ``replace``: blocks of another prediction are removed.

        Raises RunError where it holds such blocks.
        """
        other = self._other()
        if other and not replace:
            raise RunError(
                f"{self.job.folder}: holds blocks of another prediction (another {' and '.join(other)}); give the same "
                "run, images and options as before, or remove the folder, or begin anew with --force"
            )
        if other:
            shutil.rmtree(self.job.folder)
        if not (self.job.folder / JOB).is_file():
            write_text(self.job.folder / JOB, json.dumps(self.about, indent=1) + "\n", overwrite=True)

    def _other(self) -> list[str]:
        """In what the blocks that are there are of another prediction."""
        file = self.job.folder / JOB
        if not file.is_file():
            return []
        try:
            there: Mapping[str, Any] = load_json(file)
            return [key for key, value in self.about.items() if there[key] != value]
        except (KeyError, TypeError, TrigpointError):
            return ["damaged note"]

    def missing(self, among: Sequence[int] | None = None) -> list[int]:
        """Blocks that are not there, are damaged, or are of image files that have changed since."""
        wanted = range(self.job.count) if among is None else among
        return [block for block in wanted if not self._sound(block)]

    def _sound(self, block: int) -> bool:
        try:
            arrays = self._arrays(block)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        some = self.job.images(block)
        names, states = self.job.names[some], _states(self.job.files[some])
        same = str(arrays["key"]) == self.key and arrays["names"].tolist() == list(names)
        return same and np.array_equal(arrays["states"], states)

    def _arrays(self, block: int) -> dict[str, npt.NDArray[Any]]:
        """All arrays of a block, each compared with its checksum."""
        with np.load(self.job.file(block), allow_pickle=False) as stored:
            return {name: stored[name] for name in (*_ALWAYS, *(name for name in stored.files if name not in _ALWAYS))}

    def predict(self, predictor: ImagePredictor, block: int) -> int:
        """Predict a block and write it, whole or not at all; how many images it has."""
        some, size = self.job.images(block), self.job.batch_size
        files, names = self.job.files[some], self.job.names[some]
        states, found, why = _states(files), list[ImageDetections](), list[str]()
        for start in range(0, len(files), size):
            part = slice(start, start + size)
            if self.job.skip_broken:
                tried = predict_sound(predictor, files[part], names[part], size)
            else:
                tried = [*predictor.predict(files[part], size, names=names[part]).detections]
            for name, one in zip(names[part], tried, strict=True):
                why.append(one if isinstance(one, str) else "")
                found.append(_nothing(name, len(predictor.landmarks)) if isinstance(one, str) else one)
        spacings: list[Spacing | None] = []
        if predictor.measures:
            from trigpoint.prediction.measurements import spacings_of

            sound = iter(spacings_of([f for f, bad in zip(files, why, strict=True) if not bad], self.job.spacing_mm))
            spacings = [None if bad else next(sound) for bad in why]
        stream = io.BytesIO()
        about: dict[str, Any] = {"names": np.array(names, dtype=np.str_), "states": states, "key": np.array(self.key)}
        if any(why):
            about[_BROKEN] = np.array(why, dtype=np.str_)
        np.savez(stream, **(_packed(found, spacings) | about))
        write_bytes(self.job.file(block), stream.getbuffer(), overwrite=True)
        return len(files)

    def read(self, block: int) -> tuple[list[ImageDetections], list[Spacing | None]]:
        """What was found in the images of a block but those left out, and their pixel sizes if they were asked for."""
        arrays = self._arrays(block)
        found, spacings = _unpacked(arrays)
        kept = _kept(arrays)
        return [one for one, keep in zip(found, kept, strict=True) if keep], [
            pair for pair, keep in zip(spacings, kept, strict=False) if keep
        ]

    def broken(self) -> dict[str, str]:
        """The images that were left out, and why they cannot be read."""
        found: dict[str, str] = {}
        for block in range(self.job.count):
            with np.load(self.job.file(block), allow_pickle=False) as stored:
                if _BROKEN in stored.files:
                    pairs = zip(stored["names"].tolist(), stored[_BROKEN].tolist(), strict=True)
                    found |= {name: why for name, why in pairs if why}
        return found

    def spacings(self, block: int) -> npt.NDArray[np.float64]:
        """The pixel sizes (N, 2) of the images of a block, NaN = not known."""
        arrays = self._arrays(block)
        found: npt.NDArray[np.float64] = arrays["spacings"]
        return found[_kept(arrays)[: len(found)]]

    def numbers(self) -> set[str]:
        """The numbers beside the points that any block has."""
        found: set[str] = set()
        for block in range(self.job.count):
            with np.load(self.job.file(block), allow_pickle=False) as stored:
                found |= {name.removeprefix(_NUMBER) for name in stored.files if name.startswith(_NUMBER)}
        return found

    @contextmanager
    def held(self, shard: tuple[int, int] | None) -> Iterator[None]:
        """Keep others from this shard of the blocks, or from all: raises RunError where somebody is at them."""
        fix = "wait for it or end it"
        with ExitStack() as stack:
            if shard is not None:
                file = self.job.folder / f"shard-{shard[0]}-of-{shard[1]}.lock"
                stack.enter_context(locked(file, f"its shard {shard[0]}/{shard[1]} is being predicted", fix))
            else:
                stack.enter_context(locked(self.job.folder / "all.lock", "is being predicted", fix))
                for file in sorted(self.job.folder.glob("shard-*.lock")):
                    with locked(file, f"its {file.stem} is being predicted", fix):
                        pass
            yield

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.job.folder)


# -- a block as arrays -----------------------------------------------------------------------------------------------

_ALWAYS = ("key", "names", "states", "counts", "points", "scores", "scales", "looks", "spacings")
_NUMBER, _DOUBTS = "number-", "doubts"
_BROKEN = "broken"  # why images were left out, blank for the others


def _kept(arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Which images of a block were not left out."""
    return arrays[_BROKEN] == "" if _BROKEN in arrays else np.ones(len(arrays["names"]), dtype=bool)


def _nothing(name: str, landmarks: int) -> ImageDetections:
    """What stands in a block for an image that cannot be read."""
    return ImageDetections(name, np.zeros((0, landmarks, 2)), np.zeros((0, landmarks)))


def _states(files: Sequence[Path]) -> npt.NDArray[np.int64]:
    """Size in bytes and time of the last change of each (N, 2), -1 of what is not there."""
    rows = []
    for file in files:
        try:
            state = file.stat()
            rows.append((state.st_size, state.st_mtime_ns))
        except OSError:
            rows.append((-1, -1))
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _packed(found: Sequence[ImageDetections], spacings: Sequence[Spacing | None]) -> dict[str, npt.NDArray[Any]]:
    """Of N images with R rows in all: points (R, K, 2) and scores (R, K), by how many rows (N,) an image has."""
    unknown = (np.nan, np.nan)
    arrays: dict[str, npt.NDArray[Any]] = {
        "counts": np.array([len(one) for one in found], dtype=np.int64),
        "points": np.concatenate([one.points for one in found]),
        "scores": np.concatenate([one.scores for one in found]),
        "scales": np.array([one.scale for one in found], dtype=np.float64),
        "looks": np.array([one.look or unknown for one in found], dtype=np.float64),
        "spacings": np.array([pair or unknown for pair in spacings], dtype=np.float64).reshape(-1, 2),
    }
    for key in sorted({key for one in found for key in one.numbers}):
        rows = [one.numbers.get(key, np.full(one.scores.shape, np.nan)) for one in found]
        arrays[f"{_NUMBER}{key}"] = np.concatenate(rows)
    doubts = [one.doubt for one in found if one.doubt is not None]
    if doubts:  # a run tells of all images that can be read, or of none
        none = np.full_like(doubts[0], np.nan)
        arrays[_DOUBTS] = np.stack([none if one.doubt is None else one.doubt for one in found])
    return arrays


def _unpacked(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[list[ImageDetections], list[Spacing | None]]:
    ends = np.cumsum(arrays["counts"]).tolist()
    numbers = {name.removeprefix(_NUMBER): rows for name, rows in arrays.items() if name.startswith(_NUMBER)}
    found = []
    for i, (name, scale, look) in enumerate(
        zip(arrays["names"].tolist(), arrays["scales"].tolist(), arrays["looks"].tolist(), strict=True)
    ):
        rows = slice(ends[i - 1] if i else 0, ends[i])
        one = ImageDetections(name, arrays["points"][rows], arrays["scores"][rows], scale=scale)
        one.numbers = {key: values[rows] for key, values in numbers.items()}
        one.look = None if np.isnan(look[0]) else (look[0], look[1])
        one.doubt = arrays[_DOUBTS][i] if _DOUBTS in arrays else None
        found.append(one)
    return found, [None if np.isnan(pair[0]) else (pair[0], pair[1]) for pair in arrays["spacings"].tolist()]
