"""Cross-task representation learning (Fu et al., MLMI 2020): Table 1 and Fig. 4, and how it fares with fewer labels.

The paper's 1549 clinical face images and its VGGFace2 source are not to be had. ``--data`` names a face set with
subjects and the splits train, val and test: the source learns to tell the subjects of ``train`` apart (no subject of
``val`` or ``test``), the target 14 landmarks from few labelled images of ``train``. Without ``--data`` drawn heads
stand in, so that anybody can run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.recipe import SourceRecipe, load_any_recipe
from trigpoint.reproduce.cross_task_tables import Evidence, claims, figures, tables
from trigpoint.reproduce.findings import Findings
from trigpoint.reproduce.study import Job, Outcome, Request, run_jobs
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.synthetic.folder import MARK
from trigpoint.training import train

NAME = "cross-task"
RECIPE = "cross-task"
OPTIONS = ("methods", "labels", "more", "source")
MORE = ("adaloss", "unlabelled", "scratch")
ALL = "all"
# Of the 76 landmarks of MUCT 14 that stand for the paper's: eye corners, nostrils and base of the nose, mouth, its tip
MUCT_LANDMARKS = (
    *("p27", "p29", "p32", "p34", "p39", "p41", "p43"),
    *("p48", "p50", "p51", "p52", "p54", "p57", "p67"),
)


@dataclass(frozen=True)
class Scale:
    """Sizes of the experiment; ``labels``: numbers of labelled images, of which the first compares all methods."""

    size: int
    encoder: str
    steps: int
    batch: int
    source_epochs: int
    labels: tuple[str, ...]
    hourglass_width: int
    seeds: tuple[int, ...] = (0, 1, 2)
    validations: int = 3
    drawn: tuple[int, int] = (0, 0)  # images of the stand-in, and per subject
    overrides: Mapping[str, Any] = field(default_factory=dict)


SCALES: Mapping[str, Scale] = {
    "small": Scale(128, "resnet18", 300, 8, 30, ("50", "100", "200", ALL), 128),
    "paper": Scale(256, "resnet50", 93_000, 2, 60, (ALL,), 256, (0, 1, 2), 30),
}
DRAWN = Scale(64, "resnet10t", 150, 8, 6, ("20", "60", ALL), 64, (0, 1, 2), 3, (240, 6))

TRANSFER: Mapping[str, dict[str, Any]] = {
    "FE": {"loss": "none", "train": "decoder"},
    "FTP": {"loss": "none", "train": "last"},
    "FT": {"loss": "none"},
    "HG": {},
    "CTD-CD": {"loss": "classifier"},
    "CTD-ED": {"loss": "encoder"},
    "CTD-Com": {"loss": "both"},
}
EVERYWHERE = ("FT", "CTD-ED")  # at every number of labels; the paper calls CTD-ED the better choice of its three


def reproduce(request: Request, scale: Scale | None = None) -> Findings:
    """Train the source, then every method, and write tables and figures into ``request.out``.

    Raises ConfigError for bad options, DataError for a set without the splits it needs or with shared subjects.
    """
    chosen = scale or (DRAWN if request.data is None and request.scale == "small" else SCALES[request.scale])
    if request.data is None and not chosen.drawn[0]:
        raise ConfigError(f"{NAME}: expected a dataset at scale {request.scale}, got none; give --data FOLDER")
    methods = request.some_of("methods", tuple(TRANSFER), tuple(TRANSFER))
    more = request.some_of("more", (*MORE, "none"), MORE)
    labels = read_labels(request, chosen)
    given = request.options.get("source")
    request.open_folder(source=None if given is None else str(Path(given).resolve()))
    folder = prepare(request, chosen)
    data = LandmarkDataset.load(folder)
    data = data.pick(MUCT_LANDMARKS) if set(MUCT_LANDMARKS) <= set(data.landmarks.names) else data
    check_subjects(data, folder)
    test = data.only("test")
    seeds = request.seeds or chosen.seeds
    source = RunFolder(given) if given is not None else train_source(request, chosen, folder)
    settings = settings_of(methods, labels, more)
    common = common_overrides(chosen, source, data)
    pairs = [(key, seed) for seed in seeds for key in settings if not key[2]]
    pairs += [(key, seeds[0]) for key in settings if key[2]]  # beyond the paper: one seed
    planned = [job_of(key, chosen, source, data, common, seed) for key, seed in pairs]
    outcomes = run_jobs(request, planned, folder, test)
    evidence = gather(settings, outcomes, test)
    findings = Findings(
        f"Cross-task paper (scale {request.scale})",
        about(request, chosen, source, test, seeds),
        tables(evidence),
        claims(evidence),
        runs=[outcome.summary() for outcome in outcomes],
        figures=figures(evidence),
    )
    findings.write(request.out)
    return findings


# -- what is run ------------------------------------------------------------------------------------------------------


def read_labels(request: Request, scale: Scale) -> tuple[str, ...]:
    """Numbers of labelled images, as text, ``all`` for all of them.

    >>> read_labels(Request("x", Path("out"), options={"labels": "20,all"}), DRAWN)
    ('20', 'all')
    """
    values = tuple(part.strip() for part in request.options.get("labels", ",".join(scale.labels)).split(","))
    for value in values:
        if value != ALL and not (value.isascii() and value.isdigit() and int(value)):
            raise ConfigError(f"labels: expected numbers of images such as 50,100,{ALL}, got '{value}'")
    return tuple(dict.fromkeys(values))


def settings_of(methods: Sequence[str], labels: Sequence[str], more: Sequence[str]) -> list[tuple[str, str, str]]:
    """(labels, method, variant) of every setting: all methods at the first number of labels, two at the others."""
    first = labels[0]
    out = [(first, method, "") for method in methods]
    pair = [method for method in EVERYWHERE if method in methods]
    out += [(count, method, "") for count in labels[1:] for method in pair]
    if "adaloss" in more:
        out += [(first, method, "adaloss") for method in pair]
    if "unlabelled" in more and "CTD-ED" in methods and first != ALL:
        out.append((first, "CTD-ED", "unlabelled"))
    if "scratch" in more and "FT" in methods:
        out.append((first, "FT", "scratch"))
    return out


def common_overrides(scale: Scale, source: RunFolder, data: LandmarkDataset) -> dict[str, Any]:
    """What all runs share: landmarks, the source's input, augmentation, batches."""
    recipe = source.source_recipe()
    seen = recipe.data.input.model_copy(update={"size": (scale.size, scale.size)})
    return {
        "data.landmarks": list(data.landmarks.names),
        "data.input": seen.model_dump(mode="json"),
        "data.augment.flip": 0.5 if data.landmarks.pairs else 0.0,
        "data.workers": 0,
        "method.network.encoder": recipe.encoder,
        "train.batch_size": scale.batch,
    }


def job_of(
    key: tuple[str, str, str],
    scale: Scale,
    source: RunFolder,
    data: LandmarkDataset,
    common: Mapping[str, Any],
    seed: int,
) -> Job:
    """The training run of a setting."""
    labels, method, variant = key
    images = len(data.only("train").by_image())
    count = images if labels == ALL else min(int(labels), images)
    rounds = max(1, round(scale.steps / -(-count // scale.batch)))
    every = max(1, round(rounds / scale.validations))
    values: dict[str, Any] = {
        **common,
        "data.limit": None if labels == ALL else int(labels),
        "train.epochs": every * max(1, round(rounds / every)),  # the last epoch is validated
        "train.val_every": every,
    }
    if method == "HG":
        values["method.network"] = {"name": "hourglass", "width": scale.hourglass_width}
        values["method.transfer"] = None
        del values["method.network.encoder"]
    else:
        origin = {"run": str(source.folder.resolve())}
        values["method.transfer"] = {"name": "cross_task", "source": origin, **TRANSFER[method]}
    if variant == "adaloss":
        values["method.schedule"] = {"name": "adaloss", "sigma_min": 1.0, "rho": 0.9 * scale.size / 4 / 256}
    elif variant == "unlabelled":
        values["data.unlabelled"] = scale.batch
    elif variant == "scratch":
        values["method.transfer"] = None
    name = f"{labels}-{method}" + (f"-{variant}" if variant else "")
    return Job(name.lower(), RECIPE, values, seed)


def gather(settings: Sequence[tuple[str, str, str]], outcomes: Sequence[Outcome], test: LandmarkDataset) -> Evidence:
    """Outcomes by setting."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.job.name, []).append(outcome)
    found = {}
    for labels, method, variant in settings:
        name = f"{labels}-{method}" + (f"-{variant}" if variant else "")
        found[labels, method, variant] = by_name[name.lower()]
    return Evidence(found, test)


# -- data and source --------------------------------------------------------------------------------------------------


def prepare(request: Request, scale: Scale) -> Path:
    """The user's dataset, or drawn heads."""
    if request.data is not None:
        return request.data
    folder, (count, per_subject) = request.out / "data", scale.drawn
    if (folder / MARK).is_file() and "sha256" in read_yaml(folder / MARK):
        return folder
    request.say(f"drawing {count} heads, {per_subject} images of each subject")
    return write_radiographs(folder, count, size=2 * scale.size, per_subject=per_subject, spacing_mm=1.0)


def check_subjects(data: LandmarkDataset, folder: Path) -> None:
    """Raise DataError without subjects, without the three splits, or when two of them share a subject."""
    groups: dict[str, set[str]] = {name: set() for name in ("train", "val", "test")}
    for sample in data.samples:
        if sample.split in groups:
            groups[sample.split].add(sample.subject)
    lacking = [name for name, subjects in groups.items() if not subjects or "" in subjects]
    if lacking:
        raise DataError(
            f"{folder}: expected the splits train, val and test with a subject in every row, got none in {lacking[0]}; "
            "fill the columns split and subject (trigpoint data split)"
        )
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = groups[a] & groups[b]
        if shared:
            raise DataError(
                f"{folder}: expected each subject in one split, got '{min(shared)}' in {a} and {b}; "
                "split by subject: trigpoint data split --force"
            )


def train_source(request: Request, scale: Scale, data: Path) -> RunFolder:
    """The source: who is seen, learned on the training subjects alone."""
    request.say(f"source: {scale.encoder} learns to tell the training subjects apart")
    size = [scale.size, scale.size]
    overrides = [
        f"data.path={data.resolve()}",
        "data.splits=[train]",
        f"data.input.size={size}",
        f"encoder={scale.encoder}",
        f"train.epochs={scale.source_epochs}",
    ]
    recipe = load_any_recipe("source-classes", overrides)
    if not isinstance(recipe, SourceRecipe):
        raise RunError("recipe source-classes: expected task classification; install the package again")
    run = train(recipe, out=request.out / "source", progress=request.progress)
    request.say(f"source: {100 * source_error(run):.1f} % of held-out images told wrong")
    return run


def source_error(run: RunFolder) -> float:
    """Share of the source's own validation images that it takes for another subject."""
    return float(run.history_table()["val_error"].min())


def about(request: Request, scale: Scale, source: RunFolder, test: LandmarkDataset, seeds: Sequence[int]) -> str:
    """How this differs from the paper."""
    recipe = source.source_recipe()
    classes = len((source.folder / "classes.csv").read_text(encoding="utf-8").splitlines()) - 1
    what = "Drawn heads" if request.data is None else f"Dataset {test.name}"
    return (
        f"{what}: {len(test)} test images, {len(test.landmarks)} landmarks (paper: 1549 private face "
        f"images, 14 landmarks). Source: {recipe.encoder}, trained from scratch to tell the {classes} subjects of the "
        f"training split apart ({100 * source_error(source):.1f} % of held-out images wrong; paper: ResNet-50 on "
        f"VGGFace2, 8631 persons). Input {scale.size} x {scale.size} (paper: 256 x 256), {scale.steps} steps of "
        f"{scale.batch} images (paper: 150 epochs of batches of 2), Adam 1e-3, polynomial decay, "
        "lambda 0.002, mu 2, sigma 1.5 map pixels, decoded by dark (paper: argmax); hourglass of "
        f"{scale.hourglass_width} channels, two stacks, from scratch. Labelled images are taken subject after subject, "
        "fewer always among more. What goes beyond the paper has the first seed only. Weights are chosen on the "
        f"validation split, all numbers are from the test split. Seeds {', '.join(map(str, seeds))}."
    )
