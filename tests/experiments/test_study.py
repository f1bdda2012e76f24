"""Studies as data: what a YAML file may say, the command, resuming, and where trainings run."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.cli.reproduce import NAMES, parse_options
from trigpoint.errors import ConfigError, RunError
from trigpoint.experiments import ANALYSES, Request, load_study, run_study, study_names
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.measures import MEASURES
from trigpoint.experiments.task import launched

OWN = {
    "name": "widths",
    "about": "two widths",
    "setting": "{count} test images, {about}, seeds {seeds}.",
    "first_seed_only": ["wide"],
    "labels": {"sharp": "sigma 1.5"},
    "tables": [{"title": "Errors", "columns": {"MRE px": "mre", "% within 4 px": {"measure": "within", "at": 4.0}}}],
    "claims": [
        {"text": "wide is not much worse", "ours": "wide", "than": ["sharp", "exact*"], "factor": 9.0},
        {"text": "wide is better than all", "ours": "wide", "than": "exact*"},
    ],
    "figures": {"validation": {"kind": "validation"}, "sigma": {"kind": "sigma"}, "ced": {"kind": "ced"}},
    "scales": {
        "small": {
            "about": "a tiny network",
            "draw": {"kind": "catheter", "size": 32, "images": {"train": 6, "val": 2, "test": 3}},
            "recipe": {"extends": "own.yaml", "train": {"epochs": 1}},
            "vary": [
                {
                    "sharp": {"method.schedule": {"name": "fixed", "sigma0": 1.5}},
                    "wide": {"method.schedule": {"name": "fixed", "sigma0": 3.0}},
                }
            ],
        }
    },
}
RECIPE = {
    "extends": "adaloss-catheter",
    "data": {"input": {"size": [32, 32]}, "workers": 0},
    "method": {"network": {"width": 2, "depth": 2}},
    "train": {"batch_size": 3, "epochs": 9},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A user's study beside the recipe that it extends."""
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "widths.yaml").write_text(yaml.safe_dump(OWN))
    return tmp_path / "widths.yaml"


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["reproduce", *arguments])


# -- studies ----------------------------------------------------------------------------------------------------------


def test_shipped_studies_are_complete() -> None:
    assert sorted(NAMES.replace(" or ", ", ").split(", ")) == study_names()
    for name in study_names():
        study = load_study(name)
        assert study.name == name
        assert study.analysis in {*ANALYSES, None}  # None: tables and claims of the YAML file alone
        ours = name in ("adaloss-widths", "adaloss-annotators")  # no paper has them
        assert {"small"} | (set() if ours else {"paper"}) <= set(study.scales)
        assert all(column.measure in MEASURES for table in study.tables for column in table.columns.values())
    kinds = [study.analysis for study in map(load_study, study_names()) if study.analysis is not None]
    assert sorted(map(str, kinds)) == sorted(ANALYSES)


def test_a_study_of_the_users_own_by_the_command(file: Path, tmp_path: Path) -> None:
    result = invoke(str(file), "--seeds", "0,1", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [run["run"] for run in values["runs"]] == ["sharp-seed0", "wide-seed0", "sharp-seed1"]
    assert [run["epochs"] for run in values["runs"]] == [1, 1, 1]
    rows = values["tables"][0]["rows"]
    assert [row["setting"] for row in rows] == ["sigma 1.5", "wide"]
    assert "±" in rows[0]["MRE px"]
    assert "±" not in rows[1]["MRE px"]
    assert values["setting"] == "3 test images, a tiny network, seeds 0, 1."
    first, second = values["claims"]
    assert re.match(
        rf"{rows[1]['MRE px']} px \(wide\) against {rows[0]['MRE px']} px \(sharp\), difference", first["numbers"]
    )
    assert (second["outcome"], second["numbers"]) == ("not testable", "not run: exact*")
    assert "drawing 11 images (catheter) of 32 x 32 pixels" in result.output
    assert {"validation.png", "sigma.png", "ced.png", "table.md"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_time_that_is_up_leaves_runs_that_the_same_command_goes_on_with(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [str(file), "--seeds", "0,1", "--out", str(tmp_path / "out"), "--minutes"]
    ticks = iter([0.0, math.inf, math.inf])  # asked before each of the three runs
    with monkeypatch.context() as patch:
        patch.setattr("trigpoint.experiments.task.time", SimpleNamespace(time=lambda: next(ticks)))
        result = invoke(*given, "5")
    assert result.exit_code == 0, result.output
    told = "1 of 3 runs are done, and the 5 minutes are over; left are wide-seed0, sharp-seed1. Go on with"
    assert told in " ".join(result.output.split())
    assert not (tmp_path / "out" / "results.json").exists()
    again = invoke(*given, "1e-9")  # what is finished needs no time
    assert "1 of 3 runs are done" in " ".join(again.output.split())
    assert invoke(*given, "0").exit_code != 0


def test_a_study_extends_another_by_name(tmp_path: Path) -> None:
    small = {"seeds": [7], "values": {"near": 2.0}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"extends": "adaloss-catheter", "scales": {"small": small}}))
    mine, theirs = load_study(tmp_path / "mine.yaml"), load_study("adaloss-catheter")
    assert mine.scales["small"].seeds == (7,)
    assert mine.scales["small"].values == {**theirs.scales["small"].values, "near": 2.0}
    assert mine.scales["small"].settings() == theirs.scales["small"].settings()
    assert mine.scales["paper"] == theirs.scales["paper"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x"}, "'scales' is required"),
        ({"name": "x", "scale": {}}, "unknown key 'scale'; did you mean 'scales'"),
        ({"name": "x", "scales": {"small": {"recipe": "fats"}}}, "'fats' is neither a dataset folder"),
        ({"extends": "adaloss-cateter"}, "unknown experiment 'adaloss-cateter'; did you mean 'adaloss-catheter'"),
    ],
)
def test_bad_studies(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_study(values)
    assert message in str(error.value)


def test_what_a_study_lacks_is_told(file: Path, tmp_path: Path) -> None:
    study = load_study(file)
    with pytest.raises(ConfigError, match="unknown measure 'medain'; did you mean 'median'"):
        load_study({**OWN, "tables": [{"title": "x", "columns": {"px": "medain"}}]}, file.parent)
    experiment = Experiment(study, Request("widths", tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"unknown fact '\{seedz\}'; did you mean 'seeds'"):
        experiment.filled("{seedz}", {"seeds": "0"})
    scale = study.scales["small"].model_copy(update={"draw": {"kind": "cathter", "images": 2, "size": 32}})
    experiment.scale = scale
    with pytest.raises(ConfigError, match=r"draw: expected kind \(catheter, .*, images and size, got"):
        experiment.draw("data")
    with pytest.raises(ConfigError, match="widths: no scale 'paper'; valid: small"):
        run_study(study, Request("widths", tmp_path / "out", "paper"))
    with pytest.raises(ConfigError, match="unknown analysis 'cathter'; did you mean 'catheter'"):
        run_study(study.model_copy(update={"analysis": "cathter"}), Request("widths", tmp_path / "out"))


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adaloss-cateter"], "did you mean 'adaloss-catheter'"),
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
        (["adaloss-catheter", "--seeds", "0,x"], "--seeds: expected whole numbers such as 0,1,2, got '0,x'"),
        (["adaloss-catheter", "--seeds", "1,1"], "seeds: expected different numbers"),
        (["adaloss-catheter", "--jobs", "0"], "jobs: expected 1 or more, got 0"),
        (["adaloss-300w"], "give --data FOLDER with afw, helen/trainset"),
        (["foveated-isbi2015", "labels"], "'labels': expected KEY=VALUE"),
        (["foveated-isbi2015", "labels=mean", "labels=junior"], "labels: expected one value, got mean and junior"),
        (["foveated-isbi2015", "label=mean"], "unknown option 'label'; did you mean 'labels'"),
        (["adaloss-catheter", "labels=mean"], "adaloss-catheter: expected no options, got labels=mean"),
        (["adaloss-catheter", "slurm.partition=gpu"], "slurm.partition: is of Slurm jobs, got --launcher local"),
    ],
)
def test_the_command_refuses_bad_arguments(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_options_are_read_as_text() -> None:
    assert parse_options(["runs=shared,single", "labels=mean"]) == {"runs": "shared,single", "labels": "mean"}
    request = Request("x", Path("out"), options={"runs": "single, shared"})
    assert request.chosen(load_study("foveated-isbi2015").choices)["runs"] == (
        "shared",
        "single",
    )  # in the study's order
    with pytest.raises(ConfigError, match="scale: expected small or paper, got 'big'"):
        Request("x", Path("out"), "big")


# -- Slurm jobs, run by submitit's executor for this machine -----------------------------------------------------------


def submitted(out: Path, **options: str) -> Request:
    given = {f"slurm.{key}": text for key, text in {"executor": "local", **options}.items()}
    return Request("widths", out, launcher="submitit", options=given)


@pytest.mark.soak
def test_jobs_give_what_runs_on_this_machine_give(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    slurm = ("--launcher", "submitit", "--jobs", "1", "slurm.executor=local", "slurm.timeout_min=5")
    result = invoke(str(file), *slurm, "--out", str(tmp_path / "slurm"))
    assert result.exit_code == 0, result.output
    run_study(load_study(file), Request("widths", tmp_path / "here"))
    tables = [json.loads((tmp_path / out / "results.json").read_text())["tables"] for out in ("slurm", "here")]
    assert tables[0] == tables[1]
    assert len(list((tmp_path / "slurm" / "jobs").glob("*_log.err"))) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "slurm" / "runs").rglob("weights.safetensors")}
    run_study(load_study(file), Request("widths", tmp_path / "slurm"))  # goes on with what the jobs have trained
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failed_job_names_its_log(tmp_path: Path) -> None:
    pytest.importorskip("submitit")

    def fail_at_two(number: int) -> int:  # functions within functions travel whole to the job
        if number == 2:
            raise ValueError("two is too many")
        return number

    found = launched(submitted(tmp_path), fail_at_two, [1, 2], ["first", "second"])
    assert next(found) == 1
    expected = r"second: job \d+ failed: ValueError: two is too many; see .*_log\.err"
    with pytest.raises(RunError, match=expected) as error:
        next(found)
    log = Path(str(error.value).split("see ")[1].split(", then")[0])
    assert "two is too many" in log.read_text()


def test_ctrl_c_cancels_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit")
    parent = os.getpid()

    def work(number: int) -> None:
        if number == 1:
            os.kill(parent, signal.SIGINT)
        time.sleep(60)

    jobs: list[Any] = []
    submit = submitit.AutoExecutor.submit
    monkeypatch.setattr(submitit.AutoExecutor, "submit", lambda *given: jobs.append(submit(*given)) or jobs[-1])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background begin without it
    try:
        with pytest.raises(KeyboardInterrupt):
            list(launched(submitted(tmp_path), work, [0, 1], ["waits", "stops"]))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(jobs) == 2
    for job in jobs:
        job._process.wait(timeout=20)  # well before the minute that the first would sleep


def test_launchers_that_cannot_be_are_told_before_any_work(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    study, out = load_study(file), tmp_path / "out"
    with pytest.raises(ConfigError, match=r"slurm\.partitoin=gpu: expected parameters of submitit, got .*partitoin"):
        run_study(study, submitted(out, partitoin="gpu"))
    with pytest.raises(ConfigError, match=r"slurm\.timeout_min=soon: expected parameters .* expected type"):
        run_study(study, submitted(out, timeout_min="soon"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        ConfigError, match=r"slurm\.executor=slurm: .* run this where srun is, or give slurm\.executor=local"
    ):
        run_study(study, submitted(out, executor="slurm"))
    find_spec: Callable[[str], Any] = importlib.util.find_spec
    monkeypatch.setattr(
        "trigpoint.prediction.submitting.find_spec", lambda name: None if name == "submitit" else find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"submitit, which is not installed; pip install 'trigpoint\[slurm\]'"):
        run_study(study, submitted(out))
    assert not (out / "runs").exists()
