from __future__ import annotations

import numpy as np
import pytest

from trigpoint.errors import DataError
from trigpoint.report import Panel, bland_altman
from trigpoint.report.style import figure_png


def panel(unit: str = "deg") -> Panel:
    return Panel(np.array([1.0, 2.0, np.nan]), np.array([0.5, -0.5, 1.0]), unit, 0.1, (-1.0, 1.2))


def test_each_measurement_has_its_points_bias_and_limits() -> None:
    figure = bland_altman(
        {"SNA": panel(), "$share$": panel("ratio"), "none": panel()._replace(means=np.full(3, np.nan))}
    )
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == ["SNA (deg)", "$share$", "none (deg)"]
    points = next(line for line in shown[0].get_lines() if line.get_marker() == "o")
    assert np.asarray(points.get_xydata()).tolist() == [[1.0, 0.5], [2.0, -0.5]]
    drawn = {str(line.get_gid()): float(line.get_ydata()[0]) for line in shown[0].get_lines() if line.get_gid()}
    assert drawn == {"bias": 0.1, "limit": 1.2}
    assert [text.get_text() for text in shown[2].texts] == ["nothing to compare"]
    assert figure_png(figure)


def test_one_panel_and_too_many() -> None:
    assert len(bland_altman({"x": panel()._replace(bias=None, limits=None)}).axes) == 1
    many = bland_altman({f"m{i}": panel() for i in range(30)})
    assert sum(axes.axison for axes in many.axes) == 24
    assert many.get_supxlabel() == "mean of both (24 of 30 measurements)"
    with pytest.raises(DataError, match="got none"):
        bland_altman({})
    with pytest.raises(DataError, match="as many means as differences"):
        bland_altman({"x": panel()._replace(means=np.ones(2))})
