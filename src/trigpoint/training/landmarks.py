"""``train``: from a recipe and a dataset folder to a run folder, on Lightning.

The same call resumes an unfinished run. The best weights are chosen by the error on the validation part of the data;
the split that is kept for testing is never opened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import lightning as L
import numpy as np
import torch

from trigpoint.config import parse
from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import InputDataset, InstanceInputs
from trigpoint.data.input.skips import SkipLog
from trigpoint.data.pixels.images import image_size
from trigpoint.data.splits import grouped_split
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import FloatArray
from trigpoint.methods import METHODS, CascadeMethod, InstanceMethod, LandmarkMethod
from trigpoint.methods.instances import CANDIDATES
from trigpoint.metrics import best_threshold, match_instances, precision_recall, radial_error
from trigpoint.prediction import Predictor
from trigpoint.recipe import DataConfig, Recipe, SourceRecipe, build_method, load_any_recipe
from trigpoint.report.figures import error_curve, sigma_curves
from trigpoint.report.style import save
from trigpoint.runs import COVERAGE, LandmarkFile, RunFolder
from trigpoint.training.callbacks import LANDMARK_ERROR, Measure
from trigpoint.training.fitting import check_same, extended, first_process, fit, settled, writing
from trigpoint.training.source import train_source


def train(
    recipe: str | Path | Recipe | SourceRecipe,
    overrides: Sequence[str] = (),
    out: str | Path = "run",
    progress: bool = True,
    more_epochs: int = 0,
) -> RunFolder:
    """Train, or resume what ``out`` holds of the same recipe; returns the run folder.

    ``recipe`` is a file, the name of a recipe of the package or a ``Recipe``; one with ``task: classification`` trains
    a source model (``trigpoint.training.source``). ``overrides`` are dotted, such as ``train.epochs=5``. Raises
    ConfigError and DataError before anything is written, RunError when ``out`` holds another run or the loss is not
    finite (naming the images), KeyboardInterrupt when stopped (the same call resumes). ``more_epochs`` goes on with the
    run in ``out`` until it has so many more than the recipe says; see ``fitting.extended``.
    """
    run = RunFolder(out)
    given = settled(load_any_recipe(recipe, overrides), run)
    if isinstance(given, SourceRecipe):
        return train_source(extended(given, run, more_epochs), run, progress)
    chosen = extended(given, run, more_epochs)
    parts = _parts(chosen, run)
    chosen = settled(chosen, len(_image_names(parts["train"])))
    if run.exists() and _finished(run, chosen):
        return run  # whatever it began from may be gone
    L.seed_everything(chosen.seed, workers=True, verbose=False)  # before the weights are drawn
    method = build_method(chosen, parts["train"].landmarks)
    inputs = _inputs(chosen, parts)
    if not run.exists() and first_process():
        names = {part: _image_names(data) for part, data in parts.items()}
        with writing(run):
            run.begin(chosen, LandmarkFile(parts["train"].landmarks, _common_spacing(parts["train"])), names)
    if chosen.train.threads:
        torch.set_num_threads(chosen.train.threads)
    if isinstance(method, CascadeMethod):
        _prepare_coarse(chosen, method, inputs["val"], run, progress)
        L.seed_everything(chosen.seed, workers=True, verbose=False)  # as if there had been no other training
    fit(chosen, method, inputs, run, progress, measure_of(method))
    if first_process():
        with writing(run):
            finish(run, _readable(chosen, parts["val"]))
    return run


def measure_of(method: LandmarkMethod) -> Measure:
    """What validation looks at: distances, or of several instances how many are found and how near."""
    if not isinstance(method, InstanceMethod):
        return LANDMARK_ERROR
    return Measure(
        method.measures,
        method.validated,
        lambda row: (
            f"val F1 {row['val_f1']:.3f}"
            + ("" if math.isnan(row["val_distance_px"]) else f" at {row['val_distance_px']:.2f} px")
        ),
    )


def dataset_of(recipe: Recipe) -> LandmarkDataset:
    """The whole dataset that the recipe names. Raises ConfigError when it names none."""
    if recipe.data.path is None:
        raise ConfigError("data.path: expected a dataset folder, got none; add data.path=FOLDER")
    check = recipe.data.on_error == "stop"  # else what is damaged is skipped, not refused
    return LandmarkDataset.load(recipe.data.path, names=recipe.data.landmarks, check_images=check)


# -- data ----------------------------------------------------------------------------------------------------


def _parts(recipe: Recipe, run: RunFolder) -> dict[str, LandmarkDataset]:
    """The training and the validation part; those of an existing run are taken from its ``split.csv``."""
    data = dataset_of(recipe)
    if run.exists():
        check_same(recipe, run.recipe(), run)
        by_name: dict[str, list[int]] = {}
        for i, sample in enumerate(data.samples):
            by_name.setdefault(data.image_name(sample), []).append(i)
        stored = run.parts()
        lost = [name for names in stored.values() for name in names if name not in by_name]
        if lost:
            raise RunError(f"{run.split}: image '{lost[0]}' is no longer in {recipe.data.path}; put it back")
        return {part: data.subset([i for name in names for i in by_name[name]]) for part, names in stored.items()}
    splits = data.splits()
    if recipe.data.train in splits:
        training = data.only(recipe.data.train)
    elif not splits:
        training = data
    else:
        training = data.only(recipe.data.train)  # raises with the splits that exist
    if recipe.data.val in splits:
        validation = data.only(recipe.data.val)
    else:
        share = recipe.data.val_share
        drawn = grouped_split(training.groups, {"train": 1 - share, "val": share}, recipe.seed)
        validation = training.subset([i for i, part in enumerate(drawn) if part == "val"])
        training = training.subset([i for i, part in enumerate(drawn) if part == "train"])
    _check_subjects(recipe, training, validation)
    labelled, rest = _labelled(recipe.data, training, recipe.seed)
    for part, samples in (("training", labelled), ("validation", validation)):
        if not (samples.visibility > 0).any():
            raise DataError(f"{recipe.data.path}: expected annotated landmarks in the {part} part, got none")
    parts = {"train": labelled, "val": validation}
    if recipe.data.unlabelled:
        if not len(rest):
            raise ConfigError(
                f"data.unlabelled={recipe.data.unlabelled}: expected images without labels in split "
                f"'{recipe.data.train}', got none; set data.limit, add images, or set data.unlabelled=0"
            )
        parts["unlabelled"] = rest
    return parts


def _labelled(settings: DataConfig, training: LandmarkDataset, seed: int) -> tuple[LandmarkDataset, LandmarkDataset]:
    """The labelled images to learn from, and all others of the training split.

    In a set with instances an image without any point is labelled: nothing is there.
    """
    whole = training
    if not training.instances:
        training = training.subset([i for i, sample in enumerate(training.samples) if (sample.visibility > 0).any()])
    if settings.fraction is not None or settings.limit is not None:
        images = len(training.by_image())
        count = settings.limit or round(float(settings.fraction or 0) * images)
        if count < 1:
            raise ConfigError(
                f"data.fraction={settings.fraction:g}: expected at least one labelled image, got none of {images}; "
                "raise it, or set data.limit"
            )
        training = training.limit(count, seed, settings.limit_across)
    chosen = {sample.image for sample in training.samples}
    return training, whole.subset([i for i, sample in enumerate(whole.samples) if sample.image not in chosen])


def _check_subjects(recipe: Recipe, training: LandmarkDataset, validation: LandmarkDataset) -> None:
    """Refuse to choose weights on subjects that were learned from."""
    shared = set(training.groups) & set(validation.groups)
    if shared:
        name = min(shared).split(":", 1)[1]
        raise DataError(
            f"{recipe.data.path}: expected each subject in one split, got {len(shared)} in both "
            f"'{recipe.data.train}' and "
            f"'{recipe.data.val}', such as '{name}'; split by subject: trigpoint data split --force"
        )


def _finished(run: RunFolder, recipe: Recipe) -> bool:
    """Whether nothing is left to do; radii and threshold are the last thing that ``finish`` writes."""
    if run.epochs_done() < recipe.train.num_epochs or not run.weights.is_file():
        return False
    marks = run.read_landmarks()
    return marks.threshold is not None or bool(np.isfinite(marks.radius).any())


def _common_spacing(data: LandmarkDataset) -> float | None:
    spacings = np.unique(data.spacings)
    return float(spacings[0]) if len(spacings) == 1 and np.isfinite(spacings[0]) else None


def _image_names(data: LandmarkDataset) -> list[str]:
    """Each image once, also where it has several samples."""
    return list(dict.fromkeys(data.image_name(sample) for sample in data.samples))


def _inputs(recipe: Recipe, parts: dict[str, LandmarkDataset]) -> dict[str, InputDataset]:
    """What the loaders draw from; refuses augmentation and data that the method cannot take."""
    made: dict[str, InputDataset] = {}
    several = METHODS[recipe.method_name].several
    for part, augment, more in (("train", recipe.data.augment, parts.get("unlabelled")), ("val", None, None)):
        pipeline = InputPipeline(recipe.data.input, parts[part].landmarks, augment)
        if several:
            made[part] = InstanceInputs(parts[part], pipeline, recipe.seed, recipe.data.cache)
            _check_annotated(recipe, part, parts[part])
        else:
            made[part] = InputDataset(parts[part], pipeline, recipe.seed, recipe.data.cache, more)
        if recipe.data.on_error == "skip":
            made[part].skips = SkipLog(part)
        made[part].preload()
    return made


def _readable(recipe: Recipe, data: LandmarkDataset) -> LandmarkDataset:
    """The images that can be read, where others are skipped; else all. Raises DataError when there is none."""
    if recipe.data.on_error == "stop":
        return data
    kept = []
    for position in range(len(data)):
        try:
            data.read(position)
        except DataError as error:
            last = error
        else:
            kept.append(position)
    if not kept:
        raise DataError(f"{last}; nor can any other validation image be read")
    return data.subset(kept)


def _check_annotated(recipe: Recipe, part: str, data: LandmarkDataset) -> None:
    """Refuse a part in which no instance counts, because each landmark that has points is not annotated throughout."""
    if not any(np.isfinite(image.points[:, image.annotated]).any() for image in data.instances_by_image()):
        raise DataError(
            f"{recipe.data.path}: expected in the part '{part}' an image in which all instances of a landmark are "
            "annotated, got none; say with a blank visibility what is absent, see docs/data-format.md"
        )


def _prepare_coarse(
    recipe: Recipe, method: CascadeMethod, validation: InputDataset, run: RunFolder, progress: bool
) -> None:
    """Train the coarse stage into the run's folder ``coarse``, or take the run that is named, and measure it."""
    options = cast(CascadeMethod.Config, recipe.method)
    if options.coarse_run is None:
        same = [f"data.{key}={getattr(recipe.data, key)}" for key in ("on_error", "on_change")]
        stage = parse(Recipe, options.coarse, "method.coarse")
        coarse = train(stage, same, out=run.folder / "coarse", progress=progress)
    else:
        coarse = RunFolder(options.coarse_run)
    predictor, data = Predictor.load(coarse), _readable(recipe, validation.dataset)
    if predictor.landmarks.names != data.landmarks.names:
        raise ConfigError(
            f"{coarse.folder}: expected a run for the landmarks {', '.join(data.landmarks.names)}, got "
            f"{', '.join(predictor.landmarks.names)}; set data.landmarks, or let method.coarse train one"
        )
    learned = set(coarse.parts().get("train", []))
    unseen = data.subset([i for i, sample in enumerate(data.samples) if data.image_name(sample) not in learned])
    if not len(unseen):
        raise ConfigError(
            f"{coarse.folder}: was trained on all validation images of this run, so its errors cannot be measured; "
            "train it with the same seed and data.val_share, or let method.coarse train one"
        )
    found = predictor.predict(unseen, batch_size=4).points
    errors = []
    for sample, points in zip(unseen.samples, found, strict=True):
        pair = np.stack([points, sample.points])
        there, truth = validation.pipeline.points(image_size(sample.image), pair)
        errors.append(there - truth)
    method.take_coarse(coarse.load_weights()[0], torch.stack(errors))


# -- after the last epoch ------------------------------------------------------------------------------------


def finish(run: RunFolder, data: LandmarkDataset) -> None:
    """Draw the curves of ``metrics.csv`` and calibrate radii and threshold on the validation part."""
    table, marks = run.history_table(), run.read_landmarks()
    predictor = Predictor.load(run)
    several = predictor.several
    epochs, errors = table["epoch"].to_list(), 100 * table["val_error"] if several else table["val_mre_px"]
    best = None if errors.isna().all() else float(epochs[int(np.nanargmin(errors.to_numpy()))])
    told = ("%", "1 - F1, and a little of the distance") if several else ("px", "mean radial error")
    save(error_curve(epochs, table["train_loss"].to_list(), errors.to_list(), told[0], best, told[1]), run.history)
    members = marks.landmarks.groups or {name: (name,) for name in marks.landmarks.names}
    columns = {group: [f"sigma_{name}" for name in names] for group, names in members.items()}
    if all(set(names) <= set(table.columns) for names in columns.values()):  # else no target widths
        widths = {group: table[names].mean(axis=1).to_list() for group, names in columns.items()}
        save(sigma_curves(epochs, widths), run.folder / "sigma.png")
    if several:
        run.write_landmarks(_with_threshold(marks, predictor, data))
        return
    errors_px = radial_error(predictor.predict(data).points, data.points)
    radius = np.array([conformal_radius(errors_px[:, k], COVERAGE) for k in range(len(marks.landmarks))])
    run.write_landmarks(replace(marks, radius=radius))


def _with_threshold(marks: LandmarkFile, predictor: Predictor, data: LandmarkDataset) -> LandmarkFile:
    """The threshold with the best F1 on the validation part (else the recipe's), and the radii of the pairs with it."""
    method = cast(InstanceMethod, predictor.method)
    images = data.instances_by_image()
    found = [one.by_landmark() for one in predictor.predict_instances(data, threshold=CANDIDATES)]
    points, scores = [one[0] for one in found], [one[1] for one in found]
    truth = [list(image.points.swapaxes(0, 1)) for image in images]
    known = np.array([image.annotated for image in images])
    radius = [method.matching_radius(image_size(image.image)[0]) for image in images]
    threshold = best_threshold(precision_recall(points, truth, scores, np.array(radius), annotated=known))
    threshold = method.codec.threshold if math.isnan(threshold) else threshold
    errors: list[list[float]] = [[] for _ in marks.landmarks.names]
    for i, k in np.argwhere(known).tolist():
        kept = points[i][k][scores[i][k] > threshold]
        errors[k] += match_instances(kept, truth[i][k], radius[i], inclusive=False).distance.tolist()
    within = np.array([conformal_radius(np.array(pairs), COVERAGE) for pairs in errors])
    return replace(marks, radius=within, threshold=threshold)


def conformal_radius(errors: FloatArray, coverage: float) -> float:
    """Distance that a new error stays below with probability ``coverage``: split conformal prediction.

    ``errors`` (N,), NaN = not annotated. The ceil((n + 1) * coverage)-th smallest error, or the largest when n is too
    small for that (Vovk et al. 2005); NaN without errors. Valid for images like those of the validation part; a little
    too small because the same part chose the weights.

    >>> conformal_radius(np.arange(1.0, 20.0), 0.9)
    18.0
    """
    known = np.sort(errors[~np.isnan(errors)])
    if not len(known):
        return float("nan")
    return float(known[min(math.ceil((len(known) + 1) * coverage), len(known)) - 1])
