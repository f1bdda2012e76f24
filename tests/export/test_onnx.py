"""One file of a run: what it finds, what it says of itself, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.config import parse
from trigpoint.data import read_image
from trigpoint.data.pixels.images import ImageData
from trigpoint.errors import EXTRAS, ConfigError, DataError, RunError, missing
from trigpoint.export import export as exporting
from trigpoint.export import export_predictor, export_run
from trigpoint.export.checking import differences, variants
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.prediction import Predictor, load_predictor
from trigpoint.prediction import base as inference
from trigpoint.prediction.exported import ExportedPredictor
from trigpoint.prediction.measurements import beside, measurement_frame
from trigpoint.prediction.model_file import FORMAT_KEY, HASH_KEY, NO_HASH, sealed
from trigpoint.recipe import Recipe

NAMES = ("tip", "elbow", "never")
VALUES: dict[str, Any] = {
    "data": {"input": {"size": [48, 40]}},
    "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "fixed"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Blobs on noise, of two sizes."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    files = [folder / f"{i}.png" for i in range(2)]
    for file, (height, width) in zip(files, [(120, 90), (64, 150)], strict=True):
        y, x = np.mgrid[:height, :width]
        values = 60 + 20 * rng.standard_normal((height, width))
        values += 150 * np.exp(-((x - 0.3 * width) ** 2 + (y - 0.6 * height) ** 2) / 60)
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(file)
    return files


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A network that was never trained, with a landmark that was never taught."""
    torch.manual_seed(0)
    arm = {"arm": {"distance": ["tip", "elbow"]}}
    recipe, marks = parse(Recipe, VALUES), LandmarkSet(NAMES, skeleton=(("tip", "elbow"),), measurements=arm)
    method = build_method(recipe, marks)
    widths = {"arm": {"px": 1.5, "mm": np.nan}}
    radii, kept = np.array([3.0, np.nan, 2.0]), {"scale": 2.5, "untaught": ["never"], "widths": widths}
    return Predictor(method, recipe, marks, radii, "cpu", **kept)


@pytest.fixture(scope="module")
def model(predictor: Predictor, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "blobs.onnx"
    made = export_predictor(predictor, file, images, origin={"run": {"name": "blobs"}})
    assert made.images == 2 * 6
    assert made.largest <= exporting.TOLERANCE
    return file


def test_the_file_finds_what_the_run_finds(predictor: Predictor, model: Path, images: list[Path]) -> None:
    file = load_predictor(model, "cpu")
    of_run, of_file = predictor.predict(images), file.predict(images)
    np.testing.assert_allclose(of_file.points, of_run.points, atol=0.01)
    np.testing.assert_allclose(of_file.scores, of_run.scores, atol=1e-5)
    np.testing.assert_allclose(of_file.radius, of_run.radius, rtol=1e-6)
    assert np.isnan(of_file.points[:, 2]).all()
    assert np.isfinite(of_file.points[:, :2]).all()
    outputs = file.outputs(images[0])  # as another program has them
    np.testing.assert_allclose(outputs["points"], of_run.points[:1], atol=0.01)
    np.testing.assert_allclose(outputs["radius"], of_run.radius[0], rtol=1e-6)
    assert np.isnan(outputs["scores"][0, 2])


def test_arrays_of_every_kind_are_taken_as_by_the_run(predictor: Predictor, model: Path) -> None:
    file, grey = load_predictor(model, "cpu"), np.random.default_rng(1).integers(0, 200, (70, 60))
    colour = np.stack([grey, grey // 2, 255 - grey], -1)
    kinds: list[Any] = [np.uint8, np.uint16, np.int32, np.float32, np.float64]
    every = [of.astype(kind) for kind in kinds for of in (grey, colour)]
    every += [grey[::-1, ::-1].astype(np.uint8), grey.astype(">u2"), torch.from_numpy(grey)[None]]
    for image in every:
        np.testing.assert_allclose(file.predict(image).points, predictor.predict(image).points, atol=0.01)


def test_the_file_says_what_it_is(model: Path) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    about = json.loads(entries["trigpoint.about"])
    arm = {"arm": {"distance": ["tip", "elbow"]}}
    assert about["landmarks"] == {"landmarks": list(NAMES), "skeleton": [["tip", "elbow"]], "measurements": arm}
    assert "millimetres only from a spacing" in about["spacing_rule"]
    assert "MIT" in about["licence"]
    assert about["run"] == {"name": "blobs"}
    assert about["opset"] == onnx.load(model).opset_import[0].version == 18
    assert about["runtime"]["onnxruntime_least"]
    assert about["check"]["images"] == 12
    assert about["check"]["largest_px"] <= about["check"]["limit_px"] == 0.05
    assert {opset.domain for opset in onnx.load(model).opset_import} == {""}  # operators of ONNX only


def test_predict_takes_the_file_in_place_of_a_run(
    model: Path, images: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    table, drawn = tmp_path / "p.csv", tmp_path / "drawn"
    result = CliRunner().invoke(
        app, ["predict", str(model), str(images[0].parent), "-o", str(table), "--overlay", str(drawn)]
    )
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(table)) == len(list(drawn.glob("*.png"))) == 2
    assert result.output.count("arm") == 1
    wanted, _ = measurement_frame(predictor.predict(images), predictor.widths)
    pd.testing.assert_frame_equal(pd.read_csv(beside(table)).iloc[:, 1:], wanted.iloc[:, 1:], atol=0.01)
    assert wanted["arm_high"].notna().all()
    stack = tmp_path / "stack.tif"
    frames = [Image.open(images[0])] * 3
    frames[0].save(stack, save_all=True, append_images=frames[1:])
    result = CliRunner().invoke(app, ["predict", str(model), str(stack), "-o", str(tmp_path / "frames.csv")])
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(tmp_path / "frames.csv")) == 3
    measured = tmp_path / "mm.csv"
    given = ["predict", str(model), str(images[0]), "-o", str(measured), "--spacing-mm", "0.1"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert pd.read_csv(beside(measured))["arm_mm"][0] == pytest.approx(0.1 * wanted["arm"][0], abs=0.01)
    assert "without interval" in result.output  # in mm none is known
    refused = {"--trace": "draws what a run folder shows", "--group": "is for multi-instance runs"}
    for option, told in refused.items():
        arguments = [option, "1", "-o", str(tmp_path / "q.csv")]
        result = CliRunner().invoke(app, ["predict", str(model), str(images[0]), *arguments])
        assert result.exit_code == 2
        assert told in result.output


# -- without PyTorch ------------------------------------------------------------------------------------------------

BARRED = " ".join(name for names in EXTRAS.values() for name in names)
WITHOUT = f"""
import sys
for name in "{BARRED}".split():
    sys.modules[name] = None
import time
start = time.process_time()
import trigpoint
print("import", time.process_time() - start)
from trigpoint.cli import main
main()
"""


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ))


def test_predicting_needs_no_pytorch(model: Path, images: list[Path], predictor: Predictor, tmp_path: Path) -> None:
    table, drawn = tmp_path / "p.csv", tmp_path / "drawn"
    done = without_torch("predict", model, images[0].parent, "--out", table, "--overlay", drawn)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[1]) <= 0.3
    points = pd.read_csv(table)[["tip_x", "tip_y"]].to_numpy()
    np.testing.assert_allclose(points, predictor.predict(images).points[:, 0], atol=0.01)
    assert len(list(drawn.glob("*.png"))) == 2
    assert pd.read_csv(beside(table))["arm"].notna().all()


def test_what_needs_pytorch_says_which_extra_brings_it(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    done = without_torch("predict", tmp_path / "run", images[0], "--out", tmp_path / "p.csv")
    assert done.returncode == 2
    assert "predicting with a run folder: " in done.stderr
    assert "is not installed; pip install 'trigpoint[train]'" in done.stderr
    assert missing(ImportError("no", name="onnxscript.ir")) == (
        "onnxscript is not installed; pip install 'trigpoint[export]'"
    )
    assert missing(ImportError("no", name="trigpoint.nothing")) is None


ENTRY = Path(__file__).with_name("windows_entry.py")


def test_predicting_needs_nothing_that_only_posix_has(model: Path, images: list[Path], tmp_path: Path) -> None:
    table, drawn = tmp_path / "p.csv", tmp_path / "drawn"
    arguments = ["predict", model, images[0].parent, "--out", table, "--overlay", drawn]
    command = [sys.executable, ENTRY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(table)) == len(list(drawn.glob("*.png"))) == 2
    wanted, _ = measurement_frame(load_predictor(model, "cpu").predict(images), {})
    assert pd.read_csv(beside(table))["arm"].to_list() == pytest.approx(wanted["arm"].to_list(), abs=0.01)


# -- the check ------------------------------------------------------------------------------------------------------


def test_a_file_that_finds_other_points_is_not_written(
    predictor: Predictor, images: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "translate", lambda steps, example: {})
    monkeypatch.setattr(exporting, "assemble", lambda *given: None)
    monkeypatch.setattr(exporting, "model_bytes", lambda *given: model.read_bytes())
    ready, found = ExportedPredictor.of, ExportedPredictor.found

    def wrong(self: Any, part: Any, threshold: Any) -> Any:
        seen = found(self, part, threshold)
        off = 0.2 if part[0].pixels.dtype == np.uint16 else 0.0  # in other forms only
        return seen._replace(points=seen.points + off)

    monkeypatch.setattr(ExportedPredictor, "found", wrong)
    with pytest.raises(RunError, match=r"within 0\.05 px, got '\w+' 0\.283 px away in .*0\.png, 16 bits; nothing was"):
        export_predictor(predictor, tmp_path / "a.onnx", images)
    assert not list(tmp_path.iterdir())
    assert export_predictor(predictor, tmp_path / "a.onnx", images, tolerance=0.3).largest > 0.28
    assert ready(model.read_bytes(), model).about["precision"] == "float32"


def test_every_image_is_tried_in_forms_that_users_have(images: list[Path]) -> None:
    stored = read_image(images[0])
    forms = dict(variants(stored))
    assert forms["16 bits"].value_range == (0, 65535)
    assert forms["colour"].pixels.shape == (3, *stored.pixels.shape[1:])
    assert forms["turned"].pixels.shape == (1, stored.width, stored.height)
    assert forms["half the size"].height == stored.height // 2
    coloured = ImageData(np.zeros((3, 5, 4), np.uint16), value_range=(0, 65535))
    assert {"numbers", "grey"} < dict(variants(coloured)).keys()


def test_a_lost_point_or_instance_is_noticed(predictor: Predictor, model: Path, images: list[Path]) -> None:
    file = load_predictor(model, "cpu")
    file._blank = [0]
    assert [one.largest for one in differences(predictor, file, images[:1], varied=0)] == [np.inf]


def test_a_run_without_images_to_check_on_is_told_so(tmp_path: Path) -> None:
    from trigpoint.runs import LandmarkFile, RunFolder

    run = RunFolder(tmp_path / "run")
    run.begin(parse(Recipe, VALUES), LandmarkFile(LandmarkSet(NAMES)), {"train": ["a.png"]})
    with pytest.raises(DataError, match=r"expected a run with validation images, got none; .* --check IMAGES"):
        exporting.validation_images(run)
    gone = parse(Recipe, {**VALUES, "data": {"path": str(tmp_path / "gone")}})
    other = RunFolder(tmp_path / "other")
    other.begin(gone, LandmarkFile(LandmarkSet(NAMES)), {"train": ["a.png"], "val": ["b.png"]})
    with pytest.raises(DataError, match=r"validation images cannot be read .* --check IMAGES"):
        exporting.validation_images(other)
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.onnx"):
        export_run(run, tmp_path / "a.bin")


# -- bad files ------------------------------------------------------------------------------------------------------


def test_a_damaged_or_foreign_file_is_refused(model: Path, tmp_path: Path) -> None:
    data, file = model.read_bytes(), tmp_path / "bad.onnx"
    bad = {
        "is cut short": [data[: len(data) // 2], data[:100]],
        "bytes changed": [data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], data + b"\0"],
        "one of another tool": [
            b"",
            b"not a model",
            onnx.ModelProto(ir_version=8, producer_name="pytorch").SerializeToString(),
        ],
    }
    for told, cases in bad.items():
        for case in cases:
            file.write_bytes(case)
            with pytest.raises(RunError, match=told):
                load_predictor(file, "cpu")
    with pytest.raises(RunError, match="no such model"):
        load_predictor(tmp_path / "nowhere.onnx")


def resealed(model: Path, change: Any) -> bytes:
    proto = onnx.load(model)
    change(proto)
    for entry in proto.metadata_props:
        if entry.key == HASH_KEY:
            entry.value = NO_HASH
    return sealed(proto.SerializeToString())


def test_a_newer_file_and_an_operator_that_is_not_there_are_told(model: Path, tmp_path: Path) -> None:
    def newer(proto: onnx.ModelProto) -> None:
        next(entry for entry in proto.metadata_props if entry.key == FORMAT_KEY).value = "2"

    def unknown(proto: onnx.ModelProto) -> None:
        proto.graph.node[0].op_type = "Divine"

    file = tmp_path / "a.onnx"
    file.write_bytes(resealed(model, newer))
    with pytest.raises(RunError, match="expected a model of format 1, got 2, which a newer trigpoint wrote"):
        load_predictor(file, "cpu")
    file.write_bytes(resealed(model, unknown))
    with pytest.raises(RunError, match=r"onnxruntime .* cannot run this model \(.*Divine.*upgrade onnxruntime"):
        load_predictor(file, "cpu")


def test_a_full_disk_leaves_nothing(
    predictor: Predictor, images: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "translate", lambda steps, example: {})
    monkeypatch.setattr(exporting, "assemble", lambda *given: None)
    monkeypatch.setattr(exporting, "model_bytes", lambda *given: model.read_bytes())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export_predictor(predictor, tmp_path / "a.onnx", images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_images_read_by_tiles_are_taken_as_whole_ones(
    predictor: Predictor, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, levels: int, kind: Any
) -> None:
    file, most = tmp_path / "large.tif", np.iinfo(kind).max
    y, x = np.mgrid[:640, :512]
    values = 0.3 + 0.5 * np.exp(-((x - 150.0) ** 2 + (y - 400.0) ** 2) / 4000) + 0.1 * np.sin(x / 40)
    pixels = (most * values).round().astype(kind)
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(pixels, tile=(64, 64), subifds=levels - 1)
        for level in range(1, levels):
            small = pixels.reshape(640 >> level, 1 << level, 512 >> level, 1 << level).mean((1, 3)).astype(kind)
            tiff.write(small, tile=(64, 64), subfiletype=1)
    whole, exported = predictor.predict(file), load_predictor(model, "cpu")
    monkeypatch.setattr(inference, "MAX_PIXELS", 1000)
    found = exported.predict([file])
    moved = np.linalg.norm(found.points - whole.points, axis=-1)[0, :2]
    assert (moved / whole.scales).max() < 0.25  # of a pixel of the input, by a network that was never trained
    assert found.scores[0, :2] == pytest.approx(whole.scores[0, :2], abs=0.01)
    assert found.scales == pytest.approx(whole.scales)
    assert found.radius[0, 0] == pytest.approx(whole.radius[0, 0])
    monkeypatch.setattr("trigpoint.data.tiled.reduced.MAX_PIXELS", 1000)
    with pytest.raises(DataError, match=r"large.tif: expected an image that has at most 1000 pixels at the size that"):
        exported.predict([file])


def test_a_device_that_is_not_there_is_told(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"device 'tpu': not usable here with onnxruntime"):
        load_predictor(model, "tpu")
