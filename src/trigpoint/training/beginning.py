"""A run that begins from another: the landmarks it has, whether it fits, and what is told of it."""

from collections.abc import Sequence
from pathlib import Path

from trigpoint.config import Config
from trigpoint.errors import ConfigError, RunError, did_you_mean
from trigpoint.methods import LandmarkMethod
from trigpoint.methods.base import StageRun
from trigpoint.metrics.shape_prior import ShapePrior
from trigpoint.nn.weights import checksum
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder

INIT = "init"  # its name in the run's env.txt


def begun_from(recipe: Recipe) -> RunFolder | None:
    """The run that ``train.init`` names. Raises ConfigError where none is there."""
    if recipe.train.init is None:
        return None
    run = RunFolder(recipe.train.init)
    if not run.exists():
        raise ConfigError(f"train.init: expected a run folder, got none at {run.folder}; check the path")
    return run


def names_of(recipe: Recipe) -> tuple[str, ...] | None:
    """The landmarks of a run that learns only some: those of the run it begins from, and the new ones; else None."""
    run = begun_from(recipe) if recipe.train.only is not None else None
    if run is None:
        return None
    return tuple(dict.fromkeys((*run.read_landmarks().landmarks.names, *(recipe.train.only or ()))))


def not_taught(recipe: Recipe, names: tuple[str, ...]) -> tuple[str, ...]:
    """Landmarks that are kept as they are, so that no training image need annotate them."""
    return () if recipe.train.only is None else tuple(name for name in names if name not in recipe.train.only)


def origin(recipe: Recipe) -> dict[str, str]:
    """A hash of the weights that a run begins from, as ``stages.origins``."""
    run = begun_from(recipe)
    return {} if run is None else {INIT: checksum(run.load_weights()[0])}


def begin(recipe: Recipe, method: LandmarkMethod, run: RunFolder) -> list[str]:
    """Give ``method`` the weights that ``run``, which has no checkpoint yet, begins from; what was kept, in words.

    Raises ConfigError for a run that does not fit, RunError for another one than it was begun with.
    """
    first = begun_from(recipe)
    if first is None:
        return []
    noted = run.origins().get(INIT) if run.exists() else None
    weights = first.load_weights()[0]
    if noted is not None and noted != checksum(weights):
        raise RunError(
            f"{first.folder}: is not the run that {run.folder} was begun from; put that back, or train into another "
            "--out"
        )
    names = first.read_landmarks().landmarks.names
    _check_fits(recipe, first.recipe(), first.folder)
    method.begin_from(StageRun(first.folder, first.recipe(), weights), names)
    kept = [name for name in method.landmark_names if name in names]
    new = [name for name in method.landmark_names if name not in names]
    text = f"{first.folder}: begun from its weights, with {len(kept)} of its {len(names)} landmarks"
    text += f"; new: {', '.join(new)}" if new else ""
    told = [text]
    if recipe.train.only is not None:
        told.append(f"only {', '.join(recipe.train.only)} will be learned, all else stays as it is")
    return told


def held_shape(recipe: Recipe, run: RunFolder, names: Sequence[str]) -> ShapePrior | None:
    """What shapes say of the landmarks ``names`` of a run that learns only some: the others' points stay where they
    are, so it is what the run that it begins from says, and nothing of the new ones."""
    if run.shape.is_file():  # of an earlier calibration
        return run.read_shape(len(names))
    first = begun_from(recipe)
    if first is None:
        return None
    theirs = first.read_landmarks().landmarks.names
    found = first.read_shape(len(theirs))
    return None if found is None else found.among(theirs, names)


def check_only(recipe: Recipe, names: tuple[str, ...]) -> None:
    """Raise ConfigError for landmarks to learn that are not among ``names``."""
    for name in recipe.train.only or ():
        if name not in names:
            raise ConfigError(f"train.only: unknown landmark '{name}'; {did_you_mean(name, names)}")


def _check_fits(recipe: Recipe, first: Recipe, folder: Path) -> None:
    """The method has to be of one kind; where old points are not to move, it and its input have to be the same."""
    fix = f"take its recipe: trigpoint train {folder / 'config.yaml'} train.init={folder}"
    if recipe.method_name != first.method_name:
        raise ConfigError(
            f"train.init: expected the method of {folder}, {first.method_name}, got {recipe.method_name}; {fix}"
        )
    if recipe.train.only is None:
        return
    pairs: list[tuple[str, Config, Config]] = [
        ("data.input", recipe.data.input, first.data.input),
        ("method", recipe.method, first.method),
    ]
    for section, ours, theirs in pairs:
        mine, other = ours.model_dump(mode="json"), theirs.model_dump(mode="json")
        for key in mine:
            if mine[key] != other.get(key):
                raise ConfigError(
                    f"train.only: expected {section}.{key} as in {folder}, {other.get(key)}, so that old points stay, "
                    f"got {mine[key]}; {fix}"
                )
