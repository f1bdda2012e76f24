"""Native tables and descriptions as they are written: the shortest text that reads back to the same values."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from trigpoint.data.description import DEFAULT_TABLE, DESCRIPTION, description_text
from trigpoint.data.files import csv_text, is_formula, refuse_existing, same_content, shown, utf8, whole
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample, Spacing

OBLONG = ("spacing_x_mm", "spacing_y_mm")  # columns where pixels are not square


def write_table(
    folder: str | Path,
    samples: Sequence[Sample],
    landmarks: LandmarkSet,
    *,
    image_names: Sequence[str],
    name: str = "",
    spacing_mm: float | Spacing | None = None,
    instances: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write ``dataset.yaml`` and ``landmarks.csv`` (not the images); ``image_names`` (N,) fill column image.

    Coordinates are written with the shortest text that reads back to the same float. Raises DataError when a file
    exists and ``overwrite`` is False; then neither is touched.
    """
    target = Path(folder)
    about = description_text(name or target.resolve().name, landmarks, spacing_mm, instances)
    text = table_text(samples, landmarks, image_names=image_names, instances=instances)
    set_writer(target, {DEFAULT_TABLE: text}, about, overwrite=overwrite)()
    return target


def set_writer(folder: Path, tables: Mapping[str, str], about: str, *, overwrite: bool = False) -> Callable[[], None]:
    """Writes tables and then ``dataset.yaml``, which ends every set, when it is called: after the images, that is.

    Raises DataError at once when a file is in the way. Without a ``dataset.yaml``, a table with just this text is of a
    command that was stopped.
    """
    files = {folder / name: utf8(folder / name, text) for name, text in {DESCRIPTION: about, **tables}.items()}
    left = {file: data for file, data in files.items() if not same_content(file, data)}
    for file in files if folder / DESCRIPTION not in left else left:
        refuse_existing(file, overwrite)

    def write() -> None:
        with ExitStack() as stack:  # leaves in the reverse order: dataset.yaml appears last, after all are on the disk
            for file, data in left.items():
                stream = stack.enter_context(whole(file, overwrite=overwrite))
                stream.write(data)
                stream.flush()

    return write


def table_text(
    samples: Sequence[Sample], landmarks: LandmarkSet, *, image_names: Sequence[str], instances: bool = False
) -> str:
    """The csv text of a table; ``image_names`` (N,) are those that its reader takes for the images.

    Scores are written where samples have them, visibility columns when a landmark is occluded or, with ``instances``,
    one is not annotated, since there a blank cell means ``ABSENT``. Raises DataError for a name that a spreadsheet
    would take for a formula.
    """
    told = (0, 1) if instances else (1,)
    shown = any(np.isin(sample.visibility, told).any() for sample in samples)
    spacings = [sample.spacing_mm for sample in samples]
    oblong = any(spacing is not None and spacing[0] != spacing[1] for spacing in spacings)
    spaced = list(OBLONG if oblong else ("spacing_mm",)) if any(spacings) else []
    scored = any(sample.scores is not None for sample in samples)
    header = ["image", "split", "subject", *(["instance"] if instances else []), *spaced]
    for mark in landmarks.names:
        header += [f"{mark}_x", f"{mark}_y", *([f"{mark}_v"] if shown else []), *([f"{mark}_score"] if scored else [])]
    refuse_formulas(header, "the header")
    rows = [header]
    for sample, image in zip(samples, image_names, strict=True):
        row = [image, sample.split, sample.subject, *([sample.instance] if instances else [])]
        refuse_formulas(row, str(sample.image))
        row += [format_number(side) for side in (sample.spacing_mm or (math.nan, math.nan))[: len(spaced)]]
        for k in range(len(landmarks)):
            row += [format_number(value) for value in sample.points[k]]
            if shown:
                seen = int(sample.visibility[k])
                row.append("" if instances and seen == ABSENT else str(max(seen, 0)))
            if scored:
                row.append("" if sample.scores is None else format_number(sample.scores[k]))
        rows.append(row)
    return csv_text(rows)


def refuse_formulas(cells: Sequence[str], where: str) -> None:
    """Raise DataError when a spreadsheet would calculate one of the cells that are to be written."""
    for cell in filter(is_formula, cells):
        got = f"got {shown(cell)}, which a spreadsheet would calculate"
        raise DataError(f"{where}: expected plain text for a table, {got}; rename it")


def format_place(value: float) -> str:
    """A coordinate that was calculated, in at most six decimals: what rounding of floats leaves behind is not written.

    >>> format_place(600 - 356.842), format_place(3.0), format_place(float("nan"))
    ('243.158', '3', '')
    """
    return format_number(round(value, 6) + 0.0)  # + 0.0: no -0


def format_number(value: float) -> str:
    """Shortest text that reads back to the same float; NaN is blank.

    >>> format_number(3.0), format_number(0.1), format_number(float("nan"))
    ('3', '0.1', '')
    """
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
