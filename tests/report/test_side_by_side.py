from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trigpoint import report
from trigpoint.errors import ConfigError, DataError
from trigpoint.report import Compared, comparison_grid
from trigpoint.report.style import figure_png

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 255, (40, 60), dtype=np.uint8) for _ in range(2)]
TRUTH = np.array([[[10.0, 20.0], [30.0, 30.0]], [[5.0, 5.0], [np.nan, np.nan]]])
MAPS = np.zeros((2, 2, 10, 15))
MAPS[:, 0, 5, 2], MAPS[:, 1, 7, 8] = 0.5, 4.0


def moved(x: float, y: float) -> np.ndarray:
    return TRUTH + np.array([x, y])


def rows(figure: Figure, count: int) -> list[list[Axes]]:
    per_row = len(figure.axes) // count
    return [figure.axes[i * per_row : (i + 1) * per_row] for i in range(count)]


def below(axes: Axes) -> list[tuple[str, Any]]:
    return [(text.get_text(), text.get_fontweight()) for text in axes.texts if text.get_position()[1] < 0]


def above(figure: Figure) -> dict[str, float]:
    """Each name over the first row and the middle it stands over, in inches."""
    found = {}
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_position()[1] > 1:
                box = axes.get_position()
                found[text.get_text()] = (box.x0 + box.width * text.get_position()[0]) * figure.get_figwidth()
    return found


def marks(axes: Axes, marker: str) -> list[list[float]]:
    return [xy.tolist() for line in axes.get_lines() if line.get_marker() == marker for xy in line.get_xydata()]


def test_a_row_per_image_and_the_least_error_bold() -> None:
    lost = moved(6.0, 8.0)
    lost[0, 1] = np.nan
    methods = {"far": Compared(moved(3.0, 4.0)), "near": Compared(moved(0.0, 2.0)), "lost": Compared(lost)}
    figure = comparison_grid(IMAGES, TRUTH, methods, ["a.png", "b.png"], scale=[0.25, 1.0], unit="cells")
    first, second = rows(figure, 2)
    assert [len(first), len(second)] == [4, 4]
    assert [below(axes) for axes in first] == [
        [("a.png", "normal")],
        [("1.25 cells", "normal")],
        [("0.50 cells", "bold")],
        [("2.50 cells, 1 not predicted", "normal")],
    ]
    assert [below(axes)[0][0] for axes in second] == ["b.png", "5.00 cells", "2.00 cells", "10.00 cells"]
    assert list(above(figure)) == ["annotated", "far", "near", "lost"]
    assert marks(first[0], "o") == TRUTH[0].tolist()
    assert marks(first[0], "x") == []
    assert marks(first[2], "x") == moved(0.0, 2.0)[0].tolist()
    assert figure_png(figure)


def test_pairs_stand_together_under_one_name() -> None:
    methods = {"FT": Compared(moved(1.0, 0.0), MAPS), "shape model": Compared(moved(2.0, 0.0))}
    figure = comparison_grid(IMAGES, TRUTH, methods)
    first, _ = rows(figure, 2)
    assert len(first) == 4
    points, maps = first[1], first[2]
    assert [len(axes.get_images()) for axes in first] == [1, 1, 2, 1]
    assert marks(points, "x") == moved(1.0, 0.0)[0].tolist()
    assert (marks(maps, "x"), marks(maps, "o")) == ([], TRUTH[0].tolist())
    left, right = points.get_position(), maps.get_position()
    assert above(figure)["FT"] == pytest.approx((left.x0 + right.x1) / 2 * figure.get_figwidth(), abs=1e-6)
    gaps = [b.get_position().x0 - a.get_position().x1 for a, b in pairwise(first)]
    assert gaps[1] < gaps[0] / 2
    assert gaps[0] == pytest.approx(gaps[2])


def test_maps_cover_the_image_and_each_is_scaled_to_its_peak() -> None:
    figure = comparison_grid(IMAGES, TRUTH, {"FT": Compared(moved(1.0, 0.0), MAPS)}, combined=True)
    first, _ = rows(figure, 2)
    assert len(first) == 2
    image, heat = first[1].get_images()
    assert tuple(heat.get_extent()) == tuple(image.get_extent()) == (-0.5, 59.5, 39.5, -0.5)
    strongest = np.asarray(heat.get_array())
    assert (strongest[5, 2], strongest[7, 8], strongest.sum()) == (1.0, 1.0, 2.0)
    assert marks(first[1], "x") == moved(1.0, 0.0)[0].tolist()


def test_from_four_methods_on_one_panel_each() -> None:
    some = {str(i): Compared(moved(i, 0.0), MAPS) for i in range(3)}
    assert len(comparison_grid(IMAGES, TRUTH, some).axes) == 2 * 7
    more = {**some, "3": Compared(moved(3.0, 0.0), MAPS)}
    assert len(comparison_grid(IMAGES, TRUTH, more).axes) == 2 * 5
    assert len(comparison_grid(IMAGES, TRUTH, more, combined=False).axes) == 2 * 9


def test_what_is_outside_does_not_move_the_picture() -> None:
    figure = comparison_grid(IMAGES, TRUTH, {"wild": Compared(moved(500.0, 0.0))})
    for axes in figure.axes:
        assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 59.5), (39.5, -0.5))
    assert below(figure.axes[1]) == [("500.00 px", "normal")]  # a single method is not the best of anything


def test_nothing_annotated_and_nothing_predicted_are_said() -> None:
    nowhere = np.full_like(TRUTH, np.nan)
    figure = comparison_grid(IMAGES[:1], TRUTH[:1], {"a": Compared(nowhere[:1]), "b": Compared(TRUTH[:1])})
    assert [below(axes) for axes in figure.axes[1:]] == [[("2 not predicted", "normal")], [("0.00 px", "bold")]]
    blank = comparison_grid(IMAGES[:1], nowhere[:1], {"a": Compared(TRUTH[:1]), "b": Compared(TRUTH[:1])})
    assert [below(axes) for axes in blank.axes[1:]] == [[("", "normal")], [("", "normal")]]


def test_long_names_are_cut_in_the_middle() -> None:
    methods = {"a very long name of a method": Compared(TRUTH)}
    figure = comparison_grid(
        IMAGES[:1], TRUTH[:1], {k: Compared(TRUTH[:1]) for k in methods}, ["x" * 20 + "0123456789"]
    )
    assert "a very lon…a method" not in methods
    assert list(above(figure)) == ["annotated", "a very lo… a method"]
    assert below(figure.axes[0]) == [("x" * 12 + "…" + "xxx0123456789", "normal")]


def test_what_does_not_fit_is_refused() -> None:
    fine = Compared(TRUTH, MAPS)
    with pytest.raises(DataError, match="got 0 and 1"):
        comparison_grid([], TRUTH[:0], {"a": fine})
    with pytest.raises(DataError, match="got 2 and 0"):
        comparison_grid(IMAGES, TRUTH, {})
    with pytest.raises(DataError, match=r"truth: expected \(2, K, 2\)"):
        comparison_grid(IMAGES, TRUTH[0], {"a": fine})
    with pytest.raises(DataError, match=r"a: expected points \(2, 2, 2\) as the truth, got \(2, 1, 2\)"):
        comparison_grid(IMAGES, TRUTH, {"a": Compared(TRUTH[:, :1])})
    with pytest.raises(DataError, match=r"a: expected maps \(2, 2, 'h', 'w'\), got \(2, 1, 10, 15\)"):
        comparison_grid(IMAGES, TRUTH, {"a": Compared(TRUTH, MAPS[:, :1])})
    with pytest.raises(DataError, match=r"one stride of image 0 \(40 x 60\), got 10 x 10; pass the network's input"):
        comparison_grid(IMAGES, TRUTH, {"a": Compared(TRUTH, MAPS[..., :10])})
    with pytest.raises(DataError, match=r"scale: expected one number or 2, one per image, got \(3,\)"):
        comparison_grid(IMAGES, TRUTH, {"a": fine}, scale=[1, 2, 3])
    with pytest.raises(ConfigError, match="captions: expected 2"):
        comparison_grid(IMAGES, TRUTH, {"a": fine}, ["one"])


def test_the_package_offers_the_figure_of_settings_beside_the_module_of_that_name() -> None:
    assert inspect.isfunction(report.comparison)
    assert report.comparison.__module__ == "trigpoint.report.figures"
