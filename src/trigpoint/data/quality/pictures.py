"""Every image of a set decoded once, by all cores: what is kept of each, and which are copies of one another."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trigpoint.data.files import Progress
from trigpoint.data.pixels.images import read_image
from trigpoint.data.quality.fingerprint import COPY, look_of, look_text, pixel_hash, similarity, stack_looks
from trigpoint.errors import DataError
from trigpoint.machine import usable_cores

_BLOCK = 1024  # images that are compared at a time
_AHEAD = 4  # images per thread that are asked for before they are needed


@dataclass(frozen=True)
class Picture:
    """What is kept of a decoded image: its size, the hash of its pixels, its look; ``damage`` instead if it has any."""

    width: int = 0
    height: int = 0
    digest: str = ""
    look: str = ""
    spacing: bool = False
    damage: str = ""


def read_pictures(
    files: Iterable[Path], progress: Progress | None = None, workers: int | None = None
) -> dict[Path, Picture]:
    """Decode ``files`` in ``workers`` threads (None: as many as there are cores); the result is in their order.

    ``progress(done, total)`` is called after each. Decoders and hashes let other threads run, so threads suffice, and
    none is left when Ctrl-C ends the work.
    """
    listed = list(files)
    found: dict[Path, Picture] = {}
    for file, picture in zip(listed, _decoded(listed, workers or usable_cores()), strict=True):
        found[file] = picture
        if progress is not None:
            progress(len(found), len(listed))
    return found


def _decoded(files: Sequence[Path], workers: int) -> Iterator[Picture]:
    waiting = iter(files)
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        asked: list[Future[Picture]] = [pool.submit(decode, file) for file in islice(waiting, _AHEAD * workers)]
        while asked:
            picture = asked.pop(0).result()
            asked += [pool.submit(decode, file) for file in islice(waiting, 1)]
            yield picture
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def decode(file: Path) -> Picture:
    """What is kept of one image."""
    try:
        image = read_image(file)
    except DataError as error:
        return Picture(damage=str(error).removeprefix(f"{file}: "))
    look = look_text(look_of(image.pixels))
    return Picture(image.width, image.height, pixel_hash(image), look, image.spacing_mm is not None)


def alike(pictures: Sequence[Picture], threshold: float = COPY) -> npt.NDArray[np.int64]:
    """A number for each picture (N,), the same for those with equal pixels or a look as similar as ``threshold``.

    Copies of copies count: the number is that of the first picture of each such set. Pictures that could not be read
    are alone.
    """
    first: dict[str, int] = {}
    label = np.arange(len(pictures))
    for i, picture in enumerate(pictures):
        label[i] = first.setdefault(picture.digest, i) if picture.digest else i
    if threshold > 1:
        return label
    own = np.array([i for i in range(len(pictures)) if label[i] == i and pictures[i].look], np.int64)
    looks = stack_looks([pictures[i].look for i in own])
    edges = [np.zeros((0, 2), np.int64)]
    for a in range(0, len(own), _BLOCK):
        for b in range(0, a + 1, _BLOCK):
            near = np.argwhere(similarity(looks[a : a + _BLOCK], looks[b : b + _BLOCK]) >= threshold)
            pairs = near + np.array([a, b])
            edges.append(_forest(pairs[pairs[:, 0] > pairs[:, 1]], len(own)))
    joined = _forest(np.concatenate(edges), len(own), label=True)
    of = np.arange(len(pictures))
    of[own] = own[joined[:, 0]] if len(own) else own
    return np.asarray(of[label], np.int64)


def _forest(pairs: npt.NDArray[np.int64], count: int, label: bool = False) -> npt.NDArray[np.int64]:
    """As few pairs (E, 2) that join what ``pairs`` join; with ``label`` a column (count, 1): the first of each set."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    _, first = np.unique(part, return_index=True)
    root = np.asarray(first[part], np.int64) if count else np.zeros(0, np.int64)
    if label:
        return root[:, None]
    moved = np.flatnonzero(root != np.arange(count))
    return np.stack([moved, root[moved]], axis=1)
