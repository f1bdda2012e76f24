"""Foveated pyramid on the ISBI 2015 cephalograms: the official train and test1, 19 landmarks at full resolution.

The radiographs may not be published and are not part of the package: ``--data`` names the folder. Weights are chosen on
a validation part of train. The official split has copies of training images in test1, so every number is given a second
time without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError
from trigpoint.landmarks import FloatArray
from trigpoint.report.figures import ced_plot, comparison, per_landmark_bars
from trigpoint.reproduce.findings import Findings, Table, spread
from trigpoint.reproduce.foveated import LOOKS, difference, errors_mm, mean_and_sd, measure, points_after, sdr_cells
from trigpoint.reproduce.foveated_isbi_claims import HALF, LABELS, Evidence, isbi_claims
from trigpoint.reproduce.foveated_isbi_data import TABLES, Radiographs, read_radiographs
from trigpoint.reproduce.foveated_published import FOURFOLD, LANDMARKS, PAPER, TEST1, Published
from trigpoint.reproduce.study import Job, Outcome, Request, predicted, run_jobs, with_seeds
from trigpoint.runs import RunFolder

NAME = "foveated-isbi2015"
OPTIONS = ("labels", "runs", "pretrained")
RUNS = ("shared", "single", "shared3", "cascade")
THREE = ("sella", "upper_incisal_incision", "gonion")  # a plain one, a sharp one, a vague one

# -- what --scale small changes in the recipe, one dict for each run ---------------------------------------------------

_SMALL_TRAIN: Mapping[str, Any] = {
    "data.workers": 1,
    "data.cache": True,
    "train.batch_size": 2,
    "train.optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.01},
    "train.lr_schedule": {"name": "cosine", "warmup": 0.02},
    "train.ema": 0.99,
    "train.precision": "auto",
}
_SMALL_GLIMPSES: Mapping[str, Any] = {
    "method.trunk": "small",
    "method.pretrained": False,
    "method.train_iterations": 3,
    "method.train_starts": 1,
    "method.iterations": 3,
}
SMALL_SHARED: Mapping[str, Any] = {
    **_SMALL_TRAIN,
    **_SMALL_GLIMPSES,
    "method.shared": True,
    "train.epochs": 26,
}
SMALL_SINGLE: Mapping[str, Any] = {
    **_SMALL_TRAIN,
    **_SMALL_GLIMPSES,
    "method.shared": False,
    "data.landmarks": list(THREE),
    "train.epochs": 12,
}
SMALL_SHARED3: Mapping[str, Any] = {
    **_SMALL_TRAIN,
    **_SMALL_GLIMPSES,
    "method.shared": True,
    "data.landmarks": list(THREE),
    "train.epochs": 12,
}
_COARSE: Mapping[str, Any] = {
    "data": {
        "input": {"size": [160, 128], "channels": 1, "normalize": "image"},
        "augment": {"rotation": 10, "scale": [0.9, 1.1], "shift": 0.05, "gamma": 0.3},
        "workers": 1,
        "cache": True,
    },
    "method": {
        "name": "heatmap",
        "network": {"name": "res_unet", "stride": 4, "width": 64},
        "loss": {"name": "kl", "coordinate": 1.0},
        "decoder": "soft_argmax",
        "schedule": {"name": "fixed", "sigma0": 1.0},
    },
    "train": {
        "epochs": 150,
        "batch_size": 8,
        "precision": "auto",
        "ema": 0.99,
        "clip": 5.0,
        "val_every": 5,
        "optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.01},
        "lr_schedule": {"name": "cosine", "warmup": 0.02},
    },
}
SMALL_CASCADE: Mapping[str, Any] = {
    **_SMALL_TRAIN,
    "method": {
        "name": "cascade",
        "coarse": _COARSE,
        "fine": {
            "shared": True,
            "trunk": "small",
            "pretrained": False,
            "levels": 4,
            "train_iterations": 2,
            "train_starts": 1,
            "iterations": 3,
        },
    },
    "train.epochs": 14,
}
PAPER_CASCADE: Mapping[str, Any] = {
    "method": {
        "name": "cascade",
        "coarse": _COARSE,
        "fine": {"shared": True, "trunk": "resnet34", "pretrained": True, "levels": 4, "iterations": 3},
    },
}


@dataclass(frozen=True)
class Scale:
    """Overrides of the recipe for each run, and what they make of it.

    ``three``: landmarks of the comparison of a shared network with one per landmark. Looks are compared on every
    ``looks_step``-th test image. ``pretrained``: whether its trunks begin with weights learned on ImageNet.
    """

    runs: Mapping[str, Mapping[str, Any]]
    about: str
    three: tuple[str, ...] = THREE
    looks_step: int = 1
    pretrained: bool = False


SCALES: Mapping[str, Scale] = {
    "small": Scale(
        {"shared": SMALL_SHARED, "single": SMALL_SINGLE, "shared3": SMALL_SHARED3, "cascade": SMALL_CASCADE},
        "the trunk 'small' from scratch in place of a pretrained ResNet-34, one network for all landmarks (a network "
        "per landmark on three landmarks only), 1 start and 3 looks per image in training (cascade: 2) and 3 in "
        "prediction, AdamW 1e-3 with cosine decay, averaged "
        "weights, 12 to 26 epochs (paper: 2 starts, 10 looks, Adam 1e-4, 40 epochs)",
        looks_step=4,
    ),
    "paper": Scale(
        {
            "shared": {"method.shared": True},
            "single": {},
            "shared3": {"method.shared": True, "data.landmarks": list(THREE)},
            "cascade": PAPER_CASCADE,
        },
        "the paper's trunk, head, starts, looks, optimizer, augmentation and epochs",
        pretrained=True,
    ),
}


def reproduce(request: Request, scale: Scale | None = None) -> Findings:
    """Train, measure on test1 and write tables, figures and verdicts into ``request.out``.

    Raises ConfigError without ``data`` or for a bad option, DataError for a folder of another layout.
    """
    chosen = SCALES[request.scale] if scale is None else scale
    labels = request.one_of("labels", tuple(TABLES), "mean")
    wanted = request.some_of("runs", RUNS, RUNS)
    pretrained = request.one_of("pretrained", ("yes", "no"), "yes" if chosen.pretrained else "no") == "yes"
    if pretrained and not chosen.pretrained:
        raise ConfigError(f"pretrained=yes: the trunk of --scale {request.scale} has no such weights; leave it out")
    if request.data is None:
        raise ConfigError(f"{NAME}: expected the cephalograms, got none; give --data FOLDER with {TABLES[labels]}")
    data = read_radiographs(request.data, labels)
    for name in chosen.three:
        data.test.landmarks.index(name)
    request.open_folder(labels=labels, pretrained=pretrained)
    seeds = request.seeds or (0,)
    planned = with_seeds(jobs(chosen, wanted, pretrained), seeds)
    outcomes = run_jobs(request, planned, data.table, data.test)
    runs = {name: [o for o in outcomes if o.job.name == name] for name in wanted}
    sample = data.test.subset(range(0, len(data.test), chosen.looks_step))
    evidence = gather(data, runs, chosen.three, sample)
    findings = Findings(
        f"Foveated pyramid, ISBI 2015 cephalograms (scale {request.scale}, labels {labels})",
        _setting(chosen, data, labels, pretrained, seeds),
        [*_overall(evidence, runs), *_three(evidence, runs, chosen.three), *_looks(evidence, runs, sample)],
        isbi_claims(evidence),
        list(data.warnings),
        [outcome.summary() for outcome in outcomes],
        _figures(evidence, runs, data.test),
    )
    findings.tables[1:1] = _per_landmark(evidence, data.test.landmarks.names)
    findings.write(request.out)
    return findings


def jobs(scale: Scale, wanted: Sequence[str], pretrained: bool) -> list[Job]:
    """The runs that are wanted, in the order of ``RUNS``."""
    found = []
    for name in wanted:
        overrides = dict(scale.runs[name])
        if scale.pretrained and not pretrained:
            method = overrides.get("method")
            if method is None:
                overrides["method.pretrained"] = False
            else:
                overrides["method"] = {**method, "fine": {**method["fine"], "pretrained": False}}
        found.append(Job(name, NAME, overrides, 0))
    return found


def gather(
    data: Radiographs, runs: Mapping[str, Sequence[Outcome]], three: Sequence[str], sample: LandmarkDataset
) -> Evidence:
    """Errors of everything that was trained; looks are counted on ``sample`` with the first run that has glimpses."""
    errors: dict[str, list[FloatArray]] = {}
    small: dict[str, list[FloatArray]] = {}
    for name, outcomes in runs.items():
        parts = [outcome.job.part_of(data.test) for outcome in outcomes]
        found = [errors_mm(outcome.points, part) for outcome, part in zip(outcomes, parts, strict=True)]
        names = parts[0].landmarks.names
        if name in LABELS and names == data.test.landmarks.names:
            errors[name] = found
        if name in ("single", "shared3"):
            where = [names.index(each) for each in three]
            small[name] = [values[:, where] for values in found]
    if "cascade" in runs:
        stages = [RunFolder(outcome.run.folder / "coarse") for outcome in runs["cascade"]]
        errors["coarse"] = [errors_mm(predicted(stage, data.test), data.test) for stage in stages]
    looks: dict[int, FloatArray] = {}
    source = next((runs[name][0] for name in runs if runs[name][0].run.weights.is_file()), None)
    if source is not None:
        part = source.job.part_of(sample)
        looks = {count: errors_mm(points, part) for count, points in points_after(source.run, part).items()}
    return Evidence(data.test.groups, errors, small, looks, data.doctors, data.clean)


# -- tables -----------------------------------------------------------------------------------------------------------


def _setting(scale: Scale, data: Radiographs, labels: str, pretrained: bool, seeds: Sequence[int]) -> str:
    trunk = ""
    if scale.pretrained:
        trunk = ", trunks pretrained on ImageNet" if pretrained else ", trunks from scratch (paper: pretrained)"
    return (
        f"{data.training} training images (a part of them kept for validation, on which the weights are chosen; the "
        f"official code trains on all and keeps the last epoch), {len(data.test)} test images, labels: {labels}, 0.1 "
        f"mm per pixel in the challenge. {scale.about[0].upper()}{scale.about[1:]}{trunk}. Different from the official "
        "code in all scales: each image is normalised by itself (there one mean and SD for all), the whole image is "
        "the canvas (there cut to 1920 and padded to 2432), pyramid levels and labels agree on where a point lies, "
        "the augmentation by scale goes the right way, and no image of an epoch or of the test is left out. Seeds "
        f"{', '.join(map(str, seeds))}. Lengths are mm."
    )


def _overall(evidence: Evidence, runs: Mapping[str, Sequence[Outcome]]) -> list[Table]:
    rows: list[dict[str, Any]] = []
    for name in [name for name in LABELS if name in evidence.errors]:
        for about, where in evidence.sets().items():
            cells = evidence.measured(name, where).cells()
            row = {"method": LABELS[name], "images": f"{len(where)} ({about})", **cells}
            rows.append({**row, "minutes": _minutes(name, runs)})
    if evidence.doctors is not None:
        for label, share in ((HALF, 0.5), ("distance of the two doctors", 1.0)):
            for about, where in evidence.sets().items():
                cells = evidence.of([share * evidence.doctors[list(where)]], where).cells()
                rows.append({"method": label, "images": f"{len(where)} ({about})", **cells})
    for name, paper in TEST1.items():
        rows.append({"method": name, "images": "150 (published, second-hand)", **_published(paper)})
    rows.append(
        {"method": "official code, reproduced by others", "images": "400 (4 folds, junior)", **_published(FOURFOLD)}
    )
    note = (
        "MRE and SD over all landmarks of all images, SDR: share of errors up to the threshold, 95 % interval over "
        "subjects. Without copies: without the test images that duplicates.csv names, most of which were trained on. "
        f"Published rows are for all of test1 and the mean of both doctors; they are quoted from tables of later "
        f"papers, that of {PAPER} too, and not checked against the originals. The last row is another protocol. "
        "Minutes of training; those of the cascade are without its coarse stage."
    )
    return [Table("Error on test1", rows, note)]


def _published(paper: Published) -> dict[str, str]:
    return {"MRE ± SD mm": mean_and_sd(paper.mre, paper.sd), **sdr_cells(paper.sdr)}


def _minutes(name: str, runs: Mapping[str, Sequence[Outcome]]) -> str:
    if name != "coarse":
        return spread([outcome.minutes for outcome in runs[name]], 1)
    tables = [RunFolder(outcome.run.folder / "coarse").history_table() for outcome in runs["cascade"]]
    return spread([float(table["minutes"].max()) for table in tables], 1)


def _per_landmark(evidence: Evidence, names: Sequence[str]) -> list[Table]:
    main = evidence.main
    if main is None:
        return []
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        found = measure([seed[:, [k]] for seed in evidence.errors[main]], evidence.subjects)
        row: dict[str, Any] = {"landmark": name, **found.cells()}
        if main != "cascade" and "cascade" in evidence.errors:
            other = measure([seed[:, [k]] for seed in evidence.errors["cascade"]], evidence.subjects)
            row["cascade MRE mm"] = mean_and_sd(other.mre, None)
        if evidence.doctors is not None:
            row["half doctors' distance mm"] = f"{np.nanmean(evidence.doctors[:, k]) / 2:.2f}"
        paper = LANDMARKS.get(name)
        if paper is not None:
            row["published MRE ± SD mm"] = mean_and_sd(paper.mre, paper.sd)
            row |= {f"published {key}": cell for key, cell in sdr_cells(paper.sdr).items()}
            row["published half distance mm"] = f"{paper.iov:.2f}"
        rows.append(row)
    note = (
        f"{LABELS[main].capitalize()} on all of test1. Published: the official code as reproduced by others in another "
        "protocol, 4 folds of all 400 images with the labels of the junior doctor."
    )
    return [Table("Error per landmark on test1", rows, note)]


def _three(evidence: Evidence, runs: Mapping[str, Sequence[Outcome]], three: Sequence[str]) -> list[Table]:
    labels = {"single": "a network per landmark", "shared3": "one network for the three"}
    rows: list[dict[str, Any]] = []
    for name, errors in evidence.three.items():
        cells = evidence.of(errors, evidence.sets()["all"]).cells()
        parts = {
            f"{each} MRE mm": mean_and_sd(measure([seed[:, [k]] for seed in errors], evidence.subjects).mre, None)
            for k, each in enumerate(three)
        }
        rows.append({"network": labels[name], **cells, **parts, "minutes": _minutes(name, runs)})
    if not rows:
        return []
    note = "All of test1."
    if len(rows) == len(labels):
        gap, bounds = difference(evidence.three["shared3"], evidence.three["single"], evidence.subjects)
        note += f" Shared minus per landmark: {gap:+.2f} mm (95 % {bounds[0]:+.2f} to {bounds[1]:+.2f})."
    if len(evidence.errors.get("single", [])):
        note += " The minutes of a network per landmark are those of all landmarks."
    return [Table(f"Shared against separate networks: {', '.join(three)}", rows, note)]


def _looks(evidence: Evidence, runs: Mapping[str, Sequence[Outcome]], sample: LandmarkDataset) -> list[Table]:
    if not evidence.looks:
        return []
    rows = [{"looks": count, **measure([errors], sample.groups).cells()} for count, errors in evidence.looks.items()]
    source = next(name for name in runs if runs[name][0].run.weights.is_file())
    note = f"Run {runs[source][0].job.folder} on {len(sample)} images of test1; looks are iterations in prediction."
    return [Table(f"Looks in prediction ({', '.join(map(str, LOOKS))})", rows, note)]


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(evidence: Evidence, runs: Mapping[str, Sequence[Outcome]], test: LandmarkDataset) -> dict[str, Figure]:
    curves = {}
    for name, outcomes in runs.items():
        known = outcomes[0].history.dropna(subset="val_mre_px")
        curves[name] = (known["epoch"].to_list(), known["val_mre_px"].to_numpy(dtype=np.float64))
    figures = {
        "validation": comparison(curves, title=f"Validation error, seed {next(iter(runs.values()))[0].job.seed}")
    }
    if evidence.errors:
        errors = {LABELS[name]: np.concatenate(list(evidence.errors[name])) for name in evidence.errors}
        shown = errors if evidence.doctors is None else {**errors, HALF: evidence.doctors / 2}
        figures["ced"] = ced_plot(shown, threshold=8.0, unit="mm")
        main = np.concatenate(list(evidence.errors[str(evidence.main)]))
        bars = {name: main[:, k] for k, name in enumerate(test.landmarks.names)}
        figures["landmarks"] = per_landmark_bars(bars, unit="mm")
    return figures
