"""What reasons do not decide is tried: a few candidates are trained for a short time, and validation chooses."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from trigpoint.config import apply_overrides
from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import EpochBatches, InputDataset, collate
from trigpoint.data.pixels.images import ImageData
from trigpoint.landmarks import Batch
from trigpoint.methods import LandmarkMethod, build_method
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.training.optimizers import fast_precision, make_optimizers
from trigpoint.training.planning.choices import Choice, Plan
from trigpoint.training.planning.facts import Facts

SHARE = 0.1  # of the time, for all candidates together
LEAST_MINUTES = 5.0
LEAST_STEPS = 80  # of each candidate: fewer say nothing
LEAST_VALIDATION = 5  # images
BETTER = 0.97  # of the error of what was planned: what another candidate has to fall below


@dataclass(frozen=True)
class Candidate:
    """Choices that take the place of planned ones, and what they are in a word."""

    name: str
    choices: tuple[Choice, ...] = ()


def raced(
    plan: Plan, parts: Mapping[str, LandmarkDataset], facts: Facts, minutes: float, overrides: Sequence[str] = ()
) -> Plan:
    """The plan with what a race of candidates decided, told with their numbers; unchanged where there can be none."""
    if not any(choice.key == "train.optimizer" for choice in plan.choices):  # nothing is learned by steps
        return plan
    candidates = [Candidate("as planned"), *_candidates(plan, facts, overrides)]
    seconds = 60 * minutes * SHARE / len(candidates)
    if len(candidates) < 2 or minutes < LEAST_MINUTES or facts.validation < LEAST_VALIDATION:
        return plan
    errors: list[float] = []
    steps, images = 0, dict[str, dict[int, ImageData]]()
    for candidate in candidates:
        recipe = load_recipe(apply_overrides(_with(plan, candidate.choices).values(), overrides, Recipe))
        if recipe.method.stages():  # what has to be trained first takes too long
            return plan
        trial = Trial(recipe, parts, images)
        steps = steps or int(seconds / trial.seconds())
        if steps < LEAST_STEPS:
            return plan
        errors.append(trial.error(steps))
    best = min(range(len(errors)), key=lambda i: errors[i])
    if not errors[best] < BETTER * errors[0]:
        best = 0
    told = ", ".join(f"{candidate.name} {error:.3g}" for candidate, error in zip(candidates, errors, strict=True))
    why = f"raced for {steps} steps each, error on validation images: {told}"
    return _shorter(_with(plan, candidates[best].choices), why, facts, steps * len(candidates))


def _candidates(plan: Plan, facts: Facts, overrides: Sequence[str]) -> Iterator[Candidate]:
    """What may be better than planned, where the user has not chosen it."""
    given = [text.split("=", 1)[0] for text in overrides]
    if not any(key.startswith("train.optimizer") for key in given):
        optimizer = plan.values()["train"]["optimizer"]
        slower = {**optimizer, "lr": optimizer["lr"] / 2}
        yield Candidate("half the learning rate", (Choice("train.optimizer", slower),))
    if facts.colour and "data.input.channels" not in given:
        yield Candidate("grey", (Choice("data.input.channels", 1),))


def _with(plan: Plan, others: Sequence[Choice]) -> Plan:
    taken = {choice.key: choice for choice in others}
    return Plan(tuple(taken.get(choice.key, choice) for choice in plan.choices))


def _shorter(plan: Plan, why: str, facts: Facts, used: int) -> Plan:
    """The plan with so many steps fewer, which the race has used, and what the race told."""
    values = plan.values()["train"]
    per_epoch = math.ceil(facts.images / values["batch_size"])
    epochs, every = values["epochs"], values["val_every"]
    left = max(every, round((epochs - used / per_epoch) / every) * every)
    changed = []
    for choice in plan.choices:
        if choice.key == "train.epochs":
            changed.append(replace(choice, value=left, reason=f"{left * per_epoch} steps, after a race of {used}"))
        elif choice.key == "train.optimizer":
            changed.append(replace(choice, reason=why))
        else:
            changed.append(choice)
    return Plan(tuple(changed))


class Trial:
    """A short training in memory, of which only the validation error is kept. Methods that step by themselves, such as
    those with glimpses, cannot be tried. ``images``: decoded ones that the candidates share, by part and position."""

    most_validation = 100  # images that candidates are compared on

    def __init__(
        self, recipe: Recipe, parts: Mapping[str, LandmarkDataset], images: dict[str, dict[int, ImageData]]
    ) -> None:
        self.recipe = recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.method: LandmarkMethod = build_method(recipe, parts["train"].landmarks).to(self.device).train()
        self.data: dict[str, InputDataset] = {}
        few = parts["val"].limit(self.most_validation, recipe.seed, across=True)
        for part, data, augment in (("train", parts["train"], recipe.data.augment), ("val", few, None)):
            pipeline = InputPipeline(recipe.data.input, data.landmarks, augment)
            self.data[part] = self.method.inputs(data, pipeline, recipe.seed)
            self.data[part].cache = images.setdefault(part, {}) if recipe.data.cache else None
        self.half = recipe.train.precision == "auto" and fast_precision() == "bf16-mixed"

    def _batches(self, part: str) -> Iterator[Batch]:
        """Batches of a part: of training images without end."""
        training = part == "train"
        batches = EpochBatches(len(self.data[part]), self.recipe.train.batch_size, self.recipe.seed, training)
        epoch = 0
        while True:
            batches.set_epoch(epoch)
            for positions in batches:
                batch = collate([self.data[part][position] for position in positions])
                for name, value in vars(batch).items():
                    setattr(batch, name, value.to(self.device) if isinstance(value, torch.Tensor) else value)
                yield batch
            if not training:
                return
            epoch += 1

    def seconds(self, tried: int = 3) -> float:
        """How long a step takes, images at hand: the least of some."""
        taken = []
        for batch in self._batches("train"):
            begin = time.perf_counter()
            torch.autograd.backward(self._loss(batch))
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - begin)
            self.method.zero_grad()
            if len(taken) > tried:
                break
        return min(taken[1:])

    def _loss(self, batch: Batch) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return cast(torch.Tensor, self.method.training_step(batch, 0))

    def error(self, steps: int) -> float:
        """The first number of the method's validation metric after so many steps; infinite where it is not known."""
        method, options = self.method, self.recipe.train
        trained = [p for p in method.parameters() if p.requires_grad]
        if method.average is not None:
            method.average.forget()
        made: Any = make_optimizers(options, trained, steps)
        optimizer, rate = made["optimizer"], made["lr_scheduler"]["scheduler"]
        for _, batch in zip(range(steps), self._batches("train"), strict=False):
            torch.autograd.backward(self._loss(batch))
            if options.clip is not None:
                nn.utils.clip_grad_norm_(trained, options.clip)
            optimizer.step()
            optimizer.zero_grad()
            rate.step()
            method.follow()
        method.eval()
        method.metric = method.validation_metric()
        for number, batch in enumerate(self._batches("val")):
            method.validation_step(batch, number)
        error = method.metric.compute()[method.metric.columns[0]]
        return math.inf if math.isnan(error) else error
