"""Several people who label the same images: one table each, named by ``annotators`` in ``dataset.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import DESCRIPTION, Description, Problem, read_description
from trigpoint.data.files import refuse_existing, write_text
from trigpoint.data.table import raise_problems, read_table, table_text
from trigpoint.data.table_names import OnePlace, TableNames
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import FloatArray, IntArray, LandmarkSet, Sample

HOW = ("mean", "median")
"""How a consensus is made, or the name of the annotator who is right."""


def described(folder: str | Path) -> Description:
    """What ``dataset.yaml`` of a folder says. Raises DataError where it is wrong, or names no annotators."""
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place}: expected the folder of a dataset, got none there; check the path")
    problems: list[Problem] = []
    about = read_description(place, problems)
    raise_problems(problems)
    if not about.annotators:
        fix = "add 'annotators: {ann: landmarks_ann.csv, ben: landmarks_ben.csv}'"
        raise DataError(f"{place / DESCRIPTION}: expected the key 'annotators', got none; {fix}")
    return about


def table_of(about: Description, annotator: str) -> Path:
    """The table of an annotator. Raises DataError for one whom ``dataset.yaml`` does not name."""
    if annotator not in about.annotators:
        fix = f"{did_you_mean(annotator, about.annotators)}; or add a name and its table to 'annotators'"
        raise DataError(f"{about.file}: unknown annotator '{annotator}'; {fix}")
    return about.folder / about.annotators[annotator]


def begin_table(about: Description, annotator: str) -> Path:
    """The table of an annotator; where it is not there yet, it is made from the images of the set's own table.

    Nothing of the labels of others is taken: only the images with their subsets, subjects and spacing. Sets with
    instances, and those without a table, begin with no row.
    """
    own, main = table_of(about, annotator), about.folder / about.table
    if own.exists() or not main.is_file() or about.instances:
        return own
    known = read_table(about.folder, unlabelled=True)
    if known.instances:
        return own
    names = TableNames(about.folder, about.images_folder)
    blank = np.full((len(known.landmarks), 2), np.nan), np.zeros(len(known.landmarks), np.int64)
    rows = [replace(s, points=blank[0], visibility=blank[1], scores=None) for s in known.samples]
    called = [names.write(sample.image) for sample in rows]
    write_text(own, table_text(rows, known.landmarks, image_names=called))
    return own


def read_annotators(folder: str | Path) -> dict[str, LandmarkDataset]:
    """The labels of each annotator who has begun, in the order of ``dataset.yaml``.

    Raises DataError where fewer than two have labelled anything, and for sets with instances, whose objects bear no
    common names.
    """
    about = described(folder)
    found = begun(about)
    if len(found) < 2:
        got = f"got {next(iter(found))} alone" if found else "got none"
        raise DataError(f"{about.file}: expected labels of two annotators or more, {got}; let another one label first")
    return found


def begun(about: Description) -> dict[str, LandmarkDataset]:
    """The labels of each annotator who has any; errors as of ``read_annotators``, but there may be less than two."""
    found: dict[str, LandmarkDataset] = {}
    for name in about.annotators:
        file = table_of(about, name)
        if not file.is_file() or not any((s.visibility > 0).any() for s in read_table(file, unlabelled=True).samples):
            continue
        found[name] = LandmarkDataset.load(file, check_images=False)
        if found[name].instances:
            raise DataError(f"{file}: expected one object in an image, got a set with instances; compare them by hand")
    return found


def left_out(about: Description, sets: Mapping[str, LandmarkDataset]) -> list[str]:
    """What is not compared, in words: annotators who have not begun, and landmarks that not all tables have."""
    idle = [name for name in about.annotators if name not in sets]
    lines = [f"left out: {', '.join(idle)}, with no labels yet"] if idle else []
    names = dict.fromkeys(name for data in sets.values() for name in data.landmarks.names)
    some = [name for name in names if any(name not in data.landmarks.names for data in sets.values())]
    if some:
        lines.append(f"left out: landmarks that not all tables have: {', '.join(some)}")
    return lines


def stacked(sets: Mapping[str, LandmarkDataset]) -> tuple[list[Sample], tuple[str, ...], FloatArray, IntArray]:
    """All labels side by side: images, landmarks, points (A, N, K, 2), NaN = not labelled, and visibility (A, N, K).

    The images are those of any annotator, each by its first sample; landmarks are those that all tables have.
    """
    same, rows = OnePlace(), dict[Path, dict[str, Sample]]()
    first, *others = sets.values()
    names = tuple(n for n in first.landmarks.names if all(n in other.landmarks.names for other in others))
    if not names:
        raise DataError(f"{first.table}: expected landmarks that the tables of all annotators have, got none; rename")
    for annotator, data in sets.items():
        for sample in data.pick(names).samples:
            rows.setdefault(same(sample.image), {})[annotator] = sample
    points = np.full((len(sets), len(rows), len(names), 2), np.nan)
    seen = np.zeros(points.shape[:3], np.int64)
    for a, annotator in enumerate(sets):
        for n, own in enumerate(rows.values()):
            if annotator in own:
                points[a, n], seen[a, n] = own[annotator].points, own[annotator].visibility
    return [next(iter(own.values())) for own in rows.values()], names, points, seen


def consensus(sets: Mapping[str, LandmarkDataset], how: str) -> tuple[list[Sample], LandmarkSet, int]:
    """One label from several: samples, landmarks, and how many points not all annotators have placed.

    ``how``: the mean or the median of those who placed a landmark, or the name of the annotator whose labels count. A
    point is visible where at least half of them say so. Raises DataError for another word.
    """
    if how not in HOW and how not in sets:
        raise DataError(f"--how: expected {' or '.join(HOW)} or an annotator, got '{how}'; valid: {', '.join(sets)}")
    images, names, points, seen = stacked(sets)
    if how in sets:
        own = [*sets].index(how)
        points, seen = points[own : own + 1], seen[own : own + 1]
    placed = (seen > 0) & np.isfinite(points).all(-1)
    count = placed.sum(0)
    total = np.full(points.shape[1:], np.nan)
    middle = np.nanmedian if how == "median" else np.nanmean
    some = count > 0
    total[some] = middle(np.where(placed[..., None], points, np.nan)[:, some], axis=0)
    visible = ((seen == 2) & placed).sum(0) * 2 >= count
    state = np.where(some, np.where(visible, 2, 1), 0).astype(np.int64)
    samples = [
        replace(sample, points=point, visibility=known, scores=None)
        for sample, point, known in zip(images, total, state, strict=True)
    ]
    first = next(iter(sets.values()))
    return samples, first.landmarks.pick(names), int((some & (count < len(points))).sum())


def write_consensus(about: Description, samples: Sequence[Sample], marks: LandmarkSet, out: Path, force: bool) -> None:
    """Write the rows as a table. Subsets, subjects and spacings are those of the set's own table, where it has them."""
    refuse_existing(out, force)
    main, same = about.folder / about.table, OnePlace()
    known = read_table(about.folder, unlabelled=True).samples if main.is_file() else ()
    told = {same(sample.image): sample for sample in known}
    rows = []
    for sample in samples:
        own = told.get(same(sample.image), sample)
        spacing = None if own.spacing_mm == about.spacing_mm else own.spacing_mm
        rows.append(replace(sample, split=own.split, subject=own.subject, spacing_mm=spacing))
    order = {image: place for place, image in enumerate(told)}
    rows.sort(key=lambda row: order.get(same(row.image), len(order)))
    names = TableNames.of(out)
    write_text(out, table_text(rows, marks, image_names=[names.write(row.image) for row in rows]), overwrite=force)
