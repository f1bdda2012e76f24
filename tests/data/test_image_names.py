"""Names of images made on other machines."""

import unicodedata
from pathlib import Path

import pytest

from trigpoint.data.names import ImageFinder
from trigpoint.errors import DataError


@pytest.mark.parametrize(
    "name",
    [
        "v1/a.png",
        "./v1/a.png",
        "v1\\a.png",
        "/home/someone/proj/v1/a.png",
        "C:\\Users\\someone\\v1\\a.png",
        "file:///home/someone/v1/a.png",
        "../v1/a.png",
        "a.png",
    ],
)
def test_a_name_of_another_machine_finds_its_image(tmp_path: Path, name: str) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1/a.png").touch()
    assert ImageFinder(tmp_path)(name) == tmp_path / "v1/a.png"


@pytest.mark.parametrize("there", ["NFC", "NFD"])
def test_both_codings_of_an_umlaut_are_one_name(tmp_path: Path, there: str) -> None:
    file = tmp_path / unicodedata.normalize(there, "ü.png")
    file.touch()
    assert all(ImageFinder(tmp_path)(unicodedata.normalize(form, "ü.png")).is_file() for form in ("NFC", "NFD"))


def test_a_file_name_that_two_images_have_is_no_way_to_find_one(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").touch()
    find = ImageFinder(tmp_path)
    assert not find("/elsewhere/x.png").exists()
    assert list(find.missing) == ["/elsewhere/x.png"]
    assert not find.moved


@pytest.mark.parametrize("name", ["", "..", "/", "a\nb.png", "\ud800.png"])
def test_what_can_be_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected the name of an image"):
        ImageFinder(tmp_path)(name)


def test_an_image_of_another_suffix_or_case_only_where_that_is_asked(tmp_path: Path) -> None:
    for name in ("Wing 1.png", "b.v1.tif", "c.png", "c.jpg", "d.txt"):
        (tmp_path / name).touch()
    find = ImageFinder(tmp_path)
    assert find("wing 1.JPG") == tmp_path / "wing 1.JPG"
    for name in ("wing 1.JPG", "D:\\x\\WING 1.png", "wing 1"):
        assert find.alike(name) == tmp_path / "Wing 1.png"
    assert find.alike("b.v1") == find.alike("B.V1.bmp") == tmp_path / "b.v1.tif"
    assert find.alike("C.PNG") == tmp_path / "c.png"
    for name in ("c.bmp", "d.png"):  # either of two; no image
        assert find.alike(name) == tmp_path / name
    assert set(find.missing) == {"c.bmp", "d.png"}
