"""Cross-task representation learning (Fu et al., MLMI 2020): Table 1, Figs. 3 and 4, and fewer labels."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, spread
from trigpoint.experiments.measures import Job, Outcome, difference
from trigpoint.experiments.study import ClaimSpec
from trigpoint.experiments.task import Task, launched, work
from trigpoint.metrics import bootstrap_interval, mean_error
from trigpoint.metrics.point_to_point import THRESHOLD, mean_point_error, point_error_scores
from trigpoint.prediction import Predictor
from trigpoint.recipes import recipe_values
from trigpoint.report.figures import ced_plot, comparison
from trigpoint.report.side_by_side import Compared, comparison_grid
from trigpoint.runs import RunFolder

Key = tuple[str, str, str]  # labelled images, method, variant
ALL = "all"
PAIR = ("FT", "CTD-ED")  # at every number of labels; the paper calls CTD-ED the better choice of its three
MAP = 64  # cells along the side of the paper's maps, the unit of its errors
SHOWN = 4  # images of the qualitative grid


class CrossTask(Experiment):
    """The source is trained first, then every method from it."""

    def prepare(self) -> None:
        """The dataset and the source; raises DataError for a set without its splits or with shared subjects."""
        labels, given = read_labels(self.options["labels"] or self.values["labels"]), self.options["source"]
        self.first = labels[0]
        self.plan = settings_of(self.options["methods"], labels, self.options["more"])
        self.marks = {"source": None if given is None else str(Path(given).resolve())}
        super().prepare()
        self.source = RunFolder(given) if given is not None else self._train_source()

    def check(self) -> None:
        data, chosen = LandmarkDataset.load(self.folder), self.values["muct_landmarks"]
        self.data = data.pick(chosen) if set(chosen) <= set(data.landmarks.names) else data
        check_subjects(self.data, self.folder)
        self.test = self.data.only("test")

    def _train_source(self) -> RunFolder:
        """The source: who is seen, learned on the training subjects alone."""
        values, out = self.values, self.request.out / "source"
        self.request.say(f"source: {values['pretraining']['encoder']} learns to tell the training subjects apart")
        overrides = {"data.splits": ["train"], "data.input.size": [values["size"]] * 2, **values["pretraining"]}
        task = Task(Job("source", recipe_values("source-classes"), overrides, 0), self.folder, out)
        list(launched(self.request, work, [task], ["source"]))
        self.request.say(f"source: {100 * source_error(RunFolder(out)):.1f} % of held-out images misclassified")
        return RunFolder(out)

    def jobs(self) -> list[Job]:
        pairs = [(key, seed) for seed in self.seeds for key in self.plan if not key[2]]
        pairs += [(key, self.seeds[0]) for key in self.plan if key[2]]
        return [Job(folder_of(key), self.scale.recipe, self.overrides(key), seed) for key, seed in pairs]

    def overrides(self, key: Key) -> dict[str, Any]:
        """What a setting changes in the recipe."""
        (labels, method, variant), values, source = key, self.values, self.source.source_recipe()
        rounds = max(1, round(values["steps"] / -(-self.labelled(labels) // values["batch"])))
        every = max(1, round(rounds / values["validations"]))
        seen = source.data.input.model_copy(update={"size": (values["size"], values["size"])})
        found: dict[str, Any] = {
            "data.landmarks": list(self.data.landmarks.names),
            "data.input": seen.model_dump(mode="json"),
            "data.augment.flip": 0.5 if self.data.landmarks.pairs else 0.0,
            "data.workers": 0,
            "train.batch_size": values["batch"],
            "data.limit": None if labels == ALL else int(labels),
            "train.epochs": every * max(1, round(rounds / every)),  # the last epoch is validated
            "train.val_every": every,
        }
        if method == "HG":
            hourglass = {"name": "hourglass", "width": values["hourglass_width"]}
            found |= {"method.network": hourglass, "method.transfer": None}
        else:
            transfer = {"name": "cross_task", "source": {"run": str(self.source.folder.resolve())}}
            found["method.network.encoder"] = source.encoder
            found["method.transfer"] = {**transfer, **values["transfer"][method]}
        adaloss = {"name": "adaloss", "sigma_min": 1.0, "rho": 0.9 * values["size"] / 4 / 256}
        more = {"adaloss": {"method.schedule": adaloss}, "unlabelled": {"data.unlabelled": values["batch"]}}
        return found | {**more, "scratch": {"method.transfer": None}}.get(variant, {})

    def labelled(self, labels: str) -> int:
        """How many images have labels."""
        images = len(self.data.only("train").by_image())
        return images if labels == ALL else min(int(labels), images)

    def facts(self) -> dict[str, Any]:
        classes = (self.source.folder / "classes.csv").read_text(encoding="utf-8").splitlines()
        return {
            **super().facts(),
            "what": "Drawn heads" if self.request.data is None else f"Dataset {self.test.name}",
            "landmarks": len(self.test.landmarks),
            "encoder": self.source.source_recipe().encoder,
            "classes": len(classes) - 1,
            "source_error": 100 * source_error(self.source),
        }

    def name(self, key: Key) -> str:
        """A setting in words, without the number of labels."""
        return key[1] if not key[2] else f"{key[1]}, {self.values['variants'][key[2]]}"

    @cached_property
    def cells_per_pixel(self) -> float:
        """Cells of the paper's maps per pixel of the test images."""
        return float(MAP / max(self.test.read(0).pixels.shape[-2:]))

    def tables(self) -> list[Table]:
        return [self._table_one(), self._effect(), *self._square()]

    def _table_one(self) -> Table:
        """Errors in pixels, and in the paper's units beside its own."""
        rows, truth, scale = list[Row](), self.test.points, self.cells_per_pixel
        for key in self.plan:
            runs = self.runs[folder_of(key)]
            scores = [point_error_scores(run.points, truth, scale=scale) for run in runs]
            stacked = [point_error_scores(run.points, truth, "stacked", 4 * scale) for run in runs]
            errors = np.concatenate([run.errors for run in runs])
            interval = bootstrap_interval(errors, list(self.subjects) * len(runs), n=500)
            paper = self.values["paper"][key[1]] if key[0] == self.first and not key[2] else ("", "", "")
            rows.append(
                {
                    "labelled": key[0],
                    "method": self.name(key),
                    "MRE px": spread(self.means(folder_of(key))),
                    "95 %": between(interval),
                    "ME, map cells": spread([score.mean for score in scores]),
                    "SD": spread([score.sd for score in scores]),
                    "ME as printed": spread([score.mean for score in stacked]),
                    f"FR % above {THRESHOLD:g}": spread([100 * score.failure_rate for score in scores], 1),
                    "AUC": spread([score.auc for score in scores]),
                    **dict(zip(("paper: ME ± SD", "paper: FR %", "paper: AUC"), paper, strict=True)),
                    "minutes": spread([run.minutes for run in runs], 1),
                }
            )
        constant = f"{self.constant(self.test):.2f}"
        rows.append({"labelled": ALL, "method": "always the mean training position", "MRE px": constant})
        return Table("Table 1: error on the test images", rows, self.note("table_one"))

    def _effect(self) -> Table:
        """The regulariser against fine-tuning, paired."""
        rows = []
        for labels, method, variant in [key for key in self.plan if key[1].startswith("CTD")]:
            other: Key = (labels, "FT", "adaloss" if variant == "adaloss" else "")
            other = (labels, "CTD-ED", "") if variant == "unlabelled" else other
            theirs = {run.job.seed: run for run in self.runs.get(folder_of(other), [])}
            ours = [run for run in self.runs[folder_of((labels, method, variant))] if run.job.seed in theirs]
            if not ours:
                continue
            same = [theirs[run.job.seed] for run in ours]
            gap, bounds = difference([run.errors for run in ours], [run.errors for run in same], self.subjects)
            better = sum(mine.mre < run.mre for mine, run in zip(ours, same, strict=True))
            rows.append(
                {
                    "labelled": labels,
                    "method": self.name((labels, method, variant)),
                    "against": self.name(other),
                    "difference px": f"{gap:+.3f}",
                    "95 % over subjects": between(bounds),
                    "%": f"{100 * gap / np.mean([run.mre for run in same]):+.1f}",
                    "seeds better": f"{better} of {len(ours)}",
                }
            )
        return Table("What the regulariser does", rows, self.note("effect"))

    def _square(self) -> list[Table]:
        """Adaloss and transfer, each without the other; none where a run is missing."""
        rules = {"fixed sigma 1.5": "", "Adaloss": "adaloss"}
        titles = dict(zip(("fine-tuning (FT)", "with L_ED (CTD-ED)"), PAIR, strict=True))
        names = {(m, rule): folder_of((self.first, m, rule)) for m in PAIR for rule in rules.values()}
        if not set(names.values()) <= set(self.runs):
            return []
        rows = [
            {"targets": name, **{title: spread(self.means(names[m, rule])) for title, m in titles.items()}}
            for name, rule in rules.items()
        ]
        return [Table("Adaloss and transfer", rows, self.note("square", first=self.first))]

    def claims(self) -> list[Claim]:
        """The paper's order of methods, beyond chance over the test subjects; both have to beat a constant answer."""
        pairs = [
            (labels, method, "FT", f"{method} is better than fine-tuning with {labels} labelled images")
            for labels in dict.fromkeys(key[0] for key in self.plan)
            for method in ("CTD-ED", "CTD-CD", "CTD-Com")
        ]
        pairs += [
            (self.first, better, worse, f"{better} is better than {worse} ({self.first} labelled)")
            for better, worse in (("FTP", "FE"), ("FT", "FTP"), ("CTD-ED", "CTD-CD"))
        ]
        return [
            self.claim(ClaimSpec(text=text, ours=(ours,), than=(other,), sure=True))
            for labels, *both, text in pairs
            if {ours := folder_of((labels, both[0])), other := folder_of((labels, both[1]))} <= set(self.runs)
        ]

    def figures(self) -> dict[str, Figure]:
        plain = [key for key in self.plan if key[0] == self.first and key[2] in ("", "scratch")]
        same = {self.name(key): self.runs[folder_of(key)] for key in plain}
        truth, scale = self.test.points, self.cells_per_pixel
        per_image = {
            name: scale * np.concatenate([mean_point_error(run.points, truth) for run in runs])
            for name, runs in same.items()
        }
        top = max(THRESHOLD, float(np.nanquantile(np.concatenate(list(per_image.values())), 0.95)))
        drawn = {"fig4_ced": ced_plot(per_image, threshold=float(f"{top:.2g}"), unit="map cells")}
        counts = sorted({key[0]: self.labelled(key[0]) for key in self.plan}.items(), key=lambda each: each[1])
        if len(counts) > 1:
            methods = [key[1] for key in self.plan if key[0] != self.first and not key[2]]
            errors = {m: [self.means(folder_of((count, m))) for count, _ in counts] for m in methods}
            lines = {name: ([n for _, n in counts], np.transpose(each)) for name, each in errors.items()}
            drawn["labels"] = comparison(lines, title="Error against the number of labels", against="labelled images")
        return {**drawn, "fig3_comparison": _grid({name: runs[0] for name, runs in same.items()}, self.test)}


def read_labels(text: str) -> tuple[str, ...]:
    """Numbers of labelled images, as text, ``all`` for all of them.

    >>> read_labels("20,all")
    ('20', 'all')
    """
    values = tuple(part.strip() for part in text.split(","))
    for value in values:
        if value != ALL and not (value.isascii() and value.isdigit() and int(value)):
            raise ConfigError(f"labels: expected numbers of images such as 50,100,{ALL}, got '{value}'")
    return tuple(dict.fromkeys(values))


def settings_of(methods: Sequence[str], labels: Sequence[str], more: Sequence[str]) -> list[Key]:
    """Every setting: all methods at the first number of labels, two at the others."""
    first, pair = labels[0], [method for method in PAIR if method in methods]
    out = [(first, method, "") for method in methods]
    out += [(count, method, "") for count in labels[1:] for method in pair]
    if "adaloss" in more:
        out += [(first, method, "adaloss") for method in pair]
    if "unlabelled" in more and "CTD-ED" in methods and first != ALL:
        out.append((first, "CTD-ED", "unlabelled"))
    if "scratch" in more and "FT" in methods:
        out.append((first, "FT", "scratch"))
    return out


def folder_of(key: Sequence[str]) -> str:
    """Name of the runs of a setting.

    >>> folder_of(("50", "CTD-ED", "")), folder_of(("all", "FT", "adaloss"))
    ('50-ctd-ed', 'all-ft-adaloss')
    """
    return "-".join(part for part in key if part).lower()


def check_subjects(data: LandmarkDataset, folder: Path) -> None:
    """Raise DataError without subjects, without the three splits, or when two of them share a subject."""
    splits = ("train", "val", "test")
    groups = {name: {sample.subject for sample in data.samples if sample.split == name} for name in splits}
    if lacking := [name for name, subjects in groups.items() if not subjects or "" in subjects]:
        wanted = "expected the splits train, val and test with a subject in every row"
        fix = "fill the columns split and subject (trigpoint data split)"
        raise DataError(f"{folder}: {wanted}, got none in {lacking[0]}; {fix}")
    for a, b in combinations(splits, 2):
        if shared := groups[a] & groups[b]:
            found = f"expected each subject in one split, got '{min(shared)}' in {a} and {b}"
            raise DataError(f"{folder}: {found}; split by subject: trigpoint data split --force")


def source_error(run: RunFolder) -> float:
    """Share of the source's own validation images that it misclassifies."""
    return float(run.history_table()["val_error"].min())


def _grid(runs: Mapping[str, Outcome], test: LandmarkDataset) -> Figure:
    """Predictions and maps of the first seed on images of different difficulty."""
    reference = next(iter(runs.values()))
    order = np.argsort([mean_error(row) if np.isfinite(row).any() else np.inf for row in reference.errors])
    chosen = [int(order[int(share * (len(order) - 1))]) for share in np.linspace(0.1, 0.9, SHOWN)]
    methods: dict[str, Compared] = {}
    for name, run in runs.items():
        predictor = Predictor.load(run.run)
        maps, affine = zip(*(predictor.heatmaps(test.samples[i].image) for i in chosen), strict=True)
        back = [to_original.inverse() for to_original in affine]
        points = [each.apply(run.points[i]) for each, i in zip(back, chosen, strict=True)]
        methods[name] = Compared(np.stack(points), np.stack([heat.numpy() for heat in maps]))
        if run is reference:  # all runs see the same pixels
            images = [predictor.pipeline(test.read(i).pixels)[0].numpy() for i in chosen]
            truth = [each.apply(test.samples[i].points) for each, i in zip(back, chosen, strict=True)]
    scale = [max(test.read(i).pixels.shape[-2:]) / max(images[0].shape[-2:]) for i in chosen]
    return comparison_grid(images, np.stack(truth), methods, [f"image {i}" for i in chosen], scale=scale)
