"""What came of the cross-task experiment: its tables, claims and figures."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, judged, spread
from trigpoint.experiments.measures import Outcome
from trigpoint.metrics import bootstrap_interval, mean_error
from trigpoint.metrics.paired import difference
from trigpoint.metrics.point_to_point import THRESHOLD, mean_point_error, point_error_scores
from trigpoint.prediction import Predictor
from trigpoint.report.figures import ced_plot, comparison
from trigpoint.report.side_by_side import Compared, comparison_grid

Key = tuple[str, str, str]  # labelled images, method, variant
ALL = "all"
PRINTED = ("CTD-ED", "CTD-CD", "CTD-Com")  # penalties of the paper
ORDER = (("FTP", "FE"), ("FT", "FTP"), ("CTD-ED", "CTD-CD"))  # which is better than which, in the paper
BASES = {"FT": "scratch", "FE": "scratch", "FTP": "FE", "HG": "scratch"}  # what a method is measured against; else FT
MAP = 64  # cells along the side of the paper's maps, the unit of its errors
SHOWN = 4  # images of the qualitative grid


class CrossTaskTables(Experiment):
    """``plan`` are the settings, ``first`` the number of labels at which all methods are compared, ``chosen`` the
    penalty that validation chose, ``data`` the dataset with the landmarks that are looked for."""

    data: LandmarkDataset
    plan: list[Key]
    first: str
    chosen: str | None

    def candidates(self) -> list[Key]:
        """Penalties among which validation chooses."""
        raise NotImplementedError

    def labelled(self, labels: str) -> int:
        """How many images have labels."""
        images = len(self.data.only("train").by_image())
        return images if labels == ALL else min(int(labels), images)

    def name(self, key: Key) -> str:
        """A setting in words, without the number of labels."""
        method = self.values["names"].get(key[1], key[1])
        return method if not key[2] else f"{method}, {self.values['variants'][key[2]]}"

    @cached_property
    def cells_per_pixel(self) -> float:
        """Cells of the paper's maps per pixel of the test images."""
        return float(MAP / max(self.test.read(0).pixels.shape[-2:]))

    def paired(self, key: Key, other: Key) -> tuple[list[Outcome], list[Outcome]]:
        """Runs of two settings, of the seeds that both have."""
        ours, others = (self.runs.get(folder_of(each), []) for each in (key, other))
        theirs = {run.job.seed: run for run in others}
        mine = [run for run in ours if run.job.seed in theirs]
        return mine, [theirs[run.job.seed] for run in mine]

    def tables(self) -> list[Table]:
        choice = [] if self.chosen is None else [self._choice()]
        return [self._table_one(), *choice, self._effect(), *self._square()]

    def _table_one(self) -> Table:
        """Errors in pixels, and in the paper's units beside its own."""
        rows, truth, scale = list[Row](), self.test.points, self.cells_per_pixel
        for key in self.plan:
            runs = self.runs[folder_of(key)]
            scores = [point_error_scores(run.points, truth, scale=scale) for run in runs]
            stacked = [point_error_scores(run.points, truth, "stacked", 4 * scale) for run in runs]
            errors = np.concatenate([run.errors for run in runs])
            interval = bootstrap_interval(errors, list(self.subjects) * len(runs), n=500)
            plain = key[0] == self.first and not key[2]
            paper = self.values["paper"].get(key[1], ("", "", "")) if plain else ("", "", "")
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

    def _choice(self) -> Table:
        """Errors on the validation images, first seed, of the penalties and of fine-tuning without one."""
        keys = [key for key in self.candidates() if folder_of(key) in self.runs]
        counts = list(dict.fromkeys(key[0] for key in keys))
        rows = []
        for method in ("FT", *dict.fromkeys(key[1] for key in keys)):
            found = [self.runs.get(folder_of((count, method, ""))) for count in counts]
            errors = {
                f"{count} labelled": "" if runs is None else f"{runs[0].val_mre:.2f}"
                for count, runs in zip(counts, found, strict=True)
            }
            mark = "yes" if method == self.chosen else ""
            rows.append({"penalty": self.name(("", method, "")), **errors, "chosen": mark})
        return Table("The penalty: error on the validation images, px", rows, self.note("choice"))

    def _effect(self) -> Table:
        """Each method against what it builds on, paired."""
        rows = []
        for key in self.plan:
            labels, method, variant = key
            other: Key = (labels, BASES.get(method, "FT"), variant if variant == "adaloss" else "")
            other = (labels, method, "") if variant == "unlabelled" else other
            ours, same = self.paired(key, other)
            if not ours or method == "scratch":
                continue
            gap, bounds = difference([run.errors for run in ours], [run.errors for run in same], self.subjects)
            better = sum(mine.mre < run.mre for mine, run in zip(ours, same, strict=True))
            rows.append(
                {
                    "labelled": labels,
                    "method": self.name(key),
                    "against": self.name(other),
                    "difference px": f"{gap:+.3f}",
                    "95 % over subjects": between(bounds),
                    "%": f"{100 * gap / np.mean([run.mre for run in same]):+.1f}",
                    "seeds better": f"{better} of {len(ours)}",
                }
            )
        return Table("What source and penalty do", rows, self.note("effect"))

    def _square(self) -> list[Table]:
        """Adaloss and transfer, each without the other; none where a run is missing."""
        rules = {"fixed sigma 1.5": "", "Adaloss": "adaloss"}
        pair = [method for method in ("FT", self.chosen) if method is not None]
        names = {(m, rule): folder_of((self.first, m, rule)) for m in pair for rule in rules.values()}
        if len(pair) < 2 or not set(names.values()) <= set(self.runs):
            return []
        rows = [
            {"targets": name, **{self.name(("", m, "")): spread(self.means(names[m, rule])) for m in pair}}
            for name, rule in rules.items()
        ]
        return [Table("Adaloss and transfer", rows, self.note("square", first=self.first))]

    def claims(self) -> list[Claim]:
        """The paper's order of methods, beyond chance over the test subjects; both have to beat a constant answer."""
        counts = list(dict.fromkeys(key[0] for key in self.plan))
        pairs = [
            (
                labels,
                self.chosen,
                "FT",
                f"{self.name((labels, self.chosen, ''))} is better than fine-tuning with {labels}",
            )
            for labels in counts
            if self.chosen is not None
        ]
        pairs += [
            (labels, method, "FT", f"{method} as published is better than fine-tuning with {labels}")
            for labels in counts
            for method in PRINTED
            if method != self.chosen
        ]
        pairs += [(self.first, a, b, f"{a} is better than {b} with {self.first}") for a, b in ORDER]
        pairs += [
            (labels, "FT", "scratch", f"Fine-tuning from the source is better than training from scratch with {labels}")
            for labels in counts
        ]
        return [
            self.better(f"{text} labelled images", (labels, ours, ""), (labels, other, ""))
            for labels, ours, other, text in pairs
            if {folder_of((labels, ours, "")), folder_of((labels, other, ""))} <= set(self.runs)
        ]

    def better(self, text: str, ours: Key, other: Key) -> Claim:
        """That a setting errs less than another, by more than the interval over subjects, in the seeds both have."""
        pair, names, unit = self.paired(ours, other), (folder_of(ours), folder_of(other)), self.unit
        mine, theirs = ([run.errors for run in runs] for runs in pair)
        gap, bounds = difference(mine, theirs, self.subjects)
        means = [[run.mre for run in runs] for runs in pair]
        shown = " against ".join(f"{spread(each)} {unit} ({name})" for name, each in zip(names, means, strict=True))
        share = f", {100 * gap / np.mean(means[1]):+.1f} %"
        numbers = f"{shown}, difference {gap:+.2f} {unit}{share} (95 % {between(bounds)} {unit})"
        return judged(text, bool(bounds[1] < 0), numbers, self.obstacles(*names))

    def figures(self) -> dict[str, Figure]:
        plain = [key for key in self.plan if key[0] == self.first and not key[2] and key[1] in self._drawn]
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
            everywhere = [m for m in self._drawn if all(folder_of((c, m, "")) in self.runs for c, _ in counts)]
            lines = {}
            for method in everywhere:
                errors = [self.means(folder_of((count, method, ""))) for count, _ in counts]
                seeds = min(map(len, errors))
                values = np.transpose([each[:seeds] for each in errors])
                lines[self.name(("", method, ""))] = ([n for _, n in counts], values)
            drawn["labels"] = comparison(lines, title="Error against the number of labels", against="labelled images")
        return {**drawn, "fig3_comparison": _grid({name: runs[0] for name, runs in same.items()}, self.test)}

    @property
    def _drawn(self) -> list[str]:
        """Methods that figures show: the paper's, the chosen penalty and training from scratch."""
        of_paper = [*self.values["paper"], "scratch", *([] if self.chosen is None else [self.chosen])]
        return [method for method in dict.fromkeys(key[1] for key in self.plan) if method in of_paper]


def folder_of(key: Sequence[str]) -> str:
    """Name of the runs of a setting.

    >>> folder_of(("50", "CTD-ED", "")), folder_of(("all", "FT", "adaloss"))
    ('50-ctd-ed', 'all-ft-adaloss')
    """
    return "-".join(part for part in key if part).lower()


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
