"""``train``: from a recipe and a dataset folder to a run folder, on Lightning.

The same call resumes an unfinished run. The best weights are chosen by the error on the validation images;
the split that is kept for testing is never opened.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import torch

from trigpoint.data import LandmarkDataset, image_size
from trigpoint.data.files import write_text
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import InputDataset
from trigpoint.data.input.skips import SkipLog
from trigpoint.errors import ConfigError, RunError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import LandmarkMethod, build_method
from trigpoint.methods.measuring import half_widths
from trigpoint.methods.validation import ValidationMetric
from trigpoint.prediction import Predictor
from trigpoint.prediction.engine import first_process
from trigpoint.recipe import Recipe, SourceRecipe, load_any_recipe
from trigpoint.report.figures import sigma_curves
from trigpoint.report.style import save
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.runs.record import Record, digest, write_record
from trigpoint.training import beginning, stages
from trigpoint.training.calibrating import calibrated
from trigpoint.training.callbacks import Watch
from trigpoint.training.fitting import alone, check_engine, draw_history, early, fit, go_on, tell, writing
from trigpoint.training.planning import is_dataset, planned
from trigpoint.training.remarks import remarks, untaught
from trigpoint.training.resuming import ResumePoint, extended, settled, trained
from trigpoint.training.source import train_source
from trigpoint.training.stages import readable
from trigpoint.training.subsets import (
    check_unchanged,
    common_spacing,
    dataset_of,
    divided,
    image_names,
    kept,
    new_images,
)
from trigpoint.training.tracking import check_logger, tracked

ENOUGH = 500  # training images, from which the usual positions are known
LEARNED = 0.9  # of the error of an answer that does not look at the image: what a run has to fall below


def train(
    recipe: str | Path | Recipe | SourceRecipe,
    overrides: Sequence[str] = (),
    out: str | Path = "run",
    progress: bool = True,
    more_epochs: int = 0,
    plan: str | None = None,
    minutes: float | None = None,
    watch: Watch | None = None,
) -> RunFolder:
    """Train, or resume what ``out`` holds of the same recipe; returns the run folder.

    ``recipe`` is a dataset folder, whose training is planned for so many ``minutes`` (None: 10), a file, the name of a
    recipe of the package or a ``Recipe``; one with ``task: classification`` trains a source model
    (``trigpoint.training.source``). ``overrides`` are dotted, such as ``train.epochs=5``. ``more_epochs`` goes on with
    the run in ``out`` until it has so many more than the recipe says; see ``resuming.extended``. ``plan``: the recipe
    with a planner's reasons, kept in the run folder. ``watch`` gets each row of ``metrics.csv``; what it raises ends
    the training, which can be resumed.

    Raises ConfigError and DataError before anything is written, RunError when ``out`` holds another run, the loss is
    not finite (naming the images) or a planned training learned nothing, KeyboardInterrupt when stopped, with a note
    of how many epochs are saved (the same call resumes).
    """
    run = RunFolder(out)
    if not isinstance(recipe, Recipe | SourceRecipe) and is_dataset(recipe):
        recipe, plan = planned(recipe, overrides, minutes, run, tell if progress else lambda line: None)
        overrides = ()
    elif minutes is not None:
        raise ConfigError(f"minutes={minutes:g}: expected a dataset to plan for, got a recipe, which says how long")
    chosen = extended(settled(load_any_recipe(recipe, overrides), run), run, more_epochs)
    try:
        if isinstance(chosen, SourceRecipe):
            return train_source(chosen, run, progress)
        return _train(chosen, run, progress, plan, watch)
    except KeyboardInterrupt as stop:
        stop.add_note(f"{run.folder}: {run.epochs_done()} epochs are saved")
        raise


def _train(recipe: Recipe, run: RunFolder, progress: bool, plan: str | None, watch: Watch | None) -> RunFolder:
    """As ``train``, by a recipe for landmarks; ``auto`` epochs stay those of a run that is resumed."""
    existed = run.exists()
    whole = None if existed else dataset_of(recipe)
    parts, new = kept(recipe, run) if whole is None else (divided(recipe, whole), {})
    chosen = settled(recipe, len(image_names(parts["train"])))
    if existed and _finished(run, chosen):
        _measure_again(run, chosen, parts)
        _tell_finished(run, chosen, parts, new)
        return run  # whatever it began from may be gone
    marks = _described(run, parts, check_unchanged(chosen, run, parts, new)) if existed else None
    for problem in parts["train"].problems:
        tell(str(problem))
    check_engine(chosen.train, len(image_names(parts["val"])))
    check_logger(chosen.train)
    runs = stages.there(chosen, run if existed else None)
    L.seed_everything(chosen.seed, workers=True, verbose=False)  # before the weights are drawn
    method = build_method(chosen, parts["train"].landmarks, stages=runs)
    if chosen.train.only is not None:
        method.learn_only(chosen.train.only)
    _check_shapes(chosen, method)
    fresh = not (run.last.exists() or run.previous.exists())
    begun = beginning.begin(chosen, method, run) if fresh else []
    inputs = _inputs(chosen, method, parts)
    with alone(run):
        if not existed and first_process():
            _begin(run, chosen, parts, stages.origins(runs) | beginning.origin(chosen), plan)
            if whole is not None and not RunFolder(run.folder.parent).exists():  # else a stage of another training
                chooses = chosen.train.num_epochs > chosen.train.val_every
                for line in remarks(chosen.data, parts, whole, _kept(chosen, parts), chooses):
                    tell(f"note: {line}")
        for line in begun:
            tell(line)
        if chosen.train.threads:
            torch.set_num_threads(chosen.train.threads)
        if chosen.method.stages():
            stages.prepare(chosen, method, runs, inputs["val"], run, lambda stage, out: train(stage, (), out, progress))
            L.seed_everything(chosen.seed, workers=True, verbose=False)  # as if there had been no other training
        _fit(chosen, method, inputs, parts, run, go_on(chosen, inputs, run, marks, new), progress, watch)
        if first_process():
            _check_learned(run, chosen, method.metric, parts)
    return run


def _fit(
    recipe: Recipe,
    method: LandmarkMethod,
    inputs: dict[str, InputDataset],
    parts: dict[str, LandmarkDataset],
    run: RunFolder,
    point: ResumePoint,
    progress: bool,
    watch: Watch | None,
) -> None:
    """Train from ``point`` on, calibrate, and record both."""
    with writing(run), tracked(recipe, run, tell) as tracker:
        fit(recipe, method, inputs, run, point, progress, watch, tracker)
        if first_process():
            finish(run, readable(recipe, parts["val"]), parts["train"])


def _begin(
    run: RunFolder, recipe: Recipe, parts: dict[str, LandmarkDataset], origins: dict[str, str], plan: str | None
) -> None:
    """Write what is known before the training."""
    names = {part: image_names(data) for part, data in parts.items()}
    training = parts["train"]
    never = untaught(training, _kept(recipe, parts))
    described = LandmarkFile(training.landmarks, common_spacing(training), untaught=never)
    with writing(run):
        run.begin(recipe, described, names, origins)
        if plan is not None:
            write_text(run.plan, plan, overwrite=True)


def _kept(recipe: Recipe, parts: dict[str, LandmarkDataset]) -> tuple[str, ...]:
    """Landmarks that stay what the run has made of them that this one begins from."""
    return beginning.not_taught(recipe, parts["train"].landmarks.names)


def _described(run: RunFolder, parts: dict[str, LandmarkDataset], accepted: LandmarkFile | None) -> LandmarkFile | None:
    """What a resumed run has to write of its landmarks: the ``accepted`` description, and those that are taught now."""
    stored = run.read_landmarks()
    still = tuple(name for name in untaught(parts["train"]) if name in stored.untaught)
    if accepted is None and still == stored.untaught:
        return None
    return replace(accepted or LandmarkFile(stored.landmarks, stored.spacing_mm), untaught=still)


def _check_learned(run: RunFolder, recipe: Recipe, metric: ValidationMetric, parts: dict[str, LandmarkDataset]) -> None:
    """Say so when the best weights are no better than an answer that does not look at the image; of a planned training
    by a RunError. It cannot be told where the images that were learned from are all there are."""
    if set(image_names(parts["val"])) <= set(image_names(parts["train"])):
        return
    some = parts["train"].limit(ENOUGH, recipe.seed, across=True)
    least = float(run.history_table()[metric.columns[0]].min())
    constant = metric.constant(readable(recipe, some), readable(recipe, parts["val"]))
    if not least >= LEARNED * constant:  # nan: never measured
        return
    found = (
        f"{run.folder}: nothing was learned: its {metric.title} on the validation images is "
        f"{metric.factor * least:.3g} {metric.unit}, that of an answer that does not look at the image "
        f"{metric.factor * constant:.3g} {metric.unit}."
    )
    look = "look at the labels: trigpoint data check, trigpoint data show"
    if run.plan.is_file():
        raise RunError(f"{found} Give it more --minutes, and {look}")
    tell(f"warning: {found} Give it more train.epochs, a lower train.optimizer.lr or wider targets, and {look}")


def _finished(run: RunFolder, recipe: Recipe) -> bool:
    """Whether nothing is left to do; radii and threshold are the last thing that ``finish`` writes."""
    if not run.weights.is_file() or not trained(run, recipe):
        return False
    return len(run.read_landmarks().radius) > 0


def _tell_finished(
    run: RunFolder, recipe: Recipe, parts: dict[str, LandmarkDataset], new: Mapping[str, list[str]]
) -> None:
    """What there is to know of a run that is trained again and has nothing left to do."""
    if new:
        tell(f"{run.folder}: {new_images(new)} are not learned; add them: --more-epochs 20 data.on_change=accept")
    if run.plan.is_file():
        finished = build_method(recipe, parts["train"].landmarks, fetch=False)
        metric = finished.validation_metric()
        metric.show_in(run.read_landmarks().spacing_mm)
        _check_learned(run, recipe, metric, parts)
    if run.epochs_done() < recipe.train.num_epochs:
        tell(early(run, recipe))


def _check_shapes(recipe: Recipe, method: LandmarkMethod) -> None:
    """Shapes are those of one object in an image."""
    if recipe.train.shape_prior and method.threshold is not None:
        raise ConfigError(
            f"train.shape_prior: expected a method that finds one of each landmark, got {recipe.method_name}; set "
            "train.shape_prior=false"
        )


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


def finish(run: RunFolder, data: LandmarkDataset, learned: LandmarkDataset) -> None:
    """Draw the curves of ``metrics.csv``, calibrate the run on the validation images ``data``, and write what it notes
    of itself; ``learned`` is what was learned from.

    Measurements are those that the dataset names now: they teach nothing, so a run may get others.
    """
    predictor, marks = Predictor.load(run), run.read_landmarks()
    metric = predictor.method.validation_metric()
    metric.show_in(marks.spacing_mm)
    table = draw_history(run, metric)
    members = marks.landmarks.groups or {name: (name,) for name in marks.landmarks.names}
    columns = {group: [f"sigma_{name}" for name in names] for group, names in members.items()}
    if run.widths_move() and all(set(names) <= set(table.columns) for names in columns.values()):
        widths = {group: table[names].mean(axis=1).to_list() for group, names in columns.items()}
        save(sigma_curves(table["epoch"].to_list(), widths), run.sigma)
    held = predictor.recipe.train.only is not None
    before = beginning.held_shape(predictor.recipe, run, marks.landmarks.names) if held else None
    made = calibrated(predictor, data, marks.landmarks, learned.points, held=held, shape=before)
    if made.shape is None and predictor.recipe.train.shape_prior and not held:
        tell("train.shape_prior: left out, for points drawn to the labelled shapes are not more exact here")
    run.write_shape(made.shape)
    run.write_trust(made.trust)
    run.write_together(made.together)
    own = made.calibration
    now = replace(marks, landmarks=_naming(marks.landmarks, data), widths=made.widths)
    run.write_landmarks(replace(now, radius=own.radius, scale=own.scale, threshold=own.threshold))
    interval = None if math.isnan(made.interval[0]) else made.interval
    write_record(run, replace(_record(run, {"train": learned, "val": data}), error=made.error, interval=interval))


def _record(run: RunFolder, parts: Mapping[str, LandmarkDataset]) -> Record:
    sizes = [image_size(sample.image) for sample in parts["val"].samples]
    height, width = (int(value) for value in np.median(sizes, axis=0))
    images = {part: len(data.by_image()) for part, data in parts.items()}
    subjects = {part: len(set(data.groups)) for part, data in parts.items()}
    return Record(digest(run.weights), images, subjects, (height, width))


def _naming(landmarks: LandmarkSet, data: LandmarkDataset) -> LandmarkSet:
    """The same with the measurements of the dataset, where it names any."""
    return replace(landmarks, measurements=data.landmarks.measurements or landmarks.measurements)


def _measure_again(run: RunFolder, recipe: Recipe, parts: dict[str, LandmarkDataset]) -> None:
    """Calibrate a finished run anew for the measurements of ``dataset.yaml``, where these are others now."""
    marks, data = run.read_landmarks(), parts["val"]
    landmarks = _naming(marks.landmarks, data)
    if landmarks.measurements == marks.landmarks.measurements or not first_process():
        return
    with alone(run), writing(run):
        data = readable(recipe, data)
        found = Predictor.load(run).candidates(data)
        measured = data.aligned(landmarks.names, blank=marks.untaught)
        widths = half_widths(found, measured, marks.scale)
        run.write_landmarks(replace(marks, landmarks=landmarks, widths=widths))
    tell(f"{run.folder}: {recipe.data.path} names other measurements now: {', '.join(landmarks.measurements)}")
