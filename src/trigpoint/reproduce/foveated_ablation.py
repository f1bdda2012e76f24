"""What the parts of the foveated pyramid are worth: looks in training and in prediction, features, levels.

On drawn radiographs with exact truth, offline, or on a dataset of the user's. Every setting makes the same number of
optimizer steps, so with fewer looks per batch the images are gone through more often. Weights are those of the last
epoch in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import ConfigError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error, radial_error
from trigpoint.nn.pyramid import level_count
from trigpoint.report.style import dress, legend, line_style, new_figure
from trigpoint.reproduce.findings import Claim, Findings, Table, spread
from trigpoint.reproduce.foveated import LOOKS, points_after
from trigpoint.reproduce.study import Job, Request, run_jobs, with_seeds
from trigpoint.synthetic import write_radiographs
from trigpoint.synthetic.folder import MARK
from trigpoint.synthetic.radiograph import LANDMARKS

NAME = "foveated-ablation"
OPTIONS = ("landmarks", "split")
RECIPE = "foveated"
DRAWN = ("sella", "upper_incisor", "gonion")
TRAIN_LOOKS = (1, 3, 10)
BASE = 3
"""Looks per batch of the settings that vary something else."""
CLOSE = 1.02  # times the error after the most looks


@dataclass(frozen=True)
class Scale:
    """Drawn images and their side, looks per image in all of training, and overrides of the recipe ``foveated``."""

    size: int
    train: int
    val: int
    test: int
    looks: int
    seeds: tuple[int, ...]
    about: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many are drawn."""
        return self.train + self.val + self.test


SCALES: Mapping[str, Scale] = {
    "small": Scale(
        512,
        24,
        6,
        24,
        30,
        (0, 1),
        "the trunk 'small', AdamW 1e-3 with cosine decay",
        {
            "method.trunk": "small",
            "method.train_starts": 1,
            "data.workers": 0,
            "train.batch_size": 4,
            "train.optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.01},
        },
    ),
    "paper": Scale(
        2048,
        150,
        20,
        100,
        400,
        (0, 1),
        "ResNet-34 from scratch, 2 starts per image, batches of 2, Adam 1e-4, a tenth of it from half of training on",
        {
            "method.trunk": "resnet34",
            "method.train_starts": 2,
            "train.batch_size": 2,
            "train.optimizer": {"name": "adam", "lr": 0.0001},
            "train.lr_schedule": {"name": "step", "milestones": [0.5], "gamma": 0.1},
            "train.ema": 0,
            "train.clip": None,
        },
    ),
}


@dataclass(frozen=True)
class Sweep:
    """Test MRE in px of each seed by setting and number of looks in prediction; ``levels`` is the most, ``start`` the
    error of the mean training position."""

    errors: Mapping[str, Mapping[int, Sequence[float]]]
    levels: int
    start: float

    def mean(self, setting: str, looks: int) -> float:
        """Mean over the seeds; infinite when one has none."""
        value = float(np.mean(self.errors[setting][looks]))
        return value if np.isfinite(value) else float("inf")


def reproduce(request: Request, scale: Scale | None = None) -> Findings:
    """Train every setting and write the table, the figure and verdicts into ``request.out``.

    Raises ConfigError for a bad option, DataError for a dataset without the split or the landmarks.
    """
    chosen = SCALES[request.scale] if scale is None else scale
    split = request.options.get("split", "test")
    canvas, names = _canvas_and_names(request, chosen)
    facts = {"split": split, "landmarks": names}
    if request.data is None:
        request.open_folder(**facts)
    folder = request.data or _draw(request.out / "data", chosen, request)
    test = LandmarkDataset.load(folder, split, names)
    training = LandmarkDataset.load(folder, "train", names, check_images=False)
    request.open_folder(**facts)
    levels, seeds = level_count(canvas, chosen.overrides.get("method.glimpse", 64)), request.seeds or chosen.seeds
    planned = with_seeds(jobs(chosen, canvas, names, levels), seeds)
    outcomes = run_jobs(request, planned, folder, test)
    errors: dict[str, dict[int, list[float]]] = {}
    for outcome in outcomes:
        row = errors.setdefault(outcome.job.name, {count: [] for count in LOOKS})
        known = outcome.run.weights.is_file()
        points = points_after(outcome.run, test) if known else dict.fromkeys(LOOKS, np.full_like(test.points, np.nan))
        for count in LOOKS:
            row[count].append(mean_error(radial_error(points[count], test.points)) if known else float("nan"))
    start = mean_error(radial_error(_means(training, len(test)), test.points))
    sweep = Sweep(errors, levels, start)
    findings = Findings(
        f"Foveated pyramid, what its parts are worth (scale {request.scale})",
        _setting(request, chosen, canvas, names, len(training), len(test), seeds),
        [_table(sweep)],
        ablation_claims(sweep),
        runs=[outcome.summary() for outcome in outcomes],
        figures={"looks": _figure(sweep)},
    )
    findings.write(request.out)
    return findings


def jobs(scale: Scale, canvas: tuple[int, int], names: Sequence[str], levels: int) -> list[Job]:
    """The settings, in the order of the table."""
    common = {
        "data.input.size": list(canvas),
        "data.landmarks": list(names),
        "data.cache": True,
        "method.levels": levels,
        **scale.overrides,
    }
    found = []
    for key, changed in settings(levels).items():
        looks = changed.get("method.train_iterations", BASE)
        epochs = max(1, round(scale.looks / looks))
        # validated once, at the end: the settings have different numbers of epochs to choose from
        length = {"method.train_iterations": looks, "train.epochs": epochs, "train.val_every": epochs}
        found.append(Job(key, RECIPE, {**common, **length, **changed}, 0))
    return found


def settings(levels: int) -> dict[str, dict[str, Any]]:
    """What each setting changes, by its name in folder names.

    >>> list(settings(3))
    ['looks1', 'looks3', 'looks10', 'flatten', 'levels1', 'levels2']
    """
    varied: dict[str, dict[str, Any]] = {f"looks{n}": {"method.train_iterations": n} for n in TRAIN_LOOKS}
    varied["flatten"] = {"method.features": "flatten"}
    return varied | {f"levels{n}": {"method.levels": n} for n in range(1, levels)}


def label(setting: str, levels: int) -> str:
    """Name of a setting as the table shows it.

    >>> label("looks3", 4), label("levels1", 4)
    ('3 looks per batch, spatialised features, 4 levels', '3 looks per batch, spatialised features, 1 level')
    """
    looks = int(setting.removeprefix("looks")) if setting.startswith("looks") else BASE
    used = int(setting.removeprefix("levels")) if setting.startswith("levels") else levels
    features = "flattened maps" if setting == "flatten" else "spatialised features"
    per_batch, deep = ("" if count == 1 else "s" for count in (looks, used))
    return f"{looks} look{per_batch} per batch, {features}, {used} level{deep}"


def ablation_claims(sweep: Sweep) -> list[Claim]:
    """What is said of the foveated pyramid, on the mean over the seeds."""
    most, base = LOOKS[-1], f"looks{BASE}"
    by_looks = {n: sweep.mean(f"looks{n}", most) for n in TRAIN_LOOKS}
    three, ten = sweep.mean("looks10", 3), sweep.mean("looks10", most)
    ours, flat = sweep.mean(base, most), sweep.mean("flatten", most)
    by_levels = [*(sweep.mean(f"levels{n}", most) for n in range(1, sweep.levels)), ours]
    return [
        Claim(
            "10 looks per batch are the best in training, at the same number of steps",
            all(by_looks[10] < by_looks[n] for n in TRAIN_LOOKS if n != 10),
            "; ".join(f"{n}: {error:.2f} px" for n, error in by_looks.items()),
        ),
        Claim(
            f"3 looks are enough in prediction (error at most {CLOSE - 1:.0%} above that of {most})",
            bool(np.isfinite(ten) and three <= CLOSE * ten),
            f"trained with 10 looks: {three:.2f} px after 3, {ten:.2f} px after {most}",
        ),
        Claim(
            "Spatialised features err less than flattened maps",
            ours < flat,
            f"{ours:.2f} against {flat:.2f} px after {most} looks",
        ),
        Claim(
            "All levels err less than any fewer",
            all(ours < error for error in by_levels[:-1]) if len(by_levels) > 1 else None,
            "; ".join(f"{n}: {error:.2f} px" for n, error in enumerate(by_levels, start=1)) + f" after {most} looks",
        ),
    ]


# -- parts ------------------------------------------------------------------------------------------------------------


def _canvas_and_names(request: Request, scale: Scale) -> tuple[tuple[int, int], list[str]]:
    """Size (H, W) that holds every image, and the landmarks that are looked for."""
    given = request.options.get("landmarks")
    chosen = None if given is None else [name.strip() for name in given.split(",")]
    if request.data is None:
        if "split" in request.options:
            raise ConfigError("split: expected only with --data, the drawn images have a test split; leave it out")
        canvas, marks, default = (scale.size, scale.size), LANDMARKS, list(DRAWN)
    else:
        data = LandmarkDataset.load(request.data)
        sizes = [image_size(sample.image) for sample in data.samples]
        canvas = (max(height for height, _ in sizes), max(width for _, width in sizes))
        marks, default = data.landmarks, list(data.landmarks.names[: len(DRAWN)])
    names = default if chosen is None else chosen
    for name in names:
        marks.index(name)
    return canvas, names


def _draw(folder: Path, scale: Scale, request: Request) -> Path:
    """Draw the radiographs, unless the folder holds them complete."""
    shares = {part: getattr(scale, part) / scale.images for part in ("train", "val", "test")}
    if (folder / MARK).is_file():
        mark = read_yaml(folder / MARK)  # its digests are written last
        if "sha256" in mark and (mark["count"], mark["size"][0], mark["splits"]) == (scale.images, scale.size, shares):
            return folder
    request.say(f"drawing {scale.images} radiographs of {scale.size} x {scale.size} pixels")
    return write_radiographs(folder, scale.images, size=scale.size, seed=0, splits=shares)


def _means(training: LandmarkDataset, count: int) -> FloatArray:
    middle: FloatArray = np.nanmean(training.points, axis=0)
    return np.broadcast_to(middle, (count, *middle.shape))


def _setting(
    request: Request,
    scale: Scale,
    canvas: tuple[int, int],
    names: Sequence[str],
    training: int,
    testing: int,
    seeds: Sequence[int],
) -> str:
    source = "Drawn radiographs" if request.data is None else f"Images of {request.data.name}"
    return (
        f"{source}, canvas {canvas[0]} x {canvas[1]} pixels, {training} for training, {testing} for testing, landmarks "
        f"{', '.join(names)}. One network for all of them, {scale.about}, {scale.looks} looks per image in all of "
        "training, so that every setting makes the same number of optimizer steps; the weights of the last epoch "
        f"count. Seeds {', '.join(map(str, seeds))}. Lengths are pixels of the stored images."
    )


def _table(sweep: Sweep) -> Table:
    rows: list[dict[str, Any]] = [
        {
            "training": label(key, sweep.levels),
            **{f"{count} look{'' if count == 1 else 's'}": spread(values) for count, values in errors.items()},
        }
        for key, errors in sweep.errors.items()
    ]
    rows.append({"training": f"no look, the mean training position: {sweep.start:.2f} px"})
    note = "MRE in px on the test images, mean ± sd over seeds, after so many looks in prediction."
    return Table("Error after a number of looks in prediction", rows, note)


def _figure(sweep: Sweep) -> Figure:
    figure = new_figure(8.2, 4.4)
    axes = figure.subplots()
    for i, (key, errors) in enumerate(sweep.errors.items()):
        means = [float(np.mean(values)) for values in errors.values()]
        axes.plot(list(errors), means, marker="o", markersize=3.5, label=label(key, sweep.levels), **line_style(i))
    axes.set_yscale("log")
    axes.set_xticks(LOOKS)
    dress(axes, "looks in prediction", "mean radial error (px, log scale)", "Error against the number of looks")
    legend(axes, len(sweep.errors), beside=True)
    return figure
