"""Faces, section 4.3 of the Adaloss paper: Table 3 on 300-W, and sigma per region of the face (Fig. 7), or on MUCT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.experiments.baseline import WITHOUT, baseline, wanted
from trigpoint.experiments.data_300w import COUNTS, check_layout, prepare
from trigpoint.experiments.engine import Experiment, Runs, timed
from trigpoint.experiments.findings import Claim, Table, judged, spread
from trigpoint.experiments.measures import Outcome, clamped, obstacles
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.metrics import mean_error
from trigpoint.report.figures import ced_plot, sigma_curves, time_to_accuracy

REGIONS = ("jaw", "brows", "mouth", "eyes", "nose")  # Fig. 7, the widest first
SETS = ("common", "challenging", "full")
CLOSE = 1.05  # times the paper's number counts as reached


class Faces(Experiment):
    """Adaloss on faces with regions, with dlib as baseline where it is wanted."""

    dlib: Outcome | None = None

    def check_baseline(self) -> None:
        """Say that the baseline is missing; a wish that cannot be met is told before hours of training."""
        if not wanted(self.options["dlib"]) and self.options["dlib"] == "auto":
            self.warnings.append(WITHOUT)

    def measured(self, jobs: Sequence[Any]) -> list[Outcome]:
        outcomes = super().measured(jobs)
        if wanted(self.options["dlib"]):
            self.dlib = baseline(self.request, self.folder, self.test)
            self.labels[self.dlib.job.name] = self.dlib.job.name
        return outcomes


class Faces300W(Faces):
    """300-W: check and prepare the user's copy, train, and write Table 3 with our row.

    ``counts``: images expected in each folder; differences become warnings (None: none do).
    """

    counts: Mapping[str, int] | None = COUNTS

    def prepare(self) -> None:
        """Crops of all faces; ``test`` are the common and then the challenging ones."""
        data = self.user_data()
        self.check_baseline()
        layout = check_layout(data, self.counts)
        self.request.open_folder()
        for difference in layout.differences:
            self.request.say(f"warning: {difference}")
        self.warnings[:0] = layout.differences
        self.folder = prepare(layout, self.request.out / "data", self.request.say)
        common, challenging = (LandmarkDataset.load(self.folder, split=name) for name in SETS[:2])
        self.common = len(common)
        self.test = LandmarkDataset([*common.samples, *challenging.samples], common.landmarks, name="300-W full")

    def facts(self, runs: Runs) -> dict[str, Any]:
        training = len(LandmarkDataset.load(self.folder, split="train", check_images=False))
        numbers = {"training": training, "common": self.common, "challenging": len(self.test) - self.common}
        return {**super().facts(runs), **numbers}

    def per_set(self, outcome: Outcome) -> dict[str, FloatArray]:
        """NME of each image of the three sets."""
        values = outcome.nme
        return {"common": values[: self.common], "challenging": values[self.common :], "full": values}

    def tables(self, runs: Runs) -> list[Table]:
        rows: list[dict[str, Any]] = [
            {"method": name, **{s: f"{v:.2f}" for s, v in zip(SETS, values[:3], strict=True)}, "normaliser": values[3]}
            for name, values in self.values["paper"].items()
        ]
        others = [] if self.dlib is None else [(f"{self.dlib.job.name} (this run)", [self.dlib])]
        for name, outcomes in [(self.label("adaloss"), runs["adaloss"]), *others]:
            shown = {s: spread([100 * mean_error(self.per_set(run)[s]) for run in outcomes]) for s in SETS}
            rows.append({"method": name, **shown, "normaliser": self.values["paper"]["Adaloss (paper)"][3]})
        table = Table("Table 3: normalised mean error on 300-W", rows, self.note("table_three"))
        return [table, region_table(runs["adaloss"], self.test.landmarks, self.note("regions"))]

    def claims(self, runs: Runs) -> list[Claim]:
        claims = []
        for name, paper in zip(SETS, self.values["paper"]["Adaloss (paper)"][:3], strict=True):
            ours = [100 * mean_error(self.per_set(run)[name]) for run in runs["adaloss"]]
            text = f"NME on the {name} set is the paper's {paper:.2f} % (within 5 %)"
            holds = bool(np.mean(ours) <= CLOSE * paper)
            claims.append(judged(text, holds, f"{spread(ours)} %", obstacles(runs["adaloss"])))
        return [*claims, region_claim(runs["adaloss"], self.test.landmarks)]

    def figures(self, runs: Runs) -> dict[str, Figure]:
        ours = runs["adaloss"]
        shown = {name: np.concatenate([self.per_set(run)[name] for run in ours]) for name in SETS}
        if self.dlib is not None:
            shown[f"{self.dlib.job.name}, full"] = self.dlib.nme
        regions = {"fig7_sigma": region_figure(ours[0], self.test.landmarks)}
        return {**regions, **super().figures(runs), "ced": ced_plot(shown, 0.1, unit="NME")}


class Muct(Faces):
    """Adaloss by two rules and a fixed sigma; claims are on the rule with the lower validation error."""

    def prepare(self) -> None:
        """The user's dataset; raises DataError without groups or without the split ``test``."""
        self.folder = self.user_data()
        self.test = LandmarkDataset.load(self.folder, split="test")
        if not self.test.landmarks.groups:
            raise DataError(
                f"{self.folder}: expected 'groups' in dataset.yaml (jaw, brows, eyes, nose, mouth), got none; "
                "sigma per region needs regions"
            )
        self.check_baseline()
        self.request.open_folder()

    def facts(self, runs: Runs) -> dict[str, Any]:
        length = self.test.landmarks.normalizer
        return {
            **super().facts(runs),
            "normalizer": "nothing, for the dataset names none" if length is None else length.name,
        }

    def tables(self, runs: Runs) -> list[Table]:
        other = {} if self.dlib is None else {self.dlib.job.name: [self.dlib]}
        marks, note = self.test.landmarks, self.note("regions")
        rules = [region_table(runs[rule], marks, note, f": {self.label(rule)}") for rule in ("adaloss", "falling")]
        return [*super().tables({**runs, **other}), *rules]

    def best(self, runs: Runs) -> list[Outcome]:
        """Adaloss by the rule with the lower error on the validation images."""
        return min((runs["adaloss"], runs["falling"]), key=lambda each: float(np.mean([run.val_mre for run in each])))

    def claims(self, runs: Runs) -> list[Claim]:
        ours, fixed = self.best(runs), runs["fixed"]
        means = [float(np.mean([run.mre for run in each])) for each in (ours, fixed)]
        shown = " against ".join(spread([run.mre for run in each]) for each in (ours, fixed))
        numbers = f"{self.label(ours[0].job.name)}: test MRE {shown} px: {100 * (means[0] / means[1] - 1):+.1f} %"
        text = "Adaloss is better than the fixed sigma"
        margin = judged(text, means[0] < means[1], numbers, obstacles(ours, fixed))
        return [margin, region_claim(ours, self.test.landmarks)]

    def figures(self, runs: Runs) -> dict[str, Figure]:
        regions = {"fig7_sigma": region_figure(self.best(runs)[0], self.test.landmarks)}
        figures = {**regions, **super().figures(runs)}
        if self.dlib is not None:
            lines = {self.label(name): timed(each[0]) for name, each in runs.items()}
            lines["dlib (test images)"] = ([self.dlib.minutes], [self.dlib.mre])
            figures["time_to_accuracy"] = time_to_accuracy(lines, (f"dlib {self.dlib.mre:.2f} px", self.dlib.mre))
        return figures


# -- regions ----------------------------------------------------------------------------------------------------------


def region_widths(outcome: Outcome, marks: LandmarkSet) -> dict[str, FloatArray]:
    """Mean sigma (E,) of each group's landmarks over the epochs, heatmap px."""
    return {group: outcome.sigma(names).mean(axis=1) for group, names in marks.groups.items()}


def region_figure(outcome: Outcome, marks: LandmarkSet) -> Figure:
    """Fig. 7: mean sigma of each region against the epoch."""
    widths = region_widths(outcome, marks)
    return sigma_curves(outcome.epochs, {group: values.tolist() for group, values in widths.items()})


def region_table(outcomes: Sequence[Outcome], marks: LandmarkSet, note: str, of: str = "") -> Table:
    """Last sigma, speed and error of each region, mean ± sd over seeds."""
    rows: list[dict[str, Any]] = []
    for group, names in marks.groups.items():
        where = [marks.index(name) for name in names]
        widths = [region_widths(outcome, marks)[group] for outcome in outcomes]
        rows.append(
            {
                "region": group,
                "landmarks": len(names),
                "last sigma": spread([float(values[-1]) for values in widths]),
                "epochs to half of sigma0": spread([_halved(values) for values in widths], 0),
                "MRE px": spread([mean_error(outcome.errors[:, where]) for outcome in outcomes]),
            }
        )
    return Table(f"Sigma per region (Fig. 7){of}", rows, note)


def region_claim(outcomes: Sequence[Outcome], marks: LandmarkSet) -> Claim:
    """The order of the regions in Fig. 7; not testable with other groups, or where all widths stand at a bound."""
    text = "Eyes and nose end with the sharpest targets, then the mouth; jaw and brows stay widest (Fig. 7)"
    if not set(REGIONS) <= set(marks.groups):
        return Claim(text, None, f"needs the groups {', '.join(REGIONS)}, got {', '.join(marks.groups) or 'none'}")
    ends = {group: [region_widths(outcome, marks)[group][-1] for outcome in outcomes] for group in REGIONS}
    last = {group: float(np.mean(values)) for group, values in ends.items()}
    sharp, wide = max(last["eyes"], last["nose"]), min(last["jaw"], last["brows"])
    numbers = ", ".join(f"{group} {spread(ends[group])}" for group in sorted(last, key=lambda group: last[group]))
    bounds = []
    for outcome in outcomes:
        schedule, widths = read_yaml(outcome.run.config)["method"]["schedule"], outcome.sigma()
        bounds.append(clamped(widths, float(schedule["sigma_min"]), float(widths[0].max())))
    holds = sharp <= last["mouth"] <= wide and sharp < wide
    return judged(text, holds, f"last sigma: {numbers}", [*bounds, *obstacles(outcomes)])


def _halved(widths: FloatArray) -> float:
    """First epoch whose width is at most half of the first one's; NaN = never."""
    below = np.flatnonzero(widths <= widths[0] / 2)
    return float(below[0]) if len(below) else float("nan")
