"""What models find: predicted in a process of its own, compared with the labels, and learned while labelling."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from label_sets import client_of, draw, open_project, put, state

import trigpoint as tp
from trigpoint.app import learning, predictions, worker
from trigpoint.app.auditing import likely_wrong
from trigpoint.app.choosing import choose
from trigpoint.app.learning import SNAPSHOT, Learner, labelled, snapshot
from trigpoint.app.predictions import Predictions, Runs, compared
from trigpoint.app.state import Row, State
from trigpoint.errors import DataError, RunError
from trigpoint.landmarks import ImageDetections, LandmarkSet, Prediction
from trigpoint.prediction.views import predict_views

WORKER = """
import json, sys
print(json.dumps({"landmarks": ["tip", "other"], "instances": False}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    x = float(asked["id"])
    print(json.dumps({"id": asked["id"], "rows": [[[x, 2.0, 0.5, 0.25], None]]}), flush=True)
"""


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Processes that answer at once; the commands that began them."""
    begun: list[list[str]] = []
    real = predictions.subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        begun.append(command)
        return real([sys.executable, "-c", WORKER], **options)

    monkeypatch.setattr(predictions, "subprocess", SimpleNamespace(Popen=popen, PIPE=-1))
    return begun


def found_in(image: Any, landmarks: LandmarkSet) -> ImageDetections:
    """As a network would: the brightest pixel, and nothing of a second landmark."""
    y, x = np.unravel_index(np.argmax(image.pixels[0]), image.pixels[0].shape)
    return ImageDetections("a", np.array([[[x, y], [np.nan, np.nan]]], float), np.array([[0.75, np.nan]]))


class Found:
    """What ``predict_views`` asks of a predictor."""

    landmarks, threshold = LandmarkSet(("tip", "root")), None

    def predict(self, images: list[Any], names: list[str]) -> Prediction:
        found = [found_in(image, self.landmarks) for image in images]
        return Prediction(found, self.landmarks, np.zeros(2))


class Alike:
    """To which all images look the same."""

    known = staticmethod(lambda: True)

    def of(self, images: list[Any]) -> np.ndarray[Any, Any]:
        return np.array([[0.6, 0.8]] * len(images))


def test_the_worker_answers_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((100, 120), np.uint8)
    values[30, 50] = 200
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    monkeypatch.setattr("trigpoint.prediction.Predictor.load", lambda run: Found())
    monkeypatch.setattr("trigpoint.prediction.looks.Looks", Alike)
    out = io.StringIO()
    asked = [{"id": 3, "file": str(tmp_path / "a.png")}, {"id": 4, "file": str(tmp_path / "none.png")}]
    asked += [{"id": 5, "file": str(tmp_path / "a.png"), "look": True}]
    worker.main("run", io.StringIO("".join(f"{json.dumps(line)}\n" for line in asked)), out)
    hello, first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert hello == {"landmarks": ["tip", "root"], "instances": False, "together": None}
    assert first == {"id": 3, "rows": [[[50, 30, 0.75, 0], None]], "look": [0.6, 0.8]}  # one point in all views
    assert third == {"id": 5, "look": [0.6, 0.8]}
    assert "expected an image file" in second["error"]

    def refuse(run: str) -> None:
        raise RunError("no run")

    monkeypatch.setattr("trigpoint.prediction.Predictor.load", refuse)
    out = io.StringIO()
    worker.main("run", io.StringIO(""), out)
    assert json.loads(out.getvalue()) == {"failed": "no run"}


def test_views_that_disagree(tmp_path: Path) -> None:
    values = np.zeros((100, 100), np.uint8)
    values[1, 1], values[50, 40] = 255, 200  # the brightest is cut off in the second view
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    found, apart = predict_views(Found(), tmp_path / "a.png")  # type: ignore[arg-type]
    assert found.points[0, 0].tolist() == [1, 1]
    assert apart[0] == pytest.approx(np.hypot(39, 49) * np.sqrt(2) / 3)
    assert np.isnan(apart[1])


def test_what_to_label_next(photos: Path) -> None:
    draw(photos / "c.png", seed=1)  # the same as b.png
    draw(photos / "d.png", seed=0)  # as a.png, which is labelled
    project = open_project(photos, "tip")
    project.save(0, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)
    doubts = {"b.png": 5.0, "c.png": 4.0, "d.png": 9.0, "ä ö.png": 1.0}
    chosen = choose(project, lambda entry: doubts[entry.called], 9)
    assert [one.entry.called for one in chosen] == ["b.png", "ä ö.png", "d.png", "c.png"]
    assert chosen[2].unlike == chosen[3].unlike == 0
    for entry in project.entries[1:]:
        project.save(entry.id, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)
    with pytest.raises(DataError, match="all are labelled"):
        choose(project, lambda entry: 0.0, 1)


def test_predictions_are_compared_and_kept(photos: Path, tmp_path: Path, fake: list[list[str]]) -> None:
    project = open_project(photos, "tip,root")
    project.save(2, State(rows=[Row(marks={"tip": (2.0, 6.0, 2)})]), 0)
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights.safetensors").write_bytes(b"weights")
    events: list[dict[str, Any]] = []
    runs = Runs(project, events.append)
    runs.show(run)
    until(lambda: len(runs.shown[0].found) == 3)
    runs.shown[0]._thread.join(60)
    assert [event["done"] for event in events if event["kind"] == "predicted"] == [1, 2, 3]
    found = compared(project, runs.shown)
    assert found["images"][2] == {"error": [4.0, None], "doubt": [0.25, None], "apart": [None, None]}
    assert found["images"][0]["error"] == [None, None]
    again = Predictions(run, project, runs.cache, events.append)
    assert again.found == runs.shown[0].found
    two = compared(project, [runs.shown[0], again])
    assert two["images"][1]["apart"] == [0.0, None]
    assert "gain" not in two["images"][0]  # what they look like is not known
    runs.shown[0].looks = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [0.8, 0.6]}
    gains = compared(project, runs.shown)["images"]
    assert [gains[number].get("gain") for number in range(3)] == [1, 2, None]  # b.png is less like the labelled one
    (run / "weights.safetensors").write_bytes(b"others")
    assert Predictions(run, project, runs.cache, events.append).found == {}
    assert len(fake) == 1


def test_a_learned_model_predicts_what_comes_next(
    photos: Path, tmp_path: Path, fake: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "AHEAD", 1)
    project = open_project(photos, "tip")
    project.save(0, State(rows=[Row(marks={"tip": (2.0, 6.0, 2)})]), 0)
    runs = Runs(project, lambda event: None)
    runs.show(tmp_path, learned=True)
    until(lambda: 1 in runs.shown[0].found)
    time.sleep(0.1)
    assert set(runs.shown[0].found) == {1}
    assert runs.of(2)[0] == {"run": tmp_path.name, "rows": None, "learned": True, "together": None}  # asked for
    until(lambda: 2 in runs.shown[0].found)
    runs.end()
    runs.shown[0]._thread.join(60)
    assert not runs.shown[0]._thread.is_alive()


def test_a_run_beside_the_page(photos: Path, tmp_path: Path, fake: list[list[str]]) -> None:
    from fastapi.testclient import TestClient

    from trigpoint.app.access import Access
    from trigpoint.app.server import make_app

    project = open_project(photos, "tip,root")
    with TestClient(make_app(project, Access(token="secret"), runs=[tmp_path])) as client:
        client.get("/?token=secret")
        until(lambda: len(client.get("/api/predictions").json()["images"]) == 3)
        assert client.get("/api/images/1/predictions").json() == [
            {"run": tmp_path.name, "rows": [{"tip": [1, 2, 0.5, 0.25]}], "learned": False, "together": None}
        ]
        assert client.get("/api/learning").json() == {"phase": "off"}
        put(client, 1, state({"tip": [1, 2, 2]}))
        assert client.get("/api/predictions").json()["images"]["1"]["error"] == [0.0, None]


def test_a_dead_process_is_told(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    events: list[dict[str, Any]] = []
    runs = Runs(open_project(photos, "tip"), events.append)
    runs.show(tmp_path)
    runs.shown[0]._thread.join(60)
    assert any("has ended" in event.get("error", "") for event in events)


def test_only_finished_images_are_learned_from(photos: Path) -> None:
    project = open_project(photos, "tip,root")
    project.save(0, State(rows=[Row(marks={"tip": (1, 2, 2), "root": "absent"})]), 0)
    project.save(1, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)
    project.save(2, State(rows=[Row(marks={"tip": "absent", "root": "absent"})]), 0)
    assert labelled(project) == [0]
    snapshot(project, [0])
    data = tp.LandmarkDataset.load(photos / SNAPSHOT)
    assert [sample.image.name for sample in data.samples] == ["a.png"]
    assert data.points[0, 0].tolist() == [1, 2]


def test_the_same_images_validate_when_others_come(photos: Path) -> None:
    for number in range(12):
        draw(photos / f"{number}.png", seed=number)
    project = open_project(photos, "tip")
    for entry in project.entries:
        project.save(entry.id, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)

    def validating(images: list[int]) -> set[str]:
        snapshot(project, images, divide=True)
        samples = tp.LandmarkDataset.load(photos / SNAPSHOT).samples
        assert {sample.split for sample in samples} == {"train", "val"}
        return {sample.image.name for sample in samples if sample.split == "val"}

    everything = [entry.id for entry in project.entries]
    before, after = validating(everything[:9]), validating(everything)
    assert before <= after
    assert not (after - before) & {project.entry(number).file.name for number in everything[:9]}


TRAIN = """
import sys, pathlib
if True:
    out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    out.mkdir(parents=True)
    (out / "weights.safetensors").write_bytes(b"")
"""


SAID = {1: "expected more time; give --minutes 7", 2: "too few"}


def test_it_learns_when_there_are_labels(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = open_project(photos, "tip")
    learned: list[Path] = []
    said: list[dict[str, Any]] = []
    begun: list[list[str]] = []
    real = learning.subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        begun.append(command)
        code = TRAIN if len(begun) > 2 else f"import sys; sys.exit('error: {SAID[len(begun)]}')"
        return real([sys.executable, "-c", code, *command[command.index("--minutes") :]], **options)

    recipe = SimpleNamespace(train=SimpleNamespace(num_epochs=4))
    note = {"validated": "MRE 2.0 px"}
    run = SimpleNamespace(load_weights=lambda: ({}, note), recipe=lambda: recipe, epochs_done=lambda: 2)
    monkeypatch.setattr(learning, "RunFolder", lambda path: run)
    monkeypatch.setattr(learning, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=-3))
    monkeypatch.setattr(learning, "_EVERY", 0.02)
    monkeypatch.setattr(learning, "fewest", lambda project: 2)
    monkeypatch.setattr(learning, "can_continue", lambda run: True)
    learner = Learner(project, lambda event: said.append(event["status"]), learned.append)
    learner.start()
    for number in (0, 1):
        project.save(number, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)
    until(lambda: learner.status["phase"] == "failed")
    assert learner.status["why"] == "too few"
    project.save(2, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)
    until(lambda: learner.status["phase"] == "ready")
    learner.end()
    assert learner.status == {"phase": "ready", "images": 3, "quality": "MRE 2.0 px"}
    assert learned == [photos / ".trigpoint" / "runs" / "learned-3-3"]
    assert "learning" in {status["phase"] for status in said}
    assert [command[command.index("--minutes") + 1] for command in begun] == ["1.2", "7", "1.3"]
    assert all(str(photos / SNAPSHOT) in command for command in begun)
    assert not any("train.init" in word for command in begun for word in command)  # there was nothing to begin from
    later = Learner(project, lambda event: None, learned.append, growth=2, overrides=lambda images: [f"seed={images}"])
    later.start()
    later.end()
    assert len(learned) == 2  # the run that is there is used at once
    assert later.due() == 6
    later = Learner(project, lambda event: None, learned.append, overrides=lambda images: [f"seed={images}"])
    later.resume()
    later.learn([0, 1])
    assert {f"train.init={learned[0]}", "seed=2"} <= {*begun[-1]}
    assert learned[-1].name == "learned-4-2"


def test_templates_propose_from_the_first_label_on(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = open_project(photos, "tip")
    for at_hand, need in ((True, 1), (False, 5)):
        monkeypatch.setattr(learning, "at_hand", lambda weights, at_hand=at_hand: at_hand)
        assert Learner(project, lambda event: None, lambda run: None).status["need"] == need
    monkeypatch.setattr(learning, "at_hand", lambda weights: True)
    project.opened = replace(project.opened, about=replace(project.opened.about, instances=True))
    assert learning.fewest(project) == 5  # templates find one of each landmark


def test_likely_wrong_labels_are_listed_by_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    face = np.array([[10, 10], [30, 10], [20, 25], [20, 35]], float)
    names = ["l", "r", "nose", "chin"]
    for number in range(25):
        draw(tmp_path / f"{number:02d}.png", seed=number)
    project = open_project(tmp_path, ",".join(names))
    for entry in project.entries:
        points = face + rng.normal(0, 0.5, face.shape)
        if entry.id == 7:
            points[3] += 8
        marks = {name: (*point, 2) for name, point in zip(names, points.tolist(), strict=True)}
        if entry.id < 4:
            with pytest.raises(DataError):
                likely_wrong(project)
        project.save(entry.id, State(rows=[Row(marks=marks)]), 0)
    found = client_of(project).get("/api/audit").json()
    worst = max(found, key=lambda number: found[number]["score"])
    assert (worst, found[worst]["kind"]) == ("7", "shifted")
