"""A run that was killed, stopped by the disk, or made longer ends as one that was not."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import KILLED, draw, start, tiny

import trigpoint.training.callbacks as callbacks
from same_runs import assert_same, table_of
from trigpoint.config import to_yaml
from trigpoint.errors import ConfigError, RunError
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Never stopped."""
    return train(tiny(data), out=tmp_path_factory.mktemp("whole") / "run", progress=False)


@pytest.fixture
def two(data: Path, tmp_path: Path) -> RunFolder:
    """Two epochs at a constant rate."""
    return train(constant(data, 2), out=tmp_path / "two", progress=False)


def constant(data: Path, epochs: int) -> Recipe:
    """Nothing in it depends on the number of epochs but their number."""
    recipe = tiny(data, epochs, lr_schedule={"name": "constant"})
    return parse_again(recipe, freeze_last=0.0)


def parse_again(recipe: Recipe, **schedule: Any) -> Recipe:
    values = recipe.model_dump(mode="json")
    values["method"]["schedule"] |= schedule
    return Recipe.model_validate(values)


def interrupt(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Ctrl-C at the end of an epoch, counted from 0."""
    original = callbacks.Recorder.on_train_epoch_end

    def stop(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Recorder, "on_train_epoch_end", stop)


def test_killed_while_a_checkpoint_is_written(whole: RunFolder, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(to_yaml(tiny(data)))
    run = RunFolder(tmp_path / "run")
    ended = start(file, run.folder, fault="checkpoint:2", save_every=0)
    assert ended.returncode == KILLED, ended.stderr
    assert [path.name for path in run.folder.glob(".last.ckpt.*.part")], "killed at another moment"
    assert torch.load(run.last, weights_only=True)["epoch"] == 0
    train(tiny(data), out=run.folder, progress=False)
    assert_same(run, whole)


def test_epochs_since_the_last_checkpoint_are_repeated(
    whole: RunFolder, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "SAVE_EVERY", 1e9)
        interrupt(patch, epoch=3)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(data), out=tmp_path / "run", progress=False)
    run = RunFolder(tmp_path / "run")
    assert run.epochs_done() == 4
    assert torch.load(run.last, weights_only=True)["epoch"] == 0
    train(tiny(data), out=run.folder, progress=False)
    assert_same(run, whole)


def test_a_start_that_was_killed_is_started_again(whole: RunFolder, data: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.open_new()
    shutil.copy(whole.landmarks, run.landmarks)
    (run.folder / ".split.csv.abc.part").write_text("image,pa")
    train(tiny(data), out=run.folder, progress=False)
    assert_same(run, whole)


@pytest.mark.parametrize(
    ("owner", "name", "code", "words"),
    [(os, "fsync", errno.ENOSPC, "No space left"), (tempfile, "mkstemp", errno.EROFS, "Read-only file system")],
)
@pytest.mark.parametrize("target", ["last.ckpt", "weights.safetensors", "metrics.csv"])
def test_a_disk_that_refuses(
    owner: Any,
    name: str,
    code: int,
    words: str,
    target: str,
    whole: RunFolder,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, refused = getattr(owner, name), []

    def refuse(*args: Any, **options: Any) -> Any:
        part = os.readlink(f"/proc/self/fd/{args[0]}") if args else str(options["prefix"])
        if target in part and (run.metrics.is_file() and run.epochs_done() >= 2):
            refused.append(part)
            raise OSError(code, os.strerror(code))
        return original(*args, **options)

    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "SAVE_EVERY", 0.0)
        patch.setattr(owner, name, refuse)
        with pytest.raises(RunError, match=rf"{target}: cannot be written: {words}.*run the same command"):
            train(tiny(data), out=run.folder, progress=False)
    assert refused
    assert not list(run.folder.glob(".*.part"))
    assert run.load_weights()[0]
    done = torch.load(run.last, weights_only=True)["epoch"] + 1
    assert done in (1, 2, 3)
    train(tiny(data), out=run.folder, progress=False)
    assert_same(run, whole)


def test_longer_is_as_if_it_had_been_so_long_from_the_start(data: Path, two: RunFolder, tmp_path: Path) -> None:
    three = train(constant(data, 3), out=tmp_path / "three", progress=False)
    assert table_of(two) != table_of(three)
    train(constant(data, 2), out=two.folder, progress=False, more_epochs=1)
    assert_same(two, three)
    assert two.recipe() == constant(data, 3)
    before = two.weights.stat().st_mtime_ns
    train(constant(data, 2), out=two.folder, progress=False, more_epochs=1)  # once, however often it is said
    assert (two.epochs_done(), two.weights.stat().st_mtime_ns) == (3, before)


def test_a_longer_run_is_not_finished_before_its_end(
    data: Path, two: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=3)
        with pytest.raises(KeyboardInterrupt):
            train(constant(data, 2), out=two.folder, progress=False, more_epochs=2)
    assert two.epochs_done() == 4
    assert np.isnan(two.read_landmarks().radius).all()
    assert not two.history.exists()
    train(constant(data, 2), out=two.folder, progress=False, more_epochs=2)
    assert len(two.read_landmarks().radius) == 1
    assert two.history.exists()


def test_rate_and_freeze_are_those_of_the_new_length(data: Path, tmp_path: Path) -> None:
    def recipe(epochs: int) -> Recipe:
        return parse_again(tiny(data, epochs), freeze_last=0.5)

    run = train(recipe(4), out=tmp_path / "run", progress=False)  # frozen from epoch 2 on: the widths never move
    assert run.history_table()["lr"].iloc[3] == pytest.approx(0, abs=1e-12)
    train(recipe(4), out=run.folder, progress=False, more_epochs=8)
    table, long = run.history_table(), recipe(12)
    due = [long.train.optimizer.lr * long.train.lr_schedule.factor((epoch + 1) / 12) for epoch in range(4, 12)]
    assert table["lr"].iloc[4:].to_list() == pytest.approx(due, abs=1e-12)
    widths = table["sigma_tip"]
    assert (widths[:5] == 4.0).all()
    assert widths[5] != 4.0  # moved by what was learned of the losses while they were frozen
    assert widths[6:].nunique() == 1  # frozen again for the second half


def test_what_cannot_be_made_longer_is_refused(data: Path, two: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a run to go on with, got none"):
        train(constant(data, 2), out=tmp_path / "none", more_epochs=1)
    with pytest.raises(ConfigError, match="more_epochs: expected a number of epochs to add, got -1"):
        train(constant(data, 2), out=two.folder, more_epochs=-1)
    with pytest.raises(RunError, match=r"another recipe \(train\.batch_size: 4 there, 8 here\)"):
        train(constant(data, 2), ["train.batch_size=8"], out=two.folder, more_epochs=1)
    assert two.recipe() == constant(data, 2)
    kept = two.last.read_bytes()
    two.last.unlink()
    with pytest.raises(RunError, match=r"last\.ckpt: is missing"):
        train(constant(data, 2), out=two.folder, more_epochs=1)
    two.last.write_bytes(kept)
    train(constant(data, 2), out=two.folder, progress=False, more_epochs=2)
    with pytest.raises(RunError, match=r"extended to 4 epochs already.*at least 2 more, got 1"):
        train(constant(data, 2), out=two.folder, more_epochs=1)
