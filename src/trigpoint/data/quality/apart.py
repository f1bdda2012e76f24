"""Copies labelled apart: images that are the same picture, or look like it, and whose labels differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import Progress
from trigpoint.data.quality.audit import Audit, Suspect
from trigpoint.data.quality.pictures import Picture, alike, read_pictures
from trigpoint.geometry import from_grid, to_grid
from trigpoint.landmarks import FloatArray

_SCENE = 10, 1 / 3  # images, and share of all, from which those that look alike are frames of one scene and no copies


def copies_apart(data: LandmarkDataset, found: Audit, progress: Progress | None = None) -> list[Suspect]:
    """The rows of a set whose image is a copy of another one with other labels, by how far these lie apart.

    Images are read. The score is in units of ``found.spread``, as that of a shifted landmark. Where many images look
    alike, as the frames of a video do, only those with equal pixels are copies. Multi-instance sets have none.
    """
    if data.instances:
        return []
    files = [sample.image for sample in data.samples]
    read = read_pictures(dict.fromkeys(files), progress)
    return labelled_apart(
        data, same_picture([read[file] for file in files]), found.spread, [read[file] for file in files]
    )


def same_picture(pictures: Sequence[Picture]) -> npt.NDArray[np.int64]:
    """A number for each picture (N,), the same for copies."""
    group = alike(pictures)
    most = max(Counter(group.tolist()).values(), default=0)
    return alike(pictures, threshold=2.0) if most > max(_SCENE[0], _SCENE[1] * len(pictures)) else group


def labelled_apart(
    data: LandmarkDataset, group: npt.NDArray[np.int64], spread: FloatArray, pictures: Sequence[Picture]
) -> list[Suspect]:
    """Of each copy the landmark that lies furthest from where the others of its group have it; ``spread`` (K,)."""
    rows = defaultdict[int, list[int]](list)
    for row, one in enumerate(group.tolist()):
        rows[one].append(row)
    suspects = []
    for own in rows.values():
        if len(own) < 2:
            continue
        sizes = [(pictures[row].width, pictures[row].height) for row in own]
        points = np.stack([np.where(data.visibility[row][:, None] > 0, data.points[row], np.nan) for row in own])
        shares = np.stack([_by_axis(to_grid, one, size) for one, size in zip(points, sizes, strict=True)])
        for i, row in enumerate(own):
            others = np.delete(shares, i, axis=0)
            known = np.isfinite(shares[i, :, 0]) & np.isfinite(others[..., 0]).any(0)
            if not known.any():
                continue
            middle = np.full(points.shape[1:], np.nan)
            middle[known] = _by_axis(from_grid, np.nanmedian(others[:, known], axis=0), sizes[i])
            score = np.linalg.norm(points[i] - middle, axis=-1) / np.where(spread > 0, spread, np.nan)
            if not np.isfinite(score).any():
                continue
            k = int(np.nanargmax(score))
            place = (float(middle[k, 0]), float(middle[k, 1]))
            suspects.append(Suspect(row, "copy", (data.landmarks.names[k],), float(score[k]), place))
    return suspects


def _by_axis(move: Callable[[FloatArray, float], FloatArray], points: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Points (n, 2) between pixels and a grid in which a whole image of this size (width, height) is one cell."""
    out: FloatArray = np.stack([move(points[:, axis], float(size[axis])) for axis in (0, 1)], -1)
    return out


def with_copies(found: Audit, copies: Sequence[Suspect]) -> list[Suspect]:
    """The likeliest fault of each row, worst first, where a copy is labelled apart that if it is worse."""
    worst = {one.row: one for one in found.suspects}
    for one in copies:
        if one.row not in worst or one.score > worst[one.row].score:
            worst[one.row] = one
    return sorted(worst.values(), key=lambda one: -one.score)
