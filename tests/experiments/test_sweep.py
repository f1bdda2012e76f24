"""A sweep of trainings: spaces, what is remembered, what is ended early, and that it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.errors import ConfigError, RunError
from trigpoint.experiments import sweep as sweeping
from trigpoint.experiments.spaces import Space, divided
from trigpoint.experiments.sweep import Sweep, rows
from trigpoint.runs import RunFolder
from trigpoint.runs.lock import locked
from trigpoint.synthetic import write_catheter

optuna = pytest.importorskip("optuna")
SPACES = {"train.optimizer.lr": Space("loguniform", (1e-4, 1e-1)), "method.loss.name": Space("choice", ("mse", "kl"))}


class Trainings:
    """In place of trainings: a run whose error follows the learning rate, by the overrides that it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epochs: int = 3) -> None:
        self.begun: list[tuple[str, dict[str, str]]] = []
        self.stop_at: int | None = None
        self.fail: type[Exception] | None = None
        self.epochs = epochs
        monkeypatch.setattr(sweeping, "train", self)
        monkeypatch.setattr(
            sweeping, "least", lambda run: ("val_mre_px", self.error(dict(self.begun)[run.folder.name]))
        )

    @staticmethod
    def error(values: dict[str, str]) -> float:
        return abs(float(np.log10(float(values["train.optimizer.lr"]))) + 2.5) + 1

    def __call__(self, recipe: str, given: list[str], out: Path, progress: bool, watch: Any) -> RunFolder:
        values = dict(text.split("=", 1) for text in given)
        self.begun.append((out.name, values))
        if self.stop_at == len(self.begun):
            raise KeyboardInterrupt
        if self.fail is not None:
            raise self.fail("no")
        for epoch in range(1, self.epochs + 1):
            if watch is not None:
                watch({"epoch": epoch, "val_mre_px": self.error(values) * (1 + 1 / epoch)})
        return RunFolder(out)


def a_sweep(folder: Path, **more: Any) -> Sweep:
    return Sweep("fast", SPACES, ["train.epochs=6"], folder / "sweep", **{"trials": 12, **more})


def test_spaces_are_read() -> None:
    spaces, fixed = divided(["a.b=loguniform(1e-4, 1e-2)", "c=5", "d=choice(x, [1, 2], 3)", "e=integer(2, 9)"])
    assert spaces == {
        "a.b": Space("loguniform", (1e-4, 1e-2)),
        "d": Space("choice", ("x", [1, 2], 3)),
        "e": Space("integer", (2, 9)),
    }
    assert fixed == ["c=5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=loguniform(0, 1)", "above 0"),
        ("a=uniform(2, 1)", "the smaller one first"),
        ("a=uniform(1)", "two numbers"),
        ("a=integer(1, 2.5)", "a whole number"),
        ("a=choice(x)", "two or more values"),
        ("a=choice(x, x)", "that differ"),
        ("a=5", "expected a key with values to draw from"),
        ("a=logunifrm(1, 2)", "unknown way to draw values 'logunifrm'; did you mean 'loguniform'"),
    ],
)
def test_wrong_spaces_are_refused_with_what_they_should_be(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        divided([text])


def test_trials_follow_what_worked_and_bad_ones_end_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(monkeypatch)
    told = list[str]()
    study = a_sweep(tmp_path, trials=14).go_on(told.append, False)
    found = rows(study, SPACES)
    assert len(found) == len(trainings.begun) == 14
    assert {row["state"] for row in found} == {"complete", "pruned"}
    assert found[0]["error"] == min(row["error"] for row in found if row["state"] == "complete") < 1.8
    assert {row["method.loss.name"] for row in found} == {"mse", "kl"}
    assert trainings.begun[0][1]["train.epochs"] == "6"
    assert any("ended early, others were better" in line for line in told)
    whole = Trainings(monkeypatch)
    a_sweep(tmp_path / "all", prune=False).go_on(told.append, False)
    assert len(whole.begun) == 12


def test_a_stopped_sweep_goes_on_with_the_trial_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    trainings.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        a_sweep(tmp_path, trials=5).go_on(lambda line: None, False)
    study = a_sweep(tmp_path, trials=5).go_on(lambda line: None, False)
    assert trainings.begun[3] == trainings.begun[2]  # the same values into the same folder
    assert len(trainings.begun) == 6
    assert len(rows(study, SPACES)) == 5
    a_sweep(tmp_path, trials=7).go_on(lambda line: None, False)  # more of them
    assert len(trainings.begun) == 8
    assert len({name for name, _ in trainings.begun}) == 7
    assert len({values["train.optimizer.lr"] for _, values in trainings.begun}) == 7


def test_what_is_drawn_depends_on_seed_and_number_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(monkeypatch)
    a_sweep(tmp_path / "whole", trials=5).go_on(lambda line: None, False)
    for trials in (2, 5):
        a_sweep(tmp_path / "parts", trials=trials).go_on(lambda line: None, False)
    assert trainings.begun[5:] == trainings.begun[:5]
    a_sweep(tmp_path / "other", trials=1, seed=1).go_on(lambda line: None, False)
    assert trainings.begun[-1] != trainings.begun[0]


def test_terminals_share_the_trials_and_take_up_what_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    study = a_sweep(tmp_path, trials=4).study()
    for name in ("killed", "at work"):
        trial = study.ask()
        trial.set_user_attr("run", name)
        for key, space in SPACES.items():
            space.draw(trial, key)
        (tmp_path / "sweep" / f".{name}.lock").touch()
    with locked(tmp_path / "sweep" / ".at work.lock"):
        a_sweep(tmp_path, trials=4).go_on(lambda line: None, False)
    assert [name for name, _ in trainings.begun] == ["killed", "trial-0003", "trial-0004"]  # and one is at work
    assert [path.name for path in (tmp_path / "sweep").glob(".*.lock")] == [".at work.lock"]


def test_a_storage_that_another_is_just_making_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Trainings(monkeypatch)
    create, asked = optuna.create_study, []

    def first_fails(**given: Any) -> Any:
        asked.append(given)
        if len(asked) == 1:
            raise RuntimeError("table alembic_version already exists")
        return create(**given)

    monkeypatch.setattr(optuna, "create_study", first_fails)
    monkeypatch.setattr(sweeping.time, "sleep", lambda seconds: None)
    study = a_sweep(tmp_path, trials=1).go_on(lambda line: None, False)
    assert len(study.trials) == 1


def test_another_sweep_in_the_folder_and_another_database_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainings(monkeypatch)
    a_sweep(tmp_path, trials=1).go_on(lambda line: None, False)
    other = Sweep("fast", {"train.ema": Space("uniform", (0.5, 0.9))}, [], tmp_path / "sweep", 1)
    with pytest.raises(ConfigError, match="holds a sweep of"):
        other.go_on(lambda line: None, False)
    with pytest.raises(ConfigError, match="--storage"):
        a_sweep(tmp_path, storage="nothing://here").go_on(lambda line: None, False)


def test_trainings_that_fail_are_told_and_a_recipe_that_cannot_be_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings, told = Trainings(monkeypatch), list[str]()
    trainings.fail = RunError
    study = a_sweep(tmp_path, trials=2).go_on(told.append, False)
    assert [row["state"] for row in rows(study, SPACES)] == ["fail", "fail"]
    assert sum("failed: no" in line for line in told) == 2
    trainings.fail = ConfigError
    with pytest.raises(ConfigError):
        a_sweep(tmp_path / "other").go_on(told.append, False)


def test_real_trainings_are_runs_like_any_other(tmp_path: Path) -> None:
    write_catheter(tmp_path / "set", 12, size=32, seed=1, splits={"train": 0.5, "val": 0.5})
    small = ["method.network.name=unet", "method.network.width=2", "method.network.depth=1", "data.workers=0"]
    fixed = [*small, f"data.path={tmp_path / 'set'}", "data.input.size=[32,32]", "train.epochs=1", "train.batch_size=4"]
    spaces = ["train.optimizer.lr=loguniform(1e-4,1e-2)", "method.network.depth=choice(1,2)"]
    out = tmp_path / "sweep"
    asked = ["sweep", "fast", *fixed, *spaces, "--out", str(out), "--trials", "2", "--quiet"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out / "trials.csv")
    assert list(table.columns) == ["run", "state", "error", "minutes", "train.optimizer.lr", "method.network.depth"]
    assert table["error"].is_monotonic_increasing
    best = RunFolder(out / table["run"][0])
    assert best.history_table()["val_mre_px"].min() == pytest.approx(table["error"][0])
    assert best.recipe().train.optimizer.lr == pytest.approx(table["train.optimizer.lr"][0])
    assert (out / "trials.png").is_file()
    assert "best" in result.output


# -- jobs that share a sweep ----------------------------------------------------------------------------------------


def test_workers_begin_no_trial_too_many_and_draw_different_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    one, two = (a_sweep(tmp_path, trials=5, launch="here") for _ in (0, 1))
    train = sweeping.train
    depth = []

    def beside(*given: Any, **more: Any) -> RunFolder:
        if not depth:  # while the first trains, the second does what is left
            depth.append(1)
            study = two.go_on(lambda line: None, False)
            assert len(two.done(study)) == 4
        return train(*given, **more)

    monkeypatch.setattr(sweeping, "train", beside)
    study = one.go_on(lambda line: None, False)
    assert len(trainings.begun) == len(rows(study, SPACES)) == 5
    assert len({values["train.optimizer.lr"] for _, values in trainings.begun}) == 5
    assert (tmp_path / "sweep" / "study.journal").is_file()
    assert not (tmp_path / "sweep" / "study.db").exists()
    a_sweep(tmp_path, trials=6).go_on(lambda line: None, False)  # the journal is found again
    assert len(trainings.begun) == 6


def test_the_last_trial_that_two_begin_at_once_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(monkeypatch)
    mine = a_sweep(tmp_path, trials=1, launch="here")
    other = mine.study().ask()
    at_work = Sweep._at_work
    monkeypatch.setattr(
        Sweep, "_at_work", lambda self, study, before=np.inf: at_work(self, study, before) if before < np.inf else 0
    )  # nobody was at work when it looked
    other.set_user_attr("launch", "here")
    study = mine.go_on(lambda line: None, False)
    assert not trainings.begun
    assert [row["state"] for row in rows(study, SPACES)] == ["running"]


def test_what_a_killed_job_was_at_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(monkeypatch)
    trainings.stop_at = 2

    class Killed(BaseException):
        pass

    def kill(*given: Any, **more: Any) -> RunFolder:
        try:
            return trainings(*given, **more)
        except KeyboardInterrupt:
            raise Killed from None

    monkeypatch.setattr(sweeping, "train", kill)
    mine = a_sweep(tmp_path, trials=3, launch="here")
    with pytest.raises(Killed):
        mine.go_on(lambda line: None, False)
    study = mine.study()
    assert len(mine.done(study)) == 1
    mine.release(study)
    a_sweep(tmp_path, trials=3).go_on(lambda line: None, False)
    assert trainings.begun[2] == trainings.begun[1]  # the same values into the same folder
    assert len(trainings.begun) == 4
    assert len(rows(study, SPACES)) == 3


@pytest.mark.soak
def test_jobs_of_submitit_share_the_trials(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    write_catheter(tmp_path / "set", 12, size=32, seed=1, splits={"train": 0.5, "val": 0.5})
    small = ["method.network.name=unet", "method.network.width=2", "method.network.depth=1", "data.workers=0"]
    fixed = [*small, f"data.path={tmp_path / 'set'}", "data.input.size=[32,32]", "train.epochs=1", "train.batch_size=4"]
    out = tmp_path / "sweep"
    asked = ["sweep", "fast", *fixed, "train.optimizer.lr=loguniform(1e-4,1e-2)", "--out", str(out), "--quiet"]
    jobs = ["--launcher", "submitit", "--jobs", "2", "--slurm", "executor=local", "--slurm", "timeout_min=5"]
    result = CliRunner().invoke(app, [*asked, *jobs, "--trials", "3"])
    assert result.exit_code == 0, result.output
    assert "2 jobs share 3 trials" in result.output
    table = pd.read_csv(out / "trials.csv")
    assert len(table) >= 3
    assert table["train.optimizer.lr"].nunique() == len(table)
    assert all((out / name / "weights.safetensors").is_file() for name in table["run"])
    assert len(list((out / "jobs").glob("*_log.out"))) == 2
    again = CliRunner().invoke(app, [*asked, *jobs, "--trials", "3"])  # all are done: no job is begun
    assert again.exit_code == 0, again.output
    assert "jobs share" not in again.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jobs", "2"], "--jobs: is of Slurm jobs, got --launcher local"),
        (["--launcher", "submitit", "--slurm", "gpu"], "--slurm: expected KEY=VALUE"),
        (["--launcher", "submitit", "--slurm", "executor=local", "--slurm", "partitoin=gpu"], "partitoin"),
    ],
)
def test_options_of_jobs_that_cannot_be_are_refused(options: list[str], words: str, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    asked = ["sweep", "fast", "train.optimizer.lr=loguniform(1e-4,1e-2)", "--out", str(tmp_path / "sweep")]
    result = CliRunner().invoke(app, [*asked, *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "sweep").exists()
