"""Labels as they are stored: a new set, an old one, undo after a restart, others who write the same table."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from label_sets import draw, open_project

import trigpoint as tp
from trigpoint.app.folder import HIDDEN, open_folder
from trigpoint.app.project import StaleError
from trigpoint.app.state import Naming, Row, State
from trigpoint.errors import DataError


def marked(**marks: object) -> State:
    return State(rows=[Row(marks=marks)])  # type: ignore[arg-type]


def test_a_folder_becomes_a_set_with_the_first_label(photos: Path) -> None:
    project = open_project(photos, "tip,root")
    assert not (photos / "dataset.yaml").exists()
    project.save(2, marked(tip=(1.25, 2.5, 2), root=(3.0, 4.0, 1)), 0)
    data = tp.LandmarkDataset.load(photos)
    assert data.landmarks.names == ("tip", "root")
    assert data.points.tolist() == [[[1.25, 2.5], [3.0, 4.0]]]
    assert data.visibility.tolist() == [[2, 1]]
    assert data.samples[0].image.name == "ä ö.png"
    assert yaml.safe_load((photos / "dataset.yaml").read_text())["images"] == "."


def test_a_set_keeps_what_it_does_not_know(photos: Path) -> None:
    table = "image,split,ward,tip_x,tip_y\nb.png,train,=north,1.50,2\na.png,val,south,,\n"
    (photos / "landmarks.csv").write_text(table)
    (photos / "dataset.yaml").write_text("# mine\nname: p\nlandmarks:  # two\n  - tip\n  # end\nimages: .\n")
    project = open_project(photos, "root")
    entry = project.entry(0)  # the table's order
    assert entry.called == "b.png"
    project.save(0, entry.state.model_copy(update={"rows": marked(tip=(1.5, 2, 2), root=(7, 8.5, 2)).rows}), 0)
    assert (photos / "landmarks.csv").read_text().splitlines() == [
        "image,split,ward,tip_x,tip_y,root_x,root_y",
        "b.png,train,=north,1.50,2,7,8.5",
        "a.png,val,south,,,,",
    ]
    text = (photos / "dataset.yaml").read_text()
    assert "# mine" in text
    assert "# end" in text
    assert yaml.safe_load(text) == {"name": "p", "landmarks": ["tip", "root"], "images": "."}
    assert tp.LandmarkDataset.load(photos).landmarks.names == ("tip", "root")


def test_absent_and_notes_are_columns(photos: Path) -> None:
    project = open_project(photos, "tip,root", annotator="eva")
    project.save(0, marked(tip="absent", root=(1, 2, 2)).model_copy(update={"note": "blurred", "doubtful": True}), 0)
    header, row = (photos / "landmarks.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True)) == {
        "image": "a.png", "split": "", "subject": "", "tip_x": "", "tip_y": "", "root_x": "1", "root_y": "2",
        "note": "blurred", "doubtful": "yes", "annotator": "eva", "absent": "tip",
    }  # fmt: skip
    assert tp.LandmarkDataset.load(photos).visibility.tolist() == [[0, 2]]
    again = open_project(photos)
    assert again.entry(0).state == project.entry(0).state
    assert again.summary(again.entry(0))["done"] == 2


def test_instances(photos: Path) -> None:
    (photos / "dataset.yaml").write_text("landmarks: [tip, joint]\ninstances: true\nimages: .\n")
    project = open_project(photos)
    left, right = Row(instance="left", marks={"tip": (1, 2, 2), "joint": "absent"}), Row(instance="right")
    project.save(0, State(rows=[left, right]), 0)
    data = tp.LandmarkDataset.load(photos)
    assert data.visibility.tolist() == [[2, -1], [0, 0]]
    assert open_project(photos).entry(0).state == State(rows=[left, right])
    project.save(1, State(rows=[left]), 0)
    project.save(0, State(rows=[right.model_copy(update={"marks": left.marks})]), 1)  # a row is taken away
    assert [(s.image.name, s.instance) for s in tp.LandmarkDataset.load(photos).samples] == [
        ("a.png", "right"), ("b.png", "left"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="a name of its own"):
        project.save(2, State(rows=[left, left]), 0)


def test_undo_and_redo_go_on_after_a_restart(photos: Path) -> None:
    project = open_project(photos, "tip")
    for step in range(5):
        project.save(step % 2, marked(tip=(step, 1, 2)), project.entry(step % 2).revision)
    project.step("undo")
    project = open_project(photos)  # as after a kill: nothing was closed
    assert project.journal.counts() == (4, 1)
    assert [project.step("undo") is not None for _ in range(5)] == [True] * 4 + [False]
    assert all(entry.state.rows == [] for entry in project.entries)
    assert (photos / "landmarks.csv").read_text() == "image,split,subject,tip_x,tip_y\n"
    project = open_project(photos)
    while project.step("redo") is not None:
        pass
    assert [entry.state.points() for entry in project.entries] == [[(4, 1)], [(3, 1)], []]
    assert project.journal.counts() == (5, 0)


@pytest.mark.parametrize("torn", [b"", b'{"time":1,"ki'])
def test_a_crash_between_journal_and_table_loses_nothing(photos: Path, torn: bytes) -> None:
    project = open_project(photos, "tip")
    project.save(0, marked(tip=(1, 1, 2)), 0)
    before = (photos / "landmarks.csv").read_bytes()
    project.save(0, marked(tip=(2, 2, 2)), 1)
    (photos / "landmarks.csv").write_bytes(before)
    with (photos / HIDDEN / "landmarks.csv.jsonl").open("ab") as journal:
        journal.write(torn)
    again = open_project(photos)
    assert again.entry(0).state.points() == [(2, 2)]
    assert "journal" in again.notes[0]
    again.save(1, marked(tip=(3, 3, 2)), 0)
    assert open_project(photos).journal.counts() == (3, 0)


def test_what_others_write_is_taken_up_and_never_overwritten(photos: Path) -> None:
    project = open_project(photos, "tip")
    project.save(0, marked(tip=(1, 1, 2)), 0)
    table = photos / "landmarks.csv"
    table.write_text(table.read_text() + "b.png,,,5,6\n")
    with pytest.raises(StaleError, match="changed elsewhere"):
        project.save(1, marked(tip=(9, 9, 2)), 0)
    project.save(0, marked(tip=(2, 2, 2)), 1)  # another image: merged
    assert table.read_text().splitlines()[1:] == ["a.png,,,2,2", "b.png,,,5,6"]
    project.save(1, marked(tip=(9, 9, 2)), project.entry(1).revision)
    table.write_text(table.read_text().replace("9,9", "8,8"))
    with pytest.raises(StaleError, match="changed elsewhere since"):
        project.step("undo")
    assert project.step("undo").called == "a.png"  # type: ignore[union-attr]
    table.write_text("image,tip_x,tip_y\na.png,1,x\n")
    with pytest.raises(DataError, match="finite number"):
        project.save(0, marked(tip=(3, 3, 2)), project.entry(0).revision)
    assert table.read_text() == "image,tip_x,tip_y\na.png,1,x\n"


def test_a_failed_write_is_told_and_can_be_repeated(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = open_project(photos, "tip")
    project.save(0, marked(tip=(1, 1, 2)), 0)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "landmarks.csv")

    with monkeypatch.context() as patch:
        patch.setattr("trigpoint.app.table.write_text", full)
        with pytest.raises(OSError, match="No space"):
            project.save(0, marked(tip=(2, 2, 2)), 1)
    assert project.entry(0).state.points() == [(1, 1)]
    project.save(0, marked(tip=(2, 2, 2)), 1)
    assert project.journal.counts() == (2, 0)
    project.step("undo")
    assert tp.LandmarkDataset.load(photos).points.tolist() == [[[1, 1]]]


def test_landmarks_are_added_and_none_is_lost(photos: Path) -> None:
    project = open_project(photos)
    project.name_landmarks(Naming(landmarks=["l", "r"], pairs=[("l", "r")]))
    project.save(0, marked(l=(1, 1, 2)), 0)
    project.name_landmarks(Naming(landmarks=["l", "r", "tip"], skeleton=[("l", "tip")]))
    about = yaml.safe_load((photos / "dataset.yaml").read_text())
    assert (about["landmarks"], about["pairs"], about["skeleton"]) == (["l", "r", "tip"], [["l", "r"]], [["l", "tip"]])
    assert tp.LandmarkDataset.load(photos).landmarks.skeleton == (("l", "tip"),)
    for names, problem in (
        (["l"], "without r"),
        (["r", "l", "tip"], "another order"),
        (["l", "r", "tip", "a,b"], "comma"),
    ):
        with pytest.raises(DataError, match=problem):
            project.name_landmarks(Naming(landmarks=names))


def test_what_cannot_be_labelled_is_told(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected images"):
        open_folder(tmp_path / "empty")
    with pytest.raises(DataError, match="got nothing there"):
        open_folder(tmp_path / "none")
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    project = open_project(photos, "tip")
    broken = {entry.called: entry.broken for entry in project.entries if entry.broken}
    assert list(broken) == ["broken.png"]
    draw(photos / "=a.png")
    project = open_project(photos, "tip")
    assert "=a.png" not in [entry.called for entry in project.entries]
    assert "rename it" in project.notes[0]
    (photos / "landmarks.csv").write_text("image,tip_x,tip_y\na.png,1,\n")
    with pytest.raises(DataError, match="both x and y"):
        open_folder(photos)


Factory = pytest.TempPathFactory
TEXTS = st.text(st.characters(exclude_characters="=+-@"), max_size=8)  # what a spreadsheet calculates is refused
MARKS = st.one_of(
    st.just("absent"),
    st.tuples(st.floats(-9e5, 9e5), st.floats(-9e5, 9e5), st.sampled_from([1, 2])),
)
STATES = st.builds(
    State,
    rows=st.lists(st.builds(Row, marks=st.dictionaries(st.sampled_from(["tip", "root"]), MARKS)), max_size=1),
    note=TEXTS, doubtful=st.booleans(), split=TEXTS, subject=TEXTS,
)  # fmt: skip


@given(states=st.lists(STATES, min_size=1, max_size=4))
@settings(max_examples=15)
def test_what_is_stored_reads_back_and_can_be_undone(tmp_path_factory: Factory, states: list[State]) -> None:
    folder = draw(tmp_path_factory.mktemp("set") / "a.png", size=(4, 4)).parent
    project = open_project(folder, "tip,root")
    stored = [State()]
    for state in states:
        project.save(0, state, project.entry(0).revision)
        if project.entry(0).state != stored[-1]:
            stored.append(project.entry(0).state)
        assert project.entry(0).state == state.normal(False)
        assert open_project(folder).entry(0).state == state.normal(False)
    for state in reversed(stored[:-1]):
        assert project.step("undo") is not None
        assert project.entry(0).state == state
    assert project.step("undo") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_it_keeps_what_it_called_saved(photos: Path) -> None:
    """A process that saves as fast as it can is killed; what it had told as saved is in the table, which is whole."""
    rng = random.Random(0)
    project = open_project(photos, "tip,root")
    project.save(0, marked(tip=(0, 0, 2)), 0)
    last = 0
    for _ in range(25):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            own = open_project(photos)
            for step in range(last + 1, last + 10_000):
                own.save(step % 2, marked(tip=(step, 1, 2)), own.entry(step % 2).revision)
                os.write(writer, step.to_bytes(8, "big"))
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            told = stream.read(8)  # it has come to work
            time.sleep(rng.uniform(0.0, 0.05))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            told += stream.read()
        last = int.from_bytes(told[-8:], "big")
        again = open_project(photos)
        steps = [int(entry.state.points()[0][0]) for entry in again.entries[:2] if entry.state.rows]
        assert max(steps) in (last, last + 1)
        last = max(steps)
        assert tp.LandmarkDataset.load(photos, check_images=False).points[:, 0, 0].max() == last
    assert last >= 25
    for _ in range(3):
        assert again.step("undo") is not None


def frames_of(folder: Path, count: int = 4) -> Path:
    """What ``frames_folder`` makes of a video called clip."""
    for index in range(count):
        draw(folder / "images" / f"clip_{10 * index:06d}.png", seed=index)
    (folder / HIDDEN).mkdir(exist_ok=True)
    (folder / HIDDEN / "video.txt").write_text("clip\n")
    return folder


def subjects(folder: Path) -> list[str]:
    return [sample.subject for sample in tp.LandmarkDataset.load(folder).samples]


def test_the_video_is_the_subject_of_its_frames(tmp_path: Path) -> None:
    draw(tmp_path / "clip" / "images" / "other.png")
    project = open_project(frames_of(tmp_path / "clip"), "tip")
    assert [entry.state.subject for entry in project.entries] == [*["clip"] * 4, ""]
    first = project.entry(0).state
    with_mark = first.model_copy(update={"rows": marked(tip=(1, 2, 2)).rows})
    project.save(0, with_mark, 0)
    project.save(4, marked(tip=(1, 2, 2)), 0)
    assert subjects(tmp_path / "clip") == ["clip", ""]
    assert project.save(1, first, 0).state == first  # nothing is said of it, so it gets no row
    project.step("undo")
    assert project.step("undo") is project.entry(0)
    assert project.entry(0).state == first
    assert project.step("redo") is project.entry(0)
    assert open_project(tmp_path / "clip").entry(2).state.subject == "clip"  # also when it is opened as a folder
    project.save(0, with_mark.model_copy(update={"subject": "bob"}), project.entry(0).revision)
    again = open_project(tmp_path / "clip")
    assert [entry.state.subject for entry in again.entries] == ["bob", "bob", "bob", "bob", ""]  # as its owner calls it


def test_a_set_of_frames_keeps_its_subjects(tmp_path: Path) -> None:
    folder = frames_of(tmp_path / "clip")
    table = "image,subject,tip_x,tip_y\nclip_000000.png,,1,2\nclip_000010.png,a,1,2\nclip_000020.png,b,1,2\n"
    (folder / "landmarks.csv").write_text(table)
    project = open_project(folder)
    assert [entry.state.subject for entry in project.entries] == ["", "a", "b", ""]
    assert "1 frame of the video 'clip' in the table without a subject" in project.notes[0]
    assert (folder / "landmarks.csv").read_text() == table
