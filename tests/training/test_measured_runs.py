"""Measurements of a run from dataset.yaml to the tables: calibrated, predicted with intervals, evaluated, shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import trigpoint as tp
from trigpoint.cli import app
from trigpoint.data import LandmarkDataset
from trigpoint.errors import RunError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods.measuring import half_widths
from trigpoint.metrics.measurements import measure_each
from trigpoint.prediction.measurements import beside, measurement_frame
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs

NAMED = {
    "SNG": {"angle": ["sella", "nasion", "menton"]},
    "SN": {"distance": ["sella", "nasion"]},
    "share": {"ratio": [["sella", "nasion"], ["nasion", "menton"]]},
}
LATER = NAMED | {"height": {"distance_to_line": ["menton"], "line": ["sella", "nasion"]}}
SETTINGS = [
    "train.epochs=1", "data.input.size=[32,32]", "data.workers=0", "train.threads=1", "method.network.width=4",
    "method.schedule.sigma0=2",
]  # fmt: skip


def name(folder: Path, measurements: object, **more: object) -> None:
    file = folder / "dataset.yaml"
    about = yaml.safe_load(file.read_text(encoding="utf-8")) | {"measurements": measurements} | more
    file.write_text(
        yaml.safe_dump({k: v for k, v in about.items() if v is not None}, sort_keys=False), encoding="utf-8"
    )


def trained(folder: Path, out: Path) -> RunFolder:
    return tp.train("fast", [f"data.path={folder}", *SETTINGS], out=out, progress=False)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A drawn set with 12 validation subjects, and a run of it."""
    root = tmp_path_factory.mktemp("measured")
    data = root / "heads"
    write_radiographs(data, count=30, size=(48, 40), spacing_mm=0.5)
    table = pd.read_csv(data / "landmarks.csv", dtype=str)
    table["split"] = ["train"] * 12 + ["val"] * 12 + ["test"] * 6
    table["subject"] = [f"s{i}" for i in range(30)]
    table.to_csv(data / "landmarks.csv", index=False)
    name(data, NAMED)
    trained(data, root / "run")
    return data, root / "run"


def test_training_calibrates_every_measurement(heads: tuple[Path, Path]) -> None:
    data, run = heads
    marks = RunFolder(run).read_landmarks()
    assert marks.landmarks.measurements == NAMED
    assert {key: set(of) for key, of in marks.widths.items()} == {
        "SNG": {"deg"}, "SN": {"px", "mm"}, "share": {"ratio"}
    }  # fmt: skip
    assert marks.widths["SN"]["mm"] == pytest.approx(0.5 * marks.widths["SN"]["px"], rel=1e-4)
    # by hand: of 12 subjects with an image each the ceil(13 * 0.9) = 12th smallest error
    predictor = tp.Predictor.load(run)
    val = LandmarkDataset.load(data, split="val").pick(marks.landmarks.names)
    found = predictor.predict(val)
    values = [measure_each(points, marks.landmarks, val.spacings)[0]["SNG"] for points in (found.points, val.points)]
    assert marks.widths["SNG"]["deg"] == pytest.approx(np.abs(values[0] - values[1]).max(), rel=1e-4)
    few = val.subset(range(8))
    assert all(np.isnan(w) for of in half_widths(predictor.predict(few), few, 1.0).values() for w in of.values())


def test_a_value_that_is_not_found_is_an_error_without_end(heads: tuple[Path, Path]) -> None:
    data, run = heads
    predictor = tp.Predictor.load(run)
    val = LandmarkDataset.load(data, split="val").pick(predictor.landmarks.names)
    found = predictor.predict(val)
    place = predictor.landmarks.index("menton")
    for one in found.detections[:2]:
        one.points[0, place] = np.nan
    widths = half_widths(found, val, 1.0)
    assert np.isnan(widths["SNG"]["deg"])  # 10 of 12 are not 90 % of what may come
    assert np.isfinite(widths["SN"]["mm"])


def test_predict_writes_a_second_table_with_intervals(heads: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = heads
    out = tmp_path / "p.csv"
    images = sorted((data / "images").iterdir())[:3]
    arguments = ["predict", str(run), *map(str, images), "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--spacing-mm", "0.5"])
    assert done.exit_code == 0, done.output
    assert f"wrote {beside(out)}: SNG, SN, share" in done.output
    assert "warning" not in done.output
    table, points = pd.read_csv(beside(out)), pd.read_csv(out)
    ends = [f"{each}{end}" for each in ("SNG", "SN_mm", "share") for end in ("", "_low", "_high")]
    assert list(table.columns) == ["image", *ends]
    assert table["image"].tolist() == points["image"].tolist()
    apart = np.hypot(points["sella_x"] - points["nasion_x"], points["sella_y"] - points["nasion_y"])
    assert table["SN_mm"].to_numpy() == pytest.approx(0.5 * apart.to_numpy(), abs=2e-3)
    width = RunFolder(run).read_landmarks().widths["SN"]["mm"]
    assert table["SN_mm_high"].to_numpy() == pytest.approx(table["SN_mm"].to_numpy() + width, abs=1e-3)
    assert (table["SNG_low"] >= 0).all()
    assert (table["SNG_high"] <= 180).all()
    # nothing is written over, and before any work
    refused = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "q.csv")])
    assert refused.exit_code == 0
    assert "lengths are in px, for no image states a pixel size; if you know it: --spacing-mm" in refused.output
    assert "SN_low" in pd.read_csv(tmp_path / "q-measurements.csv")
    (tmp_path / "q.csv").unlink()
    refused = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "q.csv")])
    assert refused.exit_code == 2
    assert "q-measurements.csv: exists already" in refused.output
    assert not (tmp_path / "q.csv").exists()
    wrong = CliRunner().invoke(app, [*arguments, "--force", "--spacing-mm", "ten"])
    assert wrong.exit_code == 2
    assert "--spacing-mm: expected millimetres per pixel above 0" in wrong.output


def test_evaluate_tells_agreement_and_coverage(heads: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = heads
    numbers, page = tmp_path / "m.json", tmp_path / "r.html"
    arguments = ["evaluate", str(run), "--data", str(data), "--json", str(numbers), "--html", str(page)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "measurements (predicted minus annotated)" in done.output
    found = json.loads(numbers.read_text(encoding="utf-8"))
    one = found["measurements"]["SNG"]
    assert (one["unit"], one["n_images"], one["n_subjects"], one["n_unpredicted"]) == ("deg", 6, 6, 0)
    assert found["measurements"]["SN"]["unit"] == "mm"
    test = LandmarkDataset.load(data, split="test")
    predictor = tp.Predictor.load(run)
    test = test.pick(predictor.landmarks.names)
    off = np.subtract(
        *(measure_each(p, predictor.landmarks)[0]["SNG"] for p in (predictor.predict(test).points, test.points))
    )
    assert one["bias"] == pytest.approx(off.mean())
    assert one["sd"] == pytest.approx(off.std(ddof=1))
    assert one["limits"] == pytest.approx(
        [off.mean() - 1.95996 * off.std(ddof=1), off.mean() + 1.95996 * off.std(ddof=1)]
    )
    assert one["within"] == pytest.approx((np.abs(off) <= one["half_width"]).mean())
    assert (
        found["ci95"]["measurements"]["SNG"]["mae"][0] <= one["mae"] <= found["ci95"]["measurements"]["SNG"]["mae"][1]
    )
    html = page.read_text(encoding="utf-8")
    assert "Agreement of measurements" in html
    assert "<h2>Measurements</h2>" in html
    assert "ICC(2,1)" in html
    endings = {"csv": "--table", "tex": "--table", "png": "--figure"}
    asked = [text for ending, option in endings.items() for text in (option, str(tmp_path / f"e.{ending}"))]
    done = CliRunner().invoke(app, [*arguments[:4], *asked])
    assert done.exit_code == 0, done.output
    for ending in endings:
        assert f"wrote {tmp_path / 'e-measurements'}.{ending}" in done.output
    table = pd.read_csv(tmp_path / "e-measurements.csv").set_index("measurement")
    assert table.loc["SNG", "bias"] == pytest.approx(one["bias"], abs=1e-4)
    for rest in ("", "-images", "-subjects"):
        (tmp_path / f"e{rest}.csv").unlink()
    refused = CliRunner().invoke(app, [*arguments[:4], "--table", str(tmp_path / "e.csv")])
    assert refused.exit_code == 2
    assert "e-measurements.csv: exists already" in refused.output


def test_a_finished_run_is_calibrated_for_measurements_that_come_later(
    heads: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = heads
    before = RunFolder(run).read_landmarks()
    weights = (run / "weights.safetensors").read_bytes()
    name(data, LATER)
    try:
        report = tp.evaluate(run, data)
        assert report.metrics["measurements"]["height"]["half_width"] is None
        assert any("measurement height: no interval" in text for text in report.warnings)
        trained(data, run)
        after = RunFolder(run).read_landmarks()
        assert after.landmarks.measurements == LATER
        assert set(after.widths) == set(LATER)
        assert after.radius.tolist() == before.radius.tolist()
        assert after.widths["SNG"] == before.widths["SNG"]
        assert (run / "weights.safetensors").read_bytes() == weights
        assert "names other measurements now: SNG, SN, share, height" in capsys.readouterr().err
        trained(data, run)  # nothing is left to do, and nothing is told
        assert "other measurements" not in capsys.readouterr().err
        name(data, NAMED | {"SNG": {"angle": ["nasion", "sella", "menton"]}, "far": {"distance": ["sella", "nasion"]}})
        report = tp.evaluate(run, data)
        assert set(report.metrics["measurements"]) == {"SNG", "SN", "share", "far", "height"}  # the run's beside
        assert report.metrics["measurements"]["SNG"]["half_width"] is None
        told = " ".join(report.warnings)
        assert "measurement SNG: the run measures it in another way" in told
        assert "measurement far: no interval" in told
    finally:
        name(data, NAMED)
        RunFolder(run).write_landmarks(before)


def test_a_run_of_before_makes_measurements_without_intervals(heads: tuple[Path, Path]) -> None:
    data, run = heads
    predictor = tp.Predictor.load(run)
    found = predictor.predict(sorted((data / "images").iterdir())[:2])
    frame, notes = measurement_frame(found, {})
    assert frame["SNG_low"].isna().all()
    assert frame["SNG"].notna().all()
    assert any("SNG, SN, share: without interval, the run was not calibrated for it" in note for note in notes)
    frame, notes = measurement_frame(found, {"SNG": {"deg": float("nan")}, "SN": {"px": 1.0}, "share": {"ratio": 1.0}})
    assert any("SNG: without interval, the run had fewer than 9 validation subjects" in note for note in notes)
    grown = np.diff(frame[["SN", "SN_high"]].to_numpy(), axis=1).ravel()
    assert grown == pytest.approx(found.scales / predictor.scale, abs=1e-3)


def test_damaged_measurements_of_a_run_are_refused(heads: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = heads
    values = yaml.safe_load((run / "landmarks.yaml").read_text(encoding="utf-8"))
    copy = tmp_path / "run"
    copy.mkdir()
    for wrong in ({"x": {"difference": ["x", "x"]}}, {"x": {"angel": []}}, {"x": {"distance": ["sella", "nobody"]}}):
        (copy / "landmarks.yaml").write_text(yaml.safe_dump(values | {"measurements": wrong}), encoding="utf-8")
        with pytest.raises(RunError, match="damaged"):
            RunFolder(copy).read_landmarks()
    assert LandmarkSet(("a",)).measurements == {}
