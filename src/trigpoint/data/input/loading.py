"""From a dataset to batches: decoding, caching, one warp per sample, and an order that a resumed run repeats."""

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline, sample_rng
from trigpoint.data.input.skips import SkipLog
from trigpoint.data.pixels.images import ImageData, image_size, read_image
from trigpoint.errors import PATIENCE, DataError, end_with_parent
from trigpoint.landmarks import Batch, FloatArray, IntArray
from trigpoint.machine import free_memory, usable_cores


class InstanceItem(NamedTuple):
    """An image with M instances of K landmarks: points (M, K, 2), ``annotated`` (K,), ``height`` rows as stored."""

    image: torch.Tensor
    points: torch.Tensor
    to_original: torch.Tensor
    position: int
    annotated: torch.Tensor
    height: int


Item = tuple[torch.Tensor, torch.Tensor, torch.Tensor, int] | InstanceItem


_T = TypeVar("_T")
_THREADS, _AHEAD = 8, 4  # that read images at the start, and how many images each may be ahead
_TRIES = 20  # images in a row that cannot be read: then it is not the images


class InputDataset(Dataset[Item]):
    """Network inputs of a dataset; an index is (epoch, position), and epoch -1 means no augmentation.

    ``cache`` keeps the decoded images in memory; fill it with ``preload`` before workers start, so that they share it.
    Where augmentation changes nothing, ``prepare`` puts the network's inputs in their place.
    Samples of ``unlabelled`` come after the ``labelled`` ones of ``dataset``; their points, if known, are not used.
    ``sources`` are both as they were given. An image that cannot be read raises DataError; with ``skips`` it is noted
    there instead, and the next image takes its place in the batch: in training as a sample like any other, in
    validation with nothing annotated, so that no image counts twice. All other samples stay as they are.
    """

    multi_instance: ClassVar[bool] = False  # takes any number of instances per image

    def __init__(
        self,
        dataset: LandmarkDataset,
        pipeline: InputPipeline,
        seed: int = 0,
        cache: bool = False,
        unlabelled: LandmarkDataset | None = None,
    ) -> None:
        if dataset.instances and not self.multi_instance:
            raise DataError(
                f"{dataset.name}: is a multi-instance set (instances: true); "
                "this method learns one instance per image; train one that learns several, trigpoint train instances "
                f"data.path={dataset.folder or 'FOLDER'} --out RUN (a recipe with method.name=instances), or keep one "
                "row per image"
            )
        more = None if unlabelled is None else unlabelled.without_labels()
        self.sources: tuple[LandmarkDataset, ...] = (dataset,) if more is None else (dataset, more)
        self.skips: SkipLog | None = None
        self.labelled = len(dataset)
        self.dataset = dataset if more is None else dataset.followed_by(more)
        self.pipeline = pipeline
        self.seed = seed
        self.cache: dict[int, ImageData] | None = {} if cache else None
        self.ready: dict[int, Any] = {}  # samples as they are every time

    def check(self, subset: str) -> None:
        """Raise DataError when nothing in the data counts, which is the ``subset`` (train or val) of a run."""

    def preload(self) -> None:
        """Decode every image into the cache; without one, nothing."""
        if self.cache is not None:
            for _ in self._side_by_side(self._image, usable_cores()):
                pass

    def prepare(self, training: bool, device: torch.device | None = None) -> bool:
        """Keep every sample as the network is fed it, if ``cache`` is set, nothing varies it, and all take less than
        half of the memory that is free, on a GPU if ``device`` is one; whether it was done. Workers are of no use then.

        ``training``: as samples of an epoch; else as those of validation.
        """
        config, on_gpu = self.pipeline.config, device is not None and device.type == "cuda"
        needed = len(self) * config.channels * config.size[0] * config.size[1] * 4
        if self.cache is None or self.pipeline.augment.varies or needed > free_memory() / 2:
            return False
        place = device if on_gpu and needed < torch.cuda.mem_get_info(device)[0] / 2 else None
        rng = (lambda position: sample_rng(self.seed, 0, position)) if training else (lambda position: None)
        threads = usable_cores() // torch.get_num_threads()  # each of which has so many of its own
        for position, item in self._side_by_side(lambda position: self._item(position, rng(position)), threads):
            if item is not None:
                moved = item[0] if place is None else item[0].to(place)
                self.ready[position] = (
                    item._replace(image=moved) if isinstance(item, InstanceItem) else (moved, *item[1:])
                )
            self.cache.pop(position, None)
        return True

    def _side_by_side(self, do: Callable[[int], _T], threads: int) -> Iterator[tuple[int, _T | None]]:
        """``do`` of every position, in order; None for an image that cannot be read and is to be skipped."""
        threads = max(1, min(threads, _THREADS))
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(self), _AHEAD * threads):  # few at a time: a result may be large
                begun = [pool.submit(do, at) for at in range(start, min(start + _AHEAD * threads, len(self)))]
                for position, result in enumerate(begun, start):
                    found = None
                    with self._skipping():
                        found = result.result()
                    yield position, found

    def _skipping(self) -> AbstractContextManager[None]:
        """With ``skips``, an image that cannot be read is no error."""
        return nullcontext() if self.skips is None else suppress(DataError)

    def __len__(self) -> int:
        return len(self.dataset)

    def points(self) -> torch.Tensor:
        """(N, K, 2) points of all samples in input pixels, without augmentation, NaN = missing."""
        return torch.stack([self._points(s.image, s.points, s.visibility) for s in self.dataset.samples])

    def _points(self, image: Path, points: FloatArray, visibility: IntArray | None = None) -> torch.Tensor:
        """Points in input pixels, none of them known for an image that is to be skipped."""
        with self._skipping():
            return self.pipeline.points(image_size(image), points, visibility)
        return torch.full(points.shape, math.nan)

    def reader(self) -> Callable[[Path], ImageData]:
        """A function that gives the image of a file, from the cache where it is there."""
        cached = {self.dataset.samples[position].image: image for position, image in (self.cache or {}).items()}
        return lambda path: cached.get(path) or read_image(path)

    def __getitem__(self, index: tuple[int, int]) -> Item:
        epoch, position = index
        first, count = (0, self.labelled) if position < self.labelled else (self.labelled, len(self) - self.labelled)
        tries = 1 if self.skips is None else min(count, _TRIES)
        for step in range(tries):
            other = first + (position - first + step) % count
            try:
                item = self.ready.get(other) or self._item(other, self._rng(epoch, position))
            except DataError as error:
                if self.skips is None:
                    raise
                if not step:
                    self.skips.note(epoch, self.dataset.image_name(self.dataset.samples[position]), str(error))
                failure = error
            else:
                return item if not step or epoch >= 0 else self._unannotated(item)
        raise DataError(f"{failure}; nor can the next {tries - 1} images be read: look at the disk")

    def _rng(self, epoch: int, position: int) -> np.random.Generator | None:
        return sample_rng(self.seed, epoch, position) if epoch >= 0 else None

    def _item(self, position: int, rng: np.random.Generator | None) -> Item:
        sample, stored = self.dataset.samples[position], self._image(position)
        prepared = self.pipeline(stored.pixels, sample.points, sample.visibility, rng, stored.value_range)
        return *prepared, position

    def _unannotated(self, item: Any) -> Item:
        """The same image with nothing to measure."""
        image, points, back, position = item
        return image, torch.full_like(points, math.nan), back, position

    def _image(self, position: int) -> ImageData:
        if self.cache is not None and position in self.cache:
            return self.cache[position]
        image = self.dataset.read(position)
        if self.cache is not None:
            self.cache[position] = image
        return image


class InstanceInputs(InputDataset):
    """One item per image with all its instances; a set without instances has one in each image.

    A landmark that augmentation moves out of the input is absent from then on. ``dataset`` keeps the first sample of
    each image, so that a position leads to the image's file.
    """

    multi_instance = True

    def __init__(self, dataset: LandmarkDataset, pipeline: InputPipeline, seed: int = 0, cache: bool = False) -> None:
        self.images = dataset.instances_by_image()
        super().__init__(dataset.subset([image.rows[0] for image in self.images]), pipeline, seed, cache)
        self.sources = (dataset,)

    def check(self, subset: str) -> None:
        """Refuse data in which no instance counts, because each landmark with points is not annotated throughout."""
        if not any(np.isfinite(image.points[:, image.annotated]).any() for image in self.images):
            raise DataError(
                f"{self.sources[0].name}: expected in the subset '{subset}' an image in which all instances of a "
                "landmark are annotated, got none; say with a blank visibility what is absent, see docs/data-format.md"
            )

    def points(self) -> torch.Tensor:
        """(N, M, K, 2) points of all images in input pixels, without augmentation, NaN = no such instance."""
        return _padded([self._points(image.image, image.points) for image in self.images])

    def _item(self, position: int, rng: np.random.Generator | None) -> InstanceItem:
        image, stored = self.images[position], self._image(position)
        prepared = self.pipeline(stored.pixels, image.points, None, rng, stored.value_range)
        return InstanceItem(*prepared, position, torch.from_numpy(image.annotated.copy()), stored.height)

    def _unannotated(self, item: Any) -> InstanceItem:
        empty = cast(InstanceItem, item)
        return empty._replace(points=empty.points[:0], annotated=torch.zeros_like(empty.annotated))


@dataclass(eq=False, repr=False)
class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, position), the same for the same seed and epoch whatever happened before.

    Shuffled batches differ in size by one at most: every image is used in every epoch, and a batch of a single image,
    which upsets batch statistics, is left only where ``batch_size`` or the images are few (``least``). With several
    processes each takes its share; in training the order is continued from its start until all have equally many, in
    validation nothing is repeated. ``extra`` (positions, how many a batch) adds as many of these positions, from
    ``count`` on, to each shuffled batch; an epoch is still one round of the others.
    """

    count: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    rank: int = 0
    world: int = 1
    extra: tuple[int, int] = (0, 0)
    epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by the training engine before each epoch."""
        self.epoch = epoch

    def _own(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        if not self.shuffle:
            return np.arange(self.rank, self.count, self.world)
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        padded = np.resize(order, -(-self.count // self.world) * self.world)
        return padded[self.rank :: self.world]

    def __len__(self) -> int:
        return -(-len(self._own()) // self.batch_size)

    def least(self) -> int:
        """Size of the smallest shuffled batch, without ``extra``."""
        return len(self._own()) // max(1, len(self))

    @property
    def common(self) -> int:
        """Batches that every process has; in validation some have one more."""
        return len(self) if self.shuffle else -(-(self.count // self.world) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        own = self._own()
        epoch = self.epoch if self.shuffle else -1
        parts = [own[start : start + self.batch_size] for start in range(0, len(own), self.batch_size)]
        if self.shuffle and parts:
            parts = np.array_split(own, len(parts))
        more = self._more(len(parts))
        for number, part in enumerate(parts):
            yield [(epoch, int(position)) for position in (*part, *more[number])]

    def _more(self, batches: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Positions (batches, per batch) that join the batches of this epoch."""
        pool, per_batch = self.extra
        if not (pool and per_batch and self.shuffle):
            return np.zeros((batches, 0), np.int64)
        order = self.count + np.random.default_rng((self.seed, self.epoch, 1)).permutation(pool)
        return np.resize(order, self.world * batches * per_batch)[self.rank :: self.world].reshape(batches, per_batch)


def collate(items: Sequence[Item]) -> Batch:
    """Stack items to a batch; instances are padded with NaN to the most of any image."""
    images, points, back, index, *more = zip(*items, strict=True)
    stacked = torch.stack(points) if not more else _padded(points)
    batch = Batch(torch.stack(images), stacked, torch.stack(back), torch.tensor(index))
    if more:
        batch.annotated, batch.heights = torch.stack(more[0]), torch.tensor(more[1])
    return batch


def _padded(points: Sequence[torch.Tensor]) -> torch.Tensor:
    """Points (M, K, 2) of images with M of their own as (B, M, K, 2), NaN = no such instance."""
    return pad_sequence(list(points), batch_first=True, padding_value=math.nan)


def loader(data: InputDataset, batches: EpochBatches, workers: int = 0, pin: bool = False) -> DataLoader[Item]:
    """A DataLoader over ``batches``; its workers live through all epochs."""
    return DataLoader(
        data,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        worker_init_fn=_begin_worker if workers else None,
    )


def _begin_worker(worker: int) -> None:
    """One thread; signals are for the process that started this one, and ends it: itself, or by its own end."""
    torch.set_num_threads(1)
    end_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # SIGTERM often comes to all processes of a job: what is under way has time to be finished and saved
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(int(PATIENCE)))
