"""The catheter experiment at a size that says nothing about accuracy: files, reuse, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trigpoint.config import to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import RunError
from trigpoint.experiments import Request, Study, load_study, run_study, study_names, task
from trigpoint.experiments.measures import Job
from trigpoint.methods.base import NotFinite
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.recipes import recipe_names
from trigpoint.runs import RunFolder
from trigpoint.training import train

RECIPE = {
    "extends": "adaloss-catheter",
    "data": {"input": {"size": [32, 32]}, "workers": 0},
    "method": {"loss": {"name": "mse", "relative": True}, "network": {"width": 2}},
    "train": {"epochs": 1, "batch_size": 3},
}


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Study]) -> Study:
    draw = {"size": 32, "images": {"train": 6, "val": 2, "test": 3}}
    return tiny("adaloss-catheter", recipe=RECIPE, draw=draw, seeds=(0,))


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, said: list[str], small: Study) -> Path:
    """The whole experiment; only its first run is trained, the others are copies under their own recipes."""
    out = tmp_path_factory.mktemp("out") / "catheter"
    trained: list[RunFolder] = []

    def once(recipe: Recipe, out: Path, progress: bool) -> RunFolder:
        if not trained:
            trained.append(train(recipe, (), out, progress))
        else:
            shutil.copytree(trained[0].folder, out)
            (out / "config.yaml").write_text(to_yaml(recipe))
        return RunFolder(out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "train", once)
        run_study(small, Request("adaloss-catheter", out, say=said.append))
    return out


def test_it_writes_tables_figures_and_results(folder: Path, said: list[str]) -> None:
    values = json.loads((folder / "results.json").read_text())
    assert [table["title"].split(":")[0] for table in values["tables"]] == ["Table 1", "Adam 1e-3 in detail", "Table 2"]
    table = values["tables"][0]["rows"]
    paper = {row["targets"].split(" (")[0]: row["paper, Adam 1e-4, px of 256"] for row in table[:10]}
    assert [paper[f"fixed sigma {width}"] for width in (5, 25, 40)] == [87.05, 19.27, 8.71]
    assert paper["paced"] == "–"  # not in the paper
    assert len(values["runs"]) == 11
    assert all(run["test_mre_px"] > 0 and run["epochs"] == 1 for run in values["runs"])
    assert len(values["claims"]) == 11
    for name in values["figures"]:
        assert (folder / name).stat().st_size > 2000, name
    assert [claim["outcome"] for claim in values["claims"]][1:3] == ["not testable"] * 2
    assert "% within 1.88 px" in (folder / "table.md").read_text()
    assert said[0] == "drawing 11 images (catheter) of 32 x 32 pixels"
    assert said[-1].startswith("[11/11] adam-1e-3-literal-seed0: test MRE ")


def test_every_run_is_an_ordinary_one_with_the_stated_options(folder: Path) -> None:
    recipe = load_recipe(folder / "runs" / "adam-1e-3-literal-seed0" / "config.yaml")
    assert recipe.train.optimizer.lr == 1e-3
    assert recipe.method.schedule.guard == "literal"  # type: ignore[attr-defined]
    assert recipe.data.path == str((folder / "data").resolve())
    rules = {}
    for key in ("paced", "bounded"):
        options = load_recipe(folder / "runs" / f"adam-1e-3-{key}-seed0" / "config.yaml").method.schedule.model_dump()  # type: ignore[attr-defined]
        rules[key] = (options["rule"], options["guard"], options["sigma_min"], options["every"])
    assert rules == {"paced": ("paced", "bounded", 0.5, 15), "bounded": ("paper", "bounded", 0.5, 15)}
    fixed = load_recipe(folder / "runs" / "adam-1e-3-fixed40-seed0" / "config.yaml")
    assert fixed.method.schedule.model_dump() == {"name": "fixed", "sigma0": 15.0}  # type: ignore[attr-defined]


def test_the_same_command_reuses_finished_runs(folder: Path, small: Study) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.safetensors")}
    picture = (folder / "data" / "images" / "00000.png").stat().st_mtime_ns
    old = (folder / "results.json").read_text()
    (folder / "results.json").unlink()
    run_study(small, Request("adaloss-catheter", folder))
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.safetensors")} == before
    assert (folder / "data" / "images" / "00000.png").stat().st_mtime_ns == picture
    assert (folder / "results.json").read_text() == old


def test_a_folder_of_something_else_is_refused(folder: Path, tmp_path: Path, small: Study) -> None:
    with pytest.raises(RunError, match="holds a reproduction with scale small, not paper"):
        run_study(load_study("adaloss-catheter"), Request("adaloss-catheter", folder, "paper"))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="got other files"):
        run_study(small, Request("adaloss-catheter", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_loss_that_is_not_finite_is_a_result(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args: object, **kwargs: object) -> None:
        try:
            raise NotFinite([1])
        except NotFinite:
            raise RunError("training loss is not finite in epoch 1") from None

    def refuse(*args: object, **kwargs: object) -> None:
        raise RunError("holds a run of another recipe")

    test = LandmarkDataset.load(folder / "data", split="test")
    given = task.Task(Job("x", RECIPE, {}, 0), folder / "data", tmp_path / "run", test)
    monkeypatch.setattr(task, "train", explode)
    assert task.work(given) == (None, "the training loss became infinite or NaN")
    monkeypatch.setattr(task, "train", refuse)
    with pytest.raises(RunError, match="another recipe"):
        task.work(given)


@pytest.mark.parametrize(
    "name", [name for name in study_names() if name.startswith("adaloss") and name in recipe_names()]
)
def test_each_experiment_has_a_complete_recipe_with_the_papers_setting(name: str) -> None:
    recipe = load_recipe(name)
    method = recipe.method
    assert recipe.data.input.size == (256, 256)
    schedule = method.schedule  # type: ignore[attr-defined]
    assert (schedule.name, schedule.window, schedule.rho, schedule.sigma0) == ("adaloss", 3, 0.9, None)
    assert method.loss.name == "mse"  # type: ignore[attr-defined]
    assert recipe.train.optimizer.name == "adam"
    network = method.network  # type: ignore[attr-defined]
    faces = name != "adaloss-catheter"
    assert (network.name, network.kernel) == (("dense_unet", 11) if faces else ("unet", 5))
    assert method.normalize == ("mean" if faces else "peak")  # type: ignore[attr-defined]
    assert recipe.train.epochs == (150 if faces else 100)
    assert recipe.train.optimizer.lr == (1e-4 if faces else 1e-3)
    assert recipe.data.augment.rotation == (30 if faces else 0)
