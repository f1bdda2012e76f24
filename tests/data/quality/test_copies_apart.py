"""Copies whose labels differ, and detectors that learn from a part of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from quality_shapes import NAMES, dataset, shapes

from trigpoint.data.quality import apart
from trigpoint.data.quality.apart import copies_apart, same_picture, with_copies
from trigpoint.data.quality.audit import audit
from trigpoint.data.quality.pictures import Picture


def picture(seed: int, size: tuple[int, int] = (60, 80)) -> PIL.Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR)


def test_a_copy_with_other_labels_is_listed_with_the_others(tmp_path: Path) -> None:
    points = shapes(40)
    for row in range(40):
        picture(row).save(tmp_path / f"{row}.png")
    picture(3, (120, 160)).save(tmp_path / "7.png")  # twice as large
    points[7] = 2 * (points[3] + 0.5) - 0.5
    points[7, 5] += [0.0, 24.0]
    picture(4).save(tmp_path / "9.png")
    points[9] = points[4]  # a copy with the same labels is no fault
    data = dataset(points, tmp_path)
    found = audit(data)
    copies = {one.row: one for one in copies_apart(data, found)}
    assert set(copies) == {3, 7, 4, 9}
    assert (copies[7].kind, copies[7].landmarks) == ("copy", (NAMES[5],))
    assert np.allclose(copies[7].expected, points[7, 5] - [0.0, 24.0])
    assert np.allclose(copies[3].expected, points[3, 5] + [0.0, 12.0])
    assert copies[7].score == pytest.approx(24.0 / found.spread[5])
    assert copies[9].score < 1e-6
    listed = with_copies(found, list(copies.values()))
    assert sorted(one.row for one in listed) == [*range(40)]
    assert next(one for one in listed if one.row == 3).kind == "copy"
    assert [one.score for one in listed] == sorted((one.score for one in listed), reverse=True)


def test_frames_of_a_scene_are_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [Picture(8, 8, f"{i % 11}") for i in range(12)]

    def alike(given: list[Picture], threshold: float = 0.85) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        assert given is pictures
        return np.array([0] * 12 if threshold < 1 else [*range(11), 0])

    monkeypatch.setattr(apart, "alike", alike)
    assert same_picture(pictures).tolist() == [*range(11), 0]
