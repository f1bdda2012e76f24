"""Cross-task learning by ``train``: bit for bit fine-tuning without a weight, images without labels, bad input."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

import trigpoint as tp
from trigpoint.config import apply_overrides, parse
from trigpoint.errors import ConfigError, DataError
from trigpoint.methods import HeatmapMethod
from trigpoint.nn import Source
from trigpoint.recipe import Recipe, SourceRecipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter
from trigpoint.training import landmarks as training
from trigpoint.training import train
from trigpoint.training.callbacks import Recorder
from trigpoint.training.source import ClassNetwork
from trigpoint.training.subsets import dataset_of, divided

ENCODER = "test_resnet"  # timm's smallest
Train = Callable[..., RunFolder]


@pytest.fixture(scope="module", autouse=True)
def _no_figures() -> Iterator[None]:
    """Curves take longer than these trainings and are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "save", lambda figure, path: None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 images of 5 subjects to learn from, one of them not annotated; 3 of 2 subjects to validate."""
    root = write_catheter(tmp_path_factory.mktemp("data") / "set", 12, size=32, seed=1, splits={"train": 1.0})
    table = pd.read_csv(root / "landmarks.csv", dtype=str)
    table["split"] = ["train"] * 9 + ["val"] * 3
    table["subject"] = [f"s{i // 2}" for i in range(9)] + ["v0", "v0", "v1"]
    table.loc[4, ["tip_x", "tip_y", "tip_v"]] = [np.nan, np.nan, "0"]
    table.to_csv(root / "landmarks.csv", index=False)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(7)
    model = timm.create_model(ENCODER, num_classes=4)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, std=0.1)  # type: ignore[arg-type]
    nn.init.normal_(model.fc.weight)
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    safetensors.torch.save_file(model.state_dict(), file)
    return str(file)


@pytest.fixture(scope="module")
def source_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a source model for grey images."""
    torch.manual_seed(9)
    recipe = parse(SourceRecipe, {"encoder": ENCODER})
    run = RunFolder(tmp_path_factory.mktemp("source") / "run")
    run.open_new()
    run.write_about(recipe, {})
    run.save_weights(ClassNetwork(recipe, 3).state_dict(), {})
    return run.folder


def recipe(folder: Path, transfer: dict[str, Any] | None, *overrides: str) -> Recipe:
    method: dict[str, Any] = {
        "name": "heatmap",
        "network": {"name": "simple_baseline", "encoder": ENCODER, "width": 8},
        "schedule": {"name": "fixed", "sigma0": 1.5},
        "transfer": None if transfer is None else {"loss": "encoder", **transfer},
    }
    seen = {"size": [32, 32], "channels": 3, "normalize": "fixed", "mean": [0.5] * 3, "std": [0.5] * 3}
    if transfer is not None and "run" in transfer["source"]:
        seen = {"size": [32, 32]}
    values = {
        "data": {"path": str(folder), "input": seen, "workers": 0},
        "method": method,
        "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "threads": 1},
    }
    return parse(Recipe, apply_overrides(values, overrides))


@pytest.fixture(scope="module")
def trained(folder: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Runs with a local source, each trained when it is first asked for."""
    place, runs = tmp_path_factory.mktemp("runs"), {}

    def get(*overrides: str, **transfer: Any) -> RunFolder:
        key = str((sorted(transfer.items()), overrides))
        if key not in runs:
            options = {"source": {"weights": weights}, **transfer}
            runs[key] = train(recipe(folder, options, *overrides), out=place / str(len(runs)), progress=False)
        return runs[key]

    return get


def state(run: RunFolder) -> dict[str, Tensor]:
    """All that the last epoch left, without what the source adds."""
    last: dict[str, Tensor] = torch.load(run.last, weights_only=True)["state_dict"]
    return {key: value for key, value in last.items() if not key.startswith("transfer.")}


def assert_same(one: RunFolder, other: RunFolder) -> None:
    (best, note), (same, again) = one.load_weights(), other.load_weights()
    assert note == again
    for a, b in ((state(one), state(other)), (best, same)):
        assert list(a) == list(b)
        assert [key for key in a if not torch.equal(a[key], b[key])] == []


def changed_encoder(run: RunFolder, weights: str) -> set[str]:
    before = safetensors.torch.load_file(weights)
    after = {key.removeprefix("network.encoder."): value for key, value in state(run).items() if ".encoder." in key}
    assert set(after) == {key for key in before if not key.startswith("fc.")}
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


def is_statistic(key: str) -> bool:
    return "running" in key or "tracked" in key


def test_a_finished_run_does_not_need_its_source_any_more(folder: Path, source_run: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(source_run, tmp_path / "source"))
    chosen = recipe(folder, {"source": {"run": str(source)}})
    run = train(chosen, out=tmp_path / "run", progress=False)
    found = tp.Predictor.load(run).predict(tp.LandmarkDataset.load(folder))
    shutil.rmtree(source)
    before = run.weights.stat().st_mtime_ns
    assert train(chosen, out=tmp_path / "run", progress=False).folder == run.folder
    assert run.weights.stat().st_mtime_ns == before
    np.testing.assert_array_equal(tp.Predictor.load(run).predict(tp.LandmarkDataset.load(folder)).points, found.points)
    with pytest.raises(ConfigError, match="source"):  # another one does
        train(chosen, out=tmp_path / "other", progress=False)


# -- nothing but fine-tuning ------------------------------------------------------------------------------------------


def test_no_weight_is_bit_for_bit_fine_tuning(trained: Train, folder: Path, weights: str, tmp_path: Path) -> None:
    fine_tuned = train(
        recipe(folder, None, f"method.network.weights={weights}"), out=tmp_path / "fine-tuned", progress=False
    )
    assert_same(trained(weight=0.0, loss="both", encoder_norm="batch"), fine_tuned)
    assert_same(trained(loss="none", encoder_norm="batch"), fine_tuned)
    assert "transfer_loss" not in fine_tuned.history_table()
    assert "transfer_loss" not in trained(loss="none", encoder_norm="batch").history_table()
    changed = changed_encoder(fine_tuned, weights)
    assert {"conv1.0.weight", "layer4.0.bn2.running_mean"} <= changed  # it did learn


def test_the_regulariser_changes_what_is_learned(trained: Train) -> None:
    plain, held = trained(loss="none"), trained(loss="both", weight=1.0)
    assert not torch.equal(
        state(plain)["network.encoder.conv1.0.weight"], state(held)["network.encoder.conv1.0.weight"]
    )
    table = held.history_table()
    assert table["transfer_loss"].iloc[0] > 0
    assert np.isfinite(table["transfer_loss"]).all()
    assert "transfer_loss" not in plain.history_table()
    assert not any(key.startswith("transfer") for key in held.load_weights()[0])


def test_a_frozen_encoder_is_left_bit_for_bit(trained: Train, weights: str) -> None:
    for norm in ("frozen", "batch"):
        run = trained(loss="none", train="decoder", encoder_norm=norm)
        assert changed_encoder(run, weights) == set()
    assert_same(trained(loss="none", train="decoder", encoder_norm="frozen"), run)
    built = {key: value for key, value in state(run).items() if key.startswith(("network.decoder", "network.head"))}
    assert float(built["network.decoder.1.running_mean"].abs().sum()) > 0


def test_the_last_convolution_and_its_norm_alone(trained: Train, weights: str) -> None:
    run = trained(loss="none", train="last", encoder_norm="batch")
    parameters = {"layer4.0.conv2.weight", "layer4.0.bn2.weight", "layer4.0.bn2.bias"}
    changed = changed_encoder(run, weights)
    assert {key for key in changed if not is_statistic(key)} == parameters
    assert {key for key in changed if is_statistic(key)} == {
        f"layer4.0.bn2.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_frozen_statistics_stay_in_a_whole_training(trained: Train, weights: str) -> None:
    changed = changed_encoder(trained(loss="none"), weights)
    assert "conv1.0.weight" in changed
    assert not any(is_statistic(key) for key in changed)


def test_the_source_of_a_training_is_never_changed(trained: Train, weights: str) -> None:
    last = torch.load(trained(loss="both", weight=1.0).last, weights_only=True)["state_dict"]
    before = safetensors.torch.load_file(weights)
    kept = {key.removeprefix("transfer.source."): v for key, v in last.items() if key.startswith("transfer.source.")}
    assert len(kept) == len(before)
    for key, value in kept.items():
        name = key.removeprefix("encoder.").replace("classifier.", "fc.")
        assert torch.equal(value, before[name]), key
    assert torch.equal(last["transfer.classifier.weight"], before["fc.weight"])


# -- cache ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["flattened", "pooled"])
def test_the_cache_changes_nothing_and_asks_once_per_image(
    features: str, folder: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    levels = Source.levels

    def count(self: Source, x: Tensor) -> list[Tensor]:
        asked.append(len(x))
        return levels(self, x)

    monkeypatch.setattr(Source, "levels", count)
    runs = []
    for cache in (False, True):
        asked.clear()
        options = {"source": {"weights": weights}, "loss": "both", "weight": 1.0, "features": features, "cache": cache}
        runs.append(train(recipe(folder, options), out=tmp_path / str(cache), progress=False))
        assert sum(asked) == (8 if cache else 16)  # eight annotated images, two epochs
    assert_same(*runs)
    columns = ["train_loss", "transfer_loss"]
    pd.testing.assert_frame_equal(runs[0].history_table()[columns], runs[1].history_table()[columns])


# -- images without labels --------------------------------------------------------------------------------------------

UNLABELLED = ("data.limit=4", "data.unlabelled=2", "data.augment.rotation=10", "train.batch_size=2")


def test_images_without_labels_join_each_batch(
    folder: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    step = HeatmapMethod.training_step

    def watch(self: HeatmapMethod, batch: Any, batch_idx: int) -> Tensor:
        missing = batch.points.isnan().all(-1).all(-1)
        assert torch.equal(missing, batch.index >= 4)
        assert int(missing.sum()) == 2
        assert len(batch) == 4
        seen.append(batch.index.tolist())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(HeatmapMethod, "training_step", watch)
    wanted = recipe(folder, {"source": {"weights": weights}, "weight": 1.0}, *UNLABELLED)
    whole = train(wanted, out=tmp_path / "whole", progress=False)
    assert len(seen) == 4
    assert len({i for part in seen[:2] for i in part if i >= 4}) == 4  # of five, none twice in an epoch
    assert seen[:2] != seen[2:]

    parts, blank = whole.parts(), pd.read_csv(folder / "landmarks.csv")["image"][4]
    assert [len(parts[name]) for name in ("train", "val", "unlabelled")] == [4, 3, 5]
    assert blank in parts["unlabelled"]
    assert not set(parts["train"]) & set(parts["unlabelled"])


# -- Adaloss with a source, and life after the source -----------------------------------------------------------------


def test_adaloss_and_a_source_train_together_and_the_run_outlives_the_source(
    folder: Path, source_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copytree(source_run, tmp_path / "source"))
    transfer = {"source": {"run": str(source)}, "loss": "both", "classifier": "trained", "weight": 1.0}
    schedule = "method.schedule={name: adaloss, sigma0: 4.0, window: 2}"
    wanted = recipe(folder, transfer, schedule, "train.epochs=5", "train.ema=0.5", "data.augment.scale=[0.9, 1.1]")
    original = Recorder.on_train_epoch_end

    def stop(self: Recorder, *args: Any) -> None:
        original(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(wanted, out=tmp_path / "resumed", progress=False)
    resumed = train(wanted, out=tmp_path / "resumed", progress=False)
    whole = train(wanted, out=tmp_path / "whole", progress=False)
    assert_same(whole, resumed)
    table = whole.history_table()
    assert (table["transfer_loss"] > 0).all()
    assert table["sigma_tip"].iloc[0] == 4.0
    assert table["sigma_tip"].nunique() > 1  # the schedule is moved by the landmarks' loss
    before = tp.Predictor.load(whole, device="cpu").predict(tp.LandmarkDataset.load(folder, split="val"))
    shutil.rmtree(source)
    after = tp.Predictor.load(whole, device="cpu").predict(tp.LandmarkDataset.load(folder, split="val"))
    np.testing.assert_array_equal(after.points, before.points)
    assert np.isfinite(after.points).all()
    assert tp.evaluate(whole, folder, split="val").metrics["n_images"] == 3


# -- which images -----------------------------------------------------------------------------------------------------


def chosen(folder: Path, *overrides: str) -> list[str]:
    """Names of the images that a recipe would learn from."""
    chosen = recipe(folder, None, *overrides)
    parts = divided(chosen, dataset_of(chosen))
    return [parts["train"].image_name(sample) for sample in parts["train"].samples]


def test_limits_and_shares_count_annotated_images_and_are_nested(folder: Path) -> None:
    assert len(chosen(folder)) == 8
    subject = pd.read_csv(folder / "landmarks.csv").set_index("image")["subject"]
    for across in ("false", "true"):
        limits = [chosen(folder, f"data.limit={n}", f"data.limit_across={across}") for n in (2, 4, 8, 99)]
        assert [len(names) for names in limits] == [2, 4, 8, 8]
        assert all(set(a) <= set(b) for a, b in itertools.pairwise(limits))
        taken, whole = subject[limits[1]].value_counts(), subject[chosen(folder)].value_counts()
        if across == "true":
            assert taken.tolist() == [1, 1, 1, 1]
        else:
            assert (taken < whole[taken.index]).sum() <= 1  # whole subjects, and perhaps part of one
    shares = [chosen(folder, f"data.fraction={share}") for share in (0.25, 0.5, 1.0)]
    assert [len(names) for names in shares] == [2, 4, 8]
    assert shares[1] == chosen(folder, "data.limit=4")
    assert set(shares[0]) < set(shares[1])


def test_both_stages_of_a_cascade_learn_from_the_same_images() -> None:
    values = {"data": {"fraction": 0.5, "limit_across": True}, "method": {"name": "cascade", "coarse": {"name": "c"}}}
    coarse = parse(Recipe, load_recipe(parse(Recipe, values)).method.coarse)  # type: ignore[attr-defined]
    assert (coarse.data.fraction, coarse.data.limit, coarse.data.limit_across) == (0.5, None, True)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "kind", "message"),
    [
        (
            ["data.input={size: [32, 32], channels: 3}"],
            ConfigError,
            r"set data\.input\.normalize=fixed data\.input\.mean=\[0\.5, 0\.5, 0\.5\] data\.input\.std=",
        ),
        (["data.input={size: [32, 32], normalize: unit}"], ConfigError, r"set data\.input\.channels=3 "),
        (
            ["method.transfer.loss=both", "method.transfer.source={run: LANDMARKS}"],
            ConfigError,
            "transfer.loss=encoder",
        ),
        (["method.network={name: unet, width: 4}"], ConfigError, "got unet; set method.network.name=simple_baseline"),
        (["method.network.encoder=resnet10t"], ConfigError, "no weights of encoder 'resnet10t'"),
        (["method.transfer.source={run: nowhere}"], ConfigError, "expected a run folder"),
        (
            ["method.transfer.cache=true", "data.augment.rotation=5"],
            ConfigError,
            r"remove the augmentation, or set method\.transfer\.cache=false",
        ),
        (
            ["data.limit=4", "data.unlabelled=2", "method.transfer.loss=none"],
            ConfigError,
            r"data\.unlabelled=2: expected method\.transfer with a loss",
        ),
        (["data.limit=4", "data.unlabelled=2", "method.transfer.weight=0"], ConfigError, r"or set data\.unlabelled=0"),
        (["data.limit=4", "data.unlabelled=2", "method.transfer=null"], ConfigError, r"or set data\.unlabelled=0"),
        (["data.fraction=0.05"], ConfigError, "at least one labelled image, got none of 8; raise it"),
        (["data.fraction=0.5", "data.limit=3"], ConfigError, "limit and fraction: expected one of the two, got both"),
    ],
)
def test_refused_before_anything_is_written(
    overrides: list[str],
    kind: type[Exception],
    message: str,
    folder: Path,
    weights: str,
    trained: Train,
    tmp_path: Path,
) -> None:
    if any("LANDMARKS" in text for text in overrides):
        overrides = [text.replace("LANDMARKS", str(trained(loss="none").folder)) for text in overrides]
    with pytest.raises(kind, match=message):
        train(recipe(folder, {"source": {"weights": weights}}, *overrides), out=tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


def copy_with(folder: Path, to: Path, column: str, rows: list[int], value: str | float) -> Path:
    """The set with a column of its table changed."""
    copied = Path(shutil.copytree(folder, to))
    table = pd.read_csv(copied / "landmarks.csv", dtype=str)
    table.loc[rows, column] = value
    table.to_csv(copied / "landmarks.csv", index=False)
    return copied


def test_unlabelled_without_such_images_is_refused(folder: Path, weights: str, tmp_path: Path) -> None:
    whole = copy_with(folder, tmp_path / "set", "split", [4], "test")  # the one that is not annotated
    wanted = recipe(whole, {"source": {"weights": weights}}, "data.unlabelled=1")
    with pytest.raises(ConfigError, match=r"images without labels in split 'train', got none; learn from fewer"):
        train(wanted, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_subject_in_both_parts_is_refused(folder: Path, tmp_path: Path) -> None:
    leaky = copy_with(folder, tmp_path / "set", "subject", [9], "s1")
    with pytest.raises(DataError, match=r"got 1 in both 'train' and 'val', such as 's1'; split by subject"):
        train(recipe(leaky, None), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
