"""Multi-instance detection, end to end: what is learned, what counts nowhere, what validation chooses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import trigpoint as tp
from spots import NAMES, SIZE, write_spots
from trigpoint.config import parse
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import EpochBatches, InstanceInputs, collate, loader
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import InstanceMethod, build_method
from trigpoint.methods.validation import DISTANCE_WEIGHT
from trigpoint.metrics import count_detections, matching_radius
from trigpoint.prediction import write_predictions
from trigpoint.recipe import AugmentConfig, InputConfig, Recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train

RADIUS = 4.0


def recipe(data: Path | None = None, **method: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "spots",
        "data": {"path": str(data) if data else None, "input": {"size": list(SIZE)}, "workers": 0, "cache": True},
        "method": {
            "name": "instances",
            "network": {"name": "unet", "width": 6, "depth": 2},
            "schedule": {"name": "linear", "sigma0": 6.0, "sigma_min": 3.0},
            "radius": RADIUS,
            **method,
        },
        "train": {"epochs": 14, "batch_size": 4, "optimizer": {"lr": 0.005}, "accelerator": "cpu", "threads": 1},
    }
    return parse(Recipe, values)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spots(tmp_path_factory.mktemp("data") / "spots", 36)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(recipe(data), out=tmp_path_factory.mktemp("runs") / "run", progress=False)


def method_of(**options: Any) -> InstanceMethod:
    torch.manual_seed(0)
    made = build_method(recipe(**options), LandmarkSet(NAMES))
    assert isinstance(made, InstanceMethod)
    return made


def batch_of(points: list[list[list[float]]], annotated: list[bool]) -> Batch:
    """One image with M instances of K landmarks."""
    torch.manual_seed(1)
    back = torch.eye(2, 3, dtype=torch.float64)[None]
    where = torch.tensor(points).reshape(1, -1, len(NAMES), 2)
    return Batch(
        torch.randn(1, 1, *SIZE), where, back, torch.tensor([0]), torch.tensor([annotated]), torch.tensor([SIZE[0]])
    )


# -- inputs ---------------------------------------------------------------------------------------------------------


def test_one_item_per_image_with_all_its_instances(data: Path) -> None:
    dataset = tp.LandmarkDataset.load(data)
    inputs = InstanceInputs(dataset, InputPipeline(InputConfig(size=SIZE), dataset.landmarks))
    images = dataset.instances_by_image()
    assert len(inputs) == len(images) == 36 < len(dataset)
    batch = next(iter(loader(inputs, EpochBatches(len(inputs), 36))))
    assert batch.points.shape == (36, max(len(image.points) for image in images), 2, 2)
    for i, image in enumerate(images):
        own = batch.points[i][batch.points[i].isfinite().all(-1).any(-1)].numpy()
        np.testing.assert_allclose(own, image.points, atol=1e-4)
        assert batch.annotated[i].tolist() == image.annotated.tolist() == [True, i % 5 != 4]
    assert batch.heights.tolist() == [SIZE[0]] * 36
    assert torch.equal(inputs.points().isnan(), batch.points.isnan())


def test_what_leaves_the_input_is_absent_and_stays_annotated(data: Path) -> None:
    dataset = tp.LandmarkDataset.load(data, split="train")
    pipeline = InputPipeline(InputConfig(size=SIZE), dataset.landmarks, AugmentConfig(shift=1.0))
    inputs = InstanceInputs(dataset, pipeline, cache=True)
    inputs.preload()
    batch = collate([inputs[(3, i)] for i in range(len(inputs))])
    before = torch.cat([torch.isfinite(torch.as_tensor(im.points)).all(-1) for im in inputs.images]).sum()
    inside = batch.points[batch.points.isfinite().all(-1)]
    assert 0 < len(inside) < before
    assert (inside >= 0).all()
    assert (inside <= torch.tensor([SIZE[1] - 1, SIZE[0] - 1])).all()
    assert batch.annotated is not None
    assert batch.annotated[:, 0].all()


# -- loss -----------------------------------------------------------------------------------------------------------

NONE = [float("nan"), float("nan")]


def test_the_loss_is_the_squared_error_of_what_is_annotated() -> None:
    method = method_of().eval()
    points = [[[20.0, 30.0], NONE], [[50.0, 10.0], NONE]]
    maps = method.heatmaps(batch_of(points, [True, True]).images)[0]
    target = method.codec.encode(torch.tensor(points)[None], method.schedule.sigma)[0]
    light, dark = ((maps[k] - target[k]).square().mean().item() for k in (0, 1))
    assert target[1].abs().sum() == 0  # annotated and absent: a map of zeros is to be learned
    for annotated, expected in (([True, True], (light + dark) / 2), ([True, False], light), ([False, False], 0.0)):
        loss = method.training_step(batch_of(points, annotated), 0)
        assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-9)
    method.training_step(batch_of(points, [True, False]), 0)
    misfit, energy, near, count = method.epoch_sums.tolist()
    assert near == [0, 0]  # of several instances no point is near by its name
    assert count == [3, 1]  # maps that counted in the four steps
    assert misfit == pytest.approx([3 * light, dark], rel=1e-5)
    assert energy == pytest.approx([3 * target[0].square().mean().item(), 0.0], rel=1e-5)


def test_a_landmark_that_is_never_there_keeps_its_width() -> None:
    method = method_of(schedule={"name": "linear", "sigma0": 6.0, "sigma_min": 3.0, "k": 1.0})
    method.training_step(batch_of([[[20.0, 30.0], NONE]], [True, True]), 0)
    method.on_train_epoch_end()
    assert method.schedule.sigma.tolist() == [5.0, 6.0]
    assert method.epoch_loss > 0


def test_a_flat_image_without_annotation_gives_no_gradient() -> None:
    method = method_of()
    method.training_step(batch_of([[[20.0, 30.0], NONE]], [False, False]), 0).backward()
    assert all(p.grad is None or not p.grad.any() for p in method.parameters())


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": {"name": "fixed", "sigma0": 2.0}}, r"schedule\.sigma0: expected at least 3 .*got 2: .*7 x 7"),
        ({"schedule": "adaloss"}, r"schedule\.sigma_min: expected at least 3 .*got 1\.5"),
        ({"schedule": {"name": "linear", "sigma0": 9, "sigma_min": 2}, "median": 5}, r"at least 2\.12 .*got 2"),
        ({"schedule": "learned"}, r"schedule learned: expected one for targets of height 1"),
        ({"schedule": {"name": "adaloss", "guard": "literal"}}, "expected guard=bounded"),
        ({"window": 2}, "window: expected at least 5"),
    ],
)
def test_combinations_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        method_of(**options)


def test_a_narrower_target_goes_with_a_smaller_median() -> None:
    assert method_of(schedule={"name": "fixed", "sigma0": 1.0}, median=0).codec.smallest_sigma == 1.0


def test_other_batches_and_other_runs_are_refused(trained: RunFolder, data: Path, tmp_path: Path) -> None:
    plain = batch_of([[[20.0, 30.0], NONE]], [True, True])
    plain.annotated = None
    with pytest.raises(RunError, match="InstanceInputs"):
        method_of().training_step(plain, 0)
    single = parse(Recipe, recipe(data).model_dump(mode="json") | {"method": {"name": "heatmap"}})
    with pytest.raises(DataError, match=r"multi-instance .*method\.name=instances"):
        train(single, out=tmp_path / "run", progress=False)


def test_a_set_in_which_nothing_counts_is_refused(data: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    table = pd.read_csv(copied / "landmarks.csv", dtype=str)
    blank = table.drop_duplicates("image")[["image", "split"]].assign(instance="more", light_v="0", dark_v="0")
    pd.concat([table, blank]).to_csv(copied / "landmarks.csv", index=False)
    with pytest.raises(DataError, match="all instances of a landmark are annotated"):
        train(recipe(copied), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


# -- validation -----------------------------------------------------------------------------------------------------


def test_validation_measures_at_the_best_threshold() -> None:
    """Two images; rows: position, landmark, found, x, y, score, radius."""
    metric = method_of().validation_metric()
    rows = torch.tensor(
        [
            [0, 0, 0, 10, 10, 0, 5],
            [0, 0, 1, 10, 12, 0.9, 5],
            [0, 0, 1, 40, 40, 0.2, 5],  # false, below the best threshold
            [7, 0, 0, 20, 20, 0, 10],
            [7, 0, 1, 24, 20, 0.6, 10],
            [7, 1, 0, 5, 5, 0, 10],  # of the second landmark nothing is found
        ]
    )
    error, f1, distance, threshold = metric.summary(rows.double())
    assert f1 == pytest.approx((1 + 0) / 2)
    assert distance == pytest.approx((2 + 4) / 2)
    assert 0.2 <= threshold < 0.6
    assert error == pytest.approx(1 - f1 + DISTANCE_WEIGHT * (2 / 5 + 4 / 10) / 2)
    nothing = metric.summary(rows[rows[:, 2] == 0].double())
    assert tuple(nothing[:2]) == (1.0, 0.0)
    assert np.isnan(metric.summary(torch.zeros(0))).all()


def test_the_radius_is_a_share_of_the_height_unless_given() -> None:
    assert method_of().matching_radius(576) == RADIUS
    assert method_of(radius=None).matching_radius(288) == matching_radius(288) == 10.0


# -- end to end -----------------------------------------------------------------------------------------------------


def test_finds_all_instances_of_images_it_has_not_seen(trained: RunFolder, data: Path) -> None:
    report = tp.evaluate(trained, data)
    scores = report.to_dict()["detection"]
    assert set(scores) == set(NAMES)
    assert all(row["f1"] > 0.9 for row in scores.values()), scores
    assert all(row["distance_px"] < 1.0 for row in scores.values()), scores
    truth = tp.LandmarkDataset.load(data, split="test").instances_by_image()
    lights = sum(int(np.isfinite(image.points[:, 0, 0]).sum()) for image in truth)
    assert scores["light"]["true_positives"] + scores["light"]["misses"] == lights
    text = report.to_html()
    assert "Precision and recall" in text
    assert "Detection of instances" in text


def test_the_weights_and_threshold_are_those_that_validation_chose(trained: RunFolder, data: Path) -> None:
    table, marks = trained.history_table(), trained.read_landmarks()
    best = int(table["val_error"].idxmin())
    _, note = trained.load_weights()
    assert int(note["epoch"]) == table["epoch"][best]
    assert marks.threshold == pytest.approx(table["val_threshold"][best], rel=1e-4)
    again = tp.evaluate(trained, data, split="val").metrics
    f1 = np.mean([row["f1"] for row in again["detection"].values()])
    assert f1 == pytest.approx(table["val_f1"][best], abs=1e-6)
    assert again["detection_threshold"] == marks.threshold
    assert again["detection_radius_px"] == RADIUS
    assert np.isnan(marks.radius).all()  # pairs of six images are too few
    assert set(trained.parts()) == {"train", "val"}
    assert len(trained.parts()["train"]) == 24  # each image once


def test_predictions_are_original_pixels_and_a_native_table(trained: RunFolder, data: Path, tmp_path: Path) -> None:
    predictor = tp.Predictor.load(trained, device="cpu")
    dataset = tp.LandmarkDataset.load(data, split="test")
    found = predictor.predict(dataset)
    assert len(found) == 6
    assert [Path(image).name for image in found.images] == [f"{i}.png" for i in range(30, 36)]
    image = dataset.read(0).pixels[0]
    twice = np.kron(image, np.ones((2, 2), image.dtype))
    small, large = predictor.predict([image, twice]).detections
    np.testing.assert_allclose((large.points + 0.5) / 2 - 0.5, small.points, atol=0.01)
    for one in found.detections:
        one.image = Path(one.image).name
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    out = write_predictions(copied / "found.csv", found)
    again = tp.LandmarkDataset.load(out).instances_by_image()
    assert len(again) == len(found)
    for read, one in zip(again, found.detections, strict=True):
        np.testing.assert_allclose(read.points, one.points, atol=1e-3)
        assert read.annotated.all()  # what was not found is absent
    assert {f"{name}_{part}" for name in NAMES for part in ("x", "y", "score", "radius")} < set(pd.read_csv(out))


def test_a_group_is_a_row_and_holds_the_same_points(trained: RunFolder, data: Path, tmp_path: Path) -> None:
    alone, together = (tp.Predictor.load(trained, device="cpu") for _ in range(2))
    together.group = 26.0
    dataset = tp.LandmarkDataset.load(data, split="test")
    joined = 0
    pairs = zip(alone.predict(dataset).detections, together.predict(dataset).detections, strict=True)
    for one, other in pairs:
        assert one.image == other.image
        for k in range(len(NAMES)):
            before, after = (sorted(map(tuple, each.by_landmark()[0][k])) for each in (one, other))
            known = [point for point in before if np.isfinite(point).all()]
            assert known == [point for point in after if np.isfinite(point).all()]
        apart = np.linalg.norm(other.points[:, 0] - other.points[:, 1], axis=-1)
        joined += int(np.isfinite(apart).sum())
        assert not (apart > 26).any()
    assert joined
    report = tp.evaluate(trained, data, split="test")
    assert report.detected is not None
    again = count_detections(
        [one.by_landmark()[0] for one in together.predict(dataset).detections],
        [list(image.points.swapaxes(0, 1)) for image in report.detected.images],
        RADIUS,
        annotated=np.array([image.annotated for image in report.detected.images]),
    )
    np.testing.assert_array_equal(again.true_positives, report.detected.scores.counts.true_positives)


def test_a_higher_threshold_leaves_fewer(trained: RunFolder, data: Path) -> None:
    predictor = tp.Predictor.load(trained, device="cpu")
    dataset = tp.LandmarkDataset.load(data, split="test")
    counts = [
        sum(int(np.isfinite(one.scores).sum()) for one in predictor.predict(dataset, threshold=limit).detections)
        for limit in (0.05, 0.5, 2.0)
    ]
    assert counts[0] >= counts[1] > counts[2] == 0
    assert np.isfinite(predictor.candidates(dataset).points).all()


def test_an_interrupted_run_is_taken_up_with_all_instances(data: Path, trained: RunFolder, tmp_path: Path) -> None:
    short = parse(Recipe, {**recipe(data).model_dump(mode="json"), "train": {"epochs": 1, "accelerator": "cpu"}})
    run = train(short, out=tmp_path / "run", progress=False)
    run.landmarks.write_text(run.landmarks.read_text().split("radius_coverage")[0])  # as if killed before the end
    before = run.weights.read_bytes()
    train(short, out=run.folder, progress=False)
    assert run.weights.read_bytes() == before
    assert run.read_landmarks().threshold is not None


def test_a_run_of_another_method_says_so(tmp_path: Path, data: Path) -> None:
    from trigpoint.synthetic import write_catheter

    folder = write_catheter(tmp_path / "tips", 8, size=32)
    single = parse(
        Recipe,
        {
            "data": {"path": str(folder), "input": {"size": [32, 32]}, "workers": 0},
            "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}},
            "train": {"epochs": 1, "accelerator": "cpu", "threads": 1},
        },
    )
    run = train(single, out=tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match="threshold: is for multi-instance runs, got a run that finds one of each"):
        tp.Predictor.load(run).predict([], threshold=0.5)
    set_of_one = tmp_path / "one"
    (set_of_one / "images").mkdir(parents=True)
    Image.new("L", (32, 32)).save(set_of_one / "images" / "a.png")
    (set_of_one / "landmarks.csv").write_text("image,split,instance,tip_x,tip_y\na.png,test,1,3,4\na.png,test,2,9,9\n")
    with pytest.raises(DataError, match=r"multi-instance .*got a run of the method heatmap"):
        tp.evaluate(run, set_of_one)
