"""Landmarks that are renamed, added and taken away: table and description follow, and all of it can be undone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from label_sets import client_of, open_project

import trigpoint as tp
from trigpoint.app.naming import finish
from trigpoint.app.project import Project
from trigpoint.app.state import Naming, Row, State
from trigpoint.errors import DataError

ABOUT = """# mine
landmarks: [l, r, tip]
pairs: [[l, r]]  # eyes
skeleton: [[l, tip]]
groups: {eyes: [l, r]}
images: .
"""
TABLE = """image,colour,l_x,l_y,l_v,r_x,r_y,r_v,tip_x,tip_y,tip_v,absent
a.png,red,1,2,2,3,4,1,5,6,2,
b.png,blue,7,8,2,,,,,,,r;tip
"""


@pytest.fixture
def set_(photos: Path) -> Path:
    (photos / "dataset.yaml").write_text(ABOUT)
    (photos / "landmarks.csv").write_text(TABLE)
    return photos


def texts(folder: Path) -> tuple[str, str]:
    return (folder / "dataset.yaml").read_text(), (folder / "landmarks.csv").read_text()


def change(project: Project) -> None:
    """The tip goes, the right eye has another name, and there is a nose."""
    renamed = Naming(landmarks=["l", "eye", "nose"], renamed={"r": "eye"}, removed=["tip"])
    project.name_landmarks(renamed)


def test_table_and_description_follow(set_: Path) -> None:
    project = open_project(set_)
    told: list[dict[str, object]] = []
    project.tell = told.append
    change(project)
    about, table = texts(set_)
    assert "# mine" in about
    assert "# eyes" in about
    assert yaml.safe_load(about) == {
        "landmarks": ["l", "eye", "nose"], "pairs": [["l", "eye"]], "skeleton": [], "groups": {"eyes": ["l", "eye"]},
        "images": ".",
    }  # fmt: skip
    assert table.splitlines() == [
        "image,colour,l_x,l_y,l_v,eye_x,eye_y,eye_v,absent,nose_x,nose_y",
        "a.png,red,1,2,2,3,4,1,,,",
        "b.png,blue,7,8,2,,,,eye,,",
    ]
    assert [event["kind"] for event in told] == ["landmarks"]
    assert project.entry(0).state.rows[0].marks == {"l": (1, 2, 2), "eye": (3, 4, 1)}
    assert project.entry(0).revision == 1
    assert (project.pairs, project.skeleton) == ((("l", "eye"),), ())
    project.save(0, State(rows=[Row(marks={"nose": (9, 9, 2)})]), 1)
    assert tp.LandmarkDataset.load(set_).landmarks.names == ("l", "eye", "nose")


def test_all_of_it_is_undone_and_done_again_also_after_a_restart(set_: Path) -> None:
    before = texts(set_)
    project = open_project(set_)
    states = [entry.state for entry in project.entries]
    change(project)
    after = texts(set_)
    marks = {**project.entry(0).state.rows[0].marks, "nose": (9, 9, 2)}
    project.save(0, State(rows=[Row(marks=marks)]), 1)
    project = open_project(set_)
    assert project.step("undo") is project.entry(0)
    assert project.step("undo") is None
    assert project.names == ["l", "r", "tip"]
    assert texts(set_) == before
    assert [entry.state for entry in project.entries] == states
    project = open_project(set_)
    assert project.step("redo") is None
    assert texts(set_) == after
    assert project.step("redo") is project.entry(0)
    assert project.entry(0).state.points()[-1] == (9, 9)
    assert project.step("redo") is None


def test_rows_that_came_meanwhile_keep_their_labels(set_: Path) -> None:
    project = open_project(set_)
    change(project)
    table = set_ / "landmarks.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], "ä ö.png,,20,21,,,,,,,", lines[2], lines[1]]) + "\n")
    project.step("undo")
    rows = {line.split(",")[0]: line.split(",") for line in table.read_text().splitlines()[1:]}
    assert rows["a.png"][8:11] == ["5", "6", "2"]
    assert rows["b.png"][11] == "r;tip"
    assert rows["ä ö.png"][2:4] == ["20", "21"]
    assert rows["ä ö.png"][8:11] == ["", "", ""]


@pytest.mark.parametrize("way", ["edit", "undo"])
@pytest.mark.parametrize("cut", ["before the table", "before dataset.yaml", "nowhere"])
def test_what_a_crash_cut_is_finished(set_: Path, way: str, cut: str) -> None:
    start = texts(set_)
    project = open_project(set_)
    change(project)
    old, new = start, texts(set_)
    if way == "undo":
        project.step("undo")
        old, new = new, texts(set_)
        assert new == start
    if cut != "nowhere":
        (set_ / "dataset.yaml").write_text(old[0])
    if cut == "before the table":
        (set_ / "landmarks.csv").write_text(old[1])
    assert bool(finish(set_, set_ / "landmarks.csv")) == (cut != "nowhere")
    assert texts(set_)[0] == new[0]
    again = open_project(set_)
    assert texts(set_)[1].splitlines()[1:] == new[1].splitlines()[1:]
    assert again.names == project.names
    assert not finish(set_, set_ / "landmarks.csv")


def test_what_cannot_be_is_refused_and_changes_nothing(set_: Path) -> None:
    project = open_project(set_)
    before = texts(set_)
    for naming, problem in (
        (Naming(landmarks=["l", "tip"], removed=["r"]), "'groups' names r"),
        (Naming(landmarks=["l", "r"]), "without tip"),
        (Naming(landmarks=["r", "r", "tip"], renamed={"l": "r"}), "got 'r' more than once"),
        (Naming(landmarks=["tip", "r"], renamed={"l": "tip"}, removed=["tip"]), "not taken, got tip"),
        (Naming(landmarks=["l", "r", "a,b"], renamed={"tip": "a,b"}), "comma"),
        (Naming(landmarks=["l", "r", "tip"], removed=["nose"]), "got nose; reload"),
        (Naming(landmarks=["l", "r"], renamed={"tip": "top"}, removed=["tip"]), "got both"),
    ):
        with pytest.raises(DataError, match=problem):
            project.name_landmarks(naming)
    assert texts(set_) == before
    assert project.journal.counts() == (0, 0)
    (set_ / "second.csv").write_text("image,tip_x,tip_y\na.png,1,2\n")
    (set_ / "notes.csv").write_text("image,colour\na.png,red\n")
    with pytest.raises(DataError, match=r"second.csv beside it"):
        change(project)
    project.name_landmarks(Naming(landmarks=["l", "r", "tip", "nose"]))  # more do no harm


def test_two_names_are_exchanged(set_: Path) -> None:
    project = open_project(set_)
    project.name_landmarks(Naming(landmarks=["r", "l", "tip"], renamed={"l": "r", "r": "l"}))
    assert project.entry(0).state.rows[0].marks == {"r": (1, 2, 2), "l": (3, 4, 1), "tip": (5, 6, 2)}
    project.step("undo")
    assert texts(set_) == (ABOUT, TABLE)


def test_labels_of_an_added_landmark_and_a_changed_description_are_not_lost(set_: Path) -> None:
    project = open_project(set_)
    change(project)
    table = set_ / "landmarks.csv"
    table.write_text(table.read_text().replace("2,3,4,1,,,", "2,3,4,1,,30,31"))
    with pytest.raises(DataError, match="no label of nose"):
        project.step("undo")
    table.write_text(table.read_text().replace("30,31", ","))
    (set_ / "dataset.yaml").write_text((set_ / "dataset.yaml").read_text() + "name: other\n")
    with pytest.raises(DataError, match="was changed since"):
        project.step("undo")


def test_the_server_renames_and_undoes(set_: Path) -> None:
    client = client_of(open_project(set_))
    asked = {"landmarks": ["l", "r", "top"], "renamed": {"tip": "top"}}
    assert client.put("/api/landmarks", json=asked).json()["landmarks"] == ["l", "r", "top"]
    assert client.get("/api/images/0").json()["state"]["rows"][0]["marks"]["top"] == [5, 6, 2]
    assert client.post("/api/undo").json() == {"landmarks": ["l", "r", "tip"]}
    assert client.post("/api/undo").json() == {}
    assert client.post("/api/redo").json() == {"landmarks": ["l", "r", "top"]}
    assert client.put("/api/landmarks", json={**asked, "landmarks": ["l"]}).status_code == 422
