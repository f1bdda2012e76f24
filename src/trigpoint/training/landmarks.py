"""``train``: from a recipe and a dataset folder to a run folder, on Lightning.

The same call resumes an unfinished run. The best weights are chosen by the error on the validation images;
the split that is kept for testing is never opened.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import torch

from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import InputDataset
from trigpoint.data.input.skips import SkipLog
from trigpoint.data.splits import grouped_split
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.methods import LandmarkMethod, build_method
from trigpoint.prediction import Predictor
from trigpoint.prediction.engine import first_process
from trigpoint.recipe import DataConfig, Recipe, SourceRecipe, load_any_recipe
from trigpoint.report.figures import sigma_curves
from trigpoint.report.style import save
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.training import stages
from trigpoint.training.fitting import check_engine, check_same, draw_history, extended, fit, settled, writing
from trigpoint.training.source import train_source
from trigpoint.training.stages import readable


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
    check_engine(chosen.train)
    runs = stages.there(chosen)
    L.seed_everything(chosen.seed, workers=True, verbose=False)  # before the weights are drawn
    method = build_method(chosen, parts["train"].landmarks, stages=runs)
    inputs = _inputs(chosen, method, parts)
    if not run.exists() and first_process():
        names = {part: _image_names(data) for part, data in parts.items()}
        with writing(run):
            run.begin(chosen, LandmarkFile(parts["train"].landmarks, _common_spacing(parts["train"])), names)
    if chosen.train.threads:
        torch.set_num_threads(chosen.train.threads)
    if chosen.method.stages():
        stages.prepare(chosen, method, runs, inputs["val"], run, lambda stage, out: train(stage, (), out, progress))
        L.seed_everything(chosen.seed, workers=True, verbose=False)  # as if there had been no other training
    fit(chosen, method, inputs, run, progress)
    if first_process():
        with writing(run):
            finish(run, readable(chosen, parts["val"]))
    return run


def dataset_of(recipe: Recipe) -> LandmarkDataset:
    """The whole dataset that the recipe names. Raises ConfigError when it names none."""
    if recipe.data.path is None:
        raise ConfigError("data.path: expected a dataset folder, got none; add data.path=FOLDER")
    check = recipe.data.on_error == "stop"  # else what is damaged is skipped, not refused
    return LandmarkDataset.load(recipe.data.path, names=recipe.data.landmarks, check_images=check)


# -- data ----------------------------------------------------------------------------------------------------


def _parts(recipe: Recipe, run: RunFolder) -> dict[str, LandmarkDataset]:
    """The training and the validation subset; those of an existing run are taken from its ``split.csv``."""
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
    training = data.only(recipe.data.train) if splits else data  # raises with the splits that exist
    if recipe.data.val in splits:
        validation = data.only(recipe.data.val)
    else:
        share = recipe.data.val_share
        drawn = grouped_split(training.groups, {"train": 1 - share, "val": share}, recipe.seed)
        validation = training.subset([i for i, part in enumerate(drawn) if part == "val"])
        training = training.subset([i for i, part in enumerate(drawn) if part == "train"])
    _check_subjects(recipe, training, validation)
    labelled, rest = _labelled(recipe.data, training, recipe.seed)
    for subset, samples in (("training", labelled), ("validation", validation)):
        if not (samples.visibility > 0).any():
            raise DataError(f"{recipe.data.path}: expected annotated landmarks in the {subset} subset, got none")
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


def _inputs(recipe: Recipe, method: LandmarkMethod, parts: dict[str, LandmarkDataset]) -> dict[str, InputDataset]:
    """What the loaders draw from; refuses augmentation and data that the method cannot take."""
    made: dict[str, InputDataset] = {}
    for part, augment, more in (("train", recipe.data.augment, parts.get("unlabelled")), ("val", None, None)):
        pipeline = InputPipeline(recipe.data.input, parts[part].landmarks, augment)
        made[part] = method.inputs(parts[part], pipeline, recipe.seed, recipe.data.cache, more)
        made[part].check(part)
        if recipe.data.on_error == "skip":
            made[part].skips = SkipLog(part)
        made[part].preload()
    return made


# -- after the last epoch ------------------------------------------------------------------------------------


def finish(run: RunFolder, data: LandmarkDataset) -> None:
    """Draw the curves of ``metrics.csv`` and calibrate the run on the validation images."""
    predictor, marks = Predictor.load(run), run.read_landmarks()
    table = draw_history(run, predictor.method.validation_metric())
    members = marks.landmarks.groups or {name: (name,) for name in marks.landmarks.names}
    columns = {group: [f"sigma_{name}" for name in names] for group, names in members.items()}
    if all(set(names) <= set(table.columns) for names in columns.values()):  # else no target widths
        widths = {group: table[names].mean(axis=1).to_list() for group, names in columns.items()}
        save(sigma_curves(table["epoch"].to_list(), widths), run.folder / "sigma.png")
    found = predictor.candidates(data)
    calibrated = predictor.method.calibrate(found, data)
    run.write_landmarks(replace(marks, radius=calibrated.radius, threshold=calibrated.threshold))
