from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from trigpoint.report.tables import console_table, landmark_rows, markdown_table, metric_rows, number, percent

METRICS = {
    "n_images": 3, "n_landmarks": 2, "mre_px": 2.7, "sd_px": 1.9, "median_px": 1.8,
    "mre_mm": 0.27, "sd_mm": 0.19, "median_mm": 0.18, "sdr_mm": {"2.0": 0.9, "4.0": 1.0}, "sdr_px": {"2.0": 0.5},
    "nme": {"name": "inter_ocular", "mean": 0.0315}, "fr": {"threshold": 0.08, "value": 0.018},
    "auc": {"threshold": 0.08, "value": 0.61}, "ci95": {"mre_px": [2.5, 2.9], "sdr_mm": {"2.0": [0.8, 0.95]}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "–"), (None, "–"), (np.float64(1.005), "1.00"), (np.int64(7), "7"), (False, "no"), ("x", "x")],
)
def test_number(value: object, text: str) -> None:
    assert number(value) == text


def test_intervals_with_unknown_bounds_are_left_out() -> None:
    assert number(1.234, interval=(1.1, 1.4)) == "1.23 [1.10, 1.40]"
    assert number(1.234, interval=(float("nan"), 1.4)) == "1.23"
    assert percent(0.5, 0, (0.25, 0.75)) == "50 % [25, 75]"
    assert percent(None) == "–"


def test_metric_rows_state_units_intervals_and_rules() -> None:
    rows = {row["measure"]: row for row in metric_rows(METRICS)}
    assert next(iter(rows)) == "Mean radial error (MRE)"
    assert rows["Success detection rate (SDR) at 2.0 mm"]["value"] == "90.0 % [80.0, 95.0]"
    assert rows["Success detection rate (SDR) at 2.0 mm"]["rule"] == "error <= 2.0 mm"
    assert rows["Normalised mean error (NME, inter_ocular)"]["value"] == "3.15 %"
    assert rows["Failure rate (FR) at 8 %"]["rule"] == "images whose NME > 8 %"
    assert rows["Area under the CED (AUC) to 8 %"]["value"] == "0.610"
    assert [row["value"] for row in metric_rows(METRICS)].count("2.70 px [2.50, 2.90]") == 1


def test_the_share_within_the_radius_has_an_interval_and_its_rule_the_thirds() -> None:
    radius = {"promised": 0.9, "held": 0.913, "easy": 0.96, "hard": 0.84}
    row = metric_rows({"radius": radius, "ci95": {"radius": [0.88, 0.94]}})[0]
    assert row["value"] == "91.3 % [88.0, 94.0]"
    assert row["rule"] == "promised 90 %; thirds by expected error: easy 96 %, hard 84 %"


def test_rows_in_mm_come_first_then_shares_then_px() -> None:
    def units(metrics: dict[str, object]) -> list[str]:
        marks = {"mm": "mm", "px": "px", "inter_ocular": "share", "8 %": "share"}
        found = [next(unit for mark, unit in marks.items() if mark in f"{row}") for row in metric_rows(metrics)]
        return list(dict.fromkeys(found))

    assert units(METRICS) == ["mm", "share", "px"]
    unknown = METRICS | dict.fromkeys(("mre_mm", "sd_mm", "median_mm", "sdr_mm"))
    assert units(unknown) == ["share", "px", "mm"]  # that mm are not known is said at the end
    assert metric_rows(unknown)[0]["measure"].startswith("Normalised mean error")


def test_null_keys_are_left_out_and_an_unknown_unit_is_said_once() -> None:
    nulls = dict.fromkeys(METRICS, None) | {"mre_px": 2.7, "sd_px": 1.0}
    values = [row["value"] for row in metric_rows(nulls)]
    assert values == ["2.70 px", "1.00 px", "unit unknown"]
    assert metric_rows({}) == []


def test_markdown_escapes_bars_and_breaks() -> None:
    text = markdown_table([{"a|b": "x|y\nz", "n": 1.0}])
    assert text.splitlines() == [r"| a\|b   |    n |", "| ------ | ---: |", r"| x\|y z | 1.00 |"]


def test_columns_can_be_chosen_renamed_and_missing() -> None:
    text = markdown_table([{"a": 1, "b": 2}, {"a": 3}], {"b": "second", "a": "first"})
    assert text.splitlines()[0] == "| second | first |"
    assert text.splitlines()[3] == "|      – |     3 |"


def test_console_table_shows_brackets_literally() -> None:
    out = io.StringIO()
    table = console_table([{"value": "1.23 [1.10, 1.40]", "name": "[red]tip"}], title="Errors")
    Console(file=out, width=80).print(table)
    assert "1.23 [1.10, 1.40]" in out.getvalue()
    assert "[red]tip" in out.getvalue()


def test_landmark_rows_take_numbers_and_drop_columns_of_nulls() -> None:
    assert landmark_rows({"tip": 1.5}) == [{"landmark": "tip", "mre_px": 1.5}]
    assert landmark_rows({"tip": {"mre_px": 1.5, "mre_mm": None}}) == [{"landmark": "tip", "mre_px": 1.5}]
    assert landmark_rows(None) == []
