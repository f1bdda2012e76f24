"""Which images a run learns from and which validate it: drawn when it begins, kept, and joined by new ones."""

from collections.abc import Mapping

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.splits import divided_rows
from trigpoint.errors import ConfigError, DataError, RunError, did_you_mean
from trigpoint.landmarks import LandmarkSet, Spacing, plain_spacing
from trigpoint.recipe import METHOD, DataConfig, Recipe
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.training.beginning import check_only, names_of

Names = Mapping[str, list[str]]  # of images, by subset
Parts = dict[str, LandmarkDataset]

ITSELF = 8
"""Annotated images up to which a method that has nothing to choose learns from all and is measured on the same, where
the table names no validation subset. More of them are divided."""


def dataset_of(recipe: Recipe, names: tuple[str, ...] | None = None) -> LandmarkDataset:
    """The whole dataset that the recipe names. Raises ConfigError when it names none.

    With ``train.only`` it has the landmarks ``names`` (None: those of the run it begins from, and the new ones), of
    which the table may lack those that are not learned.
    """
    if recipe.data.path is None:
        raise ConfigError("data.path: expected a dataset folder, got none; add data.path=FOLDER")
    check = recipe.data.on_error == "stop"  # else what is damaged is skipped, not refused
    data = LandmarkDataset.load(recipe.data.path, names=recipe.data.landmarks, check_images=check)
    if recipe.train.only is None:
        return data
    data.pick(recipe.train.only)  # raises for one that the table lacks
    whole = names or names_of(recipe) or ()
    check_only(recipe, whole)
    return data.aligned(whole)


def kept(recipe: Recipe, run: RunFolder) -> tuple[Parts, Names]:
    """The subsets of a run by its ``split.csv``, and the images that its dataset has got for them since.

    Subjects stay where they are. With ``data.on_change=accept`` the new images are in the subsets. Raises RunError for
    an image that is no longer there, and for a damaged ``split.csv``.
    """
    known = run.read_landmarks().landmarks.names
    data = dataset_of(recipe, known)
    if set(known) == set(data.landmarks.names):
        data = data.pick(known)  # the order of the columns means nothing
    rows: dict[str, list[int]] = {}
    for i, sample in enumerate(data.samples):
        rows.setdefault(data.image_name(sample), []).append(i)
    stored = run.parts()
    if not {"train", "val"} <= set(stored) <= {"train", "val", "unlabelled"}:
        raise RunError(f"{run.split}: expected images for train and val, got {', '.join(stored)}; put back what it was")
    if lost := [name for names in stored.values() for name in names if name not in rows]:
        raise RunError(f"{run.split}: image '{lost[0]}' is no longer in {recipe.data.path}; put it back")
    now = divided(recipe, data)
    new = _new(data, now, rows, stored, drawn=recipe.data.val not in data.splits())
    if recipe.data.limit is not None or recipe.data.fraction is not None:
        new["train"] = new["train"][: max(0, len(image_names(now["train"])) - len(stored["train"]))]
    new = {part: names for part, names in new.items() if names}
    if new and recipe.data.on_change == "accept":
        added = {name for names in new.values() for name in names}
        stored = {part: [n for n in names if n not in added] + new.get(part, []) for part, names in stored.items()}
    parts = {part: data.subset([i for name in names for i in rows[name]]) for part, names in stored.items()}
    _check_subjects(recipe, parts["train"], parts["val"])
    return parts, new


def _new(
    data: LandmarkDataset, now: Parts, rows: Mapping[str, list[int]], stored: Names, drawn: bool
) -> dict[str, list[str]]:
    """Images that a run begun today would have beside those it has; where validation is drawn, with their subjects."""
    place = {name: part for part, names in stored.items() for name in names}
    home = {data.groups[rows[name][0]]: part for name, part in place.items() if part != "unlabelled"} if drawn else {}
    new: dict[str, list[str]] = {part: [] for part in now}
    for part, images in now.items():
        for name in image_names(images):
            group_part = home.get(data.groups[rows[name][0]], part)
            if name not in place or (place[name] == "unlabelled" and part != "unlabelled"):
                if part != "unlabelled":
                    new[group_part].append(name)
                elif group_part != "val":
                    new[part].append(name)
    return new


def new_images(new: Names) -> str:
    """How many there are of each subset, and one of them, in words.

    >>> new_images({"train": ["a.png", "b.png"], "val": ["c.png"]})
    'new images (2 for train, 1 for val), such as a.png'
    """
    counts = ", ".join(f"{len(names)} for {part}" for part, names in new.items())
    return f"new images ({counts}), such as {next(iter(new.values()))[0]}"


def check_unchanged(recipe: Recipe, run: RunFolder, parts: Parts, new: Names) -> LandmarkFile | None:
    """Refuse new images and another description of the landmarks than the run was begun with, unless that is asked for.

    Gives the description that is accepted, None where it is the same. Other landmarks are always refused, and an image
    that is in another subset now: it has been learned from.
    """
    _check_places(recipe, run, parts)
    way_out = "or train into another --out"
    accept = recipe.data.on_change == "accept"
    if new and not accept:
        raise RunError(
            f"{run.folder}: {recipe.data.path} has {new_images(new)}, which the run was not begun with; learn them "
            f"too: data.on_change=accept, take them out, {way_out}"
        )
    stored, marks = run.read_landmarks(), parts["train"].landmarks
    spacing = stored.spacing_mm if new else common_spacing(parts["train"])
    then, now = (_meaning(*each) for each in ((stored.landmarks, stored.spacing_mm), (marks, spacing)))
    changed = [key for key in then if then[key] != now[key]]
    if not changed and not new:
        return None
    if changed and ("landmarks" in changed or not accept):
        key, other = changed[0], "" if "landmarks" in changed else ", go on with it: data.on_change=accept"
        a, b = stored.landmarks.to_dict(), marks.to_dict()
        a["spacing_mm"], b["spacing_mm"] = plain_spacing(stored.spacing_mm), plain_spacing(spacing)
        raise RunError(
            f"{run.folder}: was begun with other {key} than {recipe.data.path} has ({key}: {a.get(key)} there, "
            f"{b.get(key)} now); put back what it had{other}, {way_out}"
        )
    return LandmarkFile(marks, common_spacing(parts["train"]))


def _check_places(recipe: Recipe, run: RunFolder, parts: Parts) -> None:
    for part, images in parts.items():
        has_own = part == "val" and any(sample.split == recipe.data.val for sample in images.samples)
        place = recipe.data.val if has_own else recipe.data.train
        moved = [sample for sample in images.samples if sample.split != place]
        if moved and any(sample.split for sample in images.samples):
            raise RunError(
                f"{recipe.data.path}: image '{images.image_name(moved[0])}' is in the subset '{moved[0].split}' now, "
                f"got a run that has it in '{place}' ({run.split}); put it back there, or train into another --out"
            )


def _meaning(marks: LandmarkSet, spacing: Spacing | None) -> dict[str, object]:
    """A description by the keys of ``dataset.yaml``, without orders that mean nothing."""
    return {
        "landmarks": marks.names,
        "pairs": {frozenset(pair) for pair in marks.pairs},
        "groups": {name: set(members) for name, members in marks.groups.items()},
        "normalizer": marks.normalizer,
        "spacing_mm": spacing,
    }


def divided(recipe: Recipe, data: LandmarkDataset) -> Parts:
    """The subsets of a run that begins: train, val, and where the recipe uses them unlabelled."""
    splits = data.splits()
    if splits and recipe.data.train not in splits:
        near = did_you_mean(recipe.data.train, [name for name in splits if name != recipe.data.val])
        raise DataError(
            f"{recipe.data.path}: unknown split '{recipe.data.train}'; {near}; name the one to learn from, such as "
            f"data.train={next(iter(splits))}, or fill blank rows: trigpoint data split {recipe.data.path} --only-blank"
        )
    training = data.only(recipe.data.train) if splits else data
    taught = slice(None) if recipe.train.only is None else [data.landmarks.index(name) for name in recipe.train.only]
    if recipe.train.only is not None:  # others teach nothing
        training = training.subset(np.flatnonzero((training.visibility[:, taught] > 0).any(axis=1)))
    if recipe.data.val in splits:
        validation = data.only(recipe.data.val)
    elif _validates_itself(recipe, training):
        validation, _ = _labelled(recipe.data, training, recipe.seed)
    else:
        drawn = _drawn(recipe, training)
        validation = training.subset([i for i, part in enumerate(drawn) if part == "val"])
        training = training.subset([i for i, part in enumerate(drawn) if part == "train"])
    validation = validation.subset(_annotated(validation))  # the others measure nothing
    _check_subjects(recipe, training, validation)
    labelled, rest = _labelled(recipe.data, training, recipe.seed)
    for subset, samples in (("training", labelled), ("validation", validation)):
        if not (samples.visibility[:, taught] > 0).any():
            raise DataError(
                f"{recipe.data.path}: expected annotated landmarks in the {subset} subset, got none; annotate some of "
                f"its images, or divide all rows anew: trigpoint data split {recipe.data.path} --force"
            )
    parts = {"train": labelled, "val": validation}
    if recipe.data.unlabelled:
        if not len(rest):
            raise ConfigError(
                f"data.unlabelled={recipe.data.unlabelled}: expected images without labels in split "
                f"'{recipe.data.train}', got none; learn from fewer labels "
                f"(data.limit={max(1, len(labelled.by_image()) // 2)}), add images, or set data.unlabelled=0"
            )
        parts["unlabelled"] = rest
    return parts


def _validates_itself(recipe: Recipe, training: LandmarkDataset) -> bool:
    """Whether the annotated images are so few, and the method such, that none is kept for validation."""
    count = len({sample.image for sample in training.samples if (sample.visibility > 0).any()})
    return bool(METHOD.find(recipe.method_name).validates_itself) and 0 < count <= ITSELF


def _drawn(recipe: Recipe, training: LandmarkDataset) -> list[str]:
    """Which rows validate where the table does not say so: subjects, drawn from the annotated rows, so that images
    without labels take no place in validation; these go where their subject is. Raises DataError where there is
    nothing to draw from."""
    shares = {"train": 1 - recipe.data.val_share, "val": recipe.data.val_share}
    known = [i for i, sample in enumerate(training.samples) if (sample.visibility > 0).any()]
    try:
        drawn = _drawn_of(training, _annotated(training), shares, recipe.seed)
        if known and not any(drawn[i] == "val" for i in known):  # of a set with instances
            drawn = _drawn_of(training, known, shares, recipe.seed)
    except DataError:
        where = f"split '{recipe.data.train}'" if training.samples[0].split else "the table"
        raise DataError(
            f"{recipe.data.path}: expected at least 2 annotated images in {where}, one to learn from and one to "
            f"validate, got {len({training.samples[i].image for i in known})}; annotate more, or put some into a split "
            f"'{recipe.data.val}'"
        ) from None
    return drawn


def _drawn_of(training: LandmarkDataset, rows: list[int], shares: dict[str, float], seed: int) -> list[str]:
    """The part of each row, drawn from some; others go where their subject is, else into training."""
    within = divided_rows(training.subset(rows), shares, seed)[0]
    home = dict(zip([training.groups[i] for i in rows], within, strict=True))
    drawn = [home.get(group, "train") for group in training.groups]
    for i, part in zip(rows, within, strict=True):
        drawn[i] = part
    return drawn


def _annotated(data: LandmarkDataset) -> list[int]:
    """Rows that say anything. In a set with instances an image without any point does: nothing is there."""
    return [i for i, sample in enumerate(data.samples) if data.instances or (sample.visibility > 0).any()]


def _labelled(settings: DataConfig, training: LandmarkDataset, seed: int) -> tuple[LandmarkDataset, LandmarkDataset]:
    """The labelled images to learn from, and all others of the training split."""
    whole = training
    training = training.subset(_annotated(training))
    if settings.fraction is not None or settings.limit is not None:
        images = len(training.by_image())
        count = settings.limit or round(float(settings.fraction or 0) * images)
        if count < 1:
            raise ConfigError(
                f"data.fraction={settings.fraction:g}: expected at least one labelled image, got none of {images}; "
                "raise it, or give a number in its place: data.fraction=null data.limit=1"
            )
        training = training.limit(count, seed, settings.limit_across)
    chosen = {sample.image for sample in training.samples}
    return training, whole.subset([i for i, sample in enumerate(whole.samples) if sample.image not in chosen])


def _check_subjects(recipe: Recipe, training: LandmarkDataset, validation: LandmarkDataset) -> None:
    """Refuse to choose weights on subjects that were learned from, but where there is only one, such as a video."""
    if METHOD.find(recipe.method_name).validates_itself and {*image_names(validation)} <= {*image_names(training)}:
        return
    shared = set(training.groups) & set(validation.groups)
    if shared and len({*training.groups, *validation.groups}) > 1:
        name = min(shared).split(":", 1)[1]
        raise DataError(
            f"{recipe.data.path}: expected each subject in one split, got {len(shared)} in both "
            f"'{recipe.data.train}' and "
            f"'{recipe.data.val}', such as '{name}'; split by subject: trigpoint data split {recipe.data.path} --force"
        )


def common_spacing(data: LandmarkDataset) -> Spacing | None:
    """Millimetres per pixel (x, y) of all images; None where they differ or are not known."""
    spacings = {sample.spacing_mm for sample in data.samples}
    return spacings.pop() if len(spacings) == 1 else None


def image_names(data: LandmarkDataset) -> list[str]:
    """Each image once, also where it has several samples."""
    return list(dict.fromkeys(data.image_name(sample) for sample in data.samples))
