"""dlib's shape predictor (Kazemi and Sullivan, CVPR 2014), trained on the same images: the baseline on faces.

dlib is an extra (``pip install "trigpoint[dlib]"``). It reads and finds whole pixels, and learns from images with all
their landmarks only; the whole image is its box, as it is our input.
"""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.data.pixels.images import read_image
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.measures import Job, Outcome
from trigpoint.experiments.study import Request
from trigpoint.experiments.task import write_array
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import radial_error
from trigpoint.runs import RunFolder

WITHOUT = "the baseline dlib is missing: it is not installed, pip install 'trigpoint[dlib]'"
SETTINGS = {"cascade_depth": 12, "oversampling_amount": 10, "random_seed": "0"}
"""What differs from dlib's defaults, 10 stages and 20 copies of each image; nothing was tuned."""


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

    What is found stays in ``out/dlib`` and is read again. Raises DataError when no training image has all landmarks.
    """
    out = request.out / "dlib"
    about, found = out / "about.yaml", out / "points.npy"
    if not about.is_file():
        points, facts = _train(request, folder, test)
        write_array(found, points)
        write_text(about, to_yaml({**facts, "settings": SETTINGS}))  # last: its presence says that it is whole
    values: dict[str, Any] = read_yaml(about)
    points = np.load(found, allow_pickle=False)
    job = Job(f"dlib {values['version']} shape predictor", {}, {}, 0)
    history = pd.DataFrame({"epoch": [0], "minutes": [float(values["minutes"])]})
    return Outcome(job, RunFolder(out), points, radial_error(points, test.points), history, test=test)


def _train(request: Request, folder: Path, test: LandmarkDataset) -> tuple[FloatArray, dict[str, Any]]:
    import dlib

    data = LandmarkDataset.load(folder)
    learned = [data.only(name) for name in ("train", "val") if name in data.splits()]
    samples = [s for part in learned for s in part.samples if (s.visibility > 0).all() and np.isfinite(s.points).all()]
    if not samples:
        raise DataError(f"{folder}: expected training images with all landmarks, got none; leave dlib out: dlib=no")
    request.say(f"dlib: learns from {len(samples)} images")
    images = [pixels(sample.image) for sample in samples]
    shapes = [
        [dlib.full_object_detection(_box(image), [dlib.point(*map(int, p)) for p in np.rint(sample.points)])]
        for image, sample in zip(images, samples, strict=True)
    ]
    options = dlib.shape_predictor_training_options()
    for key, value in SETTINGS.items():
        setattr(options, key, value)
    options.num_threads = 1 if (request.jobs or 1) > 1 else torch.get_num_threads()
    start = time.perf_counter()
    predictor = dlib.train_shape_predictor(images, shapes, options)
    minutes = (time.perf_counter() - start) / 60
    (request.out / "dlib").mkdir(parents=True, exist_ok=True)
    predictor.save(str(request.out / "dlib" / "predictor.dat"))
    points = np.stack([_points(predictor, pixels(sample.image)) for sample in test.samples])
    return points, {"images": len(samples), "minutes": minutes, "version": str(dlib.__version__)}


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    """An image as dlib takes it: (H, W) or (H, W, 3), 8 bits."""
    image = read_image(path)
    values = image.pixels
    if values.dtype != np.uint8:
        low, high = image.value_range
        stretched = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-12))
        values = np.rint(stretched).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))


def _box(image: npt.NDArray[np.uint8]) -> Any:
    import dlib

    return dlib.rectangle(0, 0, image.shape[1] - 1, image.shape[0] - 1)


def _points(predictor: Any, image: npt.NDArray[np.uint8]) -> FloatArray:
    return np.array([(point.x, point.y) for point in predictor(image, _box(image)).parts()], dtype=np.float64)
