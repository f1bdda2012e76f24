"""What one image takes with an exported model and with dlib's shape predictor, on one core.

``python -m benchmarks.beside_dlib MODEL DATA [--split test] [--images 60]``: milliseconds of the processor, decoding of
the image file apart. dlib learns from a few of the images with the settings of our baseline: how long it takes depends
on its trees and on the number of landmarks, which are those of DATA, and not on what they hold.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when the libraries are loaded

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import read_image
from trigpoint.experiments.baseline import SETTINGS, pixels, write_xml
from trigpoint.prediction import load_predictor

LEARNED = 20  # images that dlib learns from here
ROUNDS = 5


def milliseconds(work: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """The median over rounds of the processor's time for an item."""
    work(items[0])
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for item in items:
            work(item)
        taken.append(1000 * (time.process_time() - began) / len(items))
    return statistics.median(taken)


def dlib_predictor(data: LandmarkDataset) -> Callable[[Any], Any]:
    """A function that finds the landmarks of an image by dlib."""
    import dlib

    options = dlib.shape_predictor_training_options()
    for key, value in {**SETTINGS, "oversampling_amount": 20}.items():
        setattr(options, key, value)
    options.num_threads = 1
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "predictor.dat"
        dlib.train_shape_predictor(str(write_xml(Path(scratch), data.samples[:LEARNED])), str(file), options)
        predictor = dlib.shape_predictor(str(file))
    return lambda values: predictor(values, dlib.rectangle(0, 0, values.shape[1] - 1, values.shape[0] - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=60)
    given = parser.parse_args()
    data = LandmarkDataset.load(given.data, split=given.split).limit(given.images)
    model, images = load_predictor(given.model), [read_image(sample.image) for sample in data.samples]
    files = [sample.image for sample in data.samples]
    print(f"{len(images)} images, {len(data.landmarks)} landmarks, one core; milliseconds of the processor an image")
    print(f"  decoding the file  {milliseconds(read_image, files):7.2f}")
    print(f"  {given.model.name:17s}  {milliseconds(model.predict, images):7.2f}")
    values = [pixels(file) for file in files]
    print(f"  dlib               {milliseconds(dlib_predictor(data), values):7.2f}")


if __name__ == "__main__":
    main()
