"""How large the input is and how long is learned: what fits into the time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from trigpoint.errors import ConfigError
from trigpoint.training.planning.facts import Facts
from trigpoint.training.planning.region import View
from trigpoint.training.planning.speed import Speed

MULTIPLE = 32  # sides of the input: the encoder halves five times
SMALLEST = 96  # longer side of an input
STEPS = {"pretrained": 700, "scratch": 2000}  # optimizer steps that a training should have before its input grows
MOST = 20  # times as many steps as that: more are not needed
ACTIVATIONS, SHARE_OF_MEMORY = 1300, 0.6  # bytes that a step keeps of an input pixel (lite0), and what they may take
FEWEST = 60  # steps below which nothing is learned
SPARE = 1.3  # times what these need: a step takes longer at another moment
PASSES, SHARE_OF_VALIDATION = 10, 0.1  # how often the validation images are looked at, and for how much of the time
OBJECT = 16  # input pixels that an object of a multi-instance set should have
FINER = 2.5  # times the wanted steps: then there is time for maps of twice the resolution
FINER_COSTS = 1.5  # times the seconds of a step that these take, measured on one core with lite0


@dataclass(frozen=True)
class Budget:
    """What ``seconds`` are enough for: optimizer steps, and looks at the validation images.

    ``fetch``: seconds in which a batch is made ready, by other processes meanwhile (``beside``) or between the steps.
    ``views``: how often the network looks at an image to predict.
    """

    seconds: float
    facts: Facts
    speed: Speed
    batch: int
    fetch: float = 0.0
    beside: bool = True
    views: int = 1

    def of(self, batch: int) -> Budget:
        """The same with batches of another size."""
        return replace(self, batch=batch, fetch=self.fetch * batch / self.batch)

    def step(self, size: tuple[int, int]) -> float:
        """Seconds of an optimizer step with its batch."""
        return self._with_its_images(self.speed.step(*size, self.batch), self.fetch)

    def _with_its_images(self, alone: float, fetch: float) -> float:
        return max(alone, fetch) if self.beside else alone + fetch

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether a step with such inputs has enough memory, that of the GPU where there is one."""
        machine = self.facts.machine
        free = machine.gpu_memory if machine.gpu else machine.memory
        return self.batch * size[0] * size[1] * ACTIVATIONS <= SHARE_OF_MEMORY * free

    def look(self, size: tuple[int, int]) -> float:
        """Seconds of one round of the validation images."""
        each = self._with_its_images(self.views * self.speed.predict(*size, self.batch), self.fetch / self.batch)
        return each * max(1, self.facts.validation)

    def passes(self, size: tuple[int, int]) -> int:
        """How often the validation images are looked at."""
        return int(min(PASSES, max(1, SHARE_OF_VALIDATION * self.seconds / max(self.look(size), 1e-9))))

    def steps(self, size: tuple[int, int]) -> int:
        """Optimizer steps beside these looks and the one that calibrates."""
        return max(0, int((self.seconds - self.looks(size)) / self.step(size)))

    def looks(self, size: tuple[int, int]) -> float:
        """Seconds of all rounds of the validation images, the one that calibrates included."""
        return (1 + self.passes(size)) * self.look(size)


@dataclass(frozen=True)
class Resolution:
    """The input (H, W), the stride of the maps, the optimizer steps that fit into the time, and why.

    ``limited``: more resolution would be of use, but there is no time for it.
    """

    size: tuple[int, int]
    stride: int
    steps: int
    why: str
    limited: bool


def resolution(
    budget: Budget,
    view: View,
    wanted: int,
    minutes: float,
    given: tuple[int, int] | None = None,
    stride: int = 4,
    finer: bool = True,
) -> Resolution:
    """The largest input with which ``wanted`` steps fit into the time, at most that of the images.

    ``given``: it is chosen already. ``finer``: maps of twice the resolution may be
    taken. Raises ConfigError when there is not even time for ``FEWEST`` steps.
    """
    facts = budget.facts
    native = max(SMALLEST, MULTIPLE * math.ceil(view.longer / MULTIPLE))
    useful, noisy = _useful(facts, view, stride)
    top = min(native, max(useful, SMALLEST))
    fits = _object_side(facts, view, top)
    full = False
    for side in range(fits, top + 1, MULTIPLE):
        shape = view.shape(side, MULTIPLE)
        full = not budget.fits(shape)
        if full or budget.steps(shape) < wanted:
            break
        fits = side
    while fits > SMALLEST and not budget.fits(view.shape(fits, MULTIPLE)):  # objects would need more than there is
        fits -= MULTIPLE
    size = given or view.shape(fits, MULTIPLE)
    chosen, steps, each = max(size), budget.steps(size), budget.step(size)
    if steps < FEWEST:
        raise ConfigError(_too_short(budget, size, steps, minutes))
    why = f"the largest with which about {wanted} steps fit into the time (a step takes {each:.2f} s here)"
    if steps < 0.9 * wanted:
        why = f"the smallest, with {steps} steps in the time; {wanted} would be better: give more --minutes"
    elif chosen >= native:
        why = "the images' own resolution"
    elif full and given is None:
        why = f"the largest with which {budget.batch} images fit into the memory"
    elif chosen >= useful:
        why = noisy
    cell = stride * view.longer / chosen
    near = math.isfinite(facts.neighbour) and cell > facts.neighbour / 4
    if finer and stride == 4 and near and chosen >= min(native, useful) and steps >= FINER * wanted:
        steps, stride, cell = int(steps / FINER_COSTS), 2, cell / 2
        why += f"; maps of half of it, for landmarks are {facts.neighbour:.0f} pixels apart and there is time"
    if math.isfinite(facts.neighbour) and cell > facts.neighbour / 4:
        why += f"; a cell of the map is {cell:.1f} pixels, coarse for landmarks {facts.neighbour:.0f} pixels apart"
    extent = facts.extent * max(facts.size) / view.longer * chosen
    if facts.instances is not None and 0 < extent < OBJECT:
        why += f"; objects are {extent:.0f} pixels there, fewer than {OBJECT}: more minutes will help"
    return Resolution(size, stride, min(steps, MOST * wanted), why, chosen < min(native, useful))


def _too_short(budget: Budget, size: tuple[int, int], steps: int, minutes: float) -> str:
    each = budget.step(size)
    rest = 60 * minutes - budget.seconds + budget.looks(size)
    share = budget.seconds / (60 * minutes)  # of the time that is for learning
    wanted = SPARE * (FEWEST * each + budget.looks(size))
    enough = math.ceil(max((wanted + 60 * minutes - budget.seconds) / 60, wanted / 60 / share))
    return (
        f"--minutes {minutes:g}: expected time for at least {FEWEST} steps, got {steps} (a step of {budget.batch} "
        f"images of {size[1]} x {size[0]} pixels takes {each:.2f} s here, start and validation {rest:.0f} s); give "
        f"--minutes {max(enough, math.floor(minutes) + 1)}"
    )


def _useful(facts: Facts, view: View, stride: int) -> tuple[int, str]:
    """The side beyond which a cell of the map is smaller than half of what two labels differ by, and that in words."""
    if not math.isfinite(facts.noise) or facts.noise <= 0:
        return 10**9, ""
    side = MULTIPLE * math.ceil(2 * stride * view.longer / facts.noise / MULTIPLE)
    return side, f"two labels of the same point are {facts.noise:.1f} pixels apart: a finer map would show no more"


def _object_side(facts: Facts, view: View, top: int) -> int:
    """The smallest side that is tried: of a multi-instance set one in which an object has ``OBJECT`` pixels."""
    if facts.instances is None or not facts.extent:
        return SMALLEST
    needed = OBJECT * view.longer / (facts.extent * max(facts.size))
    return int(min(top, max(SMALLEST, MULTIPLE * math.ceil(needed / MULTIPLE))))
