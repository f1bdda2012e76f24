"""What to train, from reasons: each choice is a value of the recipe with the reason for it in a line.

The order: which method, with which encoder; what of the images is shown and how large, for resolution pays most and the
time decides; whether glimpses follow; how training may vary it, from the shapes that the labels show; and how long to
learn.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from trigpoint.config import parse
from trigpoint.landmarks import LandmarkSet
from trigpoint.recipe import InputConfig, Recipe
from trigpoint.recipes import merged
from trigpoint.training.planning import cascade, learner
from trigpoint.training.planning.choices import Choice, Plan, nested
from trigpoint.training.planning.facts import Facts
from trigpoint.training.planning.few import few_labels, few_parts
from trigpoint.training.planning.poses import allowance
from trigpoint.training.planning.region import View, region_view, whole
from trigpoint.training.planning.resolution import FINER_COSTS, STEPS, Budget, Resolution, resolution
from trigpoint.training.planning.speed import SIDES, Speed, measure, near

START = 8.0  # seconds for processes to begin, for curves and files
MOST_BESIDES = 0.4  # share of the time that may go to anything but learning before a plan says that it is too short
FEW_LOOKED_AT = 5  # validation images, of which fewer say little
CONTINUED = 250  # optimizer steps from weights that have learned the task before its input grows
ROUNDS = 4  # of all images that a training should make before its batches get smaller for a larger input
FLIPS = 0.1  # of the time that looking at the mirror images of those that validate may take
PATIENCE = 0.6  # share of the validations after which a training that gets no better ends


def make_plan(
    facts: Facts,
    landmarks: LandmarkSet,
    path: str,
    minutes: float,
    speed: Speed | None = None,
    given: Mapping[str, Any] | None = None,
    spent: float = 0.0,
    glimpse: float | None = None,
) -> Plan:
    """Plan a training of so many ``minutes`` on this machine, whose ``speed`` is measured where it is not known.

    ``given``: values of the recipe that are not to be chosen, nested, to which size and length are fitted. ``spent``:
    seconds of the time that are gone already. ``glimpse``: seconds of a glimpse step, likewise measured. Raises
    ConfigError when the time is too short for anything to be learned.
    """
    given = given or {}
    if why := few_labels(facts, given, minutes):
        return Plan(tuple(Choice(*part) for part in few_parts(facts, path, why)))
    several = facts.instances is not None
    stride = 2 if several else 4
    batch, why_batch = learner.batch_size(facts)
    batch = given.get("train", {}).get("batch_size", batch)
    method = learner.instances() if several else learner.heatmap()
    network, start = learner.network(stride)
    again = given.get("train", {}).get("init") is not None
    fast = learner.may_learn_fast(facts, start)
    wanted = CONTINUED if again else STEPS[start]
    loading = [learner.channels(facts), *learner.loading(facts)]
    rest = [*method, *network, Choice("train.batch_size", batch, why_batch), *learner.training(again, fast)]
    rest += learner.shape_prior(facts)
    trial = _recipe_of_side([Choice("data.path", path), *loading, *rest], given)
    known = speed.times(FINER_COSTS) if speed and several else speed
    begin = time.monotonic() - spent  # timing steps takes of the time, too
    first = known or measure(trial, landmarks)
    budget = Budget(_left(facts, minutes, begin), facts, first, batch, *_fetching(facts, batch, loading))
    view, found, budget = _shown(budget, wanted, minutes, given, stride)
    if speed is None and max(found.size) > 1.5 * max(SIDES):  # again, near the size that it will be
        nearer = measure(trial, landmarks, near(found.size))
        budget = replace(budget, speed=nearer, seconds=_left(facts, minutes, begin)).of(batch)
        view, found, budget = _shown(budget, wanted, minutes, given, stride)
    if budget.batch < batch:
        batch, why = budget.batch, "smaller ones leave time for a larger input, which is worth more"
        rest = [Choice(c.key, batch, why) if c.key == "train.batch_size" else c for c in rest]
    head = [Choice("name", "planned"), Choice("data.path", path)]
    if _may_refine(facts, view, found, given):
        refined = _cascade(facts, budget, wanted, minutes, loading, rest, landmarks, glimpse, path)
        if refined:
            return Plan((*head, *refined))
    if flipped := learner.flips(facts, given) and budget.looks(found.size) <= FLIPS * budget.seconds:
        before, budget = budget.steps(found.size), replace(budget, views=2)
        found = replace(found, steps=int(found.steps * budget.steps(found.size) / max(1, before)))
    limit, images = _limit(facts, found.steps, batch, given)
    network, _ = learner.network(found.stride)
    choices = [
        *head,
        *limit,
        *loading,
        *_inputs(view, found),
        *_augment(facts, view),
        *method,
        *([learner.flip_test()] if flipped else []),
        *(learner.of_objects(facts, view, found.size, found.stride) if several else []),
        *network,
        *rest[len(method) + len(network) :],
        *_epochs(budget, found, images, minutes),
    ]
    return Plan(tuple(choices))


def _left(facts: Facts, minutes: float, begin: float) -> float:
    """Seconds that are left for learning of a training that began at ``begin`` (``time.monotonic``)."""
    besides = START + time.monotonic() - begin + facts.decoding * (facts.images + 2 * facts.validation)
    return 60 * minutes - min(besides, MOST_BESIDES * 60 * minutes)


def _recipe_of_side(base: list[Choice], given: Mapping[str, Any]) -> Callable[[int], Recipe]:
    def recipe(side: int) -> Recipe:
        values = merged(nested(base), given)
        values["data"]["input"]["size"] = [side, side]
        return parse(Recipe, values, "plan")

    return recipe


def _fetching(facts: Facts, batch: int, loading: list[Choice]) -> tuple[float, bool]:
    """Seconds in which a batch is made ready, and whether that is done while a step is computed."""
    values = {choice.key: choice.value for choice in loading}
    each = facts.preparing + (0.0 if values["data.cache"] else facts.decoding)
    return batch * each / max(1, values["data.workers"]), values["data.workers"] > 0


def _given_size(given: Mapping[str, Any]) -> tuple[int, int] | None:
    size = given.get("data", {}).get("input", {}).get("size")
    if size is None:
        return None
    height, width = parse(InputConfig, {"size": size}, "data.input").size
    return height, width


# -- what is shown ----------------------------------------------------------------------------------------------------


def _input(
    facts: Facts, budget: Budget, wanted: int, minutes: float, given: Mapping[str, Any], stride: int
) -> tuple[View, Resolution]:
    """What is shown of the images and how large: a region only where the time does not reach for all at full size."""
    view = whole(facts)
    finer = "network" not in given.get("method", {})
    found = resolution(budget, view, wanted, minutes, _given_size(given), stride, finer)
    chosen = {"region", "size"} & given.get("data", {}).get("input", {}).keys()
    region = region_view(facts)
    if region is None or chosen or not found.limited:
        return view, found
    return region, resolution(budget, region, wanted, minutes, _given_size(given), stride, finer)


def _shown(
    budget: Budget, wanted: int, minutes: float, given: Mapping[str, Any], stride: int
) -> tuple[View, Resolution, Budget]:
    """As ``_input``, with batches of half the size where these allow a larger input and all images are still seen
    several times.

    Measured on 200 faces in ten minutes of one core: batches of 8 at 192 px 2.32, of 4 at 256 px 2.25 px.
    """
    view, found = _input(budget.facts, budget, wanted, minutes, given, stride)
    batch = budget.batch // 2
    fixed = "batch_size" in given.get("train", {}) or _given_size(given) is not None
    if not fixed and found.limited and batch >= learner.FEW_BATCH and wanted * batch >= ROUNDS * budget.facts.images:
        smaller = budget.of(batch)
        other, finer = _input(budget.facts, smaller, wanted, minutes, given, stride)
        if max(finer.size) > max(found.size):
            return other, finer, smaller
    return view, found, budget


def _inputs(view: View, found: Resolution) -> list[Choice]:
    region = [Choice("data.input.region", list(view.region), view.why)] if view.region else []
    return [*region, Choice("data.input.size", list(found.size), found.why), Choice("data.input.fit", "letterbox")]


def _limit(facts: Facts, steps: int, batch: int, given: Mapping[str, Any]) -> tuple[list[Choice], int]:
    """Fewer images where the time is too short for one round of all of them, and how many are learned from."""
    most = max(1, steps * batch)
    if facts.images <= most or {"limit", "fraction"} & given.get("data", {}).keys():
        return [], facts.images
    why = f"there is time for {steps} batches, less than one round of all {facts.images} images"
    return [Choice("data.limit", most, why), Choice("data.limit_across", True)], most


# -- a fine stage -----------------------------------------------------------------------------------------------------


def _may_refine(facts: Facts, view: View, found: Resolution, given: Mapping[str, Any]) -> bool:
    """Nothing of what a cascade has to choose may be given."""
    chosen = {"input", "augment"} & given.get("data", {}).keys() or given.get("method")
    return not chosen and cascade.may_help(facts, found, view.longer)


def _cascade(
    facts: Facts,
    budget: Budget,
    wanted: int,
    minutes: float,
    loading: list[Choice],
    rest: list[Choice],
    landmarks: LandmarkSet,
    glimpse: float | None,
    path: str,
) -> list[Choice]:
    """A coarse stage and glimpses, where the time is enough for both; else nothing.

    The coarse stage sees the whole image, because what it is given later is the canvas of the glimpses.
    """
    seconds = cascade.COARSE_SHARE * budget.seconds
    view = whole(facts)
    first = replace(budget, seconds=seconds)
    if first.steps(view.shape(256, 32)) < wanted:
        return []
    found = resolution(first, view, wanted, minutes)
    inputs = [c for c in loading if c.key != "data.workers"]
    coarse = nested(
        [*inputs, *_inputs(view, found), *_augment(facts, view), *rest, *_epochs(first, found, facts.images)]
    )
    for key in ("patience", "shape_prior"):
        coarse["train"].pop(key, None)
    colours = loading[0]
    left = budget.seconds - seconds
    trial = cascade.choices(facts, coarse, colours, left, left / cascade.FINE_STEPS)
    shared = [*loading[1:], *[c for c in learner.training() if c.key != "train.optimizer"]]
    if glimpse is None:
        values = nested([Choice("data.path", path), *shared, *trial])
        recipe = parse(Recipe, values, "plan")
        recipe = recipe.model_copy(update={"method": recipe.method.completed(recipe)})
        glimpse = cascade.glimpse_step(recipe, landmarks)
    if left / glimpse < cascade.FINE_STEPS:
        return []
    return [*shared, *cascade.choices(facts, coarse, colours, left, glimpse)]


# -- augmentation and length ------------------------------------------------------------------------------------------


def _augment(facts: Facts, view: View) -> list[Choice]:
    """Twice the spread of the labelled shapes, with an allowance for what few of them do not show."""
    poses, more = facts.poses, allowance(facts.images)
    few = f", times {more:.1f} for what {facts.images} images may not show" if more >= 1.1 else ""
    if poses.free:
        turn, why = 180.0, "the shapes are turned to all sides"
    elif poses.known:
        turn = float(min(45, max(5, round(2 * more * poses.rotation))))
        why = f"twice the SD of the turns that the labels show ({poses.rotation:.1f} degrees){few}, at least 5"
    else:
        turn, why = 15.0, "one landmark shows no turn"
    spread = min(0.4, max(0.08, 2 * more * poses.scale))
    factors = [round(math.exp(-spread), 2), round(math.exp(spread), 2)]
    sizes = f"twice the SD of the sizes that the labels show ({poses.scale:.0%}){few}, at least 8 %"
    sizes = sizes if poses.known else "one landmark shows no size"
    shift = round(min(0.25, max(0.04, 1.5 * more * poses.shift * max(facts.size) / view.longer)), 2)
    choices = [
        Choice("data.augment.rotation", turn, why),
        Choice("data.augment.scale", factors, sizes),
        Choice("data.augment.shift", shift, f"the labels move by {poses.shift:.0%} of the image (SD)"),
        Choice("data.augment.gamma", 0.3),
        Choice("data.augment.noise", 0.02),
    ]
    choices += _flips(facts)
    if facts.images < learner.FEW_IMAGES:
        choices.append(Choice("data.augment.blur", 0.5, f"below {learner.FEW_IMAGES} images everything is varied more"))
    return choices


def _flips(facts: Facts) -> list[Choice]:
    """Mirrored images where it is known which landmarks they show: from ``pairs``, or because the labels have both."""
    if facts.pairs:
        return [Choice("data.augment.flip", 0.5, "dataset.yaml names the left and right landmarks")]
    if not facts.poses.mirrored:
        return []
    share = f"{facts.poses.mirrored:.0%} of the labelled shapes are mirror images of the others"
    if facts.sided or facts.poses.sided:
        why = f"{share}, but left and right differ; name them as pairs in dataset.yaml, and mirrored images help"
        return [Choice("data.augment.flip", 0.0, why)]
    return [
        Choice("data.augment.flip", 0.5, f"{share}, with the same names"),
        Choice("data.augment.swap", False, "so each landmark keeps its name in a mirrored image"),
    ]


def _epochs(budget: Budget, found: Resolution, images: int, minutes: float | None = None) -> list[Choice]:
    per_epoch = math.ceil(images / (budget.batch * budget.facts.machine.processes))
    epochs = max(1, round(found.steps / per_epoch))
    every = max(1, epochs // min(budget.passes(found.size), epochs))
    epochs = epochs // every * every  # the last epoch is validated
    looks = epochs // every
    patience = max(3, math.ceil(PATIENCE * looks))
    time = "" if minutes is None else f", as many as {minutes:g} {'minute has' if minutes == 1 else 'minutes have'}"
    validation = budget.facts.validation
    few = f"; {validation} say little, so the last weights may be as good" if validation < FEW_LOOKED_AT else ""
    looked = f"{'one look' if looks == 1 else f'{looks} looks'} at {validation} validation images{few}"
    choices = [
        Choice("train.epochs", epochs, f"{epochs * per_epoch} steps{time}"),
        Choice("train.val_every", every, looked),
    ]
    if patience < looks:  # else it cannot end sooner
        why = f"training ends when {patience} looks in a row find no smaller error"
        choices.append(Choice("train.patience", patience, why))
    return choices
