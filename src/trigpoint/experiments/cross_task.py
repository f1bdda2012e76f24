"""Cross-task representation learning (Fu et al., MLMI 2020): Table 1, Figs. 3 and 4, and fewer labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.engine import Experiment, Runs
from trigpoint.experiments.findings import Claim, Table, between, judged, spread
from trigpoint.experiments.launch import launched
from trigpoint.experiments.measures import Job, Outcome, difference, obstacles
from trigpoint.experiments.task import Task, work
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import bootstrap_interval, mean_error
from trigpoint.metrics.point_to_point import THRESHOLD, mean_point_error, point_error_scores
from trigpoint.prediction import Predictor
from trigpoint.recipes import recipe_values
from trigpoint.report.figures import ced_plot
from trigpoint.report.side_by_side import Compared, comparison_grid
from trigpoint.report.style import dress, legend, line_style, new_figure
from trigpoint.runs import RunFolder

Key = tuple[str, str, str]  # labelled images, method, variant
Found = Mapping[Key, Sequence[Outcome]]  # all seeds of each setting
ALL = "all"
PAIR = ("FT", "CTD-ED")  # at every number of labels; the paper calls CTD-ED the better choice of its three
MAP = 64  # cells along the side of the paper's maps, the unit of its errors
SHOWN = 4  # images of the qualitative grid


class CrossTask(Experiment):
    """The source is trained first, then every method from it."""

    def scale_name(self) -> str:
        return "drawn" if self.request.data is None and self.request.scale == "small" else self.request.scale

    def prepare(self) -> None:
        """The dataset and the source; raises DataError for a set without its splits or with shared subjects."""
        if self.scale.draw is None:
            self.user_data()
        labels, more = read_labels(self.options["labels"] or self.values["labels"]), self.options["more"]
        self.plan = settings_of(self.options["methods"], labels, more)
        given = self.options["source"]
        self.request.open_folder(source=None if given is None else str(Path(given).resolve()))
        self.folder = self.draw("data") if self.request.data is None else self.request.data
        data, chosen = LandmarkDataset.load(self.folder), self.values["muct_landmarks"]
        self.data = data.pick(chosen) if set(chosen) <= set(data.landmarks.names) else data
        check_subjects(self.data, self.folder)
        self.test = self.data.only("test")
        self.source = RunFolder(given) if given is not None else self._train_source()

    def _train_source(self) -> RunFolder:
        """The source: who is seen, learned on the training subjects alone."""
        values, out = self.values, self.request.out / "source"
        self.request.say(f"source: {values['encoder']} learns to tell the training subjects apart")
        overrides = {
            "data.splits": ["train"],
            "data.input.size": [values["size"]] * 2,
            "encoder": values["encoder"],
            "train.epochs": values["source_epochs"],
        }
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
        (labels, method, variant), values = key, self.values
        source = self.source.source_recipe()
        images = len(self.data.only("train").by_image())
        count = images if labels == ALL else min(int(labels), images)
        rounds = max(1, round(values["steps"] / -(-count // values["batch"])))
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
            found["method.network"] = {"name": "hourglass", "width": values["hourglass_width"]}
            found["method.transfer"] = None
        else:
            found["method.network.encoder"] = source.encoder
            origin = {"run": str(self.source.folder.resolve())}
            found["method.transfer"] = {"name": "cross_task", "source": origin, **values["transfer"][method]}
        if variant == "adaloss":
            rho = 0.9 * values["size"] / 4 / 256
            found["method.schedule"] = {"name": "adaloss", "sigma_min": 1.0, "rho": rho}
        elif variant == "unlabelled":
            found["data.unlabelled"] = values["batch"]
        elif variant == "scratch":
            found["method.transfer"] = None
        return found

    def facts(self, runs: Runs) -> dict[str, Any]:
        classes = (self.source.folder / "classes.csv").read_text(encoding="utf-8").splitlines()
        return {
            **super().facts(runs),
            **self.values,
            "what": "Drawn heads" if self.request.data is None else f"Dataset {self.test.name}",
            "landmarks": len(self.test.landmarks),
            "encoder": self.source.source_recipe().encoder,
            "classes": len(classes) - 1,
            "source_error": 100 * source_error(self.source),
        }

    def tables(self, runs: Runs) -> list[Table]:
        found = {key: runs[folder_of(key)] for key in self.plan}
        square = self._square(found)
        return [self._table_one(found), self._effect(found), *([square] if square else [])]

    def name(self, key: Key) -> str:
        """A setting in words, without the number of labels."""
        return key[1] if not key[2] else f"{key[1]}, {self.values['variants'][key[2]]}"

    def cells_per_pixel(self) -> float:
        """Cells of the paper's maps per pixel of the test images."""
        return float(MAP / max(self.test.read(0).pixels.shape[-2:]))

    def gap(self, runs: Found, ours: Key, other: Key) -> tuple[float, tuple[float, float]] | None:
        """Mean error of ``ours`` minus ``other``, px, and its interval, of the seeds that both have; None without."""
        pairs = paired(runs, ours, other)
        if not pairs:
            return None
        mine, theirs = ([run.errors for run in each] for each in zip(*pairs, strict=True))
        return difference(mine, theirs, self.test.groups)

    def _table_one(self, found: Found) -> Table:
        """Errors in pixels, and in the paper's units beside its own."""
        rows, truth, scale = [], self.test.points, self.cells_per_pixel()
        for key, runs in found.items():
            scores = [point_error_scores(run.points, truth, scale=scale) for run in runs]
            stacked = [point_error_scores(run.points, truth, "stacked", 4 * scale) for run in runs]
            errors = np.concatenate([run.errors for run in runs])
            interval = bootstrap_interval(errors, list(self.test.groups) * len(runs), n=500)
            paper = self.values["paper"][key[1]] if key[0] == self.plan[0][0] and not key[2] else ("", "", "")
            rows.append(
                {
                    "labelled": key[0],
                    "method": self.name(key),
                    "MRE px": spread([run.mre for run in runs]),
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
        constant = self.constant(self.test)
        rows.append({"labelled": ALL, "method": "always the mean training position", "MRE px": f"{constant:.2f}"})
        return Table("Table 1: error on the test images", rows, self.note("table_one"))

    def _effect(self, found: Found) -> Table:
        """The regulariser against fine-tuning, paired."""
        rows = []
        for ours in found:
            labels, method, variant = ours
            against = (labels, "FT", variant if variant == "adaloss" else "")
            other = (labels, "CTD-ED", "") if variant == "unlabelled" else against
            gap = self.gap(found, ours, other) if method.startswith("CTD") else None
            if gap is None:
                continue
            pairs = paired(found, ours, other)
            theirs = mean_error(np.concatenate([run.errors for _, run in pairs]))
            seeds = [mine.mre - run.mre for mine, run in pairs]
            rows.append(
                {
                    "labelled": labels,
                    "method": self.name(ours),
                    "against": self.name(other),
                    "difference px": f"{gap[0]:+.3f}",
                    "95 % over subjects": between(gap[1]),
                    "%": f"{100 * gap[0] / theirs:+.1f}",
                    "seeds better": f"{sum(value < 0 for value in seeds)} of {len(seeds)}",
                }
            )
        return Table("What the regulariser does", rows, self.note("effect"))

    def _square(self, found: Found) -> Table | None:
        """Adaloss and transfer, each without the other; None where a run is missing."""
        first = self.plan[0][0]
        if not {(first, method, rule) for method in PAIR for rule in ("", "adaloss")} <= set(found):
            return None
        rows = []
        for rule, label in (("", "fixed sigma 1.5"), ("adaloss", "Adaloss")):
            row: dict[str, Any] = {"targets": label}
            for method, title in zip(PAIR, ("fine-tuning (FT)", "with L_ED (CTD-ED)"), strict=True):
                row[title] = spread([run.mre for run in found[first, method, rule]])
            rows.append(row)
        return Table("Adaloss and transfer", rows, self.note("square", first=first))

    def claims(self, runs: Runs) -> list[Claim]:
        """The paper's order of methods, beyond chance over the test subjects; both have to beat a constant answer."""
        by_key = {key: runs[folder_of(key)] for key in self.plan}
        first = self.plan[0][0]
        pairs = [
            (
                (labels, method, ""),
                (labels, "FT", ""),
                f"{method} is better than fine-tuning with {labels} labelled images",
            )
            for labels in dict.fromkeys(key[0] for key in by_key)
            for method in ("CTD-ED", "CTD-CD", "CTD-Com")
        ]
        pairs += [
            ((first, better, ""), (first, worse, ""), f"{better} is better than {worse} ({first} labelled)")
            for better, worse in (("FTP", "FE"), ("FT", "FTP"), ("CTD-ED", "CTD-CD"))
        ]
        found = []
        for ours, other, text in pairs:
            gap = self.gap(by_key, ours, other)
            if gap is not None:
                numbers, bad = (
                    f"{gap[0]:+.3f} px, 95 % {between(gap[1])}",
                    obstacles(by_key[ours], by_key[other]),
                )
                found.append(judged(text, bool(gap[1][1] < 0), numbers, bad))
        return found

    def figures(self, runs: Runs) -> dict[str, Figure]:
        first, found = self.plan[0][0], {key: runs[folder_of(key)] for key in self.plan}
        compared = {key: each for key, each in found.items() if key[0] == first and key[2] in ("", "scratch")}
        scale, truth = self.cells_per_pixel(), self.test.points
        per_image = {
            self.name(key): np.concatenate([mean_point_error(run.points, truth) for run in each]) * scale
            for key, each in compared.items()
        }
        top = max(THRESHOLD, float(np.nanquantile(np.concatenate(list(per_image.values())), 0.95)))
        drawn = {"fig4_ced": ced_plot(per_image, threshold=float(f"{top:.2g}"), unit="map cells")}
        if len({key[0] for key in found}) > 1:
            drawn["labels"] = _label_curve(found)
        grid = _grid({self.name(key): each[0] for key, each in compared.items()}, self.test)
        return {**drawn, "fig3_comparison": grid}


# -- what is run ------------------------------------------------------------------------------------------------------


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
    first = labels[0]
    out = [(first, method, "") for method in methods]
    pair = [method for method in PAIR if method in methods]
    out += [(count, method, "") for count in labels[1:] for method in pair]
    if "adaloss" in more:
        out += [(first, method, "adaloss") for method in pair]
    if "unlabelled" in more and "CTD-ED" in methods and first != ALL:
        out.append((first, "CTD-ED", "unlabelled"))
    if "scratch" in more and "FT" in methods:
        out.append((first, "FT", "scratch"))
    return out


def folder_of(key: Key) -> str:
    """Name of the runs of a setting.

    >>> folder_of(("50", "CTD-ED", "")), folder_of(("all", "FT", "adaloss"))
    ('50-ctd-ed', 'all-ft-adaloss')
    """
    return "-".join(part for part in key if part).lower()


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


def source_error(run: RunFolder) -> float:
    """Share of the source's own validation images that it misclassifies."""
    return float(run.history_table()["val_error"].min())


def paired(runs: Found, ours: Key, other: Key) -> list[tuple[Outcome, Outcome]]:
    """Runs of the same seed."""
    theirs = {run.job.seed: run for run in runs.get(other, ())}
    return [(run, theirs[run.job.seed]) for run in runs.get(ours, ()) if run.job.seed in theirs]


# -- figures ----------------------------------------------------------------------------------------------------------


def _label_curve(runs: Found) -> Figure:
    """Error of each method against the number of labelled images, a point per seed."""
    counts = list(dict.fromkeys(key[0] for key in runs))
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    methods = [m for m in dict.fromkeys(key[1] for key in runs) if (counts[-1], m, "") in runs]
    for i, method in enumerate(methods):
        values = [[run.mre for run in runs[count, method, ""]] for count in counts]
        style = line_style(i)
        axes.plot(range(len(counts)), [np.mean(v) for v in values], label=method, linewidth=1.8, **style)
        for x, seeds in enumerate(values):
            axes.plot([x] * len(seeds), seeds, linestyle="", marker="o", markersize=4, color=style["color"], alpha=0.6)
    axes.set_xticks(range(len(counts)), counts)
    axes.set_ylim(bottom=0)
    dress(axes, "labelled images", "mean radial error (px)", "Error against the number of labels")
    legend(axes, len(methods))
    return figure


def _grid(runs: Mapping[str, Outcome], test: LandmarkDataset) -> Figure:
    """Predictions and maps of the first seed on images of different difficulty."""
    reference = next(iter(runs.values()))
    order = np.argsort([mean_error(row) if np.isfinite(row).any() else np.inf for row in reference.errors])
    chosen = [int(order[int(share * (len(order) - 1))]) for share in np.linspace(0.1, 0.9, SHOWN)]
    images: list[Any] = []
    truth: list[FloatArray] = []
    methods: dict[str, Compared] = {}
    for name, run in runs.items():
        predictor = Predictor.load(run.run)
        maps, points = [], []
        for i in chosen:
            heat, to_original = predictor.heatmaps(test.samples[i].image)
            back = to_original.inverse()
            maps.append(heat.numpy())
            points.append(back.apply(run.points[i]))
            if run is reference:
                images.append(predictor.pipeline(test.read(i).pixels)[0].numpy())
                truth.append(back.apply(test.samples[i].points))
        methods[name] = Compared(np.stack(points), np.stack(maps))
    scale = [max(test.read(i).pixels.shape[-2:]) / max(images[0].shape[-2:]) for i in chosen]
    return comparison_grid(images, np.stack(truth), methods, [f"image {i}" for i in chosen], scale=scale)
