"""Copies labelled apart: images that are the same picture, or look like it, and whose labels differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import Progress
from trigpoint.data.quality.audit import Audit, Suspect
from trigpoint.data.quality.pictures import Picture, alike, read_pictures
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
        sizes = np.array([(pictures[row].width, pictures[row].height) for row in own], float)
        points = np.stack([np.where(data.visibility[row][:, None] > 0, data.points[row], np.nan) for row in own])
        shares = (points + 0.5) / sizes[:, None]
        for i, row in enumerate(own):
            others = np.delete(shares, i, axis=0)
            known = np.isfinite(shares[i, :, 0]) & np.isfinite(others[..., 0]).any(0)
            if not known.any():
                continue
            middle = np.full(points.shape[1:], np.nan)
            middle[known] = np.nanmedian(others[:, known], axis=0) * sizes[i] - 0.5
            score = np.linalg.norm(points[i] - middle, axis=-1) / np.where(spread > 0, spread, np.nan)
            if not np.isfinite(score).any():
                continue
            k = int(np.nanargmax(score))
            place = (float(middle[k, 0]), float(middle[k, 1]))
            suspects.append(Suspect(row, "copy", (data.landmarks.names[k],), float(score[k]), place))
    return suspects


def with_copies(found: Audit, copies: Sequence[Suspect]) -> list[Suspect]:
    """The likeliest fault of each row, worst first, where a copy is labelled apart that if it is worse."""
    worst = {one.row: one for one in found.suspects}
    for one in copies:
        if one.row not in worst or one.score > worst[one.row].score:
            worst[one.row] = one
    return sorted(worst.values(), key=lambda one: -one.score)
