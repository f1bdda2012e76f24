"""Names that mean something to matplotlib, in every figure that is made of names."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import LandmarkSet, Sample
from trigpoint.metrics import precision_recall
from trigpoint.report import figures, style
from trigpoint.report.detection_figures import precision_recall_plot
from trigpoint.report.landmark_figures import Dot, landmark_dots
from trigpoint.report.overlays import prediction_overlay
from trigpoint.report.run_figures import time_points
from trigpoint.report.sheet import contact_sheet
from trigpoint.report.side_by_side import Compared, comparison_grid

NAMES = ["d$x^{$", "$", "p$5_to_$6.png", "_a", "a\nb", "\\frac{", "a\\$", "%s {0}", "^_", "$\\mathdefault{10^{-2}}$"]
EPOCHS = [1.0, 2.0, 3.0]
IMAGE = np.zeros((16, 20), np.uint8)

Draw = Callable[[list[str], Path], Figure]


def curves(names: list[str]) -> dict[str, list[float]]:
    return {name: [3.0, 2.0, 1.0 + i] for i, name in enumerate(names)}


def drawn_over_time(names: list[str]) -> dict[str, tuple[list[float], list[float]]]:
    return {name: (EPOCHS, values) for name, values in curves(names).items()}


def points(names: list[str]) -> np.ndarray:
    return np.random.default_rng(0).uniform(2, 14, (1, len(names), 2))


def detected(names: list[str], _: Path) -> Figure:
    true = [[[[1.0, 1.0]] for _ in names]]
    return precision_recall_plot(precision_recall(true, true, [[[0.9] for _ in names]], 5), names, chosen=0.5)


def sheet(names: list[str], folder: Path) -> Figure:
    file = folder / "p$5_to_$6.png"
    Image.fromarray(IMAGE).save(file)
    sample = Sample(file, points(names)[0], np.full(len(names), 2), subject=names[0])
    return contact_sheet(LandmarkDataset([sample], LandmarkSet(tuple(names))))


FIGURES: dict[str, Draw] = {
    "sigma": lambda names, _: figures.sigma_curves(EPOCHS, curves(names)),
    "error": lambda names, _: figures.error_curve(EPOCHS, [1e-1, 1e-2, 1e-4], [3.0, 2.0, 1.0], best=3, what=names[0]),
    "cumulative": lambda names, _: figures.ced_plot(curves(names), 5.0),
    "dots": lambda names, _: landmark_dots({name: {each: Dot(1.0) for each in names} for name in names[:10]}, names[0]),
    "runs": lambda names, _: time_points(drawn_over_time(names), names[0]),
    "bars": lambda names, _: figures.per_landmark_bars(curves(names)),
    "time": lambda names, _: figures.time_to_accuracy(drawn_over_time(names), (names[0], 2.0)),
    "settings": lambda names, _: figures.comparison(drawn_over_time(names), names[0], names[-1]),
    "detected": detected,
    "overlay": lambda names, _: prediction_overlay([IMAGE], points(names), points(names) + 1, names, [names[0]]),
    "side by side": lambda names, _: comparison_grid(
        [IMAGE], points(names), {name: Compared(points(names)) for name in names}, [names[0]]
    ),
    "sheet": sheet,
}
NAMED = ("sigma", "cumulative", "bars", "time", "settings", "detected")  # figures in which each name has a line


@pytest.mark.parametrize("kind", FIGURES)
def test_a_name_is_drawn_as_it_is(kind: str, tmp_path: Path) -> None:
    figure = FIGURES[kind](NAMES, tmp_path)
    for ending in (".png", ".svg", ".pdf") if kind == "sigma" else (".png",):
        assert style.save(figure, tmp_path / f"figure{ending}").stat().st_size > 1000
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert not any(text.get_parse_math() for text in texts)
    told = "\n".join(text.get_text() for text in texts)
    assert [name for name in NAMES if kind in NAMED and name not in told] == []
    assert "mathdefault" not in told.replace(NAMES[-1], "")


@pytest.mark.soak
@pytest.mark.parametrize("kind", FIGURES)
def test_any_name_is_drawn(kind: str, tmp_path: Path) -> None:
    ran = random.Random(7)
    letters = "$^_{}\\%&#~ab \n\t'\"<>[]/é中\u200f\x07"
    for _ in range(40):
        names = ["".join(ran.choices(letters, k=ran.randint(1, 9))) + str(i) for i in range(ran.randint(1, 11))]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph|constrained_layout not applied")
            assert style.figure_png(FIGURES[kind](names, tmp_path))
