"""Datasets joined by the names of their landmarks; what differs between them is told or refused, never guessed."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.files import open_file, reachable
from trigpoint.data.saving import refuse_missing, stored_names
from trigpoint.data.table_names import OnePlace, same_file
from trigpoint.errors import DataError, counted
from trigpoint.landmarks import LandmarkSet, Measurement, Sample

_HEAD = 1 << 16  # bytes by which files of equal size are told apart before they are read whole
_SAME = 0.01  # pixels; annotations of one picture that are closer say the same

Place = tuple[str, Path]  # the label of a set, and an image of it


@dataclass
class _Part:
    """One of the sets: ``label`` names it in messages and names its folder; ``names`` of its images, row by row."""

    label: str
    data: LandmarkDataset
    names: list[str]


def merge_datasets(
    sets: Sequence[LandmarkDataset], labels: Sequence[str] = (), *, same_subjects: bool = False
) -> LandmarkDataset:
    """One dataset of all samples of ``sets``, to be saved; ``labels`` name the sets (default: their own names).

    Landmarks of one name are one landmark. One that a set lacks is not annotated in its images. Images of equal names
    get a folder for each set. A subject that two sets name is two subjects, told apart by the set's label, unless
    ``same_subjects``. A picture that two sets hold (the same bytes) becomes one row where they agree, and stays two
    where they do not. What was done and what contradicts is in ``problems``; what the first set says counts.

    Raises DataError for fewer than two sets, for one given twice, for multi-instance sets among others, and when images
    are missing, all at once.
    """
    parts = _parts(sets, labels)
    notes: list[str] = []
    marks = _landmarks(parts, notes)
    names = _image_names(parts, notes)
    pictures = _same_pictures(parts)
    subjects = _subjects(parts, same_subjects, pictures, notes)
    samples = []
    places: list[Place] = []
    for part, called in zip(parts, subjects, strict=True):
        samples += [_over(sample, part.data, marks, called.get(sample.subject)) for sample in part.data.samples]
        places += [(part.label, sample.image) for sample in part.data.samples]
    if parts[0].data.instances:
        _tell_pictures(pictures, notes)
    else:
        samples = _joined_pictures(pictures, dict(zip(places, samples, strict=True)), names, notes)
    _tell_splits(parts, samples, notes)
    spacings = {part.data.spacing_mm for part in parts}
    if len({sample.spacing_mm is None for sample in samples}) > 1:
        notes.append("some images have a pixel spacing and others have none, so no error is given in mm")
    where = Path("merged")
    told = [problem for part in parts for problem in part.data.problems] + [Problem(where, note) for note in notes]
    return LandmarkDataset(
        samples,
        marks,
        spacing_mm=parts[0].data.spacing_mm if len(spacings) == 1 else None,
        instances=parts[0].data.instances,
        problems=told,
        names=names,
    )


def _parts(sets: Sequence[LandmarkDataset], labels: Sequence[str]) -> list[_Part]:
    if len(sets) < 2:
        raise DataError(f"merge: expected at least two datasets, got {len(sets)}")
    many = [data.instances for data in sets]
    names = [label or data.name or "set" for label, data in zip(labels or [""] * len(sets), sets, strict=True)]
    for i, data in enumerate(sets):
        tables = [other.table for other in sets[:i] if other.table and data.table]
        if any(same_file(table, data.table) for table in tables if data.table):
            raise DataError(f"{data.table}: expected each dataset once, got this one again; name another")
        refuse_missing(data)
    if any(many) and not all(many):
        several, single = names[many.index(True)], names[many.index(False)]
        raise DataError(
            f"merge: expected sets of one kind, got the multi-instance set '{several}' and '{single}' with one row per "
            f"image; to join them, add 'instances: true' to dataset.yaml of '{single}' and a column 'instance' with 1 "
            "in every row"
        )
    plain = ["".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._") or "set" for name in names]
    used: Counter[str] = Counter()
    parts = []
    one = OnePlace()
    for label, data in zip(plain, sets, strict=True):
        used[label.casefold()] += 1
        own = label if used[label.casefold()] == 1 else f"{label}-{used[label.casefold()]}"
        placed = replace(data, samples=[replace(sample, image=one(sample.image)) for sample in data.samples])
        parts.append(_Part(own, placed, stored_names(data)))
    return parts


def _landmarks(parts: Sequence[_Part], notes: list[str]) -> LandmarkSet:
    """All landmarks in the order of the sets, with the pairs, groups and normaliser that do not contradict."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.data.landmarks.names))
    pairs: dict[str, tuple[str, str]] = {}
    groups: dict[str, tuple[str, ...]] = {}
    measurements: dict[str, Measurement] = {}
    length = None
    for part in parts:
        marks = part.data.landmarks
        if lacking := [name for name in names if name not in marks.names]:
            count = len(part.data.by_image())
            notes.append(f"'{part.label}' has no {_list(lacking)}: not annotated in its {counted(count, 'image')}")
        for pair in marks.pairs:
            known = [pairs[name] for name in pair if name in pairs]
            if known and {frozenset(other) for other in known} != {frozenset(pair)}:
                notes.append(f"'{part.label}' pairs {pair[0]} with {pair[1]}, a set before {known[0]}: left out")
            elif not known:
                pairs |= dict.fromkeys(pair, pair)
        for group, members in marks.groups.items():
            if group in groups and set(groups[group]) != set(members):
                notes.append(f"'{part.label}' has other landmarks in the group '{group}': it holds those of both")
            groups[group] = tuple(dict.fromkeys((*groups.get(group, ()), *members)))
        for name, one in marks.measurements.items():
            if measurements.setdefault(name, one) != one:
                notes.append(f"'{part.label}' has another measurement '{name}': that of a set before is kept")
        if length is None:
            length = marks.normalizer
        elif marks.normalizer not in (None, length):
            notes.append(f"'{part.label}' has another normalizer: '{length.name}' of a set before is kept")
    stated = [part.data.landmarks.mirrors or bool(part.data.landmarks.pairs) for part in parts]
    if any(stated) and not all(stated):
        silent = [part.label for part, known in zip(parts, stated, strict=True) if not known]
        notes.append(f"{_list(silent)}: says nothing about pairs; correct 'pairs' in dataset.yaml before you use flips")
    spelled: dict[str, str] = {}
    for name in names:
        other = spelled.setdefault("".join(filter(str.isalnum, name.casefold())), name)
        if other != name:
            notes.append(f"'{other}' and '{name}' are two landmarks; rename one if they are the same")
    mirrors = {part.data.landmarks.mirrors for part in parts}
    lines = tuple(dict.fromkeys(line for part in parts for line in part.data.landmarks.skeleton))
    mirrored = False if False in mirrors else True if mirrors == {True} else None
    return LandmarkSet(names, tuple(dict.fromkeys(pairs.values())), groups, length, mirrored, lines, measurements)


def _list(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _image_names(parts: Sequence[_Part], notes: list[str]) -> dict[Path, str]:
    """What each image is to be called: as in its set, or where two have one name, below a folder for each set."""
    first: dict[str, tuple[str, Path]] = {}
    twice: dict[str, str] = {}
    for part in parts:
        for sample, name in zip(part.data.samples, part.names, strict=True):
            key = unicodedata.normalize("NFC", name).casefold()
            label, image = first.setdefault(key, (part.label, sample.image))
            if label != part.label and image != sample.image:
                twice[key] = name
    if twice:
        labels = ", ".join(f"{part.label}/" for part in parts)
        notes.append(f"{len(twice)} image names are in several sets, such as {min(twice.values())}: now below {labels}")
    return {
        sample.image: f"{part.label}/{name}" if twice else name
        for part in reversed(parts)
        for sample, name in zip(part.data.samples, part.names, strict=True)
    }


def _subjects(
    parts: Sequence[_Part], same: bool, pictures: Sequence[Sequence[Place]], notes: list[str]
) -> list[dict[str, str]]:
    """The new names of the subjects of each set that other sets name too.

    Where two sets give a picture the same subject, their subjects are the same.
    """
    own = [{sample.subject for sample in part.data.samples if sample.subject} for part in parts]
    counts = Counter(name for subjects in own for name in subjects)
    shared = sorted(name for name, times in counts.items() if times > 1)
    if not shared:
        return [{} for _ in parts]
    what = f"{len(shared)} subjects are named by several sets, such as {shared[0]}"
    shown = {(part.label, sample.image): sample.subject for part in parts for sample in part.data.samples}
    known = any(len(names) > len({*names}) for names in ([shown[p] for p in group if shown[p]] for group in pictures))
    if same or known:
        notes.append(f"{what}: the same people, as {'you said' if same else 'pictures of them are in several sets'}")
        return [{} for _ in parts]
    first = next(part.label for part, names in zip(parts, own, strict=True) if shared[0] in names)
    notes.append(f"{what}: taken for different people, such as {first}/{shared[0]}; --same-subjects makes them one")
    return [{name: f"{part.label}/{name}" for name in shared} for part in parts]


def _over(sample: Sample, data: LandmarkDataset, marks: LandmarkSet, subject: str | None) -> Sample:
    """The sample with all landmarks; those that its set lacks are not annotated."""
    at = [marks.names.index(name) for name in data.landmarks.names]
    points, visibility = np.full((len(marks), 2), np.nan), np.zeros(len(marks), np.int64)
    points[at], visibility[at] = sample.points, sample.visibility
    scores = None if sample.scores is None else np.full(len(marks), np.nan)
    if scores is not None:
        scores[at] = sample.scores
    called = sample.subject if subject is None else subject
    return replace(sample, points=points, visibility=visibility, scores=scores, subject=called, row=0)


def _same_pictures(parts: Sequence[_Part]) -> list[list[Place]]:
    """The images with the same bytes, where they are of several sets: each as set and file."""
    of: dict[Path, list[str]] = {}
    for part in parts:
        for image in dict.fromkeys(sample.image for sample in part.data.samples):
            of.setdefault(image, []).append(part.label)
    groups: list[list[Path]] = [list(of)]
    finer: list[Callable[[Path], str]] = [lambda file: str(file.stat().st_size), partial(_digest, most=_HEAD), _digest]
    for key in finer:
        found: dict[tuple[int, str], list[Path]] = {}
        for i, group in enumerate(groups):
            for file in group:
                with reachable(file):
                    found.setdefault((i, key(file)), []).append(file)
        groups = [group for group in found.values() if len({label for file in group for label in of[file]}) > 1]
    return [[(label, file) for file in group for label in of[file]] for group in groups]


def _digest(file: Path, most: int = -1) -> str:
    with open_file(file) as stream, reachable(file):
        if most >= 0:
            return hashlib.blake2b(stream.read(most), digest_size=16).hexdigest()
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def _joined_pictures(
    pictures: Sequence[Sequence[Place]],
    samples: Mapping[Place, Sample],
    names: Mapping[Path, str],
    notes: list[str],
) -> list[Sample]:
    """The samples by set and file, where several sets have one picture and agree, as one."""
    left = dict(samples)
    joined, apart = [], []
    for group in pictures:
        kept, labels = group[0], {group[0][0]}
        for place in group[1:]:
            one, other = left[kept], left[place]
            reason = "both in one set" if place[0] in labels else _contradiction(one, other)
            if reason is not None and place[1] == kept[1]:
                raise DataError(
                    f"{place[1]}: '{kept[0]}' and '{place[0]}' disagree: {reason}; correct one, or drop its row"
                )
            if reason is not None:
                apart.append(f"{names[kept[1]]} and {names[place[1]]}: {reason}")
                continue
            labels.add(place[0])
            joined.append(names[kept[1]])
            left[kept] = _both(one, other)
            del left[place]
    if joined:
        notes.append(f"{len(joined)} pictures are in several sets and became one row each, such as {joined[0]}")
    if apart:
        notes.append(
            f"{len(apart)} pictures are in several sets and stay apart, as the sets disagree, such as {apart[0]}; "
            "keep one of each ('trigpoint data check' lists them)"
        )
    return list(left.values())


def _both(a: Sample, b: Sample) -> Sample:
    blank = a.visibility == 0
    return replace(
        a,
        points=np.where(blank[:, None], b.points, a.points),
        visibility=np.where(blank, b.visibility, a.visibility),
        scores=None if a.scores is None or b.scores is None else np.where(blank, b.scores, a.scores),
        split=a.split or b.split,
        subject=a.subject or b.subject,
        spacing_mm=b.spacing_mm if a.spacing_mm is None else a.spacing_mm,
    )


def _contradiction(a: Sample, b: Sample) -> str | None:
    """Why two annotations of one picture are not one; None where they agree."""
    if a.split and b.split and a.split != b.split:
        return f"one is in '{a.split}', the other in '{b.split}'"
    if (a.scores is None) != (b.scores is None):
        return "one is a prediction"
    both = (a.visibility > 0) & (b.visibility > 0)
    distance = np.hypot(*(a.points - b.points)[both].T).max(initial=0)
    if distance > _SAME:
        return f"annotated up to {distance:.3g} pixels apart"
    if a.spacing_mm is not None and b.spacing_mm is not None and a.spacing_mm != b.spacing_mm:
        return "the pixel spacings differ"
    return None


def _tell_pictures(groups: Sequence[Sequence[Place]], notes: list[str]) -> None:
    for (label, image), *others in groups:
        if both := [other for other, file in others if file == image]:
            raise DataError(
                f"{image}: expected an image of one set, got it in '{label}' and '{both[0]}'; drop its rows"
            )
    if groups:
        first = " and ".join(str(file) for _, file in groups[0])
        notes.append(f"{len(groups)} pictures are in several sets and stay apart, such as {first}; keep one of each")


def _tell_splits(parts: Sequence[_Part], samples: Sequence[Sample], notes: list[str]) -> None:
    bare = [part.label for part in parts if not part.data.splits()]
    if bare and len(bare) < len(parts):
        notes.append(f"{_list(bare)}: stores no subsets, so its rows are in none ('trigpoint data split' draws them)")
    places: dict[str, set[str]] = {}
    for sample in samples:
        if sample.subject and sample.split:
            places.setdefault(sample.subject, set()).add(sample.split)
    crossing = sorted(subject for subject, splits in places.items() if len(splits) > 1)
    if crossing:
        first = f"{crossing[0]} in {' and '.join(sorted(places[crossing[0]]))}"
        fix = "run 'trigpoint data split FOLDER --force'"
        notes.append(f"{len(crossing)} subjects are in several subsets, such as {first}; {fix}")
