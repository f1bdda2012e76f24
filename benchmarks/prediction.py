"""What one prediction costs, measured in a process of its own: ``python -m benchmarks.prediction CASE`` with JSON.

A process of its own has a peak of memory of its own, and none of what earlier measurements left in caches. The networks
are not trained: what a prediction costs does not depend on the weights.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trigpoint.data.tiled import open_tiled
from trigpoint.data.tiled.pyramid import LazyPyramid
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import FoveatedMethod, build_method
from trigpoint.prediction import Predictor
from trigpoint.recipe import Recipe

LONG = 20.0  # seconds: a prediction that took longer is measured once
START = 30.0  # seconds of the processor for a process to begin in
FULL = ("alloc", "memory", "Memory")  # words by which PyTorch and oneDNN say that there is none left


@dataclass(frozen=True)
class Case:
    """A prediction: of a drawn image of ``size`` (H, W), or of the tiled file ``tiled`` of that size.

    ``rounds`` predictions follow a first one that warms up. ``batch`` above 1: compare what is found in so many images
    at once with each alone. ``memory_gb``, ``seconds``: more is not a measurement but a reason, see ``measure``.
    """

    method: dict[str, Any]
    size: tuple[int, int]
    landmarks: int = 19
    threads: int = 1
    rounds: int = 3
    batch: int = 1
    tiled: str | None = None
    memory_gb: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Cost:
    """Median seconds of a prediction and of its ``parts``, the peak of memory (MB) of the process, and before it.

    With one thread seconds are those that the processor worked, which other programs on the machine hardly change;
    ``wall`` is how long it took. ``difference`` (px): the largest between one of a batch and the same alone.
    """

    seconds: float
    wall: float
    parts: dict[str, float]
    peak_mb: float
    before_mb: float
    looks: int  # landmarks x levels x iterations: patches that the network saw; 0 for heatmaps
    levels: int
    difference: float | None = None
    tiles: int | None = None  # read from the file


def measure(case: Case) -> Cost | str:
    """The cost of a case, or why it has none: "more than 16 GB", "more than 120 s".

    Raises RuntimeError with what the process said when it failed in any other way.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads), "MKL_NUM_THREADS": str(case.threads)}
    command = [sys.executable, "-m", "benchmarks.prediction", json.dumps(asdict(case))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True)
    if done.returncode == -signal.SIGXCPU:
        return f"more than {case.seconds:g} s"
    if done.returncode:
        if case.memory_gb is not None and any(word in done.stderr for word in FULL):
            return f"more than {case.memory_gb:g} GB"
        raise RuntimeError(f"measurement of {case} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    cost = Cost(**json.loads(done.stdout.splitlines()[-1]))
    return f"more than {case.seconds:g} s" if case.seconds is not None and cost.seconds > case.seconds else cost


class Watch:
    """Sums the seconds that wrapped functions take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.parts: dict[str, float] = {}

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to a part."""

        def timed(*args: Any, **options: Any) -> Any:
            start = self.clock()
            result = function(*args, **options)
            self.parts[part] = self.parts.get(part, 0.0) + self.clock() - start
            return result

        return timed

    def watch(self, predictor: Predictor) -> None:
        """Take the time of the parts of every prediction."""
        method: Any = predictor.method
        pipeline: Any = self.wrap("preparation", predictor.pipeline)
        predictor.pipeline = pipeline
        if isinstance(method, FoveatedMethod):
            places: list[tuple[Any, str, str]] = [(method, "source", "pyramid"), (method, "look", "glimpses")]
            places.append((method.used, "by_parts", "network"))
        else:
            places = [(method, "outputs", "network"), (method, "decode_output", "decoding")]
        for owner, name, part in places:
            setattr(owner, name, self.wrap(part, getattr(owner, name)))


def predictor_of(case: Case) -> Predictor:
    """A predictor with untrained weights whose guesses begin all over the image."""
    landmarks = LandmarkSet(tuple(f"point {k}" for k in range(case.landmarks)))
    values = {"name": "benchmark", "data": {"path": "none", "input": {"size": case.size}}, "method": case.method}
    recipe = Recipe.model_validate(values)
    torch.manual_seed(0)
    method = build_method(recipe, landmarks)
    if isinstance(method, FoveatedMethod):
        share = 0.1 + 0.8 * torch.rand(case.landmarks, 2)
        method.set_start(share * torch.tensor(case.size[::-1]), torch.ones(case.landmarks, 2))
    return Predictor(method, recipe, landmarks, np.full(case.landmarks, np.nan), "cpu")


def cost(case: Case) -> Cost:
    """Predict in this process; whoever wants the peak of memory calls ``measure``."""
    torch.set_num_threads(case.threads)
    watch = Watch(time.process_time if case.threads == 1 else time.perf_counter)
    predictor = predictor_of(case)
    watch.watch(predictor)
    method: Any = predictor.method
    levels = method.levels if isinstance(method, FoveatedMethod) else 0
    looks = case.landmarks * levels * method.options.iterations if levels else 0
    images = [] if case.tiled else [torch.from_numpy(drawn(case.size, seed)) for seed in range(case.batch)]
    tiles: list[int] = []

    def predict() -> Any:
        if case.tiled is None:
            return predictor.predict(images[0])
        with open_tiled(case.tiled) as image:
            lazy: Any = watch.wrap("pyramid", LazyPyramid)
            source = lazy(image, case.size, predictor.recipe.data.input, method.levels)
            found = method.find(source, method.mean_guess(1, torch.device("cpu")), source.to_original[None])
            tiles.append(image.tiles_read)
        return found

    before = peak_mb()
    taken: list[tuple[float, float, dict[str, float]]] = []
    while len(taken) <= case.rounds and (not taken or taken[0][0] < LONG):
        watch.parts.clear()
        start, wall = watch.clock(), time.perf_counter()
        predict()
        taken.append((watch.clock() - start, time.perf_counter() - wall, dict(watch.parts)))
    peak = peak_mb()
    taken = taken[1:] or taken
    return Cost(
        seconds=statistics.median(seconds for seconds, _, _ in taken),
        wall=statistics.median(wall for _, wall, _ in taken),
        parts={part: statistics.median(parts[part] for _, _, parts in taken) for part in taken[0][2]},
        peak_mb=peak,
        before_mb=before,
        looks=looks,
        levels=levels,
        difference=_difference(predictor, images) if case.batch > 1 else None,
        tiles=tiles[0] if tiles else None,
    )


def _difference(predictor: Predictor, images: list[torch.Tensor]) -> float:
    together = predictor.predict(list(images), batch_size=len(images)).points
    alone = np.concatenate([predictor.predict(image).points for image in images])
    return float(np.linalg.norm(together - alone, axis=-1).max())


def drawn(size: tuple[int, int], seed: int = 0, top: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Waves and a little noise, uint8 (1, H, W), from row ``top`` of the picture on."""
    height, width = size
    rows = 60 * np.sin(np.arange(top, top + height) / 211)[:, None]
    columns = 60 * np.cos(np.arange(width) / 173)[None]
    noise = np.random.default_rng((seed, top)).integers(0, 8, size, dtype=np.uint8)
    return ((rows + 124).astype(np.uint8) + columns.astype(np.int8).astype(np.uint8) + noise)[None]


def peak_mb() -> float:
    """The most memory this process ever held, in MB."""
    try:
        # not ru_maxrss, which on Linux begins at what the process that started this one held
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _limit(kind: int, most: float) -> None:
    resource.setrlimit(kind, (int(most), resource.getrlimit(kind)[1]))


def main(text: str) -> None:
    """Measure the case and print its cost."""
    values = json.loads(text)
    case = Case(**{**values, "size": tuple(values["size"])})
    if case.memory_gb is not None:
        _limit(resource.RLIMIT_DATA, case.memory_gb * 2**30)
    if case.seconds is not None:
        _limit(resource.RLIMIT_CPU, max(case.seconds, (case.rounds + 1) * LONG) * case.threads + START)
    print(json.dumps(asdict(cost(case))))


if __name__ == "__main__":
    main(sys.argv[1])
