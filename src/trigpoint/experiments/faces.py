"""Faces, section 4.3 of the Adaloss paper: Table 3 on 300-W, and sigma per region of the face (Fig. 7), or on MUCT."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.experiments.baseline import WITHOUT, baseline, wanted
from trigpoint.experiments.data_300w import COUNTS, check_layout, prepare
from trigpoint.experiments.engine import Experiment, timed
from trigpoint.experiments.findings import Claim, Row, Table, judged, spread
from trigpoint.experiments.measures import Job, Outcome, clamped, compared, obstacles
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error
from trigpoint.report.figures import ced_plot, sigma_curves, time_to_accuracy

REGIONS = ("jaw", "brows", "mouth", "eyes", "nose")  # Fig. 7, the widest first
SETS = ("common", "challenging", "full")
CLOSE = 1.05  # times the paper's number counts as reached


class Faces(Experiment):
    """Adaloss on faces with regions, with dlib as baseline where it is wanted."""

    dlib: Outcome | None = None

    def check(self) -> None:
        """Say that the baseline is missing; a wish that cannot be met is told before hours of training."""
        if not wanted(self.options["dlib"]) and self.options["dlib"] == "auto":
            self.warnings.append(WITHOUT)

    def measured(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes = super().measured(jobs)
        if wanted(self.options["dlib"]):
            self.dlib = baseline(self.request, self.folder, self.test)
        return outcomes

    def widths(self, outcome: Outcome) -> dict[str, FloatArray]:
        """Mean sigma (E,) of each region's landmarks over the epochs, heatmap px."""
        return {group: outcome.sigma(names).mean(axis=1) for group, names in self.test.landmarks.groups.items()}

    def region_figure(self, outcome: Outcome) -> dict[str, Figure]:
        """Fig. 7: mean sigma of each region against the epoch."""
        lines = {group: values.tolist() for group, values in self.widths(outcome).items()}
        return {"fig7_sigma": sigma_curves(outcome.epochs, lines)}

    def region_table(self, outcomes: Sequence[Outcome], of: str = "") -> Table:
        """Last sigma, speed and error of each region, mean ± sd over seeds."""
        rows, marks = list[Row](), self.test.landmarks
        for group, names in marks.groups.items():
            where = [marks.index(name) for name in names]
            widths = [self.widths(outcome)[group] for outcome in outcomes]
            rows.append(
                {
                    "region": group,
                    "landmarks": len(names),
                    "last sigma": spread([float(values[-1]) for values in widths]),
                    "epochs to half of sigma0": spread([_halved(values) for values in widths], 0),
                    "MRE px": spread([mean_error(outcome.errors[:, where]) for outcome in outcomes]),
                }
            )
        return Table(f"Sigma per region (Fig. 7){of}", rows, self.note("regions"))

    def region_claim(self, outcomes: Sequence[Outcome]) -> Claim:
        """The order of the regions in Fig. 7; not testable with other groups, or where all widths stand at a bound."""
        text = "Eyes and nose end with the sharpest targets, then the mouth; jaw and brows stay widest (Fig. 7)"
        groups = self.test.landmarks.groups
        if not set(REGIONS) <= set(groups):
            return Claim(text, None, f"needs the groups {', '.join(REGIONS)}, got {', '.join(groups) or 'none'}")
        ends = {group: [self.widths(outcome)[group][-1] for outcome in outcomes] for group in REGIONS}
        last = {group: float(np.mean(values)) for group, values in ends.items()}
        sharp, wide = max(last["eyes"], last["nose"]), min(last["jaw"], last["brows"])
        least = [float(read_yaml(run.run.config)["method"]["schedule"]["sigma_min"]) for run in outcomes]
        bounds = [
            clamped(run.sigma(), low, float(run.sigma()[0].max())) for run, low in zip(outcomes, least, strict=True)
        ]
        numbers = ", ".join(f"{group} {spread(ends[group])}" for group in sorted(last, key=lambda group: last[group]))
        holds = sharp <= last["mouth"] <= wide and sharp < wide
        return judged(text, holds, f"last sigma: {numbers}", [*bounds, *obstacles(outcomes)])


class Faces300W(Faces):
    """300-W: check and prepare the user's copy, train, and write Table 3 with our row.

    ``counts``: images expected in each folder; differences become warnings (None: none do).
    """

    counts: Mapping[str, int] | None = COUNTS

    def prepare(self) -> None:
        """Crops of all faces; ``test`` are the common and then the challenging ones."""
        data = self.user_data()
        self.check()
        layout = check_layout(data, self.counts)
        self.request.open_folder()
        for difference in layout.differences:
            self.request.say(f"warning: {difference}")
        self.warnings[:0] = layout.differences
        self.folder = prepare(layout, self.request.out / "data", self.request.say)
        common, challenging = (LandmarkDataset.load(self.folder, split=name) for name in SETS[:2])
        self.common, self.test = len(common), common.followed_by(challenging)

    def facts(self) -> dict[str, Any]:
        numbers = {"common": self.common, "challenging": len(self.test) - self.common}
        return {**super().facts(), "training": len(self.training()), **numbers}

    def nme(self, outcome: Outcome) -> dict[str, FloatArray]:
        """NME of each image of the three sets."""
        return dict(zip(SETS, (outcome.nme[: self.common], outcome.nme[self.common :], outcome.nme), strict=True))

    def means(self, outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
        """NME in per cent of each seed on the three sets."""
        return {name: [100 * mean_error(self.nme(run)[name]) for run in outcomes] for name in SETS}

    def tables(self) -> list[Table]:
        paper, ours = self.values["paper"], self.runs["adaloss"]
        rows: list[Row] = [
            {"method": name, **{s: f"{v:.2f}" for s, v in zip(SETS, values[:3], strict=True)}, "normaliser": values[3]}
            for name, values in paper.items()
        ]
        others = [] if self.dlib is None else [(f"{self.dlib.job.name} (this run)", [self.dlib])]
        for name, outcomes in [(self.label("adaloss"), ours), *others]:
            cells = {key: spread(values) for key, values in self.means(outcomes).items()}
            rows.append({"method": name, **cells, "normaliser": paper["Adaloss (paper)"][3]})
        table = Table("Table 3: normalised mean error on 300-W", rows, self.note("table_three"))
        return [table, self.region_table(ours)]

    def claims(self) -> list[Claim]:
        ours, paper = self.runs["adaloss"], self.values["paper"]["Adaloss (paper)"]
        claims = [
            judged(
                f"NME on the {name} set is the paper's {number:.2f} % (within 5 %)",
                bool(np.mean(values) <= CLOSE * number),
                f"{spread(values)} %",
                obstacles(ours),
            )
            for (name, values), number in zip(self.means(ours).items(), paper[:3], strict=True)
        ]
        return [*claims, self.region_claim(ours)]

    def figures(self) -> dict[str, Figure]:
        ours = self.runs["adaloss"]
        shown = {name: np.concatenate([self.nme(run)[name] for run in ours]) for name in SETS}
        if self.dlib is not None:
            shown[f"{self.dlib.job.name}, full"] = self.dlib.nme
        return {**self.region_figure(ours[0]), **super().figures(), "ced": ced_plot(shown, 0.1, unit="NME")}


class Muct(Faces):
    """Adaloss by two rules and a fixed sigma; claims are on the rule with the lower validation error."""

    def check(self) -> None:
        if not self.test.landmarks.groups:
            wanted = "'groups' in dataset.yaml (jaw, brows, eyes, nose, mouth)"
            raise DataError(f"{self.folder}: expected {wanted}, got none; sigma per region needs regions")
        super().check()

    def facts(self) -> dict[str, Any]:
        length = self.test.landmarks.normalizer
        return {
            **super().facts(),
            "normalizer": "nothing, for the dataset names none" if length is None else length.name,
        }

    def tables(self) -> list[Table]:
        other = {} if self.dlib is None else {self.dlib.job.name: [self.dlib]}
        stated = [self.table(spec, {**self.runs, **other}) for spec in self.study.tables]
        return stated + [self.region_table(self.runs[key], f": {self.label(key)}") for key in ("adaloss", "falling")]

    def best(self) -> list[Outcome]:
        """Adaloss by the rule with the lower error on the validation images."""
        rules = self.runs["adaloss"], self.runs["falling"]
        return min(rules, key=lambda each: float(np.mean([run.val_mre for run in each])))

    def claims(self) -> list[Claim]:
        ours, fixed = self.best(), self.runs["fixed"]
        means = [float(np.mean([run.mre for run in each])) for each in (ours, fixed)]
        about, more = f"{self.label(ours[0].job.name)}: test MRE ", f": {100 * (means[0] / means[1] - 1):+.1f} %"
        text = "Adaloss is better than the fixed sigma"
        return [compared(text, means[0] < means[1], ours, fixed, more, about), self.region_claim(ours)]

    def figures(self) -> dict[str, Figure]:
        found = {**self.region_figure(self.best()[0]), **super().figures()}
        if self.dlib is not None:
            lines = {self.label(name): timed(each[0]) for name, each in self.runs.items()}
            lines["dlib (test images)"] = ([self.dlib.minutes], [self.dlib.mre])
            found["time_to_accuracy"] = time_to_accuracy(lines, (f"dlib {self.dlib.mre:.2f} px", self.dlib.mre))
        return found


def _halved(widths: FloatArray) -> float:
    """First epoch whose width is at most half of the first one's; NaN = never."""
    below = np.flatnonzero(widths <= widths[0] / 2)
    return float(below[0]) if len(below) else float("nan")
