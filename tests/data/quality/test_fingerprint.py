"""Fingerprints: what changes no picture changes no hash, copies are found in other grey values, and only copies are."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.checks import check_dataset
from trigpoint.data.quality.fingerprint import (
    COPY,
    ImageRecord,
    copies,
    differences,
    fingerprint,
    label_hash,
    look_of,
    nearest,
    parse_look,
    read_records,
    similarity,
    stack_looks,
    take,
    to_csv,
)
from trigpoint.errors import DataError, RunError
from trigpoint.synthetic import write_radiographs

SHARED = Path(__file__).parents[4] / "shared" / "data"
CEPH, MUCT = SHARED / "isbi2015_ceph", SHARED / "muct"
Grey = npt.NDArray[np.uint8]


def picture(seed: int, height: int = 120, width: int = 96) -> Grey:
    """Smooth blobs, different for each seed, from dark to bright."""
    coarse = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, 9, 8))).float()
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0, 0].numpy()
    return np.asarray(20 + 200 * (smooth - smooth.min()) / np.ptp(smooth), np.uint8)


def look(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.int8]:
    return look_of(np.asarray(pixels)[None])[None]


def alike(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    return float(similarity(look(a), look(b))[0, 0])


def jpeg(pixels: Grey, quality: int) -> Grey:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels: Grey, width: int, height: int) -> Grey:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), gamma=st.floats(0.4, 2.5), scale=st.floats(0.3, 1.0), shift=st.floats(0, 50))
def test_other_grey_values_are_still_the_same_picture(seed: int, gamma: float, scale: float, shift: float) -> None:
    values = picture(seed)
    windowed = np.clip((values / 255) ** gamma * 255 * scale + shift, 0, 255)
    assert alike(values, windowed.astype(np.uint8)) >= COPY
    assert alike(values, (windowed * 257).astype(np.uint16)) >= COPY  # 16 bit
    assert alike(values, 255 - values) >= COPY  # a negative


@settings(max_examples=50)
@given(a=st.integers(0, 10_000), b=st.integers(0, 10_000))
def test_different_pictures_are_no_copies(a: int, b: int) -> None:
    if a != b:
        assert alike(picture(a), picture(b)) < 0.7


def test_size_compression_and_noise_are_still_the_same_picture() -> None:
    for seed in range(5):
        values = picture(seed)
        noise = np.random.default_rng(0).normal(0, 4, values.shape)
        changed = [jpeg(values, 40), resized(values, 48, 60), resized(values, 88, 112)]
        changed.append(np.clip(values + noise, 0, 255).astype(np.uint8))
        changed.append(jpeg(resized(values, 64, 80), 60))
        assert min(alike(values, other) for other in changed) >= COPY


def test_what_has_no_structure_is_like_nothing() -> None:
    flat = np.full((40, 40), 7, np.uint8)
    assert alike(flat, flat) == 0
    dot = flat.copy()
    dot[20, 20] = 255
    assert alike(dot, dot) == 0  # too little to tell copies from others that are mostly empty


def test_nearest_goes_through_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.data.quality.fingerprint._BLOCK", 2)
    looks = np.concatenate([look(picture(seed)) for seed in range(7)])
    place, best = nearest(looks[[6, 0, 3]], looks)
    assert place.tolist() == [6, 0, 3]
    np.testing.assert_allclose(best, 1, atol=1e-6)
    place, best = nearest(looks, looks[:0])
    assert best.tolist() == [0] * 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures: 0 to 5 train, 6 and 7 test; 6 is a copy of 1 in another window, 7 is 2 under another name."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    lines = ["image,split,tip_x,tip_y"]
    for i in range(8):
        values = {6: np.asarray((picture(1) / 255) ** 0.6 * 255, np.uint8), 7: picture(2)}.get(i, picture(i))
        Image.fromarray(values).save(tmp_path / "set" / "images" / f"{i}.png")
        lines.append(f"{i}.png,{'train' if i < 6 else 'test'},{10 + i},12")
    (tmp_path / "set" / "landmarks.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "set"


def test_copies_are_found_by_content(folder: Path) -> None:
    data = LandmarkDataset.load(folder)
    records = take(data.only("train"), "train")
    found = copies(data.only("test"), records)
    assert [(match.image, match.twin.image) for match in found] == [("6.png", "1.png"), ("7.png", "2.png")]
    assert COPY <= found[0].similarity < 1 == found[1].similarity
    assert copies(data.only("test"), [r for r in records if r.image not in ("1.png", "2.png")]) == []


def test_data_check_reports_copies_across_splits(folder: Path) -> None:
    report = check_dataset(folder)
    assert [problem.row for problem in report.errors if "same picture as 2.png" in str(problem)] == [9]
    told = [problem for problem in report.warnings if "looks like a copy" in str(problem)]
    assert [problem.row for problem in told] == [8]
    assert "looks like a copy of 1.png (row 3), which is in split 'train'" in str(told[0])


def test_a_table_of_records_comes_back_and_damage_is_refused(folder: Path, tmp_path: Path) -> None:
    records = take(LandmarkDataset.load(folder), "train")
    file = tmp_path / "data.csv"
    file.write_text(to_csv(records))
    assert read_records(file) == records
    assert stack_looks([r.look for r in records]).shape == (8, 1984)
    assert set(np.unique(parse_look(records[0].look))) <= {-1, 0, 1}
    lines = file.read_text().splitlines()
    for damage in (lines[1][:200], lines[1] + ",more", lines[1].replace("train,", "train,,")):
        file.write_text("\n".join([lines[0], damage]) + "\n")
        with pytest.raises(RunError, match=r"data\.csv, line 2: damaged"):
            read_records(file)


def test_only_what_matters_makes_a_difference(folder: Path) -> None:
    def now() -> list[ImageRecord]:
        return take(LandmarkDataset.load(folder), "train", before)

    before: list[ImageRecord] = []
    before = now()
    image = Image.open(folder / "images" / "3.png")
    image.load()
    image.save(folder / "images" / "3.png", compress_level=0)  # other bytes, the same picture
    (folder / "images" / "4.png").touch()
    assert differences(before, now()) == {}
    assert fingerprint(before) == fingerprint(reversed(now()))
    image.putpixel((0, 0), 255)
    image.save(folder / "images" / "3.png")
    table = (folder / "landmarks.csv").read_text()
    (folder / "landmarks.csv").write_text(table.replace("5.png,train,15", "5.png,train,15.5"))
    assert differences(before, now()) == {"3.png": "picture", "5.png": "annotation"}
    assert fingerprint(before) != fingerprint(now())


def test_the_last_digit_of_a_label_is_no_difference(folder: Path) -> None:
    """pandas and spreadsheets may write a number back with another last digit."""
    before = take(LandmarkDataset.load(folder), "train")
    table = (folder / "landmarks.csv").read_text()
    assert "5.png,train,15," in table
    (folder / "landmarks.csv").write_text(table.replace("5.png,train,15,", "5.png,train,15.000000000000002,"))
    now = LandmarkDataset.load(folder)
    assert now.points[5, 0, 0] != 15
    assert differences(before, take(now, "train", before)) == {}
    rows = now.by_image()[5]
    old = [
        replace(each, labels=label_hash(now, rows, exact=True)) if each.image == "5.png" else each for each in before
    ]
    assert differences(old, take(now, "train", old)) == {}  # of a run by an earlier version


def test_known_files_are_not_decoded_again(folder: Path) -> None:
    data = LandmarkDataset.load(folder)
    known = take(data, "train")

    def refuse(path: Path) -> None:
        raise AssertionError(path)

    assert take(data, "train", known, read=refuse) == known  # type: ignore[arg-type]
    stale = [replace(record, file="x") for record in known]
    assert take(data, "train", stale, trust_stamp=True, read=refuse) == stale  # type: ignore[arg-type]


def test_an_image_that_cannot_be_read_is_refused_or_left_blank(folder: Path) -> None:
    data = LandmarkDataset.load(folder)
    before = take(data, "train")
    (folder / "images" / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2\.png"):
        take(data, "train")
    after = take(data, "train", skip=True)
    assert [record.image for record in after if not record.pixels] == ["2.png"]
    assert differences(before, after) == {}
    assert copies(data, before) != []  # and it is no error there either


def test_drawn_radiographs_are_not_copies_of_each_other(tmp_path: Path) -> None:
    data = LandmarkDataset.load(write_radiographs(tmp_path / "heads", 20, size=(120, 96), seed=2))
    looks = stack_looks([record.look for record in take(data, "train")])
    found = similarity(looks, looks)
    np.fill_diagonal(found, 0)
    assert found.max() < COPY


@pytest.mark.real_data
@pytest.mark.skipif(not CEPH.is_dir(), reason="measuring data not beside the checkout")
def test_the_copies_among_the_cephalograms_are_all_found_and_no_other() -> None:
    data = LandmarkDataset.load(CEPH, check_images=False)
    with (CEPH / "duplicates.csv").open() as stream:
        known = {row["image"]: row["same_radiograph_as"] for row in csv.DictReader(stream)}
    train = take(data.only("train"), "train")
    found = {match.image: match.twin.image for match in copies(data.only("test1"), train)}
    assert found == {image: twin for image, twin in known.items() if int(twin[:3]) <= 150}
    assert len(found) == 20


@pytest.mark.real_data
@pytest.mark.skipif(not MUCT.is_dir(), reason="measuring data not beside the checkout")
def test_frames_of_one_person_are_no_copies() -> None:
    data = LandmarkDataset.load(MUCT, check_images=False)
    looks = stack_looks([record.look for record in take(data.subset(range(600)), "train")])
    found = similarity(looks, looks)
    np.fill_diagonal(found, 0)
    assert found.max() < COPY
