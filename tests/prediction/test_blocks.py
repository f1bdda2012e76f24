"""Many images in blocks: the tables of one call, by several processes, shards or jobs, and after any kill."""

from __future__ import annotations

import multiprocessing
import os
import queue
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.config import parse
from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError, RunError, Stopped
from trigpoint.landmarks import ImageDetections
from trigpoint.prediction import Predictor, measurements, predict_files, sharing, submitting
from trigpoint.prediction.blocks import Blocks, Job
from trigpoint.prediction.files import image_files
from trigpoint.prediction.sharing import interrupted, join, predict_blocks
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.lock import locked
from trigpoint.synthetic import write_catheter, write_instruments
from trigpoint.training import train
from warm import Started

LIMIT = 300.0  # seconds, many more than any of them needs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of three landmarks that knows what images are usual and makes measurements."""
    folder = write_catheter(tmp_path_factory.mktemp("blocks") / "data", 90, size=32, seed=1)
    table = pd.read_csv(folder / "landmarks.csv")
    for name, away in (("left", -6), ("right", 6)):
        for axis in "xy":
            table[f"{name}_{axis}"] = (table[f"tip_{axis}"] + away).clip(1, 30)
    table.drop(columns=["tip_v", "split"], errors="ignore").to_csv(folder / "landmarks.csv", index=False)
    measured = {"width": {"distance": ["left", "right"]}, "bend": {"angle": ["left", "tip", "right"]}}
    about = {"name": "three", "images": "images", "table": "landmarks.csv", "measurements": measured}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(about))
    values = {
        "data": {"path": str(folder), "input": {"size": [32, 32]}, "workers": 0, "val_share": 0.4},
        "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "fixed"},
        "train": {"epochs": 3, "batch_size": 8, "accelerator": "cpu"},
    }
    return train(parse(Recipe, values), out=folder.parent / "run", progress=False)


@pytest.fixture(scope="module")
def images(run: RunFolder) -> list[Path]:
    """23 images, two of them much brighter than those that were validated on."""
    files = image_files([Path(str(run.recipe().data.path)) / "images"])[:23]
    folder = run.folder.parent / "images"
    folder.mkdir()
    for i, file in enumerate(files):
        pixels = np.asarray(Image.open(file))
        Image.fromarray(np.minimum(pixels.astype(int) + 130, 255).astype(np.uint8) if i in (4, 17) else pixels).save(
            folder / file.name
        )
    return image_files([folder])


def job_of(run: RunFolder, files: Sequence[Path], out: Path, **options: Any) -> Job:
    names = tuple(f"../{file.parent.name}/{file.name}" for file in files)
    return Job(run.folder, tuple(files), names, out, **{"size": 5, "device": "cpu", **options})


def predictor_of(run: RunFolder) -> Predictor:
    return Predictor.load(run, device="cpu")


def call(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# -- the same tables ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [None, (0.2, 0.1), "some"])
def test_blocks_give_the_tables_of_one_call(
    spacing: Any, run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = {None: ["width"], "some": ["width", "width_mm"]}.get(spacing, ["width_mm"])
    if spacing == "some":  # a block with and one without: angles are those on the object
        known = {file for i, file in enumerate(images) if i < 7}
        monkeypatch.setattr(measurements, "image_spacing", lambda file: ((0.2, 0.1) if file in known else None, None))
        spacing = None
    told: dict[str, list[str]] = {"one": [], "blocks": []}
    (tmp_path / "tables").mkdir()
    one, other = tmp_path / "tables" / "one.csv", tmp_path / "tables" / "shared.csv"
    predictor = predictor_of(run)
    predict_files(predictor, images, one, batch_size=5, spacing_mm=spacing, flag=True, tell=told["one"].append)
    written = pd.read_csv(one)["image"]
    job = Job(run.folder, tuple(images), tuple(written), other, size=5, batch_size=5, device="cpu", spacing_mm=spacing)
    assert predict_blocks(job, lambda: predictor) == (0, 23)
    assert join(job, predictor, flag=True, tell=told["blocks"].append) == 23
    assert other.read_text() == one.read_text()
    assert set(pd.read_csv(other)["flag"].dropna()) >= {"unlike"}
    assert measurements.beside(other).read_text() == measurements.beside(one).read_text()
    assert [name for name in pd.read_csv(measurements.beside(one)) if name in ("width", "width_mm")] == lengths
    assert [text.replace(other.stem, one.stem) for text in told["blocks"]] == told["one"]
    assert any("brighter" in text for text in told["one"])
    assert not job.folder.exists()


@pytest.mark.slow
def test_blocks_of_a_multi_instance_run(tmp_path: Path) -> None:
    data = write_instruments(tmp_path / "data", 8, size=(48, 64))
    table = pd.read_csv(data / "landmarks.csv", dtype=str)
    table.drop(columns="split").to_csv(data / "landmarks.csv", index=False)
    values = {
        "data": {"path": str(data), "input": {"size": [48, 64]}, "workers": 0, "val_share": 0.5},
        "method": {"name": "instances", "network": {"name": "unet", "width": 4, "depth": 2}},
        "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu"},
    }
    made = train(parse(Recipe, values), out=tmp_path / "run", progress=False)
    files = image_files([data / "images"])
    predictor = predictor_of(made)
    one, other = tmp_path / "one.csv", tmp_path / "blocks.csv"
    predict_files(predictor, files, one, batch_size=3)
    names = tuple(dict.fromkeys(pd.read_csv(one)["image"]))
    job = Job(made.folder, tuple(files), names, other, size=3, batch_size=3, device="cpu")
    predict_blocks(job, lambda: predictor)
    join(job, predictor)
    assert other.read_text() == one.read_text()
    pytest.importorskip("pyarrow")
    parquet = Job(made.folder, tuple(files), names, tmp_path / "b.parquet", size=3, batch_size=3, device="cpu")
    predict_blocks(parquet, lambda: predictor)
    join(parquet, predictor)
    same_values(tmp_path / "b.parquet", one)


def same_values(parquet: Path, csv: Path) -> None:
    """The same columns and cells, of numbers as numbers."""
    ours, theirs = pd.read_parquet(parquet), pd.read_csv(csv)
    assert list(ours) == list(theirs)
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)


@pytest.mark.slow
def test_parquet_is_the_table_of_the_csv_file_and_is_read_as_one(
    run: RunFolder, images: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    folder = images[0].parent
    for name, options in (("c.csv", ()), ("p.parquet", ()), ("b.parquet", ("--processes", 1, "--block-size", 4))):
        told = call("predict", run.folder, folder, "--out", tmp_path / name, "--flag", "--device", "cpu", *options)
        assert told.exit_code == 0, told.output
    for name in ("p.parquet", "b.parquet"):
        same_values(tmp_path / name, tmp_path / "c.csv")
        same_values(measurements.beside(tmp_path / name), measurements.beside(tmp_path / "c.csv"))
        ours, theirs = (LandmarkDataset.load(tmp_path / table) for table in (name, "c.csv"))
        np.testing.assert_array_equal(ours.points, theirs.points)
        assert [sample.image for sample in ours.samples] == [sample.image for sample in theirs.samples]


def test_parquet_without_pyarrow_is_refused_before_any_work(
    run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setattr(Predictor, "predict", lambda *given, **more: pytest.fail("it predicted"))
    for options in ((), ("--processes", 1)):
        told = call("predict", run.folder, images[0], "--out", tmp_path / "p.parquet", *options)
        assert told.exit_code == 2
        assert "pyarrow is not installed; pip install 'trigpoint[parquet]'" in " ".join(told.output.split())
    assert not any(tmp_path.iterdir())


def test_a_damaged_parquet_table_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"p\.parquet: expected a Parquet table"):
        LandmarkDataset.load(tmp_path / "p.parquet")


# -- each image once --------------------------------------------------------------------------------------------------


class Counting:
    """A predictor that notes the images it is given, and is stopped after so many calls."""

    def __init__(self, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[Path] = []
        self.stop_after: int | None = None
        self.calls = 0
        original = predictor.predict

        def predict(images: Any, *given: Any, **more: Any) -> Any:
            if self.calls == self.stop_after:
                raise Stopped(signal.SIGTERM)
            self.calls += 1
            self.seen += images
            return original(images, *given, **more)

        monkeypatch.setattr(predictor, "predict", predict)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_what_was_done_before_a_stop_is_not_done_again(
    after: int, run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(run)
    counting = Counting(predictor, monkeypatch)
    job = job_of(run, images, tmp_path / "p.csv", batch_size=5)
    counting.stop_after = after
    with pytest.raises(Stopped) as stopped:
        predict_blocks(job, lambda: predictor)
    assert stopped.value.__notes__ == [f"{job.folder}: {after} of 5 blocks are done; the same command goes on"]
    with pytest.raises(RunError, match=f"expected all 5 blocks, {5 - after} are missing"):
        join(job, predictor)
    counting.stop_after = None
    assert predict_blocks(job, lambda: predictor) == (5 * after, 23)
    assert counting.seen == images
    assert predict_blocks(job, lambda: pytest.fail("nothing is left to do")) == (23, 23)
    join(job, predictor)
    assert pd.read_csv(job.out)["image"].tolist() == list(job.names)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    at = content.index(b"points.npy") + 200
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_damaged_block_is_predicted_again(
    harm: Callable[[Path], Any], run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(run)
    job = job_of(run, images, tmp_path / "p.csv")
    predict_blocks(job, lambda: predictor)
    before = job.file(2).read_bytes()
    harm(job.file(2))
    counting = Counting(predictor, monkeypatch)
    assert predict_blocks(job, lambda: predictor) == (18, 23)
    assert counting.seen == images[10:15]
    assert Blocks(job).read(2)[0][0].image == job.names[10]
    assert len(job.file(2).read_bytes()) == len(before)


def test_an_image_that_has_changed_is_predicted_again(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    shutil.copytree(images[0].parent, tmp_path / "images")
    files = image_files([tmp_path / "images"])
    job = job_of(run, files, tmp_path / "p.csv")
    predictor = predictor_of(run)
    predict_blocks(job, lambda: predictor)
    Image.new("L", (32, 32)).save(files[7])
    assert Blocks(job).missing() == [1]


def test_blocks_of_another_prediction_are_refused(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    predictor = predictor_of(run)
    job = job_of(run, images, tmp_path / "p.csv")
    predict_blocks(job, lambda: predictor, shard=(1, 2))
    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    weights, note = RunFolder(other).load_weights()
    RunFolder(other).save_weights({key: value * 2 for key, value in weights.items()}, note)
    for changed, what in (
        (job_of(RunFolder(other), images, job.out), "another model"),
        (job_of(run, images[1:], job.out), "another images and number of images"),
        (job_of(run, images, job.out, spacing_mm=(0.1, 0.1)), "another options"),
        (job_of(run, images, job.out, size=4), "another images in a block"),
    ):
        with pytest.raises(RunError, match=rf"holds blocks of another prediction \({what}\); .*--force"):
            predict_blocks(changed, lambda: predictor)
    changed = job_of(RunFolder(other), images, job.out, batch_size=3)
    assert predict_blocks(job, lambda: predictor, replace=True) == (13, 23)  # its own are kept
    stray = job.file(0).read_bytes()
    assert predict_blocks(changed, lambda: Predictor.load(other, "cpu"), replace=True) == (0, 23)
    changed.file(0).write_bytes(stray)  # of a shard that was still at work
    assert Blocks(changed).missing() == [0]


def test_a_table_that_was_written_before_a_kill_is_left_and_its_blocks_go(
    run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(run)
    job = job_of(run, images, tmp_path / "p.csv")
    predict_blocks(job, lambda: predictor)
    assert not interrupted(job)

    def killed(self: Blocks) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Blocks, "remove", killed)
        with pytest.raises(Stopped):
            join(job, predictor)
    assert job.folder.is_dir()
    assert interrupted(job)
    assert not job.folder.exists()
    assert len(pd.read_csv(job.out)) == 23


# -- shards, processes and kills ------------------------------------------------------------------------------------


def test_shards_share_the_blocks_and_the_plain_command_joins_them(
    run: RunFolder, images: list[Path], tmp_path: Path
) -> None:
    command = ("predict", run.folder, images[0].parent, "--device", "cpu", "--block-size", 4)
    plain = call(*command[:-2], "--out", tmp_path / "plain.csv")
    assert plain.exit_code == 0, plain.output
    command = (*command, "--out", tmp_path / "p.csv")
    for number, there in ((1, 2), (2, 4), (3, 6)):
        told = call(*command, "--shard", f"{number}/3")
        assert told.exit_code == 0, told.output
        text = " ".join(told.output.split())
        assert f"shard {number}/3 is done, {there} of 6 blocks are there" in text
        assert "the same command without --shard writes the table" in text
        assert "have nothing to do" not in text
    assert not (tmp_path / "p.csv").exists()
    few = call(
        "predict",
        run.folder,
        images[0].parent,
        "--device",
        "cpu",
        "--out",
        tmp_path.with_suffix(".few") / "few.csv",
        "--shard",
        "2/3",
    )
    told = " ".join(few.output.split())
    assert "23 images are 1 block of 256, so 2 of the shards have nothing to do" in told
    assert "divide them with --block-size 8" in told
    with locked(tmp_path / "p.csv.blocks" / "shard-2-of-3.lock"):
        told = call(*command)
        assert told.exit_code == 2
        assert "shard-2-of-3 is being predicted by process" in " ".join(told.output.split())
        told = call(*command, "--shard", "2/3")
        assert "its shard 2/3 is being predicted by process" in " ".join(told.output.split())
    told = call(*command)
    assert told.exit_code == 0, told.output
    assert "23 of 23 images were done before" in " ".join(told.output.split())
    assert (tmp_path / "p.csv").read_text() == (tmp_path / "plain.csv").read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "p-measurements.csv", "p.csv", "plain-measurements.csv", "plain.csv",
    ]  # fmt: skip
    told = call(*command)
    assert told.exit_code == 2  # as any table that is there


@pytest.mark.slow
@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.soak), signal.SIGTERM])
def test_two_processes_that_are_ended_go_on_where_they_were(
    number: int, run: RunFolder, images: list[Path], tmp_path: Path
) -> None:
    if sys.platform == "win32":
        pytest.skip("no such signals")
    many = tmp_path / "many"
    many.mkdir()
    for i in range(400):
        os.link(images[i % 23], many / f"{i:04d}.png")
    out = tmp_path / "p.csv"
    command = ("-m", "trigpoint", "predict", run.folder, many, "--device", "cpu", "--out", out, "--block-size", 2)
    started = Started(*command, "--processes", 2)
    folder, until = tmp_path / "p.csv.blocks", time.monotonic() + LIMIT
    while len(list(folder.glob("*.npz"))) < 5 and time.monotonic() < until:
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(number)
    ended = started.ended(LIMIT)
    assert ended.returncode == (-9 if number == signal.SIGKILL else 143), ended.stderr
    assert not out.exists()
    if number == signal.SIGTERM:
        assert "of 200 blocks are done; the same command goes on" in " ".join(ended.stderr.split())
    done = {file: file.stat().st_mtime_ns for file in folder.glob("*.npz")}
    time.sleep(0.5)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*.npz")} == done  # no process is left
    assert 5 <= len(done) < 200
    whole = call(*command[2:], "--shard", "1/1")
    assert whole.exit_code == 0, whole.output
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert len(list(folder.glob("*.npz"))) == 200
    told = call(*command[2:])
    assert told.exit_code == 0, told.output
    alone = tmp_path / "alone.csv"
    assert call("predict", run.folder, many, "--device", "cpu", "--out", alone).exit_code == 0
    ours, theirs = pd.read_csv(out), pd.read_csv(alone)
    assert ours["image"].tolist() == theirs["image"].tolist()
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=0, atol=2e-3)  # batches of other sizes


@pytest.mark.slow
def test_a_process_that_dies_is_told(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    predictor = predictor_of(run)
    job = job_of(run, images, tmp_path / "p.csv")
    with pytest.raises(RunError, match=r"ended from outside \(signal 9\), .* fewer --processes"):
        predict_blocks(job, lambda: predictor, processes=2, progress=kill)


def test_what_another_process_cannot_read_is_told(
    run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "end_with_parent", lambda: None)
    monkeypatch.setattr(sharing.signal, "signal", lambda *given: None)
    bad = tmp_path / "bad.png"
    bad.write_bytes(images[0].read_bytes()[:-40])
    job = job_of(run, [images[0], bad], tmp_path / "p.csv")
    said: queue.SimpleQueue[Any] = queue.SimpleQueue()
    common = SimpleNamespace(
        look_at=lambda files: None, begin=SimpleNamespace(wait=lambda: None), said=said, blocks=list, add=int
    )
    with pytest.raises(SystemExit) as ended:
        sharing._help(1, 1, job, [0], common)  # type: ignore[arg-type]
    assert ended.value.code == 1
    assert "bad.png" in str(said.get())


def test_files_that_are_no_images_are_named_before_any_work(
    run: RunFolder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.png").write_bytes(b"none")
    monkeypatch.setattr(Blocks, "predict", lambda *given: pytest.fail("it predicted"))
    job = job_of(run, [*images, tmp_path / "bad.png"], tmp_path / "p.csv")
    with pytest.raises(DataError, match=r"bad\.png"):
        predict_blocks(job, lambda: predictor_of(run))


# -- jobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_processes_look_for_files_that_are_no_images(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    """More than one part for each, the wrong ones in the first, a later and the last part, told in their order."""
    many = [tmp_path / f"{number:04d}{images[0].suffix}" for number in range(5 * sharing._LOOKED_AT + 7)]
    wrong = [many[3], many[2 * sharing._LOOKED_AT + 1], many[-1]]
    for file in many:
        file.write_bytes(b"no image") if file in wrong else file.symlink_to(images[0])
    job = Job(run.folder, tuple(many), tuple(file.name for file in many), tmp_path / "out.csv", 64)
    with pytest.raises(DataError) as told:
        predict_blocks(job, lambda: pytest.fail("nothing is predicted"), processes=2)
    lines = str(told.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [str(file) for file in wrong]
    assert not list(job.folder.glob("*.npz"))


@pytest.mark.soak
def test_jobs_of_submitit_share_the_blocks(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    plain = call("predict", run.folder, images[0].parent, "--device", "cpu", "--out", tmp_path / "plain.csv")
    assert plain.exit_code == 0, plain.output
    command = ("predict", run.folder, images[0].parent, "--device", "cpu", "--out", tmp_path / "p.csv")
    jobs = ("--launcher", "submitit", "--jobs", 2, "--slurm", "executor=local", "--slurm", "timeout_min=5")
    told = call(*command, *jobs, "--block-size", 4)
    assert told.exit_code == 0, told.output
    assert (tmp_path / "p.csv").read_text() == (tmp_path / "plain.csv").read_text()
    assert not (tmp_path / "p.csv.blocks").exists()


@pytest.mark.soak
def test_a_job_that_fails_is_named_with_its_log(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    bad = tmp_path / "bad.png"
    bad.write_bytes(images[0].read_bytes()[:-40])  # with a header
    job = job_of(run, [bad, *images[:9]], tmp_path / "p.csv")
    with pytest.raises(RunError, match=r"shard 1/2: job \S+ failed: .*bad\.png.*; see .*\.err"):
        predict_in_jobs_locally(job)
    assert Blocks(job).missing() == [0]  # the other has ended its work


def predict_in_jobs_locally(job: Job) -> None:
    submitting.predict_in_jobs(job, 2, {"executor": "local", "timeout_min": "5"})


def test_a_job_is_read_as_it_was_written(run: RunFolder, images: list[Path], tmp_path: Path) -> None:
    job = job_of(run, images, tmp_path / "p.csv", group=3.0, spacing_mm=(0.1, 0.2))
    Blocks(job).open()
    assert Job.of(job.keep()) == job


# -- what does not go together --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--processes", 2, "--overlay", "drawn"), "--overlay: is made from all that was found at once"),
        (("--shard", "1/2", "--devices", 2), "--shard: starts processes itself, got several"),
        (("--shard", "3/2"), "--shard: expected 1 to 2 of 2, got '3/2'"),
        (("--shard", "half"), "--shard: expected one of N such as 2/8, got 'half'"),
        (("--jobs", 2), "--jobs: is of Slurm jobs, got --launcher local"),
        (("--slurm", "partition=gpu"), "--slurm: is of Slurm jobs, got --launcher local"),
        (("--launcher", "submitit", "--shard", "1/2"), "--shard: is chosen for each job"),
        (("--launcher", "submitit", "--slurm", "gpu"), "--slurm: expected KEY=VALUE such as partition=gpu"),
        (("--launcher", "submitit", "--slurm", "partitoin=gpu", "--slurm", "executor=local"), "partitoin"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: tuple[object, ...], expected: str, run: RunFolder, images: list[Path], tmp_path: Path
) -> None:
    if "partitoin" in expected:
        pytest.importorskip("submitit")
    told = call("predict", run.folder, images[0], "--out", tmp_path / "p.csv", "--device", "cpu", *options)
    assert told.exit_code == 2
    assert expected in " ".join(told.output.split())
    assert not any(tmp_path.iterdir())


def test_frames_are_not_shared(run: RunFolder, tmp_path: Path) -> None:
    frames = [Image.new("L", (32, 32), shade) for shade in (10, 200)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    told = call("predict", run.folder, tmp_path / "two.tif", "--out", tmp_path / "p.csv", "--processes", 2)
    assert told.exit_code == 2
    assert "--processes: is for single images, got a video or frames" in " ".join(told.output.split())


def test_a_block_keeps_what_was_found() -> None:
    from trigpoint.prediction.blocks import _packed, _unpacked

    rng = np.random.default_rng(0)
    found = [
        ImageDetections(
            "a.png", rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3)), {"spread": rng.normal(size=(2, 3))}
        ),
        ImageDetections("b.png", np.zeros((0, 3, 2)), np.zeros((0, 3)), scale=2.5, look=(0.1, 0.2)),
        ImageDetections("c.png", rng.normal(size=(1, 3, 2)), rng.normal(size=(1, 3)), scale=0.5),
    ]
    arrays = _packed(found, [None, (0.1, 0.2), None]) | {"names": np.array(["a.png", "b.png", "c.png"])}
    back, spacings = _unpacked(arrays)
    assert spacings == [None, (0.1, 0.2), None]
    for one, other in zip(back, found, strict=True):
        assert (one.image, one.scale, one.look, one.doubt) == (other.image, other.scale, other.look, other.doubt)
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(back[0].numbers["spread"], found[0].numbers["spread"])
    assert np.isnan(back[2].numbers["spread"]).all()
