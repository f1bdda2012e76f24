"""A user's copy of 300-W: is it complete, and as a native dataset of face crops.

Expected below one folder, images beside their ``.pts`` files: ``afw``, ``helen/trainset``, ``helen/testset``,
``lfpw/trainset``, ``lfpw/testset``, ``ibug``. Training: AFW and the two training sets; common: the two test sets;
challenging: IBUG; full: both together.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data.files import write_bytes, write_text
from trigpoint.data.formats.base import default_names
from trigpoint.data.formats.pts import Pts
from trigpoint.data.input.augment import as_tensor
from trigpoint.data.pixels.images import SUFFIXES, read_image
from trigpoint.data.table import write_table
from trigpoint.errors import DataError
from trigpoint.experiments.study import Say
from trigpoint.geometry import Affine, center, warp
from trigpoint.landmarks import FloatArray, LandmarkSet, Normalizer, Sample

FOLDERS: Mapping[str, tuple[str, int]] = {  # folder: (split, number of images)
    "afw": ("train", 337),
    "helen/trainset": ("train", 2000),
    "lfpw/trainset": ("train", 811),
    "helen/testset": ("common", 330),
    "lfpw/testset": ("common", 224),
    "ibug": ("challenging", 135),
}
COUNTS: Mapping[str, int] = {folder: count for folder, (_, count) in FOLDERS.items()}
SIDE = 256  # of the crops
MARGIN = 0.15  # of the landmark box's larger side, on every side
DONE = "prepared.yaml"

_NAMES = default_names(68)
_PAIRS = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((31, 35), (32, 34)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)),
)
_GROUPS = {"jaw": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}
LANDMARKS = LandmarkSet(
    _NAMES,
    tuple((_NAMES[a], _NAMES[b]) for a, b in _PAIRS),
    {group: _NAMES[start:end] for group, (start, end) in _GROUPS.items()},
    Normalizer("inter_ocular_outer", between=(_NAMES[36], _NAMES[45])),
)


class Layout(NamedTuple):
    """What a folder holds: samples of each expected folder, and how their numbers differ from 300-W's."""

    samples: Mapping[str, tuple[Sample, ...]]
    differences: tuple[str, ...]


def check_layout(root: Path, counts: Mapping[str, int] | None = COUNTS) -> Layout:
    """Read all annotations below ``root``.

    Raises DataError that lists every folder and image that is missing. Numbers of images that differ from ``counts``
    (None: any will do) are returned, not raised: copies of 300-W differ by a few.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected the folder of 300-W, got none; check --data")
    missing = []
    for folder, count in COUNTS.items():
        files = sorted((root / folder).rglob("*"))
        images = {file.with_suffix("") for file in files if file.suffix.lower() in SUFFIXES}
        marks = [file for file in files if file.suffix == ".pts"]
        missing += [] if marks else [f"{folder}/ (expected {count} images with .pts)"]
        missing += [f"image of {file.relative_to(root)}" for file in marks if file.with_suffix("") not in images]
    if missing:
        shown = "\n".join(f"  {text}" for text in missing[:30])
        more = f"\n  and {len(missing) - 30} more" if len(missing) > 30 else ""
        fix = "Download the parts from https://ibug.doc.ic.ac.uk/resources/300-W/ and put them into these folders"
        raise DataError(f"{root}: 300-W is incomplete, missing:\n{shown}{more}\n{fix}")
    samples = {folder: tuple(Pts(_NAMES).read(root / folder).samples) for folder in COUNTS}
    found = ((folder, count, len(samples[folder])) for folder, count in (counts or {}).items())
    return Layout(samples, tuple(f"{name}: expected {n} images, got {got}" for name, n, got in found if got != n))


def prepare(layout: Layout, target: Path, say: Say) -> Path:
    """Write the face crops of a layout as a native dataset, unless ``target`` holds them complete.

    Each crop is the square around the middle of the face's landmark box, ``MARGIN`` larger on every side, resampled
    once to ``SIDE`` pixels; the points go through the same map. Images are named <folder>-<name>.png.
    """
    counts = {folder: len(members) for folder, members in layout.samples.items()}
    facts = {"side": SIDE, "margin": MARGIN, **counts}
    if (target / DONE).is_file() and read_yaml(target / DONE) == facts:
        return target
    say(f"cropping {sum(counts.values())} faces to {SIDE} x {SIDE} pixels")
    samples, names = [], []
    for folder, members in layout.samples.items():
        for sample in members:
            name = f"{folder.replace('/', '-')}-{sample.image.stem.replace(' ', '_')}.png"
            crop, points = crop_face(sample)
            write_bytes(target / "images" / name, crop, overwrite=True)
            samples.append(Sample(Path(name), points, sample.visibility, FOLDERS[folder][0]))
            names.append(name)
    write_table(target, samples, LANDMARKS, image_names=names, name="300-W crops", overwrite=True)
    write_text(target / DONE, to_yaml(facts), overwrite=True)  # last: an interrupted folder is made anew
    return target


def crop_face(sample: Sample) -> tuple[bytes, FloatArray]:
    """PNG of the face and its points (68, 2) in pixels of that crop."""
    low, high = np.nanmin(sample.points, axis=0), np.nanmax(sample.points, axis=0)
    (x, y), side = ((low + high) / 2).tolist(), float((high - low).max()) * (1 + 2 * MARGIN)
    to_x, to_y = center((SIDE, SIDE))
    to_crop = Affine.shift(to_x - x, to_y - y).then(Affine.scale_about((to_x, to_y), SIDE / side))
    pixels = warp(as_tensor(read_image(sample.image).pixels), to_crop, (SIDE, SIDE), fill="edge")
    values = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(values if values.shape[2] == 3 else values[..., 0]).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue(), to_crop.apply(sample.points)
