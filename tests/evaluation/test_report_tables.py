"""What ``--table`` writes, against numbers worked out by hand and read back from the files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reports import NAMES, detecting, measuring, report, truth

from trigpoint.errors import ConfigError, DataError
from trigpoint.evaluation import compare
from trigpoint.report.table_files import Tables, latex, write_tables
from trigpoint.runs import RunFolder

ERRORS = np.array([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]] + [[1.0, 2.0, np.inf]] * 10)  # the first chin is not annotated


def test_csv_has_landmarks_images_and_subjects(tmp_path: Path) -> None:
    made = report(truth(12), ERRORS)
    files = made.to_tables(tmp_path / "errors.csv")
    assert [file.name for file in files] == ["errors.csv", "errors-images.csv", "errors-subjects.csv"]
    marks, images, subjects = (pd.read_csv(file) for file in files)
    assert marks["landmark"].tolist() == list(NAMES)
    np.testing.assert_allclose(marks["mre_px"], [14 / 12, 26 / 12, 5.0], atol=1e-4)
    assert marks["n_points"].tolist() == [12, 12, 11]
    assert marks["n_unpredicted"].tolist() == [0, 0, 10]
    np.testing.assert_allclose(marks["sdr_2_px"], [11 / 12, 11 / 12, 0], atol=1e-4)
    np.testing.assert_allclose(marks["max_px"], [3, 4, 5])
    assert np.isnan(marks["median_px"][2])  # more than half are not predicted
    inside = (marks["mre_px_low"] < marks["mre_px"]) & (marks["mre_px"] < marks["mre_px_high"])
    assert inside[:2].all()
    assert images["image"].tolist() == [f"{i:02d}.png" for i in range(12)]
    np.testing.assert_allclose(images["mean_px"][:2], [1.5, 4.0])
    assert images["worst"][:2].tolist() == ["nose & tip", "chin"]
    assert images["chin_error_px"].isna().tolist() == [True, False] + 10 * [True]
    assert images["nme"].notna().tolist() == [True, True] + 10 * [False]
    assert subjects["subject"].tolist() == [f"s{i}" for i in range(6)]
    assert subjects["n_images"].tolist() == [2] * 6
    np.testing.assert_allclose(subjects["mean_px"][0], (1 + 2 + 3 + 4 + 5) / 5)


def test_lengths_are_mm_where_all_are_known(tmp_path: Path) -> None:
    made = report(truth(12, (0.5, 0.1)), np.where(np.isinf(ERRORS), 1.0, ERRORS))
    made.to_tables(tmp_path / "e.csv")
    marks, images = (pd.read_csv(tmp_path / name) for name in ("e.csv", "e-images.csv"))
    np.testing.assert_allclose(marks["mre_mm"][:2], [7 / 12, 13 / 12], atol=1e-4)  # all errors are along x
    assert not [name for name in (*marks, *images) if name.endswith("_px")]


def test_latex_is_a_table_of_booktabs() -> None:
    made = report(truth(12, (0.5, 0.5)), np.where(np.isinf(ERRORS), 1.0, ERRORS))
    from trigpoint.evaluation.tables import tables

    text = latex(tables(made))
    lines = text.splitlines()
    head = lines[lines.index(r"\toprule") + 1]
    cells = [line for line in lines if line.endswith(r"\\")]
    assert len({line.count("&") - line.count(r"\&") for line in cells}) == 1
    assert head.startswith("Landmark & n & Mean error (mm) & SD (mm) & Median (mm) & SDR 2 mm (\\%)")
    assert any(line.startswith(r"nose \& tip & 12 & 1.08 [") for line in cells)
    assert [line for line in lines if line.startswith(r"\m")] == [r"\midrule"] * 2
    assert cells[-1].startswith("all landmarks & 35 &")
    assert "12 images of 6 subjects" in lines[0]


def test_latex_names_are_literal() -> None:
    text = latex(Tables({}, [{"a_b": "[x] 5 %"}, {"a_b": None}], ["100 %\nof it"], last=0))
    assert "a\\_b \\\\\n\\midrule\n{}[x] 5 \\% \\\\\n-- \\\\\n" in text
    assert text.startswith("% 100 % of it\n% Needs")


def test_few_subjects_have_no_interval(tmp_path: Path) -> None:
    made = report(truth(4), ERRORS[:4])
    made.to_tables(tmp_path / "e.csv")
    assert pd.read_csv(tmp_path / "e.csv")["mre_px_low"].isna().all()
    made.to_tables(tmp_path / "e.tex")
    text = (tmp_path / "e.tex").read_text()
    assert "Too few subjects" in text
    assert "[" not in text


def test_xlsx_has_a_sheet_each(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    made = report(truth(12), ERRORS)
    assert made.to_tables(tmp_path / "e.xlsx") == [tmp_path / "e.xlsx"]
    made.to_tables(tmp_path / "e.csv")
    sheets = pd.read_excel(tmp_path / "e.xlsx", sheet_name=None)
    assert list(sheets) == ["landmarks", "images", "subjects"]
    for name, sheet in sheets.items():
        same = pd.read_csv(tmp_path / ("e.csv" if name == "landmarks" else f"e-{name}.csv"))
        pd.testing.assert_frame_equal(sheet, same, check_dtype=False)


def test_xlsx_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.report.table_files.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "trigpoint\[excel\]"'):
        write_tables(tmp_path / "e.xlsx", Tables({"a": []}, []))
    assert "openpyxl" not in sys.modules or not list(tmp_path.iterdir())


def test_nothing_is_written_where_one_file_exists(tmp_path: Path) -> None:
    made = report(truth(12), ERRORS)
    (tmp_path / "e-images.csv").write_text("mine")
    with pytest.raises(DataError, match=r"e-images\.csv"):
        made.to_tables(tmp_path / "e.csv")
    assert not (tmp_path / "e.csv").exists()
    assert len(made.to_tables(tmp_path / "e.csv", overwrite=True)) == 3
    with pytest.raises(ConfigError, match=r"\.csv, \.tex, \.xlsx, got '\.txt'"):
        made.to_tables(tmp_path / "e.txt")


def test_what_a_spreadsheet_would_calculate_is_refused(tmp_path: Path) -> None:
    for row in ({"image": "=1+1"}, {"=1+1": "a"}):
        with pytest.raises(DataError, match="would calculate"):
            write_tables(tmp_path / "e.csv", Tables({"a": [row]}, []))
    assert not list(tmp_path.iterdir())


def test_multi_instance_runs_have_recall_precision_and_distance(tmp_path: Path) -> None:
    found = [[[10.0, 13.0], [60.0, 60.0]], [[10.0, 10.0]], [[90.0, 10.0], [10.0, 15.0]], [], [[60.0, 61.0]]]
    made = detecting(found)
    files = made.to_tables(tmp_path / "e.csv")
    marks, images, subjects = (pd.read_csv(file) for file in files)
    tip = marks.iloc[0]
    assert (tip["n_instances"], tip["true_positives"], tip["false_positives"], tip["misses"]) == (10, 5, 1, 5)
    np.testing.assert_allclose(tip[["recall", "precision"]].astype(float), [0.5, 5 / 6], atol=1e-4)
    np.testing.assert_allclose(tip[["f1", "distance_px"]].astype(float), [10 / 16, 9 / 5], atol=1e-4)
    assert tip["recall_low"] < 0.5 < tip["recall_high"]
    assert tip["recall_lenient"] > 0.5
    assert images["misses"].tolist() == [0, 1, 1, 2, 1]
    assert images["tip_false_positives"].tolist() == [0, 0, 1, 0, 0]
    assert np.isnan(images["distance_px"][3])
    assert subjects["n_images"].tolist() == [1] * 5
    made.to_tables(tmp_path / "e.tex")
    text = (tmp_path / "e.tex").read_text()
    assert r"Landmark & n & Recall (\%) & Precision (\%) & F1 (\%) & Distance (px) \\" in text
    assert "tip & 10 & 50.0 [" in text


def test_measurements_have_a_table_a_sheet_and_a_paper_of_their_own(tmp_path: Path) -> None:
    made = measuring()
    assert made.to_tables(tmp_path / "e.csv")[-1] == tmp_path / "e-measurements.csv"
    table = pd.read_csv(tmp_path / "e-measurements.csv")
    assert table["measurement"].tolist() == ["SNA", "share_1"]
    assert table["unit"].tolist() == ["deg", "ratio"]
    assert {"n_images", "n_subjects", "sd", "limits_low", "limits_high", "icc", "icc_low", "mae_high"} <= set(table)
    one = table.iloc[0]
    assert (one["bias"], one["mae"], one["half_width"], one["within"]) == (0.25, 0.5833, 1.0, 1.0)
    assert one["bias_low"] < one["bias"] < one["bias_high"]
    assert one["icc_low"] < one["icc"] < one["icc_high"]
    assert one["limits_high"] - one["bias"] == pytest.approx(1.96 * one["sd"], abs=1e-3)
    assert made.to_tables(tmp_path / "e.tex") == [tmp_path / "e.tex", tmp_path / "e-measurements.tex"]
    text = (tmp_path / "e-measurements.tex").read_text()
    assert "12 images of 6 subjects" in text.splitlines()[0]
    assert r"Measurement & n & Mean abs. error & Bias & SD & 95 \% limits & ICC(2,1) \\" in text
    assert "SNA (deg) & 12 & 0.58 [" in text
    assert r"share\_1 & 12 & 0.006 [" in text
    pytest.importorskip("openpyxl")
    made.to_tables(tmp_path / "e.xlsx")
    sheets = pd.read_excel(tmp_path / "e.xlsx", sheet_name=None)
    assert list(sheets) == ["landmarks", "images", "subjects", "measurements"]
    pd.testing.assert_frame_equal(sheets["measurements"], table, check_dtype=False)


def test_a_comparison_has_the_measurements_of_each_run(tmp_path: Path) -> None:
    runs = [measuring(), measuring()]
    runs[1].run = RunFolder(Path("runs/b"))
    files = compare(runs).to_tables(tmp_path / "e.csv")
    assert files[-1].name == "e-measurements.csv"
    table = pd.read_csv(files[-1])
    assert list(zip(table["measurement"], table["run"], strict=True)) == [
        (name, run) for name in ("SNA", "share_1") for run in ("a", "b")
    ]
    assert compare(runs).to_tables(tmp_path / "e.tex") == [tmp_path / "e.tex"]
