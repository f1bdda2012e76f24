"""What helps where labels are few? ``python -m benchmarks few DATA --labels 50``: the planned network beside the same
with one thing changed, each trained for the same number of steps, compared on validation images.

A seed draws who is labelled, the weights of new layers and the augmentation. Mirror images and labelled shapes, which
plans add afterwards, are left out.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trigpoint.config import apply_overrides
from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import collate
from trigpoint.data.pixels.images import ImageData
from trigpoint.landmarks import Batch
from trigpoint.nn.backbones import TimmUNet
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.training.optimizers import keep_freed_memory
from trigpoint.training.planning import facts_of, make_plan, race
from trigpoint.training.planning.speed import Speed
from trigpoint.training.subsets import dataset_of, divided

NOMINAL = Speed(0.03, 1.1e-6)  # plans the same on every machine; the size is replaced anyway
DEEPEST = 8  # a level beyond all stages of the encoder
Images = dict[str, dict[int, ImageData]]


@dataclass(frozen=True)
class Setting:
    """What is changed: options of the recipe, and what is no option of it."""

    name: str
    options: tuple[str, ...] = ()
    frozen: int = -1  # stages of the encoder that stay as they are, counted from its stem, 0; -1: none
    hold_norms: bool = False  # the encoder normalises by the numbers that came with its weights
    mixed: float = 0.0  # half of the images fade into another of the batch, by up to this share
    unlabelled: int = 0  # images without labels that are learned from, too
    warm: bool = False  # these are restored from erased ones first; else their points are those of a first network
    longer: int = 1  # times the steps


SETTINGS = (
    Setting("as planned"),
    Setting("half the rate", ("train.optimizer.lr=0.002",)),
    Setting("from scratch", ("method.network.weights=null",)),
    Setting("lite2", ("method.network.encoder=tf_efficientnet_lite2", "method.network.weights=lite2")),
    Setting("two stages frozen", frozen=1),
    Setting("four stages frozen", frozen=3),
    Setting("encoder frozen", frozen=DEEPEST, hold_norms=True),
    Setting("norms held", hold_norms=True),
    Setting("images mixed", mixed=0.35),
    Setting("restoring first", unlabelled=400, warm=True),
    Setting("twice the steps", longer=2),
    Setting("own labels", unlabelled=400),
)


class Trial(race.Trial):
    """A trial of a setting."""

    most_validation = 150

    def __init__(self, setting: Setting, recipe: Recipe, parts: Mapping[str, LandmarkDataset], images: Images) -> None:
        super().__init__(recipe, parts, images)
        self.setting, self._rng = setting, np.random.default_rng(recipe.seed)
        network = cast(TimmUNet, self.method.network)
        for name, parameter in network.encoder.named_parameters():
            parameter.requires_grad = stage(name) > setting.frozen
        self._norms = [m for m in network.encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def _loss(self, batch: Batch) -> torch.Tensor:
        if self.setting.hold_norms:
            for norm in self._norms:
                norm.eval()
        if self.setting.mixed:
            share = self._rng.uniform(0, self.setting.mixed, len(batch)) * (self._rng.random(len(batch)) < 0.5)
            by = torch.as_tensor(share).to(batch.images)[:, None, None, None]
            batch = replace(batch, images=torch.lerp(batch.images, batch.images.roll(1, 0), by))
        return super()._loss(batch)

    def warm_up(self, unlabelled: LandmarkDataset, steps: int) -> None:
        """Learn to restore images, of which squares are erased; all but the head, which is new, is kept."""
        pipeline = InputPipeline(self.recipe.data.input, unlabelled.landmarks, self.recipe.data.augment)
        data, batch = self.method.inputs(unlabelled, pipeline, self.recipe.seed), self.recipe.train.batch_size
        network = cast(TimmUNet, self.method.network)
        channels = self.recipe.data.input.channels
        head, network.head = network.head, nn.Sequential(nn.LazyConv2d(channels, 3, padding=1))
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.001)
        for step in range(steps):
            images = collate([data[step, int(i)] for i in self._rng.integers(0, len(data), batch)]).images
            restored = network(erased(images, self._rng))
            target = functional.interpolate(images, restored.shape[-2:], mode="area")
            optimizer.zero_grad()
            torch.autograd.backward(functional.mse_loss(restored, target))
            optimizer.step()
        network.head = head
        self.method.keep_average()

    @torch.no_grad()
    def labelled(self, unlabelled: LandmarkDataset) -> LandmarkDataset:
        """The images with the points that the trained network finds in them."""
        pipeline = InputPipeline(self.recipe.data.input, unlabelled.landmarks)
        data = self.method.inputs(unlabelled, pipeline, self.recipe.seed)
        samples = []
        for number, sample in enumerate(unlabelled.samples):
            found = self.method.predict(collate([data[0, number]]))
            samples.append(replace(sample, points=found.points[0, 0].double().numpy()))
        return replace(unlabelled, samples=samples)


def stage(name: str) -> int:
    """Which stage of an encoder of timm a parameter belongs to: 0 for its stem, from 1 on its blocks.

    >>> stage("conv_stem.weight"), stage("blocks.2.0.conv_pw.weight"), stage("bn2.weight")
    (0, 3, 8)
    """
    if name.startswith(("conv_stem", "bn1")):
        return 0
    block = re.search(r"blocks[._](\d+)", name)
    return int(block[1]) + 1 if block else DEEPEST


def erased(images: torch.Tensor, rng: np.random.Generator, squares: int = 12) -> torch.Tensor:
    """Images (B, C, H, W) in which squares of an eighth of the height are zero."""
    images, (height, width) = images.clone(), images.shape[-2:]
    side = max(height // 8, 1)
    for image in images:
        for top, left in zip(rng.integers(0, height, squares), rng.integers(0, width, squares), strict=True):
            image[:, top : top + side, left : left + side] = 0
    return images


def error(setting: Setting, recipe: Recipe, parts: Mapping[str, LandmarkDataset], steps: int, images: Images) -> float:
    """Mean error on validation images, px of the stored ones."""
    if not setting.unlabelled:
        return Trial(setting, recipe, parts, images).error(steps * setting.longer)
    known = {sample.image for sample in parts["train"].samples}
    others = dataset_of(recipe).only("train")
    others = replace(others, samples=[s for s in others.samples if s.image not in known])
    others = others.limit(setting.unlabelled, recipe.seed, across=True)
    trial = Trial(setting, recipe, parts, images)
    if setting.warm:
        trial.warm_up(others, steps)
        return trial.error(steps)
    trial.error(steps)
    found, labelled = trial.labelled(others).samples, list(parts["train"].samples)
    again = max(len(found) // len(labelled), 1)  # half of what is learned from is labelled by people
    both = replace(parts["train"], samples=[*labelled * again, *found])
    return Trial(setting, recipe, {**parts, "train": both}, {"val": images["val"]}).error(steps)


def settings(names: Sequence[str], mobilenetv2: Path | None) -> list[Setting]:
    """The settings of these names, all without names; the encoder whose weights are a file where that is given."""
    every = [*SETTINGS]
    if mobilenetv2 is not None:
        every.append(
            Setting("mobilenetv2", ("method.network.encoder=mobilenetv2_100", f"method.network.weights={mobilenetv2}"))
        )
    return [setting for setting in every if not names or setting.name in names]


def measured(chosen: argparse.Namespace, say: Callable[[str], None]) -> Iterator[tuple[str, list[float]]]:
    """Each setting with its errors, one a seed."""
    wanted = settings(chosen.settings, chosen.mobilenetv2)
    errors: dict[str, list[float]] = {setting.name: [] for setting in wanted}
    for seed in chosen.seeds:
        few: dict[str, Any] = {"path": str(chosen.data), "limit": chosen.labels, "limit_across": True}
        recipe = load_recipe({"name": "few", "seed": seed, "data": few})
        parts, images = divided(recipe, dataset_of(recipe)), Images()
        facts = facts_of(parts["train"], parts["val"])
        plan = make_plan(facts, parts["train"].landmarks, str(chosen.data), 10, NOMINAL).values()
        own = [f"seed={seed}", f"data.input.size={list(chosen.size)}", f"train.batch_size={chosen.batch}"]
        own += [f"data.limit={chosen.labels}", "data.limit_across=true", "method.flip_test=false"]
        for setting in wanted:
            changed = load_recipe(apply_overrides(plan, [*own, *setting.options], Recipe))
            begin = time.process_time()
            errors[setting.name].append(error(setting, changed, parts, chosen.steps, images))
            took = time.process_time() - begin
            say(f"{setting.name}, seed {seed}: {errors[setting.name][-1]:.3f} px, {took:.0f} s of processor")
    yield from errors.items()


def main(arguments: Sequence[str]) -> str:
    """Measure, and return the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks few", description="What helps where labels are few.")
    parser.add_argument("data", type=Path, help="a dataset with a validation split")
    parser.add_argument("--labels", type=int, default=50, help="training images whose labels are used")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(160, 160), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--settings", nargs="*", default=[], help=f"of {', '.join(s.name for s in SETTINGS)}")
    parser.add_argument("--mobilenetv2", type=Path, help="weights of timm's mobilenetv2_100, to try it, too")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.settings) - {setting.name for setting in settings([], chosen.mobilenetv2)}
    if unknown:
        parser.error(f"unknown setting {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in SETTINGS)}")
    torch.set_num_threads(chosen.threads)
    keep_freed_memory()
    rows = list(measured(chosen, lambda text: print(text, file=sys.stderr, flush=True)))
    lines = ["| setting | " + " | ".join(f"seed {seed}" for seed in chosen.seeds) + " | mean |"]
    lines.append("| --- |" + " ---: |" * (len(chosen.seeds) + 1))
    for name, found in rows:
        numbers = [*found, statistics.fmean(found)]
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in numbers) + " |")
    return "\n".join(lines)
