"""Instruments of EndoVis 2015, the third experiment of the Adaloss paper: multi-instance, with unknown tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, RunError
from trigpoint.evaluation import Report, evaluate
from trigpoint.experiments.data_endovis import Bench, challenge, drawn, laparoscopy
from trigpoint.experiments.engine import Experiment, Runs
from trigpoint.experiments.findings import Claim, Table, judged, spread
from trigpoint.experiments.measures import Job, Outcome
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import DetectionReport, DetectionScores, count_detections, detection_scores
from trigpoint.report.detection_figures import precision_recall_plot

WIDER = (1.0, 2.0, 3.0)
"""Multiples of the matching radius."""
MOST_LOST = 5.0
"""Percentage points of precision that unknown tools may cost and still count as told apart; the paper loses 4.4."""


@dataclass(frozen=True)
class Detected:
    """What a run finds in the test images, and the truth: for each image K arrays of points, and of scores.

    All candidates, of which those with more than ``threshold`` count; ``annotated`` (N, K), ``radius`` (N,).
    """

    report: Report
    points: Sequence[Sequence[FloatArray]]
    scores: Sequence[Sequence[FloatArray]]
    truth: Sequence[Sequence[FloatArray]]
    annotated: Any
    radius: FloatArray
    threshold: float

    @classmethod
    def of(cls, report: Report) -> Detected:
        """The one place that knows how a report keeps instances."""
        detected = report.detected
        if detected is None:
            raise RunError(f"{report.run.folder}: expected a multi-instance run, got another kind")
        pairs = [found.by_landmark() for found in report.prediction.detections]
        truth = [list(image.points.swapaxes(0, 1)) for image in detected.images]
        annotated = np.array([image.annotated for image in detected.images])
        points, scores = [points for points, _ in pairs], [scores for _, scores in pairs]
        return cls(report, points, scores, truth, annotated, detected.scores.radius, detected.threshold)

    def among(
        self, positions: Sequence[int], times: float = 1.0, constant: FloatArray | None = None
    ) -> DetectionReport:
        """Scores of the images at these positions, with a matching radius so many ``times`` the usual one.

        With ``constant`` (K, 2) those of answering with these points in every image.
        """
        where = list(positions)
        points, scores = [self.points[i] for i in where], [self.scores[i] for i in where]
        if constant is not None:
            points, scores = (
                [[point[None] for point in constant]] * len(where),
                [[np.ones(1)] * len(constant)] * len(where),
            )
        return detection_scores(
            points,
            [self.truth[i] for i in where],
            times * self.radius[where],
            self.report.dataset.landmarks.names,
            scores=scores,
            threshold=self.threshold,
            annotated=self.annotated[where],
            draws=0,
        )

    def total(self, positions: Sequence[int] | None = None, constant: FloatArray | None = None) -> DetectionScores:
        """All landmarks together, counted strictly, on the images at ``positions`` (None: all)."""
        where = range(len(self.truth)) if positions is None else positions
        total: Mapping[str, DetectionScores] = cast(Any, self.among(where, constant=constant).total)
        return total["strict"]


class Endovis(Experiment):
    """Adaloss and a fixed sigma on the challenge's frames, on another video, or on drawn instruments."""

    measures_points = False
    bench: Bench

    def prepare(self) -> None:
        """Raises ConfigError for options that do not fit, DataError for data that are not complete."""
        stand_in, tools = self.options["stand_in"], self.options["tools"]
        if "tools" in self.request.options and stand_in != "none":
            raise ConfigError(
                f"tools: is of the EndoVis labels, got stand_in={stand_in} as well; leave one of them out"
            )
        if stand_in == "synthetic":
            draw = self.scale.draw or {}
            self.bench = drawn(self.request, draw["images"], draw["size"], lambda: self.draw("drawn"))
        else:
            self.bench = (
                laparoscopy(self.request)
                if stand_in == "laparoscopy"
                else challenge(self.request, tools, self.study.needs)
            )
        self.folder, self.test = self.bench.folder, self.bench.test

    def measured(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes = super().measured(jobs)
        self.found: dict[str, list[Detected]] = {}
        self.reports: dict[str, Report] = {}
        for outcome in outcomes:
            report = evaluate(outcome.run, self.test, split=None)
            detected = Detected.of(report)
            self.found.setdefault(outcome.job.name, []).append(detected)
            self.reports[outcome.job.folder] = report
            total = detected.total()
            shares = f"recall {100 * total.recall:.1f} %, precision {100 * total.precision:.1f} %"
            self.request.say(f"{outcome.job.folder}: {shares}")
        return outcomes

    def summary(self, outcome: Outcome) -> dict[str, Any]:
        report = self.reports[outcome.job.folder]
        return {
            "run": outcome.run.folder.name,
            "setting": outcome.job.name,
            "seed": outcome.job.seed,
            "threshold": None if report.detected is None else report.detected.threshold,
            "epochs": len(outcome.history),
            "minutes": outcome.minutes,
            **{key: report.metrics[key] for key in ("detection", "detection_lenient", "detection_total")},
        }

    def facts(self, runs: Runs) -> dict[str, Any]:
        radii = sorted(set(self.found["adaloss"][0].radius.tolist()))
        shown = radii[:1] if len(radii) == 1 else [radii[0], radii[-1]]
        radius = " to ".join(f"{r:g}" for r in shown)
        return {
            **super().facts(runs),
            "data": self.note(self.options["stand_in"], **self.bench.facts, tools=self.options["tools"]),
            "radius": radius,
        }

    def tables(self, runs: Runs) -> list[Table]:
        found = [self._subset_table(name, where) for name, where in self.bench.subsets.items() if where]
        return [*found, self._wider_table(), *([self._scissor_table()] if self.bench.scissors else [])]

    def _subset_table(self, subset: str, where: Sequence[int]) -> Table:
        rows, names = list[dict[str, Any]](), self.test.landmarks.names
        for setting, runs in self.found.items():
            reports = [cast(Any, run.among(where)) for run in runs]
            for counting in ("strict", "lenient"):
                each = {name: [one.per_landmark[counting][name] for one in reports] for name in names}
                each["all together"] = [one.total[counting] for one in reports]
                rows += [_row(setting, counting, name, scores) for name, scores in each.items()]
        published = self.options["stand_in"] == "none"
        if published:
            for name, numbers in self.values["paper"][subset].items():
                cells = dict(
                    zip(("recall %", "precision %", "distance px"), (f"{n:.2f}" for n in numbers), strict=True)
                )
                rows.append({"model": "paper", "counting": "not stated", "landmark": name, **cells})
        note = self.note("subset") + ("" if published else " The paper has no number for this set.")
        return Table(f"Test images: {subset} ({len(where)})", rows, note)

    def _wider_table(self) -> Table:
        """Is a low score due to instruments that were not found, or to points that lie elsewhere on them?"""
        rows, everything = [], range(len(self.test.by_image()))
        for setting, runs in self.found.items():
            reports = {times: [cast(Any, run.among(everything, times)) for run in runs] for times in WIDER}
            for name in self.test.landmarks.names:
                row: dict[str, Any] = {"model": setting, "landmark": name}
                for times, found in reports.items():
                    each = [report.per_landmark["strict"][name] for report in found]
                    row[f"F1 % within {times:g} x"] = spread([100 * one.f1 for one in each])
                    row[f"distance px within {times:g} x"] = spread([one.distance for one in each])
                rows.append(row)
        return Table("Nearness: F1 with wider matching radii", rows, self.note("wider"))

    def _scissor_table(self) -> Table:
        """Of the drawn scissors, in how many a landmark of a known instrument is seen."""
        rows = []
        for setting, runs in self.found.items():
            shares = np.array([self._taken_for(run) for run in runs])
            cells = {
                f"{n} %": spread((100 * shares[:, k]).tolist(), 1) for k, n in enumerate(self.test.landmarks.names)
            }
            rows.append({"model": setting, **cells})
        return Table("Scissors taken for a known instrument", rows, self.note("scissors"))

    def _taken_for(self, run: Detected) -> list[float]:
        names = [self.test.image_name(self.test.samples[rows[0]]) for rows in self.test.by_image()]
        shown = [i for i, name in enumerate(names) if name in self.bench.scissors]
        counts = count_detections(
            [run.points[i] for i in shown],
            [list(self.bench.scissors[names[i]].swapaxes(0, 1)) for i in shown],
            run.radius[shown],
            scores=[run.scores[i] for i in shown],
            threshold=run.threshold,
        )
        shares: list[float] = (counts.true_positives.sum(0) / counts.actual.sum(0)).tolist()
        return shares

    def claims(self, runs: Runs) -> list[Claim]:
        """Adaloss against the fixed sigma, and precision with scissors in the image against that without.

        Not testable where a run finds no more than the mean training position, answered in every image, does.
        """
        training = LandmarkDataset.load(self.folder, "train", check_images=False)
        middle: FloatArray = np.nanmean(training.points, axis=0)
        f1 = {name: [100 * run.total().f1 for run in found] for name, found in self.found.items()}
        constant = 100 * float(np.nan_to_num(self.found["adaloss"][0].total(constant=middle).f1))
        bad = {
            name: f"{name} has F1 {np.mean(each):.2f} %, the mean training position {constant:.2f} %"
            for name, each in f1.items()
            if not np.mean(each) > constant
        }
        numbers = f"F1 {spread(f1['adaloss'])} against {spread(f1['fixed'])} %"
        holds = bool(np.mean(f1["adaloss"]) > np.mean(f1["fixed"]))
        claims = [judged("Adaloss finds more than the fixed sigma", holds, numbers, bad.values())]
        where = [self.bench.subsets.get(name) for name in ("no scissors", "with scissors")]
        if all(where):
            each = [[100 * run.total(part).precision for run in self.found["adaloss"]] for part in where]
            lost = float(np.mean(each[0]) - np.mean(each[1]))
            text = f"Tools that were never seen are told apart (at most {MOST_LOST:g} points of precision are lost)"
            shown = f"precision {spread(each[0])} % without, {spread(each[1])} % with scissors; paper 96.56 and 92.16 %"
            claims.append(judged(text, None if np.isnan(lost) else lost <= MOST_LOST, shown, [bad.get("adaloss", "")]))
        return claims

    def figures(self, runs: Runs) -> dict[str, Figure]:
        report = self.found["adaloss"][0].report
        detected = report.detected
        if detected is None:
            return {}
        busy = [int(i) for i in np.argsort(-detected.scores.counts.actual.sum(1), kind="stable")]
        with_scissors = set(self.bench.subsets.get("with scissors", []))
        wanted = [i for i in busy if i in with_scissors][:3]
        wanted += [i for i in busy if i not in wanted][: 6 - len(wanted)]
        curve = precision_recall_plot(detected.curve, self.test.landmarks.names, detected.threshold)
        return {"precision_recall": curve, "instances": report.overlay(wanted)}


def _row(setting: str, counting: str, name: str, scores: Sequence[DetectionScores]) -> dict[str, Any]:
    return {
        "model": setting,
        "counting": counting,
        "landmark": name,
        "recall %": spread([100 * one.recall for one in scores]),
        "precision %": spread([100 * one.precision for one in scores]),
        "F1 %": spread([100 * one.f1 for one in scores]),
        "distance px": spread([one.distance for one in scores]),
    }
