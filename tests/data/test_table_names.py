"""What a table calls an image, its reader takes for this very file, wherever table, image and working folder are."""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import FORMATS
from trigpoint.data.table import read_table, table_text
from trigpoint.data.table_names import OnePlace, TableNames
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet, Sample

MARKS = LandmarkSet(("tip",))
UMLAUT = [unicodedata.normalize(form, "über 1.png") for form in ("NFC", "NFD")]
FILES = ["a.png", "a\\b.png", "..\\a.png", "C:\\a.png", "C:a.png", "..a.png", ".a.png", " a.png", "=a.png", *UMLAUT]
FOLDERS = ["", "images", "images/images", "photos", "photos/ü", "images/photos", "../above", "../above/images", "link"]


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", (8, 6), hash(file.name) % 255).save(file, format="PNG")


def write(table: Path, images: list[Path], names: TableNames) -> None:
    samples = [Sample(image, np.ones((1, 2)), np.full(1, 2)) for image in images]
    table.write_text(table_text(samples, MARKS, image_names=[names.write(image) for image in images]))


def refused(table: Path, images: list[Path]) -> bool:
    try:
        write(table, images, TableNames.of(table))
    except DataError:
        return True
    return False


@settings(deadline=None, max_examples=150)
@given(
    wanted=st.lists(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(FILES)), min_size=1, max_size=4, unique=True),
    decoys=st.lists(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(FILES)), max_size=4),
    place=st.sampled_from(["", "tables", "linked", "../above/out"]),
    described=st.sampled_from([None, "name: set\n", "images: photos\n", "images: images\n"]),
    stand=st.sampled_from(["", "photos", "../above"]),
    absolute=st.booleans(),
    later=st.booleans(),
)
def test_what_is_written_is_read_as_the_same_file(
    wanted: list[tuple[str, str]],
    decoys: list[tuple[str, str]],
    place: str,
    described: str | None,
    stand: str,
    absolute: bool,
    later: bool,
) -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve() / "deep" / "root"
        (root / "elsewhere" / "in").mkdir(parents=True)
        (root / "link").symlink_to(root / "elsewhere" / "in")  # so that link/.. is not root
        for folder in ("tables", "photos", "../above/out"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "linked").symlink_to(root / "elsewhere" / "in")
        for folder, name in (*wanted, *decoys):
            touch(root / folder / name)
        table = root / place / "predictions.csv"
        if described is not None:
            (table.parent / "dataset.yaml").write_text(described)
        before = Path.cwd()
        try:
            os.chdir(root / stand)
            start = root if absolute else Path(os.path.relpath(root))
            images = [start / folder / name for folder, name in wanted]
            own = Path(os.path.relpath(table)) if not absolute else table
            if refused(own, images):
                assert any(name == "=a.png" for _, name in wanted)
                return
            os.chdir("/")
            if later and described in (None, "name: set\n"):  # somebody makes a folder images with the same names
                for folder, name in wanted:
                    touch(table.parent / "images" / folder.replace("..", "up") / name)
            read = [sample.image for sample in read_table(table).samples]
        finally:
            os.chdir(before)
        assert len(read) == len(images)
        for found, (folder, name) in zip(read, wanted, strict=True):
            assert found.samefile(root / folder / name)


@pytest.mark.parametrize("described", [None, "name: set\n"])
def test_a_table_moves_with_its_images(described: str | None, tmp_path: Path) -> None:
    here = tmp_path / "here"
    for name in ("a.png", "photos/b.png", *UMLAUT):
        touch(here / name)
    images = [here / "a.png", here / "photos" / "b.png", here / UMLAUT[1]]
    if described:
        (here / "dataset.yaml").write_text(described)
    write(here / "p.csv", images, TableNames.of(here / "p.csv"))
    shutil.move(here, tmp_path / "there")
    (tmp_path / "there" / "images").mkdir()
    read = read_table(tmp_path / "there" / "p.csv").samples
    assert [sample.image for sample in read] == [tmp_path / "there" / image.relative_to(here) for image in images]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "images/a.png"),
        ("sub\\a.png", "images/sub/a.png"),
        (".\\photos\\a.png", "photos/a.png"),
        ("..\\a.png", "../a.png"),
        ("./a.png", "images/a.png"),  # of tables that were written before
        ("./images/a.png", "images/a.png"),
        ("x/../a.png", "images/a.png"),
        (unicodedata.normalize("NFC", "ü/ü.png"), f"images/{unicodedata.normalize('NFD', 'ü/ü.png')}"),
        (f"./ü/{UMLAUT[0]}", f"ü/{UMLAUT[1]}"),
    ],
)
def test_a_name_finds_its_file(name: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    touch(folder / file)
    assert TableNames.of(folder / "t.csv").read(name).samefile(folder / file)


def test_a_plain_name_is_meant_below_the_images_folder_alone(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "a.png")
    (tmp_path / "images").mkdir()
    assert TableNames.of(tmp_path / "t.csv").read("photos/a.png") == tmp_path / "images" / "photos" / "a.png"
    assert TableNames.of(tmp_path / "t.csv").write(tmp_path / "photos" / "a.png") == "./photos/a.png"


@pytest.mark.parametrize("name", ["a\nb.png", "a.png ", "\x01.png"])
def test_a_file_that_no_name_means_is_refused(name: str, tmp_path: Path) -> None:
    touch(tmp_path / name)
    with pytest.raises(DataError, match="rename the file"):
        TableNames.of(tmp_path / "t.csv").write(tmp_path / name)


@pytest.mark.parametrize("other", ["./images/a.png", "x/../a.png", "../set/images/a.png", "linked/a.png"])
def test_two_names_of_one_file_are_one_image(other: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(folder / "images" / "a.png")
    (folder / "images" / "linked").symlink_to(folder / "images")
    (folder / "landmarks.csv").write_text(f"image,tip_x,tip_y\na.png,1,2\n{other},3,4\n")
    with pytest.raises(
        DataError, match=r"row 3: expected each image once, got '.*' again \(first in row 2 as 'a.png'\)"
    ):
        read_table(folder)
    (folder / "landmarks.csv").write_text(f"image,instance,tip_x,tip_y\na.png,1,1,2\n{other},2,3,4\n")
    assert len(LandmarkDataset.load(folder).by_image()) == 1


def test_both_codings_in_a_table_are_one_image_unless_there_are_two(tmp_path: Path) -> None:
    rows = "".join(f"{name},1,2\n" for name in UMLAUT)
    (tmp_path / "landmarks.csv").write_text(f"image,tip_x,tip_y\n{rows}")
    touch(tmp_path / UMLAUT[0])
    with pytest.raises(DataError, match="expected each image once"):
        read_table(tmp_path)
    touch(tmp_path / UMLAUT[1])
    if len(list(tmp_path.glob("*.png"))) == 2:
        assert len(read_table(tmp_path).samples) == 2


def test_links_to_one_file_are_images_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    same = OnePlace()
    assert len({same(tmp_path / name) for name in ("a.png", "b.png")}) == 2


def test_images_elsewhere_are_told_and_named_alike_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("set/images/a.png", "photos/b.png", "far/c.png"):
        touch(tmp_path / name)
    rows = f"a.png,1,2\n../photos/b.png,1,2\n{tmp_path / 'far' / 'c.png'},1,2\n"
    (tmp_path / "set" / "landmarks.csv").write_text(f"image,tip_x,tip_y\n{rows}")
    found = []
    for stand, path in (("set", "."), ("", "set"), ("far", tmp_path / "set")):
        monkeypatch.chdir(tmp_path / stand)
        data = LandmarkDataset.load(path)
        assert "2 of 3 images lie outside the dataset folder" in str(data.problems[0])
        found.append([data.image_name(sample) for sample in data.samples])
    assert found == [["a.png", "../photos/b.png", str(tmp_path / "far" / "c.png")]] * 3
    again = LandmarkDataset.load(data.save(tmp_path / "copy"))
    assert [sample.image.read_bytes() for sample in again.samples] == [s.image.read_bytes() for s in data.samples]


def test_a_moved_set_is_found_by_the_ends_of_its_names(tmp_path: Path) -> None:
    for name in ("new/v1/a.png", "new/v1/b.png"):
        touch(tmp_path / name)
    (tmp_path / "p.csv").write_text("image,tip_x,tip_y\n/old/photos/v1/a.png,1,2\n../photos/v1/b.png,3,4\n")
    data = LandmarkDataset.load(tmp_path / "p.csv", images=tmp_path / "new")
    assert [sample.image for sample in data.samples] == [tmp_path / "new/v1/a.png", tmp_path / "new/v1/b.png"]
    assert "2 images were found by the end of their names only" in str(data.problems[0])
    (tmp_path / "p.csv").write_text("image,instance,tip_x,tip_y\nv1/a.png,1,1,2\nv2/a.png,1,3,4\n")
    with pytest.raises(DataError, match=r"expected an image for each name, got .* for 'v1/a.png' and 'v2/a.png'"):
        LandmarkDataset.load(tmp_path / "p.csv", images=tmp_path / "new" / "v1")


def test_annotation_files_of_images_elsewhere_stay_in_their_folder(tmp_path: Path) -> None:
    for name in ("photos/a.png", "set/b.png"):
        touch(tmp_path / name)
    (tmp_path / "set" / "landmarks.csv").write_text("image,tip_x,tip_y\nx/../../photos/a.png,1,2\n./b.png,1,2\n")
    data = LandmarkDataset.load(tmp_path / "set")
    assert [data.image_name(sample) for sample in data.samples] == ["../photos/a.png", "b.png"]
    files = FORMATS["pts"]().write(data, tmp_path / "out" / "pts")
    assert sorted(files) == [tmp_path / "out" / "pts" / "a.pts", tmp_path / "out" / "pts" / "b.pts"]
