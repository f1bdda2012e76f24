"""What somebody should know of the data before a training begins: landmarks that it cannot teach, subsets too small."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.sentinels import find_sentinels
from trigpoint.data.splits import single_subject
from trigpoint.errors import counted
from trigpoint.metrics.functional import MIN_SUBJECTS
from trigpoint.recipe import DataConfig

FEW = 3
"""Training images that annotate a landmark, below which that is told."""
PARTLY = 0.9
"""Share of the training images below which it is told that a landmark is annotated in some of them only."""
CALIBRATED = 9
"""Validation subjects from which radii can be given, see ``methods.validation.conformal_radius``."""
_NAMED = 8


def untaught(training: LandmarkDataset, kept: Collection[str] = ()) -> tuple[str, ...]:
    """Landmarks that no training image annotates, and that are not ``kept`` from another run: what a network says of
    them is not learned."""
    names = training.landmarks.names
    return tuple(n for k, n in enumerate(names) if n not in kept and not (training.visibility[:, k] > 0).any())


def remarks(
    settings: DataConfig,
    parts: Mapping[str, LandmarkDataset],
    whole: LandmarkDataset,
    kept: Collection[str] = (),
    chooses: bool = True,
) -> list[str]:
    """Of the subsets ``parts`` of a training, divided from the ``whole`` set; landmarks ``kept`` are not learned.
    ``chooses``: whether validation chooses among the weights of several epochs."""
    return [*_of_landmarks(parts["train"], parts["val"], kept), *_of_subsets(settings, parts, whole, chooses)]


def _of_landmarks(training: LandmarkDataset, validation: LandmarkDataset, kept: Collection[str]) -> Iterator[str]:
    names = training.landmarks.names
    never = untaught(training, kept)
    if never:
        yield (
            f"{_listed(never)}: annotated in no training image, so not learned; predictions leave it blank. Annotate "
            "it, or leave it out: data.landmarks"
        )
    counts = {name: _images(training, k) for k, name in enumerate(names) if name not in kept}
    few = {name: count for name, count in counts.items() if 0 < count < FEW and len(training.by_image()) >= FEW}
    for name, count in list(few.items())[:_NAMED]:
        yield f"'{name}': annotated in {count} of {len(training.by_image())} training images only, too few to learn it"
    if line := _shared_out(training, counts):
        yield line
    if len(few) > _NAMED:
        yield f"{len(few) - _NAMED} more landmarks are annotated in fewer than {FEW} training images"
    if training.instances and training.landmarks.measurements:
        yield (
            f"measurements {_listed([*training.landmarks.measurements])}: not measured, for they need one of each "
            "landmark, got a multi-instance set"
        )
    blind = [n for k, n in enumerate(names) if n not in never and not (validation.visibility[:, k] > 0).any()]
    if blind:
        yield f"{_listed(blind)}: annotated in no validation image, so its error is not known and it gets no radius"
    for one in find_sentinels(training.points)[:_NAMED]:
        where = f"({one.spot[0]:g}, {one.spot[1]:g})"
        yield (
            f"'{names[one.column]}': exactly {where} in {len(one.rows)} of {one.annotated} training rows, which may "
            "stand for missing and is learned as a place; see 'trigpoint data check'"
        )


def _shared_out(training: LandmarkDataset, counts: Mapping[str, int]) -> str:
    """That images have different landmarks annotated, as in sets that were joined, and what follows; else nothing."""
    images = len(training.by_image())
    partly = {name: count for name, count in counts.items() if FEW <= count < PARTLY * images}
    if not partly:
        return ""
    shown = [f"'{name}' in {count}" for name, count in list(partly.items())[:_NAMED]]
    more = f" and {len(partly) - _NAMED} more" if len(partly) > _NAMED else ""
    return (
        f"of {images} training images not all annotate each landmark: {', '.join(shown)}{more}; an image teaches only "
        "what it annotates"
    )


def _images(data: LandmarkDataset, column: int) -> int:
    return len({sample.image for sample in data.samples if sample.visibility[column] > 0})


def _of_subsets(
    settings: DataConfig, parts: Mapping[str, LandmarkDataset], whole: LandmarkDataset, chooses: bool
) -> Iterator[str]:
    validation, splits = parts["val"], whole.splits()
    images, subjects = len(validation.by_image()), len(set(validation.groups))
    chosen = ", and they choose the weights" if chooses else ""
    if {sample.image for sample in validation.samples} <= {sample.image for sample in parts["train"].samples}:
        yield (
            f"none of the {counted(images, 'annotated image')} is kept for validation, so what is measured on them "
            "says nothing of others; with more labels some are"
        )
    elif len({*parts["train"].groups, *validation.groups}) == 1:
        yield single_subject(validation.groups[0])
    elif subjects < MIN_SUBJECTS:
        yield (
            f"the validation subset has {counted(images, 'image')} of {counted(subjects, 'subject')}: too few to tell "
            f"much about others{chosen}; radii need {CALIBRATED} subjects"
        )
    others = {name: rows for name, rows in splits.items() if name not in (settings.train, settings.val)}
    if not splits:
        yield (
            "the table stores no subsets, so no image is kept for a test; to keep some: trigpoint data split "
            f"{settings.path}"
        )
    elif not others:
        yield (
            f"no row is kept for a test, only for {' and '.join(splits)}; to keep some of '{settings.train}': "
            f"trigpoint data split {settings.path} --of {settings.train}"
        )
    for name in others:
        rows = [i for i, sample in enumerate(whole.samples) if sample.split == name]
        known = len({whole.groups[i] for i in rows})
        if known < MIN_SUBJECTS:
            images = len({whole.samples[i].image for i in rows})
            yield (
                f"the subset '{name}' has {counted(images, 'image')} of {counted(known, 'subject')}: too few for "
                f"intervals of what is measured on it, which take {MIN_SUBJECTS}"
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + (
        f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    )
