"""A training whose validation error falls no more ends early, and a stopped one ends where it would have ended."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from faults import draw, tiny

import trigpoint.training.callbacks as callbacks
from same_runs import assert_same
from trigpoint.errors import ConfigError
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.plateau import Plateau, ended_early, stale_validations


def rows(*errors: float) -> list[dict[str, float]]:
    return [{"epoch": i + 1, "val_mre_px": error} for i, error in enumerate(errors)]


def test_only_validations_without_a_smaller_error_count() -> None:
    nan = math.nan
    assert stale_validations(rows(), "val_mre_px") == 0
    assert stale_validations(rows(nan, nan), "val_mre_px") == 0
    assert stale_validations(rows(3, 2, 1), "val_mre_px") == 0
    assert stale_validations(rows(3, nan, 1, nan, 2, nan, 1.5), "val_mre_px") == 2
    assert stale_validations(rows(1, 3, 2), "val_mre_px", after=1) == 0
    assert not ended_early(rows(1, 3, 2), None)
    assert ended_early(rows(1, 3, 2), 2)


def test_a_longer_training_counts_anew() -> None:
    plateau = Plateau(2)
    plateau.begin([], 8)
    assert plateau.reached(rows(1, 2, 3), "val_mre_px")
    plateau.begin(rows(1, 2, 3), 10)
    again = Plateau(2)
    again.load_state_dict(plateau.state_dict())
    again.begin(rows(1, 2, 3, 2), 10)
    assert not again.reached(rows(1, 2, 3, 2, 2), "val_mre_px")
    assert again.reached(rows(1, 2, 3, 2, 2, 2), "val_mre_px")


def unmoved(data: Path, epochs: int = 8) -> Recipe:
    """Learns nothing, so its error never falls."""
    values = tiny(data, epochs, lr_schedule={"name": "constant"}, patience=2, ema=0.0).model_dump(mode="json")
    values["train"]["optimizer"]["lr"] = 1e-30
    values["method"]["schedule"] |= {"freeze_last": 0.0}
    values["method"]["network"] |= {"activation": "relu"}
    return load_recipe(values)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch statistics move the error of a network that learns nothing: take the error as what it was."""
    original = callbacks.Recorder.on_validation_epoch_end

    def same(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        self._validated = dict.fromkeys(self._validated, 5.0)

    monkeypatch.setattr(callbacks.Recorder, "on_validation_epoch_end", same)


@pytest.mark.usefixtures("flat")
@pytest.mark.parametrize("moment", [1, 2])
def test_it_ends_early_and_a_stopped_one_ends_at_the_same_epoch(
    data: Path, tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(unmoved(data), out=tmp_path / "whole", progress=False)
    assert whole.epochs_done() == 3
    assert len(whole.read_landmarks().radius) > 0
    assert "ended after epoch 3 of 8: no smaller error in 2 validations" in capsys.readouterr().err
    before = whole.weights.stat().st_mtime_ns
    train(unmoved(data), out=whole.folder, progress=False)  # nothing is left to do
    assert (whole.epochs_done(), whole.weights.stat().st_mtime_ns) == (3, before)
    original = callbacks.Recorder.on_train_epoch_end

    def interrupt(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == moment:  # the last one, too: before radii are calibrated
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "SAVE_EVERY", 0.0)
        patch.setattr(callbacks.Recorder, "on_train_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(unmoved(data), out=tmp_path / "run", progress=False)
    run = train(unmoved(data), out=tmp_path / "run", progress=False)
    assert_same(run, whole)


@pytest.mark.usefixtures("flat")
def test_more_epochs_are_trained_although_it_had_ended(data: Path, tmp_path: Path) -> None:
    run = train(unmoved(data), out=tmp_path / "run", progress=False)
    train(unmoved(data), out=run.folder, progress=False, more_epochs=4)
    assert run.epochs_done() == 6
    train(unmoved(data), out=run.folder, progress=False, more_epochs=4)
    assert run.epochs_done() == 6


def test_patience_is_a_number_of_validations() -> None:
    with pytest.raises(ConfigError, match="patience"):
        load_recipe(Recipe(), ["train.patience=0"])


def test_runs_of_versions_without_patience_go_on(data: Path, tmp_path: Path) -> None:
    recipe = tiny(data, 2)
    run = train(recipe, out=tmp_path / "run", progress=False)
    text = run.config.read_text()
    assert "patience: null" in text
    run.config.write_text(text.replace("  patience: null\n", ""))
    assert RunFolder(run.folder).recipe() == recipe
    assert train(recipe, out=run.folder, progress=False).epochs_done() == 2
