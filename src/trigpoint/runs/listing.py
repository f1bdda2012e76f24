"""The runs below a folder: how far each is, what it found, and in what their recipes differ."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.files import load_json
from trigpoint.data.splits import natural
from trigpoint.errors import DataError, RunError, TrigpointError
from trigpoint.landmarks import FloatArray
from trigpoint.nn.weights import read_note
from trigpoint.recipe import SourceRecipe
from trigpoint.runs.folder import RunFolder

EVALUATION = "metrics.json"  # what ``evaluate`` has left in a run, or beside it
_WORDS = {"name", "description"}  # keys of a recipe that change nothing
_HASH = 8  # characters of a hash that tell data apart


@dataclass
class FoundRun:
    """One run: its ``name`` is its path below the folder that was searched.

    ``state`` is finished, unfinished (also while it is trained) or broken, which ``problem`` explains. ``validation``
    in words as training told it, ``validation_error`` the number that chose the weights; ``test`` and ``interval`` in
    ``test_unit`` (mm, px or F1) on ``test_split``, where an evaluation lies there. None is not known.
    """

    name: str
    run: RunFolder
    state: str
    problem: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    epochs_done: int | None = None
    epochs: int | None = None
    validation: str | None = None
    validation_error: float | None = None
    test: float | None = None
    interval: tuple[float, float] | None = None
    test_unit: str = ""
    test_split: str = ""
    minutes: float | None = None
    data: str | None = None
    date: str | None = None


def find_runs(folder: str | Path) -> list[FoundRun]:
    """Every run below a folder, also those that are unfinished or broken, in natural order of their names.

    A folder with ``config.yaml`` and another file of a run is one, and so is one with weights or a checkpoint that lost
    it. Links to folders are not followed. Raises DataError when there is no such folder, or no run in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder with runs, got none; check the path")
    found = []
    for place, folders, files in os.walk(root):
        folders.sort()
        own, there = RunFolder(place), set(files)
        trained = {own.weights.name, own.last.name} & there
        begun = {own.split.name, own.landmarks.name, own.env.name, *trained} & there
        if trained or (own.config.name in there and begun):
            found.append(_read(Path(place), root))
    if not found:
        raise DataError(
            f"{root}: expected runs (folders with config.yaml) somewhere below, got none; train one with 'trigpoint "
            f"train fast data.path=FOLDER --out {root / 'first'}'"
        )
    return sorted(found, key=lambda run: natural(run.name))


def differing(runs: Sequence[FoundRun]) -> list[str]:
    """Dotted keys in which the recipes differ, those that all of them have first, in the order of the recipe.

    What only names a recipe is left out, and of broken runs nothing is known.
    """
    known = [run.recipe for run in runs if run.recipe]
    keys = dict.fromkeys(key for recipe in known for key in recipe)
    found = [key for key in keys if len({json.dumps(recipe.get(key, "–")) for recipe in known}) > 1]
    return sorted(found, key=lambda key: not all(key in recipe for recipe in known))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ends of dotted keys that differ from each other.

    >>> short_names(["train.lr", "method.network.name", "method.schedule.name"])
    {'train.lr': 'lr', 'method.network.name': 'network.name', 'method.schedule.name': 'schedule.name'}
    """
    parts = {key: key.split(".") for key in keys}
    short = {}
    for key, own in parts.items():
        ends = (".".join(own[-length:]) for length in range(1, len(own) + 1))
        others = [f".{other}" for other in keys if other != key]
        short[key] = next((end for end in ends if not any(other.endswith(f".{end}") for other in others)), key)
    return short


def error_name(column: str) -> str:
    """What a column of ``metrics.csv`` that chooses weights measures, in words.

    >>> error_name("val_mre_px"), error_name("val_error")
    ('mean radial error (px)', 'error')
    """
    return "mean radial error (px)" if column == "val_mre_px" else column.removeprefix("val_")


def curve_of(run: FoundRun) -> tuple[str, list[float], list[float]] | None:
    """Of a run: what chose its weights, the minutes of its validations, and the least error until each; or None."""
    try:
        table = run.run.history_table()
    except RunError:
        return None
    columns = [str(column) for column in table if str(column).startswith("val_")]
    if not columns or "minutes" not in table:
        return None
    known = table.dropna(subset=columns[0])
    errors: FloatArray = np.minimum.accumulate(known[columns[0]].to_numpy(dtype=np.float64))
    return (columns[0], known["minutes"].to_list(), errors.tolist()) if len(known) else None


def _read(place: Path, root: Path) -> FoundRun:
    """What is known of one run; the first thing that is wrong makes it broken."""
    run = RunFolder(place)
    name = place.name if place == root else place.relative_to(root).as_posix()
    found = FoundRun(name or root.resolve().name, run, "unfinished")
    try:
        recipe = run.any_recipe()
        found.recipe = _flat({key: value for key, value in recipe.model_dump(mode="json").items() if key not in _WORDS})
        found.epochs = recipe.train.num_epochs
        if run.metrics.is_file():
            table = run.history_table()
            found.epochs_done = len(table)
            found.minutes = float(table["minutes"].max()) if "minutes" in table and len(table) else None
        if run.weights.is_file():
            _validation(found, read_note(run.weights))
        over = run.history.is_file() if isinstance(recipe, SourceRecipe) else len(run.read_landmarks().radius) > 0
        if over and run.weights.is_file():
            found.state = "finished"
        elif over:
            raise RunError(f"{run.weights}: is missing")
    except (TrigpointError, ValueError, OSError) as error:
        found.state, found.problem = "broken", str(error)
    _origin(found)
    try:
        _evaluation(found)
    except DataError as error:
        found.problem = "; ".join(filter(None, (found.problem, str(error))))
    return found


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """{dotted key: value} of nested values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) and value else {f"{before}{key}": value}
    return flat


def _validation(found: FoundRun, note: Mapping[str, str]) -> None:
    measured = [(key, float(value)) for key, value in note.items() if key.startswith("val_")]
    if measured:
        key, found.validation_error = measured[0]
        found.validation = note.get("validated", f"{key.removeprefix('val_')} {found.validation_error:.2f}")


def _origin(found: FoundRun) -> None:
    """The hash of its data, and when it was last written."""
    run = found.run
    lines = run.env.read_text(encoding="utf-8", errors="replace").splitlines() if run.env.is_file() else []
    stated = [line.split()[1].rstrip(",") for line in lines if line.startswith("data ") and len(line.split()) > 1]
    found.data = stated[-1][:_HASH] if stated else None
    written = [file for file in (run.metrics, run.weights, run.config) if file.is_file()]
    if written:
        found.date = f"{datetime.fromtimestamp(written[0].stat().st_mtime):%Y-%m-%d %H:%M}"


def _evaluation(found: FoundRun) -> None:
    """What ``evaluate --json`` has written into the run, or for it into the folder around it."""
    inside, beside = found.run.folder / EVALUATION, found.run.folder.resolve().parent / EVALUATION
    if inside.is_file():
        values = load_json(inside)
    elif beside.is_file():
        values = load_json(beside)
        if not isinstance(values, dict) or values.get("run") != found.run.folder.resolve().name:
            return  # of another run
    else:
        return
    try:
        intervals = values["ci95"]
        total = values.get("detection_total")
        if total is not None:
            found.test, pair, unit = total["strict"]["f1"], intervals["detection_total"]["strict"]["f1"], "F1"
        else:
            unit = "px" if values["mre_mm"] is None else "mm"
            found.test, pair = values[f"mre_{unit}"], intervals.get(f"mre_{unit}")
        found.interval = None if pair is None else (float(pair[0]), float(pair[1]))
        found.test_unit, found.test_split = unit, str(values["split"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        file = inside if inside.is_file() else beside
        what = "expected what 'trigpoint evaluate --json' writes for one run"
        raise DataError(f"{file}: {what}, got other values; evaluate again") from None
