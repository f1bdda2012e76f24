"""Does the width where ``paced`` leaves a landmark's target tell how much its annotators disagree?

Every training image is shown once with the labels of each annotator. Nothing in it tells which of them will be asked
for, so the best answer leaves tau^2 / (sigma^2 + tau^2) of a target unexplained, tau being their scatter per axis.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import permutation_test, spearmanr, theilslopes

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_bytes, write_text
from trigpoint.data.input.augment import as_tensor
from trigpoint.data.pixels.images import read_image
from trigpoint.data.table import write_table
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, judged, spread
from trigpoint.experiments.measures import Job, clamped
from trigpoint.geometry import Affine, center, warp
from trigpoint.landmarks import FloatArray, Sample
from trigpoint.report import style

DONE = "prepared.yaml"
MARGIN = 0.1  # of the box of all training points, on every side
LEVEL = 0.05  # of significance
NEAR = 1.5  # a width within this factor of the annotators' SD counts as equal to it


@dataclass(frozen=True)
class Labels:
    """Points (N, K, 2) of one annotator in original pixels, NaN = not annotated."""

    annotator: str
    data: LandmarkDataset


class Annotators(Experiment):
    """``labels``: those of each annotator; ``human`` (K,): their SD per axis, in mm; ``pixel``: mm per map pixel."""

    labels_of: Sequence[Labels]

    def prepare(self) -> None:
        """Read the tables, and write the part of every image that holds landmarks, reduced, once per annotator.

        Raises ConfigError and DataError for tables that are not there or do not belong together.
        """
        root, tables = self.user_data(), [name.strip() for name in self.options["tables"].split(",")]
        self.request.open_folder(tables=tables)
        self.labels_of = read_labels(root, tables)
        if len(self.labels_of) < 2:
            raise ConfigError(f"tables: expected the labels of two annotators or more, got {', '.join(tables)}")
        self.pixel, self.folder = float(self.values["mm_per_pixel"]), self.request.out / "data"
        self.size = write_reduced(self.labels_of, self.pixel, self.folder)
        self.test = LandmarkDataset.load(self.folder, split="test")

    def jobs(self) -> list[Job]:
        """Every setting, for so many optimizer steps, whatever the number of images."""
        rows, batch = len(self.training()), self.scale.recipe["train"]["batch_size"]
        epochs = max(1, round(self.values["steps"] * batch / rows))
        length = {"data.input.size": list(self.size), "train.epochs": epochs, "train.val_every": epochs}
        return [replace(job, overrides={**length, **job.overrides}) for job in super().jobs()]

    @cached_property
    def human(self) -> FloatArray:
        """SD (K,) of the annotators of an image about their mean, per axis, over the training images, mm."""
        points = np.stack([each.data.only("train").points for each in self.labels_of])  # (A, N, K, 2)
        sides = self.labels_of[0].data.only("train").spacings[:, None]
        counted = np.isfinite(points).sum(axis=0) > 1
        variance = np.full(points.shape[1:], np.nan)
        variance[counted] = np.nanvar(points[:, counted], axis=0, ddof=1)
        return np.asarray(np.sqrt(np.nanmean(variance * sides**2, axis=(0, 2))))

    def widths(self, setting: str) -> FloatArray:
        """Last widths (seeds, K) of a setting, mm."""
        return np.stack([run.sigma()[-1] for run in self.runs[setting]]) * self.pixel

    def related(self, setting: str) -> "Related":
        """How the widths of a setting, means over the seeds, go with the annotators' SD."""
        return Related.of(self.human, self.widths(setting).mean(axis=0))

    def facts(self) -> dict[str, Any]:
        names = ", ".join(each.annotator for each in self.labels_of)
        about = {"annotators": len(self.labels_of), "annotator_names": names, "pixel": self.pixel}
        about |= {"images": len(self.labels_of[0].data.only("train")), "height": self.size[0], "width": self.size[1]}
        about |= {"resolved": int((self.human >= self.pixel).sum()), "landmarks": len(self.human)}
        return {**super().facts(), **about}

    def tables(self) -> list[Table]:
        rows = list[Row]()
        for setting, runs in self.runs.items():
            errors = np.nanmean([run.errors for run in runs], axis=(0, 1)) * self.pixel
            widths = self.widths(setting)
            for k in np.argsort(self.human):
                row: Row = {"targets": self.label(setting), "landmark": self.test.landmarks.names[k]}
                row |= {"annotators' SD mm": self.human[k], "last sigma mm": spread(widths[:, k].tolist())}
                row |= {"sigma / SD": widths[:, k].mean() / self.human[k], "test error mm": errors[k]}
                rows.append(row)
        found = {setting: self.related(setting) for setting in self.runs}
        summary: list[Row] = [{"targets": self.label(setting), **each.cells()} for setting, each in found.items()]
        return [
            *super().tables(),
            Table("Widths and annotators, all landmarks", summary, self.note("summary")),
            Table("Widths and annotators, by landmark", rows, self.note("landmarks")),
        ]

    def claims(self) -> list[Claim]:
        """That widths are in the order of the annotators' spread, and equal to it; of the first setting."""
        setting = next(iter(self.runs))
        found, least = self.related(setting), read_yaml(self.runs[setting][0].run.config)["method"]["schedule"]
        bad = [
            clamped(run.sigma(), float(least["sigma_min"]), float(run.sigma()[0].max())) for run in self.runs[setting]
        ]
        bad += self.obstacles(setting)
        order = f"rank correlation {found.rank:.2f}, p = {found.chance:.3g} (one-sided, {len(self.human)} landmarks)"
        low, median, high = np.quantile(found.ratios, [0, 0.5, 1])
        ratio = f"sigma / SD: median {median:.2f}, from {low:.2f} to {high:.2f}"
        near = np.mean((found.ratios < NEAR) & (found.ratios > 1 / NEAR))
        return [
            *super().claims(),
            judged(
                f"Landmarks that annotators disagree on end with wider targets (rank correlation, p < {LEVEL:g})",
                found.rank > 0 and found.chance < LEVEL,
                order,
                bad,
            ),
            judged(
                f"A width ends at its annotators' SD (within a factor of {NEAR:g} for most landmarks)",
                bool(near > 0.5),
                f"{100 * near:.0f} % of landmarks; {ratio}",
                bad,
            ),
        ]

    def figures(self) -> dict[str, Figure]:
        figure = style.new_figure(6.0, 5.0)
        axes = figure.subplots()
        for i, setting in enumerate(self.runs):
            mean = self.widths(setting).mean(axis=0)
            axes.plot(self.human, mean, "o", color=style.PALETTE[i], label=self.label(setting))
            for name, x, y in zip(self.test.landmarks.names, self.human, mean, strict=True):
                style.note(axes, name.replace("_", " "), np.array([x, y]))
        ends = np.array([self.human.min(), self.human.max()])
        axes.plot(ends, ends, color=style.INK, linewidth=1, label="equal")
        style.log_scale(axes, "x")
        style.log_scale(axes)
        style.dress(axes, "SD of the annotators, mm", "last sigma, mm", "Width of the target and spread of the labels")
        style.legend(axes)
        return {"annotators": figure, **super().figures()}


@dataclass(frozen=True)
class Related:
    """How widths go with spreads, both (K,): rank correlation and its one-sided p, robust slope and 95 % interval, and
    ratios (K,)."""

    rank: float
    chance: float
    slope: float
    bounds: tuple[float, float]
    ratios: FloatArray

    @classmethod
    def of(cls, spreads: FloatArray, widths: FloatArray) -> "Related":
        """By permutation of the landmarks, and by Theil and Sen.

        >>> found = Related.of(np.arange(1.0, 6.0), 2 * np.arange(1.0, 6.0))
        >>> round(found.rank, 3), round(found.chance, 4), found.slope  # one of the 120 orders is as good
        (1.0, 0.0083, 2.0)
        """

        def rank(order: FloatArray) -> float:
            return float(spearmanr(order, widths).statistic)

        if np.ptp(widths) == 0:  # without any order, such as at a bound
            return cls(0.0, 1.0, 0.0, (0.0, 0.0), widths / spreads)
        drawn = permutation_test((spreads,), rank, permutation_type="pairings", alternative="greater", random_state=0)
        slope = theilslopes(widths, spreads)
        bounds = (float(slope.low_slope), float(slope.high_slope))
        return cls(float(drawn.statistic), float(drawn.pvalue), float(slope.slope), bounds, widths / spreads)

    def cells(self) -> Row:
        """Columns of a table."""
        quarters = np.quantile(self.ratios, [0.25, 0.75])
        return {
            "landmarks": len(self.ratios),
            "rank correlation": self.rank,
            "p": self.chance,
            "slope": self.slope,
            "95 % of slope": between(self.bounds),
            "sigma / SD, median": float(np.median(self.ratios)),
            "quartiles": between((float(quarters[0]), float(quarters[1]))),
        }


# -- data -------------------------------------------------------------------------------------------------------------


def read_labels(root: Path, tables: Sequence[str]) -> list[Labels]:
    """The labels of each annotator: of a table with a column ``annotator``, or a table each, on the images of all.

    Rows are those of images that all have annotated, in one order; splits whose name begins with test become ``test``.
    """
    whole, found = LandmarkDataset.load(root, check_images=False), dict[str, pd.DataFrame]()
    for name in tables:
        if not (root / name).is_file():
            raise DataError(
                f"{root / name}: expected a table of labels, got no such file; check tables={','.join(tables)}"
            )
        table = pd.read_csv(root / name, dtype={"image": str, "subject": str})
        own = table.groupby("annotator") if "annotator" in table else [(Path(name).stem, table)]
        found |= {str(annotator): rows.set_index("image", drop=False) for annotator, rows in own}
    columns = {annotator: {c for c in map(str, rows) if c.endswith(("_x", "_y"))} for annotator, rows in found.items()}
    if different := [name for name, own in columns.items() if own != next(iter(columns.values()))]:
        raise DataError(f"{root}: expected tables of the same landmarks, got others from {different[0]}")
    shared = [image for image in whole_order(whole) if all(image in rows.index for rows in found.values())]
    if not shared:
        raise DataError(f"{root}: expected images that all annotators have labelled, got none")
    labels = []
    for annotator, rows in found.items():
        kept = rows.loc[shared].drop(columns="annotator", errors="ignore")
        kept["split"] = ["test" if str(split).startswith("test") else split for split in kept["split"]]
        data = LandmarkDataset.from_table(kept, whole.images or root, spacing_mm=whole.spacing_mm, name=annotator)
        labels.append(Labels(annotator, data))
    return labels


def whole_order(data: LandmarkDataset) -> list[str]:
    """Names of the images in the order of the table."""
    return [data.image_name(data.samples[rows[0]]) for rows in data.by_image()]


def write_reduced(labels: Sequence[Labels], pixel: float, target: Path) -> tuple[int, int]:
    """Write a dataset with every image once per annotator, cut to the box of the training points, ``pixel`` mm each.

    Returns its images' size (H, W).
    """
    first = labels[0].data
    if not np.isfinite(first.spacings).all():
        raise DataError(f"{first.name}: expected millimetres per pixel, got none; add spacing_mm to dataset.yaml")
    points = np.concatenate([each.data.only("train").points.reshape(-1, 2) for each in labels])
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    middle, extent = (low + high) / 2, (high - low) * (1 + 2 * MARGIN)
    zoom = float(first.spacings.mean()) / pixel
    size = (round(extent[1] * zoom), round(extent[0] * zoom))
    to_x, to_y = center(size)
    to_small = Affine.shift(to_x - middle[0], to_y - middle[1]).then(Affine.scale_about((to_x, to_y), zoom))
    facts = {"annotators": [each.annotator for each in labels], "images": len(first), "size": list(size)}
    if (target / DONE).is_file() and read_yaml(target / DONE) == facts:
        return size
    samples, names = list[Sample](), list[str]()
    for i, sample in enumerate(first.samples):
        pixels = warp(as_tensor(read_image(sample.image).pixels)[:1], to_small, size, fill="edge")
        buffer = io.BytesIO()
        Image.fromarray(pixels.round().clamp(0, 255).to(dtype=pixels.dtype)[0].numpy().astype(np.uint8)).save(
            buffer, "PNG"
        )
        for each in labels:
            own = each.data.samples[i]
            names.append(f"{sample.image.stem}-{each.annotator}.png")
            write_bytes(target / "images" / names[-1], buffer.getvalue(), overwrite=True)
            moved = replace(own, image=Path(names[-1]), points=to_small.apply(own.points), spacing_mm=(pixel, pixel))
            samples.append(moved)
    write_table(
        target, samples, first.landmarks, image_names=names, name="annotators", spacing_mm=pixel, overwrite=True
    )
    write_text(target / DONE, to_yaml(facts), overwrite=True)  # last: an interrupted folder is made anew
    return size
