"""The exported page in a browser: what it reads and finds, corrections by key and pointer, the table, refusals."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from page_models import a_predictor, draw
from PIL import Image

from trigpoint.data.pixels.images import read_image
from trigpoint.export import html as pages
from trigpoint.export.browser import NAMES, try_page
from trigpoint.export.export import TOLERANCE, checked_model
from trigpoint.export.writing import about_of
from trigpoint.prediction import Predictor
from trigpoint.prediction.table import prediction_frame

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium of the system: apt-get install chromium")
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
READ = """async () => {
  const read = async (file) => {
    try { const { width, height, channels, white, values } = await readPicture(file);
      return { size: [height, width, channels], white, values: [...values] }; }
    catch (error) { return { told: error.message }; } };
  return Promise.all([...document.querySelector("input").files].map(read)); }"""


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return a_predictor()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw(tmp_path_factory.mktemp("images"), 3)


@pytest.fixture(scope="module")
def text(predictor: Predictor, images: list[Path]) -> str:
    model, _ = checked_model(predictor, Path("a.html"), images[:1])
    return pages.page_text(model, about_of(model), "heads")


@pytest.fixture(scope="module")
def tried(text: str, predictor: Predictor, images: list[Path]) -> Any:
    """Before the browser of the other tests: a thread has one playwright at a time."""
    tiff = images[0].with_suffix(".tif")
    Image.open(images[0]).save(tiff)
    return try_page(text, CHROMIUM, predictor, [*images, tiff])


@pytest.fixture(scope="module")
def browser(tried: Any) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Any, text: str, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    file = tmp_path_factory.mktemp("page") / "heads.html"
    file.write_text(text, encoding="utf-8")
    page = browser.new_context(offline=True, viewport={"width": 1280, "height": 800}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(file.as_uri())
    page.set_input_files("#files", [*images, file])
    until(page, "window.trigpoint?.idle() && trigpoint.store.items.length === 3 && trigpoint.view.bitmap")
    yield page
    assert not errors


def until(page: Any, condition: str) -> None:
    """Until it holds; the page's own policy lets no text be run as code in it."""
    for _ in range(3000):
        if page.evaluate(f"() => Boolean({condition})"):
            return
        page.wait_for_timeout(40)
    raise AssertionError(f"{condition} did not come")


def test_the_page_finds_what_the_run_finds(tried: Any) -> None:
    assert len(tried.found) == 3
    assert all(one.largest <= TOLERANCE and one.moved.size for one in tried.found)
    (told,) = tried.refused.values()
    assert told.startswith("is TIFF, which may have more than 8 bits")


def test_what_is_shown(page: Any) -> None:
    assert page.inner_text("#progress") == "3 of 3 images done"
    assert page.inner_text("#notice") == "Passed over 1 other file."
    assert page.locator("#landmarks li").count() == 3
    nameless = "[...document.querySelectorAll('button')].filter((one) => !one.innerText && !one.ariaLabel).length"
    assert page.evaluate(f"() => {nameless}") == 0


def test_corrections_and_the_table(page: Any, predictor: Predictor, images: list[Path], tmp_path: Path) -> None:
    where = "(() => { const { store, view } = trigpoint; const p = store.current.points[store.active]; return p; })()"
    before = page.evaluate(f"() => {where}")
    page.keyboard.press("Shift+ArrowRight")
    moved = page.evaluate(f"() => {where}")
    assert moved[0] > before[0]
    page.keyboard.press("Control+z")
    assert page.evaluate(f"() => {where}") == before
    page.keyboard.press("Control+y")
    page.keyboard.press("n")  # the elbow, dragged to a place in the image
    at, to = page.evaluate(
        "() => { const { store, view } = trigpoint; const box = view.place.getBoundingClientRect();"
        "return [store.current.points[1], [60, 80]].map((p) => { const s = view.toScreen(...p);"
        "return [s.x + box.left, s.y + box.top]; }); }"
    )
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(to[0] + 20, to[1])
    page.mouse.move(*to)
    page.mouse.up()
    page.keyboard.press("n")  # what was never taught has no point; a click sets one
    page.mouse.click(*at)
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    table = tmp_path / "predictions.csv"
    download.value.save_as(table)
    found, wanted = pd.read_csv(table), prediction_frame(predictor.predict(images))
    assert list(found.columns) == list(wanted.columns)
    assert list(found["image"]) == [image.name for image in images]
    numbers = list(wanted.columns[1:])
    np.testing.assert_allclose(found.loc[1:, numbers], wanted.loc[1:, numbers], atol=0.02)
    assert found.loc[0, "tip_x"] == pytest.approx(moved[0], abs=1e-3)
    assert [found.loc[0, "elbow_x"], found.loc[0, "elbow_y"]] == pytest.approx([60, 80], abs=0.5)
    assert found.loc[0, ["tip_score", "tip_radius", "elbow_score", "never_score"]].isna().all()
    assert found.loc[0, ["never_x", "never_y"]].notna().all()


def pictures(folder: Path) -> Iterator[Path]:
    """Images of all kinds that the page reads."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (19, 31, 3)).astype(np.uint8)
    colour, alpha = Image.fromarray(rgb), Image.fromarray(rgb[..., 1])
    grey = colour.convert("L")
    made = {"rgb": colour, "grey": grey, "palette": colour.quantize(12), "one": grey.convert("1")}
    made |= {"rgba": Image.merge("RGBA", (*colour.split(), alpha)), "la": Image.merge("LA", (grey, alpha))}
    made |= {"deep": Image.fromarray(rgb[..., 0].astype(np.uint16) * 200 + 7)}
    for name, image in made.items():
        image.save(folder / f"{name}.png")
    for turned in range(1, 9):
        exif = Image.Exif()
        exif[274] = turned
        for ending in ("png", "webp"):
            colour.save(folder / f"turned{turned}.{ending}", exif=exif, lossless=True)
        colour.save(folder / f"turned{turned}.jpg", exif=exif, subsampling=turned % 3)
    colour.save(folder / "colour.bmp")
    yield from sorted(folder.iterdir())


def test_pixels_are_those_of_our_own_reader(browser: Any, tmp_path: Path) -> None:
    files = list(pictures(tmp_path))
    colour = Image.open(tmp_path / "rgb.png")
    refused = {
        "cmyk.jpg": (colour.convert("CMYK"), "in CMYK"),
        "anim.gif": (colour, "is GIF. Save it as PNG"),
        "alpha.webp": (Image.open(tmp_path / "rgba.png"), "has transparent parts"),
    }
    for name, (image, _) in refused.items():
        image.save(tmp_path / name, lossless=True)
    told = {name: why for name, (_, why) in refused.items()}
    for name in ("rgb.png", "turned1.jpg", "turned1.webp", "colour.bmp"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"cut_{name}").write_bytes(data[:-40])
        told[f"cut_{name}"] = "cut short"
    damaged = bytearray((tmp_path / "rgb.png").read_bytes())
    damaged[100] ^= 1
    (tmp_path / "damaged.png").write_bytes(damaged)
    told["damaged.png"] = "damaged"
    page = browser.new_page()
    script = pages._joined(("heads", "png", "reading")) + "\nObject.assign(window, { readPicture });"
    page.set_content(f'<input type="file" multiple><script type="module">{script}</script>')
    page.set_input_files("input", [*files, *(tmp_path / name for name in told)])
    until(page, "window.readPicture")
    for file, read in zip([*files, *(tmp_path / name for name in told)], page.evaluate(READ), strict=True):
        if file.name in told:
            assert told[file.name] in read["told"], file.name
            continue
        ours = read_image(file)
        values = np.array(read["values"]).reshape(read["size"]).transpose(2, 0, 1)
        np.testing.assert_array_equal(np.broadcast_to(values, ours.pixels.shape), ours.pixels, err_msg=file.name)
        assert ours.value_range == (0, read["white"])


@pytest.mark.parametrize("fault", ["cut", "no SIMD"])
def test_a_page_that_cannot_work_says_why(browser: Any, text: str, tmp_path: Path, fault: str) -> None:
    page, file = browser.new_page(), tmp_path / "a.html"
    file.write_text(text[: len(text) // 2] if fault == "cut" else text, encoding="utf-8")
    if fault == "no SIMD":
        page.add_init_script("WebAssembly.validate = () => false;")
    page.goto(file.as_uri())
    until(page, "document.body.matches('.broken')")
    wanted = {"cut": "damaged or was cut short", "no SIMD": "lacks WebAssembly with SIMD. Use Chrome or Edge"}
    assert wanted[fault] in page.inner_text("#notice")
