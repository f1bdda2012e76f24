"""Whether a run is as it was made: its files, its data, and what it finds in the images that it was validated on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from trigpoint.errors import DataError, RunError, counted
from trigpoint.prediction import Predictor, Progress
from trigpoint.prediction.model_check import OTHER, SAME, UNKNOWN, Check
from trigpoint.runs import RunFolder, environment_text
from trigpoint.runs.provenance import data_changed
from trigpoint.runs.record import CARD, Record, card_digest, digest, read_record
from trigpoint.training.calibrating import calibrated
from trigpoint.training.stages import readable
from trigpoint.training.subsets import kept

PIXELS, SHARE = 0.02, 0.01  # that the error and the radii may differ by: other devices round otherwise


def verify(run: str | Path | RunFolder, device: str = "auto", progress: Progress | None = None) -> list[Check]:
    """Compare a finished run with what it noted of itself: weights, versions, data, error and radii.

    Raises RunError for a folder that is no finished run, or is damaged.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    marks, record = folder.read_landmarks(), read_record(folder)
    if not len(marks.radius):
        got = f"got one with {folder.epochs_done()} of {folder.recipe().train.num_epochs} epochs"
        raise RunError(f"{folder.folder}: expected a finished run, {got}; the command that began it goes on with it")
    predictor = Predictor.load(folder, device)
    checks = [_weights(folder, record), _card(folder, record), _versions(folder), _data(folder)]
    return [*checks, *_predictions(folder, predictor, record, progress)]


def _weights(folder: RunFolder, record: Record | None) -> Check:
    if record is None:
        return Check("weights", UNKNOWN, "the run noted no hash: it was made by an earlier version")
    now = digest(folder.weights)
    if now == record.weights:
        return Check("weights", SAME, f"SHA-256 {now[:12]}")
    return Check("weights", OTHER, f"SHA-256 {now[:12]}, was {record.weights[:12]}")


def _card(folder: RunFolder, record: Record | None) -> Check:
    if record is None or not record.card:
        return Check("card", UNKNOWN, "not recorded: the run was made by an earlier version")
    file = folder.folder / CARD
    if not file.is_file():
        return Check("card", OTHER, f"{CARD} is missing")
    if card_digest(file.read_text(encoding="utf-8", errors="replace")) == record.card:
        return Check("card", SAME, f"{CARD} is as it was written")
    return Check("card", OTHER, f"{CARD} was changed after it was written")


def _versions(folder: RunFolder) -> Check:
    if not folder.env.is_file():
        return Check("versions", UNKNOWN, f"{folder.env.name} is missing")
    then, now = (
        dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        for text in (folder.env.read_text(encoding="utf-8", errors="replace"), environment_text())
    )
    differ = [f"{name} {then[name]}, now {now[name]}" for name in now if name in then and then[name] != now[name]]
    return Check("versions", OTHER if differ else SAME, "; ".join(differ) or f"trigpoint {now['trigpoint']} and others")


def _data(folder: RunFolder) -> Check:
    path = folder.located().data.path
    if path is None or not Path(path).exists() or not folder.data.is_file():
        return Check("data", UNKNOWN, f"{path or 'the dataset'} is not there, or the run has no data.csv")
    changed = data_changed(folder, folder.read_landmarks().landmarks.names)
    return Check("data", OTHER if changed else SAME, changed[0] if changed else f"{path}: images and labels of the run")


def _predictions(
    folder: RunFolder, predictor: Predictor, record: Record | None, progress: Progress | None
) -> list[Check]:
    recipe, marks = folder.located(), folder.read_landmarks()
    try:
        parts, _ = kept(recipe, folder)
        data = readable(recipe, parts["val"])
    except (DataError, RunError) as error:
        return [Check(what, UNKNOWN, str(error)) for what in ("error", "radii")]
    made = calibrated(predictor, data, marks.landmarks, parts["train"].points, progress, True, predictor.shape)
    checks = []
    if record is None or math.isnan(record.error):
        checks.append(Check("error", UNKNOWN, "the run noted none"))
    else:
        images = len(data.by_image())
        text = f"{made.error:.3f} px on {counted(images, 'validation image')}, was {record.error:.3f} px"
        checks.append(Check("error", SAME if abs(made.error - record.error) <= PIXELS else OTHER, text))
    now, before = made.calibration.radius, marks.radius
    known = np.isfinite(now) & np.isfinite(before)
    apart = np.abs(now - before)[known]
    near = bool((apart <= np.maximum(PIXELS, SHARE * before[known])).all())
    near &= bool((np.isfinite(now) == np.isfinite(before)).all())
    if made.calibration.threshold is not None and marks.threshold is not None:
        near &= abs(made.calibration.threshold - marks.threshold) <= SHARE
    text = f"{int(known.sum())} of {len(now)} landmarks, largest difference {apart.max(initial=0.0):.3f} px"
    if not (np.isfinite(now) | np.isfinite(before)).any():
        text = "none: the run has no radii"
    return [*checks, Check("radii", SAME if near else OTHER, text)]
