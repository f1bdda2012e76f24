"""Several annotation files into one dataset, such as the files of the subsets that COCO and others give."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.errors import DataError
from trigpoint.landmarks import IntArray, LandmarkSet, Sample

_SUBSETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_FIRST = 3  # images that a line about many names


def read_sources(sources: Sequence[Path], read: Callable[[Path], LandmarkDataset]) -> LandmarkDataset:
    """Read each source and join them by landmark name. Raises DataError, with what was left out before as notes.

    Rows that state no subset get that of their file's name (see ``subset_of``), and it is told. A landmark that a
    source does not have counts as not annotated there; an image that an earlier source has is left out and told.
    """
    parts: list[LandmarkDataset] = []
    for source in sources:
        try:
            parts.append(read(source))
        except DataError as error:
            for problem in (problem for part in parts for problem in part.problems):
                error.add_note(f"warning: {problem}")
            raise
    if len(parts) == 1:
        return parts[0]
    problems = [problem for part in parts for problem in part.problems]
    for index, source in enumerate(sources):
        parts[index] = _in_subset(source, parts[index], problems)
    marks = _joined_landmarks(sources, parts, problems)
    samples: list[Sample] = []
    seen: dict[str, int] = {}
    for index, part in enumerate(parts):
        samples += _new_rows(sources, index, _in_order(part, marks), seen, problems)
    if len({part.instances for part in parts}) > 1:
        problems.append(Problem(sources[0], "some sources have one object an image: read as a multi-instance set"))
    folders = list(dict.fromkeys(part.images or Path() for part in parts))
    spacings = {part.spacing_mm for part in parts}
    return LandmarkDataset(
        samples,
        marks,
        images=folders[0] if len(folders) == 1 else Path(os.path.commonpath([folder.absolute() for folder in folders])),
        table=sources[0],
        spacing_mm=spacings.pop() if len(spacings) == 1 else None,
        instances=any(part.instances for part in parts),
        problems=problems,
    )


def subset_of(source: Path) -> str:
    """The subset that the name of a file tells, or else that of its folder; blank where none does.

    >>> subset_of(Path("person_keypoints_train2017.json")), subset_of(Path("valid/labels.json"))
    ('train', 'val')
    >>> subset_of(Path("train_and_val.json")), subset_of(Path("trained.json"))
    ('', '')
    """
    words, above = (re.findall("[a-z]+", name.lower()) for name in (source.stem, source.absolute().parent.name))
    for each in (words, above if len(above) == 1 else []):  # val2017/labels.json, but not test_of_labels/all.json
        told = {_SUBSETS[word] for word in each if word in _SUBSETS}
        if told:
            return told.pop() if len(told) == 1 else ""
    return ""


def _in_subset(source: Path, part: LandmarkDataset, problems: list[Problem]) -> LandmarkDataset:
    blank = sum(not sample.split for sample in part.samples)
    if not blank:
        return part
    subset = subset_of(source)
    if not subset:
        problems.append(Problem(source, f"{blank} rows are in no subset: its name says none of train, val and test"))
        return part
    problems.append(Problem(source, f"{blank} rows are in subset '{subset}', after its name"))
    return replace(part, samples=[replace(sample, split=sample.split or subset) for sample in part.samples])


def _joined_landmarks(
    sources: Sequence[Path], parts: Sequence[LandmarkDataset], problems: list[Problem]
) -> LandmarkSet:
    """All landmarks, those of the first source first, with what any source says of them."""
    sets = [part.landmarks for part in parts]
    names = tuple(dict.fromkeys(name for marks in sets for name in marks.names))
    for source, marks in zip(sources, sets, strict=True):
        lacking = [name for name in names if name not in marks.names]
        if lacking:
            which = f"{', '.join(lacking[:_FIRST])}{', ...' * (len(lacking) > _FIRST)}"
            problems.append(Problem(source, f"lacks {len(lacking)} landmarks ({which}), not annotated there"))
    groups = {group: members for marks in reversed(sets) for group, members in marks.groups.items()}
    paired = dict.fromkeys(tuple(sorted(pair)) for marks in sets for pair in marks.pairs)
    first = next((marks for marks in sets if marks.pairs), sets[0])
    if any(tuple(sorted(pair)) not in {tuple(sorted(own)) for own in first.pairs} for pair in paired):
        problems.append(Problem(sources[0], "the sources name different pairs; those of the first count"))
    return replace(
        first,
        names=names,
        groups=groups,
        mirrors=first.mirrors if first.pairs else all(marks.mirrors for marks in sets) or None,
        normalizer=next((marks.normalizer for marks in sets if marks.normalizer), None),
        skeleton=tuple(dict.fromkeys(line for marks in sets for line in marks.skeleton)),
    )


def _in_order(part: LandmarkDataset, marks: LandmarkSet) -> list[Sample]:
    """The samples with the landmarks ``marks``, those that the part lacks not annotated."""
    if part.landmarks.names == marks.names:
        return list(part.samples)
    order = np.array([marks.index(name) for name in part.landmarks.names], np.int64)
    return [_spread(sample, order, len(marks)) for sample in part.samples]


def _spread(sample: Sample, order: IntArray, count: int) -> Sample:
    points, visibility = np.full((count, 2), np.nan), np.zeros(count, np.int64)
    points[order], visibility[order] = sample.points, sample.visibility
    scores = None
    if sample.scores is not None:
        scores = np.full(count, np.nan)
        scores[order] = sample.scores
    return replace(sample, points=points, visibility=visibility, scores=scores)


def _new_rows(
    sources: Sequence[Path], index: int, samples: list[Sample], seen: dict[str, int], problems: list[Problem]
) -> list[Sample]:
    """The rows of one source whose images no earlier one has; ``seen``: the source of each image."""
    out, again = [], {}
    for sample in samples:
        place = os.path.abspath(sample.image)
        if seen.setdefault(place, index) == index:
            out.append(sample)
        else:
            again[place] = sample.image.name
    if again:
        names = list(again.values())
        which = f"{', '.join(names[:_FIRST])}{', ...' * (len(names) > _FIRST)}"
        first = sources[seen[next(iter(again))]]
        message = f"{len(names)} images ({which}) are in another source already, the first in {first}; left out"
        problems.append(Problem(sources[index], message))
    return out
