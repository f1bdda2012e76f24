"""The format's options, a project or table to a dataset, and a dataset to a csv."""

from collections import Counter
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.files import csv_text, inside, number, shown, write_text
from trigpoint.data.formats.base import Format
from trigpoint.data.formats.collected import Collected, reason
from trigpoint.data.formats.deeplabcut import project
from trigpoint.data.formats.deeplabcut.table import Table, read_table_of
from trigpoint.data.table import format_number, refuse_formulas
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import ABSENT, Sample

_UNIQUE = "single"  # the individual that owns the unique body parts


class DeepLabCut(Format):
    """Landmarks by their ``bodyparts`` name; ``individuals`` become instances.

    Read is a csv, an h5 (needs h5py; the labels that DeepLabCut trains on, not predictions of videos) or a whole
    project: every ``labeled-data/VIDEO/CollectedData_SCORER.csv``, videos in natural order. Order of the landmarks and
    skeleton come from the project's ``config.yaml``. Of several tables of a video that of the project's scorer is
    read; ``scorer`` chooses another. ``scorer`` is also written into the header.

    The image path stands in one column or in several (``labeled-data``, video, frame); of a path of another machine
    counts what follows ``labeled-data``. The folder of a frame, its video, is taken as the subject, since neighbouring
    frames must not be divided between splits. Coordinates count from 0 at the centre of the top-left pixel, as ours.
    ``likelihood`` is the score.

    Blank (or ``nan``) is missing; among individuals it is not annotated. An individual is known not to have a body
    part for which it has no columns, such as the unique ones of ``single``. Occluded points come back as visible;
    split, pairs and groups are not stored.
    """

    def __init__(self, scorer: str | None = None) -> None:
        self.scorer = None if scorer is None else str(scorer)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read a table or a project; ``images`` is the project folder (default: the nearest above that has them)."""
        path = Path(source)
        files = project.find_tables(path)
        tables, problems = _read_all(files)
        names = [table.name(cells) for table in tables for _, cells in table.frames()[:2]]
        rows = Collected(path, project.find_root(path, files, names) if images is None else Path(images))
        rows.image.loose = False  # every video has its img0001.png
        rows.problems += problems
        config = project.read_config(rows)
        tables = self._of_scorer(rows, tables, config.scorer)
        seen: dict[Path, tuple[Path, int]] = {}
        for table in tables:
            _take(rows, table, seen)
        parts = [part for table in tables for part in table.parts]
        marks = project.landmark_set(rows, config, parts)
        many = any(table.individuals for table in tables)
        return rows.dataset(path.resolve().stem if path.is_dir() else path.stem, landmarks=marks, instances=many)

    def _of_scorer(self, rows: Collected, tables: list[Table], preferred: str | None) -> list[Table]:
        """One table a video where the scorer is known; several scorers are told."""
        if self.scorer is not None:
            kept = [table for table in tables if self.scorer in table.scorers]
            if not kept:
                known = sorted({who for table in tables for who in table.scorers})
                raise DataError(f"{rows.source}: unknown scorer '{self.scorer}'; {did_you_mean(self.scorer, known)}")
        else:
            mine = {table.file.parent for table in tables if preferred in table.scorers}
            kept = [table for table in tables if preferred in table.scorers or table.file.parent not in mine]
        chosen = {table.file for table in kept}
        for table in tables:
            if table.file not in chosen:
                where = f"{table.file.parent.name}/{table.file.name}"
                rows.tally(rows.source, "tables of other scorers; left out, choose by --option scorer=NAME", where)
        counts = Counter(who for table in kept for who in table.scorers)
        if len(counts) > 1:
            told = ", ".join(f"{who} ({count} tables)" for who, count in counts.items())
            rows.problem(rows.source, f"labels of several scorers are read: {told}; choose one: --option scorer=NAME")
        return kept

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one csv with the image path in a single column; a dataset with instances gets ``individuals``.

        Where the dataset has scores, every landmark has a column ``likelihood``.
        """
        columns = _columns(dataset)
        scorer = self.scorer or "trigpoint"
        scored = any(sample.scores is not None for sample in dataset.samples)
        axes = ("x", "y", "likelihood") if scored else ("x", "y")
        cells = [(person, part, axis) for person, part in columns for axis in axes]
        rows = [["scorer", *([scorer] * len(cells))]]
        if dataset.instances:
            rows.append(["individuals", *(cell[0] for cell in cells)])
        rows += [["bodyparts", *(cell[1] for cell in cells)], ["coords", *(cell[2] for cell in cells)]]
        for indices in dataset.by_image():
            found = {dataset.samples[i].instance if dataset.instances else "": dataset.samples[i] for i in indices}
            row = [dataset.image_name(dataset.samples[indices[0]])]
            for person, part in columns:
                row += _cells(found.get(person), dataset.landmarks.index(part), len(axes))
            rows.append(row)
        for row in rows:
            refuse_formulas([cell for cell in row if number(cell) is None], str(target))
        return [write_text(target, csv_text(rows), overwrite=overwrite)]


def _read_all(files: list[Path]) -> tuple[list[Table], list[Problem]]:
    """The tables, and which could not be read. Raises DataError where it is the only one."""
    tables, problems = [], []
    for file in files:
        try:
            tables.append(read_table_of(file))
        except DataError as error:
            if len(files) == 1:
                raise
            problems.append(Problem(file, f"{reason(file, error)}; left out"))
    return tables, problems


def _take(rows: Collected, table: Table, seen: dict[Path, tuple[Path, int]]) -> None:
    """The frames of one table; what is wrong with a row is told."""
    width = table.paths + len(table.columns)
    for row, cells in table.frames():
        if len(cells) != width:
            rows.problem(table.file, f"expected {width} cells as in the header, got {len(cells)}; left out", row)
            continue
        name = table.name(cells)
        try:
            image = rows.image(_place(rows, table, name, row))
        except DataError as error:
            rows.problem(table.file, f"{error}; left out", row)
            continue
        file, first = seen.setdefault(image, (table.file, row))
        if (file, first) != (table.file, row):
            where = f"row {first}" if file == table.file else f"{file.name}, row {first}"
            rows.problem(table.file, f"expected each image once, got {shown(name)} again ({where}); left out", row)
            continue
        video = image.parent.name if table.paths > 1 or project.LABELED in image.parts else ""
        _add(rows, table, row, cells, image, video)


def _place(rows: Collected, table: Table, name: str, row: int) -> str:
    place, root = project.place(name), rows.images.resolve()
    if place != name and project.LABELED in place:
        rows.tally(table.file, "paths of another machine; they count from labeled-data on", f"row {row}")
    beside = table.file.resolve().parent / place
    if "/" not in place and inside(place) and beside.is_file() and beside.is_relative_to(root):
        return beside.relative_to(root).as_posix()  # older tables name the frame only
    return place


def _add(rows: Collected, table: Table, row: int, cells: list[str], image: Path, video: str) -> None:
    if not table.individuals:
        rows.add(image, table.marks(rows, row, cells, ""), subject=video, row=row)
        return
    people = {person: table.marks(rows, row, cells, person) for person in table.individuals}
    labelled = [who for who, marks in people.items() if any(mark.visibility > 0 for mark in marks.values())]
    if not labelled:
        rows.add(image, {}, subject=video, row=row)
        return
    known = {part for who in labelled for part, mark in people[who].items() if mark.visibility != ABSENT}
    for person, marks in people.items():
        blank = {part for part, mark in marks.items() if mark.visibility == 0}
        if person in labelled or blank - known:  # else the labelled ones say what is known of its body parts
            rows.add(image, marks, subject=video, instance=person, row=row)
            known |= blank


def _columns(dataset: LandmarkDataset) -> list[tuple[str, str]]:
    """(individual, bodypart) of each landmark that is written; unique body parts stand with ``single`` only."""
    parts = dataset.landmarks.names
    if not dataset.instances:
        return [("", part) for part in parts]
    who = list(dict.fromkeys(sample.instance for sample in dataset.samples if sample.instance))
    has = {person: np.zeros(len(parts), bool) for person in who}
    for sample in dataset.samples:
        if sample.instance:
            has[sample.instance] |= sample.visibility != ABSENT
    unique = has.get(_UNIQUE, np.zeros(len(parts), bool))
    if any((has[person] & unique).any() for person in who if person != _UNIQUE):
        unique = np.zeros(len(parts), bool)
    own = {person: unique if person == _UNIQUE and unique.any() else ~unique for person in who}
    return [(person, part) for person in who for part, mine in zip(parts, own[person], strict=True) if mine]


def _cells(sample: Sample | None, k: int, count: int) -> list[str]:
    if sample is None:
        return [""] * count
    score = np.nan if sample.scores is None or np.isnan(sample.points[k, 0]) else sample.scores[k]
    return [format_number(float(value)) for value in (*sample.points[k], score)][:count]
