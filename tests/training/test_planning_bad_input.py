"""Data that nobody planned for ends in a plan or in a clear refusal, and a plan can be trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trigpoint.errors import ConfigError, DataError, RunError, TrigpointError
from trigpoint.recipe import load_recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.planning import Facts, Plan, plan_for
from trigpoint.training.planning.speed import Speed

SIZES = [(48, 64)] * 8  # height and width
MARKS = ("a", "b", "c")
NAN = float("nan")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    speed = Speed(0.001, 2e-8)
    monkeypatch.setattr("trigpoint.training.planning.plan.measure", lambda recipe, landmarks, *sides: speed)
    monkeypatch.setattr("trigpoint.training.planning.decoding.preparing", lambda image: 0.001)


HEATMAP = "method.decoder=soft_argmax"  # a network, however few the labels


def folder(
    path: Path, sizes: list[tuple[int, int]] = SIZES, modes: str = "L", text: str = "", **columns: Any
) -> tuple[Path, pd.DataFrame]:
    """Images of noise with three landmarks each, subject after subject; ``columns`` replace those of the table."""
    rng = np.random.default_rng(0)
    (path / "images").mkdir(parents=True)
    rows = []
    for i, (height, width) in enumerate(sizes):
        mode = modes[i % len(modes)]
        shape = (height, width) if mode == "L" else (height, width, 3)
        values = np.zeros(shape, np.uint8) if height * width > 10**6 else rng.integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(values).save(path / f"images/{i}.png")
        places = (rng.uniform(0.3, 0.7, (3, 2)) * [width, height]).round(1)
        row: dict[str, Any] = {"image": f"{i}.png", "split": "", "subject": f"s{i}"}
        for name, (x, y) in zip(MARKS, places.tolist(), strict=True):
            row |= {f"{name}_x": x, f"{name}_y": y}
        rows.append(row)
    table = pd.DataFrame(rows).assign(**columns)
    (path / "dataset.yaml").write_text(f"name: odd\nimages: images\nlandmarks: [{', '.join(MARKS)}]\n{text}")
    table.to_csv(path / "landmarks.csv", index=False)
    return path, table


def planned(path: Path, *overrides: str, minutes: float = 2) -> tuple[Facts, Plan, dict[str, Any]]:
    found = plan_for(path, overrides, minutes)
    load_recipe(found[2])  # is one
    return found


def once(values: pd.Series[Any]) -> pd.Series[Any]:
    """All but the first value blank."""
    return values.where(values.index == 0)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda t: t.assign(subject="one"), lambda facts, plan: facts.subjects == 1),
        (lambda t: t.assign(c_x=once(t.c_x), c_y=once(t.c_y)), lambda facts, plan: facts.missing > 0.2),
        (lambda t: t.assign(c_x=NAN, c_y=NAN), lambda facts, plan: facts.missing > 0.3),
        (lambda t: t.assign(c_x=900, c_y=-300), lambda facts, plan: facts.landmarks == 3),
        (lambda t: t.assign(a_x=5, b_x=5, c_x=5, a_y=6, b_y=6, c_y=6), lambda facts, plan: not facts.poses.known),
        (lambda t: t.assign(b_x=NAN, b_y=NAN, c_x=NAN, c_y=NAN), lambda facts, plan: not facts.poses.known),
    ],
    ids=["one subject", "labelled once", "never labelled", "outside", "one place", "one landmark"],
)
def test_odd_labels_get_a_plan(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], check: Callable[[Facts, Plan], bool]
) -> None:
    path, table = folder(tmp_path / "odd")
    change(table).to_csv(path / "landmarks.csv", index=False)
    facts, plan, values = planned(path)
    assert check(facts, plan)
    assert np.isfinite([v for v in values["data"]["augment"].values() if isinstance(v, float)]).all()


def test_one_image_is_for_templates_and_refused_by_other_methods(tmp_path: Path) -> None:
    path, _ = folder(tmp_path / "one", SIZES[:1])
    assert planned(path)[2]["method"]["name"] == "template"
    with pytest.raises(DataError, match="expected at least 2 annotated images"):
        planned(path, HEATMAP)


def test_two_images_get_a_plan_that_says_what_they_are_worth(tmp_path: Path) -> None:
    facts, plan, _ = planned(folder(tmp_path / "two", SIZES[:2])[0], "method.loss=kl")
    assert (facts.images, facts.validation) == (1, 1)
    assert any("1 validation images; 1 say little" in line for line in plan.told())


def test_a_validation_subset_without_labels_is_refused(tmp_path: Path) -> None:
    blank: dict[str, Any] = {f"{name}_{x}": [1.0] * 6 + [NAN] * 2 for name in MARKS for x in "xy"}
    path, _ = folder(tmp_path / "blank", split=["train"] * 6 + ["val"] * 2, **blank)
    with pytest.raises(DataError, match="expected annotated landmarks in the validation subset"):
        planned(path)


def test_images_of_all_sizes_and_colours_get_a_plan_that_trains(tmp_path: Path) -> None:
    sizes = [(32, 32), (40000, 64), (64, 40000), (48, 64), (33, 500), (32, 40), (100, 32), (64, 64)]
    path, _ = folder(tmp_path / "all", sizes, modes="LR")
    tiny = ["method.network={name: unet, width: 2, depth: 1}", "train.threads=1", "train.epochs=1", "train.val_every=1"]
    facts, plan, values = planned(path, *tiny, "data.workers=0", "data.input.size=[64,64]")
    assert (facts.smallest, facts.largest, facts.colour) == (32, 40000, True)
    assert facts.shapes > 1000
    assert "region" not in values["data"]["input"]
    with suppress(RunError):  # nothing can be learned from noise
        train(load_recipe(values), out=tmp_path / "run", progress=False, plan=plan.text(values))
    assert RunFolder(tmp_path / "run").epochs_done() == 1
    assert len(RunFolder(tmp_path / "run").read_landmarks().radius) == 3


def test_time_for_less_than_one_round_takes_fewer_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speed = Speed(0.37, 1e-6)
    monkeypatch.setattr("trigpoint.training.planning.plan.measure", lambda recipe, landmarks, *sides: speed)
    path, _ = folder(tmp_path / "many", [(32, 32)] * 1000)
    facts, plan, values = planned(path, minutes=1)
    limit = values["data"]["limit"]
    assert 300 < limit < facts.images
    steps = values["train"]["epochs"] * -(-limit // values["train"]["batch_size"])
    assert steps * speed.step(96, 96, 8) < 60
    assert any("less than one round" in line for line in plan.told())
    assert planned(path, "data.limit=20", minutes=1)[2]["data"]["limit"] == 20


@pytest.mark.parametrize("minutes", [0.001, 0.05])
def test_no_time_is_refused_with_what_it_takes(tmp_path: Path, minutes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.training.planning.plan.measure", lambda recipe, landmarks, *sides: Speed(0.3, 1e-6))
    with pytest.raises(ConfigError, match=r"got \d+ \(a step .* give --minutes [1-9]"):
        planned(folder(tmp_path / "none")[0], minutes=minutes)


def test_objects_and_images_without_any(tmp_path: Path) -> None:
    path, table = folder(tmp_path / "objects", text="instances: true\n")
    table = pd.concat([table.assign(instance=1), table.assign(instance=2, a_x=table.a_x + 9)]).reset_index(drop=True)
    table.loc[table["image"] == "3.png", [f"{name}_{x}" for name in MARKS for x in "xy"]] = NAN
    table.to_csv(path / "landmarks.csv", index=False)
    facts, _, values = planned(path)
    assert facts.instances == 2
    assert values["method"]["name"] == "instances"
    assert facts.apart < 10


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrigpointError):
        planned(tmp_path / "empty")
