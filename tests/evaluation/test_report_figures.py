"""What ``--figure`` draws: the numbers of the tables, in their unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from reports import NAMES, detecting, measuring, report, truth

from trigpoint.errors import ConfigError, DataError
from trigpoint.evaluation.figures import curve, landmarks, write_figures
from trigpoint.report import Picture
from trigpoint.report.landmark_figures import Dot, landmark_dots
from trigpoint.report.style import PALETTE

pytestmark = pytest.mark.usefixtures("painted")
ERRORS = np.array([[1.0, 2.0, 9.0]] + [[1.0, 2.0, 6.0], [3.0, 4.0, 6.0]] * 6)


def rows(figure: Figure) -> list[str]:
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def dots(figure: Figure, colour: str) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[0].get_lines() if line.get_color() == colour and len(line.get_xdata()) == 1]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def test_figures_are_in_mm_where_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    made = report(truth(13, (0.5, 0.1)), ERRORS)
    monkeypatch.setattr("trigpoint.evaluation.report.galleries", lambda report: [])  # there are no images
    drawn = curve({"a": made})
    assert drawn.axes[0].get_xlabel() == "error (mm)"
    np.testing.assert_allclose(drawn.axes[0].get_lines()[0].get_xdata()[1], 0.5, atol=1e-9)
    marks = landmarks({"a": made})
    assert rows(marks) == list(NAMES)
    found = dots(marks, PALETTE[0])
    np.testing.assert_allclose([x for x, _ in found], [0.5 * 25 / 13, 0.5 * 38 / 13, 3.0])
    assert marks.axes[0].get_xlabel() == "radial error (mm)\ndot: mean, upright line: median, line: 95 % interval"
    of_page = [one.image for one in made.figures()[:2] if isinstance(one, Picture) and isinstance(one.image, Figure)]
    assert [one.axes[0].get_xlabel().split("\n")[0] for one in of_page] == ["error (mm)", "radial error (mm)"]
    assert curve({"a": report(truth(13), ERRORS)}).axes[0].get_xlabel() == "error (px)"


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_two_figures_are_written(tmp_path: Path, ending: str) -> None:
    made = report(truth(4), ERRORS[:4])
    files = made.to_figures(tmp_path / f"e.{ending}")
    assert [file.name for file in files] == [f"e.{ending}", f"e-landmarks.{ending}"]
    assert all(file.stat().st_size > 2000 for file in files)
    assert ending != "pdf" or b"/Type3" not in files[0].read_bytes()
    with pytest.raises(DataError, match="expected a new file"):
        made.to_figures(tmp_path / f"e.{ending}")
    with pytest.raises(ConfigError, match="expected a figure ending in"):
        made.to_figures(tmp_path / "e.jpg")


def test_few_subjects_are_said_to_have_no_interval() -> None:
    assert "too few subjects for intervals" in landmarks({"a": report(truth(4), ERRORS[:4])}).axes[0].get_xlabel()


def test_several_runs_stand_side_by_side_and_keep_the_order_of_the_first() -> None:
    pair = {"a": {"x": Dot(1.0, 0.5, 1.5), "y": Dot(2.0)}, "b": {"x": Dot(4.0), "y": Dot(3.0)}}
    figure = landmark_dots(pair, "error")
    assert rows(figure) == ["x", "y"]
    (ours, theirs) = (dots(figure, PALETTE[i]) for i in range(2))
    assert [x for x, _ in ours] == [1.0, 2.0]
    assert [x for x, _ in theirs] == [4.0, 3.0]
    assert all(mine > other for (_, mine), (_, other) in zip(ours, theirs, strict=True))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    worst = landmark_dots({"a": {str(k): Dot(float(k)) for k in range(9)}}, "error", most=3)
    assert rows(worst) == ["6", "7", "8"]
    assert worst.axes[0].get_title("left") == "the 3 worst of 9 landmarks"
    shares = landmark_dots({"a": {"x": Dot(0.9), "y": Dot(0.2), "none": Dot(np.nan)}}, "F1", share=True)
    assert rows(shares) == ["x", "y"]
    assert "no number is known" in [text.get_text() for text in landmark_dots({}, "error").axes[0].texts]
    with pytest.raises(DataError, match="10 runs at most, got 11"):
        landmark_dots({str(i): {"x": Dot(1.0)} for i in range(11)}, "error")


def test_several_instances_have_precision_against_recall(tmp_path: Path) -> None:
    made = detecting([[[10.0, 13.0], [60.0, 60.0]], [[10.0, 10.0]], [[90.0, 10.0]], [], [[60.0, 61.0]]])
    assert len(made.to_figures(tmp_path / "e.pdf")) == 2
    figure = landmarks({"a": made})
    found = [dots(figure, PALETTE[i])[0][0] for i in range(3)]
    np.testing.assert_allclose(found, [0.4, 0.8, 8 / 15])
    both = curve({"a": made, "b": made})
    assert [text.get_text() for text in both.axes[0].get_legend().get_texts()][:2] == ["a (AP 0.320)", "b (AP 0.320)"]
    assert rows(landmarks({"a": made, "b": made})) == ["tip"]


def test_measurements_have_a_figure_of_their_own(tmp_path: Path) -> None:
    files = measuring().to_figures(tmp_path / "e.svg")
    assert [file.name for file in files] == ["e.svg", "e-landmarks.svg", "e-measurements.svg"]
    assert all(file.stat().st_size > 2000 for file in files)
    assert [file.name for file in report(truth(13), ERRORS).to_figures(tmp_path / "f.svg")] == [
        "f.svg",
        "f-landmarks.svg",
    ]
    assert len(write_figures(tmp_path / "g.svg", {"a": measuring(), "b": measuring()})) == 2
