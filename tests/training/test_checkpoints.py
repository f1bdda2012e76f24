"""Checkpoints and other files of a run that are damaged or gone: the one before is used, or nothing is written over."""

from __future__ import annotations

import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import draw, stopped, tiny
from PIL import Image

from same_runs import assert_same
from trigpoint.config import parse
from trigpoint.errors import RunError
from trigpoint.recipe import SourceRecipe
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.resuming import read_checkpoint, resume_point


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Never stopped."""
    return train(tiny(data), out=tmp_path_factory.mktemp("whole") / "run", progress=False)


@pytest.fixture(scope="module")
def three(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Stopped after three of five epochs; a checkpoint of each was saved."""
    return stopped(tiny(data), tmp_path_factory.mktemp("stopped") / "run", 3)


@pytest.fixture
def run(three: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy that a test may damage."""
    return RunFolder(shutil.copytree(three.folder, tmp_path / "run"))


def content(run: RunFolder) -> dict[str, bytes]:
    """Every file but the lock, which says who looked last."""
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file() and path != run.lock}


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def flip(file: Path, at: int | None = None) -> None:
    """One bit of a weight."""
    content = bytearray(file.read_bytes())
    state = torch.load(file, weights_only=True)["state_dict"]
    large = max((v for k, v in state.items() if "network" in k and v.is_floating_point()), key=torch.numel)
    place = content.find(bytes(large.untyped_storage())[:64]) + 3 if at is None else at
    content[place] ^= 0x40
    file.write_bytes(content)


def another(file: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, file)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit": flip,
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "code": lambda file: file.write_bytes(pickle.dumps(Evil())),
    "code in torch's": lambda file: torch.save({"epoch": Evil()}, file),
    "another file": another,
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_is_used_and_that_is_told(
    damage: str,
    run: RunFolder,
    whole: RunFolder,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(run.folder.parent)
    DAMAGES[damage](run.last)
    train(tiny(data), out=run.folder, progress=False)
    assert_same(run, whole)
    told = " ".join(capsys.readouterr().err.split())
    assert f"{run.last}: is " in told
    assert "going on from previous.ckpt." in told
    assert "2 of 5 epochs are done, resuming at epoch 3; computing again what was done until epoch 3" in told
    assert not Path("ran").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_whole_checkpoint_nothing_is_written_over(damage: str, run: RunFolder, data: Path) -> None:
    for file in (run.last, run.previous):
        DAMAGES[damage](file)
    before = content(run)
    with pytest.raises(RunError, match=r"last\.ckpt: is .*previous\.ckpt: is .*put it back, or train into another"):
        train(tiny(data), out=run.folder, progress=False)
    assert content(run) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_more_epochs_need_the_last_one(damage: str, run: RunFolder, data: Path) -> None:
    DAMAGES[damage](run.last)
    before = content(run)
    with pytest.raises(RunError, match=r"last\.ckpt: is .*end of epoch 2.*rename previous\.ckpt to last\.ckpt"):
        train(tiny(data), out=run.folder, progress=False, more_epochs=2)
    assert content(run) == before


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_whole_one(
    run: RunFolder, data: Path, tmp_path: Path
) -> None:
    flip(run.last)
    copy = RunFolder(shutil.copytree(run.folder, tmp_path / "copy"))
    assert stopped(tiny(data), copy.folder, 3).epochs_done() == 3
    assert resume_point(copy)[1:] == (3, [])
    assert read_checkpoint(copy.previous)["epoch"] == 1


def test_a_changed_bit_is_noticed_wherever_it_matters(three: RunFolder, tmp_path: Path) -> None:
    flips(three.last, tmp_path / "last.ckpt", 60)


@pytest.mark.soak
def test_changed_bits_are_noticed_wherever_they_matter(three: RunFolder, tmp_path: Path) -> None:
    flips(three.last, tmp_path / "last.ckpt", 5000)


def flips(file: Path, copy: Path, count: int) -> None:
    """Each leaves an error of ours, or the same values: some bytes of an archive mean nothing."""
    content, ran, noticed = file.read_bytes(), random.Random(3), 0
    whole = read_checkpoint(file)
    for _ in range(count):
        damaged = bytearray(content)
        damaged[ran.randrange(len(content))] ^= 1 << ran.randrange(8)
        copy.write_bytes(damaged)
        try:
            found = read_checkpoint(copy)
        except ValueError:
            noticed += 1
        else:
            assert found["epoch"] == whole["epoch"]
            assert all(torch.equal(found["state_dict"][k], v) for k, v in whole["state_dict"].items())
    assert noticed > count / 3


def test_the_first_epoch_may_be_trained_again(data: Path, whole: RunFolder, tmp_path: Path) -> None:
    """A kill between the first weights and the first checkpoint leaves as much."""
    run = stopped(tiny(data), tmp_path / "run", 1)
    assert not run.previous.exists()
    run.last.unlink()
    train(tiny(data), out=run.folder, progress=False)
    assert_same(run, whole)


def test_a_checkpoint_of_another_network(run: RunFolder, data: Path) -> None:
    kept = torch.load(run.last, weights_only=True)
    kept["state_dict"].pop(next(iter(kept["state_dict"])))
    torch.save(kept, run.last)
    with pytest.raises(RunError, match=r"last\.ckpt: is the checkpoint of another network; put it back"):
        train(tiny(data), out=run.folder, progress=False)


def test_lost_metrics_come_back_from_the_checkpoint(
    whole: RunFolder, run: RunFolder, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = RunFolder(shutil.copytree(whole.folder, tmp_path / "finished"))
    for each in (run, finished):
        each.metrics.unlink()
        train(tiny(data), out=each.folder, progress=False)
        assert_same(each, whole)
        assert "metrics.csv was gone and is written again" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["split.csv", "landmarks.yaml", "weights.safetensors", "data.csv"])
@pytest.mark.parametrize("more", [0, 2])
def test_a_file_that_cannot_come_back_is_refused(name: str, more: int, run: RunFolder, data: Path) -> None:
    (run.folder / name).unlink()
    before = content(run)
    with pytest.raises(RunError, match=rf"{name}.*put it back, or train into another --out"):
        train(tiny(data), out=run.folder, progress=False, more_epochs=more)
    assert content(run) == before


def test_without_data_csv_a_run_goes_on_when_asked(run: RunFolder, whole: RunFolder, data: Path) -> None:
    lines = run.data.read_text().splitlines()
    run.data.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(RunError, match=r"data\.csv: expected a row of each image, got none of .*on_change=accept"):
        train(tiny(data), out=run.folder, progress=False)
    run.data.unlink()
    train(tiny(data), ["data.on_change=accept"], out=run.folder, progress=False)
    assert_same(run, whole)
    assert run.data.read_text() == whole.data.read_text()


def test_a_source_model_goes_on_from_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(8):
        file = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), 30 * i).save(file)
    values: dict[str, Any] = {
        "data": {"path": str(tmp_path / "set"), "input": {"size": [32, 32]}, "workers": 0},
        "encoder": "test_resnet",
        "train": {"epochs": 3, "batch_size": 3, "accelerator": "cpu", "threads": 1},
    }
    recipe = parse(SourceRecipe, values)
    whole, run = train(recipe, out=tmp_path / "whole", progress=False), stopped(recipe, tmp_path / "run", 2)
    lost = RunFolder(shutil.copytree(run.folder, tmp_path / "lost"))
    flip(run.last)
    train(recipe, out=run.folder, progress=False)
    assert_same(run, whole)
    assert "going on from previous.ckpt. " in " ".join(capsys.readouterr().err.split())
    for file in (lost.last, lost.previous):
        file.unlink()
    with pytest.raises(RunError, match=r"last\.ckpt: is missing.*put it back"):
        train(recipe, out=lost.folder, progress=False)
