"""The foveated pyramid on the ISBI 2015 cephalograms: the folder of the data, the tables, and what is claimed of it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import read_text
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, judged, spread
from trigpoint.experiments.measures import Errors, Job, Measured, Outcome, errors_mm, mean_and_sd, sdr_cells
from trigpoint.experiments.task import predicted
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error
from trigpoint.metrics.paired import difference
from trigpoint.metrics.units import spacing_sides
from trigpoint.report.figures import ced_plot, per_landmark_bars
from trigpoint.report.tables import number
from trigpoint.runs import RunFolder

TEST = "test1"
COPIES = "duplicates.csv"
STEPS = (1, 2, 3, 5, 10)
"""Numbers of glimpse steps in prediction that are compared."""
METHODS = ("single", "shared", "cascade", "coarse")
"""What has all landmarks, the nearest to the paper's first; ``coarse`` is part of the run ``cascade``."""
THREE = ("single3", "shared3")
"""A network per landmark and a shared one, on the landmarks of both."""
HALF = "half the distance of the two doctors"
PAPER = "Gilmour & Ray 2020 (foveated pyramid)"


class Isbi2015(Experiment):
    """Networks per landmark, shared ones and the cascade, on the official train and test1.

    ``doctors`` (N, K): distance of the two doctors on the test images in mm, None without the tables of both.
    ``clean``: positions of the test images that are no copy of another one, None = unknown. Errors are in mm, NaN = not
    annotated.
    """

    unit = "mm"
    clean: Sequence[int] | None = None
    doctors: FloatArray | None = None

    def prepare(self) -> None:
        """Read and check the folder; raises ConfigError for a bad option, DataError for what cannot be done without."""
        pretrained, labels = self.options["pretrained"], self.options["labels"]
        self.learned_before = self.scale.recipe["method"]["pretrained"]  # on ImageNet
        self.pretrained = self.learned_before if pretrained is None else pretrained == "yes"
        if self.pretrained and not self.learned_before:
            fix = "has no such weights; leave it out"
            raise ConfigError(f"pretrained=yes: the trunk of --scale {self.request.scale} {fix}")
        folder = self.user_data()
        self.folder, self.test = self._labelled(folder, labels)
        self.clean, self.doctors = self._clean(folder / COPIES), self._doctors(folder)
        for name in self.values["three"]:
            self.test.landmarks.index(name)
        self.request.open_folder(labels=labels, pretrained=self.pretrained)

    def _labelled(self, folder: Path, labels: str) -> tuple[Path, LandmarkDataset]:
        """The table of these labels, and its test images."""
        tables: Mapping[str, str] = self.values["tables"]
        table = folder / tables[labels]
        if not table.is_file():
            there = [name for name, file in tables.items() if (folder / file).is_file()]
            found = (
                f"labels that are there: {', '.join(there)}" if there else f"none of {', '.join(tables.values())} is"
            )
            raise DataError(f"{table}: expected the table of labels={labels}, got no such file; {found}")
        test = LandmarkDataset.load(table, split=TEST)
        if unknown := [
            name for name, mm in zip(_images(test), test.spacings, strict=True) if not np.isfinite(mm).all()
        ]:
            fix = "add spacing_mm to dataset.yaml"
            raise DataError(f"{folder}: expected millimetres per pixel, got none for {unknown[0]}; {fix}")
        return table, test

    def _clean(self, file: Path) -> Sequence[int] | None:
        if not file.is_file():
            self.warnings.append(
                f"{file.name} is not there, so it is unknown which test images were trained on as copies"
            )
            return None
        rows, columns = list(csv.DictReader(read_text(file).splitlines())), ("image", "same_radiograph_as")
        if missing := [column for column in columns if not rows or rows[0].get(column) is None]:
            raise DataError(f"{file}: expected rows with the columns {', '.join(columns)}, got no {missing[0]}")
        names = _images(self.test)
        copies = {next((row[column] for column in columns if row[column] in names), "") for row in rows}
        clean = tuple(i for i, name in enumerate(names) if name not in copies)
        if not clean:
            raise DataError(f"{file}: expected a part of the test images, got all {len(names)} of them")
        if len(clean) == len(names):
            self.warnings.append(f"{file.name} names no image of {TEST}, so there is one line for all of them")
            return None
        return clean

    def _doctors(self, folder: Path) -> FloatArray | None:
        files, test = [folder / self.values["tables"][name] for name in ("junior", "senior")], self.test
        if missing := [file.name for file in files if not file.is_file()]:
            self.warnings.append(f"{' and '.join(missing)} not there, so the distance of the doctors is unknown")
            return None
        points = []
        for file in files:
            data = LandmarkDataset.load(file, names=test.landmarks.names, check_images=False)
            rows = {name: i for i, name in enumerate(_images(data))}
            if lost := [name for name in _images(test) if name not in rows]:
                raise DataError(f"{file}: expected a row for each test image, got none for {lost[0]}; add it")
            points.append(data.points[[rows[name] for name in _images(test)]])
        gaps = points[0] - points[1]  # NaN: one of them left the point out
        sides = spacing_sides(test.spacings, len(test))
        if (sides[:, 0] == sides[:, 1]).all():
            return np.asarray(np.linalg.norm(gaps, axis=-1) * sides[:, :1])
        return np.asarray(np.linalg.norm(gaps * sides[:, None, :], axis=-1))

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
        """Of what has all landmarks, by ``METHODS``; of ``THREE`` on three landmarks; by glimpse steps: ``3 steps``."""
        test, found = self.test, dict[str, Errors]()
        for name, runs in self.runs.items():
            own = runs[0].job.own(test)
            seeds = [errors_mm(run.points, own) for run in runs]
            if own.landmarks.names == test.landmarks.names:
                found[name] = seeds
            if name in ("single", "shared3"):
                where = [own.landmarks.index(each) for each in self.values["three"]]
                found[f"{name.removesuffix('3')}3"] = [seed[:, where] for seed in seeds]
        if "cascade" in found:
            coarse = [RunFolder(outcome.run.folder / "coarse") for outcome in self.runs["cascade"]]
            found["coarse"] = [errors_mm(predicted(run, test), test) for run in coarse]
        for count, errors in self.steps.items():  # NaN: images that are not in the sample
            rows = np.full((len(test), errors.shape[1]), np.nan)
            rows[:: self.values["every"]] = errors
            found[f"{count} steps"] = [rows]
        return found

    @cached_property
    def constants(self) -> tuple[float, float]:
        """Mean error of the mean training position, for all landmarks and for the three."""
        spacings, three = self.test.spacings, self.test.pick(self.values["three"])
        if (spacings[:, 0] == spacings[:, 1]).all():
            spacing = float(np.mean(spacings[:, 0]))
            return spacing * self.constant(self.test), spacing * self.constant(three)
        all_, few = (
            mean_error(errors_mm(np.broadcast_to(self.mean_position(t.landmarks.names), t.points.shape), t))
            for t in (self.test, three)
        )
        return all_, few

    def constant_of(self, setting: str) -> float:
        return self.constants[setting in THREE]

    @cached_property
    def sample(self) -> LandmarkDataset:
        """The test images that numbers of glimpse steps are compared on."""
        return self.test.subset(range(0, len(self.test), self.values["every"]))

    @cached_property
    def stepped(self) -> Outcome | None:
        """The run that they are compared with: the first that has weights."""
        return next((runs[0] for runs in self.runs.values() if runs[0].run.weights.is_file()), None)

    @cached_property
    def steps(self) -> Mapping[int, FloatArray]:
        """Errors (N, K) of this run on these images by number of glimpse steps."""
        if self.stepped is None:
            return {}
        own = self.stepped.job.own(self.sample)
        points = predicted(self.stepped.run, own, STEPS)
        return {count: errors_mm(at, own) for count, at in zip(STEPS, points, strict=True)}

    @property
    def methods(self) -> list[str]:
        """Those of ``METHODS`` that are there."""
        return [name for name in METHODS if name in self.errors]

    def sets(self) -> dict[str, Sequence[int]]:
        """Positions of all test images, and of those without copies where they are known."""
        every: dict[str, Sequence[int]] = {"all": range(len(self.subjects))}
        return every if self.clean is None else {**every, "without copies": self.clean}

    def over(self, errors: Errors, where: Sequence[int] | None = None) -> Measured:
        """Errors of all seeds on the images at ``where`` (None: all)."""
        rows = list(range(len(self.subjects)) if where is None else where)
        return Measured([seed[rows] for seed in errors], [self.subjects[i] for i in rows])

    # -- tables -------------------------------------------------------------------------------------------------------

    def tables(self) -> list[Table]:
        return [self._overall(), *self._per_landmark(), *self._three(), *self._steps()]

    def _overall(self) -> Table:
        found = {self.labels[name]: (self.errors[name], {"minutes": self._minutes(name)}) for name in self.methods}
        if self.doctors is not None:
            found |= {HALF: ([0.5 * self.doctors], {}), "distance of the two doctors": ([self.doctors], {})}
        rows: list[Row] = [
            {"method": name, "images": f"{len(where)} ({about})", **self.over(errors, where).cells(), **minutes}
            for name, (errors, minutes) in found.items()
            for about, where in self.sets().items()
        ]
        for name, paper in self.values["test1"].items():
            rows.append({"method": name, "images": "150 (published, second-hand)", **_published(paper)})
        others = {"method": "official code, reproduced by others", "images": "400 (4 folds, junior)"}
        rows.append({**others, **_published(self.values["fourfold"])})
        return Table("Error on test1", rows, self.note("overall"))

    def _per_landmark(self) -> list[Table]:
        if not self.methods:
            return []
        rows, main = list[Row](), self.methods[0]
        for k, name in enumerate(self.test.landmarks.names):
            found = {run: self.over([seed[:, [k]] for seed in self.errors[run]]) for run in self.methods}
            row: Row = {"landmark": name, **found[main].cells()}
            if main != "cascade" and "cascade" in found:
                row["cascade MRE mm"] = number(found["cascade"].mre)
            if self.doctors is not None:
                row["half doctors' distance mm"] = f"{np.nanmean(self.doctors[:, k]) / 2:.2f}"
            if name in self.values["per_landmark"]:
                *paper, between_doctors = self.values["per_landmark"][name]
                row |= {f"published {key}": cell for key, cell in _published(paper).items()}
                row["published half distance mm"] = f"{between_doctors:.2f}"
            rows.append(row)
        return [Table("Error per landmark on test1", rows, self.note("landmarks", main=self.labels[main].capitalize()))]

    def _three(self) -> list[Table]:
        three, rows = self.values["three"], list[Row]()
        there = [name for name in THREE if name in self.errors]
        for name in there:
            errors, minutes = self.errors[name], self._minutes(name)
            each = [self.over([seed[:, [k]] for seed in errors]).mre for k in range(len(three))]
            cells = {f"{landmark} MRE mm": number(mean) for landmark, mean in zip(three, each, strict=True)}
            rows.append({"network": self.labels[name], **self.over(errors).cells(), **cells, "minutes": minutes})
        note = "All of test1."
        if len(there) == 2:
            gap, bounds = difference(self.errors["shared3"], self.errors["single3"], self.subjects)
            note += f" Shared minus per landmark: {gap:+.2f} mm (95 % {bounds[0]:+.2f} to {bounds[1]:+.2f})."
        if "single" in self.errors:
            note += " The minutes of a network per landmark are those of all landmarks."
        return [Table(f"Shared against separate networks: {', '.join(three)}", rows, note)] if rows else []

    def _steps(self) -> list[Table]:
        if self.stepped is None:
            return []
        rows = [{"glimpse steps": n, **Measured([each], self.sample.groups).cells()} for n, each in self.steps.items()]
        note = f"Run {self.stepped.job.folder} on {len(self.sample)} images of test1."
        return [Table(f"Glimpse steps in prediction ({', '.join(map(str, STEPS))})", rows, note)]

    def _minutes(self, name: str) -> str:
        runs = self.runs["cascade" if name == "coarse" else name.replace("single3", "single")]
        folders = [run.run.folder / "coarse" if name == "coarse" else run.run.folder for run in runs]
        return spread([float(RunFolder(folder).history_table()["minutes"].max()) for folder in folders], 1)

    def figures(self) -> dict[str, Figure]:
        found = super().figures()
        if self.methods:
            errors = {self.labels[name]: np.concatenate(list(self.errors[name])) for name in self.methods}
            doctors = {} if self.doctors is None else {HALF: self.doctors / 2}
            found["ced"] = ced_plot({**errors, **doctors}, threshold=8.0, unit="mm")
            main = errors[self.labels[self.methods[0]]]
            bars = {name: main[:, k] for k, name in enumerate(self.test.landmarks.names)}
            found["landmarks"] = per_landmark_bars(bars, unit="mm")
        return found

    # -- claims -------------------------------------------------------------------------------------------------------

    def claims(self) -> list[Claim]:
        return [*self._published_mre(), self._half(), *super().claims()]

    def _published_mre(self) -> list[Claim]:
        paper, claims = self.values["test1"][PAPER][0], []
        text = f"MRE on test1 at most the paper's {paper} mm"
        for name in [name for name in self.methods if name != "coarse"]:
            found = {about: self.over(self.errors[name], where) for about, where in self.sets().items()}
            numbers = "; ".join(f"{m.mre:.2f} mm, 95 % {between(m.interval)} ({about})" for about, m in found.items())
            holds = bool(found["all"].mre <= paper)
            claims.append(judged(f"{text}: {self.labels[name]}", holds, numbers, self.obstacles(name)))
        return claims or [Claim(text, None, "no run with all landmarks was made")]

    def _half(self) -> Claim:
        text = f"MRE on test1 at most {HALF}"
        if self.doctors is None or not self.methods:
            return Claim(text, None, "needs the labels of both doctors and a run with all landmarks")
        name, half = self.methods[0], mean_error(self.doctors) / 2
        ours = self.over(self.errors[name])
        numbers = f"{self.labels[name]} {ours.mre:.2f} mm (95 % {between(ours.interval)}), {HALF} {half:.2f} mm"
        return judged(text, bool(ours.mre <= half), numbers, self.obstacles(name))


def _images(data: LandmarkDataset) -> list[str]:
    return [data.image_name(sample) for sample in data.samples]


def _published(paper: Sequence[Any]) -> dict[str, str]:
    return {"MRE ± SD mm": mean_and_sd(paper[0], paper[1]), **sdr_cells(paper[2:])}
