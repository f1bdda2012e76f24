"""dlib's shape predictor (Kazemi and Sullivan, CVPR 2014), trained on the same images: the baseline on faces.

dlib is an extra (``pip install "trigpoint[dlib]"``). It reads and finds whole pixels; the whole image is its box, as it
is our input. Images that lack landmarks are learned from as well.
"""

import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.data.pixels.images import read_image
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.measures import Job, Outcome
from trigpoint.experiments.study import Request
from trigpoint.experiments.task import write_array
from trigpoint.landmarks import FloatArray, Sample
from trigpoint.metrics import radial_error
from trigpoint.runs import RunFolder

WITHOUT = "the baseline dlib is missing: it is not installed, pip install 'trigpoint[dlib]'"
SETTINGS = {
    "tree_depth": 3, "cascade_depth": 20, "nu": 0.08, "num_trees_per_cascade_level": 500, "feature_pool_size": 700,
    "random_seed": "0",
}  # fmt: skip
"""Those of ml-morph (Porto and Voje 2020, doi 10.1111/2041-210X.13373), made for few images; beside them each image is
used up to 200 times, so that there are 10,000 or more."""


def wanted(choice: str) -> bool:
    """Whether the option ``dlib`` asks for the baseline: ``auto`` does where dlib is installed.

    Raises ConfigError when it is asked for and not there.
    """
    there = find_spec("dlib") is not None
    if choice == "yes" and not there:
        raise ConfigError("dlib=yes: expected dlib, which is not installed; pip install 'trigpoint[dlib]'")
    return there and choice != "no"


def baseline(request: Request, folder: Path, test: LandmarkDataset) -> Outcome:
    """Train on the splits train and val of ``folder``, measure on ``test``.

    What is found stays in ``out/dlib`` and is read again. Raises DataError when a landmark is in no training image.
    """
    out = request.out / "dlib"
    about, found = out / "about.yaml", out / "points.npy"
    if not about.is_file():
        points, facts = _train(request, folder, test)
        write_array(found, points)
        write_text(about, to_yaml(facts))  # last: its presence says that it is whole
    values: dict[str, Any] = read_yaml(about)
    points = np.load(found, allow_pickle=False)
    job = Job(f"dlib {values['version']} shape predictor", {}, {}, 0)
    history = pd.DataFrame({"epoch": [0], "minutes": [float(values["minutes"])]})
    return Outcome(job, RunFolder(out), points, radial_error(points, test.points), history, test=test)


def _train(request: Request, folder: Path, test: LandmarkDataset) -> tuple[FloatArray, dict[str, Any]]:
    import dlib

    data = LandmarkDataset.load(folder)
    learned = [data.only(name) for name in ("train", "val") if name in data.splits()]
    samples = [sample for part in learned for sample in part.samples if np.isfinite(sample.points).any()]
    never = np.array(data.landmarks.names)[~np.any([np.isfinite(s.points).all(-1) for s in samples], axis=0)]
    if not samples or len(never):
        missing = f"none of {never[0]}" if len(never) else "none at all"
        raise DataError(f"{folder}: expected training images of every landmark, got {missing}; leave dlib out: dlib=no")
    options = dlib.shape_predictor_training_options()
    settings = {"oversampling_amount": min(200, max(20, 10_000 // len(samples)))} | SETTINGS
    for key, value in settings.items():
        setattr(options, key, value)
    options.num_threads = 1 if (request.jobs or 1) > 1 else torch.get_num_threads()
    request.say(f"dlib: learns from {len(samples)} images, {settings['oversampling_amount']} times each")
    out = request.out / "dlib"
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        table = write_xml(Path(scratch), samples)
        start = time.perf_counter()
        dlib.train_shape_predictor(str(table), str(out / "predictor.dat"), options)
        minutes = (time.perf_counter() - start) / 60
    predictor = dlib.shape_predictor(str(out / "predictor.dat"))
    points = np.stack([_points(predictor, pixels(sample.image)) for sample in test.samples])
    facts = {"images": len(samples), "minutes": minutes, "threads": options.num_threads, "settings": settings}
    return points, {**facts, "version": str(dlib.__version__)}


def write_xml(folder: Path, samples: Sequence[Sample]) -> Path:
    """dlib's own table, in which landmarks that are missing are left out, beside the images."""
    root = ElementTree.Element("dataset")
    images = ElementTree.SubElement(root, "images")
    for i, sample in enumerate(samples):
        values = pixels(sample.image)
        Image.fromarray(values).save(folder / f"{i}.png", compress_level=1)
        image = ElementTree.SubElement(images, "image", file=f"{i}.png")
        extent = {"top": "0", "left": "0", "width": str(values.shape[1]), "height": str(values.shape[0])}
        box = ElementTree.SubElement(image, "box", extent)
        for k in np.flatnonzero(np.isfinite(sample.points).all(-1)):  # dlib sorts parts by name
            x, y = (str(int(each)) for each in np.rint(sample.points[k]))
            ElementTree.SubElement(box, "part", name=f"{k:04d}", x=x, y=y)
    ElementTree.ElementTree(root).write(folder / "landmarks.xml")
    return folder / "landmarks.xml"


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    """An image as dlib takes it: (H, W) or (H, W, 3), 8 bits."""
    image = read_image(path)
    values = image.pixels
    if values.dtype != np.uint8:
        low, high = image.value_range
        stretched = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-12))
        values = np.rint(stretched).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))


def _points(predictor: Any, image: npt.NDArray[np.uint8]) -> FloatArray:
    import dlib

    box = dlib.rectangle(0, 0, image.shape[1] - 1, image.shape[0] - 1)
    return np.array([(point.x, point.y) for point in predictor(image, box).parts()], dtype=np.float64)
