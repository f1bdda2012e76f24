"""tps: y upwards from the bottom, SCALE without a unit, curves, missing landmarks, images under other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Tps
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample

FILES = Path(__file__).parent / "files" / "tps"
HEIGHT = 20


def write(root: Path, text: str, *names: str) -> Path:
    for name in names or ("a.png", "b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (30, HEIGHT)).save(root / name)
    (root / "set.tps").write_text(text)
    return root / "set.tps"


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


def test_a_file_of_py_tps(tmp_path: Path) -> None:
    file = write(tmp_path, (FILES / "py_tps.tps").read_text(), "wing 1.jpg", "WING 2.png")
    data = Tps(["base", "tip", "notch"], unit="cm").read(file)
    np.testing.assert_array_equal(data.points[0], [[3, HEIGHT - 10.5], [12, HEIGHT - 4], [7.25, HEIGHT - 8]])
    assert data.visibility.tolist() == [[2, 2, 2], [2, 0, 2]]
    assert data.spacings.tolist() == [[0.045, 0.045]] * 2
    assert [sample.image.name for sample in data.samples] == ["wing 1.jpg", "WING 2.png"]
    assert "2 points of curves and outlines are left out" in told(data)
    assert "2 images were found by the end of their names only" in told(data)
    assert not data.instances


@pytest.mark.parametrize(("y", "row"), [("up", HEIGHT - 4), ("up0", HEIGHT - 5), ("down", 4)])
def test_direction_of_y(tmp_path: Path, y: str, row: float) -> None:
    data = Tps(y=y).read(write(tmp_path, "LM=1\n3 4\nIMAGE=a.png\n"))
    np.testing.assert_array_equal(data.points, [[[3, row]]])
    Tps(y=y).write(data, tmp_path / "again.tps")
    assert (tmp_path / "again.tps").read_text().splitlines()[:3] == ["LM=1", "3 4", "IMAGE=a.png"]


def test_images_that_are_turned_upright_are_told(tmp_path: Path) -> None:
    write(tmp_path, "LM=1\n3 4\nIMAGE=a.jpg\nLM=1\n3 4\nIMAGE=b.jpg\n", "a.jpg").rename(tmp_path / "SET.TPS")
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.new("L", (30, HEIGHT)).save(tmp_path / "b.jpg", exif=exif)
    data = Tps().read(tmp_path)
    assert "1 images are turned by their EXIF orientation" in told(data)
    assert "the first is" in told(data)
    np.testing.assert_array_equal(data.points, [[[3, HEIGHT - 4]], [[3, 30 - 4]]])  # of the upright image


def test_scale_without_a_unit_is_told_and_not_used(tmp_path: Path) -> None:
    file = write(tmp_path, "LM=1\n3 4\nIMAGE=a.png\nSCALE=0.5\n")
    data = Tps().read(file)
    assert np.isnan(data.spacings).all()
    assert "SCALE of 1 specimens is not used, its unit is not known" in told(data)
    assert Tps(unit="mm").read(file).spacings.tolist() == [[0.5, 0.5]]
    Tps(unit="um").write(Tps(unit="um").read(file), tmp_path / "again.tps")
    assert "SCALE=0.5" in (tmp_path / "again.tps").read_text()
    file.write_text("LM=1\n3 4\nIMAGE=a.png\nSCALE=-1\n")
    assert "SCALE: expected a number above 0, got '-1'" in told(Tps(unit="mm").read(file))


def test_several_specimens_of_an_image_are_instances(tmp_path: Path) -> None:
    text = "LM=1\n3 4\nIMAGE=a.png\nID=left\nLM=1\n5 6\nIMAGE=A.PNG\nID=right\nLM=0\nIMAGE=b.png\nID=2\n"
    data = Tps().read(write(tmp_path, text))
    assert data.instances
    assert [(s.image.name, s.instance) for s in data.samples] == [("a.png", "left"), ("a.png", "right"), ("b.png", "")]
    assert data.visibility.tolist() == [[2], [2], [ABSENT]]
    unknown = data.subset([0, 1]).followed_by(data.subset([2]).without_labels())  # not annotated is not absent
    Tps().write(unknown, tmp_path / "unknown.tps")
    again = Tps().read(tmp_path / "unknown.tps")
    assert [(s.instance, s.visibility.tolist()) for s in again.samples] == [("left", [2]), ("right", [2]), ("", [0])]
    data = Tps().read(write(tmp_path, text.replace("ID=right", "ID=left")))
    assert [s.instance for s in data.samples] == ["1", "2", ""]


@pytest.mark.parametrize("missing", ["NA NA", "nan nan", "-1 -1", "-1.00000 -2.5", "NA 4"])
def test_missing_landmarks(tmp_path: Path, missing: str) -> None:
    data = Tps().read(write(tmp_path, f"LM=2\n{missing}\n3 -4\nIMAGE=a.png\n"))
    assert data.visibility.tolist() == [[0, 2]]
    np.testing.assert_array_equal(data.points[0, 1], [3, HEIGHT + 4])  # below the image


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    text = "LM=2\n1 2\n3 4\nIMAGE=a.png\nVARIABLES=x\nLM=1\n1 2\nIMAGE=b.png\nLM=1\n1 2\nID=7\nLM=1\n1 2\nIMAGE=c.png\n"
    data = Tps().read(write(tmp_path, text))
    assert len(data) == 2
    assert data.visibility.tolist() == [[2, 2], [2, 0]]
    for expected in ("without IMAGE=", "needs its image's height", "1 of 2 landmarks", "the key VARIABLES"):
        assert expected in told(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LM3=1\n1 2 3\n", "line 1: expected landmarks of images"),
        ("IMAGE=a.png\n", "line 1: expected LM= first"),
        ("LM=2\n1 2\n", "line 1: expected a number of points and so many lines"),
        ("LM=-1\n", "line 1: expected a number of points"),
        ("LM=1\n1 x\nIMAGE=a.png\n", "line 2: expected 'x y', got '1 x'"),
        ("LM=1\n1 2 3\nIMAGE=a.png\n", "line 2: expected 'x y'"),
        ("LM=1\n1 2\n3 4\n", "line 3: expected KEY=VALUE"),
        ("", "expected specimens that begin with LM=, got none"),
        ("LM=1\n-1 -1\nIMAGE=a.png\n", "expected annotated landmarks, got none"),
        ("LM=1\n1 2\nIMAGE=c.png\n", "got none\n.*needs its image's height"),
    ],
)
def test_malformed_tps(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        Tps().read(write(tmp_path, text))
    assert "set.tps" in str(error.value)


def test_options_and_points_that_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'up'"):
        Tps(y="upp")
    with pytest.raises(ConfigError, match="unknown unit 'm'"):
        Tps(unit="m")
    file = write(tmp_path, "LM=2\n1 2\n3 4\nIMAGE=a.png\n")
    with pytest.raises(DataError, match="line 1: expected 1 landmarks, got LM=2"):
        Tps(["tip"]).read(file)
    sample = Sample(tmp_path / "a.png", np.array([[-3.0, HEIGHT + 5.0]]), np.array([2]))
    with pytest.raises(DataError, match="left of and below the image"):
        Tps().write(LandmarkDataset([sample], LandmarkSet(("t",))), tmp_path / "o.tps")
    assert not (tmp_path / "o.tps").exists()


def sized(root: Path, *spacings: float | None) -> LandmarkDataset:
    """An image for each spacing, one landmark; rows that are 20 minus a number leave something behind in a float."""
    root.mkdir(exist_ok=True)
    samples = []
    for k, spacing in enumerate(spacings):
        PIL.Image.new("L", (30, HEIGHT)).save(root / f"{k}.png")
        given = None if spacing is None else (spacing, spacing)
        samples.append(Sample(root / f"{k}.png", np.array([[3.1, 13.842]]), np.array([2]), spacing_mm=given))
    return LandmarkDataset(samples, LandmarkSet(("t",)), images=root)


def test_numbers_are_written_without_what_rounding_leaves(tmp_path: Path) -> None:
    Tps(unit="um").write(sized(tmp_path / "set", 0.0123), tmp_path / "o.tps")
    lines = (tmp_path / "o.tps").read_text().splitlines()
    assert lines[1] == "3.1 6.158"  # 20 - 13.842 is 6.1579999999999995
    assert lines[-1] == "SCALE=12.3"


def test_a_unit_without_pixel_sizes_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unit=mm: expected images of known pixel size, got none; state spacing_mm"):
        Tps(unit="mm").write(sized(tmp_path / "none", None, None), tmp_path / "o.tps")
    assert not (tmp_path / "o.tps").exists()
    some = Tps(unit="mm")
    some.write(sized(tmp_path / "some", 0.1, None), tmp_path / "o.tps")
    assert (tmp_path / "o.tps").read_text().count("SCALE=") == 1
    assert some.untold == ["1 of 2 specimens have no SCALE=, their pixel size is not known"]


def test_the_command_tells_what_has_no_scale(tmp_path: Path) -> None:
    sized(tmp_path / "set", 0.1, None).save(tmp_path / "data")
    command = ["data", "convert", str(tmp_path / "data"), "--from", "native", "--to", "tps"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "o.tps"), "--option", "unit=mm"])
    assert done.exit_code == 0, done.output
    assert "1 of 2 specimens have no SCALE=" in " ".join(done.output.split())
