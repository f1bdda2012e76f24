"""The sets of the experiment ``endovis``: the challenge's frames from the user, or what stands in for them.

Frames of a video are alike, so images for validation are never drawn at random: they are the end of each training
video, with a gap before it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trigpoint.data import LandmarkDataset
from trigpoint.data.formats.endovis import JOINTS, EndoVis
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, Sample

CLASPERS = JOINTS[:2]  # what the paper reports
GAP = 10  # frames left out between what is learned and what chooses the weights
VAL_SHARE = 0.15


def read_scissors(folder: Path) -> dict[str, FloatArray]:
    """Points (S, K, 2) of the tools without a label in a drawn set, by image name."""
    file = folder / "distractors.csv"
    table = pd.read_csv(file).set_index("image") if file.is_file() else pd.DataFrame()
    points = table.to_numpy(np.float64).reshape(len(table), -1, 2)
    return {str(image): points[table.index == image] for image in table.index.unique()}


def read_video(root: Path) -> LandmarkDataset:
    """Frames of one real video with up to two instruments each, in the native format."""
    whole = LandmarkDataset.load(root)
    if not whole.instances:
        expected = "expected a multi-instance set (instances: true), got one instance per image; see the docs"
        raise DataError(f"{root}: {expected}")
    for split in ("train", "test"):
        whole.only(split)  # raises with the splits that exist
    return whole


def read_challenge(root: Path, tools: str, needs: str) -> LandmarkDataset:
    """EndoVis 2015 from the user's labels and frames; ``needs`` says what they are."""
    folders = sorted({file.parent for file in Path(root).rglob("*_labels.json")})
    if not folders:
        raise DataError(f"{root}: expected label files *_labels.json, got none; {needs}")
    if len(folders) > 1:
        raise DataError(f"{root}: expected all *_labels.json in one folder, got {len(folders)}; move them together")
    whole = EndoVis(tools).read(folders[0], root).pick(CLASPERS)
    if missing := sorted({str(s.image) for s in whole.samples if not s.image.is_file()}):
        frames = f"{len(whole.by_image())} annotated frames, {len(missing)} of them are missing, such as {missing[0]}"
        raise DataError(f"{root}: expected {frames}; {needs}")
    return whole


def with_validation(data: LandmarkDataset, share: float = VAL_SHARE, gap: int = GAP) -> LandmarkDataset:
    """The last ``share`` of the training images of each subject as split ``val``, the ``gap`` images before left out.

    Validation images get a subject of their own. A set that has a split ``val`` is left as it is. Raises DataError when
    too few images remain.
    """
    if "val" in data.splits():
        return data
    videos: dict[str, list[list[Sample]]] = {}
    for rows in data.by_image():
        image = [data.samples[row] for row in rows]
        if image[0].split == "train":
            videos.setdefault(image[0].subject, []).append(image)
    samples: list[Sample] = []
    for subject, images in videos.items():
        images.sort(key=lambda image: image[0].image.name)
        held = max(1, round(share * len(images)))
        if len(images) <= held + gap:
            wanted = f"expected more than {held + gap} training images of '{subject}', got {len(images)}"
            raise DataError(f"{data.name}: {wanted}; give the set a split 'val'")
        samples += [sample for image in images[: -held - gap] for sample in image]
        ends = [sample for image in images[-held:] for sample in image]
        samples += [replace(sample, split="val", subject=f"{subject} (end)") for sample in ends]
    for sample in data.only("test").samples:  # a video that goes on among the test images gets another name there
        goes_on = sample.subject and sample.subject in videos
        samples.append(replace(sample, subject=f"{sample.subject} (test)") if goes_on else sample)
    about: dict[str, Any] = {"name": data.name, "images": data.images, "spacing_mm": data.spacing_mm}
    return LandmarkDataset(samples, data.landmarks, instances=True, **about)
