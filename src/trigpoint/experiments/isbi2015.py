"""The foveated pyramid on the ISBI 2015 cephalograms: its tables, and what is claimed of it, by rules stated here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError
from trigpoint.experiments.data_isbi import read_radiographs
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, judged, spread
from trigpoint.experiments.measures import Job, Measured, Outcome, difference, errors_mm, mean_and_sd, sdr_cells
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

Errors = Sequence[FloatArray]  # (N, K) in mm of each seed


class Isbi2015(Experiment):
    """Networks per landmark, shared ones and the cascade, on the official train and test1.

    ``doctors`` (N, K): distance of the two doctors in mm. ``clean``: positions of the images that are no copies, None =
    unknown. Errors are in mm, (N, K) of each seed, NaN = not annotated.
    """

    clean: Sequence[int] | None
    doctors: FloatArray | None

    def prepare(self) -> None:
        """Read and check the folder; raises ConfigError for a bad option."""
        pretrained, labels = self.options["pretrained"], self.options["labels"]
        self.learned_before = self.scale.recipe["method"]["pretrained"]  # on ImageNet
        self.pretrained = self.learned_before if pretrained is None else pretrained == "yes"
        if self.pretrained and not self.learned_before:
            scale = self.request.scale
            raise ConfigError(f"pretrained=yes: the trunk of --scale {scale} has no such weights; leave it out")
        self.folder, self.test, self.clean, self.doctors, self.warnings = read_radiographs(self.user_data(), labels)
        for name in self.values["three"]:
            self.test.landmarks.index(name)
        self.request.open_folder(labels=labels, pretrained=self.pretrained)

    def jobs(self) -> list[Job]:
        scratch, found = self.learned_before and not self.pretrained, []
        for job in [job for job in super().jobs() if job.name in self.options["runs"]]:
            key = "method.fine.pretrained" if "method" in job.overrides else "method.pretrained"
            found.append(replace(job, overrides={**job.overrides, key: False}) if scratch else job)
        return found

    def facts(self) -> dict[str, Any]:
        trunk = ", trunks pretrained on ImageNet" if self.pretrained else ", trunks from scratch (paper: pretrained)"
        return {**super().facts(), "training": len(self.training()), "trunk": trunk if self.learned_before else ""}

    @cached_property
    def errors(self) -> Mapping[str, Errors]:
        """Of what has all landmarks, by ``METHODS``."""
        test, found = self.test, dict[str, Errors]()
        for name in [name for name in self.runs if name in METHODS]:
            if self.runs[name][0].job.own(test).landmarks.names == test.landmarks.names:
                found[name] = [errors_mm(run.points, test) for run in self.runs[name]]
        if "cascade" in found:
            found["coarse"] = [errors_mm(predicted(_coarse(o.run), test), test) for o in self.runs["cascade"]]
        return found

    @cached_property
    def three(self) -> Mapping[str, Errors]:
        """Of the runs ``single`` and ``shared3`` on the landmarks of both."""
        found: dict[str, Errors] = {}
        for name in [name for name in self.runs if name in ("single", "shared3")]:
            own = self.runs[name][0].job.own(self.test)
            where = [own.landmarks.index(each) for each in self.values["three"]]
            found[name] = [errors_mm(outcome.points, own)[:, where] for outcome in self.runs[name]]
        return found

    @cached_property
    def sample(self) -> LandmarkDataset:
        """The test images that numbers of glimpse steps are compared on."""
        return self.test.subset(range(0, len(self.test), self.values["every"]))

    @cached_property
    def stepped(self) -> Outcome | None:
        """The run that numbers of glimpse steps are compared with: the first that has weights."""
        return next((runs[0] for runs in self.runs.values() if runs[0].run.weights.is_file()), None)

    @cached_property
    def steps(self) -> Mapping[int, FloatArray]:
        """By number of glimpse steps, of one run on some of the images."""
        if self.stepped is None:
            return {}
        own = self.stepped.job.own(self.sample)
        points = predicted(self.stepped.run, own, STEPS)
        return {count: errors_mm(at, own) for count, at in zip(STEPS, points, strict=True)}

    @cached_property
    def constants(self) -> tuple[float, float]:
        """Mean error of the mean training position, for all landmarks and for the three."""
        spacing, three = float(np.mean(self.test.spacings)), self.test.pick(self.values["three"])
        return spacing * self.constant(self.test), spacing * self.constant(three)

    @cached_property
    def subjects(self) -> Sequence[str]:
        """Subjects (N,) of the test images."""
        return self.test.groups

    @property
    def main(self) -> str | None:
        """The run nearest to the paper's: the first of ``METHODS`` that is there."""
        return next((name for name in METHODS if name in self.errors), None)

    def sets(self) -> dict[str, list[int]]:
        """Positions of all test images, and of those without copies where they are known."""
        every = {"all": list(range(len(self.subjects)))}
        return every if self.clean is None else {**every, "without copies": list(self.clean)}

    def over(self, errors: Errors, where: Sequence[int] | None = None) -> Measured:
        """Errors of all seeds on the images at ``where`` (None: all)."""
        rows = list(range(len(self.subjects)) if where is None else where)
        return Measured([seed[rows] for seed in errors], [self.subjects[i] for i in rows])

    def obstacle(self, found: float, three: bool = False, after: str = "") -> str:
        """That a mean error is no better than a constant answer, or an empty text."""
        constant = self.constants[three]
        return "" if found < constant else f"{found:.2f} mm{after}, the mean training position {constant:.2f} mm"

    def tables(self) -> list[Table]:
        return [self._overall(), *self._per_landmark(), *self._three(), *self._steps()]

    def _overall(self) -> Table:
        found = {self.labels[name]: self.errors[name] for name in METHODS if name in self.errors}
        minutes = {self.labels[name]: {"minutes": self._minutes(name)} for name in METHODS if name in self.errors}
        if self.doctors is not None:
            found |= {HALF: [0.5 * self.doctors], "distance of the two doctors": [self.doctors]}
        rows: list[Row] = [
            {
                "method": name,
                "images": f"{len(where)} ({about})",
                **self.over(errors, where).cells(),
                **minutes.get(name, {}),
            }
            for name, errors in found.items()
            for about, where in self.sets().items()
        ]
        for name, paper in self.values["test1"].items():
            rows.append({"method": name, "images": "150 (published, second-hand)", **_published(paper)})
        others = {"method": "official code, reproduced by others", "images": "400 (4 folds, junior)"}
        rows.append({**others, **_published(self.values["fourfold"])})
        return Table("Error on test1", rows, self.note("overall"))

    def _per_landmark(self) -> list[Table]:
        rows = list[Row]()
        main = self.main
        if main is None:
            return []
        for k, name in enumerate(self.test.landmarks.names):
            found = {run: self.over([seed[:, [k]] for seed in each]) for run, each in self.errors.items()}
            row: Row = {"landmark": name, **found[main].cells()}
            if main != "cascade" and "cascade" in found:
                row["cascade MRE mm"] = mean_and_sd(found["cascade"].mre)
            if self.doctors is not None:
                row["half doctors' distance mm"] = f"{np.nanmean(self.doctors[:, k]) / 2:.2f}"
            if name in self.values["per_landmark"]:
                *paper, between_doctors = self.values["per_landmark"][name]
                row |= {f"published {key}": cell for key, cell in _published(paper).items()}
                row["published half distance mm"] = f"{between_doctors:.2f}"
            rows.append(row)
        note = self.note("landmarks", main=self.labels[main].capitalize())
        return [Table("Error per landmark on test1", rows, note)]

    def _three(self) -> list[Table]:
        three, rows = self.values["three"], list[Row]()
        labels = {"single": "a network per landmark", "shared3": "one network for the three"}
        for name, errors in self.three.items():
            means = [mean_and_sd(self.over([seed[:, [k]] for seed in errors]).mre) for k in range(len(three))]
            each = {f"{landmark} MRE mm": mean for landmark, mean in zip(three, means, strict=True)}
            cells = self.over(errors).cells()
            rows.append({"network": labels[name], **cells, **each, "minutes": self._minutes(name)})
        note = "All of test1."
        if len(rows) == len(labels):
            gap, bounds = difference(self.three["shared3"], self.three["single"], self.subjects)
            note += f" Shared minus per landmark: {gap:+.2f} mm (95 % {bounds[0]:+.2f} to {bounds[1]:+.2f})."
        if "single" in self.errors:
            note += " The minutes of a network per landmark are those of all landmarks."
        return [Table(f"Shared against separate networks: {', '.join(three)}", rows, note)] if rows else []

    def _steps(self) -> list[Table]:
        if self.stepped is None:
            return []
        found = {count: Measured([errors], self.sample.groups) for count, errors in self.steps.items()}
        rows = [{"glimpse steps": count, **each.cells()} for count, each in found.items()]
        note = f"Run {self.stepped.job.folder} on {len(self.sample)} images of test1."
        return [Table(f"Glimpse steps in prediction ({', '.join(map(str, STEPS))})", rows, note)]

    def _minutes(self, name: str) -> str:
        if name != "coarse":
            return spread([outcome.minutes for outcome in self.runs[name]], 1)
        tables = [_coarse(outcome.run).history_table() for outcome in self.runs["cascade"]]
        return spread([float(table["minutes"].max()) for table in tables], 1)

    def figures(self) -> dict[str, Figure]:
        found = super().figures()
        if self.main is not None:
            errors = {self.labels[name]: np.concatenate(list(each)) for name, each in self.errors.items()}
            doctors = {} if self.doctors is None else {HALF: self.doctors / 2}
            found["ced"] = ced_plot({**errors, **doctors}, threshold=8.0, unit="mm")
            main = errors[self.labels[self.main]]
            bars = {name: main[:, k] for k, name in enumerate(self.test.landmarks.names)}
            found["landmarks"] = per_landmark_bars(bars, unit="mm")
        return found

    # -- claims -------------------------------------------------------------------------------------------------------

    def claims(self) -> list[Claim]:
        """Not testable: what a run that was not made would show, or one that is no better than a constant answer."""
        shared = "A shared network is as good as a network per landmark on three landmarks with the same training"
        cascade = "The cascade errs less than"
        return [
            *self._published_mre(),
            self._doctors(),
            self._few_steps(),
            self._compared(f"{shared} (at most {SAME_NETWORKS} mm worse)", "shared3", "single", SAME_NETWORKS),
            self._compared(f"{cascade} its own coarse stage", "cascade", "coarse"),
            self._compared(f"{cascade} the shared network that starts from the mean", "cascade", "shared"),
        ]

    def _published_mre(self) -> list[Claim]:
        paper, claims = self.values["test1"][PAPER][0], []
        text = f"MRE on test1 at most the paper's {paper} mm"
        for name in [name for name in METHODS[:3] if name in self.errors]:
            found = {about: self.over(self.errors[name], where) for about, where in self.sets().items()}
            numbers = "; ".join(f"{m.mre:.2f} mm, 95 % {between(m.interval)} ({about})" for about, m in found.items())
            obstacles, holds = [self.obstacle(found["all"].mre)], bool(found["all"].mre <= paper)
            claims.append(judged(f"{text}: {self.labels[name]}", holds, numbers, obstacles))
        return claims or [Claim(text, None, "no run with all landmarks was made")]

    def _doctors(self) -> Claim:
        text = f"MRE on test1 at most {HALF}"
        if self.doctors is None or self.main is None:
            missing = "the labels of both doctors" if self.doctors is None else "a run with all landmarks"
            return Claim(text, None, f"needs {missing}")
        ours, half = self.over(self.errors[self.main]), mean_error(self.doctors) / 2
        numbers = f"{self.labels[self.main]} {ours.mre:.2f} mm (95 % {between(ours.interval)})"
        obstacles = [self.obstacle(ours.mre)]
        return judged(text, bool(ours.mre <= half), f"{numbers}, half the distance {half:.2f} mm", obstacles)

    def _few_steps(self) -> Claim:
        text = f"3 glimpse steps in prediction are as good as 10 (MRE differs by less than {SAME_STEPS} mm)"
        if not {3, 10} <= set(self.steps):
            return Claim(text, None, "needs a run of the foveated pyramid")
        few, many = (mean_error(np.where(np.isinf(self.steps[n]), np.nan, self.steps[n])) for n in (3, 10))
        numbers, obstacles = f"{few:.3f} mm after 3, {many:.3f} mm after 10", [self.obstacle(many, after=" after 10")]
        return judged(text, bool(abs(few - many) < SAME_STEPS), numbers, obstacles)

    def _compared(self, text: str, ours: str, other: str, most: float | None = None) -> Claim:
        """Whether ours is better, or with ``most`` at most so many mm worse on the three landmarks."""
        errors = self.errors if most is None else self.three
        if not {ours, other} <= set(errors):
            return Claim(text, None, f"needs runs={','.join(sorted({ours, other} - {'coarse'}))}")
        gap, bounds = difference(errors[ours], errors[other], self.subjects)
        means = [self.over(errors[name]).mre for name in (ours, other)]
        numbers = f"{means[0]:.2f} against {means[1]:.2f} mm, difference {gap:+.2f} mm (95 % {between(bounds)})"
        obstacles = [self.obstacle(mean, three=most is not None) for mean in means]
        return judged(text, bool(gap < 0 if most is None else gap <= most), numbers, obstacles)


def _coarse(run: RunFolder) -> RunFolder:
    return RunFolder(run.folder / "coarse")


def _published(paper: Sequence[Any]) -> dict[str, str]:
    return {"MRE ± SD mm": mean_and_sd(paper[0], paper[1]), **sdr_cells(paper[2:])}
