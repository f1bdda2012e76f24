"""What to train from a handful of labels: templates in place of a network, which has nothing to generalise from yet."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trigpoint.nn.pretrained import PRETRAINED, at_hand
from trigpoint.recipes import recipe_values
from trigpoint.training.planning.facts import Facts

FEWEST_LABELS = 5
"""Training images up to which templates are taken whatever the time."""
SHORT, FEWEST_IN_SHORT = 3.0, 10
"""Minutes in which a network is no better up to so many training images. Of faces, templates err by 4.2 px with five
labels, and by 4.1 with ten, where a planned training of three minutes on other test images erred by 4.4; with 50 it is
far ahead."""
VIEWS = 60  # augmented views of all images together, some seconds of work
SIDE, MULTIPLE = 192, 32  # longer side of the input, and what its sides are multiples of
WEIGHTS = "lite0"

Part = tuple[str, Any, str]  # dotted key, value, reason


def most_labels(minutes: float) -> int:
    """Training images up to which templates are taken in a training of so many minutes.

    >>> most_labels(2), most_labels(10)
    (10, 5)
    """
    return FEWEST_IN_SHORT if minutes <= SHORT else FEWEST_LABELS


def few_labels(facts: Facts, given: Mapping[str, Any], minutes: float) -> str:
    """Why these data are for templates, in words; empty where they are not, or a method is ``given``.

    They need one of each landmark in an image, shapes that are not turned to all sides or mirrored, and the weights at
    hand.
    """
    unfit = facts.instances is not None or facts.poses.free or facts.poses.mirrored or "method" in given
    most = most_labels(minutes)
    if unfit or facts.images > most or not at_hand(WEIGHTS):
        return ""
    labels = "one labelled image" if facts.images == 1 else f"{facts.images} labelled images"
    return f"{labels}: up to {most}, filters on the features of a pretrained encoder are exact enough, in seconds"


def few_parts(facts: Facts, path: str, why: str) -> Iterator[Part]:
    """The recipe ``template`` fitted to the data, as parts of a plan."""
    recipe = recipe_values("template")
    yield "name", "planned", ""
    yield "data.path", path, ""
    yield (
        "data.input.channels",
        3 if facts.colour else 1,
        f"the images {'have colours' if facts.colour else 'are grey'}",
    )
    longer = max(facts.size)
    size = [max(MULTIPLE, MULTIPLE * math.ceil(SIDE * edge / longer / MULTIPLE - 1e-9)) for edge in facts.size]
    yield "data.input.size", size, f"{SIDE} pixels are enough for features that were learned from small photographs"
    yield "data.input.fit", "letterbox", ""
    for key, value in recipe["data"]["augment"].items():
        yield f"data.augment.{key}", value, ""
    if facts.pairs:
        yield "data.augment.flip", 0.5, "dataset.yaml names the left and right landmarks"
    yield "data.cache", True, ""
    yield "data.workers", 0, ""
    found = PRETRAINED[WEIGHTS]
    yield "method", {"name": "template", "encoder": found.encoder, "weights": WEIGHTS}, why
    epochs = max(4, round(VIEWS / facts.images))
    yield "train.epochs", epochs, f"each adds a view of {'the image' if facts.images == 1 else 'each image'}"
    yield "train.val_every", epochs, "nothing is chosen on the way"
    yield "train.batch_size", recipe["train"]["batch_size"], ""
