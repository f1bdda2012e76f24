"""Damaged, hostile and absurd files of every format: a valid dataset or our own error that names the file."""

from __future__ import annotations

import json
import pickle
import random
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import pytest
import safetensors.torch
import tifffile
import torch
import yaml
from fuzzing import PATIENT, TARGETS, Bench, damaged, deep_png, dicom_file
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian

from trigpoint.config import MAX_VALUES, apply_overrides, parse_yaml, read_yaml
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import inside, is_formula, shown
from trigpoint.data.formats import FORMATS
from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import MAX_PIXELS, pixel_limit, read_image
from trigpoint.data.table import read_table, table_text
from trigpoint.errors import ConfigError, DataError, RunError, TrigpointError
from trigpoint.landmarks import LandmarkSet, Sample
from trigpoint.nn.weights import read_weights
from trigpoint.recipe import load_recipe
from trigpoint.runs import RunFolder

SLOW = {"h5": 30, "nwb": 40, "recipe": 30, "sleap": 20, "video": 30}  # inputs; of the others 80, and make soak has 5000

JSON = ["coco", "ljson", "endovis", "labelme", "labelstudio", "via"]

texts = st.text(st.characters(exclude_categories=()), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_give_a_dataset_or_our_error(name: str, tmp_path: Path) -> None:
    bench = Bench(name, tmp_path)
    for data in bench.seeds[:1]:
        assert bench.try_one(data) is None, "a valid file was refused"
    for index in range(SLOW.get(name, 80)):
        bench.try_one(damaged(random.Random(f"quick {index}"), bench.seeds, bench.target.kind))
    assert bench.refused > 10, "the damage did none"


@settings(max_examples=50)
@given(body=values, name=st.sampled_from(JSON))
def test_any_json(body: Any, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Bench(name, Path(folder)).try_one(json.dumps(body).encode("utf-8", "surrogatepass"))


@settings(max_examples=40)
@given(part=values, data=st.data())
def test_any_value_in_a_valid_json(part: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(JSON))
    whole = json.loads(TARGETS[name].seeds()[0])
    holder: Any = whole
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = part
    with tempfile.TemporaryDirectory() as folder:
        Bench(name, Path(folder)).try_one(json.dumps(whole).encode("utf-8", "surrogatepass"))


@settings(max_examples=50)
@given(text=texts | st.binary(max_size=60), name=st.sampled_from([n for n in TARGETS if n != "video"]))
def test_any_text_or_bytes(text: str | bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        Bench(name, Path(folder)).try_one(data)


@settings(max_examples=40)
@given(body=values)
def test_any_description_and_recipe(body: Any) -> None:
    text = yaml.safe_dump({"landmarks": body, "groups": body, "normalizer": body, "table": body, "method": body})
    with tempfile.TemporaryDirectory() as folder:
        for name in ("description", "recipe"):
            Bench(name, Path(folder)).try_one(text.encode("utf-8", "surrogatepass"))


# -- what was found -----------------------------------------------------------------------------------------------


def refusal(name: str, data: str | bytes, folder: Path) -> str:
    """The message with which a reader refuses the data."""
    message = Bench(name, folder).try_one(data if isinstance(data, bytes) else data.encode())
    assert message is not None, "expected a refusal, got a dataset"
    return message


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "too deep"),
        ('{"a":' * 100_000, "too deep"),
        ('{"a": 1, "a": 2}', "each key once, got 'a' twice"),
        ('{"version": "\\ud800"}', "half a surrogate pair"),
        (f'{{"version": {"9" * 5000}}}', "expected"),
    ],
    ids=["lists", "objects", "twice", "surrogate", "digits"],
)
def test_hostile_json(name: str, text: str, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(name, text, tmp_path)


def test_coco_ids_are_numbers_or_text(tmp_path: Path) -> None:
    whole = json.loads(TARGETS["coco"].seeds()[0])
    whole["images"][0]["id"] = whole["annotations"][0]["image_id"] = [1]
    whole["annotations"] = whole["annotations"][:1]
    told = refusal("coco", json.dumps(whole), tmp_path)
    assert "images[0]: expected an 'id' and the 'file_name' of an image" in told
    assert "expected the 'image_id' of a listed image, got another; left out (annotations[0]: [1])" in told


def test_pts_header_of_thousands_of_digits(tmp_path: Path) -> None:
    assert "line 1: expected 'version: 1'" in refusal("pts", f"n_points: {'9' * 5000}\n{{\n1 2\n}}\n", tmp_path)


def bomb(merge: bool) -> str:
    """A few lines that stand for 10^9 values."""
    lines = ["a0: &a0 {x0: 1, y0: 2}" if merge else "a0: &a0 [1, 2]"]
    for level in range(1, 10):
        parts = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{parts}]}}" if merge else f"[{parts}]"))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!python/object/apply:os.system ['touch /tmp/never']", "could not determine a constructor"),
        (bomb(False), f"at most {MAX_VALUES} values"),
        (bomb(True), f"at most {MAX_VALUES} values"),
        ("a: &a [*a]", "an alias inside of what it stands for"),
        ("a: " + "[" * 1000, "too deep"),
        ("a: 1\nb: 2\na: 3", "each key once, got 'a' again"),
        ("a: 2024-99-99", "not of its type"),
        ("a: !!bool x", "not of its type"),
        ("a: !!int ''", "not of its type"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ("a: " + "9" * 5000, "not of its type"),
    ],
    ids=["tag", "bomb", "merge bomb", "circle", "deep", "twice", "date", "bool", "int", "surrogate", "digits"],
)
def test_hostile_yaml(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(yaml.YAMLError, match=expected):
        parse_yaml(text)
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml: not readable as YAML") as error:
        read_yaml(tmp_path / "a.yaml")
    assert len(str(error.value)) < 1000
    with pytest.raises(ConfigError):
        apply_overrides({}, [f"key={text}"])


def test_aliases_and_merged_keys_still_work() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b, *b]"
    assert parse_yaml(text)["more"] == {"x": 1, "y": 3}
    assert parse_yaml(text)["list"] == [{"x": 1, "y": 2}] * 2


def test_a_component_that_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("method: 5\n")
    with pytest.raises(ConfigError, match="expected the method by name"):
        load_recipe(tmp_path / "r.yaml")


# -- names that leave the folder, and formulas --------------------------------------------------------------------

OUTSIDE = ["../a.png", "/etc/a.png", "C:\\a.png", "x/../../a.png", "..\\a.png", "a\0.png", "a" * 300, "a/" * 600]


@pytest.mark.parametrize("image", OUTSIDE)
def test_no_description_names_a_table_outside_its_folder(image: str, tmp_path: Path) -> None:
    assert not inside(image)
    if "\0" not in image:
        assert "a path inside the dataset folder" in refusal("description", f"table: {json.dumps(image)}\n", tmp_path)


@pytest.mark.parametrize("image", OUTSIDE)
@pytest.mark.parametrize("form", ["coco", "deeplabcut"])
def test_images_that_other_tools_name_are_below_the_folder_or_told(form: str, image: str, tmp_path: Path) -> None:
    if form == "deeplabcut" and "\0" in image:
        return  # no csv
    target = TARGETS[form]
    plain = target.seeds()[0].decode()
    (tmp_path / "set").mkdir()
    file = tmp_path / "set" / target.file
    file.write_text(plain.replace('"a.png"', json.dumps(image)) if form == "coco" else plain.replace("a.png", image))
    possible = len(image) < 300 and "\0" not in image
    if form == "deeplabcut" and not possible:  # nothing else is annotated there
        with pytest.raises(DataError, match="the name of an image"):
            FORMATS[form]().read(file)
        return
    data = FORMATS[form]().read(file)
    told = "\n".join(map(str, data.problems))
    assert ("are not below" if possible else "'file_name' of an image") in told
    assert all(sample.image.is_relative_to(tmp_path / "set") for sample in data.samples)
    if image == "../a.png":
        PIL.Image.new("L", (8, 6)).save(tmp_path / "a.png")
        there = FORMATS[form]().read(file)
        assert there.samples[0].image.resolve() == (tmp_path / "a.png").resolve()
        assert "1 images lie outside" in "\n".join(map(str, there.problems))


@pytest.mark.parametrize("image", ["a" * 300, "../" + "a/" * 600, "\x01.png", "a\x1f/b.png", "/" + "ä" * 200])
def test_no_table_names_an_image_that_no_file_can_be(image: str, tmp_path: Path) -> None:
    rows = f"image,left_x,left_y,tip_x,tip_y\n{image},1,2,3,4\n"
    assert "which no file can have" in refusal("table", rows, tmp_path)


def test_endovis_leaves_out_frames_outside_its_folder(tmp_path: Path) -> None:
    text = TARGETS["endovis"].seeds()[0].decode().replace("Raw/a.png", "../../../a.png")
    assert "got none in 1 label files" in refusal("endovis", text, tmp_path)


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", '=HYPERLINK("x")'])
def test_formulas_are_neither_read_nor_written(cell: str, tmp_path: Path) -> None:
    assert is_formula(cell)
    quoted = '"' + cell.replace('"', '""') + '"'
    for column in ("subject", "split", "image"):
        row = {"image": "a.png", "split": "train", "subject": "s"} | {column: quoted}
        text = f"{','.join(row)},left_x,left_y,tip_x,tip_y\n{','.join(row.values())},1,2,3,4\n"
        assert f"{column}: expected plain text" in refusal("table", text, tmp_path)
    one = Sample(Path("a.png"), np.ones((1, 2)), np.full(1, 2), subject=cell)
    with pytest.raises(DataError, match="a spreadsheet would calculate"):
        table_text([one], LandmarkSet(("tip",)), image_names=["a.png"])
    with pytest.raises(DataError, match="a spreadsheet would calculate"):
        table_text([], LandmarkSet((cell,)), image_names=[])
    data = LandmarkDataset([Sample(tmp_path / "a.png", np.ones((1, 2)), np.full(1, 2))], LandmarkSet((cell,)))
    with pytest.raises(DataError, match="a spreadsheet would calculate"):
        FORMATS["deeplabcut"]().write(data, tmp_path / "out.csv")


def test_harmless_signs_are_kept() -> None:
    one = Sample(Path("a.png"), np.array([[-1.5, 2.0]]), np.full(1, 2), split="-1", subject="+49")
    assert table_text([one], LandmarkSet(("tip",)), image_names=["@eaDir/a.png"]).endswith(
        "@eaDir/a.png,-1,+49,-1.5,2\n"
    )


def test_messages_are_short_whatever_the_file_holds() -> None:
    for value in ("a" * 10**6, list(range(10**5)), {str(k): k for k in range(10**4)}, 10**4000):
        assert len(shown(value)) < 300


# -- files that grow when they are read ---------------------------------------------------------------------------


def test_the_limit_of_pixels_has_a_name() -> None:
    assert pixel_limit(None) == pixel_limit("") == 200_000_000
    assert pixel_limit("1000") == 1000
    for wrong in ("0", "-5", "many", "nan", "inf"):
        with pytest.raises(ConfigError, match="TRIGPOINT_MAX_PIXELS: expected a number of pixels"):
            pixel_limit(wrong)
    assert MAX_PIXELS >= 1


def giant(kind: str, folder: Path) -> Path:
    """A small file whose header tells of 65000 x 65000 pixels."""
    side = 65_000
    file = folder / f"giant.{kind}"
    if kind == "png":
        head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        rest = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + struct.pack(">I", zlib.crc32(head)) + rest)
    elif kind == "jpg":
        data = bytearray(TARGETS["jpeg"].seeds()[0])
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
        file.write_bytes(data)
    elif kind == "bmp":
        data = bytearray(TARGETS["bmp"].seeds()[0])
        data[18:26] = struct.pack("<ii", side, side)
        file.write_bytes(data)
    elif kind == "tif":
        tifffile.imwrite(file, np.zeros((4, 4), np.uint8))
        with tifffile.TiffFile(file, mode="r+b") as tiff:
            for tag in ("ImageWidth", "ImageLength"):
                tiff.pages[0].tags[tag].overwrite(side)
    else:
        dicom_file(file, np.zeros((4, 4), np.uint16), Rows=side, Columns=side)
    return file


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "dcm"])
def test_giant_images_are_refused_by_their_header(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected at most 200000000 pixels, got 65000 x 65000.*TRIGPOINT_MAX_PIXELS"):
        read_image(giant(kind, tmp_path), max_pixels=200_000_000)


def test_a_strip_that_inflates_beyond_its_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.tif"
    tifffile.imwrite(file, np.zeros((64, 64), np.uint8), compression="zlib")
    packed = zlib.compress(bytes(200 << 20), 9)
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        end = tiff.filehandle.size
        tiff.filehandle.seek(end)
        tiff.filehandle.write(packed)
        tiff.pages[0].tags["StripOffsets"].overwrite(end)
        tiff.pages[0].tags["StripByteCounts"].overwrite(len(packed))
    with pytest.raises(DataError, match="expected strips or tiles of 4096 bytes, got one that inflates to"):
        read_image(file)


def test_tiff_of_thousands_of_samples_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["SamplesPerPixel"].overwrite(60_000)
    with pytest.raises(DataError, match=r"a\.tif: expected"):
        read_image(tmp_path / "a.tif")


def test_a_deflated_dicom_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    file = dicom_file(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert read_image(file).width == 4
    with file.open("rb") as stream:
        pydicom.filereader.read_preamble(stream, force=False)
        pydicom.filereader._read_file_meta_info(stream)
        at = stream.tell()
    shrink = zlib.compressobj(6, wbits=-zlib.MAX_WBITS)
    packed = b"".join(shrink.compress(bytes(1 << 20)) for _ in range(260)) + shrink.flush()
    file.write_bytes(file.read_bytes()[:at] + packed)
    with pytest.raises(DataError, match=r"a\.dcm: .* bytes that inflate to"):
        read_image(file)


def test_no_error_of_a_damaged_dicom_names_the_patient(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bench = Bench("dicom", tmp_path)
    secrets = (PATIENT, "SECRET", "Geheim", "Hidden", "ACC-HID", "19630405", "private comment", "secret study")
    for index in range(200):
        message = bench.try_one(damaged(random.Random(f"patient {index}"), bench.seeds, "bytes")) or ""
        assert not any(secret in message for secret in secrets), message
    printed = "".join(capfd.readouterr())
    assert not any(secret in printed for secret in secrets), printed


# -- weights ------------------------------------------------------------------------------------------------------


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_no_weights_file_runs_code(zipped: bool, tmp_path: Path) -> None:
    mark, file = tmp_path / "executed", tmp_path / "w.pt"
    torch.save({"conv.weight": Payload(mark)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConfigError, match=r"w\.pt: not readable as plain tensors"):
        read_weights(file)
    file.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ConfigError, match=r"w\.pt: not readable as"):
        read_weights(file)
    (tmp_path / "weights.safetensors").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(RunError, match="damaged or not a safetensors file"):
        RunFolder(tmp_path).load_weights()
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload would have done nothing"


def tampered(data: bytes) -> dict[str, bytes]:
    """Weights as they come from a broken disk, a wrong tool or a version to come."""
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + size])
    later = json.dumps(head | {"conv": {"dtype": "F4_NEW", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    apart = json.dumps({"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 10**12]}}).encode()
    return {
        "truncated": data[:-5],
        "only a header": data[: 8 + size],
        "empty": b"",
        "endless header": struct.pack("<Q", 1 << 60) + data[8:],
        "unknown type": struct.pack("<Q", len(later)) + later + data[8 + size :],
        "offsets beyond": struct.pack("<Q", len(apart)) + apart + data[8 + size :],
        "no json": data[:8] + b"x" * size + data[8 + size :],
        "longer": data + b"more",
    }


@pytest.mark.parametrize("fault", tampered(TARGETS["safetensors"].seeds()[0]))
def test_tampered_weights_are_refused(fault: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(TARGETS["safetensors"].seeds()[0])
    assert set(RunFolder(tmp_path).load_weights()[0]) == {"conv.weight", "conv.bias", "n"}
    file.write_bytes(tampered(TARGETS["safetensors"].seeds()[0])[fault])
    with pytest.raises(RunError, match=r"weights\.safetensors: damaged or not a safetensors file"):
        RunFolder(tmp_path).load_weights()
    with pytest.raises(ConfigError, match=r"weights\.safetensors: not readable as weights"):
        read_weights(file)


def test_weights_of_anything_else_are_refused(tmp_path: Path) -> None:
    for content in ([1, 2], {"a": 1}, {3: torch.zeros(1)}, {}):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(TrigpointError, match=r"w\.pt"):
            read_weights(tmp_path / "w.pt")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert list(read_weights(tmp_path / "w.safetensors")) == ["a"]


def test_a_damaged_pixel_of_a_png_is_noticed(tmp_path: Path) -> None:
    whole = TARGETS["png"].seeds()[0]
    at = whole.index(b"IDAT") + 12
    (tmp_path / "a.png").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DataError, match=r"a\.png: expected a whole PNG, got one with a wrong checksum at byte"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_damaged_png_is_refused_and_never_ends_the_process(colour: int, channels: int, tmp_path: Path) -> None:
    kept = 1 if channels == 2 else 3
    values = np.random.default_rng(1).integers(0, 65536, (6, 9, channels))
    whole = deep_png(colour, values)
    (tmp_path / "a.png").write_bytes(whole)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, values.transpose(2, 0, 1)[:kept])
    for at in range(33, len(whole), 3):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):  # cut, and one byte wrong
            (tmp_path / "a.png").write_bytes(data)
            with pytest.raises(DataError, match=r"a\.png"):
                read_image(tmp_path / "a.png")


def test_notes_of_a_video_in_another_coding_do_no_harm(tmp_path: Path) -> None:
    whole = TARGETS["video"].seeds()[0]
    assert b"Lavf" in whole
    (tmp_path / "a.mp4").write_bytes(whole.replace(b"Lavf", b"\xffavf"))
    assert [frame.index for frame in Frames(tmp_path / "a.mp4")] == [0, 1, 2]


def test_a_table_in_strict_and_loose_reading_agree(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").write_text("image,tip_x,tip_y\na.png,1,2\n\x01b.png,1,2\n")
    assert len(read_table(tmp_path, strict=False).problems) == 1
    with pytest.raises(DataError, match="which no file can have"):
        read_table(tmp_path)
