"""How many labels are enough? Trainings with shares of a run's labels, and what follows for more of them."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from trigpoint.config import parse
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.errors import ConfigError, RunError
from trigpoint.metrics import radial_error
from trigpoint.metrics.label_curve import LabelCurve
from trigpoint.prediction import Predictor
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.label_curve import read_curve
from trigpoint.training.landmarks import train
from trigpoint.training.subsets import dataset_of, image_names

SHARES = (0.25, 0.5)
LEAST = 2  # labelled images of a training


def measure_curve(
    run: RunFolder,
    shares: Sequence[float] = SHARES,
    quick: bool = False,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> LabelCurve:
    """Train with ``shares`` of the labels of a finished ``run``, nested ones, and write the errors of all to its
    ``curve.csv``; the trainings are in its folder ``curve``, and a stopped one is gone on with.

    Each has as many optimizer steps as the run, or, ``quick``, as many epochs, and so a share of the steps. All are
    measured on the validation images of the run. Raises RunError for a run that is not finished, ConfigError for a
    method that finds several instances, whose error is no distance, and for shares that leave too few images.
    """
    recipe, parts = run.located(), run.parts()
    if not len(run.read_landmarks().radius):
        raise RunError(f"{run.folder}: expected a finished run, got one under way; finish it first")
    data = dataset_of(recipe, run.read_landmarks().landmarks.names)
    names = {data.image_name(sample): i for i, sample in reversed(list(enumerate(data.samples)))}
    if lost := [name for name in (*parts["train"], *parts["val"]) if name not in names]:
        raise RunError(f"{run.split}: image '{lost[0]}' is no longer in {recipe.data.path}; put it back")
    if set(parts["train"]) & set(parts["val"]):
        raise ConfigError(f"{run.folder}: has no images for validation, so nothing can be measured; label some more")
    validation = data.subset([names[name] for name in parts["val"]])
    whole = len(parts["train"])
    runs = {whole: run}
    for share in sorted(shares):
        count = round(share * whole)
        if not LEAST <= count < whole:
            raise ConfigError(
                f"shares: expected ones that leave between {LEAST} and {whole - 1} of {whole} images, got {share:g}"
            )
        tell(f"training with {count} of {whole} labelled images")
        place = run.folder / "curve" / f"{count}{'-quick' if quick else ''}"
        runs[count] = train(_of_share(recipe, count, whole, quick), out=place, progress=progress)
        learned = set(runs[count].parts()["train"])
        if not learned <= set(parts["train"]) or len(learned) != count:
            raise RunError(f"{runs[count].folder}: learned from other images than the run; remove this folder")
    rows = [_rows(runs[count], count, validation) for count in sorted(runs)]
    write_text(run.curve, pd.concat(rows).to_csv(index=False, lineterminator="\n"), overwrite=True)
    found = read_curve(run)
    assert found is not None  # it has just been written
    return found


def _of_share(recipe: Recipe, count: int, whole: int, quick: bool) -> Recipe:
    """The recipe for ``count`` of the ``whole`` labelled images of a run."""
    values = recipe.model_dump(mode="json")
    values["data"] |= {"limit": count, "fraction": None}
    steps = (-(-number // recipe.train.batch_size) for number in (whole, count))
    longer = 1.0 if quick else next(steps) / max(next(steps), 1)
    epochs = max(1, round(recipe.train.num_epochs * longer))
    every = max(1, round(recipe.train.val_every * longer))
    values["train"] |= {"epochs": epochs // every * every or epochs, "val_every": every}
    return parse(Recipe, values, "curve")


def _rows(run: RunFolder, count: int, validation: LandmarkDataset) -> pd.DataFrame:
    """An image a row: the sum of its errors and the number of its points."""
    predictor = Predictor.load(run)
    if predictor.threshold is not None:
        raise ConfigError(f"{run.folder}: expected a run that finds one of each landmark, got one that finds several")
    errors = radial_error(predictor.predict(validation).points, validation.points)
    known = np.isfinite(errors)
    return pd.DataFrame(
        {
            "labels": count,
            "image": image_names(validation),
            "subject": list(validation.groups),
            "error_px": np.where(known, errors, 0).sum(1),
            "points": known.sum(1),
        }
    )
