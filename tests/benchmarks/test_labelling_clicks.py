"""The simulated annotator: what it clicks, what it accepts, that it goes on, and a set labelled with templates."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import trigpoint as tp
from trigpoint.errors import ConfigError
from trigpoint.landmarks import ImageDetections
from trigpoint.nn.pretrained import at_hand
from trigpoint.synthetic import write_radiographs

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.__main__ import main

from benchmarks import labelling
from trigpoint.app import learning
from trigpoint.app.learning import Learner


class Close:
    """Finds every landmark 3 px off, but the first one 5 px."""

    def __init__(self, truth: tp.LandmarkDataset) -> None:
        self.truth = {sample.image.name: sample.points for sample in truth.samples}

    def predict(self, files: list[Path]) -> Any:
        points = np.stack([self.truth[Path(file).name] for file in files])
        points[..., 0] += 3.0
        points[:, 0, 0] += 2.0
        found = [ImageDetections(str(f), p[None], np.ones((1, p.shape[0]))) for f, p in zip(files, points, strict=True)]
        return SimpleNamespace(points=points, detections=found)


@pytest.fixture
def truth(tmp_path: Path) -> tp.LandmarkDataset:
    return tp.LandmarkDataset.load(write_radiographs(tmp_path / "truth", 7, (112, 96), 1, {"train": 1.0}))


@pytest.fixture
def learned(truth: tp.LandmarkDataset, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From how many labels was learned; what is learned is ``Close``, in no time."""
    asked: list[int] = []
    close = Close(truth)

    def learn(self: Learner, images: list[int]) -> None:
        asked.append(len(images))
        self.before = len(images)
        run = self.runs / f"learned-{len(asked)}-{len(images)}"
        run.mkdir(parents=True)
        (run / "weights.safetensors").write_bytes(b"")
        self._ready(run, len(images))

    def ready(self: Learner, run: Path, images: int) -> None:
        self.status = {"phase": "ready", "images": images, "quality": ""}
        self.learned(run)

    monkeypatch.setattr(Learner, "learn", learn)
    monkeypatch.setattr(Learner, "_ready", ready)
    monkeypatch.setattr(learning, "at_hand", lambda weights: True)
    monkeypatch.setattr(labelling.Looks, "known", lambda: False)
    monkeypatch.setattr(labelling.tp.Predictor, "load", lambda run: close)
    views = lambda predictor, files: [(one, np.ones(13)) for one in predictor.predict(files).detections]  # noqa: E731
    monkeypatch.setattr(labelling, "predict_views_of", views)
    return asked


@pytest.mark.parametrize("order", labelling.ORDERS)
def test_what_is_far_off_is_dragged_and_the_rest_accepted(
    truth: tp.LandmarkDataset, learned: list[int], tmp_path: Path, order: str
) -> None:
    setting = labelling.Setting(pool=2)
    done = labelling.simulate(truth, tmp_path / order, order, setting, lambda text: None)
    assert [(one.clicks, one.learned) for one in done.labels()] == [(13, 0), (1, 1), (1, 2), (1, 2), *[(1, 4)] * 3]
    assert sorted(one.image for one in done.labels()) == [*range(7)]
    assert learned == [1, 2, 4]
    assert done.corrected == {done.project.names[0]: 6}
    errors = np.sort(done.errors())
    assert (errors < 0.01).sum() == 13 + 6  # placed by hand
    assert errors[13 + 6 :] == pytest.approx(3.0, abs=0.01)  # accepted
    text = labelling.curve({order: done})
    assert [line.split("|")[1:5] for line in text.splitlines()[2:]] == [
        [f" {cell:>{wide}} " for cell, wide in zip(row, (6, 13, len(order) + 8), strict=True)]
        + [f" {share:>{len(order) + 7}} "]
        for *row, share in ((1, 13, 13, "100.0%"), (2, 26, 14, "53.8%"), (4, 52, 16, "30.8%"), (7, 91, 19, "20.9%"))
    ]
    assert "19 clicks for 91 landmarks of 7 images, 20.9% (goal: 15%, not met); 27.5% with" in labelling.verdict(
        order, done
    )


def test_a_missing_landmark_costs_a_click(truth: tp.LandmarkDataset, learned: list[int], tmp_path: Path) -> None:
    for sample in truth.samples:
        sample.visibility[3], sample.points[3] = 0, np.nan
    done = labelling.simulate(truth, tmp_path / "out", "random", labelling.Setting(), lambda text: None)
    assert [one.clicks for one in done.labels()] == [13, *[2] * 6]
    assert len(done.errors()) == 7 * 12


def test_it_goes_on_where_it_was_stopped(
    truth: tp.LandmarkDataset, learned: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, real = labelling.Setting(), labelling.Annotator.label

    def stop(self: Any, *given: Any) -> None:
        if len(self.labels()) == 3:
            raise KeyboardInterrupt
        real(self, *given)

    monkeypatch.setattr(labelling.Annotator, "label", stop)
    with pytest.raises(KeyboardInterrupt):
        labelling.simulate(truth, tmp_path / "out", "random", setting, lambda text: None)
    monkeypatch.setattr(labelling.Annotator, "label", real)
    done = labelling.simulate(truth, tmp_path / "out", "random", setting, lambda text: None)
    whole = labelling.simulate(truth, tmp_path / "whole", "random", setting, lambda text: None)
    assert done.labels() == whole.labels()
    assert learned == [1, 2, 4, 1, 2, 4]


def test_it_stops_where_it_is_told(truth: tp.LandmarkDataset, learned: list[int], tmp_path: Path) -> None:
    part = labelling.simulate(truth, tmp_path / "out", "chosen", labelling.Setting(until=3), lambda text: None)
    assert len(part.labels()) == 3
    assert labelling.curve({"chosen": part}).splitlines()[-1].split("|")[1].strip() == "3"
    whole = labelling.simulate(truth, tmp_path / "out", "chosen", labelling.Setting(), lambda text: None)
    assert whole.labels()[:3] == part.labels()
    assert len(whole.labels()) == 7


def test_bad_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--growth: expected more than 1, got 1"):
        main(["labelling", "--growth", "1"])


@pytest.mark.slow
@pytest.mark.skipif(not at_hand("lite0"), reason="needs the weights lite0")
@pytest.mark.soak
def test_templates_save_clicks(tmp_path: Path) -> None:
    given = ["--images", "4", "--growth", "4", "--orders", "random", "--out", str(tmp_path)]
    text = main(["labelling", *given])
    share = text.splitlines()[3].split("|")[5].strip()
    assert 20 < float(share.rstrip("%")) < 95
    assert "random: " in text
    assert "seed=0" in text


def test_steps_make_a_result_that_no_busy_machine_changes() -> None:
    setting = labelling.Setting(steps=450)
    assert setting.time(9) == pytest.approx(1.9)
    assert setting.overrides(9) == []  # templates
    assert setting.time(81) == labelling.PLENTY
    assert {"train.batch_size=4", "train.epochs=27", "data.input.size=[160, 160]"} <= {*setting.overrides(81)}
    assert labelling.Setting().overrides(81) == []
