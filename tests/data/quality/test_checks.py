from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.checks import CheckReport, Finding, check_dataset
from trigpoint.data.quality.swaps import find_swaps
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet

MUCT = Path(__file__).parents[4] / "shared" / "data" / "muct"
HEADER = "image,split,subject,left_x,left_y,right_x,right_y"


def make(folder: Path, rows: int = 12, **changed: str) -> Path:
    """A clean dataset of different images, 40 x 30; ``changed`` replaces rows ("row3") or adds them ("add1")."""
    (folder / "images").mkdir(parents=True)
    lines = [HEADER]
    for i in range(rows):
        values = np.random.default_rng(i).integers(0, 255, (30, 40), dtype=np.uint8)
        Image.fromarray(values).save(folder / "images" / f"{i}.png")
        split = ("train", "train", "val", "test")[i % 4]
        lines.append(changed.get(f"row{i + 2}", f"{i}.png,{split},s{i},{5 + i % 3},10,{30 - i % 3},11"))
    lines += [line for key, line in changed.items() if key.startswith("add")]
    (folder / "landmarks.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.yaml").write_text("name: toy\nimages: images\ntable: landmarks.csv\npairs: [[left, right]]\n")
    return folder


def only(report: CheckReport, word: str) -> Finding:
    found = [problem for problem in report.problems if word in str(problem)]
    assert len(found) == 1, [str(problem) for problem in report.problems]
    return found[0]


def test_clean_set_has_no_finding_and_a_true_summary(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_dataset(make(tmp_path / "d"), progress=lambda done, total: calls.append((done, total)))
    assert report.ok
    assert report.problems == []
    assert calls == [(i, 12) for i in range(1, 13)]
    assert report.summary.splits == {"train": 6, "val": 3, "test": 3}
    assert (report.summary.rows, report.summary.images, report.summary.subjects) == (12, 12, 12)
    assert report.summary.smallest == report.summary.largest == (40, 30)
    assert report.summary.unlabelled == {"left": 0.0, "right": 0.0}
    assert report.to_dict()["ok"] is True


def test_every_problem_comes_in_one_pass(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "d",
        row3="1.png,train,s1,five,10,30,11",
        row4="2.png,val,s0,5,10,30,11",
        row5="gone.png,test,s3,5,10,30,11",
        row6="4.png,train,s4,5,10,31,55",
        row7="5.png,train,s5,500,10,900,11",
        row8="6.png,val,s6,30,11,5,10",
        add1="0.png,train,s0,5,10,30,11",
    )
    images = folder / "images"
    whole = (images / "7.png").read_bytes()
    (images / "7.png").write_bytes(whole[: len(whole) // 2])
    (images / "8.png").write_text("this is no image")
    (images / "9.png").write_bytes((images / "10.png").read_bytes())
    (images / "1.png").write_bytes(whole[: len(whole) // 2])  # of a row that is wrong already
    report = check_dataset(folder)

    cell = only(report, "'five'")
    assert (cell.row, cell.landmark, cell.severity) == (3, "left", "error")
    subject = only(report, "'s0' in one split")
    assert (subject.severity, subject.row) == ("error", 4)
    assert only(report, "gone.png").row == 5
    outside = only(report, "(31, 55)")
    assert (outside.row, outside.landmark, outside.severity) == (6, "right", "warning")
    size = only(report, "40 x 30 pixels")
    assert (size.row, size.severity, size.landmark) == (7, "error", None)
    swap = only(report, "swapped")
    assert (swap.row, swap.landmark, swap.severity) == (8, "left", "warning")
    assert (only(report, "7.png").row, only(report, "8.png").row) == (9, 10)
    twin = only(report, "same picture")
    assert (twin.file.name, twin.row, twin.severity) == ("10.png", 12, "error")
    assert only(report, "images/1.png").row == 3
    assert only(report, "expected each image once").row == 14
    assert only(report, "no row names this image").file.name == "3.png"
    assert not report.ok
    kinds = [problem.severity for problem in report.problems]
    assert kinds == sorted(kinds)  # errors first


def test_copy_within_a_split_is_a_warning(tmp_path: Path) -> None:
    folder = make(tmp_path / "d")
    (folder / "images" / "4.png").write_bytes((folder / "images" / "0.png").read_bytes())
    twin = only(check_dataset(folder), "same picture")
    assert (twin.severity, twin.file.name) == ("warning", "4.png")


def test_same_pixels_in_another_format_are_a_duplicate(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", add1="0.bmp,val,x,5,10,30,11")
    with Image.open(folder / "images" / "0.png") as image:
        image.save(folder / "images" / "0.bmp")
    assert only(check_dataset(folder), "same picture").severity == "error"


def test_unknown_landmark_in_pairs_and_missing_column_are_reported_together(tmp_path: Path) -> None:
    folder = make(tmp_path / "d")
    (folder / "dataset.yaml").write_text("images: images\nlandmarks: [left, right, tip]\npairs: [[left, rihgt]]\n")
    report = check_dataset(folder)
    assert "did you mean 'right'" in only(report, "rihgt").message
    assert len([p for p in report.errors if p.landmark == "tip"]) == 2


def test_labels_splits_and_spacing(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", rows=4, row2="0.png,,s0,5,10,,", row3="1.png,train,s1,,,,")
    text = (folder / "landmarks.csv").read_text().splitlines()
    spaced = [line + (",spacing_mm" if i == 0 else ",0.1" if i == 3 else ",") for i, line in enumerate(text)]
    (folder / "landmarks.csv").write_text("\n".join(spaced))
    report = check_dataset(folder)
    assert report.ok
    assert only(report, "expected a split").row == 2
    assert only(report, "no landmark is annotated").row == 3
    assert only(report, "50 % of the rows").landmark == "right"
    assert only(report, "pixel spacing").row == 2
    assert report.summary.unlabelled == {"left": 0.25, "right": 0.5}
    assert report.summary.with_spacing == 1


def test_what_trigpoint_keeps_beside_the_images_is_no_image_without_a_row(tmp_path: Path) -> None:
    folder = make(tmp_path / "d")
    runs = folder / "images" / ".trigpoint" / "runs"
    runs.mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(runs / "history.png")
    assert not check_dataset(folder).warnings


def test_many_unnamed_images_are_counted(tmp_path: Path) -> None:
    folder = make(tmp_path / "d")
    for i in range(25):
        Image.fromarray(np.full((4, 4), i, dtype=np.uint8)).save(folder / "images" / f"extra{i:02d}.png")
    (found,) = check_dataset(folder).warnings
    assert found.message.startswith("no row names 25 of 37 images (extra00.png, extra01.png,")
    assert len(found.message) < 200


def test_a_half_labelled_table_is_one_line(tmp_path: Path) -> None:
    blank = {f"row{i}": f"{i - 2}.png,,s{i},,,," for i in range(5, 14)}
    report = check_dataset(make(tmp_path / "d", **blank))
    assert len(report.problems) == 5  # with both landmarks, which are in few rows, and no test subset
    assert only(report, "9 rows have no annotated landmark").message.endswith("(rows 5, 6, 7, 8, 9, ...)")
    assert only(report, "9 rows have a blank cell where a split is expected").row == 5


def test_a_missing_image_has_a_hint(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", row2="0.jpg,train,a,5,10,30,11", row3="01.png,train,b,5,10,30,11")
    (folder / "images" / "sub").mkdir()
    (folder / "images" / "5.png").rename(folder / "images" / "sub" / "5.png")
    report = check_dataset(folder)
    assert only(report, "0.jpg").message.endswith("did you mean '0.png'?")
    assert only(report, "01.png").message.endswith("did you mean '1.png'?")
    assert only(report, "images/5.png").message.endswith("did you mean 'sub/5.png'?")
    with pytest.raises(DataError, match=r"0\.jpg: expected an image file, got none; did you mean '0\.png'\?"):
        LandmarkDataset.load(folder)


def test_copies_are_found_before_the_set_is_divided(tmp_path: Path) -> None:
    folder = make(tmp_path / "d")
    images = folder / "images"
    for i in range(12):  # pictures with something in them
        values = np.random.default_rng(i).integers(0, 255, (6, 8), dtype=np.uint8)
        Image.fromarray(values).resize((160, 120), Image.Resampling.BICUBIC).save(images / f"{i}.png")
    with Image.open(images / "0.png") as image:
        image.resize((80, 60)).point(lambda value: value * 0.6 + 20).save(images / "4.png")
    (images / "9.png").write_bytes((images / "1.png").read_bytes())
    table = folder / "landmarks.csv"
    table.write_text("\n".join(",".join([c[0], c[1] if c[0] == "image" else "", *c[2:]]) for c in _cells(table)) + "\n")
    report = check_dataset(folder)
    assert [p.severity for p in report.problems] == ["warning", "warning"]
    assert only(report, "same picture as 1.png (row 3), which is in no split; keep one").file.name == "9.png"
    assert "an image looks like a copy (4.png of 0.png)" in only(report, "looks like a copy").message


def _cells(table: Path) -> list[list[str]]:
    return [line.split(",") for line in table.read_text().splitlines()]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_findings_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    folder = make(tmp_path / "d", row5="gone.png,test,s3,5,10,30,11", row6="4.png,train,s4,5,10,31,55")
    for i in (1, 7, 8):
        (folder / "images" / f"{i}.png").write_text("this is no image")
    calls: list[tuple[int, int]] = []
    report = check_dataset(folder, lambda done, total: calls.append((done, total)), workers=workers)
    assert report == check_dataset(folder, workers=3)
    assert calls == [(i, 12) for i in range(1, 13)]


def test_ctrl_c_ends_a_check_at_once(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", rows=60)
    read: list[int] = []

    def stop(done: int, total: int) -> None:
        read.append(done)
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        check_dataset(folder, stop, workers=2)
    assert read == [1]
    assert threading.active_count() == threads


def instances(folder: Path, *rows: str) -> Path:
    """A set with instances of three images, 40 x 30."""
    make(folder, rows=3)
    (folder / "dataset.yaml").write_text("name: tools\nimages: images\ninstances: true\n")
    header = "image,split,instance,tip_x,tip_y,tip_v,joint_x,joint_y,joint_v"
    (folder / "landmarks.csv").write_text("\n".join((header, *rows)) + "\n")
    return folder


def test_two_instances_on_one_pixel_are_reported(tmp_path: Path) -> None:
    folder = instances(
        tmp_path / "d",
        "0.png,train,i,5,6,,20,11,",
        "0.png,train,j,9,9,,20.4,10.6,",
        "1.png,val,i,5,6,,20,11,",  # another image
        "2.png,test,i,20,11,,5,6,",  # another landmark
    )
    same = only(check_dataset(folder), "pixel (20, 11)")
    assert (same.row, same.landmark, same.severity) == (3, "joint", "warning")
    assert "instance 'i' (row 2)" in same.message


def test_every_point_of_an_instance_outside_its_frame_is_named(tmp_path: Path) -> None:
    folder = instances(
        tmp_path / "d",
        "0.png,train,i,5,6,,20,11,",
        "0.png,train,j,60,9,,70,8,",
        "1.png,val,i,5,31,,9,9,",
        "2.png,test,,,,,,,",
    )
    report = check_dataset(folder)
    assert [(p.row, p.landmark) for p in report.errors] == [(3, None)]
    assert [(p.row, p.landmark) for p in report.warnings] == [(3, "tip"), (3, "joint"), (4, "tip")]


def test_absent_is_not_unannotated(tmp_path: Path) -> None:
    absent = instances(tmp_path / "a", "0.png,train,i,5,6,,,,", "1.png,val,i,5,6,,20,11,", "2.png,test,,,,,,,")
    report = check_dataset(absent)
    assert report.problems == []
    assert report.summary.unlabelled == {"tip": 0.0, "joint": 0.0}
    unknown = instances(tmp_path / "b", "0.png,train,i,5,6,,,,0", "1.png,val,i,5,6,,,,0", "2.png,test,,,,,,,")
    report = check_dataset(unknown)
    assert only(report, "annotated in no row").landmark == "joint"
    assert report.summary.unlabelled == {"tip": 0.0, "joint": 2 / 3}


@pytest.mark.parametrize("name", ["landmarks.csv", "dataset.yaml"])
def test_damaged_tables_are_findings_not_exceptions(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "d")
    (folder / name).write_bytes(b"\xff\xfe\x00[")
    report = check_dataset(folder)
    assert not report.ok
    assert str(folder / name) in {str(problem.file) for problem in report.errors}


def test_no_folder_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing there"):
        check_dataset("/nowhere/at/all")


def faces(count: int, seed: int = 0) -> tuple[list[np.ndarray], LandmarkSet]:
    rng = np.random.default_rng(seed)
    names = tuple(f"{side}{k}" for k in range(5) for side in "ab")
    marks = LandmarkSet((*names, "nose"), pairs=tuple((f"a{k}", f"b{k}") for k in range(5)))
    xs = np.array([x for k in range(5) for x in (50 - 8 * (k + 1), 50 + 8 * (k + 1))] + [50.0])
    ys = np.array([10.0 * (k + 1) for k in range(5) for _ in "ab"] + [35.0])
    shape = np.stack([xs, ys], axis=1)
    return [shape * rng.uniform(0.5, 4) + rng.normal(0, 1, (11, 2)) for _ in range(count)], marks


@pytest.mark.parametrize("mirrored", [0.0, 0.3])
def test_swaps_are_found_among_mirrored_views_without_false_alarm(mirrored: float) -> None:
    points, marks = faces(60)
    rng = np.random.default_rng(1)
    for i in np.flatnonzero(rng.random(60) < mirrored):
        points[i][:, 0] *= -1
    for i in (3, 40):
        points[i][[4, 5]] = points[i][[5, 4]]
    points[7][4] = np.nan
    assert [(swap.index, swap.landmark) for swap in find_swaps(points, marks)] == [(3, "a2"), (40, "a2")]


def test_one_mirrored_image_is_named_as_a_whole() -> None:
    points, marks = faces(40)
    points[9][:, 0] *= -1
    assert [(swap.index, swap.landmark) for swap in find_swaps(points, marks)] == [(9, None)]


def test_pairs_without_a_clear_side_are_not_judged() -> None:
    points, marks = faces(40)
    one = LandmarkSet(marks.names, pairs=(("a0", "b0"),))
    for i in range(0, 40, 3):
        points[i][:, 0] *= -1
    assert find_swaps(points, one) == []
    assert find_swaps(points[:4], marks) == []


@pytest.mark.real_data
@pytest.mark.skipif(not MUCT.is_dir(), reason="measuring data not beside the checkout")
def test_muct_is_clean_and_its_swaps_are_found() -> None:
    from trigpoint.data.table import read_table

    table = read_table(MUCT)
    points = [sample.points.copy() for sample in table.samples]
    assert find_swaps(points, table.landmarks) == []
    a, b = table.landmarks.index("p27"), table.landmarks.index("p32")
    points[100][[a, b]] = points[100][[b, a]]
    assert [(s.index, s.landmark) for s in find_swaps(points, table.landmarks)] == [(100, "p27")]
