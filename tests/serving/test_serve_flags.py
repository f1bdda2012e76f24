"""A served model says of an image what ``trigpoint predict --flag`` says of it, and measures what that measures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from served_models import Told, png, service
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.data.pixels.images import read_image
from trigpoint.export.export import export_run
from trigpoint.prediction import load_predictor
from trigpoint.serving.answers import image_answer
from trigpoint.serving.serve import Wanted, load_service
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of which 24 subjects were validated on, with measurements, as a run and as a file; images beside it."""
    root = tmp_path_factory.mktemp("served")
    data = write_radiographs(root / "heads", 36, size=(96, 80), seed=2, spacing_mm=0.5)
    with (data / "dataset.yaml").open("a") as stream:
        stream.write("\nmeasurements:\n  bend: {angle: [sella, nasion, menton]}\n  base: {distance: [sella, nasion]}\n")
    table = pd.read_csv(data / "landmarks.csv")
    table["split"], table["subject"] = ["train"] * 10 + ["val"] * 24 + ["test"] * 2, [f"s{i}" for i in range(36)]
    table.to_csv(data / "landmarks.csv", index=False)
    small = ["method.network.width=4", "method.network.depth=2", "data.input.size=[48,40]", "data.workers=0"]
    more = ["method.name=heatmap", "method.network.name=unet", f"data.path={data}", "train.epochs=2"]
    run = train("fast", [*more, *small, "train.batch_size=2"], root / "run")
    export_run(run, root / "heads.onnx")
    (root / "new").mkdir()
    for file in sorted((data / "images").glob("*.png"))[-2:]:
        (root / "new" / file.name).write_bytes(file.read_bytes())
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(240, 255, (90, 160), np.uint8)).save(root / "new/wing.png")
    return root


@pytest.fixture(scope="module", params=["run", "heads.onnx"])
def both(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Path, Path, TestClient]]:
    model = folder / request.param
    with TestClient(load_service(Wanted(model)).app) as client:
        yield folder, model, client


def test_flags_and_measurements_are_those_of_predict(both: tuple[Path, Path, TestClient]) -> None:
    folder, model, client = both
    out = folder / f"{model.stem}.csv"
    result = CliRunner().invoke(app, ["predict", str(model), str(folder / "new"), "--out", str(out), "--flag"])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out, keep_default_na=False, dtype={"flag": str}).set_index("image")
    measured = pd.read_csv(out.with_name(f"{out.stem}-measurements.csv")).set_index("image")
    for name, row in table.iterrows():
        sent = folder / "new" / Path(str(name)).name
        (answer,) = client.post("/predict", content=sent.read_bytes()).json()["images"]
        assert (answer["flag"] or "") == row["flag"]
        trust = load_predictor(model).trust
        assert trust is not None
        assert bool(answer["unlike"]) == (row["flag"] == "unlike")
        assert answer["unlike"] == trust.told(load_predictor(model).predict([sent]).detections)
        own = measured.loc[str(name)]
        assert answer["measurements"]
        for one in answer["measurements"]:
            column = f"{one['name']}_mm" if one["unit"] == "mm" else one["name"]
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
                wanted = own[f"{column}{end}"]
                assert one[key] == (None if np.isnan(wanted) else pytest.approx(wanted, abs=2e-4))
    assert "unlike" in set(table["flag"])


def test_a_flag_costs_little(folder: Path) -> None:
    predictor = load_predictor(folder / "heads.onnx")
    image = read_image(folder / "new/wing.png")
    found = predictor.predict([image]).detections[0]
    assert predictor.trust is not None
    each = []
    for _ in range(30):
        begun = time.perf_counter()
        predictor.trust.alone(found)
        each.append(time.perf_counter() - begun)
    assert min(each) < 1e-3
    answer = image_answer("wing.png", image, found, predictor)
    assert answer.flag == "unlike"


def test_a_model_that_cannot_tell_says_null() -> None:
    with TestClient(service(Told()).app) as client:
        answer: dict[str, Any] = client.post("/predict", content=png()).json()["images"][0]
    assert (answer["flag"], answer["unlike"], answer["measurements"]) == (None, None, None)
