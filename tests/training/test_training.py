"""Training end to end on a few drawn images: what is left behind, what is refused, and what is never used."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure

import trigpoint as tp
from trigpoint.cli.train import best_line
from trigpoint.config import parse
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import ImageDetections, LandmarkSet, Prediction
from trigpoint.methods import HeatmapMethod
from trigpoint.methods.validation import conformal_radius
from trigpoint.prediction import write_predictions
from trigpoint.prediction.table import prediction_frame
from trigpoint.recipe import LrScheduleConfig, Recipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter
from trigpoint.training import train
from trigpoint.training.optimizers import make_optimizers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catheter(tmp_path_factory.mktemp("data") / "catheter", 20, size=32, seed=1)


def recipe(folder: Path, **train_options: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {"path": str(folder), "input": {"size": [32, 32]}, "augment": {"rotation": 10}, "workers": 0},
        "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "adaloss"},
        "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", **train_options},
    }
    return parse(Recipe, values)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(recipe(folder, ema=0.9), out=tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_the_run_folder_holds_what_others_read(finished: RunFolder, folder: Path) -> None:
    for path in (finished.config, finished.landmarks, finished.weights, finished.last, finished.env, finished.history):
        assert path.stat().st_size > 0, path
    table = finished.history_table()
    assert table["epoch"].tolist() == [1, 2]
    assert table[["train_loss", "val_mre_px", "sigma_tip", "data_wait_share"]].notna().all(axis=None)
    assert finished.read_landmarks().landmarks.names == ("tip",)
    _, note = finished.load_weights()
    best = table["val_mre_px"].idxmin()
    assert int(note["epoch"]) == table["epoch"][best]
    assert note["validated"] == f"MRE {table['val_mre_px'][best]:.2f} px"
    assert float(note["val_mre_px"]) == pytest.approx(table["val_mre_px"][best], abs=1e-5)
    assert not any(path.name.endswith(".part") for path in finished.folder.iterdir())
    assert load_recipe(finished.config) == recipe(folder, ema=0.9)


def test_epochs_count_from_one_everywhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("trigpoint.training.fitting.error_curve", lambda *shown: drawn.extend(shown) or Figure())
    run = train(recipe(folder, epochs=3), out=tmp_path / "run")
    table = run.history_table()
    told = [line.split()[1] for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    best = int(table["epoch"][table["val_mre_px"].idxmin()])
    assert table["epoch"].tolist() == drawn[0] == [1, 2, 3]
    assert told == ["1/3", "2/3", "3/3"]
    assert int(run.load_weights()[1]["epoch"]) == drawn[4] == best


def test_a_run_whose_epochs_were_counted_from_zero_ends_counted_from_one(
    finished: RunFolder, folder: Path, tmp_path: Path
) -> None:
    """As versions before left it: the rows of the checkpoint, of the table and the note of the weights."""
    run = RunFolder(shutil.copytree(finished.folder, tmp_path / "run"))
    kept = torch.load(run.last, weights_only=True)
    rows = kept["callbacks"]["Recorder"]["rows"]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        row["epoch"] -= 1
    torch.save(kept, run.last)
    pd.DataFrame(rows).to_csv(run.metrics, index=False)
    weights, note = run.load_weights()
    run.save_weights(weights, {"epoch": str(int(note["epoch"]) - 1), "val_mre_px": "0.001"})  # never better again
    assert best_line(run) == f"val_mre_px 0.00 (epoch {note['epoch']} of 2)"
    train(recipe(folder, ema=0.9), out=run.folder, progress=False, more_epochs=2)
    assert run.history_table()["epoch"].tolist() == [1, 2, 3, 4]
    assert [row["epoch"] for row in torch.load(run.last, weights_only=True)["callbacks"]["Recorder"]["rows"]] == [
        1, 2, 3, 4,
    ]  # fmt: skip


def test_tensorboard_has_every_column_by_its_name(folder: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    copied = Path(shutil.copytree(folder, tmp_path / "set"))
    table = pd.read_csv(copied / "landmarks.csv")
    for axis in "xy":
        table[f"base_{axis}"] = 15.0
    table.to_csv(copied / "landmarks.csv", index=False)
    about = yaml.safe_load((copied / "dataset.yaml").read_text())
    about = {key: value for key, value in about.items() if key in ("name", "images", "table")}
    (copied / "dataset.yaml").write_text(yaml.safe_dump(about))
    run = train(recipe(copied), out=tmp_path / "run", progress=False)
    found = events.EventAccumulator(str(run.folder / "tensorboard"))
    found.Reload()
    history = run.history_table()
    assert {"sigma_tip", "sigma_base"} <= set(history)
    scalars = set(found.Tags()["scalars"]) - {"epoch"}  # which Lightning adds
    assert scalars == set(history) - {"epoch"}
    for name in sorted(scalars):
        logged = found.Scalars(name)
        assert [one.step for one in logged] == [1, 2], name
        np.testing.assert_allclose([one.value for one in logged], history[name], rtol=1e-5, err_msg=name)


def test_kept_weights_give_the_error_they_were_chosen_for(finished: RunFolder, folder: Path) -> None:
    report = tp.evaluate(finished, folder, split="val")
    assert report.metrics["mre_px"] == pytest.approx(float(finished.load_weights()[1]["val_mre_px"]), rel=1e-3)
    assert any("chose the weights" in warning for warning in report.warnings)
    assert tp.evaluate(finished, folder, split="test").warnings == []


def test_a_training_shorter_than_its_rounds_of_validation_has_weights(folder: Path, tmp_path: Path) -> None:
    run = train(recipe(folder, epochs=2, val_every=5), out=tmp_path / "run", progress=False)
    assert run.history_table()["val_mre_px"].notna().tolist() == [False, True]
    assert run.load_weights()[1]["epoch"] == "2"


def test_progress_tells_the_latest_validation_and_never_nan(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe(folder, epochs=4, val_every=2), out=tmp_path / "run")
    first, second, third, fourth = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert "val" not in first
    assert "  val MRE " in second
    assert "(epoch" not in second
    assert "nan" not in first + second + third + fourth
    latest = second.split("  val ")[1].split("  ")[0]
    assert f"  val {latest} (epoch 2)" in third
    assert "(epoch" not in fourth


def test_parts_are_the_splits_and_test_is_in_none(finished: RunFolder, folder: Path) -> None:
    parts = finished.parts()
    for part in ("train", "val"):
        data = tp.LandmarkDataset.load(folder, split=part)
        assert parts[part] == [data.image_name(sample) for sample in data.samples]


def test_test_images_are_never_decoded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = {str(sample.image) for sample in tp.LandmarkDataset.load(folder, split="test").samples}
    opened: list[str] = []
    original = tp.LandmarkDataset.read

    def read(self: Any, index: int) -> Any:
        opened.append(str(self.samples[index].image))
        return original(self, index)

    monkeypatch.setattr(tp.LandmarkDataset, "read", read)
    train(recipe(folder, epochs=1), out=tmp_path / "run", progress=False)
    assert opened
    assert not tests & set(opened)


def test_validation_is_drawn_by_subject_where_the_table_has_none(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "set"
    shutil.copytree(folder, copied)
    table = pd.read_csv(copied / "landmarks.csv", dtype=str).drop(columns="split")
    table["subject"] = [f"s{i // 2}" for i in range(len(table))]
    table.to_csv(copied / "landmarks.csv", index=False)
    run = train(recipe(copied, epochs=1), out=tmp_path / "run", progress=False)
    parts = run.parts()
    subject = dict(zip(table["image"], table["subject"], strict=True))
    assert parts["val"]
    assert not {subject[name] for name in parts["train"]} & {subject[name] for name in parts["val"]}
    assert len(parts["train"]) + len(parts["val"]) == len(table)


def test_another_recipe_or_a_foreign_folder_is_refused(finished: RunFolder, folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    with pytest.raises(RunError, match=r"another recipe \(train\.epochs: 2 there, 3 here\)"):
        train(recipe(folder, ema=0.9, epochs=3), out=finished.folder, progress=False)
    told = recipe(folder, ema=0.9).model_copy(update={"name": "another", "description": "in other words"})
    assert train(told, out=finished.folder, progress=False).folder == finished.folder
    assert {path.name: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before
    (tmp_path / "thesis.tex").write_text("work of years")
    with pytest.raises(RunError, match="expected a new folder"):
        train(recipe(folder), out=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite_names_the_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = HeatmapMethod.training_step

    def broken(self: HeatmapMethod, batch: Any, batch_idx: int) -> torch.Tensor:
        batch.images[0] = math.nan
        return original(self, batch, batch_idx)

    monkeypatch.setattr(HeatmapMethod, "training_step", broken)
    with pytest.raises(RunError, match=r"not finite in epoch 1, images .*\.png.*; nothing was"):
        train(recipe(folder, epochs=1), out=tmp_path / "run", progress=False)
    assert not RunFolder(tmp_path / "run").weights.exists()


def test_data_that_cannot_be_learned_from_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path"):
        train(Recipe(), out=tmp_path / "run", progress=False)
    with pytest.raises(DataError, match="unknown split 'trian'"):
        train(recipe(folder), ["data.train=trian"], out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["adam", "adamw", "adadelta", "sgd"])
def test_optimizers_and_schedules(name: str, folder: Path) -> None:
    settings = recipe(folder, optimizer={"name": name, "lr": 0.5}, lr_schedule={"name": "cosine"}).train
    parameter = torch.nn.Parameter(torch.ones(1))
    made = make_optimizers(settings, [parameter], steps=10)
    assert type(made["optimizer"]).__name__.lower() == name
    rates = []
    for _ in range(11):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates[0] == 0.5
    assert rates[5] == pytest.approx(0.25)
    assert rates[10] == pytest.approx(0, abs=1e-9)


def test_auto_epochs_follow_the_number_of_training_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigpoint.recipe.learning.AUTO_EPOCHS", 2)
    monkeypatch.setattr("trigpoint.recipe.learning.AUTO_STEPS", 11)
    given = recipe(folder, epochs="auto")
    run = train(given, out=tmp_path / "run", progress=False)
    steps = math.ceil(len(run.parts()["train"]) / 4)
    assert 1 < steps < 6
    epochs = math.ceil(11 / steps)
    assert epochs > 2
    assert (run.epochs_done(), run.recipe().train.epochs) == (epochs, epochs)
    kept = run.weights.read_bytes()
    train(given, out=tmp_path / "run", progress=False)  # the same command, nothing left to do
    assert run.weights.read_bytes() == kept
    assert train(given, out=tmp_path / "run", progress=False, more_epochs=1).epochs_done() == epochs + 1
    monkeypatch.setattr("trigpoint.recipe.learning.AUTO_EPOCHS", 5)
    assert train(given, out=tmp_path / "other", progress=False).epochs_done() == 5


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adadelta"])
def test_every_optimizer_clips_in_mixed_precision_too(
    name: str, precision: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    step = HeatmapMethod.on_before_zero_grad

    def note(self: HeatmapMethod, optimizer: torch.optim.Optimizer) -> None:
        step(self, optimizer)
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        norms.extend([float(torch.nn.utils.get_total_norm(grads))] if grads else [])

    monkeypatch.setattr(HeatmapMethod, "on_before_zero_grad", note)
    options = {"clip": 1e-3, "precision": precision, "epochs": 2, "optimizer": {"name": name, "lr": 0.01}}
    train(recipe(folder, **options), out=tmp_path / "run", progress=False)
    assert len(norms) >= 2
    assert max(norms) == pytest.approx(1e-3, rel=0.02)


def test_learning_rate_factors() -> None:
    step = LrScheduleConfig(name="step", milestones=(0.5, 0.75), gamma=0.1)
    assert [step.factor(t) for t in (0.0, 0.49, 0.5, 0.8)] == pytest.approx([1, 1, 0.1, 0.01])
    assert LrScheduleConfig(name="poly", power=2).factor(0.5) == pytest.approx(0.25)
    warm = LrScheduleConfig(name="constant", warmup=0.2)
    assert [warm.factor(t) for t in (0.1, 0.2, 1.0)] == pytest.approx([0.5, 1, 1])


def test_conformal_radius_counts_as_stated() -> None:
    errors = np.arange(1.0, 10.0)
    assert conformal_radius(errors, 0.5) == 5  # ceil(10 * 0.5) = the fifth smallest
    assert conformal_radius(errors, 0.9) == 9
    assert math.isnan(conformal_radius(errors[:8], 0.9))  # nothing that 8 showed holds for nine in ten
    assert math.isnan(conformal_radius(np.array([np.nan]), 0.9))


def test_a_radius_grows_with_the_image(finished: RunFolder, folder: Path) -> None:
    predictor = tp.Predictor.load(finished, device="cpu")
    pixels = tp.LandmarkDataset.load(folder, split="test").read(0).pixels[0]
    predictor.radii = np.array([8.0])  # in images of the size that was validated on
    usual, larger = predictor.predict(pixels), predictor.predict(pixels.repeat(4, 0).repeat(4, 1))
    assert usual.radius[0, 0] == pytest.approx(8)
    assert larger.radius[0, 0] == pytest.approx(32)
    assert list(prediction_frame(larger)["tip_radius"]) == [32]
    predictor.scale = None  # a run made before the size was noted
    assert predictor.predict(pixels.repeat(4, 0).repeat(4, 1)).radius[0, 0] == pytest.approx(8)


def test_predictor_takes_paths_arrays_and_lists_alike(finished: RunFolder, folder: Path, tmp_path: Path) -> None:
    predictor = tp.Predictor.load(finished, device="cpu")
    data = tp.LandmarkDataset.load(folder, split="test")
    whole = predictor.predict(data)
    paths = [sample.image for sample in data.samples]
    pixels = data.read(0).pixels
    colour = np.broadcast_to(pixels[0, :, :, None], (*pixels.shape[1:], 3))  # read-only
    for one in (paths[0], data.read(0), pixels, pixels[0], colour, torch.from_numpy(pixels)):
        single = predictor.predict(one)
        np.testing.assert_allclose(single.points[0], whole.points[0], atol=0.05)
    np.testing.assert_allclose(predictor.predict(paths, batch_size=1).points, whole.points, atol=1e-3)
    assert whole.radius.shape == whole.scores.shape == (len(data), 1)
    assert np.isnan(whole.radius).all()  # of four validation images
    assert len(predictor.predict([])) == 0
    with pytest.raises(DataError, match="expected an array"):
        predictor.predict(np.zeros((4, 5, 6, 7)))
    out = write_predictions(tmp_path / "found.csv", whole)
    table = pd.read_csv(out)
    assert list(table.columns) == ["image", "tip_x", "tip_y", "tip_score", "tip_radius"]
    np.testing.assert_allclose(table["tip_x"], whole.points[:, 0, 0], atol=1e-3)
    with pytest.raises(DataError, match="exists"):
        write_predictions(out, whole)


def test_broken_run_folders_are_refused(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        tp.Predictor.load(tmp_path / "none")
    copied = tmp_path / "copied"
    shutil.copytree(finished.folder, copied)
    run = RunFolder(copied)
    run.weights.write_bytes(run.weights.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged or not a safetensors file"):
        tp.Predictor.load(copied)
    run.weights.unlink()
    with pytest.raises(RunError, match=r"expected weights\.safetensors"):
        tp.Predictor.load(copied)
    shutil.copy(finished.weights, run.weights)
    text = run.config.read_text().replace("width: 4", "width: 6")
    run.config.write_text(text)
    with pytest.raises(RunError, match="does not fit the network"):
        tp.Predictor.load(copied)
    run.config.write_text(text.replace("name: unet", "name: plain"))
    assert "plain" in run.config.read_text()
    with pytest.raises(RunError, match=r"config\.yaml: network 'plain' is a part of another package, not there"):
        tp.Predictor.load(copied)
    run.env.write_text(f"{run.env.read_text()}part networks: plain of my_package 0.1\n")
    with pytest.raises(RunError, match=r"network 'plain' is a part of my_package 0\.1, not there; install it"):
        tp.Predictor.load(copied)
    run.config.write_text(text + "later: true\n")
    with pytest.raises(RunError, match=r"config\.yaml: unknown key 'later'(?!.*the run was made)"):
        tp.Predictor.load(copied)
    run.env.write_text(run.env.read_text().replace(f"trigpoint {tp.__version__}", "trigpoint 99.1"))
    with pytest.raises(RunError, match=r"the run was made by trigpoint 99\.1, this is .*: pip install trigpoint==99"):
        tp.Predictor.load(copied)


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("split.csv", "", RunFolder.parts),
        ("split.csv", "picture,part\na.png,train\n", RunFolder.parts),
        ("metrics.csv", "", RunFolder.history_table),
        ("metrics.csv", 'epoch\n"0,1', RunFolder.history_table),
        ("metrics.csv", "\x00\x01", RunFolder.history_table),
        ("landmarks.yaml", "names: [a]\n", RunFolder.read_landmarks),
        ("landmarks.yaml", "landmarks: [a]\nradius_px: [1, 2]\n", RunFolder.read_landmarks),
        ("landmarks.yaml", "landmarks: [a]\nradius_px: {a: near}\n", RunFolder.read_landmarks),
        ("landmarks.yaml", "landmarks: [a]\nspacing_mm: [1]\n", RunFolder.read_landmarks),
        ("landmarks.yaml", "landmarks: [a, a]\n", RunFolder.read_landmarks),
    ],
)
def test_damaged_tables_of_a_run_are_named(
    name: str, content: str, read: Callable[[RunFolder], object], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=rf"{name}: expected what training wrote, got a damaged file"):
        read(RunFolder(tmp_path))


def test_names_that_a_spreadsheet_would_calculate_are_not_written(tmp_path: Path) -> None:
    one = np.ones((1, 1))
    for mark, image in (("tip", "=1+1.png"), ("=tip", "a.png")):
        found = Prediction([ImageDetections(image, np.ones((1, 1, 2)), one)], LandmarkSet((mark,)), np.ones(1))
        with pytest.raises(DataError, match="which a spreadsheet would calculate"):
            write_predictions(tmp_path / "found.csv", found)
        assert not list(tmp_path.iterdir())


def test_report_page_stands_alone(finished: RunFolder, folder: Path, tmp_path: Path) -> None:
    report = tp.evaluate(finished, folder)
    text = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    own = text.replace("http://www.w3.org", "").replace("http://127.0.0.1:", "")  # the page of 'trigpoint label'
    assert "http://" not in own
    assert f"{report.metrics['mre_px']:.2f}" in text
    with pytest.raises(DataError, match="exists"):
        report.to_html(tmp_path / "report.html")
