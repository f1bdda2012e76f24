"""Which images the exported page says to look at: those that predicting with the run and the .onnx file flags."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from trigpoint.export import html as pages
from trigpoint.export.browser import NAMES
from trigpoint.export.export import checked_model
from trigpoint.export.writing import about_of, origin
from trigpoint.landmarks import ImageDetections
from trigpoint.metrics.trust import UNLIKE_FIRST, UNLIKE_THEN, Trust
from trigpoint.prediction import Predictor, load_predictor
from trigpoint.prediction.table import write_predictions
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium of the system: apt-get install chromium")
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
TELL = """({ values, images }) => {
  const trust = new Trust(values);
  const flags = images.map((image) => trust.of(image));
  return { flags, told: trust.told(flags.map((flag) => flag.far), images.map((image) => image.name)) }; }"""
SIDES = """({ values, sets }) => sets.map(({ far, names }) => new Trust(values).told(far, names))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def changed(image: Image.Image, how: str) -> Image.Image:
    width, height = image.size
    if how == "darker":
        return image.point(lambda value: value // 3)
    if how == "larger":
        return image.crop((width // 8, height // 8, width - width // 8, height - height // 8)).resize(image.size)
    if how == "turned":
        return image.rotate(-25, Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0)))
    return ImageOps.posterize(image, 2) if how == "harder" else image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, with the images ``seen`` and those that are changed beside it."""
    root = tmp_path_factory.mktemp("flagged")
    data = write_radiographs(root / "set", count=32, size=(96, 80), splits={"train": 0.25, "val": 0.75})
    small = ["data.input.size=[48,40]", "method.network.name=unet", "method.network.width=4", "method.network.depth=2"]
    options = [f"data.path={data}", "data.workers=0", "train.epochs=4", "train.batch_size=4", *small]
    run = train("fast", overrides=options, out=root / "run")
    files = sorted((data / "images").glob("*.png"))
    (root / "seen").mkdir()
    for i, file in enumerate(files[-12:]):
        how = ("same", "darker", "larger", "turned", "same", "harder")[i % 6] if i < 6 else "same"
        changed(Image.open(file).convert("L"), how).save(root / "seen" / f"{i:02d}_{how}.png")
    model, _ = checked_model(Predictor.load(run, "cpu"), root / "heads.onnx", files[:2], origin=origin(run))
    (root / "heads.onnx").write_bytes(model)
    return root / "heads.onnx"


def test_the_page_flags_what_predict_flags(browser: Any, model: Path, tmp_path: Path) -> None:
    predictor, files = load_predictor(model, "cpu"), sorted((model.parent / "seen").iterdir())
    found = predictor.predict(files, names=[file.name for file in files])
    assert predictor.trust is not None
    wanted = predictor.trust.flags(found.detections)
    assert {"", "unlike"} <= set(wanted)
    page = browser.new_context(offline=True).new_page()
    (tmp_path / "a.html").write_text(
        pages.page_text(model.read_bytes(), about_of(model.read_bytes()), "heads"), "utf-8"
    )
    page.goto((tmp_path / "a.html").as_uri())
    page.set_input_files("#files", files)
    for _ in range(3000):
        if page.evaluate(
            "() => Boolean(window.trigpoint?.idle() && !trigpoint.store.items.some((i) => i.state === 'waiting'))"
        ):
            break
        page.wait_for_timeout(40)
    assert page.evaluate("() => trigpoint.store.items.map((item) => item.flag.kind)") == wanted
    unlike = predictor.trust.told(found.detections)
    assert page.inner_text("#unlike") == f"{UNLIKE_FIRST}: {'; '.join(unlike)}. {UNLIKE_THEN}."
    said = page.locator("#images .state").all_inner_texts()
    words = predictor.trust.told(found.detections[1:2])
    assert said[1] == f"look at it: unlike the images it was validated on: {'; '.join(words)}"
    assert "pixels are darker by " in said[1]
    assert [text.startswith("look at it: ") for text in said] == [bool(flag) for flag in wanted]
    assert f"{sum(map(bool, wanted))} to look at" in page.inner_text("#progress")
    page.locator("#images button").nth(1).click()
    assert page.inner_text("#flag").lower() == said[1].lower()
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    download.value.save_as(tmp_path / "page.csv")
    write_predictions(tmp_path / "ours.csv", found, flags=wanted)
    ours, table = (pd.read_csv(tmp_path / name, keep_default_na=False) for name in ("ours.csv", "page.csv"))
    assert list(table.columns) == list(ours.columns)
    assert list(table["flag"]) == wanted


def shapes(trust: Trust, seed: int) -> list[ImageDetections]:
    """Points about the mean shape, some images larger, turned, darker, with scores of all sizes and missing points."""
    rng, count = np.random.default_rng(seed), len(trust.difficulty.mean)
    out = []
    for i in range(40):
        scale, angle = np.exp(0.08 * rng.standard_normal()), np.radians(6 * rng.standard_normal() + 170 * (i == 3))
        matrix = 3 * scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = trust.difficulty.mean @ matrix.T + rng.normal(0, 3, (count, 2)) + 100
        scores = rng.uniform(0, 1, count) ** 0.2
        missing = {5: [1], 6: [0, 2, 3], 7: list(range(1, count))}.get(i, [])
        points[missing], scores[missing] = np.nan, np.nan
        look = (float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.15, 0.3)))
        beside = {"spread": rng.uniform(0, 6, (1, count))} if "spread" in trust.difficulty.names else {}
        beside = {key: np.where(np.isnan(scores), np.nan, values) for key, values in beside.items()}
        out.append(ImageDetections(f"{i}", points[None], scores[None], beside, 3.0, look=look))
    return out


@pytest.mark.parametrize("kind", ["as trained", "with spread", "no domain"])
def test_flags_are_those_of_python_to_the_last_image(browser: Any, model: Path, kind: str) -> None:
    trust = load_predictor(model, "cpu").trust
    assert trust is not None
    values = trust.to_dict()
    assert values["difficulty"]["names"] == ["score", "mean score", "shape", "mean shape"]
    usual = [[value] * len(trust.difficulty.mean) for value in (2.5, 2.5, 1.1, 1.1)]
    values["difficulty"] |= {"weights": [-0.4, -0.3, 0.4, 0.3], "usual": usual}
    figure = trust.difficulty.mean - trust.difficulty.mean.mean(0)
    size = float(np.log(np.sqrt((figure**2).sum(1).mean())))
    normal = {"size": [size, 0.04], "turn": [0.0, 4.0], "shape": [1.0, 0.5], "brightness": [0.3, 0.04]}
    values["domain"] = {"images": 30, "usual": normal | {"contrast": [-1.5, 0.1]}}
    if kind == "with spread":
        values["difficulty"]["names"].append("spread")
        values["difficulty"]["weights"].append(0.5)
        values["difficulty"]["usual"].append([0.7] * len(trust.difficulty.mean))
    if kind == "no domain":
        values["domain"] = None
    found = shapes(Trust.from_dict(values), 1)
    doubts = Trust.from_dict(values).difficulty.doubts(found).mean(1)
    values["difficulty"]["flag"] = float(np.quantile(doubts, 0.6))
    trust = Trust.from_dict(values)
    images = [
        {
            "name": one.image,
            "points": [float(value) for value in one.points.ravel()],
            "scores": [float(value) for value in one.scores.ravel()],
            "spread": one.numbers["spread"].ravel().tolist() if one.numbers else None,
            "scale": one.scale,
            "look": one.look,
        }
        for one in found
    ]
    page = browser.new_page()
    page.set_content(
        f'<script type="module">{pages._read("trust.js").replace("export ", "")}\nwindow.Trust = Trust</script>'
    )
    given = pages._for_flags({"trust": values, "threshold": None})
    assert json.loads(json.dumps(given, allow_nan=False)) == given
    told = page.evaluate(TELL, {"values": given, "images": images})
    assert [one["kind"] for one in told["flags"]] == trust.flags(found)
    flags = set(trust.flags(found))
    assert flags == {"", "doubtful"} | ({"unlike"} if trust.domain else set())
    lines = trust.told(found)
    assert told["told"] == (f"{UNLIKE_FIRST}: {'; '.join(lines)}. {UNLIKE_THEN}." if lines else "")
    for i, one in enumerate(found if trust.domain else []):
        lines = trust.told([one])
        words = f": {'; '.join(lines)}" if lines else ""
        assert told["flags"][i]["text"].endswith(words)
        assert told["flags"][i]["text"].count(": ") == (2 if lines else bool(told["flags"][i]["kind"]))


def sets(names: list[str]) -> list[dict[str, list[float]]]:
    """How far images are off, SD: to one side, to both, as many to each, on the whole, with guessed turns, alone."""
    rng = np.random.default_rng(0)
    out = [{name: rng.normal(0, spread, count).tolist() for name in names} for spread in (3, 6) for count in (1, 5, 30)]
    rows = [[-4, 4, -6.5, 0], [-5] * 5 + [4.9] * 5, [2] * 7 + [-9, -4, 0], [9, 5, 2], [3] * 9, [-7] * 4 + [7] * 4]
    for shape in (0.0, 7.0):
        out += [{name: [shape if name == "shape" else away for away in row] for name in names} for row in rows]
    mixed = [[0.0, 7.0, 0.0, 7.0, 0.0], [7.0] * 9 + [0.0] * 2]
    return out + [{"turn": [5.0, -5, -4, -9, 4, 2, 3, 4, 5, 6, 7][: len(row)], "shape": row} for row in mixed]


def test_sides_are_told_as_in_python(browser: Any, model: Path) -> None:
    values = load_predictor(model, "cpu").trust.to_dict()  # type: ignore[union-attr]
    spreads = {"size": 0.04, "turn": 3.1, "shape": 0.5, "brightness": 0.0413, "contrast": 0.1}
    values["domain"] = {"images": 30, "usual": {name: [0.0, spread] for name, spread in spreads.items()}}
    domain = Trust.from_dict(values).domain
    assert domain is not None
    page = browser.new_page()
    page.set_content(
        f'<script type="module">{pages._read("trust.js").replace("export ", "")}\nwindow.Trust = Trust</script>'
    )
    each = sets(list(spreads))
    names = [[f"{i}.png" for i in range(len(one["turn"]))] for one in each]
    rows = [[dict(zip(one, row, strict=True)) for row in zip(*one.values(), strict=True)] for one in each]
    asked = [{"far": far, "names": called} for far, called in zip(rows, names, strict=True)]
    given = pages._for_flags({"trust": values, "threshold": None})
    told = page.evaluate(SIDES, {"values": given, "sets": asked})
    for one, called, text in zip(each, names, told, strict=True):
        known = {name: np.array(one.get(name, [np.nan] * len(called))) for name in spreads}
        lines = domain.in_words(known, called)
        assert text == (f"{UNLIKE_FIRST}: {'; '.join(lines)}. {UNLIKE_THEN}." if lines else "")
    assert any("and turned by" in text for text in told)
    assert any("cannot be told" in text for text in told)


def test_a_run_that_cannot_tell_has_no_flags() -> None:
    assert pages._for_flags({"trust": None, "threshold": None}) is None
    assert pages._for_flags({"threshold": None}) is None  # an older file
    assert pages._for_flags({"trust": {}, "threshold": 0.5}) is None
