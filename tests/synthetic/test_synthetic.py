"""Drawn sets: the geometry is exact, the files are reproducible, nothing foreign is overwritten."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import from_grid
from trigpoint.synthetic import (
    canvas,
    catheter,
    folder,
    instrument,
    radiograph,
    write_catheter,
    write_instruments,
    write_radiographs,
)

WRITERS = {
    "catheter": (write_catheter, 64),
    "radiograph": (write_radiographs, (240, 194)),
    "instrument": (write_instruments, (72, 96)),
}


def on_canvas(shape, *patches):
    out = np.zeros(shape)
    for patch in patches:
        out[patch.window] = np.maximum(out[patch.window], patch.cover)
    return out


def sample(picture, points):
    return map_coordinates(picture, [points[..., 1], points[..., 0]], order=1, mode="nearest")


def find_end(layer, near, reach):
    """Where a line ends, from its picture alone: the middle of its cross-sections, and half their mass along it.

    A blur of a pixel, which moves no straight edge, keeps linear interpolation from doing so by up to 0.09 px.
    """
    layer = gaussian_filter(layer, 0.8)
    yy, xx = np.indices(layer.shape)
    inside = (np.hypot(xx - near[0], yy - near[1]) < reach) * layer
    points = np.stack([xx, yy], axis=-1).reshape(-1, 2)
    weight = inside.ravel() / inside.sum()
    middle = weight @ points
    away = points - middle
    axis = np.linalg.eigh((away * weight[:, None]).T @ away)[1][:, 1]
    axis = axis if (near - middle) @ axis > 0 else -axis  # towards the end
    side = np.array([-axis[1], axis[0]])
    base = near - ((near - middle) @ side) * side
    t, lateral = np.arange(-0.7 * reach, -2.0, 0.25), np.arange(-0.4 * reach, 0.4 * reach, 0.05)
    cuts = sample(layer, base + t[:, None, None] * axis + lateral[:, None] * side)
    bow = np.polyfit(t, (cuts * lateral).sum(axis=1) / cuts.sum(axis=1), 2)
    fine = np.arange(-4, 4, 0.01)
    center = base + fine[:, None] * axis + np.polyval(bow, fine)[:, None] * side
    mass = sample(layer, center[:, None] + lateral[:, None] * side).sum(axis=1)
    band = (fine > -3.0) & (fine < -1.0)
    last = np.flatnonzero(mass > 0.5 * mass[band].max())[-1]
    return center[last] + 0.005 * axis


# the canvas -----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    x=st.floats(15, 25),
    y=st.floats(15, 25),
    radius=st.floats(3, 12),
    stretch=st.floats(0.5, 1.1),
    points=st.integers(3, 60),
    backwards=st.booleans(),
)
def test_fill_has_the_area_and_centroid_of_the_polygon(x, y, radius, stretch, points, backwards):
    polygon = canvas.disk((x, y), radius, stretch, points)
    layer = on_canvas((40, 40), canvas.fill((40, 40), polygon[::-1] if backwards else polygon))
    area = points / 2 * np.sin(2 * np.pi / points) * radius**2 * stretch
    assert layer.sum() == pytest.approx(area, rel=1e-4, abs=1e-3)
    yy, xx = np.indices(layer.shape)
    # the centroid of area shares is that of the polygon up to second order in the pixel
    assert (layer * xx).sum() / layer.sum() == pytest.approx(x, abs=0.05)
    assert (layer * yy).sum() / layer.sum() == pytest.approx(y, abs=0.05)


def test_fill_equals_supersampling_of_a_clipped_polygon():
    polygon = np.array([[-5.3, 2.2], [9.1, -4.0], [14.7, 6.3], [3.2, 17.9]])
    layer = on_canvas((12, 11), canvas.fill((12, 11), polygon))
    n = 40
    grid = (np.arange(12 * n) + 0.5) / n - 0.5
    xx, yy = np.meshgrid(grid[: 11 * n], grid)
    inside = np.ones(xx.shape, bool)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        inside &= (b[0] - a[0]) * (yy - a[1]) - (b[1] - a[1]) * (xx - a[0]) >= 0
    expected = inside.reshape(12, n, 11, n).mean(axis=(1, 3))
    np.testing.assert_allclose(layer, expected, atol=0.01)


def test_fill_off_the_image_is_empty_and_around_it_is_full():
    assert canvas.fill((8, 8), canvas.disk((-30, 4), 5)).cover.size == 0
    assert canvas.fill((8, 8), canvas.disk((4, 4), 50)).cover.min() == 1


def test_smooth_line_passes_through_its_knots():
    knots = np.array([[0.0, 0.0], [10.0, 3.0], [12.0, 30.0]])
    line = canvas.smooth(knots, 1.0)
    assert np.abs(line[:, None] - knots).sum(axis=2).min(axis=0) == pytest.approx(0, abs=1e-9)
    assert np.hypot(*np.diff(line, axis=0).T).max() < 2.0


# the truth is where it is drawn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [512, 1024])
def test_the_drawn_catheter_ends_at_its_label(size):
    errors = []
    for seed in range(12 if size == 512 else 3):
        drawn = catheter.draw_catheter(np.random.default_rng(seed), (size, size))
        layer = on_canvas((size, size), drawn.body, drawn.bands)
        tip = drawn.path[0]
        rough = tip + np.random.default_rng(seed).uniform(-0.5, 0.5, 2)
        errors.append(np.hypot(*(find_end(layer, rough, max(size / 16, 10)) - tip)))
    assert max(errors) < 0.05, errors


@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_small_catheter_is_the_large_one_averaged_over_pixels(size):
    """So the end, measured above where a line is many pixels wide, is as exact where it is one pixel wide."""
    for seed in range(5):
        drawn = catheter.draw_catheter(np.random.default_rng(seed), (size, size))
        outline = canvas.ribbon(drawn.path[:12], 1.5)
        small = on_canvas((size, size), canvas.fill((size, size), outline))
        large = on_canvas((8 * size, 8 * size), canvas.fill((8 * size, 8 * size), from_grid(outline, 8)))
        np.testing.assert_allclose(small, large.reshape(size, 8, size, 8).mean(axis=(1, 3)), atol=1e-5)


def test_the_exposed_catheter_ends_at_its_label():
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        anatomy = catheter.draw_anatomy(rng, (256, 256))
        drawn = catheter.draw_catheter(rng, (256, 256))
        without = catheter.Catheter(drawn.path, drawn.body, drawn.bands, 0.0, 0.0)
        shown = [
            catheter.expose(np.random.default_rng([seed, 1]), anatomy, c, noise=False, collimate=False)
            for c in (without, drawn)
        ]
        layer = shown[0] - shown[1]
        layer = np.clip(layer - np.median(layer), 0, None) / layer.max()
        errors.append(np.hypot(*(find_end(layer, drawn.path[0] + 0.3, 16.0) - drawn.path[0])))
    # focus, shading and display curve bend the profile a little; the geometry itself is tested above
    assert np.median(errors) < 0.1, errors
    assert max(errors) < 0.3, errors


def test_the_tip_is_clear_of_other_lines_and_inside_the_shutters():
    for seed in range(20):
        drawn = catheter.draw_catheter(np.random.default_rng(seed), (256, 256))
        tip = drawn.path[0]
        assert (tip > 25).all()
        assert (tip < 231).all()
        lines = np.zeros((256, 256), np.float32)
        catheter._distractors(np.random.default_rng(seed), lines, tip)
        x, y = np.rint(tip).astype(int)
        assert lines[y - 5 : y + 6, x - 5 : x + 6].max() < 1e-6
        light = catheter._shutters(np.random.default_rng(seed), (256, 256), tip)
        assert light[y, x] > 0.95


def test_radiograph_corner_is_the_last_bright_point_along_the_tooth():
    shape = (2400, 1935)
    head = radiograph.draw_head(np.random.default_rng(3), np.random.default_rng(4), shape)
    tip = head.points[radiograph.LANDMARKS.index("upper_incisor")]
    layer = on_canvas(shape, canvas.fill(shape, head.lines["upper_incisor"]))
    yy, xx = np.nonzero(layer > 0)
    ahead = tip - head.lines["upper_incisor"].mean(axis=0)
    ahead /= np.hypot(*ahead)
    last = ((np.stack([xx, yy], axis=1) - tip) @ ahead).max()
    assert -1.5 < last < 1.5


@pytest.mark.parametrize("seed", range(6))
def test_radiograph_landmarks_lie_on_their_outlines_and_inside(seed):
    shape = (1200, 968)
    head = radiograph.draw_head(np.random.default_rng(seed), np.random.default_rng(seed + 100), shape)
    points = dict(zip(radiograph.LANDMARKS.names, head.points, strict=True))
    assert len(points) == 13
    assert (head.points > 0).all()
    assert (head.points < np.array(shape[::-1]) - 1).all()
    for name, mark in radiograph.EXTREMES.items():
        assert np.hypot(*(head.lines[mark["line"]] - points[name]).T).min() < 1.5, name
    assert points["menton"][1] > points["point_b"][1] > points["point_a"][1] > points["nasion"][1]
    assert points["pronasale"][0] > points["orbitale"][0] > points["sella"][0] > points["gonion"][0] - 60
    box = np.stack([head.lines["sella"].min(axis=0), head.lines["sella"].max(axis=0)])
    assert (box[0] < points["sella"]).all()
    assert (points["sella"] < box[1]).all()


def test_one_head_in_two_poses_differs_less_than_two_heads():
    shape = (1200, 968)

    def form(subject, pose):
        head = radiograph.draw_head(np.random.default_rng(subject), np.random.default_rng(pose), shape)
        points = head.points - head.points.mean(axis=0)
        points = points / np.linalg.norm(points)
        return np.linalg.norm(points[:, None] - points[None], axis=2)  # free of place, turn and scale

    same = np.abs(form(0, 1) - form(0, 2)).max()
    assert same < 0.01
    assert np.abs(form(0, 1) - form(5, 2)).max() > 3 * same


def test_instrument_landmarks_are_drawn_points():
    for seed in range(20):
        tool = instrument.draw_tool(np.random.default_rng(seed), (288, 384), scissors=False)
        left, right, joint, shaft = tool.points
        ahead, to_left, to_right = joint - shaft, left - joint, right - joint
        # image y points down: the left clasper turns against the clock, seen along the wrist
        assert to_left[0] * to_right[1] - to_left[1] * to_right[0] > 0
        assert np.hypot(*ahead) > 10
        corners = np.concatenate([part.outline for part in tool.parts])
        for tip in (left, right):
            assert np.hypot(*(corners - tip).T).min() < 1e-9


def test_a_covered_landmark_is_marked_as_occluded():
    rng = np.random.default_rng(0)
    tool = instrument.draw_tool(rng, (288, 384), scissors=False)
    plate = instrument.Tool([instrument.Part(canvas.disk(tool.points[2], 4), np.ones(3))], tool.points, True)
    _, seen = instrument.render(rng, np.zeros((288, 384, 3), np.float32), [tool, plate])
    assert seen[0][2] == 1
    assert seen[0][0] == seen[0][1] == 2


# the folder -----------------------------------------------------------------------------------------------------------


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", WRITERS)
def test_same_seed_same_bytes_and_images_do_not_depend_on_the_count(kind, tmp_path):
    write, size = WRITERS[kind]
    seen = []
    write(tmp_path / "a", 5, size=size, seed=7, progress=lambda done, total: seen.append((done, total)))
    write(tmp_path / "b", 5, size=size, seed=7)
    write(tmp_path / "c", 7, size=size, seed=7)
    write(tmp_path / "d", 5, size=size, seed=8)
    a, b, c, d = (contents(tmp_path / name) for name in "abcd")
    assert seen == [(k, 5) for k in range(1, 6)]
    assert a == b
    images = [name for name in a if name.startswith("images")]
    assert len(images) == 5
    assert all(a[name] == c[name] for name in images)
    assert all(a[name] != d[name] for name in images)
    assert c["landmarks.csv"].startswith(a["landmarks.csv"])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_set_has_the_native_form(kind, tmp_path):
    write, size = WRITERS[kind]
    root = write(str(tmp_path / "set"), 12, size=size, per_subject=2)
    facts = yaml.safe_load((root / "dataset.yaml").read_text())
    table = pd.read_csv(root / "landmarks.csv", dtype={"subject": str})
    names = facts["landmarks"]
    columns = ["image", "split", "subject"] + (["instance"] if facts.get("instances") else [])
    assert list(table.columns) == columns + [f"{name}_{axis}" for name in names for axis in "xyv"]
    assert sorted(set(table["image"])) == [f"{k:05d}.png" for k in range(12)]
    assert set(table["split"]) == {"train", "val", "test"}
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert (table.groupby("subject")["image"].nunique() == 2).all()
    height, width = (size, size) if isinstance(size, int) else size
    with Image.open(root / facts["images"] / "00003.png") as image:
        assert image.size == (width, height)
        assert image.mode == ("RGB" if kind == "instrument" else "L")
        assert np.asarray(image).std() > 10
    for name in names:
        x, y, v = (table[f"{name}_{axis}"] for axis in "xyv")
        blank = v.isna() if facts.get("instances") else v == 0  # a frame without instances: absent, not unannotated
        assert (blank == x.isna()).all()
        assert x.dropna().between(0, width - 1).all()
        assert y.dropna().between(0, height - 1).all()
    assert facts.get("spacing_mm") == (0.1 if kind == "radiograph" else None)


def test_scissors_stay_out_of_training_and_out_of_the_table(tmp_path):
    root = write_instruments(tmp_path / "x", 30, size=(72, 96), scissors=1.0, per_subject=1)
    plain = write_instruments(tmp_path / "y", 30, size=(72, 96), per_subject=1)
    table = pd.read_csv(root / "landmarks.csv")
    other = pd.read_csv(root / "distractors.csv")
    split = table.drop_duplicates("image").set_index("image")["split"]
    assert set(split[other["image"]]) == {"test"}
    assert len(other) > 0.7 * (split == "test").sum()
    columns = [c for c in table.columns if not c.endswith("_v")]
    pd.testing.assert_frame_equal(table[columns], pd.read_csv(plain / "landmarks.csv")[columns])
    counts = table.groupby("image")["joint_x"].count()
    assert set(counts) == {0, 1, 2, 3}


@pytest.mark.parametrize("count", [1, 7, 20, 333])
def test_shares_of_splits_hold_for_every_count(count):
    given_out = list(islice(folder.share_out(folder.SPLITS), count))
    for name, share in folder.SPLITS.items():
        assert abs(given_out.count(name) - share * count) < 1


def test_a_set_may_be_drawn_again_and_leaves_no_old_images(tmp_path):
    write_catheter(tmp_path / "x", 6, size=64, seed=1)
    write_instruments(tmp_path / "x", 3, size=64, seed=2)
    write_instruments(tmp_path / "y", 3, size=64, seed=2)
    assert contents(tmp_path / "x") == contents(tmp_path / "y")


def test_an_interrupted_set_may_be_drawn_again(tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_catheter(tmp_path / "x", 6, size=64, progress=stop)
    write_catheter(tmp_path / "x", 4, size=64)
    write_catheter(tmp_path / "y", 4, size=64)
    assert contents(tmp_path / "x") == contents(tmp_path / "y")


def refuse(path, match, count=4):
    before = contents(path.parent)
    with pytest.raises(DataError, match=match):
        write_catheter(path, count, size=64)
    assert contents(path.parent) == before


def test_foreign_files_are_never_lost(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    refuse(tmp_path / "notes", "expected an empty folder or a synthetic set")
    refuse(tmp_path / "notes" / "thesis.txt", "expected a folder to write to, got a file")
    root = write_catheter(tmp_path / "set", 2, size=64)
    (root / "images" / "00003.png").write_bytes(b"mine")
    refuse(root, "00003.png is not of this synthetic set")
    (root / "images" / "00003.png").rename(root / "mine.png")
    text = (root / "landmarks.csv").read_text()
    (root / "landmarks.csv").write_text(text.replace("train", "test"))
    refuse(root, "landmarks.csv: edited since it was drawn")
    (root / "landmarks.csv").write_text(text)
    write_catheter(root, 4, size=64)
    assert (root / "mine.png").read_bytes() == b"mine"
    (root / "synthetic.yaml").write_text("kind: catheter\n")
    refuse(root, "expected the number of images as 'count'")


@pytest.mark.parametrize(
    ("write", "options", "match"),
    [
        (write_catheter, {"count": 0}, "count: expected at least 1"),
        (write_catheter, {"size": 16}, "size: expected at least 32"),
        (write_catheter, {"seed": -1}, "seed: expected at least 0"),
        (write_catheter, {"per_subject": 0}, "per_subject: expected at least 1"),
        (write_catheter, {"splits": {"train": 0.5}}, "splits: expected shares"),
        (write_radiographs, {"spacing_mm": 0}, "spacing_mm: expected more than 0"),
        (write_instruments, {"scissors": 2.0}, "scissors: expected a share"),
        (write_instruments, {"most": 0}, "most: expected 1 to 6"),
        (write_instruments, {"scissors": 0.5, "scissors_splits": ["tset"]}, "expected names of splits"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_written(write, options, match, tmp_path):
    with pytest.raises(ConfigError, match=match):
        write(tmp_path / "x", **({"count": 1, "size": 64} | options))
    assert not (tmp_path / "x").exists()
