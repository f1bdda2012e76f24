"""The sets of the experiment ``endovis``: the challenge's frames from the user, or what stands in for them.

Frames of a video are alike, so images for validation are never drawn at random: they are the end of each training
video, with a gap before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trigpoint.data import LandmarkDataset
from trigpoint.data.formats.endovis import JOINTS, EndoVis
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.study import Request
from trigpoint.landmarks import FloatArray, Sample

CLASPERS = JOINTS[:2]  # what the paper reports
GAP = 10  # frames left out between what is learned and what chooses the weights
VAL_SHARE = 0.15


@dataclass(frozen=True)
class Bench:
    """``folder``: the native set to learn from, with the splits train, val and test. ``test``: its test images, and
    ``subsets`` the positions of its images, by name. ``facts``: numbers for readers. ``scissors``: points (S, K, 2) of
    unlabelled tools by image name."""

    folder: Path
    test: LandmarkDataset
    subsets: dict[str, list[int]]
    facts: dict[str, Any]
    scissors: dict[str, FloatArray] = field(default_factory=dict)


def drawn(request: Request, count: int, size: Sequence[int], draw: Callable[[], Path]) -> Bench:
    """Drawn instruments; half of the test images show scissors as well, which no training image does."""
    if request.data is not None:
        raise ConfigError(f"{request.name}: stand_in=synthetic draws its own images, got --data; leave one of them out")
    request.open_folder(stand_in="synthetic", count=count, size=list(size))
    folder = draw()
    test, file = LandmarkDataset.load(folder, split="test"), folder / "distractors.csv"
    columns = [f"{name}_{axis}" for name in test.landmarks.names for axis in "xy"]
    groups = pd.read_csv(file).groupby("image") if file.is_file() else ()
    found = {str(image): rows[columns].to_numpy(np.float64).reshape(len(rows), -1, 2) for image, rows in groups}
    shown = [test.image_name(test.samples[rows[0]]) in found for rows in test.by_image()]
    facts = {"drawn": count, "height": size[0], "width": size[1], "scissors": sum(shown), "tested": len(shown)}
    return Bench(folder, test, _subsets(shown), facts, found)


def laparoscopy(request: Request) -> Bench:
    """Frames of one real video with up to two instruments each, in the native format."""
    if request.data is None:
        raise ConfigError(f"{request.name}: stand_in=laparoscopy expected a native set with instances; give --data")
    whole = LandmarkDataset.load(request.data)
    if not whole.instances:
        expected = "expected a multi-instance set (instances: true), got one instance per image; see the docs"
        raise DataError(f"{request.data}: {expected}")
    for split in ("train", "test"):
        whole.only(split)  # raises with the splits that exist
    folder, test, facts = _written(request, whole, stand_in="laparoscopy")
    return Bench(folder, test, {"all": list(range(len(test.by_image())))}, facts)


def challenge(request: Request, tools: str, needs: str) -> Bench:
    """EndoVis 2015 from the user's labels and frames; ``needs`` says what they are."""
    if request.data is None:
        raise ConfigError(f"{request.name}: expected the EndoVis 2015 frames and labels, got no --data; {needs}")
    folders = sorted({file.parent for file in Path(request.data).rglob("*_labels.json")})
    if not folders:
        raise DataError(f"{request.data}: expected label files *_labels.json, got none; {needs}")
    if len(folders) > 1:
        wanted = "expected all *_labels.json in one folder"
        raise DataError(f"{request.data}: {wanted}, got {len(folders)}; move them together")
    whole = EndoVis(tools).read(folders[0], request.data).pick(CLASPERS)
    if missing := sorted({str(s.image) for s in whole.samples if not s.image.is_file()}):
        frames = f"{len(whole.by_image())} annotated frames, {len(missing)} of them are missing, such as {missing[0]}"
        raise DataError(f"{request.data}: expected {frames}; {needs}")
    folder, test, facts = _written(request, whole, stand_in="none", tools=tools)
    scissors = [test.samples[rows[0]].subject in ("test5", "test6") for rows in test.by_image()]
    return Bench(folder, test, _subsets(scissors), facts)


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


def _subsets(scissors: Sequence[bool]) -> dict[str, list[int]]:
    every = list(range(len(scissors)))
    plain, busy = ([i for i in every if scissors[i] is seen] for seen in (False, True))
    return {"no scissors": plain, "with scissors": busy, "all": every}


def _written(request: Request, whole: LandmarkDataset, **facts: str) -> tuple[Path, LandmarkDataset, dict[str, Any]]:
    """The set with validation images as a native folder with links to the images (one that is there is kept), its test
    images, and the number of images of each split."""
    data, folder = with_validation(whole), request.out / "data"
    request.open_folder(**facts)
    if not (folder / "dataset.yaml").is_file():
        data.save(folder, images="link", overwrite=True)
    counts = {name: len(data.only(name).by_image()) for name in ("train", "val", "test")}
    return folder, LandmarkDataset.load(folder, split="test"), {"set": whole.name, **counts}
