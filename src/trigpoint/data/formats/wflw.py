"""WFLW lists (Wu et al. 2018): one face a line, 98 points, a box, six attributes and the image's name."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, read_text, shown, write_text
from trigpoint.data.formats.base import Format, annotation_files
from trigpoint.data.formats.collected import Collected, Mark
from trigpoint.data.table import format_number
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import ABSENT, FloatArray, LandmarkSet, Normalizer, Sample

NAMES = tuple(f"w{index:02d}" for index in range(98))
_PAIRS = (
    *((k, 32 - k) for k in range(16)),  # contour
    (33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47),  # brows
    (55, 59), (56, 58),  # nose
    (60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73), (96, 97),  # eyes
    (76, 82), (77, 81), (78, 80), (83, 87), (84, 86), (88, 92), (89, 91), (93, 95),  # mouth
)  # fmt: skip
_FACES = ("all", "largest")
_AFTER = 10  # numbers after the points: a box of four, six attributes


class Wflw(Format):
    """The 98 landmarks w00 to w97 in the order of the lists, with their pairs and the outer eye corners for the NME.

    A list is ``list_98pt_rect_attr_train.txt`` or ``..._test.txt``, whose name gives the split, or one without boxes
    and attributes (points and name only). Several faces in an image are instances 1, 2, ...; ``faces=largest`` keeps
    one of each image, the one with the largest box around its points. Images are looked for below ``images``. The
    numbers are kept as they are; the authors do not say where a pixel has its origin. Boxes and attributes are not
    kept; they are written from the points and as 0. The format cannot say that a landmark is missing or that an image
    shows no face: such sets are refused. Occluded points come back as visible; subjects are not stored.
    """

    def __init__(self, faces: str = "all") -> None:
        if faces not in _FACES:
            raise ConfigError(f"wflw: faces: unknown choice '{faces}'; {did_you_mean(str(faces), _FACES)}")
        self.faces = faces

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one list or a folder with ``list_98pt*.txt``. Raises DataError with file and line."""
        path = Path(source)
        _, folder, files = annotation_files(path, ".txt", images)
        if path.is_dir():
            files = [file for file in files if file.name.startswith("list_98pt")]
            if not files:
                raise DataError(f"{path}: expected lists named list_98pt*.txt, got none; name the list itself")
        found = Collected(path, folder, NAMES)
        rows: dict[Path, list[tuple[int, FloatArray, str]]] = {}
        after = 0
        for file in files:
            split = next((name for name in ("train", "test") if name in file.stem.lower()), "")
            for line, points, name, more in _faces(file):
                after += more
                try:
                    image = found.image(name)
                except DataError as error:
                    raise DataError(f"{file}, line {line}: {error}") from None
                rows.setdefault(image, []).append((line, points, split))
        if self.faces == "largest" and (left := sum(len(faces) - 1 for faces in rows.values())):
            found.problem(path, f"{left} faces are left out: a larger one is in the same image")
            rows = {
                image: [max(faces, key=lambda face: np.prod(np.ptp(face[1], axis=0)))] for image, faces in rows.items()
            }
        if after:
            found.problem(path, f"the boxes and attributes of {after} faces are not kept")
        many = any(len(faces) > 1 for faces in rows.values())
        for image, faces in rows.items():
            for order, (line, points, split) in enumerate(faces, start=1):
                marks = {name: Mark(float(x), float(y)) for name, (x, y) in zip(NAMES, points, strict=True)}
                found.add(image, marks, split=split, instance=str(order) if many else "", row=line)
        pairs = tuple((NAMES[a], NAMES[b]) for a, b in _PAIRS)
        return found.dataset(
            "wflw", landmarks=LandmarkSet(NAMES, pairs, normalizer=Normalizer("inter_ocular", ("w60", "w72")))
        )

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one list with boxes around the points and attributes of 0; landmarks are found by their names."""
        if missing := set(NAMES) - set(dataset.landmarks.names):
            got = f"got none called '{min(missing)}'"
            raise DataError(
                f"{target}: expected the 98 landmarks w00 to w97, as wflw has them, {got}; use another format"
            )
        picked = dataset.pick(NAMES)
        lines = [_text(sample, picked.image_name(sample)) for sample in picked.samples]
        return [write_text(target, "\n".join([*lines, ""]), overwrite=overwrite)]


def _text(sample: Sample, name: str) -> str:
    where = f"{sample.image}, row {sample.row}"
    if (sample.visibility == ABSENT).all() or not (sample.visibility > 0).all():
        first = NAMES[int(np.argmin(sample.visibility > 0))]
        raise DataError(f"{where}, landmark '{first}': expected all 98 points, got none here; wflw cannot store a gap")
    if name.strip() != name or any(letter in name for letter in "\r\n"):
        raise DataError(f"{where}: expected a name without line breaks and outer spaces, as wflw needs; rename it")
    low, high = np.floor(sample.points.min(axis=0)), np.ceil(sample.points.max(axis=0))
    numbers = [*sample.points.ravel(), *low, *high]
    return " ".join([*(format_number(float(value)) for value in numbers), *"000000", name])


def _faces(file: Path) -> Iterator[tuple[int, FloatArray, str, bool]]:
    """(line, points (98, 2), image name, whether a box and attributes follow the points) of each face."""
    count = 2 * len(NAMES)
    for line, raw in enumerate(read_text(file).splitlines(), start=1):
        if not raw.strip():
            continue
        cells = raw.split(maxsplit=count + _AFTER)
        values = [number(cell) for cell in cells[: count + _AFTER]]
        more = len(cells) > count + _AFTER and None not in values[count:]
        if not more:
            cells = raw.split(maxsplit=count)
        nameless = not more and all(number(cell) is not None for cell in cells[-1].split()) and " " in cells[-1].strip()
        if len(cells) <= count or None in values[:count] or nameless:
            bad = next(
                (cell for cell, value in zip(cells, values, strict=False) if value is None), f"{len(cells)} cells"
            )
            expected = "expected 98 points, a box, six attributes and the image's name"
            raise DataError(f"{file}, line {line}: {expected}, got {shown(bad)}")
        points = np.array(values[:count], np.float64).reshape(-1, 2)
        yield line, points, cells[-1].strip(), more
