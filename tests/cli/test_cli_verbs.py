"""The verbs on real input, through the entry of the command line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_entry import call, snapshot
from safetensors.numpy import load_file

from trigpoint.cli import app
from trigpoint.cli.demo import stated_demos
from trigpoint.data import LandmarkDataset
from trigpoint.data.formats import FORMATS, READ_ONLY
from trigpoint.methods import HeatmapMethod
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter

ONE_FILE = (  # the others have a file per image
    "coco", "cvat", "deeplabcut", "imglab", "labelstudio", "nwb", "sleap", "tps", "via",
)  # fmt: skip
EVEN = {"train": 0.5, "val": 0.25, "test": 0.25}


def test_evaluate_prints_and_writes_the_numbers(drawn: Path, trained: Path, tmp_path: Path) -> None:
    numbers, page = tmp_path / "m.json", tmp_path / "r.html"
    result = call("evaluate", trained, "--data", drawn, "--split", "test", "--json", numbers, "--html", page)
    assert result.exit_code == 0, result.output
    values = json.loads(numbers.read_text())
    assert values["n_images"] == 3
    assert values["mre_mm"] is None
    assert f"{values['mre_px']:.2f} px" in result.stdout
    text = page.read_text()
    assert "<html" in text[:200]
    assert f"<code>trigpoint label {drawn} --run {trained}</code>" in text
    links = text.count('<a href="http://127.0.0.1:8765/?name=')
    assert links == 3 + 3  # each image once, and the worst landmarks, are corrected in the page
    again = call("evaluate", trained, "--data", drawn, "--json", "-")
    assert json.loads(again.stdout) == values
    assert call("evaluate", trained, "--data", drawn, "--json", numbers, "--force").exit_code == 0


def test_evaluate_warns_of_images_seen_in_training(drawn: Path, trained: Path) -> None:
    assert "trained on" in call("evaluate", trained, "--data", drawn, "--split", "train").stderr


def test_predictions_are_a_dataset(data: Path, trained: Path) -> None:
    out = data / "predictions.csv"
    result = call("predict", trained, data / "images", "--out", out, "--overlay", data / "drawn")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert table["image"].tolist() == [f"{index:05d}.png" for index in range(24)]
    assert {"tip_x", "tip_y", "tip_score", "tip_radius"} <= set(table)
    assert table.drop(columns="tip_radius").notna().all(axis=None)
    assert table["tip_radius"].isna().all()  # of four validation images
    reviewed = LandmarkDataset.load(out)
    np.testing.assert_allclose(reviewed.points[:, 0], table[["tip_x", "tip_y"]])
    assert len(list((data / "drawn").glob("*_points.png"))) == 24


def test_predict_takes_files_and_folders_once_each_in_order(data: Path, trained: Path, tmp_path: Path) -> None:
    first = data / "images" / "00005.png"
    (data / "images" / "notes.txt").write_text("no image")
    assert call("predict", trained, first, data / "images", "--out", tmp_path / "p.csv").exit_code == 0
    names = [Path(name).name for name in pd.read_csv(tmp_path / "p.csv")["image"]]
    assert names == ["00005.png", *(f"{index:05d}.png" for index in range(24) if index != 5)]


def stop_in(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
    original = HeatmapMethod.training_step

    def step(self: HeatmapMethod, data: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise KeyboardInterrupt
        return original(self, data, batch_idx)

    monkeypatch.setattr(HeatmapMethod, "training_step", step)


def test_stopped_training_resumes_to_the_same_weights(
    drawn: Path, recipe: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", recipe, f"data.path={drawn}", "--out", tmp_path / "run", "--quiet")
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        stop_in(patch, epoch=1, batch=1)
        stopped = call(*command)
    assert stopped.exit_code == 130
    assert "same command" in stopped.stderr
    assert signal.getsignal(signal.SIGINT) == before
    resumed = call(*command)
    assert resumed.exit_code == 0, resumed.output
    assert "1 of 3 epochs are done, resuming at epoch 2" in resumed.stderr
    ours, theirs = (load_file(run / "weights.safetensors") for run in (tmp_path / "run", trained))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    untimed = [
        pd.read_csv(run / "metrics.csv").drop(columns=["minutes", "data_wait_share"])
        for run in (tmp_path / "run", trained)
    ]
    pd.testing.assert_frame_equal(*untimed)
    finished = snapshot(tmp_path / "run")
    again = call(*command)
    assert again.exit_code == 0
    assert "all 3 epochs are done" in again.stderr
    assert snapshot(tmp_path / "run") == finished


def test_training_stopped_after_its_last_epoch_is_still_finished(
    drawn: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", recipe, f"data.path={drawn}", "train.epochs=1", "--out", tmp_path / "run", "--quiet")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trigpoint.training.landmarks.finish", stop)
        assert call(*command).exit_code == 130
    assert call(*command).exit_code == 0
    marks = yaml.safe_load((tmp_path / "run" / "landmarks.yaml").read_text())
    assert marks["radius_px"] == {"tip": None}  # calibrated, on too few images for a number
    assert (tmp_path / "run" / "history.png").is_file()


def test_training_a_source_ends_with_what_validation_found(drawn: Path, tmp_path: Path) -> None:
    for index, file in enumerate(sorted((drawn / "images").iterdir())[:8]):
        (tmp_path / "set" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / "ab"[index % 2] / file.name).write_bytes(file.read_bytes())
    small = "encoder=test_resnet", "pretrained=false", "data.input.size=[32, 32]", "data.workers=0"
    short = "train.epochs=2", "train.batch_size=4", "train.accelerator=cpu"
    path = f"data.path={tmp_path / 'set'}"
    result = call("train", "source-classes", path, *small, *short, "--out", tmp_path / "run", "--quiet")
    assert result.exit_code == 0, result.output
    best = r"^best validation +error \d+\.\d % \(epoch [12] of 2\)$"
    assert re.search(best, result.stdout, re.MULTILINE), result.stdout


def test_training_instances_ends_with_what_validation_found(instances_run: tuple[Path, Path]) -> None:
    run, _ = instances_run  # which looks at what was said
    again = call("train", run / "config.yaml", "--out", run, "--quiet")
    assert again.exit_code == 0, again.output
    note = RunFolder(run).load_weights()[1]
    assert f"best validation      {note['validated']} (epoch {note['epoch']} of 2)\n" in again.stdout


def test_check_reports_a_clean_set(drawn: Path, tmp_path: Path) -> None:
    result = call("data", "check", drawn)
    assert result.exit_code == 0, result.output
    assert "24 images" in result.stdout
    assert "0 errors" in result.stdout
    assert call("data", "check", drawn, "--json", tmp_path / "c.json").exit_code == 0
    assert json.loads((tmp_path / "c.json").read_text())["ok"] is True


def test_show_writes_a_picture(drawn: Path, tmp_path: Path) -> None:
    assert call("data", "show", drawn, "--out", tmp_path / "s.png", "--count", 4, "--split", "val").exit_code == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_split_is_stored_and_seeded(data: Path) -> None:
    command = ("data", "split", data, "--fractions", "train=0.5,test=0.5", "--force", "--seed")
    tables = []
    for seed in (1, 1, 2):
        assert call(*command, seed).exit_code == 0
        tables.append((data / "landmarks.csv").read_text())
    assert tables[0] == tables[1] != tables[2]
    assert LandmarkDataset.load(data).splits() == {"train": 12, "test": 12}


@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("isbi", "wflw", *READ_ONLY)])
def test_convert_there_and_back(form: str, drawn: Path, tmp_path: Path) -> None:
    foreign = tmp_path / ("labels" if form not in ONE_FILE else "labels.any")
    result = call("data", "convert", drawn, "--from", "native", "--to", form, "--out", foreign)
    assert result.exit_code == 0, result.output
    command = ["data", "convert", foreign, "--from", form, "--out", tmp_path / "back", "--images", drawn / "images"]
    result = call(*command, *(["--names", "tip"] if form in ("pts", "tps") else []))
    assert result.exit_code == 0, result.output
    back, original = LandmarkDataset.load(tmp_path / "back"), LandmarkDataset.load(drawn)
    assert back.landmarks.names == ("tip",)
    order = {s.image.name: index for index, s in enumerate(back.samples)}  # yolo lists subset by subset
    back = back.subset([order[s.image.name] for s in original.samples])
    assert len(order) == len(original)
    near = 0.5 if form == "imglab" else 1e-3  # whole pixels
    np.testing.assert_allclose(back.points, original.points, atol=near)


def test_every_format_is_named_in_the_help() -> None:
    text = call("data", "convert", "--help").stdout
    assert all(name in text for name in FORMATS)


def test_recipes_are_listed_and_printed() -> None:
    assert "demo" in call("recipes").stdout
    assert yaml.safe_load(call("recipes", "demo").stdout)["name"] == "demo"


def test_doctor_says_what_a_bug_report_needs() -> None:
    result = call("doctor")
    assert result.exit_code == 0
    for word in ("python", "torch", "precision auto", "cpu", "disk"):
        assert word in result.stdout


@pytest.fixture
def small_demos(monkeypatch: pytest.MonkeyPatch, recipe: Path, tmp_path: Path) -> None:
    """The demos on a few small images."""
    demos = stated_demos()
    values = yaml.safe_load(call("recipes", "demo-foveated").stdout)
    values["data"] |= {"input": {"size": [64, 52]}, "landmarks": ["menton", "sella"]}
    values["method"] |= {"glimpse": 16, "train_iterations": 2}
    values["train"] |= {"epochs": 3, "accelerator": "cpu"}
    glimpses = tmp_path / "glimpses.yaml"
    glimpses.write_text(yaml.safe_dump(values))
    smaller = {
        "heatmap": demos["heatmap"] | {"count": 24, "size": [32, 32], "recipe": str(recipe)},
        "foveated": demos["foveated"] | {"count": 12, "size": [64, 52], "recipe": str(glimpses), "splits": EVEN},
    }
    monkeypatch.setattr(import_module("trigpoint.cli.demo"), "stated_demos", lambda: smaller)


@pytest.mark.parametrize("method", ["heatmap", "foveated"])
@pytest.mark.usefixtures("small_demos")
def test_demo_makes_and_shows_its_folder(tmp_path: Path, method: str) -> None:
    out = tmp_path / "shown"
    result = call("demo", "--out", out, "--method", method)
    assert result.exit_code == 0, result.output
    pictures = {"predictions.png", "error.png", *(["sigma.png"] if method == "heatmap" else [])}
    named = {"report.html", "metrics.json", "data", "run", *pictures}
    assert {path.name for path in out.iterdir()} == named
    assert all(name in result.stdout for name in ("report.html", *pictures))
    assert ("sigma.png" in result.stdout) == (method == "heatmap")
    assert ("menton, sella (of the 13 that are drawn" in result.stdout) == (method == "foveated")
    weights = (out / "run" / "weights.safetensors").read_bytes()
    again = call("demo", "--out", out, "--minutes", 9, "--method", method)
    assert again.exit_code == 0, again.output
    assert "all 3 epochs are done" in again.stderr
    assert (out / "run" / "weights.safetensors").read_bytes() == weights


@pytest.mark.usefixtures("small_demos")
def test_demo_keeps_away_from_another_demo(tmp_path: Path) -> None:
    out = tmp_path / "shown"
    out.mkdir()
    write_catheter(out / "data", 12, 32)
    result = call("demo", "--method", "foveated", "--out", out)
    assert result.exit_code == 2
    assert "expected the demo of the method foveated" in result.stderr
    unknown = call("demo", "--method", "foveatd", "--out", tmp_path / "other")
    assert unknown.exit_code == 2
    assert "did you mean 'foveated'" in unknown.stderr
    assert not (tmp_path / "other").exists()


def test_demos_draw_what_their_recipes_are_made_for() -> None:
    from trigpoint.recipe import load_recipe

    for method, chosen in stated_demos().items():
        made = load_recipe(chosen["recipe"])
        assert made.method_name == method
        assert list(made.data.input.size) == chosen["size"]


def verbs() -> list[list[str]]:
    inner = ["check", "show", "convert", "split"]
    outer = [str(command.callback.__name__) for command in app.registered_commands if command.callback]
    return [[], ["data"], *([verb] for verb in outer), *(["data", verb] for verb in inner)]


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_every_verb_has_a_help_with_an_example(verb: list[str]) -> None:
    result = call(*verb, "--help")
    assert result.exit_code == 0
    if verb not in ([], ["data"]):
        words = " ".join(result.stdout.split())
        assert f"Example: trigpoint {' '.join(verb)}" in words


def test_help_starts_fast_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from trigpoint.cli import app; "
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'lightning', 'pydantic'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_module_entry_prints_the_version_and_usage_errors_exit_with_two() -> None:
    command = [sys.executable, "-m", "trigpoint"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("trigpoint ")
    assert call("train").exit_code == 2
    assert call("trian").exit_code == 2


def test_the_origin_of_foreign_files_is_half_a_pixel(drawn: Path, tmp_path: Path) -> None:
    command = ("data", "convert", drawn, "--from", "native", "--to", "labelme", "--origin", "corner")
    assert call(*command, "--out", tmp_path / "labels").exit_code == 0
    images = ("--images", drawn / "images")
    for name, origin, moved in (("same", "corner", 0), ("other", "centre", 0.5)):
        out = tmp_path / name
        result = call(
            "data", "convert", tmp_path / "labels", "--from", "labelme", *images, "--origin", origin, "--out", out
        )
        assert result.exit_code == 0, result.output
        np.testing.assert_allclose(LandmarkDataset.load(out).points, LandmarkDataset.load(drawn).points + moved)
    for where in (("--from", "labelme", *images), ("--from", "native", "--to", "coco")):
        source = tmp_path / "labels" if "labelme" in where else drawn
        result = call("data", "convert", source, *where, "--origin", "middle", "--out", tmp_path / "no")
        assert result.exit_code == 2
        assert "expected centre or corner" in result.output
        assert not (tmp_path / "no").exists()
    result = call("data", "convert", drawn, "--from", "native", "--origin", "corner", "--out", tmp_path / "no")
    assert result.exit_code == 2
    assert "leave it out" in result.output


def test_what_a_reader_left_out_is_printed(tmp_path: Path) -> None:
    files = Path(__file__).parents[1] / "data/formats/files/labelme"
    result = call("data", "convert", files / "labels", "--from", "labelme", "--out", tmp_path / "set")
    assert result.exit_code == 0, result.output
    assert "shape of type 'rectangle'; only points are read (once" in result.output.replace("\n", " ")
    assert LandmarkDataset.load(tmp_path / "set").landmarks.names == ("left", "tip")
