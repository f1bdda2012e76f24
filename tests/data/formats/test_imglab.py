"""XML of imglab: a file that dlib wrote, one that dlib trains from, boxes to be ignored, and XML that does harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Imglab
from trigpoint.data.xml import read_xml
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample

FILES = Path(__file__).parent / "files" / "imglab"
BOX = "<box top='0' left='0' width='9' height='9'>{}</box>"
TIP = "<part name='tip' x='1' y='2'/>"


def write(root: Path, *images: str) -> Path:
    (root / "set.xml").write_text(f"<dataset><images>{''.join(images)}</images></dataset>")
    return root / "set.xml"


def of(name: str, *boxes: str) -> str:
    return f"<image file='{name}'>{''.join(boxes)}</image>"


def test_a_file_of_dlib(tmp_path: Path) -> None:
    for name in "ab":
        PIL.Image.new("L", (12, 10)).save(tmp_path / f"{name}.png")
    file = tmp_path / "set.xml"
    file.write_text((FILES / "dlib.xml").read_text())
    data = Imglab().read(file)
    assert data.landmarks.names == ("0", "1", "10", "2")  # as dlib sorts them
    np.testing.assert_array_equal(data.points[0], [[3, 4], [10, 5], [7, 8], [1, 2]])
    assert data.visibility[1].tolist() == [2, 0, 0, 2]
    assert [s.image for s in data.samples] == [tmp_path / "a.png", tmp_path / "b.png"]
    assert "1 boxes that are to be ignored" in str(data.problems[0])
    assert Imglab(["a", "b", "c", "d"]).read(file).landmarks.names == ("a", "b", "c", "d")


def test_dlib_trains_from_ours_and_reads_the_same_numbers(tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib")
    rng = np.random.default_rng(0)
    samples = []
    for index in range(4):
        image = tmp_path / "pictures" / f"ü & {index}.png"
        image.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(image)
        points = np.array([[20.0, 30.25], [40, 44], [30, 12]]) + index
        points[index % 3] = points[index % 3] if index else np.nan
        samples.append(Sample(image, points, np.where(np.isnan(points[:, 0]), 0, 2)))
    data = LandmarkDataset(samples, LandmarkSet(("a", "b", "c")), images=tmp_path)
    (file,) = Imglab(margin=0.5).write(data, tmp_path / "set.xml")
    loaded = dlib.image_dataset_metadata.load_image_dataset_metadata(str(file))
    assert [image.filename for image in loaded.images] == [f"pictures/ü & {index}.png" for index in range(4)]
    box = loaded.images[1].boxes[0]
    assert {name: (point.x, point.y) for name, point in box.parts.items()} == {
        "a": (21, 31),
        "b": (41, 45),
        "c": (31, 13),
    }
    assert (box.rect.left(), box.rect.top(), box.rect.right(), box.rect.bottom()) == (
        21 - 17,
        13 - 17,
        41 + 17,
        45 + 17,
    )
    options = dlib.shape_predictor_training_options()
    options.cascade_depth = options.tree_depth = options.oversampling_amount = 2
    options.num_trees_per_cascade_level = options.num_test_splits = options.feature_pool_size = 5
    dlib.train_shape_predictor(str(file), str(tmp_path / "p.dat"), options)
    assert (tmp_path / "p.dat").stat().st_size > 0
    np.testing.assert_array_equal(Imglab().read(file).points[1:], np.rint(data.points[1:]))


def test_boxes_are_instances_and_ignored_ones_no_absence(tmp_path: Path) -> None:
    ignored = "<box top='0' left='0' width='9' height='9' ignore='1'/>"
    two = [BOX.format(f"<label>{name}</label>{TIP}") for name in ("left", "right")]
    data = Imglab().read(write(tmp_path, of("a.png", *two), of("b.png"), of("c.png", ignored)))
    assert [s.instance for s in data.samples] == ["left", "right", "", ""]
    assert data.visibility.ravel().tolist() == [2, 2, ABSENT, 0]
    data = Imglab().read(write(tmp_path, of("a.png", two[0], two[0])))
    assert [s.instance for s in data.samples] == ["1", "2"]


def test_parts_that_are_not_sorted_keep_their_order(tmp_path: Path) -> None:
    end = "<part name='end' x='3' y='4'/>"
    data = Imglab().read(write(tmp_path, of("a.png", BOX.format(TIP)), of("b.png", BOX.format(TIP + end))))
    assert data.landmarks.names == ("tip", "end")


def test_box_of_the_image_and_decimals(tmp_path: Path) -> None:
    PIL.Image.new("L", (30, 20)).save(tmp_path / "a.png")
    sample = Sample(tmp_path / "a.png", np.array([[1.25, 2.5]]), np.array([2]))
    data = LandmarkDataset([sample], LandmarkSet(("tip 'x' & y",)), images=tmp_path)
    (file,) = Imglab(box="image", decimals=True).write(data, tmp_path / "o.xml")
    box = next(read_xml(file).iter("box"))
    assert [box.get(key) for key in ("top", "left", "width", "height")] == ["0", "0", "30", "20"]
    again = Imglab().read(file)
    np.testing.assert_array_equal(again.points, data.points)
    assert again.landmarks.names == data.landmarks.names
    for name in ("<y>", "a &amp; b", "'\"", "\x01"):
        with pytest.raises(DataError, match=r"none.xml: .*rename it"):
            Imglab().write(LandmarkDataset([sample], LandmarkSet((name,))), tmp_path / "none.xml")
    with pytest.raises(ConfigError, match="box: unknown choice 'imag'; did you mean 'image'"):
        Imglab(box="imag")
    with pytest.raises(ConfigError, match="margin: expected a share"):
        Imglab(margin=-1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<dataset><images>", "line 1: not readable as XML"),
        ("<a/>", "expected <dataset> with <images>"),
        ("<dataset><images><image/></images></dataset>", "image 1: expected the attribute 'file', got none"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>\n<dataset/>", "line 1: expected plain XML, got a document type"),
        ("<dataset>" + "<a>" * 200, "at most 100 levels"),
        (of("a.png", BOX.format("<part name='t' x='1'/>")), "expected a part with name, x and y"),
        (of("a.png", BOX.format("<part name='t' x='nan' y='1'/>")), "got name 't', x 'nan'"),
        (of("a.png", BOX.format(TIP + TIP)), "landmark 'tip': expected each part of a box once"),
        (of("a.png", BOX.format(TIP)) * 2, "image 2: expected each image once, got 'a.png' again"),
        (of("a.png", BOX.format("")), "expected annotated landmarks, got none"),
        (of("a\x01.png"), "not readable as XML"),
    ],
)
def test_malformed_imglab(tmp_path: Path, text: str, expected: str) -> None:
    full = text if text.startswith(("<dataset", "<a", "<!")) else f"<dataset><images>{text}</images></dataset>"
    (tmp_path / "set.xml").write_text(full)
    with pytest.raises(DataError, match=expected) as error:
        Imglab().read(tmp_path / "set.xml")
    assert "set.xml" in str(error.value)


def test_xml_in_other_codings_and_of_too_many_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    for coding in ("utf-8", "iso-8859-1", "utf-16"):
        file.write_bytes(f"<?xml version='1.0' encoding='{coding}'?><a b='ü'/>".encode(coding))
        assert read_xml(file).get("b") == "ü"
    file.write_text("<?xml version='1.0' encoding='ISO-8859-1'?><a b='ü'/>")  # as imglab writes on Linux
    assert read_xml(file).get("b") == "ü"
    with pytest.raises(DataError, match="expected XML of at most 5 bytes"):
        read_xml(file, most=5)
    file.write_text("<?xml version='1.0' encoding='klingon'?><a b='\xe9'/>", encoding="latin-1")
    with pytest.raises(DataError, match="not readable as XML"):
        read_xml(file)
