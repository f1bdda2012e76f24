"""From a dataset to batches: decoding, caching, one warp per sample, and an order that a resumed run repeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from trigpoint.data.augment import InputPipeline, sample_rng
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.images import ImageData, image_size
from trigpoint.errors import DataError
from trigpoint.landmarks import Batch

Item = tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]


class InputDataset(Dataset[Item]):
    """Network inputs of a dataset; an index is (epoch, position), and epoch -1 means no augmentation.

    ``cache`` keeps the decoded images in memory; fill it with ``preload`` before workers start, so that they share it.
    Samples of ``unlabelled`` come after the ``labelled`` ones of ``dataset``; their points, if known, are not used.
    """

    def __init__(
        self,
        dataset: LandmarkDataset,
        pipeline: InputPipeline,
        seed: int = 0,
        cache: bool = False,
        unlabelled: LandmarkDataset | None = None,
    ) -> None:
        if dataset.instances:
            raise DataError(
                f"{dataset.name}: has several instances of a landmark per image (instances: true); "
                "this method learns one instance per image; keep one row per image"
            )
        self.labelled = len(dataset)
        self.dataset = dataset if unlabelled is None else dataset.followed_by(unlabelled.without_labels())
        self.pipeline = pipeline
        self.seed = seed
        self.cache: dict[int, ImageData] | None = {} if cache else None

    def preload(self) -> None:
        """Decode every image into the cache; without one, nothing."""
        if self.cache is not None:
            for position in range(len(self)):
                self._image(position)

    def __len__(self) -> int:
        return len(self.dataset)

    def points(self) -> torch.Tensor:
        """(N, K, 2) points of all samples in input pixels, without augmentation, NaN = missing."""
        samples = self.dataset.samples
        return torch.stack([self.pipeline.points(image_size(s.image), s.points, s.visibility) for s in samples])

    def __getitem__(self, index: tuple[int, int]) -> Item:
        epoch, position = index
        sample = self.dataset.samples[position]
        rng = sample_rng(self.seed, epoch, position) if epoch >= 0 else None
        stored = self._image(position)
        prepared = self.pipeline(stored.pixels, sample.points, sample.visibility, rng, stored.value_range)
        return *prepared, position

    def _image(self, position: int) -> ImageData:
        if self.cache is None:
            return self.dataset.read(position)
        if position not in self.cache:
            self.cache[position] = self.dataset.read(position)
        return self.cache[position]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, position), the same for the same seed and epoch whatever happened before.

    Shuffled batches differ in size by one at most: every image is used in every epoch, and no batch of a single image
    upsets the batch statistics. With several processes each takes its share; in training the order is continued from
    its start until all have equally many, in validation nothing is repeated. ``extra`` (positions, how many a batch)
    adds as many of these positions, from ``count`` on, to each shuffled batch; an epoch is still one round of the
    others.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        rank: int = 0,
        world: int = 1,
        extra: tuple[int, int] = (0, 0),
    ) -> None:
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world, self.extra = rank, world, extra
        self.epoch = 0
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

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        own = self._own()
        epoch = self.epoch if self.shuffle else -1
        if self.shuffle:
            parts = np.array_split(own, len(self)) if len(own) else []
        else:
            parts = [own[start : start + self.batch_size] for start in range(0, len(own), self.batch_size)]
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


def collate(items: list[Item]) -> Batch:
    """Stack items to a batch."""
    images, points, back, index = zip(*items, strict=True)
    return Batch(torch.stack(images), torch.stack(points), torch.stack(back), torch.tensor(index))


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
        worker_init_fn=_one_thread if workers else None,
    )


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
