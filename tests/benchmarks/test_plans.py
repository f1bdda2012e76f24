"""Plans beside the recipes made for drawn sets, on few images: the numbers say nothing."""

import sys
from pathlib import Path
from typing import Any

import pytest

import trigpoint

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.__main__ import main

from benchmarks import plans

TRAIN = trigpoint.train


@pytest.mark.parametrize(("kind", "measure"), [("catheter", "error (px)"), ("instrument", "F1 (%)")])
def test_a_plan_gets_the_time_of_the_recipe_and_is_compared_with_it_image_by_image(
    kind: str, measure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, given = plans.KINDS[kind].recipe, []

    def train(what: Any, overrides: Any, out: Path, minutes: float | None = None, **others: Any) -> Any:
        if minutes is None:
            return TRAIN(what, overrides, out, **others)
        given.append(minutes)  # a plan takes a minute at least
        return TRAIN(recipe, [f"data.path={what}", *overrides, "train.epochs=2"], out, **others)

    monkeypatch.setattr(trigpoint, "train", train)
    monkeypatch.setattr(plans, "LEAST", 0.0)
    text = main(["plans", "--kinds", kind, "--images", "40", "--epochs", "1", "--out", str(tmp_path)])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert [row[1] for row in rows] == [recipe, "plan"]
    assert all(row[3].startswith(measure) for row in rows)
    assert rows[0][4] == "–"
    assert rows[1][4][0] in "+-"
    assert given == [pytest.approx(float(rows[0][2]), abs=0.06)]
