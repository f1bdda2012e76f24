"""``trigpoint runs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.cli.console import note, refuse, show_table, tell_hidden
from trigpoint.errors import ConfigError, DataError, counted, did_you_mean

if TYPE_CHECKING:
    from trigpoint.runs.listing import FoundRun

_NUMBERS = {"validation": "validation_error", "test": "test"}  # what is sorted by, where the column has words


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder with runs, also in its subfolders.")],
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="Sort by a column, or a key of the recipe that differs.")
    ] = "run",
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the whole table to this file.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the validation error against minutes: .pdf, .svg or .png.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """List the runs below a folder: what differs in their recipes, their errors, and how long they trained.

    The test error is that of the file metrics.json in a run: trigpoint evaluate RUN --data FOLDER --json
    RUN/metrics.json

    Example: trigpoint runs runs --sort validation
    """
    from trigpoint.data.files import write_text
    from trigpoint.runs.listing import differing, find_runs, short_names

    for file in (csv, plot):
        refuse(file, force)
    if csv is not None and csv == plot:
        raise DataError(f"{csv}: expected each file once, got it twice; give another name")
    if plot is not None:
        _check_ending(plot)
    found = find_runs(folder)
    keys = differing(found)
    found = _sorted(found, sort, short_names(keys))
    rows = [_row(run, keys) for run in found]
    _show(rows, found, short_names(keys))
    for line in _problems(found):
        note(line)
    if csv is not None:
        write_text(csv, _csv(found, keys, csv), overwrite=True)
        note(f"wrote {csv}")
    if plot is not None:
        _plot(found, plot)


def _problems(found: Sequence[FoundRun]) -> list[str]:
    """What is wrong, once for all runs of which the same is."""
    named: dict[str, list[FoundRun]] = {}
    for run in found:
        if run.problem:
            named.setdefault(run.problem.replace(str(run.run.folder), "RUN"), []).append(run)
    lines = []
    for problem, runs in named.items():
        first, *others = runs
        lines.append(f"{first.name}: {first.problem}" if not others else f"{len(runs)} runs, {_some(runs)}: {problem}")
    return lines


def _some(runs: Sequence[FoundRun]) -> str:
    """Names of the first three."""
    names = ", ".join(run.name for run in runs[:3])
    return names if len(runs) <= 3 else f"{names} ..."


def _check_ending(plot: Path) -> None:
    from trigpoint.report.style import FORMATS

    if plot.suffix.lower() not in FORMATS:
        raise ConfigError(f"{plot}: expected a figure ending in {', '.join(FORMATS)}, got '{plot.suffix}'; rename it")


def _sorted(found: Sequence[FoundRun], by: str, short: Mapping[str, str]) -> list[FoundRun]:
    """Smallest first, what is not known last. Raises ConfigError for an unknown key."""
    columns = ("run", "state", "validation", "test", "minutes", "data", "date")
    full = {name: key for key, name in short.items()}
    if by not in (*columns, *short, *full):
        raise ConfigError(f"--sort: unknown column '{by}'; {did_you_mean(by, [*columns, *full])}")
    if by == "run":
        return list(found)

    def worth(run: FoundRun) -> tuple[bool, bool, float, str]:
        value = getattr(run, _NUMBERS.get(by, by)) if by in columns else run.recipe.get(full.get(by, by))
        amount = float(value) if isinstance(value, int | float) else None
        return value is None, amount is None, amount or 0.0, str(value)

    return sorted(found, key=worth)


def _row(run: FoundRun, keys: Sequence[str]) -> dict[str, Any]:
    from trigpoint.report.tables import number

    state = run.state
    if state == "unfinished":
        state = f"{run.epochs_done or 0} of {run.epochs} epochs"
    unit = "" if run.test_unit == "F1" else run.test_unit
    test = number(run.test, 3 if run.test_unit == "F1" else 2, unit, run.interval)
    if run.test is not None:
        test = (
            ("F1 " if run.test_unit == "F1" else "")
            + test
            + ("" if run.test_split == "test" else f" ({run.test_split})")
        )
    differ = {key: _text(run.recipe.get(key)) if run.recipe else "–" for key in keys}
    minutes = None if run.minutes is None else round(run.minutes, 1)
    row = {"run": run.name, "state": state, **differ, "validation": run.validation, "test": test}
    return row | {"minutes": minutes, "data": run.data, "date": run.date}


def _text(value: Any) -> str:
    """A value of a recipe, in little room."""
    text = "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"…{text[-23:]}"


def _show(rows: Sequence[Mapping[str, Any]], found: Sequence[FoundRun], short: Mapping[str, str]) -> None:
    """The table; what tells no more runs apart than the keys before it is hidden first, the errors never."""
    telling, others = _telling([run.recipe for run in found if run.recipe], list(short))
    headings = {key: short.get(key, key) for key in rows[0]}
    hide = [*others[::-1], "data", "date", *telling[:1:-1], "minutes", *telling[1::-1], "state"]
    if all(run.state == "finished" for run in found):
        headings.pop("state")
    for name in ("test", "data"):
        if all(getattr(run, name) is None for run in found):
            headings.pop(name)
    tell_hidden(show_table(rows, headings, hide=hide)[::-1], "--csv FILE")
    states = {state: sum(run.state == state for run in found) for state in ("finished", "unfinished", "broken")}
    note(f"{counted(len(found), 'run')}: {', '.join(f'{count} {state}' for state, count in states.items() if count)}")


def _telling(recipes: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keys of which each tells runs apart that those before it do not, the one that tells most first; and the others.

    >>> _telling([{"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 1}, {"a": 1, "b": 3, "c": 2}], ["a", "c", "b"])
    (['b'], ['a', 'c'])
    """
    apart: list[tuple[str, ...]] = [() for _ in recipes]
    telling, left = list[str](), list(keys)
    while left:
        split = {
            key: [(*known, _text(recipe.get(key))) for known, recipe in zip(apart, recipes, strict=True)]
            for key in left
        }
        best = max(left, key=lambda key: len(set(split[key])))
        if len(set(split[best])) == len(set(apart)):
            break
        apart = split[best]
        telling.append(best)
        left.remove(best)
    return telling, left


def _csv(found: Sequence[FoundRun], keys: Sequence[str], file: Path) -> str:
    from trigpoint.data.files import csv_text
    from trigpoint.data.written import refuse_formulas

    facts = [
        "state", "epochs_done", "epochs", "validation", "validation_error", "test", "test_low", "test_high",
        "test_unit", "test_split", "minutes", "data", "date", "problem",
    ]  # fmt: skip
    lines = []
    for run in found:
        low, high = run.interval or (None, None)
        values = {**vars(run), "test_low": low, "test_high": high}
        lines.append([run.name, *(run.recipe.get(key) for key in keys), *(values[name] for name in facts)])
    header = ["run", *keys, *facts]
    refuse_formulas([*header, *(cell for line in lines for cell in line if isinstance(cell, str))], str(file))
    return csv_text([header, *(["" if cell is None else cell for cell in line] for line in lines)])


def _plot(found: Sequence[FoundRun], file: Path) -> None:
    """The least error so far of each run against its minutes; of runs that choose by the same number."""
    from trigpoint.report.figures import time_to_accuracy
    from trigpoint.report.run_figures import time_points
    from trigpoint.report.style import MOST_LINES, save
    from trigpoint.runs.listing import curve_of, error_name

    curves = {run.name: curve_of(run) for run in found}
    known = {name: curve for name, curve in curves.items() if curve is not None}
    chosen = [curve[0] for curve in known.values()]
    column = max(dict.fromkeys(chosen), key=chosen.count) if chosen else ""
    shown = {name: (minutes, errors) for name, (own, minutes, errors) in known.items() if own == column}
    if left := [name for name in curves if name not in shown]:
        note(f"not drawn, for want of a validation by {column or 'anything'}: {', '.join(left)}")
    draw = time_to_accuracy if len(shown) <= MOST_LINES else time_points
    save(draw(shown, what=f"validation: {error_name(column)}, log scale"), file)
    note(f"wrote {file}")
