"""Splits that never divide a subject, made from a seed and stored in the table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import csv_text, read_csv, write_text
from trigpoint.data.subsets import stable_order
from trigpoint.data.table import read_table
from trigpoint.errors import DataError

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


def grouped_split(
    groups: Sequence[str], fractions: Mapping[str, float] | None = None, seed: int = 0
) -> tuple[str, ...]:
    """A split name for each row, all rows of one group in the same split.

    ``groups`` (N,) is the subject of each row (``LandmarkDataset.groups`` falls back to the image). Groups are taken in
    an order that depends on their names and the seed only, each into the split that lacks most rows. Every split gets
    at least one group. Raises DataError for fractions that are not positive or do not add up to 1, and for fewer groups
    than splits.

    >>> grouped_split(["anna", "anna", "ben", "cleo"], {"train": 0.5, "test": 0.5}, seed=1)
    ('train', 'train', 'test', 'test')
    """
    parts = dict(FRACTIONS if fractions is None else fractions)
    if not parts or any(not share > 0 for share in parts.values()) or abs(sum(parts.values()) - 1) > 1e-6:
        raise DataError(f"split fractions: expected positive shares that add up to 1, got {parts}")
    rows = Counter(groups)
    if len(rows) < len(parts):
        least, fix = f"{len(parts)} splits need at least {len(parts)} subjects", "add images or name fewer splits"
        raise DataError(f"{least}, got {len(rows)}; {fix}")
    lacking = {name: share * len(groups) for name, share in parts.items()}
    empty = set(parts)
    chosen: dict[str, str] = {}
    for done, group in enumerate(sorted(rows, key=lambda key: (stable_order(key, seed), key))):
        must = len(rows) - done == len(empty)  # the rest is just enough to give each empty split one
        split = max((name for name in parts if not must or name in empty), key=lambda name: lacking[name])
        chosen[group] = split
        lacking[split] -= rows[group]
        empty.discard(split)
    return tuple(chosen[group] for group in groups)


def split_dataset(
    folder: str | Path, fractions: Mapping[str, float] | None = None, seed: int = 0, *, force: bool = False
) -> dict[str, int]:
    """Split a dataset folder by subject and store the result in its table; returns the number of rows per split.

    Raises DataError when the table has splits already and ``force`` is False, or cannot be read.
    """
    dataset = LandmarkDataset.load(folder, check_images=False)
    splits = grouped_split(dataset.groups, fractions, seed)
    write_split(folder, splits, force=force)
    names = FRACTIONS if fractions is None else fractions
    return {name: splits.count(name) for name in names}


def write_split(folder: str | Path, splits: Sequence[str], *, force: bool = False) -> Path:
    """Store one split name per sample of the table in its column ``split``; every other cell keeps its text.

    ``splits`` (N,) is in the order of the rows. Raises DataError when the table has splits already and ``force`` is
    False, or when the number of names differs from the number of rows; then the file is untouched.
    """
    table = read_table(folder)
    if len(splits) != len(table.samples):
        raise DataError(f"{table.table}: expected {len(table.samples)} split names, one per row, got {len(splits)}")
    stored = sorted({sample.split for sample in table.samples if sample.split})
    if stored and not force:
        fix = "allow replacing them with --force (force=True)"
        raise DataError(f"{table.table}: expected no splits, got {', '.join(stored)}; {fix}")
    rows = read_csv(table.table)
    header = [cell.strip() for cell in rows[0]]
    if "split" not in header:
        place = header.index("image") + 1
        for cells in filter(None, rows):
            cells.insert(place, "")
        rows[0][place] = "split"
        header.insert(place, "split")
    column = header.index("split")
    for sample, split in zip(table.samples, splits, strict=True):
        rows[sample.row - 1][column] = split
    return write_text(table.table, csv_text(rows), overwrite=True)
