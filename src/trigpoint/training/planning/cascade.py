"""Whether glimpses at high resolution follow a coarse U-Net: for images much larger than the input that time allows."""

import math
from typing import Any, cast

import torch

from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.nn.pretrained import PRETRAINED, at_hand
from trigpoint.recipe import Recipe
from trigpoint.training.planning.choices import Choice
from trigpoint.training.planning.facts import Facts
from trigpoint.training.planning.learner import WEIGHTS
from trigpoint.training.planning.resolution import Resolution
from trigpoint.training.planning.speed import BESIDES, timed

COARSER = 4.0  # original pixels to an input pixel, from which on glimpses show what the coarse stage cannot see: below,
# the same time is better spent on a finer U-Net alone (cephalograms in half an hour: docs/results.md)
CANVAS = 1440  # longer side of what glimpses are taken from; more was not better (docs/results.md)
COARSE_SHARE = 0.4  # of the time for the coarse stage
COARSE_POINTS = 0.2  # of the result; chosen on validation images (docs/results.md)
BATCH, ITERATIONS, LEVELS = 4, 2, 3  # images, optimizer steps of each, levels of the pyramid
FINE_STEPS = 600  # optimizer steps below which glimpses are hardly better than where they begin
MOST_STEPS = 6000  # more are not needed
GLIMPSING = 1.3  # times the step of the network: making the glimpses as well
TRIED = 2  # images of the step that is timed without a GPU


def may_help(facts: Facts, coarse: Resolution, longer: float) -> bool:
    """Whether a cascade is worth looking at: one object each, images much finer than the input, and labels finer, too.

    ``longer``: side of what the coarse stage is shown, original pixels.
    """
    each = longer / max(coarse.size)
    exact = not math.isfinite(facts.noise) or facts.noise < coarse.stride * each / 2
    return facts.instances is None and at_hand(WEIGHTS) and each >= COARSER and exact


def fine_options() -> dict[str, Any]:
    """Options of the glimpses: those of examples/cephalograms/cascade.yaml in a fraction of its time."""
    return {
        "shared": True,
        "trunk": PRETRAINED[WEIGHTS].encoder,
        "weights": WEIGHTS,
        "stem_stride": 2,
        "levels": LEVELS,
        "train_iterations": ITERATIONS,
        "train_starts": 1,
        "iterations": 2 * ITERATIONS,
        "scale": 0.08,
        "noise": 0.03,
        "contrast": 0.15,
        "brightness": 0.15,
        "unit": "spread",
        "activation": "leaky_relu",
    }


def glimpse_step(recipe: Recipe, landmarks: LandmarkSet) -> float:
    """Seconds of an optimizer step of the fine stage of the cascade ``recipe`` on this machine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = BATCH if device.type == "cuda" else TRIED
    with torch.random.fork_rng(devices=[]):
        network: Any = build_method(recipe, landmarks).network.to(device).train()
        fine = recipe.method.fine  # type: ignore[attr-defined]
        shape = (images, len(landmarks), fine.levels, recipe.data.input.channels, fine.glimpse, fine.glimpse)
        stacks = torch.randn(shape, device=device)

    def step() -> None:
        torch.autograd.backward(cast(torch.Tensor, network(stacks, network.all)).float().abs().mean())
        network.zero_grad()

    return BESIDES * GLIMPSING * BATCH / images * timed(step, recipe, device)


def canvas(facts: Facts) -> tuple[int, int]:
    """Height and width of what glimpses are taken from: the images' own, at most ``CANVAS``."""
    height, width = facts.size
    factor = min(1.0, CANVAS / max(height, width))
    return round(factor * height), round(factor * width)


def choices(facts: Facts, coarse: dict[str, Any], input_channels: Choice, seconds: float, step: float) -> list[Choice]:
    """The cascade behind the ``coarse`` recipe, whose glimpses have ``seconds``; a ``step`` takes so many of them."""
    batches = int(min(seconds / step, MOST_STEPS) / ITERATIONS)
    per_epoch = math.ceil(facts.images / BATCH)
    epochs = max(1, round(batches / per_epoch))
    every = max(1, epochs // 6)
    epochs = max(1, epochs // every) * every
    size = canvas(facts)
    larger = max(facts.size) / max(coarse["data"]["input"]["size"])
    why = (
        f"the images are {larger:.1f} times larger than the input of a U-Net in this time; glimpses at "
        f"{max(size) / max(facts.size):.0%} of their resolution begin where it finds the landmarks"
    )
    return [
        Choice("data.input.size", list(size), "what glimpses are taken from"),
        input_channels,
        Choice("method.name", "cascade", why),
        Choice("method.coarse", coarse, "the U-Net that is trained first, planned as if it were alone"),
        Choice("method.fine", fine_options()),
        Choice("method.coarse_share", COARSE_POINTS, "a mean of both stages errs less than the glimpses alone"),
        Choice("train.batch_size", BATCH),
        Choice("train.optimizer", {"name": "adamw", "lr": 0.001, "weight_decay": 0.01}),
        Choice("train.epochs", epochs, f"{epochs * per_epoch * ITERATIONS} glimpse steps of {step:.2f} s"),
        Choice("train.val_every", every),
    ]
