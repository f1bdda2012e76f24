"""``LandmarkDataset``: annotated images as a list of samples with one landmark set; formats and splits build on it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trigpoint.data.description import Description, Problem
from trigpoint.data.files import Progress, check_path
from trigpoint.data.instances import ImageInstances, gather
from trigpoint.data.missing import missing_problem
from trigpoint.data.pixels.images import ImageData, image_size, image_spacing, read_image
from trigpoint.data.saving import How, save_dataset
from trigpoint.data.subsets import nested_order
from trigpoint.data.table import Table, parse_rows, raise_problems, read_table
from trigpoint.data.table_names import below
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import FloatArray, IntArray, LandmarkSet, Sample, Spacing, spacing_pair

if TYPE_CHECKING:
    import pandas as pd


@dataclass(eq=False, repr=False)
class LandmarkDataset:
    """Annotated images: N samples of K named landmarks.

    ``spacing_mm`` (x, y; one number may be given for both) is the value of ``dataset.yaml`` (None when it states none);
    each sample's own ``spacing_mm`` is what counts: its row's, else that of the image file, else the dataset's. With
    ``instances`` an image may have several samples, one per instance. ``images`` is the folder that the image names are
    relative to, ``names`` what the table calls images that lie elsewhere. ``problems`` are told: what the reader of a
    foreign format had to leave out of the whole set, images that were moved.
    """

    samples: Sequence[Sample]
    landmarks: LandmarkSet
    _: KW_ONLY
    name: str = ""
    folder: Path | None = None
    images: Path | None = None
    table: Path | None = None
    spacing_mm: Spacing | None = None
    instances: bool = False
    problems: Sequence[Problem] = ()
    names: Mapping[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.samples, self.problems = tuple(self.samples), tuple(self.problems)
        self.spacing_mm = spacing_pair(self.spacing_mm)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        split: str | None = None,
        names: Sequence[str] | None = None,
        *,
        check_images: bool = True,
        images: str | Path | None = None,
    ) -> LandmarkDataset:
        """Read a native dataset: a folder, or one of the tables in it.

        ``split`` keeps the rows of that split, ``names`` these landmarks in this order. ``check_images`` opens each
        image's header, so that a missing file or one of the wrong size is found now and not in mid-training; predicted
        points (rows with scores) may lie outside. ``images``: look for the images below this folder instead, by their
        names or the ends of them. Raises DataError naming file, row and landmark; for an unknown split, with the splits
        that exist.
        """
        found = read_table(folder, images=images)
        dataset = cls._of(found)
        if split is not None:
            dataset = dataset.only(split)
        if names is not None:
            dataset = dataset.pick(names)._telling(dataset.landmarks)
        if not (dataset.visibility > 0).any():
            what = f"split '{split}'" if split else "the rows"
            fix = "annotate some images first"
            raise DataError(f"{found.table}: expected annotated landmarks, got none in {what}; {fix}")
        if check_images:
            wrong, told = dataset._seen()
            raise_problems(wrong)
            dataset = replace(dataset, problems=[*dataset.problems, *told])
        return dataset._with_spacing()

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        images: str | Path = ".",
        landmarks: LandmarkSet | None = None,
        *,
        spacing_mm: float | Spacing | None = None,
        name: str = "table",
    ) -> LandmarkDataset:
        """A dataset from a data frame with the columns of ``landmarks.csv``; image files are relative to ``images``.

        ``landmarks`` gives names, order, pairs and groups (default: the columns' names in their order); a column
        ``instance`` allows several rows per image. Raises DataError naming row and landmark (the header is row 1).

        >>> import pandas as pd
        >>> ds = LandmarkDataset.from_table(pd.DataFrame({"image": ["a.png"], "tip_x": [3.5], "tip_y": [2.0]}))
        >>> ds.landmarks.names, ds.points.tolist()
        (('tip',), [[[3.5, 2.0]]])
        """
        file = Path(f"<{name}>")
        about = Description(
            file=file,
            folder=Path(images),
            name=name,
            images=".",
            table=str(file),
            landmarks=None if landmarks is None else landmarks.names,
            spacing_mm=spacing_pair(spacing_mm),
            instances="instance" in table.columns,
        )
        found = cls._of(parse_rows(list(csv.reader(io.StringIO(table.to_csv(index=False)))), about, file))
        return replace(found, landmarks=landmarks or found.landmarks, folder=None, table=None)._with_spacing()

    @classmethod
    def _of(cls, table: Table) -> LandmarkDataset:
        return cls(**{each.name: getattr(table, each.name) for each in fields(cls)} | {"problems": table.notes})

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"LandmarkDataset({self.name!r}, samples={len(self)}, landmarks={len(self.landmarks)})"

    @cached_property
    def points(self) -> FloatArray:
        """(N, K, 2) original pixels, NaN = missing."""
        shape = (len(self), len(self.landmarks), 2)
        return np.array([sample.points for sample in self.samples], dtype=np.float64).reshape(shape)

    @cached_property
    def visibility(self) -> IntArray:
        """(N, K) 0 missing, 1 occluded, 2 visible; ``ABSENT`` (-1) in sets with instances."""
        shape = (len(self), len(self.landmarks))
        return np.array([sample.visibility for sample in self.samples], dtype=np.int64).reshape(shape)

    @cached_property
    def spacings(self) -> FloatArray:
        """(N, 2) millimetres per pixel of each sample, x and y, NaN = unknown."""
        pairs = [sample.spacing_mm or (np.nan, np.nan) for sample in self.samples]
        return np.array(pairs, dtype=np.float64).reshape(-1, 2)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """(N,) what no split divides: the subject of the image's first row, or the image where none is named."""
        first = {sample.image: sample for sample in reversed(self.samples)}
        own = {i: f"subject:{s.subject}" if s.subject else f"image:{self.image_name(s)}" for i, s in first.items()}
        return tuple(own[sample.image] for sample in self.samples)

    def splits(self) -> dict[str, int]:
        """Number of samples per split name; samples without a split are not counted."""
        return dict(Counter(sample.split for sample in self.samples if sample.split))

    def image_name(self, sample: Sample) -> str:
        """What a table calls the sample's image, with forward slashes: its name below ``images``, if it lies there.

        Of one that lies elsewhere what its table calls it, or its path.
        """
        own = None if self.images is None else below(sample.image, self.images)
        return own or self.names.get(sample.image, sample.image.as_posix())

    def by_image(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the samples of each image, images in the order of their first row."""
        rows: dict[Path, list[int]] = {}
        for index, sample in enumerate(self.samples):
            rows.setdefault(sample.image, []).append(index)
        return tuple(tuple(indices) for indices in rows.values())

    def instances_by_image(self) -> list[ImageInstances]:
        """Every image with all its instances and which landmarks are annotated in it, in the order of the table."""
        return [gather(self.samples, rows) for rows in self.by_image()]

    def read(self, index: int) -> ImageData:
        """Decode one sample's image. Raises DataError naming the file; also when the points do not fit the image."""
        sample = self.samples[index]
        data = read_image(sample.image)
        if sample.scores is None and (message := size_problem(sample, data.height, data.width)):
            raise_problems([Problem(sample.image, message)])
        return data

    def image_problems(self) -> list[Problem]:
        """Missing and unreadable image files and those of another size than the points imply, headers only."""
        return self._seen()[0]

    def _seen(self) -> tuple[list[Problem], list[Problem]]:
        """What is wrong with the image files, and what is only told: predicted points may lie outside of an image."""
        where = self.table or Path(f"<{self.name}>")
        found: list[Problem] = []
        missing: dict[Path, int | None] = {}
        told: list[Sample] = []
        images = self.by_image()
        for indices in images:
            own = [self.samples[index] for index in indices]
            image, row = own[0].image, own[0].row or None
            try:
                check_path(image)
                if not image.is_file():
                    missing[image] = row
                    continue
                size = image_size(image)
            except DataError as error:
                found.append(Problem(where, str(error), row=row))
                continue
            for sample in own:
                if message := size_problem(sample, *size):
                    if sample.scores is None:
                        found.append(Problem(where, f"{image}: {message}", row=sample.row or None))
                    else:
                        told.append(sample)
        if problem := missing_problem(missing, len(images), where, self.images):
            found.insert(0, problem)
        what = f"most predicted points lie outside of the image in {len(told)} rows, the first is"
        return found, [Problem(where, f"{what} {told[0].image.name}", told[0].row or None)] if told else []

    def only(self, split: str) -> LandmarkDataset:
        """The samples of one split. Raises DataError with the splits that exist."""
        existing = self.splits()
        if split not in existing:
            place = self.folder or "its folder"
            none = f"the table stores no splits; run 'trigpoint data split' on {place}, or take all rows: --split all"
            largest = "train" if "train" in existing else max(existing, key=lambda name: existing[name], default="")
            keep = f"take one of these (--split), or keep rows for it: trigpoint data split {place} --of {largest}"
            has = f"{did_you_mean(split, existing)}; {keep}" if existing else none
            raise DataError(f"{self.table or self.name}: unknown split '{split}'; {has}")
        return self.subset([i for i, sample in enumerate(self.samples) if sample.split == split])

    def subset(self, indices: Sequence[int] | IntArray) -> LandmarkDataset:
        """The samples at ``indices``, in that order."""
        return replace(self, samples=[self.samples[int(index)] for index in indices])

    def limit(self, n: int, seed: int = 0, across: bool = False) -> LandmarkDataset:
        """At most ``n`` images, taken subject after subject in an order fixed by ``seed``, kept in table order.

        ``across`` takes one image of every subject, then a second of each, and so on. Nested: the images of
        ``limit(10)`` are among those of ``limit(20)`` with the same seed, on any machine and however the table is
        sorted. Raises DataError when ``n`` is below 1.
        """
        if n < 1:
            raise DataError(f"limit: expected at least 1 image, got {n}")
        images = self.by_image()
        keys = [(self.groups[rows[0]], self.image_name(self.samples[rows[0]])) for rows in images]
        chosen = [images[i] for i in nested_order(keys, seed, across)[:n]]
        return self.subset(sorted(index for indices in chosen for index in indices))

    def without_labels(self) -> LandmarkDataset:
        """The same images with no landmark annotated."""
        blank = np.full((len(self.landmarks), 2), np.nan), np.zeros(len(self.landmarks), np.int64)
        return replace(
            self, samples=[replace(s, points=blank[0], visibility=blank[1], scores=None) for s in self.samples]
        )

    def followed_by(self, other: LandmarkDataset) -> LandmarkDataset:
        """These samples and then those of ``other``, which has the same landmarks."""
        return replace(self, samples=[*self.samples, *other.samples])

    def pick(self, names: Sequence[str]) -> LandmarkDataset:
        """Only the landmarks ``names``, in that order, with the pairs, groups and normaliser that stay whole."""
        order = [self._index(name) for name in names]
        samples = [
            replace(
                sample,
                points=sample.points[order],
                visibility=sample.visibility[order],
                scores=None if sample.scores is None else sample.scores[order],
            )
            for sample in self.samples
        ]
        return replace(self, samples=samples, landmarks=self.landmarks.pick(names))

    def _telling(self, before: LandmarkSet) -> LandmarkDataset:
        """The same, which tells the measurements that its landmarks are too few for."""
        lost = [name for name in before.measurements if name not in self.landmarks.measurements]
        if not lost:
            return self
        text = f"measurements {', '.join(lost)}: need landmarks that are left out, so they are not measured"
        return replace(self, problems=[*self.problems, Problem(self.table or Path(f"<{self.name}>"), text)])

    def _index(self, name: str) -> int:
        if name not in self.landmarks.names:
            fix = f"or add the columns {name}_x and {name}_y, blank where it is not annotated"
            hint = did_you_mean(name, self.landmarks.names)
            raise DataError(f"{self.table or self.name}: unknown landmark '{name}'; {hint}; {fix}")
        return self.landmarks.index(name)

    def aligned(self, names: Sequence[str], blank: Collection[str] = ()) -> LandmarkDataset:
        """The landmarks ``names``, in that order; those that the set lacks, and the ``blank`` ones, are not annotated.

        >>> import pandas as pd
        >>> data = LandmarkDataset.from_table(pd.DataFrame({"image": ["a.png"], "tip_x": [3.5], "tip_y": [2.0]}))
        >>> data.aligned(["root", "tip"]).visibility.tolist()
        [[0, 2]]
        """
        own = self.pick([name for name in names if name in self.landmarks.names])
        places = [names.index(name) for name in own.landmarks.names if name not in blank]
        used = [k for k, name in enumerate(own.landmarks.names) if name not in blank]
        samples = []
        for sample in own.samples:
            points, visibility = np.full((len(names), 2), np.nan), np.zeros(len(names), np.int64)
            points[places], visibility[places] = sample.points[used], sample.visibility[used]
            samples.append(replace(sample, points=points, visibility=visibility, scores=None))
        return replace(own, samples=samples, landmarks=replace(own.landmarks, names=tuple(names)))

    def save(
        self, folder: str | Path, *, images: How = "copy", overwrite: bool = False, progress: Progress | None = None
    ) -> Path:
        """Write a native dataset and "copy" or sym"link" its images; "keep" leaves the folder's images as they are.

        The images come first and ``dataset.yaml`` last. Called again after it was stopped, it does what is left.
        ``progress(done, total)`` is called after each image. Raises DataError before anything is written when images
        are missing, all at once, or when another file is in the way and ``overwrite`` is False.
        """
        target = Path(folder)
        save_dataset(self, target, images, overwrite=overwrite, progress=progress)
        return target

    def _with_spacing(self) -> LandmarkDataset:
        @cache
        def spacing(image: Path) -> Spacing | None:
            own = image_spacing(image)[0] if image.is_file() else None
            return self.spacing_mm if own is None else own

        samples = [s if s.spacing_mm is not None else replace(s, spacing_mm=spacing(s.image)) for s in self.samples]
        return replace(self, samples=samples)


def size_problem(sample: Sample, height: int, width: int) -> str | None:
    """What is wrong when most of a sample's points lie outside an image of this size, else None.

    A few points outside happen (a landmark beyond the border); most of them outside mean the image was resized.
    """
    points = sample.points[sample.visibility > 0]
    outside = (points < -1).any(axis=1) | (points > np.array([width, height])).any(axis=1)  # one pixel of slack
    if not len(points) or outside.sum() * 2 <= len(points):
        return None
    x, y = points.max(axis=0)
    return (
        f"expected an image that holds its points, got {width} x {height} pixels and points up to ({x:g}, {y:g}) "
        f"in row {sample.row}; put back the image that was annotated, or scale the points"
    )
