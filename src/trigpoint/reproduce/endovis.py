"""Instruments of EndoVis 2015, the third experiment of the Adaloss paper: several instances per image, unknown tools.

The frames may not be passed on: ``--data`` names the user's copy. ``stand_in=laparoscopy`` takes another real video in
the native format, ``stand_in=synthetic`` draws instruments, with scissors in test images only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from trigpoint.errors import ConfigError
from trigpoint.evaluation import InstanceReport, evaluate
from trigpoint.metrics import DetectionReport, DetectionScores, count_detections, detection_scores
from trigpoint.report.detection_figures import precision_recall_plot
from trigpoint.reproduce.endovis_data import CLASPERS, Bench, challenge, laparoscopy, synthetic
from trigpoint.reproduce.findings import Claim, Findings, Table, spread
from trigpoint.reproduce.study import Job, Request, with_seeds
from trigpoint.runs import RunFolder
from trigpoint.training import train

NAME = "endovis"
STAND_INS = ("none", "laparoscopy", "synthetic")
TOOLS = ("needle_driver", "all")
OPTIONS = ("stand_in", "tools")
WIDER = (1.0, 2.0, 3.0)
"""Multiples of the matching radius."""
MOST_LOST = 5.0
"""Percentage points of precision that unknown tools may cost and still count as told apart; the paper loses 4.4."""

# Recall %, precision %, distance px of the paper
PAPER: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "no scissors": {CLASPERS[0]: (93.18, 98.86, 7.23), CLASPERS[1]: (96.59, 94.26, 6.38)},
    "with scissors": {CLASPERS[0]: (98.02, 97.10, 7.21), CLASPERS[1]: (97.37, 87.23, 6.56)},
    "all": {CLASPERS[0]: (95.56, 90.50, 6.83), CLASPERS[1]: (96.38, 81.20, 6.61)},
}


@dataclass(frozen=True)
class Scale:
    """The recipe, its overrides and Adaloss's options (None: the recipe's), the fixed sigma (map px) to compare with,
    and the drawn set that stands in."""

    recipe: str
    fixed_sigma: float
    about: str
    drawn: tuple[int, tuple[int, int]]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    adaloss: Mapping[str, Any] | None = None


SCALES: Mapping[str, Scale] = {
    "small": Scale(
        "instances",
        3.0,
        "input 192 x 256, a U-Net of a quarter of the width with maps of half that size, 40 epochs, median 5 (paper: "
        "576 x 720, 9 convolutions, 300 epochs, median 7)",
        (300, (192, 256)),
        adaloss={"name": "adaloss", "sigma0": 8.0, "sigma_min": 2.2},
    ),
    "paper": Scale(
        "endovis", 5.0, "the paper's network, input, optimizer and decoding; width not stated", (1850, (576, 720))
    ),
}


@dataclass(frozen=True)
class Measured:
    """A finished run and its report on the test images."""

    job: Job
    run: RunFolder
    report: InstanceReport

    def part(self, positions: Sequence[int], times: float = 1.0) -> DetectionReport:
        """Scores of the images at these positions, with a matching radius so many ``times`` the usual one."""
        report = self.report
        pairs = [report.predictions[i].by_landmark() for i in positions]
        images = [report.images[i] for i in positions]
        return detection_scores(
            [points for points, _ in pairs],
            [list(image.points.swapaxes(0, 1)) for image in images],
            times * report.detection.radius[list(positions)],
            report.dataset.landmarks.names,
            scores=[scores for _, scores in pairs],
            threshold=report.threshold,
            annotated=np.array([image.annotated for image in images]),
            draws=0,
        )

    def summary(self) -> dict[str, Any]:
        """What ``results.json`` keeps of it."""
        history = self.run.history_table()
        return {
            "run": self.run.folder.name,
            "setting": self.job.name,
            "seed": self.job.seed,
            "threshold": self.report.threshold,
            "epochs": len(history),
            "minutes": float(history["minutes"].max()),
            **{key: self.report.metrics[key] for key in ("detection", "detection_lenient", "detection_total")},
        }


def reproduce(request: Request, scale: Scale | None = None) -> Findings:
    """Train Adaloss and a fixed sigma and write tables and figures into ``request.out``.

    Raises ConfigError for options that do not fit, DataError for data that are not complete.
    """
    chosen = SCALES[request.scale] if scale is None else scale
    stand_in = request.one_of("stand_in", STAND_INS, "none")
    tools = request.one_of("tools", TOOLS, TOOLS[0])
    if "tools" in request.options and stand_in != "none":
        raise ConfigError(f"tools: is of the EndoVis labels, got stand_in={stand_in} as well; leave one of them out")
    if request.jobs > 1:
        raise ConfigError(f"jobs: {NAME} runs one training after the other, got {request.jobs}; leave --jobs out")
    bench = _bench(request, chosen, stand_in, tools)
    seeds = request.seeds or (0,)
    runs = [_measured(request, job, bench) for job in with_seeds(jobs(chosen), seeds)]
    grouped = {name: [run for run in runs if run.job.name == name] for name in ("adaloss", "fixed")}
    radii = sorted(set(runs[0].report.detection.radius.tolist()))
    findings = Findings(
        f"Adaloss paper, several instances per image (scale {request.scale}, stand-in: {stand_in})",
        f"{bench.about}. Method: {chosen.about}. Weights and threshold are chosen on the validation images, all "
        f"numbers are from the test images, original pixels. A prediction matches when it is nearer than "
        f"{' to '.join(f'{r:g}' for r in (radii[:1] if len(radii) == 1 else [radii[0], radii[-1]]))} px. "
        f"Seeds {', '.join(map(str, seeds))}.",
        [*_tables(grouped, bench, stand_in == "none"), _wider_table(grouped), *_scissor_table(grouped, bench)],
        [_margin(grouped), *_unknown_tools(grouped["adaloss"], bench)],
        runs=[run.summary() for run in runs],
        figures={
            "precision_recall": precision_recall_plot(
                grouped["adaloss"][0].report.curve,
                bench.test.landmarks.names,
                grouped["adaloss"][0].report.threshold,
            ),
            **_overlay(grouped["adaloss"][0], bench),
        },
    )
    findings.write(request.out)
    return findings


def jobs(scale: Scale) -> list[Job]:
    """The same network and training with Adaloss and with a fixed sigma."""
    adaptive = {} if scale.adaloss is None else {"method.schedule": dict(scale.adaloss)}
    fixed = {"method.schedule": {"name": "fixed", "sigma0": scale.fixed_sigma}}
    return [
        Job(name, scale.recipe, {**scale.overrides, **schedule}, 0)
        for name, schedule in (("adaloss", adaptive), ("fixed", fixed))
    ]


def _bench(request: Request, scale: Scale, stand_in: str, tools: str) -> Bench:
    if stand_in == "synthetic":
        return synthetic(request, *scale.drawn)
    return laparoscopy(request) if stand_in == "laparoscopy" else challenge(request, tools)


def _measured(request: Request, job: Job, bench: Bench) -> Measured:
    run = train(job.recipe, job.dotted(bench.folder), out=request.out / "runs" / job.folder, progress=request.progress)
    report = cast(InstanceReport, evaluate(run, bench.test, split=None))
    total = report.detection.total["strict"]
    request.say(f"{job.folder}: recall {100 * total.recall:.1f} %, precision {100 * total.precision:.1f} %")
    return Measured(job, run, report)


def _tables(grouped: Mapping[str, Sequence[Measured]], bench: Bench, published: bool) -> list[Table]:
    """One per part of the test images, both ways of counting."""
    found = []
    for part, positions in bench.parts.items():
        if not positions:
            continue
        rows: list[dict[str, Any]] = []
        for setting, runs in grouped.items():
            reports = [run.part(positions) for run in runs]
            for counting in ("strict", "lenient"):
                total = {"all together": [cast(Any, report.total)[counting] for report in reports]}
                each = {
                    name: [cast(Any, report.per_landmark)[counting][name] for report in reports]
                    for name in bench.test.landmarks.names
                }
                rows += [_row(setting, counting, name, scores) for name, scores in (each | total).items()]
        if published:
            rows += [
                {
                    "model": "paper", "counting": "not stated", "landmark": name,
                    "recall %": f"{recall:.2f}", "precision %": f"{precision:.2f}", "distance px": f"{px:.2f}",
                }
                for name, (recall, precision, px) in PAPER[part].items()
            ]  # fmt: skip
        note = "strict: every unmatched instance is missed. lenient: only as many as there are too few predictions."
        note += "" if published else " The paper has no number for this set."
        found.append(Table(f"Test images: {part} ({len(positions)})", rows, note))
    return found


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


def _wider_table(grouped: Mapping[str, Sequence[Measured]]) -> Table:
    """Is a low score due to instruments that were not found, or to points that lie elsewhere on them?"""
    rows = []
    for setting, runs in grouped.items():
        everything = range(len(runs[0].report.images))
        reports = {times: [run.part(everything, times) for run in runs] for times in WIDER}
        for name in runs[0].report.dataset.landmarks.names:
            row: dict[str, Any] = {"model": setting, "landmark": name}
            for times, found in reports.items():
                each = [cast(Any, report.per_landmark)["strict"][name] for report in found]
                row[f"F1 % within {times:g} x"] = spread([100 * one.f1 for one in each])
                row[f"distance px within {times:g} x"] = spread([one.distance for one in each])
            rows.append(row)
    note = "All test images, counted strictly, with that many times the matching radius."
    return Table("Nearness: F1 with wider matching radii", rows, note)


def _scissor_table(grouped: Mapping[str, Sequence[Measured]], bench: Bench) -> list[Table]:
    """Of the drawn scissors, in how many a part of a known instrument is seen."""
    if not bench.scissors:
        return []
    rows = []
    for setting, runs in grouped.items():
        row: dict[str, Any] = {"model": setting}
        shares = np.array([_taken_for(run, bench) for run in runs])
        for k, name in enumerate(bench.test.landmarks.names):
            row[f"{name} %"] = spread((100 * shares[:, k]).tolist(), 1)
        rows.append(row)
    note = "Share of the scissors near whose own point a landmark of the known instruments is predicted; 0 is best."
    return [Table("Scissors taken for a known instrument", rows, note)]


def _taken_for(run: Measured, bench: Bench) -> list[float]:
    report, data = run.report, bench.test
    names = [data.image_name(data.samples[image.rows[0]]) for image in report.images]
    shown = [i for i, name in enumerate(names) if name in bench.scissors]
    pairs = [report.predictions[i].by_landmark() for i in shown]
    counts = count_detections(
        [points for points, _ in pairs],
        [list(bench.scissors[names[i]].swapaxes(0, 1)) for i in shown],
        report.detection.radius[shown],
        scores=[scores for _, scores in pairs],
        threshold=report.threshold,
    )
    shares: list[float] = (counts.true_positives.sum(0) / counts.actual.sum(0)).tolist()
    return shares


def _margin(grouped: Mapping[str, Sequence[Measured]]) -> Claim:
    ours, fixed = (
        100 * float(np.mean([run.report.detection.total["strict"].f1 for run in grouped[key]]))
        for key in ("adaloss", "fixed")
    )
    return Claim("Adaloss finds more than the fixed sigma", ours > fixed, f"F1 {ours:.2f} against {fixed:.2f} %")


def _unknown_tools(runs: Sequence[Measured], bench: Bench) -> list[Claim]:
    """Precision with scissors in the image against that without."""
    if not bench.parts.get("with scissors") or not bench.parts.get("no scissors"):
        return []
    without, with_them = (
        100 * float(np.mean([run.part(bench.parts[part]).total["strict"].precision for run in runs]))
        for part in ("no scissors", "with scissors")
    )
    lost = without - with_them
    return [
        Claim(
            f"Tools that were never seen are told apart (at most {MOST_LOST:g} points of precision are lost)",
            None if np.isnan(lost) else lost <= MOST_LOST,
            f"precision {without:.2f} % without, {with_them:.2f} % with scissors; paper 96.56 and 92.16 %",
        )
    ]


def _overlay(run: Measured, bench: Bench) -> dict[str, Any]:
    busy = np.argsort(-run.report.detection.counts.actual.sum(1), kind="stable")
    wanted = [int(i) for i in busy if int(i) in set(bench.parts.get("with scissors", []))][:3]
    wanted += [int(i) for i in busy if int(i) not in wanted][: 6 - len(wanted)]
    return {"instances": run.report.overlay(wanted)}
