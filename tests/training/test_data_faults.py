"""Images that fail or change during a run, images seen before, and the same weights from the same seed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info

import trigpoint as tp
from trigpoint.config import parse
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import InputDataset, InstanceInputs, Item, SkipLog, collate
from trigpoint.data.input.skips import summary
from trigpoint.data.quality.fingerprint import fingerprint, read_records, to_csv
from trigpoint.errors import DataError, RunError
from trigpoint.recipe import AugmentConfig, InputConfig, Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.provenance import data_changed, seen_before
from trigpoint.synthetic import write_catheter, write_instruments
from trigpoint.training import train
from trigpoint.training.callbacks import Recorder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catheter(tmp_path_factory.mktemp("data") / "catheter", 20, size=32, seed=1)


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(drawn, tmp_path / "data"))


def recipe(folder: Path, epochs: int = 2, **data: Any) -> Recipe:
    values: dict[str, Any] = {
        "data": {"path": str(folder), "input": {"size": [32, 32]}, "augment": {"rotation": 10}, "workers": 0, **data},
        "method": {
            "name": "heatmap",
            "network": {"name": "unet", "width": 4, "depth": 1},
            "schedule": {"name": "adaloss", "sigma0": 4},
        },
        "train": {"epochs": epochs, "batch_size": 4, "accelerator": "cpu"},
    }
    return parse(Recipe, values)


def run_once(folder: Path, out: Path, **data: Any) -> RunFolder:
    return train(recipe(folder, **data), out=out, progress=False)


@pytest.fixture(scope="module")
def finished(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run on the drawn set, never changed by a test."""
    return run_once(drawn, tmp_path_factory.mktemp("runs") / "run")


def file_of(folder: Path, split: str, position: int = 0) -> Path:
    return tp.LandmarkDataset.load(folder, split=split).samples[position].image


def cut(file: Path) -> None:
    """Half of the file: the header can be read, the pixels cannot."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def after_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, do: Callable[[], None]) -> None:
    """Let something happen at the end of an epoch, counted from 0."""
    original = Recorder.on_train_epoch_end

    def hook(self: Recorder, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == epoch:
            do()

    monkeypatch.setattr(Recorder, "on_train_epoch_end", hook)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(run.last, weights_only=True)["state_dict"]
    return found


def same_weights(a: RunFolder, b: RunFolder) -> bool:
    one, two = weights(a), weights(b)
    return all(torch.equal(one[name], two[name]) for name in one)


# -- an image that cannot be read ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_stop_names_the_file_and_the_same_command_goes_on(
    workers: int, finished: RunFolder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(folder, "train")
    whole = file.read_bytes()
    with monkeypatch.context() as patch:
        after_epoch(patch, 0, lambda: cut(file))
        with pytest.raises(DataError, match=rf"{file.name}: expected a whole .*data\.on_error=skip") as caught:
            run_once(folder, tmp_path / "run", workers=workers)
    assert "Traceback" not in str(caught.value)
    file.write_bytes(whole)
    assert same_weights(run_once(folder, tmp_path / "run", workers=workers), finished)


@pytest.mark.parametrize("workers", [0, 1])
def test_skip_goes_on_counts_and_lists(
    workers: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost, measured = file_of(folder, "train", 3), file_of(folder, "val", 1)
    after_epoch(monkeypatch, 0, lambda: [cut(file) for file in (lost, measured)] and None)
    run = run_once(folder, tmp_path / "run", epochs=3, workers=workers, on_error="skip")
    rows = SkipLog.read(run.skipped)
    assert {(row["epoch"], row["part"], row["image"]) for row in rows} == {
        ("2", "train", lost.name),
        ("3", "train", lost.name),
        ("", "val", measured.name),
    }
    assert all("expected a whole " in row["reason"] for row in rows)
    assert "2 images could not be read and were skipped" in " ".join(capsys.readouterr().err.split())
    assert run.epochs_done() == 3
    assert len(run.read_landmarks().radius)  # calibrated on the images that are left
    before = {path.name: path.read_bytes() for path in run.folder.glob("*.csv")}
    assert run_once(folder, run.folder, epochs=3, on_error="skip").folder == run.folder  # finished, and stays as it is
    assert {path.name: path.read_bytes() for path in run.folder.glob("*.csv")} == before


def test_damaged_and_missing_from_the_start_is_refused_or_skipped(folder: Path, tmp_path: Path) -> None:
    lost, gone = file_of(folder, "train", 1), file_of(folder, "val", 0)
    cut(lost)
    with pytest.raises(DataError, match=lost.name):
        run_once(folder, tmp_path / "run")
    gone.unlink()
    run = run_once(folder, tmp_path / "other", on_error="skip", cache=True)
    assert {row["image"] for row in SkipLog.read(run.skipped)} == {lost.name, gone.name}
    assert {record.image for record in read_records(run.data) if not record.pixels} == {lost.name, gone.name}


def test_without_a_fault_skip_changes_nothing_and_lists_nothing(
    finished: RunFolder, drawn: Path, tmp_path: Path
) -> None:
    run = run_once(drawn, tmp_path / "run", on_error="skip")
    assert same_weights(run, finished)
    assert run.skipped.read_text() == "epoch,part,image,reason\n"
    assert summary(run.skipped) == ""
    assert not finished.skipped.exists()


def inputs(folder: Path, kind: type[InputDataset] = InputDataset) -> InputDataset:
    data = tp.LandmarkDataset.load(folder, check_images=False)
    return kind(data, InputPipeline(InputConfig(size=(32, 32)), data.landmarks, AugmentConfig(rotation=20)), seed=3)


def test_only_the_skipped_sample_differs(folder: Path, tmp_path: Path) -> None:
    whole = [inputs(folder)[4, i] for i in range(6)]
    cut(inputs(folder).dataset.samples[2].image)
    data = inputs(folder)
    data.skips = SkipLog("train")
    data.skips.file = tmp_path / "skipped.csv"
    for i, before in enumerate(whole):
        after = data[4, i]
        if i != 2:
            assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(after, before, strict=True))
    assert data[4, 2][3] == 3  # the next one stands in, with its own points
    assert not data[4, 2][1].isnan().any()
    assert data[-1, 2][1].isnan().all()  # in validation nothing counts twice
    assert [row["epoch"] for row in SkipLog.read(tmp_path / "skipped.csv")] == ["5", ""]


def test_instances_of_a_skipped_image_are_not_measured(tmp_path: Path) -> None:
    folder = write_instruments(tmp_path / "set", 4, size=64)
    whole = [inputs(folder, InstanceInputs)[-1, i] for i in range(2)]
    cut(inputs(folder, InstanceInputs).dataset.samples[1].image)
    data = inputs(folder, InstanceInputs)
    data.skips = SkipLog("val")
    found: list[Item] = [data[-1, i] for i in range(2)]
    assert torch.equal(found[0][1], whole[0][1])
    batch = collate(found)
    assert batch.annotated is not None
    assert not batch.annotated[1].any()
    assert batch.points[1].isnan().all()


def test_a_disk_that_is_gone_stops_even_when_images_may_be_skipped(folder: Path) -> None:
    data = inputs(folder)
    data.skips = SkipLog("train")
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match=r"nor can the next 19 images be read: look at the disk"):
        data[0, 5]


def test_a_killed_worker_ends_the_run_in_our_words_and_nothing_is_lost(
    finished: RunFolder, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL is what a machine without memory sends."""
    original = InputDataset.__getitem__

    def killed(self: InputDataset, index: tuple[int, int]) -> Item:
        if get_worker_info() is not None and index[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(InputDataset, "__getitem__", killed)
        with pytest.raises(RunError, match=r"a process that prepares batches was ended from outside.*data\.workers=0"):
            run_once(drawn, tmp_path / "run", workers=1)
    run = RunFolder(tmp_path / "run")
    assert run.epochs_done() == 1  # the second one was cut off
    assert same_weights(run_once(drawn, tmp_path / "run"), finished)  # by data.workers=0


def test_a_line_cut_off_by_a_kill_is_left_out_and_repeats_count_once(tmp_path: Path) -> None:
    file = tmp_path / "skipped.csv"
    for _ in range(2):
        log = SkipLog("train")
        log.file = file
        SkipLog.begin(file)
        log.note(6, "a, b.png", "truncated\nfile")
        log.note(6, "a, b.png", "again")
    file.write_bytes(file.read_bytes() + b"8,train,c.p")
    rows = SkipLog.read(file)
    assert rows == [{"epoch": "7", "part": "train", "image": "a, b.png", "reason": "truncated file"}]
    assert summary(file).startswith("1 images could not be read and were skipped: a, b.png; see ")


# -- data that change ----------------------------------------------------------------------------------------


def stop_after_first(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    def stop() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        after_epoch(patch, 0, stop)
        with pytest.raises(KeyboardInterrupt):
            run_once(folder, out)
    return RunFolder(out)


def brighten(file: Path) -> None:
    Image.fromarray(np.asarray(np.asarray(Image.open(file)) * 0.5, np.uint8)).save(file)


def test_a_run_is_not_resumed_on_other_data_unless_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stop_after_first(folder, tmp_path / "run", monkeypatch)
    records = read_records(run.data)
    file = file_of(folder, "train", 2)
    brighten(file)
    kept = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    with pytest.raises(RunError, match=rf"1 of \d+ images are no longer .* '{file.name}' \(another picture\).*accept"):
        run_once(folder, run.folder)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()} == kept
    run_once(folder, run.folder, on_change="accept")
    noted = read_records(run.data)
    assert noted[: len(records)] == records  # what it has learned from stays known
    assert [record.image for record in noted[len(records) :]] == [file.name]
    assert run.env.read_text().count("\ndata ") == 2


def test_a_changed_annotation_is_refused_and_a_changed_test_row_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stop_after_first(folder, tmp_path / "run", monkeypatch)
    table = folder / "landmarks.csv"
    lines = table.read_text().splitlines()

    def moved(split: str) -> str:
        row = next(i for i, line in enumerate(lines) if f",{split}," in line)
        cells = lines[row].split(",")
        column = lines[0].split(",").index("tip_x")
        cells[column] = str(float(cells[column]) + 1)
        return "\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :]]) + "\n"

    table.write_text(moved("train"))
    with pytest.raises(RunError, match=r"another annotation"):
        run_once(folder, run.folder)
    table.write_text(moved("test"))
    assert run_once(folder, run.folder).epochs_done() == 2


def test_the_run_says_what_made_it(finished: RunFolder) -> None:
    records = read_records(finished.data)
    parts = finished.parts()
    assert {(r.part, r.image) for r in records} == {(part, name) for part, names in parts.items() for name in names}
    line = f"data {fingerprint(records)}, {len(records)} images"
    assert line in finished.env.read_text().splitlines()
    assert all(word in finished.env.read_text() for word in ("python", "torch ", "trigpoint", "device"))


def test_evaluate_warns_when_the_training_data_are_others(folder: Path, tmp_path: Path) -> None:
    run = run_once(folder, tmp_path / "run", epochs=1)
    assert tp.evaluate(run, folder, split="test").warnings == []
    brighten(file_of(folder, "train", 0))
    warnings = tp.evaluate(run, folder, split="test").warnings
    assert len(warnings) == 1
    assert f"{folder} is no longer what the run was trained on: 1 of " in warnings[0]
    file_of(folder, "train", 1).unlink()
    assert "2 of " in data_changed(run, ("tip",))[0]
    (folder / "landmarks.csv").write_text("image,tip_x\n")
    assert "can no longer be read" in data_changed(run, ("tip",))[0]
    shutil.rmtree(folder)
    assert data_changed(run, ("tip",)) == []


# -- images seen before --------------------------------------------------------------------------------------


def test_images_seen_in_training_are_told_by_content(finished: RunFolder, folder: Path) -> None:
    assert seen_before(finished, tp.LandmarkDataset.load(folder, split="test")) == []
    for i, (split, position) in enumerate((("train", 0), ("val", 1))):
        shutil.copy(file_of(folder, split, position), file_of(folder, "test", i))  # another name, the same bytes
    copied = file_of(folder, "test", 2)
    grey = np.asarray(Image.open(file_of(folder, "train", 4)), np.float64)
    Image.fromarray(np.asarray(255 * (grey / 255) ** 0.7, np.uint8)).save(copied)
    test = tp.LandmarkDataset.load(folder, split="test")
    total = len(test)
    told = tp.evaluate(finished, test, split=None).warnings
    trained, name = f"1 of {total} images are among those that the run was trained on", file_of(folder, "train").name
    assert told[0] == f"{trained}, such as {file_of(folder, 'test', 0).name}, there {name}"
    assert f"1 of {total} images look like copies" in told[1]
    assert f"{copied.name}, there {file_of(folder, 'train', 4).name}" in told[1]
    assert f"1 of {total} images are among those that chose the weights of the run" in told[2]
    assert len(told) == 3


def test_the_same_name_alone_is_no_sign(finished: RunFolder, drawn: Path, tmp_path: Path) -> None:
    other = write_catheter(tmp_path / "other", 20, size=32, seed=2)
    data = tp.LandmarkDataset.load(other, split="train")
    assert set(finished.parts()["train"]) & {data.image_name(sample) for sample in data.samples}
    assert seen_before(finished, data) == []
    copied = Path(shutil.copytree(finished.folder, tmp_path / "old"))
    (copied / "data.csv").unlink()  # a run of an earlier version: names are all there is
    assert any("have names of those that" in text for text in seen_before(RunFolder(copied), data))


def test_what_a_stage_of_the_run_has_seen_is_told_too(
    finished: RunFolder, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = RunFolder(shutil.copytree(finished.folder, tmp_path / "above"))
    above.data.write_text(to_csv([]))
    monkeypatch.setattr("trigpoint.runs.provenance._origins", lambda run: [("coarse stage", finished)])
    told = seen_before(above, tp.LandmarkDataset.load(drawn, split="train"))
    assert len(told) == 1
    assert f"the run was trained on (its coarse stage, {finished.folder})" in told[0]


# -- the same again ------------------------------------------------------------------------------------------


def test_same_seed_same_weights_and_another_seed_others(finished: RunFolder, drawn: Path, tmp_path: Path) -> None:
    again = run_once(drawn, tmp_path / "again", workers=1)
    assert same_weights(again, finished)
    (one, note), (two, noted) = again.load_weights(), finished.load_weights()
    assert note == noted
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [r.pixels for r in read_records(again.data)] == [r.pixels for r in read_records(finished.data)]
    other = train(recipe(drawn), ["seed=1"], out=tmp_path / "other", progress=False)
    assert not same_weights(other, finished)
