"""A model that was validated on too few subjects says so, wherever somebody might take its silence for praise."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.prediction import Predictor, load_predictor
from trigpoint.synthetic import write_catheter
from trigpoint.training import train

TOLD = (
    "note: this model cannot tell how sure it is of points, nor whether images are unlike those of its training: it "
    "was validated on 6 subjects, 20 are needed (9 to be sure of points)"
)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and a run with 6 validation subjects."""
    root = tmp_path_factory.mktemp("few")
    write_catheter(root / "set", 12, size=32, seed=1, splits={"train": 0.5, "val": 0.5})
    options = ["method.name=heatmap", "method.network.name=unet", "method.network.width=2", "method.network.depth=1"]
    more = [f"data.path={root / 'set'}", "data.input.size=[32,32]", "train.epochs=2", "data.workers=0"]
    train("fast", [*options, *more, "train.batch_size=4"], root / "run")
    return root


def predict(few: Path, out: Path, *more: str, model: str = "run") -> tuple[int, str]:
    asked = ["predict", str(few / model), str(few / "set/images"), "--out", str(out), *more]
    result = CliRunner().invoke(app, asked)
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("how", [[], ["--processes", "1"]], ids=["alone", "in blocks"])
def test_predict_says_what_the_model_cannot_tell(few: Path, tmp_path: Path, how: list[str]) -> None:
    code, said = predict(few, tmp_path / "found.csv", *how)
    assert (code, said.count(TOLD)) == (0, 1), said


@pytest.mark.parametrize("how", [[], ["--processes", "1"]], ids=["alone", "in blocks"])
def test_asked_for_flags_it_says_what_to_do(few: Path, tmp_path: Path, how: list[str]) -> None:
    code, said = predict(few, tmp_path / "found.csv", "--flag", *how)
    assert code == 2
    assert "ask who made the model for one with 20 validation subjects or more, or train one" in said
    assert not (tmp_path / "found.csv").exists()


def test_a_file_of_it_and_its_card_say_the_same(few: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from trigpoint.export.export import export_run

    export_run(few / "run", few / "model.onnx")
    assert load_predictor(few / "model.onnx").cannot_tell == Predictor.load(few / "run").cannot_tell
    _, said = predict(few, tmp_path / "found.csv", model="model.onnx")
    assert TOLD in said
    card = (few / "run/card.md").read_text()
    assert "Nothing warns of them: it was validated on 6 subjects, 20 are needed" in card
    assert "`predict` warns" not in card
