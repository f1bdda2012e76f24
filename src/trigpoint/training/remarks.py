"""What somebody should know of the data before a training begins: landmarks that it cannot teach, subsets too small."""

from collections.abc import Iterator, Mapping, Sequence

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.sentinels import find_sentinels
from trigpoint.data.splits import single_subject
from trigpoint.metrics.functional import MIN_SUBJECTS
from trigpoint.recipe import DataConfig

FEW = 3
"""Training images that annotate a landmark, below which that is told."""
CALIBRATED = 9
"""Validation subjects from which radii can be given, see ``methods.validation.conformal_radius``."""
_NAMED = 8


def untaught(training: LandmarkDataset) -> tuple[str, ...]:
    """Landmarks that no training image annotates: what a network says of them is not learned."""
    names = training.landmarks.names
    return tuple(name for k, name in enumerate(names) if not (training.visibility[:, k] > 0).any())


def remarks(settings: DataConfig, parts: Mapping[str, LandmarkDataset], whole: LandmarkDataset) -> list[str]:
    """Of the subsets ``parts`` of a training, divided from the ``whole`` set."""
    return [*_of_landmarks(parts["train"], parts["val"]), *_of_subsets(settings, parts, whole)]


def _of_landmarks(training: LandmarkDataset, validation: LandmarkDataset) -> Iterator[str]:
    names = training.landmarks.names
    never = untaught(training)
    if never:
        yield (
            f"{_listed(never)}: annotated in no training image, so not learned; predictions leave it blank. Annotate "
            "it, or leave it out: data.landmarks"
        )
    counts = {name: _images(training, k) for k, name in enumerate(names)}
    few = {name: count for name, count in counts.items() if 0 < count < FEW and len(training.by_image()) >= FEW}
    for name, count in list(few.items())[:_NAMED]:
        yield f"'{name}': annotated in {count} of {len(training.by_image())} training images only, too few to learn it"
    if len(few) > _NAMED:
        yield f"{len(few) - _NAMED} more landmarks are annotated in fewer than {FEW} training images"
    blind = [n for k, n in enumerate(names) if n not in never and not (validation.visibility[:, k] > 0).any()]
    if blind:
        yield f"{_listed(blind)}: annotated in no validation image, so its error is not known and it gets no radius"
    for one in find_sentinels(training.points)[:_NAMED]:
        where = f"({one.spot[0]:g}, {one.spot[1]:g})"
        yield (
            f"'{names[one.column]}': exactly {where} in {len(one.rows)} of {one.annotated} training rows, which may "
            "stand for missing and is learned as a place; see 'trigpoint data check'"
        )


def _images(data: LandmarkDataset, column: int) -> int:
    return len({sample.image for sample in data.samples if sample.visibility[column] > 0})


def _of_subsets(settings: DataConfig, parts: Mapping[str, LandmarkDataset], whole: LandmarkDataset) -> Iterator[str]:
    validation, splits = parts["val"], whole.splits()
    images, subjects = len(validation.by_image()), len(set(validation.groups))
    if len({*parts["train"].groups, *validation.groups}) == 1:
        yield single_subject(validation.groups[0])
    elif subjects < MIN_SUBJECTS:
        yield (
            f"the validation subset has {_count(images, 'image')} of {_count(subjects, 'subject')}, which say little "
            f"about others: weights are chosen by them, and radii take {CALIBRATED}"
        )
    others = {name: rows for name, rows in splits.items() if name not in (settings.train, settings.val)}
    if not splits:
        yield (
            "the table stores no subsets, so no image is kept for a test; to keep some: trigpoint data split "
            f"{settings.path}"
        )
    elif not others:
        yield (
            f"no row is kept for a test, only for {' and '.join(splits)}; to divide all rows anew: trigpoint data "
            f"split {settings.path} --force"
        )
    for name in others:
        rows = [i for i, sample in enumerate(whole.samples) if sample.split == name]
        known = len({whole.groups[i] for i in rows})
        if known < MIN_SUBJECTS:
            images = len({whole.samples[i].image for i in rows})
            yield (
                f"the subset '{name}' has {_count(images, 'image')} of {_count(known, 'subject')}: too few for "
                f"intervals of what is measured on it, which take {MIN_SUBJECTS}"
            )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + (
        f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    )
