"""Sets of several files whose writing is stopped: never one that looks whole, and the same call does the rest."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from trigpoint.config import read_yaml
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import FORMATS
from trigpoint.data.table import MAX_COLUMNS, read_table
from trigpoint.data.tiled import write_tiled
from trigpoint.errors import ConfigError, DataError
from trigpoint.report import save
from trigpoint.synthetic import write_catheter


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five images with two landmarks and a pair, which only dataset.yaml tells."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    for k in range(5):
        PIL.Image.new("L", (8, 6), k).save(folder / "images" / f"{k}.png")
    rows = "".join(f"{k}.png,{k},1,2,3.5\n" for k in range(5))
    (folder / "landmarks.csv").write_text(f"image,left_x,left_y,right_x,right_y\n{rows}")
    (folder / "dataset.yaml").write_text("name: five\npairs: [[left, right]]\nspacing_mm: 0.5\n")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


class Stop(BaseException):
    """As a kill, nothing catches it."""


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stopped(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any], at: int, error: BaseException) -> bool:
    """Whether ``act`` came to its ``at``-th file, at which the error was raised."""
    count = iter(range(10**6))
    flush = os.fsync

    def failing(handle: int) -> None:
        if next(count) == at:
            raise error
        flush(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        try:
            act()
        except type(error):
            return True
    return False


WRITERS: dict[str, Callable[[Path, Path], Any]] = {
    "native": lambda source, out: LandmarkDataset.load(source).save(out),
    "pts": lambda source, out: FORMATS["pts"]().write(LandmarkDataset.load(source), out),
    "drawn": lambda source, out: write_catheter(out, 4, 32),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("make", [Stop, full_disk])
def test_a_stopped_writer_is_resumed(
    name: str, make: Callable[[], BaseException], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](source, tmp_path / "whole")
    expected = {file: data.replace(b"whole", b"out") for file, data in snapshot(tmp_path / "whole").items()}
    at = 0
    while stopped(monkeypatch, partial(WRITERS[name], source, tmp_path / f"{at}" / "out"), at, error := make()):
        out = tmp_path / f"{at}" / "out"
        left = snapshot(out)
        assert not [file for file in left if file.endswith(".part")]
        if name != "pts" and "dataset.yaml" in left:
            assert set(expected) - {"synthetic.yaml"} <= set(left)
        if isinstance(error, OSError):
            assert str(error.filename).startswith(str(out)), "the error names another place than the disk that is full"
        WRITERS[name](source, out)
        assert snapshot(out) == expected
        at += 1
    assert at >= 5, "nothing was stopped"
    if name != "drawn":
        with pytest.raises(DataError, match="exists"):
            WRITERS[name](source, tmp_path / "whole")


def test_nothing_of_somebody_else_is_taken_for_a_part(source: Path, tmp_path: Path) -> None:
    for file, text in (("images/3.png", "mine"), ("landmarks.csv", "mine"), ("dataset.yaml", "name: mine\n")):
        out = tmp_path / file.replace("/", "_")
        (out / file).parent.mkdir(parents=True)
        (out / file).write_text(text)
        with pytest.raises(DataError, match=rf"{re.escape(str(out / file))}: expected a new file, got one that exists"):
            LandmarkDataset.load(source).save(out)
        assert snapshot(out) == {file: text.encode()}


def test_links_are_resumed_too(source: Path, tmp_path: Path) -> None:
    data, out = LandmarkDataset.load(source), tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images" / "1.png").symlink_to(source / "images" / "1.png")
    (out / "images" / ".2.png.part").symlink_to("nowhere")  # of a command that was killed
    data.save(out, images="link")
    assert sorted(path.name for path in (out / "images").iterdir()) == [f"{k}.png" for k in range(5)]
    assert all(path.is_symlink() for path in (out / "images").iterdir())
    assert LandmarkDataset.load(out).landmarks.pairs == (("left", "right"),)


def test_clearing_a_drawn_set_takes_its_table_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_catheter(tmp_path / "a", 4, 32)
    remove, count = Path.unlink, iter(range(100))

    def failing(path: Path, missing_ok: bool = False) -> None:
        if next(count) == 3:
            raise Stop
        remove(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing)
        with pytest.raises(Stop):
            write_catheter(tmp_path / "a", 4, 32)
    assert not (tmp_path / "a" / "dataset.yaml").exists()
    write_catheter(tmp_path / "a", 4, 32)
    assert len(LandmarkDataset.load(tmp_path / "a")) == 4


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_figures_are_whole_or_not_there(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_text("before")
    full = full_disk()
    assert stopped(monkeypatch, lambda: save(Figure((1, 1)), file), 0, full)
    assert full.filename == str(file)
    assert snapshot(tmp_path) == {file.name: b"before"}
    save(Figure((1, 1)), file)
    assert len(file.read_bytes()) > 200
    assert len(snapshot(tmp_path)) == 1


def test_a_tiled_copy_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = full_disk()
    write = partial(write_tiled, tmp_path / "a.tif", (64, 64), [np.zeros((64, 64), np.uint8)], tile=16)
    assert stopped(monkeypatch, write, 0, full)
    assert full.filename == str(tmp_path / "a.tif")
    assert not snapshot(tmp_path)


def test_names_as_long_as_a_file_system_takes(source: Path, tmp_path: Path) -> None:
    name = "ä" * 125 + ".png"
    (source / "images" / "0.png").rename(source / "images" / name)
    table = source / "landmarks.csv"
    table.write_text(table.read_text().replace("\n0.png", f"\n{name}"))
    for how in ("copy", "link"):
        LandmarkDataset.load(source).save(tmp_path / how, images=how)
        assert LandmarkDataset.load(tmp_path / how).samples[0].image.name == name


# -- tables that take long -------------------------------------------------------------------------------------------


def wide(folder: Path, header: list[str], about: str = "") -> float:
    """Seconds of the processor until the table is refused, loosely and strictly, in one error of some lines."""
    (folder / "landmarks.csv").write_text(
        ",".join(header) + "\n" + ",".join(["a.png", *["1"] * (len(header) - 1)]) + "\n"
    )
    if about:
        (folder / "dataset.yaml").write_text(about)
    start = time.process_time()
    read_table(folder, strict=False)
    with pytest.raises(DataError) as error:
        LandmarkDataset.load(folder)
    assert len(str(error.value)) < 30_000
    return time.process_time() - start


@pytest.mark.parametrize(
    "header",
    [
        ["image", *(f"c{k}" for k in range(10**6))],
        ["image", "tip_x", "tip_y", *(f"lost{k}_v" for k in range(3000))],
        ["image", "tip_x", "tip_y", *(f"lost{k}_v" for k in range(90_000))],
        ["image", *(f"half{k}_x" for k in range(90_000))],
        ["image", *(f"n{k // 2}_x" for k in range(90_000))],
        ["image", *(f"=n{k}_{axis}" for k in range(40_000) for axis in "xy")],
        ["image", "tip_x", *(f"subjec{k}" for k in range(90_000))],
    ],
    ids=["million", "orphans", "many orphans", "halves", "twice", "formulas", "notes"],
)
def test_wide_tables_end_quickly(header: list[str], tmp_path: Path) -> None:
    assert wide(tmp_path, header) < 10
    assert MAX_COLUMNS < 10**6


@pytest.mark.parametrize(
    "about",
    [
        "landmarks: [" + ", ".join(f"n{k % 7_000}" for k in range(14_000)) + "]",
        "landmarks: [" + ", ".join(f"n{k}" for k in range(8_000)) + "]",
        "pairs: [" + ", ".join(f"[a{k}, b{k}]" for k in range(8_000)) + "]",
        "groups: {" + ", ".join(f"g{k}: [n{k}]" for k in range(8_000)) + "}",
    ],
    ids=["names twice", "names", "pairs", "groups"],
)
def test_long_descriptions_end_quickly(about: str, tmp_path: Path) -> None:
    assert wide(tmp_path, ["image", "tip_x", "tip_y"], about) < 20  # of which PyYAML takes most


def test_yaml_of_many_megabytes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [" + "1, " * (4 << 20) + "]")
    with pytest.raises(ConfigError, match=r"a\.yaml: expected at most 10485760 bytes of YAML, got"):
        read_yaml(tmp_path / "a.yaml")
