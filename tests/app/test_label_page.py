"""The page in a browser: where a click is stored, labelling by mouse and by keys, two windows, undo."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from label_browser import LIT, NEEDED, WAIT, Page
from label_sets import open_project, served

from trigpoint.app import pictures
from trigpoint.app.access import Access

pytestmark = NEEDED
DISC = 13.0  # radius of the discs


def discs(height: int, width: int, centres: list[tuple[float, float]]) -> np.ndarray[Any, Any]:
    """White discs with smooth edges on black, at exact centres."""
    image = np.zeros((height, width), np.uint8)
    for x, y in centres:
        top, left = int(y) - 20, int(x) - 20
        rows, columns = np.mgrid[top : top + 41, left : left + 41]
        value = np.clip(DISC + 0.5 - np.hypot(columns - x, rows - y), 0, 1)
        image[top : top + 41, left : left + 41] = np.round(255 * value)
    return image


def image_of(kind: str, folder: Path) -> list[tuple[float, float]]:
    """Write an image of discs; their centres in the upright image."""
    folder.mkdir()
    if kind == "large":
        centres = [(500.25, 1800.75), (2201.5, 1001.0)]
        tifffile.imwrite(folder / "a.tif", discs(2001, 2307, centres), tile=(256, 256))
        return centres
    centres = [(200.25, 700.75), (1100.5, 101.0)]
    image = discs(907, 1201, centres)
    if kind == "turned":  # stored lying: shown turned by 90 degrees to the right
        exif = PIL.Image.Exif()
        exif[274] = 6
        PIL.Image.fromarray(np.rot90(image)).save(folder / "a.jpg", exif=exif, quality=98)
    elif kind == "deep":
        PIL.Image.fromarray(image.astype(np.uint16) * 200 + 500).save(folder / "a.png")
    else:
        PIL.Image.fromarray(image).save(folder / "a.png")
    return centres


@pytest.mark.parametrize("kind", ["plain", "turned", "deep", "large"])
def test_what_is_clicked_is_what_is_stored(
    browser: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disc is found in a picture of the screen, its middle is clicked, and the stored point is its centre."""
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2_000_000)  # what is larger is read by tiles
    centres = image_of(kind, tmp_path / "set")
    project = open_project(tmp_path / "set", "tip")
    errors = []
    with served(project) as address:
        for ratio, zooms in {1.0: (0.4, 6.3), 1.5: (0.4, 1.0)}.items() if kind == "plain" else [(2.0, (0.3, 1.3))]:
            page = Page(browser, address, device_scale_factor=ratio)
            for zoom in zooms:
                errors += [clicked_error(page, at, zoom, ratio) for at in centres]
            page.close()
    assert np.abs(errors).max() < 0.25, np.round(errors, 3).tolist()


def clicked_error(page: Page, at: tuple[float, float], zoom: float, ratio: float) -> list[float]:
    """How far the stored point is from where the disc is seen on the screen, image pixels."""
    page.look_at(*at, zoom)
    page.run("const { overlay } = window.trigpoint; overlay.hidden = true; overlay.paint();")
    shot, corner = page.steady_picture(ratio)
    page.run("window.trigpoint.overlay.hidden = false;")
    light = np.clip(shot - LIT, 0, None)
    reach = int(DISC * zoom + 6)
    rows, columns = np.mgrid[: shot.shape[0], : shot.shape[1]]
    middling = np.hypot(rows - shot.shape[0] / 2, columns - shot.shape[1] / 2) < reach + 30  # the other disc is far off
    row, column = np.unravel_index(np.argmax(box_sum(light * middling, reach)), light.shape)
    near = light * (abs(rows - row) <= reach) * (abs(columns - column) <= reach)
    middle = np.array([(near * columns).sum(), (near * rows).sum()]) / near.sum()  # device pixels, centres at integers
    pixel = np.floor(middle)  # the one that the tip of the mouse covers
    name = page.run("return store.next;")
    page.page.mouse.click((corner[0] + pixel[0]) / ratio, (corner[1] + pixel[1]) / ratio)
    page.saved()
    stored = page.run(f"const mark = store.mark('{name}'); store.setMarks({{ {name}: undefined }}); return mark;")
    page.saved()
    expected = np.array(at) + (pixel - middle) / (page.run("return viewer.scale;") * ratio)
    return list(np.array(stored[:2]) - expected)


def box_sum(values: np.ndarray[Any, Any], reach: int) -> np.ndarray[Any, Any]:
    """Sums of squares around each pixel, to find the disc that is whole."""
    out = values
    for axis in (0, 1):
        padded = np.concatenate([np.zeros_like(out[:1] if axis == 0 else out[:, :1]), out.cumsum(axis)], axis)
        n = out.shape[axis]
        high, low = np.minimum(np.arange(n) + reach + 1, n), np.maximum(np.arange(n) - reach, 0)
        out = padded.take(high, axis) - padded.take(low, axis)
    return out


@pytest.fixture
def page(browser: Any, photos: Path) -> Iterator[Page]:
    """The page of three images, two landmarks."""
    with served(open_project(photos, "tip,root")) as address:
        page = Page(browser, address)
        page.address = address
        yield page
        page.close()


def rows(folder: Path) -> list[str]:
    return (folder / "landmarks.csv").read_text().splitlines()[1:]


def test_ten_labels_by_mouse_and_what_a_drag_moves(page: Page, photos: Path) -> None:
    mouse, box = page.page.mouse, page.page.locator("#osd").bounding_box()
    for number in range(3):
        for dx in (-90, 90):
            mouse.click(box["x"] + box["width"] / 2 + dx, box["y"] + 300)
        page.saved()
        page.page.keyboard.press("Enter")  # all set: the next image
        if number < 2:
            page.wait(f"window.trigpoint.store.image === {number + 1} && window.trigpoint.viewer.ready")
    page.page.keyboard.press("PageUp")
    page.wait("window.trigpoint.store.image === 1 && window.trigpoint.viewer.ready")
    before = page.run("return store.mark('tip');")
    at = page.run("const p = viewer.toScreen(...store.mark('tip')); return [p.x, p.y];")
    mouse.move(box["x"] + at[0] + 3, box["y"] + at[1] + 2)  # not quite on it: it does not jump
    mouse.down()
    mouse.move(box["x"] + at[0] + 53, box["y"] + at[1] + 42, steps=5)
    mouse.up()
    page.saved()
    scale = page.run("return viewer.scale;")
    moved = page.run("return store.mark('tip');")
    assert np.allclose(np.array(moved[:2]) - before[:2], [50 / scale, 40 / scale], atol=0.02)
    assert len(rows(photos)) == 3
    center = page.run("return viewer.osd.viewport.getCenter().x;")
    mouse.move(box["x"] + 200, box["y"] + 500)
    mouse.down()
    mouse.move(box["x"] + 260, box["y"] + 500, steps=5)
    mouse.up()
    page.wait(f"Math.abs(window.trigpoint.viewer.osd.viewport.getCenter().x - {center}) > 0.01")  # a drag beside pans
    assert page.run("return store.unsaved.size;") == 0


def test_a_click_on_the_picture_before_labels_nothing(page: Page) -> None:
    """The next image is open, but the screen still shows the last one."""
    held: list[Any] = []
    page.page.route("**/api/images/1/picture", lambda route: held.append(route) or None)
    page.page.keyboard.press("PageDown")
    page.wait("window.trigpoint.store.image === 1")
    assert not page.run("return viewer.ready;")
    box = page.page.locator("#osd").bounding_box()
    page.page.mouse.click(box["x"] + 200, box["y"] + 200)
    page.saved()
    assert page.run("return store.mark('tip') ?? null;") is None
    held[0].continue_()
    page.page.unroute("**/api/images/1/picture")
    page.wait("window.trigpoint.viewer.ready")
    page.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 300)
    page.wait("window.trigpoint.store.mark('tip')")


def test_a_picture_that_is_seen_whole_stays_whole(page: Page) -> None:
    """In a window of another size, until somebody zooms; so it does while the page is laid out around it."""
    whole = "return Math.abs(viewer.osd.viewport.getZoom() / viewer.osd.viewport.getHomeZoom() - 1) < 1e-6;"
    for width, height in ((400, 800), (1280, 520), (1280, 800)):
        before = page.run("return viewer.osd.viewport.getContainerSize().y;")
        page.page.set_viewport_size({"width": width, "height": height})
        page.wait(f"window.trigpoint.viewer.osd.viewport.getContainerSize().y !== {before}")
        page.page.wait_for_timeout(50)
        assert page.run(whole), (width, height)
    page.run("viewer.zoomBy(2);")
    scale = page.run("return viewer.osd.viewport.zoomSpring.target.value * viewer.osd.viewport.getContainerSize().x;")
    page.page.set_viewport_size({"width": 1280, "height": 600})
    page.page.wait_for_timeout(200)
    assert not page.run(whole)
    assert page.run("return viewer.scale * viewer.picture.width;") == pytest.approx(
        scale, rel=1e-3
    )  # as large as before


def test_a_button_goes_on_where_there_is_no_keyboard(page: Page) -> None:
    button = page.page.locator("#go-on")
    assert not button.is_visible()
    names = page.run("return store.landmarks;")
    for step in range(len(names)):
        page.run(f"store.place({20 + 9 * step}, 30);")
    button.click()
    page.wait("window.trigpoint.store.image === 1")
    assert not button.is_visible()


def test_an_answer_that_comes_late_does_not_take_back_newer_work(page: Page, photos: Path) -> None:
    """As when the connection is made anew while somebody goes on labelling."""
    page.page.keyboard.press("Enter")
    page.wait("window.trigpoint.store.mark('tip')")
    page.saved()
    start = page.run("return store.mark('tip');")
    held: list[Any] = []
    page.page.route(
        "**/api/images/0", lambda route: held.append(route) if route.request.method == "GET" else route.continue_()
    )
    page.page.evaluate("() => { window.late = window.trigpoint.store.refetch(); }")
    until = time.monotonic() + WAIT
    while not held:
        assert time.monotonic() < until
        page.page.wait_for_timeout(20)
    page.page.keyboard.press("ArrowRight")
    held[0].continue_()
    page.page.unroute("**/api/images/0")
    page.page.evaluate("() => window.late")
    page.page.keyboard.press("ArrowRight")
    page.saved()
    assert page.run("return store.mark('tip');")[:2] == [start[0] + 2, start[1]]
    page.page.reload()
    page.wait("window.trigpoint?.viewer.ready")
    assert page.run("return store.mark('tip');")[:2] == [start[0] + 2, start[1]]


def test_by_keys_alone(page: Page, photos: Path) -> None:
    press = page.page.keyboard.press
    press("Enter")
    page.wait("window.trigpoint.store.mark('tip')")
    start = page.run("return store.mark('tip');")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp", "o"):
        press(key)
    press("x")  # the next one is not there
    page.wait("window.trigpoint.store.mark('root') === 'absent'")
    page.saved()
    assert page.run("return store.mark('tip');") == [start[0] + 2, start[1] - 10, 1]
    for key in ("d", "Control+z", "Control+z"):
        press(key)
    page.wait("!window.trigpoint.store.mark('root') && !window.trigpoint.store.state.doubtful")
    press("Control+Shift+z")
    page.wait("window.trigpoint.store.mark('root') === 'absent'")
    press("?")
    assert page.page.locator("#help").is_visible()
    press("Escape")
    press("PageDown")
    page.wait("window.trigpoint.store.image === 1 && window.trigpoint.viewer.ready")
    press("Enter")  # now where it lies on the first
    page.wait("window.trigpoint.store.mark('tip')")
    assert page.run("return store.mark('tip').slice(0, 2);") == [start[0] + 2, start[1] - 10]
    page.saved()
    page.page.reload()
    page.wait("window.trigpoint?.viewer.ready && window.trigpoint.store.mark('tip')")
    assert [row.split(",")[0] for row in rows(photos)] == ["a.png", "b.png"]


def test_two_windows_and_another_program(browser: Any, page: Page, photos: Path) -> None:
    other = Page(browser, page.address)
    page.run("store.place(3, 4);")
    page.saved()
    other.wait("window.trigpoint.store.mark('tip')")  # told
    page.run("store.setMarks({ tip: [5, 6, 2] });")
    other.run("store.revisions.set(0, 0); store.setMarks({ root: [7, 8, 2] });")  # as if it had not been told
    other.saved()
    other.wait("window.trigpoint.store.mark('tip')[0] === 5 && !window.trigpoint.store.mark('root')")
    assert "Not saved" in other.page.locator("#notices").inner_text()
    other.close()
    table = photos / "landmarks.csv"
    table.write_text(table.read_text().replace(",5,6", ",15,16"))
    page.wait("window.trigpoint.store.mark('tip')[0] === 15")
    assert rows(photos) == ["a.png,,,15,16,,"]


def test_the_server_is_started_again_and_nothing_is_lost(browser: Any, photos: Path) -> None:
    key = photos.parent / "label.key"
    with served(open_project(photos), Access(kept=key)) as address:
        page = Page(browser, address)
        assert page.page.locator("#naming").is_visible()  # a new set: the landmarks are named first
        page.page.locator("#naming-names").fill("left_eye\nright_eye\nchin")
        assert page.page.locator("#naming-pairs").input_value() == "left_eye - right_eye"
        page.page.locator("#naming button.main").click()
        page.wait("window.trigpoint.store.landmarks.length === 3")
        page.run("store.place(3, 4);")
        page.saved()
    page.run("store.setMarks({ left_eye: [5, 6, 2] });")
    page.wait("window.trigpoint.store.problem")
    assert "Not saved" in page.page.locator("#saved").inner_text()
    with served(open_project(photos), Access(kept=key), int(address.split(":")[2].split("/")[0])):
        page.saved()
        assert rows(photos) == ["a.png,,,5,6,,,,"]
        page.close()
    assert (photos / "dataset.yaml").read_text().count("left_eye") == 2


def test_landmarks_are_renamed_and_taken_away_in_the_page(page: Page, photos: Path) -> None:
    page.run("store.place(3, 4); store.place(5, 6);")
    page.saved()
    page.page.locator("#naming-open").click()
    page.page.get_by_label("Name of tip").fill("left_tip")
    page.page.get_by_role("button", name="Take away root").click()
    assert "Undo brings them back" in page.page.locator("#naming-problem").inner_text()
    page.page.locator("#naming-names").fill("right_tip")
    assert page.page.locator("#naming-pairs").input_value() == "left_tip - right_tip"
    page.page.locator("#naming button.main").click()
    page.wait(
        "window.trigpoint.store.landmarks.join() === 'left_tip,right_tip' && window.trigpoint.store.mark('left_tip')"
    )
    assert rows(photos) == ["a.png,,,3,4,,"]
    page.page.keyboard.press("Control+z")
    page.wait("window.trigpoint.store.landmarks.join() === 'tip,root' && window.trigpoint.store.mark('root')")
    assert rows(photos) == ["a.png,,,3,4,5,6"]
    page.page.goto(page.address.split("?")[0] + "?name=b.png")
    page.wait("window.trigpoint?.viewer.ready && window.trigpoint.store.image === 1")


def test_a_finger_places_drags_and_pans(browser: Any, photos: Path) -> None:
    with served(open_project(photos, "tip")) as address:
        page = Page(browser, address, has_touch=True, viewport={"width": 400, "height": 800}, device_scale_factor=2)
        box = page.page.locator("#osd").bounding_box()
        page.page.touchscreen.tap(box["x"] + 150, box["y"] + 180)
        page.saved()
        at = page.run("const p = viewer.toScreen(...store.mark('tip')); return [p.x, p.y];")
        assert np.allclose(at, [150, 180], atol=0.5)
        wide = page.page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= 400
        page.close()


def test_input_and_saves_are_fast(page: Page) -> None:
    box = page.page.locator("#osd").bounding_box()
    page.page.mouse.click(box["x"] + 300, box["y"] + 300)
    page.saved()
    page.page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 400, box["y"] + 380, steps=40)
    page.page.mouse.up()
    for number in range(10):
        page.run(f"store.setMarks({{ tip: [{number}, 5, 2] }});")
        page.saved()
    handled, saves = page.run("return [input.took, store.took];")
    assert len(handled) > 40
    assert np.median(handled) < 16
    assert np.median(saves) < 1000  # below 50 where the machine does nothing else
