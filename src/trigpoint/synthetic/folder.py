"""Writing a synthetic set as a native dataset, and never over anything else.

The file ``synthetic.yaml`` marks a folder as one of ours: it names the drawing, its options, the number of images and a
digest of the table. Only what it accounts for is ever replaced.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data.description import DESCRIPTION, description_text
from trigpoint.data.files import Progress, whole, write_text
from trigpoint.data.table import set_writer
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, FloatArray, LandmarkSet

SPLITS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
MARK = "synthetic.yaml"
_TEXTS = (DESCRIPTION, "landmarks.csv", "distractors.csv")


@dataclass(frozen=True)
class Instance:
    """One set of landmarks in a frame: points (K, 2), NaN = missing; visibility (K,) of 0, 1, 2 or ``ABSENT``."""

    points: FloatArray
    visibility: npt.NDArray[np.int64]
    name: str = ""


@dataclass(frozen=True)
class Frame:
    """A drawn image (H, W) or (H, W, 3) uint8 and the truth about it."""

    image: npt.NDArray[np.uint8]
    instances: list[Instance]
    notes: list[dict[str, Any]] = field(default_factory=list)  # further truth, one row each, not part of the dataset


@dataclass(frozen=True)
class Plan:
    """What is to be written: the drawing's name and options, the dataset's facts, the shares of the splits."""

    kind: str
    count: int
    size: tuple[int, int]
    seed: int
    splits: Mapping[str, float]
    per_subject: int
    landmarks: LandmarkSet
    spacing_mm: float | None = None
    instances: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = {"count": (self.count, 1), "size": (min(self.size), 32), "per_subject": (self.per_subject, 1)}
        for option, (value, lowest) in (least | {"seed": (self.seed, 0)}).items():
            if value < lowest:
                raise ConfigError(f"{option}: expected at least {lowest}, got {value}")
        shares = list(self.splits.values())
        if not shares or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise ConfigError(f"splits: expected shares of 0 or more with the sum 1, got {dict(self.splits)}")

    def subject(self, index: int) -> int:
        """Number of the subject that image ``index`` shows."""
        return index // self.per_subject

    def random(self, *keys: int) -> np.random.Generator:
        """A generator for these keys alone, so that an image depends on its number and not on the count."""
        return np.random.default_rng([self.seed, *keys])


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) from one side or both."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def share_out(splits: Mapping[str, float]) -> Iterator[str]:
    """Splits of subject 0, 1, ...: each goes where most is lacking, so the shares hold to one for every count.

    >>> from itertools import islice
    >>> list(islice(share_out({"train": 0.7, "val": 0.15, "test": 0.15}), 5))
    ['train', 'train', 'val', 'train', 'test']
    """
    given = dict.fromkeys(splits, 0)
    for total in range(1, 1 << 62):
        name = max(splits, key=lambda split: splits[split] * total - given[split])
        given[name] += 1
        yield name


def write_set(folder: str | Path, plan: Plan, draw: Callable[[int, str], Frame], progress: Progress | None) -> Path:
    """Draw ``plan.count`` frames and write ``dataset.yaml``, ``landmarks.csv`` and ``images/``; returns the folder.

    Raises DataError when the folder holds anything that is not a synthetic set, or a table edited since it was drawn.
    """
    root = Path(folder)
    _clear(root, plan.count)
    mark = {"kind": plan.kind, "count": plan.count, "size": list(plan.size), "seed": plan.seed}
    mark |= {"splits": dict(plan.splits), "per_subject": plan.per_subject, **plan.options}
    write_text(root / MARK, to_yaml(mark), overwrite=True)  # first, so that an interrupted set is known as ours
    rows: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    splits = list(islice(share_out(plan.splits), plan.subject(plan.count - 1) + 1))
    for index in range(plan.count):
        subject, split = plan.subject(index), splits[plan.subject(index)]
        frame = draw(index, split)
        with whole(root / "images" / _image(index), overwrite=True) as stream:
            Image.fromarray(frame.image).save(stream, format="PNG", compress_level=1)
        rows += _rows({"image": _image(index), "split": split, "subject": f"s{subject:04d}"}, frame, plan)
        notes += [{"image": _image(index), **note} for note in frame.notes]
        if progress is not None:
            progress(index + 1, plan.count)
    tables = {"landmarks.csv": _text(rows), **({"distractors.csv": _text(notes)} if notes else {})}
    about = description_text(f"synthetic {plan.kind}", plan.landmarks, plan.spacing_mm, plan.instances)
    set_writer(root, tables, about, overwrite=True)()
    mark["sha256"] = {name: _digest(root / name) for name in _TEXTS if (root / name).exists()}
    write_text(root / MARK, to_yaml(mark), overwrite=True)
    return root


def _text(rows: list[dict[str, Any]]) -> str:
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n", float_format="%.4f")


def _rows(about: dict[str, Any], frame: Frame, plan: Plan) -> list[dict[str, Any]]:
    missing = ABSENT if plan.instances else 0
    blank = Instance(np.full((len(plan.landmarks), 2), np.nan), np.full(len(plan.landmarks), missing, np.int64))
    rows = []
    for instance in frame.instances or [blank]:
        row = about | ({"instance": instance.name} if plan.instances else {})
        for name, point, seen in zip(plan.landmarks.names, instance.points, instance.visibility, strict=True):
            row |= {f"{name}_x": point[0], f"{name}_y": point[1], f"{name}_v": "" if seen == ABSENT else str(seen)}
        rows.append(row)
    return rows


def _image(index: int) -> str:
    return f"{index:05d}.png"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _clear(root: Path, count: int) -> None:
    """Remove the synthetic set in ``root``; refuse when that, or writing ``count`` images, would lose other files."""
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: expected a folder to write to, got a file; choose another folder")
    for part in root.glob(".*.part"):  # of a command that was killed
        part.unlink()
    if not root.exists() or not any(root.iterdir()):
        return
    if not (root / MARK).is_file():
        raise DataError(f"{root}: expected an empty folder or a synthetic set, got other files; choose another folder")
    old = read_yaml(root / MARK)
    drawn = old.get("count")
    if not isinstance(drawn, int):
        expected = "expected the number of images as 'count'"
        raise DataError(f"{root / MARK}: {expected}, got {drawn!r}; choose another folder")
    digests = old.get("sha256") or {}
    for name in digests:
        if (root / name).exists() and _digest(root / name) != digests[name]:
            raise DataError(f"{root / name}: edited since it was drawn and would be lost; choose another folder")
    ours = [root / name for name in (_TEXTS if "sha256" not in old else digests)]  # first, or a part would look whole
    ours += [root / "images" / _image(index) for index in range(drawn)]
    new = [root / "images" / _image(index) for index in range(count)] + [root / name for name in _TEXTS]
    foreign = sorted({path.name for path in new if path.exists()} - {path.name for path in ours})
    if foreign:
        raise DataError(f"{root}: {', '.join(foreign)} is not of this synthetic set and would be lost; move it away")
    for path in ours:
        path.unlink(missing_ok=True)
