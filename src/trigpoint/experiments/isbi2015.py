"""The foveated pyramid on the ISBI 2015 cephalograms: its tables, and what is claimed of it, by rules stated here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.errors import ConfigError
from trigpoint.experiments.data_isbi import TABLES, read_radiographs
from trigpoint.experiments.engine import Experiment, Runs
from trigpoint.experiments.findings import Claim, Table, between, judged, spread
from trigpoint.experiments.measures import Job, Measured, difference, errors_mm, mean_and_sd, measure, sdr_cells
from trigpoint.experiments.task import predicted
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error
from trigpoint.report.figures import ced_plot, per_landmark_bars
from trigpoint.runs import RunFolder

STEPS = (1, 2, 3, 5, 10)
"""Numbers of glimpse steps in prediction that are compared."""
SAME_STEPS = 0.02  # mm between 3 steps and 10
SAME_NETWORKS = 0.05  # mm; published results that differ by less differ by chance
METHODS = ("single", "shared", "cascade", "coarse")
"""What has all landmarks, the nearest to the paper's first; ``coarse`` is part of the run ``cascade``."""
HALF = "half the distance of the two doctors"
PAPER = "Gilmour & Ray 2020 (foveated pyramid)"


@dataclass(frozen=True)
class Evidence:
    """Errors in mm of each seed, (N, K), NaN = not annotated, on the same N test images.

    ``errors``: by ``METHODS``, all landmarks. ``three``: of the runs ``single`` and ``shared3``, the landmarks of
    both. ``steps``: by number of glimpse steps, of one run on some of the images. ``doctors`` (N, K): distance of the
    two doctors. ``clean``: positions of the images that are no copies, None = unknown. ``constants``: mean error of the
    mean training position, for all landmarks and for the three.
    """

    subjects: Sequence[str]
    labels: Mapping[str, str]
    paper: float
    errors: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict)
    three: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict)
    steps: Mapping[int, FloatArray] = field(default_factory=dict)
    doctors: FloatArray | None = None
    clean: Sequence[int] | None = None
    constants: tuple[float, float] = (float("inf"), float("inf"))

    @property
    def main(self) -> str | None:
        """The run nearest to the paper's: the first of ``METHODS`` that is there."""
        return next((name for name in METHODS if name in self.errors), None)

    def sets(self) -> dict[str, list[int]]:
        """Positions of all test images, and of those without copies where they are known."""
        every = {"all": list(range(len(self.subjects)))}
        return every if self.clean is None else {**every, "without copies": list(self.clean)}

    def measured(self, errors: Sequence[FloatArray], where: Sequence[int] | None = None) -> Measured:
        """Errors of all seeds on the images at ``where`` (None: all)."""
        rows = list(range(len(self.subjects))) if where is None else list(where)
        return measure([seed[rows] for seed in errors], [self.subjects[i] for i in rows])

    def obstacle(self, errors: Sequence[FloatArray], constant: float) -> str:
        """That errors are no better than a constant answer, or an empty text."""
        found = self.measured(errors).mre
        return "" if found < constant else f"{found:.2f} mm, the mean training position {constant:.2f} mm"


class Isbi2015(Experiment):
    """Networks per landmark, shared ones and the cascade, on the official train and test1."""

    def prepare(self) -> None:
        """Read and check the folder; raises ConfigError for a bad option."""
        pretrained, labels = self.options["pretrained"], self.options["labels"]
        self.learned_before = self.scale.recipe["method"]["pretrained"]  # on ImageNet
        self.pretrained = self.learned_before if pretrained is None else pretrained == "yes"
        if self.pretrained and not self.learned_before:
            scale = self.request.scale
            raise ConfigError(f"pretrained=yes: the trunk of --scale {scale} has no such weights; leave it out")
        if self.request.data is None:
            raise ConfigError(
                f"{self.study.name}: expected the cephalograms, got none; give --data FOLDER with {TABLES[labels]}"
            )
        self.data = read_radiographs(self.request.data, labels)
        self.folder, self.test, self.warnings = self.data.table, self.data.test, list(self.data.warnings)
        for name in self.values["three"]:
            self.test.landmarks.index(name)
        self.request.open_folder(labels=labels, pretrained=self.pretrained)

    def jobs(self) -> list[Job]:
        found = []
        for job in super().jobs():
            overrides = dict(job.overrides)
            if self.learned_before and not self.pretrained:
                cascade = "method" in overrides
                plain = {"method.fine.pretrained": False} if cascade else {"method.pretrained": False}
                overrides |= plain
            if job.name in self.options["runs"]:
                found.append(Job(job.name, job.recipe, overrides, job.seed))
        return found

    def facts(self, runs: Runs) -> dict[str, Any]:
        trunk = ", trunks pretrained on ImageNet" if self.pretrained else ", trunks from scratch (paper: pretrained)"
        more = {"training": self.data.training, "trunk": trunk if self.learned_before else ""}
        return {**super().facts(runs), **more}

    def gather(self, runs: Runs) -> Evidence:
        """Errors of everything that was trained; steps are counted with the first run that has weights."""
        test, names, three = self.test, self.test.landmarks.names, self.values["three"]
        errors: dict[str, list[FloatArray]] = {}
        small: dict[str, list[FloatArray]] = {}
        for name, outcomes in runs.items():
            own = outcomes[0].job.own(test)
            found = [errors_mm(outcome.points, own) for outcome in outcomes]
            if name in METHODS and own.landmarks.names == names:
                errors[name] = found
            if name in ("single", "shared3"):
                where = [own.landmarks.index(each) for each in three]
                small[name] = [values[:, where] for values in found]
        if "cascade" in runs:
            errors["coarse"] = [errors_mm(predicted(_coarse(o.run), test), test) for o in runs["cascade"]]
        self.sample = test.subset(range(0, len(test), self.values["every"]))
        self.stepped = next((each[0] for each in runs.values() if each[0].run.weights.is_file()), None)
        steps: dict[int, FloatArray] = {}
        if self.stepped is not None:
            own = self.stepped.job.own(self.sample)
            points = predicted(self.stepped.run, own, STEPS)
            steps = {count: errors_mm(at, own) for count, at in zip(STEPS, points, strict=True)}
        spacing = float(np.mean(test.spacings))
        constants = (spacing * self.constant(test), spacing * self.constant(test.pick(three)))
        paper, doctors, clean = self.values["test1"][PAPER][0], self.data.doctors, self.data.clean
        return Evidence(test.groups, self.labels, paper, errors, small, steps, doctors, clean, constants)

    def tables(self, runs: Runs) -> list[Table]:
        self.evidence = self.gather(runs)
        return [*self._overall(runs), *self._per_landmark(), *self._three(runs), *self._steps()]

    def claims(self, runs: Runs) -> list[Claim]:
        return isbi_claims(self.evidence)

    def _overall(self, runs: Runs) -> list[Table]:
        evidence, rows = self.evidence, list[dict[str, Any]]()
        sets = evidence.sets().items()
        for name in [name for name in METHODS if name in evidence.errors]:
            for about, where in sets:
                cells = evidence.measured(evidence.errors[name], where).cells()
                row = {"method": self.labels[name], "images": f"{len(where)} ({about})", **cells}
                rows.append({**row, "minutes": _minutes(name, runs)})
        doctors = [] if evidence.doctors is None else [(HALF, 0.5), ("distance of the two doctors", 1.0)]
        for label, share in doctors:
            for about, where in sets:
                cells = evidence.measured([share * np.asarray(evidence.doctors)], where).cells()
                rows.append({"method": label, "images": f"{len(where)} ({about})", **cells})
        for name, paper in self.values["test1"].items():
            rows.append({"method": name, "images": "150 (published, second-hand)", **_published(paper)})
        others = {"method": "official code, reproduced by others", "images": "400 (4 folds, junior)"}
        rows.append({**others, **_published(self.values["fourfold"])})
        return [Table("Error on test1", rows, self.note("overall"))]

    def _per_landmark(self) -> list[Table]:
        evidence = self.evidence
        main = evidence.main
        if main is None:
            return []
        rows: list[dict[str, Any]] = []
        for k, name in enumerate(self.test.landmarks.names):
            found = {run: evidence.measured([seed[:, [k]] for seed in each]) for run, each in evidence.errors.items()}
            row: dict[str, Any] = {"landmark": name, **found[main].cells()}
            if main != "cascade" and "cascade" in found:
                row["cascade MRE mm"] = mean_and_sd(found["cascade"].mre, None)
            if evidence.doctors is not None:
                row["half doctors' distance mm"] = f"{np.nanmean(evidence.doctors[:, k]) / 2:.2f}"
            if name in self.values["per_landmark"]:
                *paper, between_doctors = self.values["per_landmark"][name]
                row |= {f"published {key}": cell for key, cell in _published(paper).items()}
                row["published half distance mm"] = f"{between_doctors:.2f}"
            rows.append(row)
        note = self.note("landmarks", main=self.labels[main].capitalize())
        return [Table("Error per landmark on test1", rows, note)]

    def _three(self, runs: Runs) -> list[Table]:
        evidence, three = self.evidence, self.values["three"]
        labels = {"single": "a network per landmark", "shared3": "one network for the three"}
        rows: list[dict[str, Any]] = []
        for name, errors in evidence.three.items():
            each = {
                f"{landmark} MRE mm": mean_and_sd(evidence.measured([seed[:, [k]] for seed in errors]).mre, None)
                for k, landmark in enumerate(three)
            }
            cells = evidence.measured(errors).cells()
            rows.append({"network": labels[name], **cells, **each, "minutes": _minutes(name, runs)})
        note = "All of test1."
        if len(rows) == len(labels):
            gap, bounds = difference(evidence.three["shared3"], evidence.three["single"], evidence.subjects)
            note += f" Shared minus per landmark: {gap:+.2f} mm (95 % {bounds[0]:+.2f} to {bounds[1]:+.2f})."
        if "single" in evidence.errors:
            note += " The minutes of a network per landmark are those of all landmarks."
        return [Table(f"Shared against separate networks: {', '.join(three)}", rows, note)] if rows else []

    def _steps(self) -> list[Table]:
        if self.stepped is None:
            return []
        found = {count: measure([errors], self.sample.groups) for count, errors in self.evidence.steps.items()}
        note = f"Run {self.stepped.job.folder} on {len(self.sample)} images of test1."
        rows = [{"glimpse steps": count, **each.cells()} for count, each in found.items()]
        return [Table(f"Glimpse steps in prediction ({', '.join(map(str, STEPS))})", rows, note)]

    def figures(self, runs: Runs) -> dict[str, Figure]:
        figures, evidence = super().figures(runs), self.evidence
        if evidence.main is not None:
            errors = {self.labels[name]: np.concatenate(list(each)) for name, each in evidence.errors.items()}
            doctors = {} if evidence.doctors is None else {HALF: evidence.doctors / 2}
            figures["ced"] = ced_plot({**errors, **doctors}, threshold=8.0, unit="mm")
            main = errors[self.labels[evidence.main]]
            bars = {name: main[:, k] for k, name in enumerate(self.test.landmarks.names)}
            figures["landmarks"] = per_landmark_bars(bars, unit="mm")
        return figures


def _coarse(run: RunFolder) -> RunFolder:
    return RunFolder(run.folder / "coarse")


def _published(paper: Sequence[Any]) -> dict[str, str]:
    return {"MRE ± SD mm": mean_and_sd(paper[0], paper[1]), **sdr_cells(paper[2:])}


def _minutes(name: str, runs: Runs) -> str:
    if name != "coarse":
        return spread([outcome.minutes for outcome in runs[name]], 1)
    tables = [_coarse(outcome.run).history_table() for outcome in runs["cascade"]]
    return spread([float(table["minutes"].max()) for table in tables], 1)


# -- claims -----------------------------------------------------------------------------------------------------------


def isbi_claims(evidence: Evidence) -> list[Claim]:
    """Not testable: what a run that was not made would show, or one that is no better than a constant answer."""
    return [
        *_published_mre(evidence),
        _doctors(evidence),
        _few_steps(evidence),
        _shared(evidence),
        _cascade(evidence, "coarse", "The cascade errs less than its own coarse stage"),
        _cascade(evidence, "shared", "The cascade errs less than the shared network that starts from the mean"),
    ]


def _published_mre(evidence: Evidence) -> list[Claim]:
    text = f"MRE on test1 at most the paper's {evidence.paper} mm"
    claims = []
    for name in [name for name in METHODS if name in evidence.errors and name != "coarse"]:
        errors = evidence.errors[name]
        found = {about: evidence.measured(errors, where) for about, where in evidence.sets().items()}
        numbers = "; ".join(f"{m.mre:.2f} mm, 95 % {between(m.interval)} ({about})" for about, m in found.items())
        holds, obstacle = bool(found["all"].mre <= evidence.paper), evidence.obstacle(errors, evidence.constants[0])
        claims.append(judged(f"{text}: {evidence.labels[name]}", holds, numbers, [obstacle]))
    return claims or [Claim(text, None, "no run with all landmarks was made")]


def _doctors(evidence: Evidence) -> Claim:
    text = f"MRE on test1 at most {HALF}"
    if evidence.doctors is None or evidence.main is None:
        missing = "the labels of both doctors" if evidence.doctors is None else "a run with all landmarks"
        return Claim(text, None, f"needs {missing}")
    errors = evidence.errors[evidence.main]
    ours, half = evidence.measured(errors), mean_error(evidence.doctors) / 2
    numbers = f"{evidence.labels[evidence.main]} {ours.mre:.2f} mm (95 % {between(ours.interval)}), half the distance "
    obstacle = evidence.obstacle(errors, evidence.constants[0])
    return judged(text, bool(ours.mre <= half), f"{numbers}{half:.2f} mm", [obstacle])


def _few_steps(evidence: Evidence) -> Claim:
    text = f"3 glimpse steps in prediction are as good as 10 (MRE differs by less than {SAME_STEPS} mm)"
    if not {3, 10} <= set(evidence.steps):
        return Claim(text, None, "needs a run of the foveated pyramid")
    few, many = (mean_error(np.where(np.isinf(evidence.steps[n]), np.nan, evidence.steps[n])) for n in (3, 10))
    constant = evidence.constants[0]
    obstacle = "" if many < constant else f"{many:.2f} mm after 10, the mean training position {constant:.2f} mm"
    return judged(text, bool(abs(few - many) < SAME_STEPS), f"{few:.3f} mm after 3, {many:.3f} mm after 10", [obstacle])


def _shared(evidence: Evidence) -> Claim:
    text = (
        "A shared network is as good as a network per landmark on three landmarks with the same training "
        f"(at most {SAME_NETWORKS} mm worse)"
    )
    if not {"single", "shared3"} <= set(evidence.three):
        return Claim(text, None, "needs runs=single,shared3")
    return _compared(evidence, text, evidence.three["shared3"], evidence.three["single"], SAME_NETWORKS, 1)


def _cascade(evidence: Evidence, other: str, text: str) -> Claim:
    needed = {"cascade", "shared"} if other == "shared" else {"cascade"}
    if not needed <= set(evidence.errors) or other not in evidence.errors:
        return Claim(text, None, f"needs runs={','.join(sorted(needed))}")
    return _compared(evidence, text, evidence.errors["cascade"], evidence.errors[other], None, 0)


def _compared(
    evidence: Evidence,
    text: str,
    ours: Sequence[FloatArray],
    others: Sequence[FloatArray],
    most: float | None,
    constant: int,
) -> Claim:
    """Whether ours is better, or with ``most`` at most so many mm worse."""
    gap, bounds = difference(ours, others, evidence.subjects)
    pair = " against ".join(f"{evidence.measured(errors).mre:.2f}" for errors in (ours, others))
    numbers = f"{pair} mm, difference {gap:+.2f} mm (95 % {between(bounds)})"
    obstacles = [evidence.obstacle(errors, evidence.constants[constant]) for errors in (ours, others)]
    return judged(text, bool(gap < 0 if most is None else gap <= most), numbers, obstacles)
