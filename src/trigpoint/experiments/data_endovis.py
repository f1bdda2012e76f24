"""The sets of the experiment ``endovis``: the challenge's frames from the user, or what stands in for them.

Frames of a video are alike, so images for validation are never drawn at random: they are the end of each training
video, with a gap before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
_WANTED = (
    "the labels are the *_labels.json of EndoVisPoseAnnotation (Du et al. 2018), the frames belong to the EndoVis 2015 "
    "instrument challenge (Tracking_Robotic_Training and Tracking_Robotic_Testing); put both into one folder and give "
    "--data FOLDER, or take stand_in=synthetic, or stand_in=laparoscopy with --data"
)


@dataclass(frozen=True)
class Bench:
    """``folder``: the native set to learn from, with the splits train, val and test. ``test``: its test images, and
    ``subsets`` the positions of its images, by name. ``scissors``: points (S, K, 2) of unlabelled tools by image name.
    ``about``: what the set is, in words."""

    folder: Path
    test: LandmarkDataset
    subsets: dict[str, list[int]]
    about: str
    scissors: dict[str, FloatArray]


def drawn(request: Request, count: int, size: Sequence[int], draw: Callable[[], Path]) -> Bench:
    """Drawn instruments; half of the test images show scissors as well, which no training image does."""
    if request.data is not None:
        raise ConfigError(f"{request.name}: stand_in=synthetic draws its own images, got --data; leave one of them out")
    request.open_folder(stand_in="synthetic", count=count, size=list(size))
    folder = draw()
    test = LandmarkDataset.load(folder, split="test")
    names = test.landmarks.names
    table = pd.read_csv(folder / "distractors.csv") if (folder / "distractors.csv").is_file() else pd.DataFrame()
    found: dict[str, FloatArray] = {}
    if len(table):
        for name, rows in table.groupby("image"):
            columns = [f"{landmark}_{axis}" for landmark in names for axis in "xy"]
            found[str(name)] = rows[columns].to_numpy(dtype=np.float64).reshape(len(rows), len(names), 2)
    images = [test.image_name(test.samples[rows[0]]) for rows in test.by_image()]
    subsets = _subsets([name in found for name in images])
    about = (
        f"{count} drawn laparoscopy frames of {size[1]} x {size[0]} with up to three instruments; scissors, which "
        f"carry no label and are in no training image, are in {len(subsets['with scissors'])} of {len(images)} test "
        "images"
    )
    return Bench(folder, test, subsets, about, found)


def laparoscopy(request: Request) -> Bench:
    """Frames of one real video with up to two instruments each, in the native format."""
    if request.data is None:
        raise ConfigError(f"{request.name}: stand_in=laparoscopy expected a native set with instances; give --data")
    whole = LandmarkDataset.load(request.data)
    if not whole.instances:
        raise DataError(
            f"{request.data}: expected a multi-instance set (instances: true), got one instance per image; see the docs"
        )
    for split in ("train", "test"):
        whole.only(split)  # raises with the splits that exist
    blocked = with_validation(whole)
    folder = _written(request, blocked, stand_in="laparoscopy")
    test = LandmarkDataset.load(folder, split="test")
    everything = list(range(len(test.by_image())))
    counts = {name: len(blocked.only(name).by_image()) for name in ("train", "val", "test")}
    about = (
        f"Dataset {whole.name}: {counts['train']} training, {counts['val']} validation and {counts['test']} test "
        f"images. {_said(counts['val'])} Test frames may follow the training frames of the same video: this measures "
        "whether several instances are found and kept apart, not how the method fares with new patients"
    )
    return Bench(folder, test, {"all": everything}, about, {})


def challenge(request: Request, tools: str) -> Bench:
    """EndoVis 2015 from the user's labels and frames."""
    if request.data is None:
        raise ConfigError(f"{request.name}: expected the EndoVis 2015 frames and labels, got no --data; {_WANTED}")
    if not any(Path(request.data).rglob("*_labels.json")):
        raise DataError(f"{request.data}: expected label files *_labels.json, got none; {_WANTED}")
    whole = EndoVis(tools).read(_label_folder(request.data), request.data).pick(CLASPERS)
    missing = sorted({str(s.image) for s in whole.samples if not s.image.is_file()})
    if missing:
        total = len(whole.by_image())
        raise DataError(
            f"{request.data}: expected {total} annotated frames, {len(missing)} of them are missing, such as "
            f"{missing[0]}; {_WANTED}"
        )
    blocked = with_validation(whole)
    folder = _written(request, blocked, stand_in="none", tools=tools)
    test = LandmarkDataset.load(folder, split="test")
    subjects = [test.samples[rows[0]].subject for rows in test.by_image()]
    counts = {name: len(blocked.only(name).by_image()) for name in ("train", "val", "test")}
    about = (
        f"EndoVis 2015, tools '{tools}': {counts['train']} training, {counts['val']} validation and {counts['test']} "
        f"test frames. {_said(counts['val'])} Test sequences 5 and 6 show curved scissors, which no training frame does"
    )
    return Bench(folder, test, _subsets([name in ("test5", "test6") for name in subjects]), about, {})


def with_validation(data: LandmarkDataset, share: float = VAL_SHARE, gap: int = GAP) -> LandmarkDataset:
    """The last ``share`` of the training images of each subject as split ``val``, the ``gap`` images before left out.

    Validation images get a subject of their own. A set that has a split ``val`` is left as it is. Raises DataError when
    too few images remain.
    """
    if "val" in data.splits():
        return data
    of_subject: dict[str, list[tuple[int, ...]]] = {}
    for rows in data.by_image():
        if data.samples[rows[0]].split == "train":
            of_subject.setdefault(data.samples[rows[0]].subject, []).append(rows)
    samples: list[Sample] = []
    for subject, images in of_subject.items():
        ordered = sorted(images, key=lambda rows: data.samples[rows[0]].image.name)
        held = max(1, round(share * len(ordered)))
        learned = len(ordered) - held - gap
        if learned < 1:
            raise DataError(
                f"{data.name}: expected more than {held + gap} training images of '{subject}', got {len(ordered)}; "
                "give the set a split 'val'"
            )
        samples += [data.samples[row] for rows in ordered[:learned] for row in rows]
        for rows in ordered[-held:]:
            samples += [replace(data.samples[row], split="val", subject=f"{subject} (end)") for row in rows]
    test = data.only("test")
    subjects = {subject for subject in of_subject if subject}
    samples += [
        replace(s, subject=f"{s.subject} (test)") if s.subject in subjects else s for s in test.samples
    ]  # a video that goes on among the test images
    return LandmarkDataset(
        samples,
        data.landmarks,
        name=data.name,
        images=data.images,
        spacing_mm=data.spacing_mm,
        instances=True,
    )


def _said(held: int) -> str:
    return (
        f"No validation by subject is possible within a video: the last {100 * VAL_SHARE:.0f} % of its training frames "
        f"({held} in all) choose the weights, {GAP} frames before them are left out."
    )


def _subsets(scissors: Sequence[bool]) -> dict[str, list[int]]:
    return {
        "no scissors": [i for i, shown in enumerate(scissors) if not shown],
        "with scissors": [i for i, shown in enumerate(scissors) if shown],
        "all": list(range(len(scissors))),
    }


def _written(request: Request, data: LandmarkDataset, **facts: str) -> Path:
    """The set as a native folder with links to the images; one that is there is kept."""
    request.open_folder(**facts)
    folder = request.out / "data"
    if not (folder / "dataset.yaml").is_file():
        data.save(folder, images="link", overwrite=True)
    return folder


def _label_folder(root: Path) -> Path:
    """The folder that holds the label files; raises DataError when they lie in several."""
    folders = sorted({file.parent for file in Path(root).rglob("*_labels.json")})
    if len(folders) > 1:
        raise DataError(f"{root}: expected all *_labels.json in one folder, got {len(folders)}; move them together")
    return folders[0]
