"""Pictures of a run that looks at glimpses, from the command line to the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_entry import call
from PIL import Image

from trigpoint.evaluation import evaluate

RECIPE = """
data: {input: {size: [32, 32]}, workers: 0}
method: {name: foveated, trunk: small, glimpse: 16, train_iterations: 1, train_starts: 1, iterations: 2}
train: {epochs: 1, batch_size: 16, accelerator: cpu}
"""


@pytest.fixture(scope="module")
def glimpsed(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("glimpsed")
    (folder / "tiny.yaml").write_text(RECIPE)
    result = call("train", folder / "tiny.yaml", f"data.path={drawn}", "--out", folder / "run", "--quiet")
    assert result.exit_code == 0, result.output
    assert "history.png" in result.stdout
    assert "sigma.png" not in result.stdout  # there is none
    return folder / "run"


def test_train_names_the_curves_that_are_there(trained: Path) -> None:
    result = call("train", trained / "config.yaml", "--out", trained, "--quiet")
    assert f"{trained / 'history.png'}, {trained / 'sigma.png'}" in result.stdout


def test_a_run_whose_widths_stay_has_no_picture_of_them(
    drawn: Path, recipe: Path, trained: Path, tmp_path: Path
) -> None:
    settings = ("method.schedule.name=fixed", "train.epochs=2", f"data.path={drawn}")
    result = call("train", recipe, *settings, "--out", tmp_path / "run", "--quiet")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'run' / 'history.png'}\n" in result.stdout
    sigma = tmp_path / "run" / "sigma.png"
    assert not sigma.exists()
    sigma.write_bytes((trained / "sigma.png").read_bytes())  # as earlier versions left it
    page, moving = evaluate(tmp_path / "run", drawn).to_html(), evaluate(trained, drawn).to_html()
    assert ["Target width" in page, "Target width" in moving] == [False, True]


def test_predict_draws_a_path_and_the_glimpses_of_each_image(drawn: Path, glimpsed: Path, tmp_path: Path) -> None:
    images = [drawn / "images" / name for name in ("00003.png", "00004.png")]
    out, folder = tmp_path / "p.csv", tmp_path / "traced"
    result = call("predict", glimpsed, *images, "--out", out, "--trace", folder)
    assert result.exit_code == 0, result.output
    names = ["00003_glimpses.png", "00003_path.png", "00004_glimpses.png", "00004_path.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert "drew 2 paths and 2 stacks of glimpses" in result.stderr
    for file in folder.iterdir():
        with Image.open(file) as picture:
            assert min(picture.size) > 100
    again = call("predict", glimpsed, *images, "--out", tmp_path / "q.csv", "--trace", folder)
    assert again.exit_code == 2
    assert "00003_path.png: exists already" in again.stderr
    assert not (tmp_path / "q.csv").exists()


def test_a_heatmap_run_has_no_trace_and_nothing_is_written(drawn: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    result = call("predict", trained, drawn / "images", "--out", out, "--trace", tmp_path / "traced")
    assert result.exit_code == 2
    assert "foveated or cascade, got heatmap" in result.stderr
    assert list(tmp_path.iterdir()) == []
    result = call("predict", trained, drawn / "images", "--out", out, "--group", 5)
    assert result.exit_code == 2
    assert "--group: is for multi-instance runs, got one of method heatmap" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_report_shows_the_glimpses_of_such_a_run_only(drawn: Path, glimpsed: Path, trained: Path) -> None:
    titles = ("Path of the guess", "What the network sees", "Features")
    page, other = (evaluate(run, drawn).to_html() for run in (glimpsed, trained))
    assert [title in page for title in titles] == [True] * 3
    assert [title in other for title in titles] == [False] * 3
