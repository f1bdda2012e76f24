"""Trainings that MLflow or Weights & Biases record: what stands there afterwards, that one run stays one run, and that
neither of them can cost a training."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.config import parse
from trigpoint.errors import ConfigError, EndedEarly, RunError, Stopped
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.listing import find_runs
from trigpoint.runs.record import digest
from trigpoint.synthetic import write_catheter
from trigpoint.training import tracking, train
from trigpoint.training.tracking import tools

VARIABLES = ("WANDB_MODE", "WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catheter(tmp_path_factory.mktemp("data") / "catheter", 20, size=32, seed=1)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


def recipe(data: Path, logger: str, **more: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {"path": str(data), "input": {"size": [32, 32]}, "workers": 0},
        "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "fixed"},
        "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "logger": logger, **more},
    }
    return parse(Recipe, values)


def trained(data: Path, out: Path, logger: str, **more: Any) -> RunFolder:
    return train(recipe(data, logger), out=out, progress=False, **more)


# -- MLflow -----------------------------------------------------------------------------------------------------------


def recorded(place: Path) -> Any:
    """Client, and the one run of the database beside the runs."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("trigpoint")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


@pytest.mark.slow
def test_mlflow_has_the_recipe_the_epochs_the_measures_and_the_card(
    data: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    pytest.importorskip("mlflow")
    run = trained(data, tmp_path / "runs" / "one", "mlflow")
    client, there = recorded(tmp_path / "runs")
    assert there.info.status == "FINISHED"
    assert there.info.run_name == "one"
    assert there.data.tags["recipe_sha256"] == digest(run.config)
    assert there.data.params["method.network.width"] == "4"
    assert there.data.params["train.epochs"] == "2"
    history = run.history_table()
    for name in set(history) - {"epoch"}:
        logged = client.get_metric_history(there.info.run_id, name)
        assert [one.step for one in logged] == [1, 2], name
        np.testing.assert_allclose([one.value for one in logged], history[name], err_msg=name)
    record = json.loads((run.folder / "record.json").read_text())
    assert there.data.metrics["final/val_mre_px"] == record["error"]
    assert there.data.metrics["best/val_mre_px"] == pytest.approx(history["val_mre_px"].min())
    files = {file.path for file in client.list_artifacts(there.info.run_id)}
    assert {"card.md", "config.yaml", "record.json", "metrics.csv", "history.png"} == files
    kept = Path(client.download_artifacts(there.info.run_id, "card.md"))
    assert kept.read_text() == (run.folder / "card.md").read_text()
    assert [found.name for found in find_runs(tmp_path / "runs")] == ["one"]  # the copies are no runs

    told = cli(
        "evaluate", run.folder, "--data", data, "--html", tmp_path / "report.html", "--json", tmp_path / "m.json"
    )
    assert f"recorded with {run.folder}: mlflow" in told
    client, there = recorded(tmp_path / "runs")
    measured = json.loads((tmp_path / "m.json").read_text())
    assert there.data.metrics["test/mre_px"] == pytest.approx(measured["mre_px"])
    assert {"report.html", "m.json"} < {file.path for file in client.list_artifacts(there.info.run_id)}
    assert there.info.status == "FINISHED"


@pytest.fixture
def cli() -> Callable[..., str]:
    """Runs a command in this process and gives what it told."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return call


@pytest.mark.slow
def test_a_stopped_and_an_extended_training_stay_one_run_of_mlflow(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")

    def stop(row: dict[str, Any]) -> None:
        raise Stopped

    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path / "one", "mlflow", watch=stop)
    first = recorded(tmp_path)[1]
    assert first.info.status == "KILLED"
    trained(data, tmp_path / "one", "mlflow")
    run = trained(data, tmp_path / "one", "mlflow", more_epochs=1)
    client, there = recorded(tmp_path)
    assert there.info.run_id == first.info.run_id
    assert there.info.status == "FINISHED"
    logged = client.get_metric_history(there.info.run_id, "train_loss")
    assert [one.step for one in logged] == [1, 2, 3]
    np.testing.assert_allclose([one.value for one in logged], run.history_table()["train_loss"])
    assert there.data.params["train.epochs"] == "2"  # which MLflow never changes
    assert there.data.tags["now.train.epochs"] == "3"
    assert there.data.tags["recipe_sha256"] == digest(run.config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status"), [(RunError("of this test"), "FAILED"), (EndedEarly("of this test"), "KILLED")]
)
def test_a_training_that_fails_is_marked_so(data: Path, tmp_path: Path, error: Exception, status: str) -> None:
    pytest.importorskip("mlflow")

    def end(row: dict[str, Any]) -> None:
        raise error

    with pytest.raises(type(error), match="of this test"):
        trained(data, tmp_path / "one", "mlflow", watch=end)
    assert recorded(tmp_path)[1].info.status == status


@pytest.mark.slow
def test_what_mlflow_does_not_take_is_told_once_and_costs_no_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")

    def refuse(self: Any, metrics: Any, step: int | None = None) -> None:
        raise OSError("the server is gone")

    monkeypatch.setattr(tools._Mlflow, "log_metrics", refuse)
    run = trained(data, tmp_path / "one", "mlflow")
    assert run.epochs_done() == 2
    told = capsys.readouterr().err
    assert told.count("warning: mlflow did not take an epoch (the server is gone); the run folder has it") == 1
    assert "warning: mlflow did not take the measures" in told


@pytest.mark.slow
def test_a_database_that_lost_the_run_gets_a_new_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    run = trained(data, tmp_path / "one", "mlflow")
    before = recorded(tmp_path)[1].info.run_id
    other = shutil.move(run.folder, tmp_path / "elsewhere" / "one")  # without the database that is beside it
    trained(data, Path(other), "mlflow", more_epochs=1)
    assert f"has no run {before}, with which {other} was recorded; this is a new one" in capsys.readouterr().err
    assert recorded(tmp_path / "elsewhere")[1].info.run_id != before


def test_an_address_of_mlflow_that_is_none_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")  # below a file
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # it tries again for long
    with pytest.raises(ConfigError, match=r"train.logger=mlflow: expected a run .* MLFLOW_TRACKING_URI"):
        trained(data, tmp_path / "one", "mlflow")


# -- Weights & Biases -------------------------------------------------------------------------------------------------


def records(file: Path) -> Iterator[Any]:
    """The records of an offline run: protocol buffers in the log format of LevelDB, blocks of 32 KiB after 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last piece of one
            found = wandb_internal_pb2.Record()
            found.ParseFromString(whole)
            whole = b""
            yield found


def read(folder: Path) -> tuple[set[str], dict[str, Any], list[dict[str, Any]], list[int], set[str]]:
    """Ids, config, rows, exit codes and files of all offline runs of a run folder, in their order."""
    ids, config, rows, codes, files = set(), {}, [], [], set()
    for place in sorted((folder / "wandb").glob("offline-run-*")):
        files |= {file.name for file in (place / "files").iterdir()}
        for one in records(next(place.glob("*.wandb"))):
            kind = one.WhichOneof("record_type")
            if kind == "run":
                ids.add(one.run.run_id)
            elif kind == "config":
                config |= {item.key: json.loads(item.value_json) for item in one.config.update if item.key}
            elif kind == "history":
                rows.append({(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in one.history.item})
            elif kind == "exit":
                codes.append(one.exit.exit_code)
    return ids, config, rows, codes, files


def ended(folder: Path, runs: int) -> tuple[set[str], dict[str, Any], list[dict[str, Any]], list[int], set[str]]:
    """As ``read``, once all runs have ended: W&B's own process writes that a moment after it was told."""
    until = time.monotonic() + 60
    while len((found := read(folder))[3]) < runs and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_wandb_stays_on_the_machine_and_one_run_stays_one(
    data: Path, tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")

    def stop(row: dict[str, Any]) -> None:
        raise Stopped

    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path / "one", "wandb", watch=stop)
    run = trained(data, tmp_path / "one", "wandb")
    assert wandb.run is None  # so that another training of this process is another run
    ids, config, rows, codes, files = ended(run.folder, 2)
    assert ids == {json.loads((run.folder / "tracking.json").read_text())["id"]}
    assert codes == [1, 0]
    assert config["method"]["network"]["width"] == 4
    assert config["recipe_sha256"] == digest(run.config)
    history, epochs = run.history_table(), [row for row in rows if "train_loss" in row]
    assert [row["trainer/global_step"] for row in epochs] == [1, 2]
    for name in set(history) - {"epoch"}:
        np.testing.assert_allclose([row[name] for row in epochs], history[name], err_msg=name)
    assert rows[-1]["final/val_mre_px"] == json.loads((run.folder / "record.json").read_text())["error"]
    assert {"card.md", "recipe.yaml", "record.json", "metrics.csv", "history.png"} <= files
    cli("evaluate", run.folder, "--data", data, "--html", tmp_path / "report.html")
    again, _, rows, codes, files = ended(run.folder, 3)
    assert again == ids
    assert codes == [1, 0, 0]
    assert rows[-1]["test/mre_px"] > 0
    assert "report.html" in files


# -- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_without_the_package_nothing_begins(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ConfigError, match=rf"train.logger={name}: {name} is not installed; pip install 'trigpoint\[{name}\]'"
    ):
        trained(data, tmp_path / "one", name)
    assert not (tmp_path / "one").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_record_changes_nothing_of_the_training(name: str, data: Path, tmp_path: Path) -> None:
    pytest.importorskip(name)
    plain, other = trained(data, tmp_path / "plain", "tensorboard"), trained(data, tmp_path / "other", name)
    ours, theirs = plain.load_weights()[0], other.load_weights()[0]
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not (plain.folder / "tracking.json").exists()
    assert not (other.folder / "tensorboard").exists()


@pytest.mark.slow
def test_a_run_may_be_recorded_elsewhere_when_it_goes_on(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    run = trained(data, tmp_path / "one", "tensorboard")
    trained(data, run.folder, "mlflow", more_epochs=1)
    client, there = recorded(tmp_path)
    assert [one.step for one in client.get_metric_history(there.info.run_id, "train_loss")] == [3]


@pytest.mark.slow
def test_an_evaluation_without_the_package_stands(
    data: Path, tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(data, tmp_path / "one", "tensorboard")
    (run.folder / "tracking.json").write_text('{"logger": "wandb", "id": "abc"}')
    monkeypatch.setitem(sys.modules, "wandb", None)
    told = cli("evaluate", run.folder, "--data", data)
    assert "not recorded: train.logger=wandb: wandb is not installed" in told
    (run.folder / "tracking.json").write_text('{"logger": "abc"}')
    with pytest.raises(RunError, match=r"tracking\.json: is damaged"):
        tracking.noted(run)
    shutil.rmtree(run.folder)
