"""The catheter experiment at a size that says nothing about accuracy: files, reuse, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trigpoint.config import to_yaml
from trigpoint.errors import ConfigError, RunError
from trigpoint.methods.base import NotFinite
from trigpoint.recipe import load_recipe
from trigpoint.reproduce import EXPERIMENTS, Request, catheter, run_experiment, study
from trigpoint.reproduce.catheter import Scale
from trigpoint.runs import RunFolder
from trigpoint.training import train

TINY = Scale(32, 6, 2, 3, 1, 3, 2, 1.0, (0,))


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Path:
    """The whole experiment; only its first run is trained, the other 20 are copies under their own recipes."""
    out = tmp_path_factory.mktemp("out") / "catheter"
    trained: list[RunFolder] = []

    def once(recipe: str, overrides: list[str], out: Path, progress: bool) -> RunFolder:
        if not trained:
            trained.append(train(recipe, overrides, out, progress))
        else:
            shutil.copytree(trained[0].folder, out)
            (out / "config.yaml").write_text(to_yaml(load_recipe(recipe, overrides)))
        return RunFolder(out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "train", once)
        catheter.reproduce(Request("adaloss-catheter", out, say=said.append), TINY)
    return out


def test_it_writes_tables_figures_and_results(folder: Path, said: list[str]) -> None:
    values = json.loads((folder / "results.json").read_text())
    assert [table["title"].split(":")[0] for table in values["tables"]] == ["Table 1", "Adam 1e-3 in detail", "Table 2"]
    table = values["tables"][0]["rows"]
    paper = [row["paper, Adam 1e-4, px of 256"] for row in table[:7]]
    assert paper == [87.05, 19.27, 8.71, 11.46, 1.19, 1.19, 1.19]
    assert len(values["runs"]) == 21
    assert all(run["test_mre_px"] > 0 and run["epochs"] == 1 for run in values["runs"])
    assert len(values["claims"]) == 11
    for name in values["figures"]:
        assert (folder / name).stat().st_size > 1000, name
    assert "fixed sigma 25 (3.12 px here)" in (folder / "table.md").read_text()
    assert "fixed sigma 40 (5 px here)" in (folder / "table.md").read_text()
    assert said[0] == "drawing 11 frames of 32 x 32 pixels"
    assert said[-1].startswith("[21/21] adadelta-literal-seed0: test MRE ")


def test_every_run_is_an_ordinary_one_with_the_stated_options(folder: Path) -> None:
    recipe = load_recipe(folder / "runs" / "adam-1e-4-literal-seed0" / "config.yaml")
    assert recipe.train.optimizer.lr == 1e-4
    assert recipe.method.schedule.guard == "literal"  # type: ignore[attr-defined]
    assert recipe.data.path == str((folder / "data").resolve())
    rules = {}
    for key in ("adaloss", "falling"):
        options = load_recipe(folder / "runs" / f"adam-1e-3-{key}-seed0" / "config.yaml").method.schedule.model_dump()
        rules[key] = (options["rule"], options["guard"], options["rho"])
    assert rules == {"adaloss": ("paper", "bounded", 0.1125), "falling": ("non_increasing", "bounded", 0.9)}
    fixed = load_recipe(folder / "runs" / "adadelta-fixed60-seed0" / "config.yaml")
    assert fixed.method.schedule.model_dump() == {"name": "fixed", "sigma0": 7.5}
    assert fixed.train.optimizer.name == "adadelta"


def test_the_same_command_reuses_finished_runs(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.safetensors")}
    picture = (folder / "data" / "images" / "00000.png").stat().st_mtime_ns
    old = (folder / "results.json").read_text()
    (folder / "results.json").unlink()
    catheter.reproduce(Request("adaloss-catheter", folder), TINY)
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.safetensors")} == before
    assert (folder / "data" / "images" / "00000.png").stat().st_mtime_ns == picture
    assert (folder / "results.json").read_text() == old


def test_a_folder_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds a reproduction with scale small, not paper"):
        catheter.reproduce(Request("adaloss-catheter", folder, "paper"), TINY)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="got other files"):
        catheter.reproduce(Request("adaloss-catheter", tmp_path), TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_loss_that_is_not_finite_is_a_result(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trigpoint.data import LandmarkDataset

    test = LandmarkDataset.load(folder / "data", split="test")
    job = catheter.jobs(TINY, (0,))[0]

    def explode(*args: object, **kwargs: object) -> None:
        try:
            raise NotFinite([1])
        except NotFinite:
            raise RunError("training loss is not finite in epoch 1") from None

    def refuse(*args: object, **kwargs: object) -> None:
        raise RunError("holds a run of another recipe")

    monkeypatch.setattr(study, "train", explode)
    request = Request("adaloss-catheter", tmp_path)
    outcome = study.run_job(request, job, folder / "data", test)
    assert "infinite or NaN" in outcome.note
    assert outcome.mre != outcome.mre  # NaN
    assert outcome.summary()["epochs"] == 0
    monkeypatch.setattr(study, "train", refuse)
    with pytest.raises(RunError, match="another recipe"):
        study.run_job(request, job, folder / "data", test)


def test_requests_are_checked() -> None:
    with pytest.raises(ConfigError, match="scale: expected small or paper, got 'big'"):
        Request("adaloss-catheter", Path("x"), "big")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seeds: expected different numbers"):
        Request("adaloss-catheter", Path("x"), seeds=(1, 1))
    with pytest.raises(ConfigError, match="did you mean 'adaloss-catheter'"):
        run_experiment(Request("adaloss-cateter", Path("x")))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("adaloss")])
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
