from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from trigpoint.errors import ConfigError, DataError
from trigpoint.report import figures
from trigpoint.report.overlays import prediction_overlay
from trigpoint.report.style import PALETTE, figure_png, line_style, save

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (40, 60), dtype=np.uint8)


def ydata(figure: Figure, label: str) -> np.ndarray:
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_label() == label]
    assert len(lines) == 1, label
    return np.asarray(lines[0].get_ydata())


def texts(figure: Figure) -> str:
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    labels = [part for axes in figure.axes for part in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left"))]
    ticks = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()]
    keys = [t.get_text() for axes in figure.axes if axes.get_legend() for t in axes.get_legend().get_texts()]
    return "\n".join([*inside, *labels, *ticks, *keys])


def test_ced_counts_errors_up_to_and_at_x_and_inf_as_failure() -> None:
    figure = figures.ced_plot({"a": [1.0, 2.0, 3.0, np.inf, np.nan]}, threshold=3.0, unit="mm")
    line = figure.axes[0].get_lines()[0]
    assert list(line.get_xdata()) == [0, 1, 2, 3, 3]
    assert list(line.get_ydata()) == [0, 0.25, 0.5, 0.75, 0.75]
    assert line.get_label() == "a (25.0 % above 3)"
    assert "error (mm)" in texts(figure)
    with pytest.raises(DataError, match="above 0"):
        figures.ced_plot({}, threshold=0.0)


def test_sigma_curves_name_few_series_and_band_many() -> None:
    epochs = list(range(1, 6))
    few = figures.sigma_curves(epochs, {"eyes": [5, 4, 3, 2, 1.0], "mouth": [9, 8, 7, 6, 5.0]})
    assert list(ydata(few, "eyes")) == [5, 4, 3, 2, 1]
    assert "heatmap px" in texts(few)
    many = figures.sigma_curves(epochs, {f"p{k}": [k + 1.0] * 5 for k in range(21)})
    assert list(ydata(many, "median of 21")) == [11.0] * 5
    assert "sharpest at the end: p0" in texts(many)
    assert "widest at the end: p20" in texts(many)
    with pytest.raises(DataError, match="eyes: expected 5 values"):
        figures.sigma_curves(epochs, {"eyes": [1.0]})


def test_no_epoch_is_marked_before_the_first() -> None:
    epochs = list(range(1, 101))
    drawn = figures.error_curve(epochs, [1.0] * 100, [2.0] * 100).axes[1], figures.sigma_curves(epochs, {"a": epochs})
    for axes in (drawn[0], drawn[1].axes[0]):
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.xaxis.get_majorticklocs() if low <= tick <= high]
        assert min(ticks) >= 1
        assert low < 1


def test_error_curve_joins_across_epochs_without_validation() -> None:
    figure = figures.error_curve([1, 2, 3, 4], [1.0, 0.5, 0.2, 0.1], [np.nan, 3.0, np.nan, 2.0], unit="mm", best=4)
    above, below = figure.axes
    assert above.get_yscale() == "log"
    assert list(below.get_lines()[0].get_xdata()) == [2, 4]
    assert "best 2.00 mm, epoch 4" in texts(figure)


def test_landmark_boxes_are_ranked_and_count_what_was_not_predicted() -> None:
    errors = {"good": [1.0, 1.2], "bad": [9.0, np.inf, np.nan], "absent": [np.nan]}
    figure = figures.per_landmark_bars(errors, "mm")
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks == ["good  (n = 2)", "bad  (n = 1, 1 not predicted)"]
    worst = figures.per_landmark_bars({str(k): [k + 1.0] for k in range(8)}, most=3)
    assert "3 worst of 8" in texts(worst)


def test_time_to_accuracy_draws_series_points_and_the_line_to_beat() -> None:
    curves = {"fixed": ([1.0, 2.0], [9.0, 4.0]), "dlib": ([6.5], [2.71])}
    figure = figures.time_to_accuracy(curves, ("dlib 2.71 px", 2.71))
    assert figure.axes[0].get_yscale() == "log"
    assert list(ydata(figure, "dlib")) == [2.71]
    assert "dlib 2.71 px" in texts(figure)


def test_comparison_shows_the_mean_of_seeds_and_zero_turns_the_log_scale_off() -> None:
    settings = {"a": ([1, 2], [[4.0, 2.0], [2.0, np.nan]]), "none yet": ([1], [np.nan])}
    figure = figures.comparison(settings)
    assert list(ydata(figure, "a")) == [3.0, 2.0]
    assert "none yet" not in texts(figure)
    assert figures.comparison({"a": ([1, 2], [0.0, 1.0])}).axes[0].get_yscale() == "linear"
    with pytest.raises(DataError, match="a: expected errors"):
        figures.comparison({"a": ([1, 2], [1.0])})


def test_nothing_to_draw_is_said() -> None:
    for figure in (
        figures.comparison({}),
        figures.ced_plot({"a": [np.nan]}, 1.0),
        figures.per_landmark_bars({}),
        figures.time_to_accuracy({}),
        figures.sigma_curves([], {}),
        figures.error_curve([], [], []),
        figures.sigma_curves([1], {f"p{k}": [np.nan] for k in range(20)}),
    ):
        assert " no " in " " + texts(figure), texts(figure)
        assert figure_png(figure).startswith(b"\x89PNG")


def test_png_is_small_keeps_white_and_the_colours_of_the_marks() -> None:
    figure = prediction_overlay([GREY] * 4, RNG.uniform(5, 35, (4, 5, 2)), RNG.uniform(5, 35, (4, 5, 2)))
    with Image.open(io.BytesIO(figure_png(figure))) as picture:
        assert picture.mode == "P"
        colours = {colour for _, colour in picture.convert("RGB").getcolors()}
    assert {(255, 255, 255), (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)} <= colours


def test_colour_photographs_stay_true_colour() -> None:
    y, x = np.mgrid[0:1:200j, 0:1:200j]
    photo = (255 * np.stack([x, y, x * y], axis=2)).astype(np.uint8)
    with Image.open(io.BytesIO(figure_png(prediction_overlay([photo], None, None)))) as picture:
        assert picture.mode == "RGB"


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_save_makes_the_folder(tmp_path: Path, ending: str) -> None:
    assert save(figures.comparison({}), tmp_path / "new" / f"a.{ending}").stat().st_size > 500


def test_save_refuses_other_endings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.pdf, \.svg, got '\.jpeg'"):
        save(figures.comparison({}), tmp_path / "a.jpeg")


def test_lines_can_be_told_apart() -> None:
    styles = [str(line_style(i)) for i in range(4 * len(PALETTE))]
    assert len(set(styles)) == len(styles)
