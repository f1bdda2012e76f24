"""Several annotators of one set: each sees and writes a table of their own, and nothing of the others'."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from label_sets import client_of, put, state

from trigpoint.app import serving
from trigpoint.app.folder import HIDDEN, open_folder
from trigpoint.app.learning import Learner, snapshot
from trigpoint.app.predictions import Runs
from trigpoint.app.project import Project
from trigpoint.app.serving import Wanted
from trigpoint.data.annotators import begin_table, described
from trigpoint.errors import DataError


@pytest.fixture
def shared(photos: Path) -> Path:
    """A labelled set with two annotators, neither of whom has begun."""
    about = {"landmarks": ["tip", "root"], "annotators": {"ann": "by_ann.csv", "ben": "by_ben.csv"}}
    (photos / "dataset.yaml").write_text(yaml.safe_dump(about))
    rows = ["image,split,subject,spacing_mm,tip_x,tip_y,root_x,root_y,note", "b.png,test,bob,0.2,1,2,3,4,dark"]
    (photos / "landmarks.csv").write_text("\n".join([*rows, "a.png,train,amy,0.1,5,6,,,"]) + "\n")
    return photos


def own(shared: Path, name: str) -> Project:
    project = Project(open_folder(begin_table(described(shared), name)), name)
    project.scan()
    return project


def test_each_writes_a_table_of_their_own_and_sees_no_other(shared: Path) -> None:
    before = (shared / "landmarks.csv").read_bytes()
    ann = own(shared, "ann")
    assert [entry.called for entry in ann.entries] == ["b.png", "a.png", "ä ö.png"]  # in the order of the set
    client = client_of(ann)
    assert all(image["done"] == 0 for image in client.get("/api/set").json()["images"])
    assert client.get("/api/example?landmark=tip&besides=2").json() == {}
    put(client, 0, state({"tip": [9, 8, 2]}, split="test", subject="bob"))
    ben = own(shared, "ben")
    assert all(not row.marks for entry in ben.entries for row in entry.state.rows)
    assert client_of(ben).get("/api/example?landmark=tip&besides=2").json() == {}
    assert (shared / "landmarks.csv").read_bytes() == before
    first = next(csv.DictReader((shared / "by_ann.csv").open(encoding="utf-8")))
    told = {"image": "b.png", "split": "test", "subject": "bob", "spacing_mm": "0.2", "tip_x": "9", "annotator": "ann"}
    assert told.items() <= first.items()
    assert "note" not in first
    assert own(shared, "ann").entry(0).state.rows[0].marks == {"tip": (9, 8, 2)}  # goes on


def test_what_is_learned_is_kept_apart(shared: Path) -> None:
    ann, ben = own(shared, "ann"), own(shared, "ben")
    places = [Learner(one, lambda event: None, lambda run: None).runs for one in (ann, ben)]
    assert places == [shared / HIDDEN / "annotators" / name / "runs" for name in ("ann", "ben")]
    assert Runs(ann, lambda event: None).cache != Runs(ben, lambda event: None).cache
    snapshot(ann, [0])
    snapshot(ben, [])
    assert (shared / ".learning-ann.csv").read_text() != (shared / ".learning-ben.csv").read_text()
    assert open_folder(shared / "by_ann.csv").own == "ann"  # however it is opened
    assert open_folder(shared).own == ""


def test_a_set_without_labels_begins_with_its_images(shared: Path) -> None:
    (shared / "landmarks.csv").unlink()
    ann = own(shared, "ann")
    assert (len(ann.entries), ann.names, ann.opened.new) == (3, ["tip", "root"], True)
    assert not (shared / "by_ann.csv").exists()
    put(client_of(ann), 0, state({"tip": [9, 8, 2]}))
    assert (shared / "by_ann.csv").is_file()
    assert not (shared / "landmarks.csv").exists()


def test_the_command_opens_the_table_of_the_name(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def opened(**options: Any) -> tuple[Path, bool]:
        wanted = Wanted(shared, **options)
        return serving._table_of(wanted, told.append), (shared / "by_ann.csv").exists()

    assert opened(annotator="ann", read_only=True) == (shared / "by_ann.csv", False)  # nothing is written
    assert opened(annotator=" ann ") == (shared / "by_ann.csv", True)
    assert not told
    assert opened() == (shared, True)
    assert "ann, ben have tables of their own" in told[0]
    with pytest.raises(DataError, match=r"unknown annotator 'anne'; did you mean 'ann'\?"):
        opened(annotator="anne")
    (shared / "dataset.yaml").unlink()
    assert opened(annotator="anne") == (shared, True)  # kept with each image, as without annotators
