"""The landmarks of a set while it is labelled: renamed, added, taken away, and all of that undone.

The journal has the change before the table and ``dataset.yaml`` do; ``finish`` completes it after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trigpoint.app.describing import check_names, described, new_description
from trigpoint.app.folder import HIDDEN
from trigpoint.app.journal import Journal, Kind
from trigpoint.app.renaming import Cells, Change, backward, change_of, columns_of, forward, renamed_text
from trigpoint.app.state import Naming
from trigpoint.data.description import DESCRIPTION
from trigpoint.data.files import csv_text, read_csv, read_text, write_text
from trigpoint.errors import DataError

if TYPE_CHECKING:
    from trigpoint.app.project import Project


class Names:
    """Changes the landmarks of a project, whose lock is held."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.file = project.opened.folder / DESCRIPTION

    def change(self, naming: Naming) -> None:
        """Do what the page asks for. Raises DataError for what cannot be done; then nothing is changed."""
        project = self.project
        after = self._checked(naming)
        cells = [list(row) for row in project.table.cells]
        change = change_of(cells, project.names, after, naming.renamed)
        others = self._other_tables([*change.renamed, *change.removed])
        if others:
            raise DataError(
                f"landmarks: expected a set with one table to rename or take away, got {', '.join(others)} beside it; "
                f"change {DESCRIPTION} and the columns of all tables by hand"
            )
        before = self._text()
        text = renamed_text(before or self._start(after), change)
        change.texts = (before, described(self.file, text, naming))
        if change.before == change.after and not change.renamed and before == change.texts[1]:
            return
        project.journal.add_naming("edit", change, project.annotator)
        self._apply(change, change.texts[1], after, forward)

    def step(self, kind: Kind, change: Change) -> None:
        """Undo or redo a change. Raises DataError where ``dataset.yaml`` was changed since."""
        project = self.project
        undo = kind == "undo"
        now, then = change.texts[::-1] if undo else change.texts
        if self._text() != now or project.names != (change.after if undo else change.before):
            raise DataError(f"{self.file}: was changed since, so the change of landmarks stays; change it by hand")
        turn = backward if undo else forward
        turn([list(row) for row in project.table.cells], change)  # raises before anything is written
        project.journal.add_naming(kind, change, project.annotator)
        self._apply(change, then, change.before if undo else change.after, turn)

    def describe(self) -> None:
        """Say in ``dataset.yaml`` what the landmarks are, for a set that is labelled for the first time."""
        text = self._text() or self._start(self.project.names)
        write_text(self.file, described(self.file, text, Naming(landmarks=self.project.names)), overwrite=True)
        self.project.described = True

    def _apply(self, change: Change, text: str, names: Sequence[str], turn: Callable[[Cells, Change], Cells]) -> None:
        table = self.project.table
        table.cells, table.names = turn([list(row) for row in table.cells], change), list(names)
        table.header = table.cells[0]
        table.make_landmarks()
        there = table.file.is_file()
        if there:
            table.write()
        if text:
            write_text(self.file, text, overwrite=True)
        else:
            self.file.unlink(missing_ok=True)
        if there:
            table.read()
        self.project.renamed()

    def _other_tables(self, names: Sequence[str]) -> list[str]:
        """Tables beside that have columns of these landmarks, and would no longer fit ``dataset.yaml``."""
        own, columns = self.project.table.file, {f"{name}_x" for name in names}
        beside = [file for file in sorted(own.parent.glob("*.csv")) if file != own and not file.name.startswith(".")]
        return [file.name for file in beside if columns & {cell.strip() for cell in (read_csv(file) or [[]])[0]}]

    def _text(self) -> str:
        return read_text(self.file) if self.file.is_file() else ""

    def _start(self, names: Sequence[str]) -> str:
        opened = self.project.opened
        table = self.project.table.file.name
        return new_description(opened.folder, opened.plain, names, opened.instances, table)

    def _checked(self, naming: Naming) -> list[str]:
        """The names of after. Raises DataError when they do not follow from those of before."""
        old, after = self.project.names, check_names(naming.landmarks)
        unknown = [name for name in (*naming.renamed, *naming.removed) if name not in old]
        if unknown:
            raise DataError(f"landmarks: expected one of {', '.join(old)}, got {unknown[0]}; reload the page")
        _check_new(naming.renamed, old, naming.removed)
        kept = [naming.renamed.get(name, name) for name in old if name not in naming.removed]
        if after[: len(kept)] != kept and (self.project.table.rows or set(kept) - set(after)):
            lost = [name for name in kept if name not in after]
            got = f"got them without {lost[0]}" if lost else "got another order"
            raise DataError(f"landmarks: expected all of {', '.join(kept)} first, {got}; add new ones at the end")
        _check_lines(naming, after)
        return after


def _check_new(renamed: Mapping[str, str], old: Sequence[str], removed: Sequence[str]) -> None:
    taken = [new for new in renamed.values() if new in old and new not in renamed]
    if taken:
        raise DataError(f"landmarks: expected a name that is not taken, got {taken[0]}; rename that one too, or first")
    both = [name for name in renamed if name in removed]
    if both:
        raise DataError(f"landmarks: expected {both[0]} renamed or removed, got both; choose one")


def _check_lines(naming: Naming, names: Sequence[str]) -> None:
    for what, lines in (("pairs", naming.pairs), ("lines", naming.skeleton)):
        for line in lines or ():
            if not set(line) <= {*names} or line[0] == line[1]:
                raise DataError(f"{what}: expected two landmarks of the set, got {' and '.join(line)}; correct it")
    paired = [name for pair in naming.pairs or () for name in pair]
    if len(set(paired)) < len(paired):
        raise DataError("pairs: expected each landmark in one pair, got one in two; correct it")


def finish(folder: Path, table: Path) -> str:
    """Do what the last line of the journal says, where a crash came before the table or ``dataset.yaml`` had it.

    What was done, in words; empty where nothing was. Called before the set is opened: half a change cannot be read.
    """
    last = Journal(folder / HIDDEN / f"{table.name}.jsonl").last()
    if last is None or last.naming is None:
        return ""
    change, file, done = last.naming, folder / DESCRIPTION, False
    undo = last.kind == "undo"
    now, then = change.texts[::-1] if undo else change.texts
    if table.is_file():
        cells = read_csv(table)
        header = {cell.strip() for cell in cells[0]}
        came, went = (change.before, change.after) if undo else (change.after, change.before)
        old = [f"{name}_x" in header for name in went if name not in came]
        missing = [name for name in came if f"{name}_x" not in header and name not in went]
        if any(old) or (missing and not old):
            new = (backward if undo else forward)(cells, change)
            write_text(table, csv_text(_with_columns(new, came)), overwrite=True)
            done = True
    text = read_text(file) if file.is_file() else ""
    if text == now and text != then:
        if then:
            write_text(file, then, overwrite=True)
        else:
            file.unlink()
        done = True
    return f"{table}: the last change of landmarks was in the journal only and is now in the set" if done else ""


def _with_columns(cells: Cells, names: Sequence[str]) -> Cells:
    """Cells with blank columns of landmarks that have none."""
    fresh = [column for name in names for column in columns_of(name)[:2] if f"{name}_x" not in cells[0]]
    return [[*cells[0], *fresh], *([*row, *("" for _ in fresh)] if row else [] for row in cells[1:])]
