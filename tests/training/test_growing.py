"""Runs that begin from another: equal names keep what they have, and new landmarks are learned beside the old."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trigpoint as tp
from same_runs import assert_same
from trigpoint.config import parse
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train
from trigpoint.training.callbacks import Recorder

OLD = ("sella", "menton")
NETWORK = {"name": "timm_unet", "encoder": "test_resnet", "widths": [8, 8, 8, 8, 8]}


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_radiographs(tmp_path_factory.mktemp("growing") / "heads", 14, size=(56, 48), seed=2)


def recipe(folder: Path, landmarks: tuple[str, ...] | None = None, **train: Any) -> Recipe:
    data = {"path": str(folder), "landmarks": landmarks, "input": {"size": [64, 64]}, "workers": 0}
    method = {"name": "heatmap", "network": NETWORK, "schedule": {"name": "fixed", "sigma0": 2.0}}
    how: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 4,
        "ema": 0.9,
        "clip": 1.0,
        "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
        "accelerator": "cpu",
        "threads": 1,
    }
    return parse(Recipe, {"data": data, "method": method, "train": how | train})


@pytest.fixture(scope="module")
def first(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(recipe(heads, OLD), out=tmp_path_factory.mktemp("first") / "run", progress=False)


def points(run: RunFolder, heads: Path) -> dict[str, np.ndarray]:
    predictor = tp.Predictor.load(run, device="cpu")
    found = predictor.predict(sorted((heads / "images").iterdir()))
    return dict(zip(predictor.landmarks.names, found.points.swapaxes(0, 1), strict=True))


def test_equal_names_keep_what_they_have_learned(first: RunFolder, heads: Path, tmp_path: Path, capsys: Any) -> None:
    names = ("menton", "upper_incisor", "sella")
    still = {"name": "sgd", "lr": 1e-12}
    run = train(
        recipe(heads, names, init=str(first.folder), optimizer=still, epochs=1, ema=0.0), out=tmp_path / "run",
        progress=False,
    )  # fmt: skip
    told = " ".join(capsys.readouterr().err.split())
    assert "with 2 of its 2 landmarks; new: upper_incisor" in told
    head, before = run.load_weights()[0], first.load_weights()[0]
    key = next(key for key in head if key.startswith("head") and key.endswith("weight"))
    torch.testing.assert_close(head[key][[2, 0]], before[key])
    encoder = next(key for key in head if key.startswith("encoder") and key.endswith("conv1.weight"))
    torch.testing.assert_close(head[encoder], before[encoder])
    assert run.origins().keys() == {"init"}


@pytest.mark.parametrize("lacking", [False, True])
def test_new_landmarks_are_learned_and_old_points_stay(
    lacking: bool, first: RunFolder, heads: Path, tmp_path: Path
) -> None:
    """With weight decay and averaged weights, and from a table that does not have the old ones."""
    folder = Path(shutil.copytree(heads, tmp_path / "heads"))
    if lacking:
        table = pd.read_csv(folder / "landmarks.csv", dtype=str, keep_default_na=False)
        kept = [c for c in table if not str(c).startswith(("sella_", "menton_"))]
        table[kept].to_csv(folder / "landmarks.csv", index=False)
        (folder / "dataset.yaml").write_text("name: new\nimages: images\ntable: landmarks.csv\n")
    how: dict[str, Any] = {"init": str(first.folder), "only": ["upper_incisor"], "epochs": 12}
    run = train(recipe(folder, **how), out=tmp_path / "run", progress=False)
    now, before = points(run, heads), points(first, heads)
    assert list(now) == [*OLD, "upper_incisor"]
    for name in OLD:
        assert np.abs(now[name] - before[name]).max() <= 1e-3
    table = run.history_table()
    assert table["train_loss"].iloc[-1] < 0.9 * table["train_loss"].iloc[0]
    truth = tp.LandmarkDataset.load(heads, split="val").aligned(["upper_incisor"])
    names = [sample.image for sample in truth.samples]
    found = tp.Predictor.load(run, device="cpu").predict(names).points[:, 2]
    error = np.linalg.norm(found - truth.points[:, 0], axis=-1).mean()
    assert table["val_mre_px"].min() == pytest.approx(error, rel=1e-3)  # of the new landmark alone
    weights, old = run.load_weights()[0], first.load_weights()[0]
    assert all(torch.equal(weights[key], old[key]) for key in old if "head" not in key)


def test_it_resumes_as_if_never_stopped(
    first: RunFolder, heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    end = Recorder.on_train_epoch_end

    def watch(self: Recorder, trainer: Any, module: Any) -> None:
        end(self, trainer, module)
        if self.run.folder == whole and trainer.current_epoch == 0:
            shutil.copytree(whole, killed)

    monkeypatch.setattr(Recorder, "on_train_epoch_end", watch)
    chosen = recipe(heads, init=str(first.folder), only=["upper_incisor"], epochs=3)
    straight = train(chosen, out=whole, progress=False)
    moved = Path(shutil.copytree(first.folder, tmp_path / "moved"))
    again = recipe(heads, init=str(moved), only=["upper_incisor"], epochs=3)
    assert_same(straight, train(again, out=killed, progress=False))


def test_another_run_than_it_was_begun_from_is_refused(first: RunFolder, heads: Path, tmp_path: Path) -> None:
    chosen = recipe(heads, OLD, init=str(first.folder), epochs=1)
    run = train(chosen, out=tmp_path / "run", progress=False)
    for file in (run.last, run.previous, run.metrics, run.weights):
        file.unlink(missing_ok=True)  # killed before the first checkpoint
    other = train(recipe(heads, OLD, epochs=1), ["seed=5"], out=tmp_path / "other", progress=False)
    with pytest.raises(RunError, match="is not the run that"):
        train(chosen, [f"train.init={other.folder}"], out=run.folder, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["train.init=nowhere"], "train.init: expected a run folder, got none"),
        (["train.init=FIRST", "method.network=unet"], "expected the network of .*, timm_unet, got unet"),
        (["train.init=FIRST", "method.network.widths=[4, 4, 4, 4, 4]"], "with its options"),
        (["train.init=FIRST", "method=foveated"], "expected the method of .*, heatmap, got foveated"),
        (["train.init=FIRST", "train.only=[upper_incisor]", "data.input.size=96"], r"data\.input\.size as in"),
        (["train.init=FIRST", "train.only=[upper_incisor]", "method.decoder=centroid"], r"method\.decoder as in"),
        (["train.only=[upper_incisor]"], r"train\.only: .*train\.init=RUN"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    changes: list[str], message: str, first: RunFolder, heads: Path, tmp_path: Path
) -> None:
    given = [text.replace("FIRST", str(first.folder)) for text in changes]
    with pytest.raises(ConfigError, match=message):
        train(recipe(heads), given, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_landmarks_that_the_table_lacks_cannot_be_learned(first: RunFolder, heads: Path, tmp_path: Path) -> None:
    given = [f"train.init={first.folder}", "train.only=[nose]"]
    with pytest.raises(DataError, match="unknown landmark 'nose'"):
        train(recipe(heads), given, out=tmp_path / "run", progress=False)


def test_a_network_that_reads_its_own_maps_refuses_to_learn_some() -> None:
    values = {"method": {"name": "heatmap", "network": {"name": "hourglass", "width": 8}}}
    method = build_method(parse(Recipe, values), LandmarkSet(OLD))
    with pytest.raises(ConfigError, match=r"train\.only: expected a network that does not read its own maps"):
        method.learn_only(["menton"])


def test_other_methods_refuse(heads: Path, tmp_path: Path) -> None:
    values = recipe(heads).model_dump(mode="json")
    values["method"] = {"name": "template", "encoder": "test_resnet", "weights": None, "levels": [4, 8]}
    run = train(parse(Recipe, values), ["train.ema=0"], out=tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match=r"train\.init: expected a method whose network gives a map per landmark"):
        train(parse(Recipe, values), [f"train.init={run.folder}"], out=tmp_path / "next", progress=False)
