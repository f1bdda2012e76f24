"""The runs that a method begins from: those that are there, and those that have to be trained first."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trigpoint.config import parse
from trigpoint.data import LandmarkDataset, image_size
from trigpoint.data.input.loading import InputDataset
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.methods import LandmarkMethod
from trigpoint.methods.base import StageRun
from trigpoint.nn.weights import checksum
from trigpoint.prediction import Predictor
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder


def there(recipe: Recipe, run: RunFolder | None = None) -> dict[str, StageRun]:
    """The runs among the stages of a recipe that are there already, the same that ``run`` began from.

    Raises ConfigError for one that is not there, RunError for one that is not complete, or of other weights.
    """
    found = {name: stage.run for name, stage in recipe.method.stages().items() if stage.run is not None}
    for name, folder in found.items():
        if not RunFolder(folder).exists():
            raise ConfigError(f"method: expected a run folder as its {name}, got none at {folder}; check the path")
    runs = {name: _finished(RunFolder(folder)) for name, folder in found.items()}
    if run is not None:
        noted = run.origins()
        before = run.recipe().method.stages()
        for name, now in origins(runs).items():
            then = before[name].run if name in before else None
            moved = then is None or Path(then).resolve() != Path(found[name]).resolve()
            if noted[name] != now if name in noted else moved:  # old runs noted the place alone
                raise RunError(
                    f"{found[name]}: is not the {recipe.method.stages()[name].what} that {run.folder} was begun from "
                    f"({then}); put that back, or train into another --out"
                )
    return runs


def origins(runs: Mapping[str, StageRun]) -> dict[str, str]:
    """A hash of the weights of each."""
    return {name: checksum(run.weights) for name, run in runs.items()}


def prepare(
    recipe: Recipe,
    method: LandmarkMethod,
    given: Mapping[str, StageRun],
    validation: InputDataset,
    run: RunFolder,
    train: Callable[[Recipe, Path], RunFolder],
) -> None:
    """Train what is missing of the stages into folders of the run, measure them, and hand them to the method."""
    for name, stage in recipe.method.stages().items():
        if stage.recipe is None:
            finished = given[name]
        else:
            first = parse(Recipe, stage.recipe, f"method.{name}")
            how = {key: getattr(recipe.data, key) for key in ("on_error", "on_change")}
            finished = _finished(
                train(first.model_copy(update={"data": first.data.model_copy(update=how)}), run.folder / name)
            )
        if isinstance(finished.recipe, Recipe):
            finished = replace(finished, errors=_errors(RunFolder(finished.folder), name, recipe, validation))
        method.take_stage(name, finished)


def _finished(run: RunFolder) -> StageRun:
    return StageRun(run.folder, run.any_recipe(), run.load_weights()[0])


def _errors(run: RunFolder, name: str, recipe: Recipe, validation: InputDataset) -> torch.Tensor:
    """Errors (N, K, 2) in input pixels of ``validation``, on those of its images that the run was not trained on."""
    predictor, data = Predictor.load(run), readable(recipe, validation.dataset)
    if predictor.landmarks.names != data.landmarks.names:
        raise ConfigError(
            f"{run.folder}: expected a run for the landmarks {', '.join(data.landmarks.names)}, got "
            f"{', '.join(predictor.landmarks.names)}; set data.landmarks, or let method.{name} train one"
        )
    learned = set(run.parts().get("train", []))
    unseen = data.subset([i for i, sample in enumerate(data.samples) if data.image_name(sample) not in learned])
    if not len(unseen):
        raise ConfigError(
            f"{run.folder}: was trained on all validation images of this run, so its errors cannot be measured; "
            f"train it with the same seed and data.val_share, or let method.{name} train one"
        )
    predictor.shape = None  # the run's network alone goes on here
    found = predictor.predict(unseen, batch_size=4).points
    errors = []
    for sample, points in zip(unseen.samples, found, strict=True):
        pair = np.stack([points, sample.points])
        there, truth = validation.pipeline.points(image_size(sample.image), pair)
        errors.append(there - truth)
    return torch.stack(errors)


def readable(recipe: Recipe, data: LandmarkDataset) -> LandmarkDataset:
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
