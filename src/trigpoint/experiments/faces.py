"""Faces, section 4.3 of the Adaloss paper: Table 3 on 300-W, and sigma per region of the face (Fig. 7), or on MUCT."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_bytes, write_text
from trigpoint.data.formats.pts import Pts
from trigpoint.data.input.augment import as_tensor
from trigpoint.data.pixels.images import is_image, read_image
from trigpoint.data.table import write_table
from trigpoint.errors import DataError
from trigpoint.experiments.baseline import WITHOUT, baseline, wanted
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, judged, spread
from trigpoint.experiments.measures import Job, Outcome, clamped, timed
from trigpoint.geometry import Affine, center, warp
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample
from trigpoint.metrics import bootstrap_interval, mean_error
from trigpoint.report.figures import ced_plot, sigma_curves, time_to_accuracy

REGIONS = ("jaw", "brows", "mouth", "eyes", "nose")  # Fig. 7, the widest first
RULES = ("paced", "adaloss")  # settings whose widths move, the first of those there are is shown
SETS = ("common", "challenging", "full")
CLOSE = 1.05  # times the paper's number counts as reached
SIDE = 256  # of the crops of 300-W
MARGIN = 0.15  # of the landmark box's larger side, on every side
DONE = "prepared.yaml"

Parts = Mapping[str, Sequence[Sample]]  # samples of each folder of 300-W


class Faces(Experiment):
    """Adaloss on faces with regions; ``dlib``: the baseline by its name, where it is wanted."""

    dlib: Mapping[str, list[Outcome]] = {}

    def check(self) -> None:
        """Say that the baseline is missing; a wish that cannot be met is told before hours of training."""
        if not wanted(self.options["dlib"]) and self.options["dlib"] == "auto":
            self.warnings.append(WITHOUT)

    def measured(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes = super().measured(jobs)
        if wanted(self.options["dlib"]):
            found = baseline(self.request, self.folder, self.test)
            self.dlib = {found.job.name: [found]}
        return outcomes

    @property
    def moving(self) -> str:
        """The setting whose widths are shown."""
        return next(rule for rule in RULES if rule in self.runs)

    def widths(self, outcome: Outcome) -> dict[str, FloatArray]:
        """Mean sigma (E,) of each region's landmarks over the epochs, heatmap px."""
        return {group: outcome.sigma(names).mean(axis=1) for group, names in self.test.landmarks.groups.items()}

    def figures(self) -> dict[str, Figure]:
        """Fig. 7: mean sigma of each region against the epoch, and those that the study states."""
        first = self.runs[self.moving][0]
        lines = {group: values.tolist() for group, values in self.widths(first).items()}
        return {"fig7_sigma": sigma_curves(first.epochs, lines), **super().figures()}

    def tables(self) -> list[Table]:
        stated = [self.table(spec, {**self.runs, **self.dlib}) for spec in self.study.tables]
        return [*stated, self._region_table()]

    def ends(self, group: str) -> tuple[list[float], tuple[float, float]]:
        """Mean last width of a region, heatmap px: of each seed, and its 95 % interval over the landmarks."""
        names = self.test.landmarks.groups[group]
        last = np.stack([outcome.sigma(names)[-1] for outcome in self.runs[self.moving]])
        return last.mean(axis=1).tolist(), bootstrap_interval(last.mean(axis=0)[:, None], names)

    def _region_table(self) -> Table:
        """Last sigma, speed and error of each region, mean ± sd over seeds."""
        rows, marks, outcomes = list[Row](), self.test.landmarks, self.runs[self.moving]
        for group, names in marks.groups.items():
            where = [marks.index(name) for name in names]
            each, bounds = self.ends(group)
            halved = [_halved(self.widths(outcome)[group]) for outcome in outcomes]
            row: Row = {"region": group, "landmarks": len(names), "last sigma": spread(each), "95 %": between(bounds)}
            row |= {"epochs to half of sigma0": spread(halved, 0)}
            rows.append({**row, "MRE px": spread([mean_error(outcome.errors[:, where]) for outcome in outcomes])})
        return Table(f"Sigma per region (Fig. 7): {self.label(self.moving)}", rows, self.note("regions"))

    def claims(self) -> list[Claim]:
        return [*super().claims(), self._region_claim()]

    def _region_claim(self) -> Claim:
        """The order of the regions in Fig. 7; not testable with other groups, or where all widths stand at a bound."""
        text = "Eyes and nose end with the sharpest targets, then the mouth; jaw and brows stay widest (Fig. 7)"
        groups, outcomes, bounds = self.test.landmarks.groups, self.runs[self.moving], []
        if not set(REGIONS) <= set(groups):
            return Claim(text, None, f"needs the groups {', '.join(REGIONS)}, got {', '.join(groups) or 'none'}")
        ends = {group: self.ends(group) for group in REGIONS}
        last = {group: float(np.mean(each)) for group, (each, _) in ends.items()}
        sharp, wide = max(last["eyes"], last["nose"]), min(last["jaw"], last["brows"])
        for run in outcomes:
            least = float(read_yaml(run.run.config)["method"]["schedule"]["sigma_min"])
            bounds.append(clamped(run.sigma(), least, float(run.sigma()[0].max())))
        order = sorted(last, key=lambda group: last[group])
        numbers = ", ".join(f"{group} {last[group]:.2f} ({between(ends[group][1])})" for group in order)
        holds = sharp <= last["mouth"] <= wide and sharp < wide
        return judged(
            text, holds, f"last sigma, 95 % over landmarks: {numbers}", [*bounds, *self.obstacles(self.moving)]
        )


class Faces300W(Faces):
    """300-W: check and prepare the user's copy, train, and write Table 3 with our row."""

    def prepare(self) -> None:
        """Crops of all faces; ``test`` are the common and then the challenging ones.

        Numbers of images that differ from 300-W's are warnings: copies differ by a few.
        """
        counts: Mapping[str, int] = self.values["counts"]
        marks = LandmarkSet.from_dict(self.values["landmarks"])
        parts = read_parts(self.user_data(), marks.names, counts)
        found = ((folder, count, len(parts[folder])) for folder, count in counts.items())
        self.warnings = [f"{folder}: expected {n} images, got {got}" for folder, n, got in found if n != got]
        for difference in self.warnings:
            self.request.say(f"warning: {difference}")
        self.check()
        self.request.open_folder()
        self.folder = self.request.out / "data"
        facts = {"side": SIDE, "margin": MARGIN, **{folder: len(members) for folder, members in parts.items()}}
        done = self.folder / DONE
        if not done.is_file() or read_yaml(done) != facts:
            self.request.say(f"cropping {sum(map(len, parts.values()))} faces to {SIDE} x {SIDE} pixels")
            write_crops(parts, self.values["splits"], marks, self.folder)
            write_text(done, to_yaml(facts), overwrite=True)  # last: an interrupted folder is made anew
        common, challenging = (LandmarkDataset.load(self.folder, split=name) for name in SETS[:2])
        self.common, self.test = len(common), common.followed_by(challenging)

    def facts(self) -> dict[str, Any]:
        numbers = {"common": self.common, "challenging": len(self.test) - self.common}
        return {**super().facts(), "training": len(self.training()), **numbers}

    def nme(self, outcome: Outcome) -> dict[str, FloatArray]:
        """NME of each image of the three sets."""
        return dict(zip(SETS, (outcome.nme[: self.common], outcome.nme[self.common :], outcome.nme), strict=True))

    def nme_means(self, outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
        """NME in per cent of each seed on the three sets."""
        return {name: [100 * mean_error(self.nme(run)[name]) for run in outcomes] for name in SETS}

    def tables(self) -> list[Table]:
        paper, found = self.values["paper"], {self.label("adaloss"): self.runs["adaloss"]}
        rows: list[Row] = [
            {"method": name, **{s: f"{v:.2f}" for s, v in zip(SETS, values[:3], strict=True)}, "normaliser": values[3]}
            for name, values in paper.items()
        ]
        for name, outcomes in {**found, **{f"{name} (this run)": runs for name, runs in self.dlib.items()}}.items():
            cells = {key: spread(values) for key, values in self.nme_means(outcomes).items()}
            rows.append({"method": name, **cells, "normaliser": paper["Adaloss (paper)"][3]})
        table = Table("Table 3: normalised mean error on 300-W", rows, self.note("table_three"))
        return [table, *super().tables()]

    def claims(self) -> list[Claim]:
        ours = self.nme_means(self.runs["adaloss"])
        paper = dict(zip(SETS, self.values["paper"]["Adaloss (paper)"], strict=False))
        claims = [
            judged(
                f"NME on the {name} set is the paper's {paper[name]:.2f} % (within 5 %)",
                bool(np.mean(values) <= CLOSE * paper[name]),
                f"{spread(values)} %",
                self.obstacles("adaloss"),
            )
            for name, values in ours.items()
        ]
        return [*claims, *super().claims()]

    def figures(self) -> dict[str, Figure]:
        shown = {name: np.concatenate([self.nme(run)[name] for run in self.runs["adaloss"]]) for name in SETS}
        shown |= {f"{name}, full": run.nme for name, (run,) in self.dlib.items()}
        return {**super().figures(), "ced": ced_plot(shown, 0.1, unit="NME")}


class Muct(Faces):
    """Adaloss and a fixed sigma."""

    def check(self) -> None:
        if not self.test.landmarks.groups:
            wanted = "'groups' in dataset.yaml (jaw, brows, eyes, nose, mouth)"
            raise DataError(f"{self.folder}: expected {wanted}, got none; sigma per region needs regions")
        super().check()

    def facts(self) -> dict[str, Any]:
        length = self.test.landmarks.normalizer
        name = "nothing, for the dataset names none" if length is None else length.name
        return {**super().facts(), "normalizer": name}

    def figures(self) -> dict[str, Figure]:
        found = super().figures()
        for run in [run for runs in self.dlib.values() for run in runs]:
            lines = {self.label(name): timed(each[0]) for name, each in self.runs.items()}
            lines["dlib (test images)"] = ([run.minutes], [run.mre])
            found["time_to_accuracy"] = time_to_accuracy(lines, (f"dlib {run.mre:.2f} px", run.mre))
        return found


def _halved(widths: FloatArray) -> float:
    """First epoch whose width is at most half of the first one's; NaN = never."""
    below = np.flatnonzero(widths <= widths[0] / 2)
    return float(below[0]) if len(below) else float("nan")


# -- the user's copy of 300-W -----------------------------------------------------------------------------------------


def read_parts(root: Path, names: Sequence[str], counts: Mapping[str, int]) -> Parts:
    """The annotations of each folder of ``counts`` below ``root``, images beside their ``.pts`` files.

    Raises DataError that lists every folder and image that is missing.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected the folder of 300-W, got none; check --data")
    missing = []
    for folder, count in counts.items():
        files = sorted((root / folder).rglob("*"))
        images = {file.with_suffix("") for file in files if is_image(file)}
        marks = [file for file in files if file.suffix == ".pts"]
        missing += [] if marks else [f"{folder}/ (expected {count} images with .pts)"]
        missing += [f"image of {file.relative_to(root)}" for file in marks if file.with_suffix("") not in images]
    if missing:
        shown = "\n".join(f"  {text}" for text in missing[:30])
        more = f"\n  and {len(missing) - 30} more" if len(missing) > 30 else ""
        fix = "Download the parts from https://ibug.doc.ic.ac.uk/resources/300-W/ and put them into these folders"
        raise DataError(f"{root}: 300-W is incomplete, missing:\n{shown}{more}\n{fix}")
    return {folder: Pts(tuple(names)).read(root / folder).samples for folder in counts}


def write_crops(parts: Parts, splits: Mapping[str, str], marks: LandmarkSet, target: Path) -> None:
    """Write the face crops as a native dataset; images are named <folder>-<name>.png, ``splits`` are by folder."""
    samples, names = [], []
    for folder, members in parts.items():
        for sample in members:
            crop, points = crop_face(sample)
            names.append(f"{folder.replace('/', '-')}-{sample.image.stem.replace(' ', '_')}.png")
            write_bytes(target / "images" / names[-1], crop, overwrite=True)
            samples.append(Sample(Path(names[-1]), points, sample.visibility, splits[folder]))
    write_table(target, samples, marks, image_names=names, name="300-W crops", overwrite=True)


def crop_face(sample: Sample) -> tuple[bytes, FloatArray]:
    """PNG of the square around the middle of the landmark box, ``MARGIN`` larger on every side, resampled once to
    ``SIDE`` pixels, and the points (68, 2) in pixels of that crop."""
    low, high = np.nanmin(sample.points, axis=0), np.nanmax(sample.points, axis=0)
    (x, y), side = ((low + high) / 2).tolist(), float((high - low).max()) * (1 + 2 * MARGIN)
    to_x, to_y = center((SIDE, SIDE))
    to_crop = Affine.shift(to_x - x, to_y - y).then(Affine.scale_about((to_x, to_y), SIDE / side))
    pixels = warp(as_tensor(read_image(sample.image).pixels), to_crop, (SIDE, SIDE), fill="edge")
    values = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(values if values.shape[2] == 3 else values[..., 0]).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue(), to_crop.apply(sample.points)
