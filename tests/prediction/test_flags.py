"""From training to a table: radii that differ from image to image, images that are told and flagged, in a file too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicoms import radiograph
from PIL import Image
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, RunError
from trigpoint.evaluation import evaluate
from trigpoint.prediction import Predictor, predict_files
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of which 24 subjects are validated on, and a run."""
    root = tmp_path_factory.mktemp("flags")
    write_radiographs(root / "heads", 40, size=(96, 80), seed=2)
    table = pd.read_csv(root / "heads/landmarks.csv")
    table["split"] = ["train"] * 10 + ["val"] * 24 + ["test"] * 6
    table["subject"] = [f"s{i}" for i in range(40)]
    table.to_csv(root / "heads/landmarks.csv", index=False)
    options = ["method.network.width=4", "method.network.depth=2", "data.input.size=[48,40]", "data.workers=0"]
    more = ["method.name=heatmap", "method.network.name=unet", f"data.path={root / 'heads'}", "train.epochs=2"]
    train("fast", [*more, *options, "train.batch_size=2"], root / "run")
    return root / "heads", root / "run"


def files(data: Path) -> list[Path]:
    return [sample.image for sample in LandmarkDataset.load(data, split="test").samples]


def test_radii_grow_with_the_doubt_of_a_point(trained: tuple[Path, Path]) -> None:
    data, run = trained
    predictor = Predictor.load(run)
    assert predictor.trust is not None
    found = predictor.predict(files(data))
    doubts = predictor.trust.difficulty.doubts(found.detections)
    np.testing.assert_allclose(found.doubts, doubts)
    usual = (found.scales / predictor.scale)[:, None] * predictor.radii  # type: ignore[operator]
    np.testing.assert_allclose(found.radius, usual * doubts)
    predictor.trust = None
    np.testing.assert_allclose(predictor.predict(files(data)).radius, usual)
    numbers = evaluate(run, data, "test").metrics
    assert 0 <= numbers["radius"]["held"] <= 1
    bounds = numbers["ci95"]["radius"]
    assert bounds is None or bounds[0] <= numbers["radius"]["held"] <= bounds[1]
    assert {"easy", "middle", "hard"} & set(numbers["radius"])
    assert 0 <= numbers["flagged"]["images"] <= 1


def test_images_that_are_unlike_are_told_and_flagged(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = trained
    (tmp_path / "new").mkdir()
    for file in files(data)[:3]:
        Image.open(file).save(tmp_path / "new" / file.name)
    bright = np.full((96, 80), 250, np.uint8)
    bright[::7] = 245
    Image.fromarray(bright).save(tmp_path / "new/white.png")
    out = tmp_path / "found.csv"
    result = CliRunner().invoke(app, ["predict", str(run), str(tmp_path / "new"), "--out", str(out), "--flag"])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out, dtype={"flag": str}).set_index("image")
    assert table.columns[0] == "flag"
    assert table["flag"].fillna("")[next(name for name in table.index if "white" in name)] == "unlike"
    assert table["flag"].fillna("").isin(["", "unlike", "doubtful"]).all()
    told = " ".join(result.output.split())
    assert "warning: not as in the validation images" in told
    assert "pixels are brighter by" in told
    again = LandmarkDataset.load(out, images=tmp_path / "new")  # the column is a note: the table is read as ever
    assert len(again) == 4
    plain = tmp_path / "plain.csv"
    predict_files(Predictor.load(run), sorted((tmp_path / "new").glob("*.png")), plain)
    assert "flag" not in pd.read_csv(plain)


@pytest.mark.parametrize("asked", [[], ["--flag"]])
def test_a_structured_report_has_the_flag_whether_or_not_the_table_has(
    asked: list[str], trained: tuple[Path, Path], tmp_path: Path
) -> None:
    hd = pytest.importorskip("highdicom")
    data, run = trained
    white = np.full((96, 80), 250, np.uint8)
    white[::7] = 245
    usual = np.asarray(Image.open(files(data)[0]).convert("L"))
    for name, pixels in {"white": white, "usual": usual}.items():
        size = {"Rows": pixels.shape[0], "Columns": pixels.shape[1]}
        radiograph(tmp_path / f"{name}.dcm", PixelData=pixels.tobytes(), **size)
    out, reports = tmp_path / "found.csv", tmp_path / "reports"
    images = [str(tmp_path / f"{name}.dcm") for name in ("white", "usual")]
    result = CliRunner().invoke(
        app, ["predict", str(run), *images, "--out", str(out), "--dicom-report", str(reports), *asked]
    )
    assert result.exit_code == 0, result.output
    flags = [
        {
            one.value.value
            for group in content.get_planar_roi_measurement_groups()
            for one in group.get_qualitative_evaluations()
        }
        for content in (hd.sr.srread(reports / f"{name}_report.dcm").content for name in ("white", "usual"))
    ]
    assert flags[0] == {"unlike"}
    assert "unlike" not in flags[1]


def test_images_that_are_unlike_together_are_marked_each(trained: tuple[Path, Path]) -> None:
    data, run = trained
    trust = Predictor.load(run).trust
    assert trust is not None
    found = Predictor.load(run).predict([sample.image for sample in LandmarkDataset.load(data, split="val").samples])
    assert trust.marks(found.detections) == trust.flags(found.detections)
    assert trust.domain is not None
    middle, spread = trust.domain.usual["brightness"]
    for one in found.detections:  # too little to be told of a single image
        one.look = (middle + 2 * spread, 0.2 if one.look is None else one.look[1])
    assert any("on the whole" in text for text in trust.told(found.detections))
    flags, marks = trust.flags(found.detections), trust.marks(found.detections)
    assert "shifted" in marks
    assert all(mark == ("unlike" if flag == "unlike" else "shifted") for flag, mark in zip(flags, marks, strict=True))


def test_a_run_that_cannot_tell_refuses_to_flag(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = trained
    predictor = Predictor.load(run)
    predictor.trust = None
    predictor.validated = 6
    wanted = "got one that cannot tell whether .*validated on 6 subjects, 20 are needed; leave it out, ask who made"
    with pytest.raises(ConfigError, match=wanted):
        predict_files(predictor, files(data), tmp_path / "out.csv", flag=True)
    assert not (tmp_path / "out.csv").exists()


def test_damaged_trust_is_an_error_that_names_the_file(trained: tuple[Path, Path]) -> None:
    _, run = trained
    before = (run / "trust.json").read_text()
    values = json.loads(before)
    del values["difficulty"]["flag"]
    for text in (before[:-30], json.dumps(values), "[]"):
        (run / "trust.json").write_text(text)
        with pytest.raises(RunError, match=r"trust\.json"):
            Predictor.load(run)
    (run / "trust.json").write_text(before)


def test_an_exported_model_has_the_same_radii_and_flags(trained: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from trigpoint.export.export import export_run
    from trigpoint.prediction import load_predictor

    data, run = trained
    export_run(run, tmp_path / "model.onnx")
    model, own = load_predictor(tmp_path / "model.onnx"), Predictor.load(run)
    assert model.trust is not None
    assert own.trust is not None
    ours, theirs = own.predict(files(data)), model.predict(files(data))
    np.testing.assert_allclose(theirs.radius, ours.radius, rtol=0.02)
    for file, radius in zip(files(data), ours.radius, strict=True):  # as another program has it, and the page
        np.testing.assert_allclose(model.outputs(file)["radius"], radius, rtol=0.02)
    assert model.trust.flags(theirs.detections) == own.trust.flags(ours.detections)
