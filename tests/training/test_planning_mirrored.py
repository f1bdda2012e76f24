"""Sets that show both hands of a thing, such as left and right wings: turns are not mistaken for mirroring, nor the
other way round, and a plan mirrors images where that is known to be right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trigpoint.data.input.augment import InputPipeline, sample_rng
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.recipe import AugmentConfig, InputConfig
from trigpoint.training.planning import Facts, make_plan, plan_for
from trigpoint.training.planning.few import few_labels
from trigpoint.training.planning.machine import Machine
from trigpoint.training.planning.poses import Poses, poses_of
from trigpoint.training.planning.speed import Speed

WING = np.array([[0, 0], [30, -14], [70, -20], [100, 0], [60, 18], [25, 6.0]])  # no two of its halves are alike
ANIMAL = np.array([[50, 0], [35, -9], [35, 9], [20, 0], [0, 0], [-30, 0.0]])  # nose, two ears, back, tail
BENT = np.array([[0, 0], [0, 0], [0, 0], [0, 8], [0, 12], [0, 20.0]])  # its tail to one side
NONE = Poses(6, 0.05, 0.05, False, True)
FACTS = Facts(40, 40, 8, 6, (480, 640), 0.0, 640, False, 0.0, False, 40.0, 0.3, None, NONE, machine=Machine(2, 1e12))


def seen(shape: FloatArray, turn: float, number: int = 40, mirrored: float = 0.0, seed: int = 0) -> FloatArray:
    """Shapes (N, K, 2) that differ a little, turned by an SD of so many degrees; the first ones are mirrored."""
    rng = np.random.default_rng(seed)
    out = []
    for n in range(number):
        points = shape + rng.normal(0, 1.0, shape.shape)
        angle = np.radians(rng.normal(0, turn))
        points = points * rng.normal(1, 0.05) * ([-1, 1] if n < mirrored * number else [1, 1])
        points = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        out.append(points + rng.normal(300, 20, 2))
    return np.array(out)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.8])
def test_mirrored_wings_are_not_taken_for_turned_ones(share: float) -> None:
    found = poses_of(seen(WING, turn=6, mirrored=share), 640.0)
    assert found.mirrored == pytest.approx(min(share, 1 - share))
    assert not found.free
    assert 4 < found.rotation < 8


def test_wings_turned_to_all_sides_are_seen_to_be_mirrored_too() -> None:
    found = poses_of(seen(WING, turn=500, mirrored=0.5), 640.0)
    assert found.free
    assert found.mirrored == pytest.approx(0.5)


@pytest.mark.parametrize("turn", [6.0, 500.0])
@pytest.mark.parametrize("shape", [WING, ANIMAL, WING[:3], WING[:2], WING[:1]])
def test_shapes_of_one_hand_or_of_none_are_not_mirrored(shape: FloatArray, turn: float) -> None:
    assert poses_of(seen(shape, turn), 640.0).mirrored == 0


def test_animals_that_bend_to_both_sides_are_not_mirrored() -> None:
    rng = np.random.default_rng(0)
    shapes = seen(ANIMAL, turn=500)
    shapes[:, 5] += rng.normal(0, 10, (40, 2))
    assert poses_of(shapes, 640.0).mirrored == 0


def test_a_single_odd_shape_may_be_a_mistake() -> None:
    assert poses_of(seen(WING, turn=6, mirrored=1 / 40), 640.0).mirrored == 0


def test_sides_that_only_one_hand_shows_are_noticed() -> None:
    shapes = seen(WING, turn=6, mirrored=0.5)
    assert not poses_of(shapes, 640.0).sided
    shapes[:20, 1] = np.nan
    found = poses_of(shapes, 640.0)
    assert found.mirrored == 0.5
    assert found.sided


def test_pairs_are_swapped_before_shapes_are_compared() -> None:
    order = np.array([0, 2, 1, 3, 4, 5])
    shapes = seen(ANIMAL + BENT, turn=6, mirrored=0.5)
    shapes[:20] = shapes[:20, order]
    assert poses_of(shapes, 640.0, order).mirrored == 0.5


def augmented(**change: Any) -> dict[str, Any]:
    facts = replace(FACTS, **change)
    marks = LandmarkSet(("a", "b", "c", "d", "e", "f"))
    values = make_plan(facts, marks, "wings", 10, speed=Speed(0.02, 2e-6)).values()
    return dict(values["data"]["augment"])


def test_a_plan_mirrors_where_the_labels_show_both_hands() -> None:
    assert "flip" not in augmented()
    both = augmented(poses=replace(NONE, mirrored=0.4))
    assert (both["flip"], both["swap"]) == (0.5, False)


@pytest.mark.parametrize("sides", [{"sided": True}, {"poses": replace(NONE, mirrored=0.4, sided=True)}])
def test_where_left_and_right_have_names_it_asks_for_the_pairs(sides: dict[str, Any]) -> None:
    change = {"poses": replace(NONE, mirrored=0.4)} | sides
    assert augmented(**change)["flip"] == 0
    told = make_plan(replace(FACTS, **change), LandmarkSet(("a",)), "wings", 10, speed=Speed(0.02, 2e-6)).told()
    assert any("name them as pairs in dataset.yaml" in line for line in told)


def test_templates_are_not_for_both_hands() -> None:
    few = replace(FACTS, images=4)
    assert few_labels(few, {}, 10)
    assert not few_labels(replace(few, poses=replace(NONE, mirrored=0.4)), {}, 10)


def test_a_mirrored_image_keeps_the_names_if_told_so() -> None:
    marks, image = LandmarkSet(("a", "b")), np.zeros((1, 32, 32), np.uint8)
    with pytest.raises(DataError, match="names no pairs"):
        InputPipeline(InputConfig(size=(32, 32)), marks, AugmentConfig(flip=1))
    pipeline = InputPipeline(InputConfig(size=(32, 32)), marks, AugmentConfig(flip=1, swap=False))
    _, points, _ = pipeline(image, np.array([[1.0, 5.0], [20.0, 7.0]]), rng=sample_rng(0, 0, 0))
    assert points.tolist() == [[30.0, 5.0], [11.0, 7.0]]


def test_names_that_are_kept_and_pairs_contradict_each_other() -> None:
    marks = LandmarkSet(("a", "b"), pairs=(("a", "b"),))
    with pytest.raises(DataError, match=r"data\.augment\.swap=false says"):
        InputPipeline(InputConfig(size=(32, 32)), marks, AugmentConfig(flip=0.5, swap=False))


def test_a_folder_of_both_wings_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.training.planning.plan.measure", lambda *given: Speed(0.001, 2e-8))
    rows = ["image," + ",".join(f"v{k}_{x}" for k in range(6) for x in "xy")]
    for n, shape in enumerate(seen(WING, turn=6, number=24, mirrored=0.5)):
        Image.fromarray(np.full((400, 600), 100, np.uint8)).save(tmp_path / f"{n}.png")
        rows.append(f"{n}.png," + ",".join(f"{value:.2f}" for value in shape.ravel()))
    (tmp_path / "landmarks.csv").write_text("\n".join(rows) + "\n")
    facts, _, values = plan_for(tmp_path, ["method.decoder=soft_argmax"], minutes=2)
    assert facts.poses.mirrored > 0.3
    assert values["data"]["augment"]["swap"] is False
    assert values["data"]["augment"]["rotation"] < 25
