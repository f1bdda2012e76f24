"""Splits that never divide a subject, nor a picture and its copies, made from a seed and stored in the table."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import Progress, csv_text, read_csv, write_text
from trigpoint.data.subsets import stable_order
from trigpoint.data.table import read_table
from trigpoint.data.videos import frames_told, videos_of
from trigpoint.errors import DataError, counted

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
_TOLD = 3  # subjects that an error names


def grouped_split(
    groups: Sequence[str],
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    stored: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """A split name for each row, all rows of one group in the same split.

    ``groups`` (N,) is the subject of each row (``LandmarkDataset.groups`` falls back to the image). Groups are taken in
    an order that depends on their names and the seed only, each into the split that lacks most rows. Every split gets
    at least one group. ``stored`` (N,) are names that stay, blank where there is none: only the other rows are divided,
    those of a group with a stored name get that one. Raises DataError for fractions that are not positive or do not add
    up to 1, for fewer groups than splits, and for a group with two stored names and a blank.

    >>> grouped_split(["anna", "anna", "ben", "cleo"], {"train": 0.5, "test": 0.5}, seed=1)
    ('train', 'train', 'test', 'test')
    >>> grouped_split(["anna", "anna", "ben"], {"train": 0.5, "test": 0.5}, stored=["test", "", ""])
    ('test', 'test', 'train')
    """
    parts = checked_fractions(fractions)
    chosen = _kept(groups, stored or [""] * len(groups))
    rows = Counter(groups)
    free = [group for group in rows if group not in chosen]
    empty = set(parts) - set(chosen.values())
    if len(free) < len(empty):
        fewer = _fewer(parts, max(1, len(parts) - len(empty) + len(free)))
        raise DataError(
            f"{len(empty)} splits need at least {len(empty)} subjects, got {len(free)}; add images of others, or name "
            f"fewer splits: {fewer}"
        )
    lacking = {name: share * len(groups) for name, share in parts.items()}
    for group, split in chosen.items():
        if split in lacking:
            lacking[split] -= rows[group]
    for done, group in enumerate(sorted(free, key=lambda key: (stable_order(key, seed), key))):
        must = len(free) - done == len(empty)  # the rest is just enough to give each empty split one
        split = max((name for name in parts if not must or name in empty), key=lambda name: lacking[name])
        chosen[group] = split
        lacking[split] -= rows[group]
        empty.discard(split)
    before = stored or [""] * len(groups)
    return tuple(own or chosen[group] for own, group in zip(before, groups, strict=True))


def checked_fractions(fractions: Mapping[str, float] | None) -> dict[str, float]:
    """The shares by split. Raises DataError where they are not positive or do not add up to 1."""
    parts = dict(FRACTIONS if fractions is None else fractions)
    if not parts or any(not share > 0 for share in parts.values()) or abs(sum(parts.values()) - 1) > 1e-6:
        raise DataError(f"split fractions: expected positive shares that add up to 1, got {parts}")
    return parts


def _fewer(parts: Mapping[str, float], count: int) -> str:
    """Options that divide into fewer splits, the largest ones."""
    kept = sorted(parts, key=lambda name: -parts[name])[:count]
    total = sum(parts[name] for name in kept)
    shares = [round(parts[name] / total, 2) for name in kept[:-1]]
    shares.append(round(1 - sum(shares), 2))
    return "--fractions " + ",".join(f"{name}={share:g}" for name, share in zip(kept, shares, strict=True))


def _kept(groups: Sequence[str], stored: Sequence[str]) -> dict[str, str]:
    """The stored split of each group that has one."""
    found: dict[str, set[str]] = {}
    for group, split in zip(groups, stored, strict=True):
        if split:
            found.setdefault(group, set()).add(split)
    blank = {group for group, split in zip(groups, stored, strict=True) if not split}
    if torn := sorted(group for group in blank if len(found.get(group, ())) > 1):
        names = ", ".join(f"'{name.split(':', 1)[-1]}'" for name in torn[:_TOLD])
        raise DataError(
            f"expected each subject in one split, got {len(torn)} in several, and with blank rows, such as {names}; "
            "put each into one, or divide all rows anew: --force"
        )
    return {group: min(splits) for group, splits in found.items()}


def block_split(images: Sequence[str], fractions: Mapping[str, float] | None = None, seed: int = 0) -> tuple[str, ...]:
    """A split name for each row of a single subject, such as a video: a block of its frames for each split.

    ``images`` (N,) are names of the image of each row. Blocks follow one another in their natural order (``img2``
    before ``img10``): neighbouring frames are nearly equal, and so only those at the borders are in different splits.
    No frame is left out between blocks. The seed draws which split has which end. Raises DataError for fewer images
    than splits.

    >>> block_split(["f1", "f2", "f10", "f3"], {"train": 0.5, "val": 0.25, "test": 0.25}, seed=3)
    ('train', 'train', 'test', 'val')
    """
    parts = checked_fractions(fractions)
    order = sorted(set(images), key=natural)
    if len(order) < len(parts):
        fix = f"add images, or name fewer splits: {_fewer(parts, max(1, len(order)))}"
        raise DataError(f"{len(parts)} splits need at least {len(parts)} images, got {len(order)}; {fix}")
    names = list(parts)
    if int(stable_order("blocks", seed)[:8], 16) % 2:
        names.reverse()
    chosen: dict[str, str] = {}
    start, share = 0, 0.0
    for n, name in enumerate(names):
        share += parts[name]
        left = len(names) - n - 1  # splits that need an image each
        end = len(order) if not left else min(max(round(share * len(order)), start + 1), len(order) - left)
        chosen |= dict.fromkeys(order[start:end], name)
        start = end
    return tuple(chosen[image] for image in images)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their value."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def divided_rows(
    data: LandmarkDataset, fractions: Mapping[str, float] | None = None, seed: int = 0
) -> tuple[tuple[str, ...], str]:
    """A split name for each row of ``data``, and what to tell about it: by subject, or by blocks of a single one."""
    if len(set(data.groups)) == 1 and len(data.by_image()) > 1:
        names = [data.image_name(sample) for sample in data.samples]
        return block_split(names, fractions, seed), single_subject(data.groups[0])
    return grouped_split(data.groups, fractions, seed), ""


def single_subject(group: str) -> str:
    """What a division of one subject means, in words."""
    return (
        f"all images are of one subject, '{group.split(':', 1)[-1]}', so each subset is a block of its frames: numbers "
        "tell how well other frames of it are done, not other subjects"
    )


def split_dataset(
    folder: str | Path,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    *,
    force: bool = False,
    only_blank: bool = False,
    of: str | None = None,
    videos: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Split a dataset folder by subject and store the result in its table; returns the number of rows per split.

    Images with the same pixels or look are kept together, whatever their subjects; for that every image is decoded once
    (``progress``). A set of a single subject is divided by blocks of its images. With ``only_blank`` stored names stay,
    and rows without one get that of their subject, else what the fractions still lack. With ``of`` only the rows of
    that split are divided, such as official training images into those and a test (``fractions`` None: 0.85, 0.15).
    With ``videos`` images without a subject that are frames of a video by their names get its name as their subject,
    which is stored as well. ``tell`` is called with what somebody should know about the division.

    Raises DataError when the table has splits already and none of ``force``, ``only_blank`` and ``of`` is given, when
    with ``only_blank`` none is blank, with ``videos`` no image is a frame, and when it cannot be read; then nothing is
    written.
    """
    dataset = LandmarkDataset.load(folder, check_images=False)
    subjects = None
    parts, tell = checked_fractions(fractions or (None if of is None else shares_of(of))), tell or (lambda text: None)
    before = [sample.split for sample in dataset.samples]
    if videos:
        dataset = _with_videos(dataset, tell)
        subjects = [sample.subject for sample in dataset.samples]
    elif alone := frames_told(dataset.samples, f"'trigpoint data split {folder} --videos{' --force' * any(before)}'"):
        tell(f"warning: {alone}")
    if only_blank and all(before):
        raise DataError(f"{dataset.table}: expected rows without a split, got none; leave the table as it is")
    if of is not None:
        chosen = dataset.only(of)  # raises
        fresh = iter(_divided(chosen, [""] * len(chosen), parts, seed, tell, progress))
        splits = tuple(next(fresh) if split == of else split for split in before)
    elif only_blank:
        splits = _divided(dataset, before, parts, seed, tell, progress)
    else:
        _refuse_stored(dataset, force)
        splits = _divided(dataset, [""] * len(dataset), parts, seed, tell, progress)
        moved = sum(bool(old) and old != new for old, new in zip(before, splits, strict=True))
        if moved:
            tell(f"{moved} of {sum(map(bool, before))} rows that were in a split are in another one now")
    write_split(folder, splits, force=True, subjects=subjects)
    return {name: splits.count(name) for name in dict.fromkeys([*parts, *splits])}


def shares_of(split: str) -> dict[str, float]:
    """The usual shares where one split is divided: most stays, the rest is for a test (or for validation)."""
    return {split: 0.85, "val" if split == "test" else "test": 0.15}


def _divided(
    dataset: LandmarkDataset,
    stored: Sequence[str],
    parts: Mapping[str, float],
    seed: int,
    tell: Callable[[str], None],
    progress: Progress | None,
) -> tuple[str, ...]:
    """A split name for each row, those that are ``stored`` kept."""
    from trigpoint.data.quality.copies import joined  # needs torch, which most users of the set do not
    from trigpoint.data.quality.pictures import read_pictures

    blank = not any(stored)
    if len(set(dataset.groups)) == 1 and (len(set(stored)) > 2 or (blank and len(dataset) > 1)):
        splits, told = divided_rows(dataset, parts, seed) if blank else (_between(dataset, stored), "")
        tell(told or single_subject(dataset.groups[0]))
        return splits
    pictures = read_pictures(dict.fromkeys(sample.image for sample in dataset.samples), progress)
    if lost := [str(file) for file, picture in pictures.items() if picture.damage]:
        tell(f"{len(lost)} images cannot be read, so copies of them are not known, such as {lost[0]}")
    groups, notes = joined(dataset.groups, [pictures[sample.image] for sample in dataset.samples], len(parts))
    try:
        splits = grouped_split(groups, parts, seed, _labelled_first(dataset, groups, parts, seed, stored, tell))
    except DataError as error:
        raise DataError(f"{dataset.table}: {error}") from None
    for note in notes:
        tell(note)
    return splits


def _labelled_first(
    dataset: LandmarkDataset,
    groups: Sequence[str],
    parts: Mapping[str, float],
    seed: int,
    stored: Sequence[str],
    tell: Callable[[str], None],
) -> Sequence[str]:
    """``stored``, or, where all are blank and some images have no label, the splits of those that have: each subset
    gets its share of them, whatever it gets of the others. As stored where the labelled are too few for that."""
    known = [i for i, sample in enumerate(dataset.samples) if dataset.instances or (sample.visibility > 0).any()]
    if any(stored) or not 0 < len(known) < len(dataset):
        return stored
    tell(f"{len(dataset) - len(known)} of {len(dataset)} rows have no label yet; the others are divided first")
    try:
        own = grouped_split([groups[i] for i in known], parts, seed)
    except DataError:
        return stored
    first = [""] * len(dataset)
    for i, split in zip(known, own, strict=True):
        first[i] = split
    return first


def _between(dataset: LandmarkDataset, stored: Sequence[str]) -> tuple[str, ...]:
    """Splits of a single subject's rows where some have one: a row without gets that of the nearest frame with one."""
    keys = [natural(dataset.image_name(sample)) for sample in dataset.samples]
    place = {i: n for n, i in enumerate(sorted(range(len(keys)), key=lambda i: keys[i]))}
    known = [i for i, split in enumerate(stored) if split]
    return tuple(
        split or stored[min(known, key=lambda other: abs(place[other] - place[i]))] for i, split in enumerate(stored)
    )


def _refuse_stored(dataset: LandmarkDataset, force: bool) -> None:
    stored = sorted(dataset.splits())
    if not stored or force:
        return
    blank = sum(not sample.split for sample in dataset.samples)
    rest = "every row is in one, so nothing has to be done"
    if blank:
        rest = f"fill only the {blank} blank rows with --only-blank (only_blank=True)"
    counts = ", ".join(f"{name} {dataset.splits()[name]}" for name in stored)
    fix = f"{rest}, or divide all rows anew with --force (in Python force=True)"
    raise DataError(f"{dataset.table}: expected no splits, got {counts}; {fix}")


def _with_videos(dataset: LandmarkDataset, tell: Callable[[str], None]) -> LandmarkDataset:
    """The same with the video as the subject of images that are frames by their names and have none."""
    videos = videos_of(dataset.samples)
    if not any(videos):
        got = "got a subject in every row" if all(s.subject for s in dataset.samples) else "got other names"
        raise DataError(
            f"{dataset.table}: --videos: expected rows without a subject with images that are called as frames of a "
            f"video, such as mouse_000010.png, {got}; leave it out, or fill in the column 'subject'"
        )
    tell(f"subject: {counted(sum(map(bool, videos)), 'row')} of {counted(len({*videos} - {''}), 'video')} named")
    own = [replace(s, subject=s.subject or video) for s, video in zip(dataset.samples, videos, strict=True)]
    return replace(dataset, samples=own)


def write_split(
    folder: str | Path, splits: Sequence[str], *, force: bool = False, subjects: Sequence[str] | None = None
) -> Path:
    """Store one split name per sample of the table in its column ``split``; every other cell keeps its text.

    ``splits`` (N,) is in the order of the rows, as ``subjects`` (N,) for the column ``subject`` is where it is given.
    Raises DataError when the table has splits already and ``force`` is False, or when the number of names differs from
    the number of rows; then the file is untouched.
    """
    table = read_table(folder)
    if len(splits) != len(table.samples):
        raise DataError(f"{table.table}: expected {len(table.samples)} split names, one per row, got {len(splits)}")
    stored = sorted({sample.split for sample in table.samples if sample.split})
    if stored and not force:
        fix = "allow replacing them with force=True"
        raise DataError(f"{table.table}: expected no splits, got {', '.join(stored)}; {fix}")
    rows = read_csv(table.table)
    header = [cell.strip() for cell in rows[0]]
    for name, texts in (("subject", subjects), ("split", splits)):
        if texts is None:
            continue
        if name not in header:
            place = header.index("image") + 1
            for cells in filter(None, rows):
                cells.insert(place, "")
            rows[0][place] = name
            header.insert(place, name)
        column = header.index(name)
        for sample, text in zip(table.samples, texts, strict=True):
            rows[sample.row - 1][column] = text
    return write_text(table.table, csv_text(rows), overwrite=True)
