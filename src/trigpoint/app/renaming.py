"""Landmarks that are renamed, added and taken away: in the cells of the table and in the text of ``dataset.yaml``.

A ``Change`` holds all that is needed to go either way, so that the journal can undo it and finish what a crash cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from trigpoint.app.describing import ENDS, with_key
from trigpoint.app.table import MISSING
from trigpoint.errors import DataError

_NAMED = ("pairs", "skeleton", "groups", "normalizer", "measurements")  # keys of dataset.yaml that name landmarks
Cells = list[list[str]]


class Column(BaseModel):
    """A column that was taken away: its header, the header before it, and its cells that are not blank, by row."""

    model_config = ConfigDict(extra="forbid")

    header: str
    after: str
    cells: dict[str, str]


class Change(BaseModel):
    """Landmarks ``before`` and ``after``; ``renamed``: new names by the old; ``lost``: the columns of those taken away.

    ``texts``: ``dataset.yaml`` before and after. ``absent``: rows that said of one taken away that it is not there.
    """

    model_config = ConfigDict(extra="forbid")

    before: list[str]
    after: list[str]
    renamed: dict[str, str] = Field(default_factory=dict)
    lost: list[Column] = Field(default_factory=list)
    absent: dict[str, list[str]] = Field(default_factory=dict)
    texts: tuple[str, str] = ("", "")

    @property
    def removed(self) -> list[str]:
        """The landmarks that were taken away, by their old names."""
        return [name for name in self.before if self.renamed.get(name, name) not in self.after]

    @property
    def added(self) -> list[str]:
        """The landmarks that are new."""
        kept = {self.renamed.get(name, name) for name in self.before}
        return [name for name in self.after if name not in kept]


def columns_of(name: str) -> list[str]:
    """The columns that a landmark may have.

    >>> columns_of("tip")
    ['tip_x', 'tip_y', 'tip_v', 'tip_score', 'tip_radius', 'tip_spread']
    """
    return [f"{name}{end}" for end in ENDS]


def change_of(cells: Cells, before: Sequence[str], after: Sequence[str], renamed: Mapping[str, str]) -> Change:
    """What a table loses when the landmarks ``before`` become ``after``, some ``renamed``."""
    change = Change(before=list(before), after=list(after), renamed=dict(renamed))
    header, keys = cells[0], _keys(cells)
    for name in change.removed:
        for column in columns_of(name):
            if column in header:
                at = header.index(column)
                kept = {key: row[at] for key, row in zip(keys, cells[1:], strict=True) if row and row[at].strip()}
                change.lost.append(Column(header=column, after=header[at - 1] if at else "", cells=kept))
    if MISSING in header:
        at = header.index(MISSING)
        for key, row in zip(keys, cells[1:], strict=True):
            gone = [name for name in (row[at].split(";") if row else []) if name in change.removed]
            if gone:
                change.absent[key] = gone
    return change


def forward(cells: Cells, change: Change) -> Cells:
    """The cells of a table after a change. Columns of added landmarks are made where a table is opened, not here.

    >>> change = Change(before=["a", "b"], after=["c"], renamed={"a": "c"})
    >>> forward([["image", "a_x", "b_x"], ["1.png", "2", "3"]], change)
    [['image', 'c_x'], ['1.png', '2']]
    """
    gone = {column for name in change.removed for column in columns_of(name)}
    kept = [i for i, name in enumerate(cells[0]) if name not in gone]
    out = [[row[i] for i in kept] if row else [] for row in cells]
    return _renamed(out, change.renamed, change.removed)


def backward(cells: Cells, change: Change) -> Cells:
    """The cells of a table before a change. Raises DataError where that would lose labels of an added landmark.

    >>> change = Change(before=["a", "b"], after=["c"], renamed={"a": "c"},
    ...                 lost=[Column(header="b_x", after="a_x", cells={"1.png//0": "3"})])
    >>> backward([["image", "c_x"], ["1.png", "2"]], change)
    [['image', 'a_x', 'b_x'], ['1.png', '2', '3']]
    """
    for name in change.added:
        for end in "xy":
            at = cells[0].index(f"{name}_{end}") if f"{name}_{end}" in cells[0] else None
            if at is not None and any(row and row[at].strip() for row in cells[1:]):
                raise DataError(f"landmarks: expected no label of {name} to take it away again, got some; remove it")
    back = Change(before=change.after, after=change.before, renamed={new: old for old, new in change.renamed.items()})
    out = forward(cells, back)
    keys = _keys(out)
    for column in change.lost:
        at = out[0].index(column.after) + 1 if column.after in out[0] else len(out[0])
        out[0].insert(at, column.header)
        for key, row in zip(keys, out[1:], strict=True):
            if row:
                row.insert(at, column.cells.get(key, ""))
    if MISSING in out[0]:
        at = out[0].index(MISSING)
        for key, row in zip(keys, out[1:], strict=True):
            if row and key in change.absent:
                row[at] = ";".join([*filter(None, row[at].split(";")), *change.absent[key]])
    return out


def _renamed(cells: Cells, renamed: Mapping[str, str], removed: Sequence[str]) -> Cells:
    columns = {old: new for a, b in renamed.items() for old, new in zip(columns_of(a), columns_of(b), strict=True)}
    cells[0] = [columns.get(name, name) for name in cells[0]]
    if MISSING in cells[0]:
        at = cells[0].index(MISSING)
        for row in filter(None, cells[1:]):
            names = [renamed.get(name, name) for name in row[at].split(";") if name not in removed]
            row[at] = ";".join(names)
    return cells


def _keys(cells: Cells) -> list[str]:
    """A name for each row that stays when other rows come and go: its image, its instance, and which of those."""
    header, seen, keys = cells[0], dict[str, int](), []
    image, instance = (header.index(name) if name in header else None for name in ("image", "instance"))
    for row in cells[1:]:
        name = "/".join(row[at].strip() if row and at is not None else "" for at in (image, instance))
        keys.append(f"{name}/{seen.get(name, 0)}")
        seen[name] = seen.get(name, 0) + 1
    return keys


# -- dataset.yaml ------------------------------------------------------------------------------------------------------


def renamed_text(text: str, change: Change) -> str:
    """The text of ``dataset.yaml`` with the names of after; comments stay.

    A pair or a line of a landmark that is taken away goes with it. Raises DataError where another key names it.
    """
    values: dict[str, Any] = yaml.safe_load(text) or {}
    for key in _NAMED:
        if key not in values:
            continue
        old = values[key]
        if key in ("pairs", "skeleton"):
            old = [line for line in old or [] if not set(line) & set(change.removed)]
        if named := [name for name in change.removed if _names(old, name)]:
            raise DataError(f"dataset.yaml: '{key}' names {named[0]}; change it there first, then take it away here")
        new = _replaced(old, change.renamed)
        if new != values[key]:
            text = with_key(text, key, new)
    return with_key(text, "landmarks", change.after)


def _names(value: Any, name: str) -> bool:
    if isinstance(value, Mapping):
        return any(_names(one, name) for one in value.values())
    if isinstance(value, list):
        return any(_names(one, name) for one in value)
    return bool(value == name)


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value
