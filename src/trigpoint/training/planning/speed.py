"""How long a training step takes on this machine, measured with the network that will be trained."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch

from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import build_method
from trigpoint.recipe import Recipe
from trigpoint.training.optimizers import fast_precision, keep_freed_memory

FEWEST, TIMED, LONGEST = 4, 7, 12.0  # steps that are timed: at least, and as many as that in so many seconds
BESIDES = 1.08  # optimizer, averages and records, as measured beside the bare step


@dataclass(frozen=True)
class Speed:
    """Seconds of a step: ``start`` and so many per pixel of a batch."""

    start: float
    per_pixel: float

    def step(self, height: int, width: int, batch: int) -> float:
        """Seconds of a training step with inputs of this size."""
        return self.start + self.per_pixel * height * width * batch

    def predict(self, height: int, width: int, batch: int) -> float:
        """Seconds of an image in validation: a step without its backward pass, two fifths of it as measured."""
        return 0.4 * self.step(height, width, batch) / batch

    def times(self, factor: float) -> "Speed":
        """Of a network that takes so many times as long."""
        return Speed(factor * self.start, factor * self.per_pixel)


SIDES = (96, 224)  # of the square inputs that are timed before a size is chosen


def near(size: tuple[int, int]) -> tuple[int, int]:
    """Sides of square inputs to time where the input may be of this size (H, W): larger ones take more than their
    share, for they leave the caches.

    >>> near((640, 576))
    (96, 608)
    """
    return SIDES[0], 32 * max(4, round(math.sqrt(size[0] * size[1]) / 32))


def measure(recipe: Callable[[int], Recipe], landmarks: LandmarkSet, sides: tuple[int, int] = SIDES) -> Speed:
    """Time training steps of a recipe with square inputs of two sizes, and draw a line through both.

    Other work on the machine makes single steps slow: of some the fastest counts, and the time that does not grow with
    the input is at most half of a step with the smaller one.
    """
    seconds, pixels = [], []
    for side in sides:
        chosen = recipe(side)
        seconds.append(_step(chosen, landmarks, side))
        pixels.append(side * side * chosen.train.batch_size)
    slope = (seconds[1] - seconds[0]) / (pixels[1] - pixels[0])
    start = min(max(seconds[0] - slope * pixels[0], 0.0), seconds[0] / 2)
    return Speed(BESIDES * start, BESIDES * (seconds[1] - start) / pixels[1])


def _step(recipe: Recipe, landmarks: LandmarkSet, side: int) -> float:
    """Seconds of a step, the least of some."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        method = build_method(recipe, landmarks).to(device).train()
        batch = _batch(recipe, len(landmarks), side, device, method.threshold is not None)

    def step() -> None:
        torch.autograd.backward(cast(torch.Tensor, method.training_step(batch, 0)))
        method.zero_grad()

    return timed(step, recipe, device)


def timed(step: Callable[[], None], recipe: Recipe, device: torch.device) -> float:
    """The least seconds of some steps, in the precision of the recipe."""
    keep_freed_memory()  # as the training does
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    half = recipe.train.precision == "auto" and fast_precision() == "bf16-mixed"
    taken = list[float]()
    while len(taken) < FEWEST or (len(taken) < TIMED and sum(taken) < LONGEST):
        begin = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _batch(recipe: Recipe, landmarks: int, side: int, device: torch.device, several: bool) -> Batch:
    count, input = recipe.train.batch_size, recipe.data.input
    images = torch.randn(count, input.channels, side, side, device=device)
    more = (2,) if several else ()
    points = torch.rand(count, *more, landmarks, 2, device=device) * side
    back = torch.eye(3, dtype=torch.float64, device=device)[:2].expand(count, 2, 3)
    known = torch.ones(count, landmarks, dtype=torch.bool, device=device) if several else None
    heights = torch.full((count,), side, device=device) if several else None
    return Batch(images, points, back, torch.arange(count), known, heights)
