"""What the runs of the cross-task experiment say: Table 1, the effect of the regulariser, Fig. 4, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import bootstrap_interval, mean_error
from trigpoint.metrics.point_to_point import THRESHOLD, mean_point_error, point_error_scores
from trigpoint.prediction import Predictor
from trigpoint.report.figures import ced_plot
from trigpoint.report.side_by_side import Compared, comparison_grid
from trigpoint.report.style import dress, legend, line_style, new_figure
from trigpoint.reproduce.findings import Claim, Table, spread
from trigpoint.reproduce.foveated import between, difference
from trigpoint.reproduce.study import Outcome

Key = tuple[str, str, str]  # labelled images, method, variant
MAP = 64  # cells along the side of the paper's maps, the unit of its errors
SHOWN = 4  # images of the qualitative grid

PAPER: Mapping[str, Mapping[str, str]] = {
    "FE": {"ME": "1.822 ± 0.501", "FR": "94.52", "AUC": "0.01"},
    "FTP": {"ME": "1.161 ± 0.261", "FR": "40.32", "AUC": "0.10"},
    "FT": {"ME": "0.858 ± 0.238", "FR": "10.65", "AUC": "0.29"},
    "HG": {"ME": "0.879 ± 0.386", "FR": "12.58", "AUC": "0.30"},
    "CTD-CD": {"ME": "0.842 ± 0.246", "FR": "5.81", "AUC": "0.31"},
    "CTD-ED": {"ME": "0.830 ± 0.245", "FR": "7.74", "AUC": "0.32"},
    "CTD-Com": {"ME": "0.829 ± 0.253", "FR": "6.45", "AUC": "0.32"},
}
VARIANTS: Mapping[str, str] = {
    "adaloss": "Adaloss targets",
    "unlabelled": "unlabelled images in L_D",
    "scratch": "without source",
}


@dataclass(frozen=True)
class Evidence:
    """Outcomes of all seeds by setting, in the order of the table, and the test images with the landmarks learned."""

    runs: Mapping[Key, Sequence[Outcome]]
    test: LandmarkDataset

    @cached_property
    def first(self) -> str:
        """The number of labels at which all methods are compared."""
        return next(iter(self.runs))[0]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Of the test images."""
        return self.test.groups

    def errors(self, key: Key) -> list[FloatArray]:
        """Errors (N, K) of each seed in pixels of the stored images, NaN = not annotated."""
        return [run.errors for run in self.runs[key]]

    @cached_property
    def scale(self) -> float:
        """Cells of the paper's maps per pixel of the test images."""
        first = self.test.read(0)
        return MAP / max(first.height, first.width)

    def gap(self, ours: Key, other: Key) -> tuple[float, tuple[float, float]] | None:
        """Mean error of ``ours`` minus ``other``, px, and its interval, of the seeds that both have; None without."""
        pairs = self.pairs(ours, other)
        if not pairs:
            return None
        mine, theirs = ([run.errors for run in runs] for runs in zip(*pairs, strict=True))
        return difference(mine, theirs, self.subjects)

    def pairs(self, ours: Key, other: Key) -> list[tuple[Outcome, Outcome]]:
        """Runs of the same seed."""
        theirs = {run.job.seed: run for run in self.runs.get(other, ())}
        return [(run, theirs[run.job.seed]) for run in self.runs.get(ours, ()) if run.job.seed in theirs]


def name_of(key: Key) -> str:
    """A setting in words, without the number of labels."""
    return key[1] if not key[2] else f"{key[1]}, {VARIANTS[key[2]]}"


# -- tables -----------------------------------------------------------------------------------------------------------


def tables(evidence: Evidence) -> list[Table]:
    """Table 1, the effect of the regulariser, and the 2 x 2 of Adaloss and transfer."""
    found = [_table_one(evidence), _effect(evidence)]
    square = _square(evidence)
    return [*found, square] if square else found


def _table_one(evidence: Evidence) -> Table:
    rows = []
    for key, runs in evidence.runs.items():
        scores = [point_error_scores(run.points, evidence.test.points, scale=evidence.scale) for run in runs]
        stacked = [point_error_scores(run.points, evidence.test.points, "stacked", 4 * evidence.scale) for run in runs]
        errors = np.concatenate(evidence.errors(key))
        interval = bootstrap_interval(errors, list(evidence.subjects) * len(runs), n=500)
        paper = PAPER[key[1]] if key[0] == evidence.first and not key[2] else {}
        rows.append(
            {
                "labelled": key[0],
                "method": name_of(key),
                "MRE px": spread([run.mre for run in runs]),
                "95 %": between(interval),
                "ME, map cells": spread([score.mean for score in scores]),
                "SD": spread([score.sd for score in scores]),
                "ME as printed": spread([score.mean for score in stacked]),
                f"FR % above {THRESHOLD:g}": spread([100 * score.failure_rate for score in scores], 1),
                "AUC": spread([score.auc for score in scores]),
                "paper: ME ± SD": paper.get("ME", ""),
                "paper: FR %": paper.get("FR", ""),
                "paper: AUC": paper.get("AUC", ""),
                "minutes": spread([run.minutes for run in runs], 1),
            }
        )
    note = (
        "MRE in pixels of the stored images, mean ± sd over seeds; its 95 % interval is over test subjects, all seeds "
        f"together. ME, SD (over images), FR and AUC are the paper's, of each image's mean distance in cells of a "
        f"{MAP} x "
        f"{MAP} map over the image; ME as printed is the norm of the 2K differences divided by K, in pixels of a "
        f"256-px "
        "image (the paper does not say which of the two it means; both come to about 3 px). The paper's rows have "
        "all its "
        "1239 training images."
    )
    return Table("Table 1: error on the test images", rows, note)


def _effect(evidence: Evidence) -> Table:
    rows = []
    for labels, method, variant in evidence.runs:
        other = (
            (labels, "CTD-ED", "") if variant == "unlabelled" else (labels, "FT", "adaloss" * (variant == "adaloss"))
        )
        if not method.startswith("CTD"):
            continue
        gap = evidence.gap((labels, method, variant), other)
        if gap is None:
            continue
        pairs = evidence.pairs((labels, method, variant), other)
        theirs = mean_error(np.concatenate([run.errors for _, run in pairs]))
        seeds = [mine.mre - run.mre for mine, run in pairs]
        rows.append(
            {
                "labelled": labels,
                "method": name_of((labels, method, variant)),
                "against": name_of(other),
                "difference px": f"{gap[0]:+.3f}",
                "95 % over subjects": between(gap[1]),
                "%": f"{100 * gap[0] / theirs:+.1f}",
                "seeds better": f"{sum(value < 0 for value in seeds)} of {len(seeds)}",
            }
        )
    note = (
        "Paired by image, landmark and seed; below 0 the regulariser helped. The interval is over test subjects "
        "with the "
        "seeds averaged: it does not hold what another training would change; 'seeds better' hints at that."
    )
    return Table("What the regulariser does", rows, note)


def _square(evidence: Evidence) -> Table | None:
    keys = {(t, m): (evidence.first, m, t) for t in ("", "adaloss") for m in ("FT", "CTD-ED")}
    if not set(keys.values()) <= set(evidence.runs):
        return None
    rows = []
    for targets, label in (("", "fixed sigma 1.5"), ("adaloss", "Adaloss")):
        row: dict[str, Any] = {"targets": label}
        for method, title in (("FT", "fine-tuning (FT)"), ("CTD-ED", "with L_ED (CTD-ED)")):
            row[title] = spread([run.mre for run in evidence.runs[keys[targets, method]]])
        rows.append(row)
    note = f"MRE px with {evidence.first} labelled images, mean ± sd over seeds. Beyond the papers."
    return Table("Adaloss and transfer", rows, note)


# -- claims -----------------------------------------------------------------------------------------------------------


def claims(evidence: Evidence) -> list[Claim]:
    """The paper's order of methods, and whether the regulariser helps; below chance nothing is claimed."""
    out = []
    for labels in dict.fromkeys(key[0] for key in evidence.runs):
        for method in ("CTD-ED", "CTD-CD", "CTD-Com"):
            gap = evidence.gap((labels, method, ""), (labels, "FT", ""))
            if gap is not None:
                text = f"{method} is better than fine-tuning with {labels} labelled images"
                out.append(Claim(text, _verdict(gap), f"{gap[0]:+.3f} px, 95 % {between(gap[1])}"))
    for better, worse in (("FTP", "FE"), ("FT", "FTP"), ("CTD-ED", "CTD-CD")):
        gap = evidence.gap((evidence.first, better, ""), (evidence.first, worse, ""))
        if gap is not None:
            text = f"{better} is better than {worse} ({evidence.first} labelled)"
            out.append(Claim(text, _verdict(gap), f"{gap[0]:+.3f} px, 95 % {between(gap[1])}"))
    return out


def _verdict(gap: tuple[float, tuple[float, float]]) -> bool:
    """Better beyond chance over the test subjects."""
    return bool(gap[1][1] < 0)


# -- figures ----------------------------------------------------------------------------------------------------------


def figures(evidence: Evidence) -> dict[str, Figure]:
    """Fig. 4 (CED of all methods), error against the number of labels, and Fig. 3 (predictions and maps)."""
    compared = [key for key in evidence.runs if key[0] == evidence.first and key[2] in ("", "scratch")]
    per_image = {
        name_of(key): np.concatenate([mean_point_error(r.points, evidence.test.points) for r in evidence.runs[key]])
        * evidence.scale
        for key in compared
    }
    top = max(THRESHOLD, float(np.nanquantile(np.concatenate(list(per_image.values())), 0.95)))
    drawn = {"fig4_ced": ced_plot(per_image, threshold=float(f"{top:.2g}"), unit="map cells")}
    curve = _label_curve(evidence)
    if curve is not None:
        drawn["labels"] = curve
    drawn["fig3_comparison"] = _grid(evidence, compared)
    return drawn


def _label_curve(evidence: Evidence) -> Figure | None:
    """Error of each method against the number of labelled images, a point per seed."""
    counts = list(dict.fromkeys(key[0] for key in evidence.runs))
    if len(counts) < 2:
        return None
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    methods = [m for m in dict.fromkeys(key[1] for key in evidence.runs) if (counts[-1], m, "") in evidence.runs]
    for i, method in enumerate(methods):
        values = [[run.mre for run in evidence.runs[count, method, ""]] for count in counts]
        look = line_style(i)
        axes.plot(range(len(counts)), [np.mean(v) for v in values], label=method, linewidth=1.8, **look)
        for x, seeds in enumerate(values):
            axes.plot([x] * len(seeds), seeds, linestyle="", marker="o", markersize=4, color=look["color"], alpha=0.6)
    axes.set_xticks(range(len(counts)), counts)
    axes.set_ylim(bottom=0)
    dress(axes, "labelled images", "mean radial error (px)", "Error against the number of labels")
    legend(axes, len(methods))
    return figure


def _grid(evidence: Evidence, keys: Sequence[Key]) -> Figure:
    """Predictions and maps of the first seed on images of different difficulty."""
    reference = evidence.runs[keys[0]][0]
    order = np.argsort([mean_error(row) if np.isfinite(row).any() else np.inf for row in reference.errors])
    chosen = [int(order[int(share * (len(order) - 1))]) for share in np.linspace(0.1, 0.9, SHOWN)]
    images: list[Any] = []
    truth: list[FloatArray] = []
    methods: dict[str, Compared] = {}
    for key in keys:
        predictor = Predictor.load(evidence.runs[key][0].run)
        maps, points = [], []
        for i in chosen:
            sample = evidence.test.samples[i]
            heat, to_original = predictor.heatmaps(sample.image)
            back = to_original.inverse()
            maps.append(heat.numpy())
            points.append(back.apply(evidence.runs[key][0].points[i]))
            if key == keys[0]:
                images.append(predictor.pipeline(evidence.test.read(i).pixels)[0].numpy())
                truth.append(back.apply(sample.points))
        methods[name_of(key)] = Compared(np.stack(points), np.stack(maps))
    scale = [max(evidence.test.read(i).pixels.shape[-2:]) / max(images[0].shape[-2:]) for i in chosen]
    return comparison_grid(images, np.stack(truth), methods, [f"image {i}" for i in chosen], scale=scale)
