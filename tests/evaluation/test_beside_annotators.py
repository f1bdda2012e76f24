"""A model beside several annotators: who is how far from whom, in which points, and the answer in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trigpoint.data import LandmarkDataset
from trigpoint.evaluation.beside_annotators import POOLED, Beside, beside_annotators
from trigpoint.report.tables import annotator_rows

NAMES = ("sella", "nasion")
COUNT = 12
RIGHT = np.array([2.0, 0.0])


def write(folder: Path, points: np.ndarray, name: str, names: tuple[str, ...] = NAMES) -> None:
    table = pd.DataFrame({"image": [f"{i:02d}.png" for i in range(len(points))]})
    table["split"], table["subject"] = "test", [f"s{i}" for i in range(len(points))]
    for k, landmark in enumerate(names):
        table[f"{landmark}_x"], table[f"{landmark}_y"] = points[:, k, 0], points[:, k, 1]
    table.to_csv(folder / name, index=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The truth is between Ann and Ben, who are 4 px apart; Ben has not placed the nasion of the first image."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 80, (COUNT, 2, 2))
    ann, ben = truth - RIGHT, truth + RIGHT
    ben[0, 1] = np.nan
    (tmp_path / "images").mkdir()
    write(tmp_path, truth, "landmarks.csv")
    write(tmp_path, ann, "ann.csv")
    write(tmp_path, ben[::-1].copy(), "ben.csv")
    table = pd.read_csv(tmp_path / "ben.csv")
    table["image"] = table["image"].to_numpy()[::-1]  # in another order
    table.to_csv(tmp_path / "ben.csv", index=False)
    about = "name: heads\nimages: images\ntable: landmarks.csv\nlandmarks: [sella, nasion]\nspacing_mm: 0.5\n"
    (tmp_path / "dataset.yaml").write_text(about + "annotators: {ann: ann.csv, ben: ben.csv, cleo: cleo.csv}\n")
    return tmp_path


def load(folder: Path) -> LandmarkDataset:
    return LandmarkDataset.load(folder, check_images=False)


def compared(folder: Path, away: float) -> Beside:
    data = load(folder)
    found = beside_annotators(data, data.points + np.array([0.0, away]))
    assert found is not None
    return found


def test_a_model_between_two_annotators_is_nearer_to_them(folder: Path) -> None:
    found = compared(folder, 0.0)
    assert found.people == ("ann", "ben")  # Cleo has not begun
    assert {name: row["mre_mm"] for name, row in found.pairs.items()} == pytest.approx(
        {"model - ann": 1.0, "model - ben": 1.0, "ann - ben": 2.0}
    )
    assert found.landmarks[POOLED]["difference_mm"] == pytest.approx(-1.0)
    assert found.landmarks["nasion"]["n_images"] == COUNT - 1  # two have placed it
    assert found.told().startswith("The model is nearer to the annotators than they are to one another: by 1.00 mm")


def test_a_model_that_errs_more_is_farther_or_as_far(folder: Path) -> None:
    far = compared(folder, 12.0)
    assert far.landmarks[POOLED]["model_mm"] == pytest.approx(np.hypot(1, 6))
    assert far.told().startswith("The model is farther from the annotators than they are from one another: by 4.08 mm")
    data = load(folder)
    some = np.where(np.arange(COUNT)[:, None, None] % 2, 0.0, [[[0.0, 5.65]]])
    as_far = beside_annotators(data, data.points + some)
    assert as_far is not None
    assert as_far.told().startswith("The model is about as far from the annotators as they are from one another")


def test_what_cannot_be_said_is_not(folder: Path) -> None:
    data = load(folder)
    few = beside_annotators(data.subset([0, 1, 2]), data.points[:3])
    assert few is not None
    assert few.told() == "Model minus annotators: -1.00 mm; too few subjects to say more."
    (folder / "ben.csv").unlink()
    alone = beside_annotators(data, data.points)
    assert alone is not None
    assert (list(alone.pairs), alone.landmarks, alone.told()) == (["model - ann"], {}, "")
    rows, against = annotator_rows({"annotators": alone.pairs, "ci95": alone.ci95})
    assert rows[0]["MRE mm"].startswith("1.00 [")
    assert against == []
    (folder / "ann.csv").unlink()
    assert beside_annotators(data, data.points) is None


def test_an_annotator_of_other_landmarks_and_without_spacing(folder: Path) -> None:
    data = load(folder)
    write(folder, data.points[:, :1] + np.array([0.0, 3.0]), "cleo.csv", ("sella",))
    text = (folder / "dataset.yaml").read_text()
    (folder / "dataset.yaml").write_text(text.replace("spacing_mm: 0.5\n", "").replace("landmarks: [", "# ["))
    found = beside_annotators(load(folder), data.points)
    assert found is not None
    assert found.unit == "px"
    assert found.pairs["model - cleo"] == {"mre_px": pytest.approx(3.0), "n_images": COUNT}
    assert found.landmarks["nasion"]["annotators_px"] == pytest.approx(4.0)  # of the two who have it


def test_an_annotator_who_is_called_model_stays_one(folder: Path) -> None:
    text = (folder / "dataset.yaml").read_text()
    (folder / "dataset.yaml").write_text(text.replace("ann: ann.csv", "model: ann.csv"))
    found = compared(folder, 0.0)
    assert list(found.pairs) == ["model (of this run) - model", "model (of this run) - ben", "model - ben"]
    assert found.landmarks[POOLED]["difference_mm"] == pytest.approx(-1.0)


def test_a_damaged_table_is_a_warning(folder: Path) -> None:
    from trigpoint.evaluation.measure import _beside
    from trigpoint.landmarks import ImageDetections, Prediction

    data = load(folder)
    found = [ImageDetections(data.image_name(s), s.points[None], np.ones((1, 2))) for s in data.samples]
    prediction = Prediction(found, data.landmarks, np.ones(2))
    metrics: dict[str, dict[str, object]] = {"ci95": {}}
    assert _beside(metrics, data, prediction) == []
    assert {"annotators", "against_annotators", "standing"} < metrics.keys()
    assert metrics["ci95"].keys() == {"annotators", "against_annotators"}
    (folder / "ben.csv").write_text("image,sella_x\n00.png,left\n")
    (warning,) = _beside(metrics, data, prediction)
    assert warning.startswith("annotators: not compared with; ")
    assert "ben.csv" in warning
