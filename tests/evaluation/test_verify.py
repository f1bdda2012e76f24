"""A run is compared with what it noted of itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.errors import RunError
from trigpoint.evaluation.verify import OTHER, SAME, UNKNOWN, verify
from trigpoint.nn.weights import pack, unpack
from trigpoint.runs import RunFolder
from trigpoint.runs.record import card, read_record
from trigpoint.synthetic import write_catheter
from trigpoint.training import train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set and a run that was trained on it."""
    root = tmp_path_factory.mktemp("verified")
    write_catheter(root / "set", 24, size=32, seed=1, splits={"train": 0.5, "val": 0.5})
    options = ["method.name=heatmap", "method.network.name=unet", "method.network.width=2", "method.network.depth=1"]
    more = [f"data.path={root / 'set'}", "data.input.size=[32,32]", "train.epochs=2", "data.workers=0"]
    train("fast", [*options, *more, "train.batch_size=4"], root / "run")
    return root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def outcomes(run: Path) -> dict[str, str]:
    return {check.what: check.outcome for check in verify(run)}


def test_a_run_that_nobody_touched_is_as_it_was_made(run: Path) -> None:
    assert outcomes(run) == dict.fromkeys(("weights", "card", "versions", "data", "error", "radii"), SAME)
    result = CliRunner().invoke(app, ["verify", str(run)])
    assert result.exit_code == 0, result.output
    assert "as recorded" in result.output


def test_other_weights_are_found_by_their_hash_and_by_what_they_find(run: Path) -> None:
    folder = RunFolder(run)
    state, note = unpack(folder.weights)
    other = {key: value.flip(0) if value.ndim == 4 else value for key, value in state.items()}
    folder.weights.write_bytes(pack(other, note))
    found = outcomes(run)
    assert (found["weights"], found["error"], found["data"]) == (OTHER, OTHER, SAME)
    result = CliRunner().invoke(app, ["verify", str(run)])
    assert result.exit_code == 1
    assert "is not as it was made: weights" in " ".join(result.output.split())


def test_other_radii_versions_and_labels_are_found(run: Path, made: Path, tmp_path: Path) -> None:
    marks = (run / "landmarks.yaml").read_text()
    radius = marks.split("tip: ")[1].split("\n")[0]
    (run / "landmarks.yaml").write_text(marks.replace(f"tip: {radius}", f"tip: {float(radius) * 1.2:.4f}"))
    env = (run / "env.txt").read_text()
    (run / "env.txt").write_text(env.replace("numpy ", "numpy 0."))
    found = outcomes(run)
    assert (found["radii"], found["versions"], found["error"]) == (OTHER, OTHER, SAME)
    table = pd.read_csv(made / "set/landmarks.csv")
    shutil.copytree(made / "set", tmp_path / "set")
    table["tip_x"] = 16.0
    table.to_csv(tmp_path / "set/landmarks.csv", index=False)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(made / "set"), str(tmp_path / "set")))
    found = outcomes(run)
    assert (found["data"], found["error"]) == (OTHER, OTHER)


def test_a_changed_card_is_found(run: Path) -> None:
    file, noted = run / "card.md", json.loads((run / "record.json").read_text())
    text = file.read_text(encoding="utf-8")
    file.write_bytes(text.replace("\n", "\r\n").encode())  # as another system writes it
    assert outcomes(run)["card"] == SAME
    file.write_text(text.replace("12 subjects", "1200 subjects"), encoding="utf-8")
    assert outcomes(run)["card"] == OTHER
    result = CliRunner().invoke(app, ["verify", str(run)])
    assert result.exit_code == 1
    assert "is not as it was made: card" in " ".join(result.output.split())
    file.unlink()
    assert outcomes(run)["card"] == OTHER
    (run / "record.json").write_text(json.dumps({key: value for key, value in noted.items() if key != "card"}))
    assert outcomes(run)["card"] == UNKNOWN  # of a run that was made before
    assert CliRunner().invoke(app, ["verify", str(run)]).exit_code == 0


def test_what_cannot_be_told_is_said(run: Path, made: Path) -> None:
    (run / "record.json").unlink()
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(made / "set"), str(made / "gone")))
    found = outcomes(run)
    unknown = dict.fromkeys(("weights", "card", "data", "error", "radii"), UNKNOWN)
    assert found == {**unknown, "versions": SAME}
    assert CliRunner().invoke(app, ["verify", str(run)]).exit_code == 0
    (run / "record.json").write_text("{}")
    with pytest.raises(RunError, match=r"record\.json: is damaged"):
        verify(run)


def test_only_a_finished_run_is_verified(run: Path) -> None:
    marks = (run / "landmarks.yaml").read_text()
    (run / "landmarks.yaml").write_text(marks[: marks.index("radius_coverage")])
    with pytest.raises(RunError, match="expected a finished run"):
        verify(run)


def test_weights_that_were_looked_at_once_were_not_chosen(run: Path) -> None:
    record = read_record(RunFolder(run))
    assert record is not None
    assert "12 images of 12 subjects, 32 x 32 pixels (rows x columns, median), which chose" in card(
        RunFolder(run), record
    )
    recipe = yaml.safe_load((run / "config.yaml").read_text())
    recipe["train"]["val_every"] = recipe["train"]["epochs"]
    (run / "config.yaml").write_text(yaml.safe_dump(recipe))
    assert "which chose" not in card(RunFolder(run), record)


def test_the_card_says_what_the_run_is_and_what_it_is_not_for(run: Path) -> None:
    text, record = (run / "card.md").read_text(), json.loads((run / "record.json").read_text())
    for part in ("finds 1 landmark\n", "**Finds**: tip", "12 images of 12 subjects", "mean radial error: ", "32 x 32"):
        assert part in text
    assert record["weights"] in text
    assert "## Not for" in text
    assert "no medical device" in text
    assert record["images"] == {"train": 12, "val": 12}
