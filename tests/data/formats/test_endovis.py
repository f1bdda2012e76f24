"""Labels of EndoVis 2015: what is read, what is absent, what is left out and reported."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.formats import DeepLabCut, EndoVis
from trigpoint.data.formats.endovis import JOINTS
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT

REAL = Path(__file__).parents[3] / ".." / "shared" / "data" / "endovis2015_labels"
LEFT, RIGHT, HEAD, SHAFT, END = JOINTS


def tool(name: str, x: float, joints: tuple[str, ...] = JOINTS) -> list[dict[str, Any]]:
    """Entries of one tool, its joints 10 pixels apart from ``x`` on."""
    return [{"class": joint, "id": name, "x": x + 10 * JOINTS.index(joint), "y": 7.5} for joint in joints]


def labels(folder: Path, *frames: list[Any], name: str = "test1_labels.json") -> Path:
    """A label file with one frame per list of entries, named as on the annotators' machine."""
    path = "C:\\data\\Tracking_Robotic_Testing\\Dataset1\\Raw\\img_{:04d}.png"
    values = [
        {"annotations": entries, "class": "image", "filename": path.format(k)} for k, entries in enumerate(frames, 1)
    ]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    return folder / name


def faults(data: LandmarkDataset) -> list[Problem]:
    """What was left out of the entries; that no frames are there, and which were not annotated, is told beside it."""
    beside = ("are not below", "frames without entries")
    return [problem for problem in data.problems if not any(text in problem.message for text in beside)]


def seen(data: LandmarkDataset) -> list[tuple[str, list[int]]]:
    return [(sample.instance, sample.visibility.tolist()) for sample in data.samples]


def test_tools_are_instances_and_frames_without_entries_are_left_out(tmp_path: Path) -> None:
    two = tool("tool2", 300) + tool("tool1", 100) + [{"class": "TrackedPoint", "id": "tool1", "x": 1, "y": 1}]
    hidden = [{**entry, "occluded": entry["class"] == END} for entry in tool("tool4", 50)]
    file = labels(tmp_path, [], two, hidden)
    data = EndoVis().read(file)
    assert faults(data) == []
    assert [problem.message[:40] for problem in data.problems] == [
        "frames without entries count as not anno",
        f"2 images are not below {tmp_path}"[:40],
    ]
    assert data.instances
    assert data.landmarks.names == JOINTS
    assert data.landmarks.flip_permutation().tolist() == [1, 0, 2, 3, 4]
    assert seen(data) == [("tool1", [2] * 5), ("tool2", [2] * 5), ("tool4", [2, 2, 2, 2, 1])]
    np.testing.assert_array_equal(data.points[:, :, 0], [[x + 10 * k for k in range(5)] for x in (100, 300, 50)])
    assert (data.points[:, :, 1] == 7.5).all()
    assert data.image_name(data.samples[0]) == "Tracking_Robotic_Testing/Dataset1/Raw/img_0002.png"
    assert {(sample.split, sample.subject) for sample in data.samples} == {("test", "test1")}
    elsewhere = EndoVis().read(file, images=tmp_path / "frames").samples[0].image
    assert elsewhere.relative_to(tmp_path / "frames").parts[0] == "Tracking_Robotic_Testing"


def test_a_frame_without_the_chosen_tools_says_that_they_are_absent(tmp_path: Path) -> None:
    file = labels(tmp_path, tool("tool1", 100), tool("tool1", 10) + tool("tool3", 200))
    assert seen(EndoVis("scissor").read(file)) == [("", [ABSENT] * 5), ("tool3", [2] * 5)]
    assert seen(EndoVis("needle_driver").read(file)) == [("tool1", [2] * 5), ("tool1", [2] * 5)]
    first, _ = EndoVis("scissor").read(file).instances_by_image()
    assert first.points.shape == (0, 5, 2)
    assert first.annotated.all()


def test_a_joint_that_a_tool_lacks_is_not_annotated(tmp_path: Path) -> None:
    data = EndoVis().read(labels(tmp_path, tool("tool1", 100, (LEFT, RIGHT, SHAFT, END))))
    assert seen(data) == [("tool1", [2, 2, 0, 2, 2])]
    assert faults(data) == []


BAD = {
    "no id": ({"class": END, "x": 5, "y": 6}, "expected the id of a tool .* for EndPoint, got none"),
    "unknown tool": ({"class": END, "id": "tool7", "x": 5, "y": 6}, "for EndPoint, got 'tool7'"),
    "outside": ({"class": END, "id": "tool1", "x": 719.6, "y": 6}, r"inside 720 x 576 pixels, got \(719\.6, 6\)"),
    "below": ({"class": END, "id": "tool1", "x": 5, "y": -0.6}, r"got \(5, -0\.6\)"),
    "no number": ({"class": END, "id": "tool1", "x": None, "y": 6}, "expected two numbers for EndPoint of tool1"),
    "not finite": ({"class": END, "id": "tool1", "x": 5, "y": float("nan")}, "got 5, nan"),
    "no object": ([5, 6], "expected a JSON object, got list"),
    "unknown joint": ({"class": "EndPiont", "id": "tool1", "x": 5, "y": 6}, "did you mean 'EndPoint'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_unusable_entries_are_reported_and_left_out(tmp_path: Path, kind: str) -> None:
    entry, expected = BAD[kind]
    file = labels(tmp_path, [*tool("tool1", 100, JOINTS[:4]), entry])
    data = EndoVis().read(file)
    assert seen(data) == [("tool1", [2, 2, 2, 2, 0])]
    (problem,) = faults(data)
    assert problem.file == file
    assert str(problem).startswith(f"{file}: frame 0 (img_0001.png), entry 4: ")
    assert re.search(expected, problem.message)
    assert not data.instances_by_image()[0].annotated[4]


def test_two_of_one_joint_are_both_left_out(tmp_path: Path) -> None:
    twice = [*tool("tool1", 100), {"class": RIGHT, "id": "tool1", "x": 3, "y": 4}, *tool("tool2", 300, (LEFT, HEAD))]
    data = EndoVis().read(labels(tmp_path, twice))
    assert seen(data) == [("tool1", [2, 0, 2, 2, 2]), ("tool2", [2, 0, 2, 0, 0])]
    (problem,) = faults(data)
    assert "expected one RightClasperPoint of tool1, got entries 1 (110, 7.5) and 5 (3, 4)" in problem.message


def test_an_entry_without_id_leaves_its_joint_unknown_where_no_tool_is_seen(tmp_path: Path) -> None:
    file = labels(tmp_path, [{"class": END, "x": 5, "y": 6}, *tool("tool1", 100)], tool("tool4", 100))
    data = EndoVis("scissor").read(file)
    assert seen(data)[0] == ("", [ABSENT, ABSENT, ABSENT, ABSENT, 0])
    # faults of a tool that is not wanted do not matter
    file = labels(tmp_path, [{"class": END, "id": "tool1", "x": 999, "y": 6}, *tool("tool4", 100)])
    assert faults(EndoVis("scissor").read(file)) == []


def test_a_folder_of_label_files(tmp_path: Path) -> None:
    labels(tmp_path / "a", tool("tool1", 100), name="train2_labels.json")
    labels(tmp_path / "b", tool("tool1", 100), name="test6_labels.json")
    (tmp_path / "other.json").write_text("{}")
    assert EndoVis().read(tmp_path).splits() == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("name", "message"), [("/nowhere/img_0001.png", "frame left out"), ("../img.png", "frame left out")]
)
def test_frames_that_name_no_image_are_reported(tmp_path: Path, name: str, message: str) -> None:
    file = labels(tmp_path, tool("tool1", 100))
    good = json.loads(file.read_text())[0]
    file.write_text(json.dumps([good, {**good, "filename": name}, good]))
    data = EndoVis().read(file)
    assert len(data) == 1
    first, second = faults(data)
    assert message in str(first)
    assert "frame 2 (img_0001.png): expected each image once, got frame 0 again" in str(second)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[\n{]", "line 2: not readable as JSON"),
        ("{}", "expected a JSON list of frames, got dict"),
        ("[1]", "frame 0: expected 'filename' as str and 'annotations' as list"),
        ('[{"filename": "a.png"}]', "frame 0: expected 'filename' as str and 'annotations' as list"),
        ("[]", "expected joints of 'all', got none"),
    ],
)
def test_malformed_label_files_are_named(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a_labels.json").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        EndoVis().read(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_unknown_tools_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'scissor'"):
        EndoVis("scissors")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="measuring data not beside the checkout")
def test_the_published_label_files(tmp_path: Path) -> None:
    data = EndoVis().read(REAL)
    frames = Counter(data.samples[part.rows[0]].subject for part in data.instances_by_image())
    assert frames == {"train1": 210, "train4": 238, "test1": 80, "test5": 301}
    counts = {}
    for subject in frames:
        rows = [index for index, sample in enumerate(data.samples) if sample.subject == subject]
        counts[subject] = (data.visibility[rows] > 0).sum(axis=0).tolist()
    # two joints of train1 and one of test5 are given twice for one tool, 128 ends of test5 are of no tool
    assert counts == {
        "train1": [420, 418, 420, 420, 418],
        "train4": [238, 238, 235, 238, 238],
        "test1": [160, 160, 160, 160, 160],
        "test5": [598, 599, 602, 602, 474],
    }
    assert (data.visibility == 1).sum() == 1
    assert len(faults(data)) == 131
    assert sum("for EndPoint, got none" in problem.message for problem in data.problems) == 128
    assert {sample.instance for sample in EndoVis("scissor").read(REAL).samples} == {"", "tool4"}
    (file,) = DeepLabCut().write(data, tmp_path / "labels.csv")
    again = DeepLabCut().read(file, images=REAL)
    np.testing.assert_array_equal(again.points, data.points)


def test_frames_of_another_size_are_told(tmp_path: Path) -> None:
    file = labels(tmp_path, tool("tool1", 100))
    frame = EndoVis().read(file).samples[0].image
    frame.parent.mkdir(parents=True)
    PIL.Image.new("L", (360, 288)).save(frame)
    (problem,) = EndoVis().read(file).problems
    assert "(stated 720 x 576, upright file 360 x 288)" in problem.message
