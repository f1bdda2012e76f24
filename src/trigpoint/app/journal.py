"""Every change of labels, one line each, on the disk before the page says saved: undo and redo also after a restart."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trigpoint.app.renaming import Change
from trigpoint.app.state import State
from trigpoint.errors import DataError

Kind = Literal["edit", "undo", "redo", "void"]
_GAP = 60.0  # seconds between two changes above which the annotator was away
_RECENT = 200  # changes that the pace is taken from


class Recorded(NamedTuple):
    """A change as it was made: an image and its states, or, with ``naming``, landmarks. ``kind`` says which way."""

    kind: Kind
    image: str
    before: State
    after: State
    naming: Change | None = None


class Journal:
    """A file of JSON lines: what an image was before and after each change, or what the landmarks were.

    A torn last line of a crash is dropped.

    Two stacks are kept in memory as places in the file. ``times``: of every change, seconds since 1970.
    """

    def __init__(self, file: Path, *, read_only: bool = False) -> None:
        self.file = file
        self.times: list[tuple[float, str]] = []
        self._undo: list[int] = []
        self._redo: list[int] = []
        self._last: int | None = None
        self._end = 0
        if file.is_file():
            self._replay()
            if not read_only and file.stat().st_size > self._end:
                os.truncate(file, self._end)

    def _replay(self) -> None:
        with self.file.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                    kind, at = record["kind"], record["time"]
                except (ValueError, KeyError, TypeError):
                    fix = "move it away to go on without undo of what was before"
                    raise DataError(f"{self.file}: expected JSON lines of changes, got {line[:60]!r}; {fix}") from None
                self._count(kind, self._end, float(at), str(record.get("image", "")))
                self._end += len(line)

    def _count(self, kind: str, place: int, at: float, image: str) -> None:
        if kind == "edit":
            self._undo.append(place)
            self._redo.clear()
        elif kind == "undo" and self._undo:
            self._redo.append(self._undo.pop())
        elif kind == "redo" and self._redo:
            self._undo.append(self._redo.pop())
        elif kind == "void" and self._undo:
            self._undo.pop()
        if kind == "edit" and image:
            self.times.append((at, image))
        self._last = place if kind != "void" else None

    def add(self, kind: Kind, image: str, before: State, after: State, who: str = "", how: str = "") -> None:
        """Append a change; it is on the disk when this returns."""
        now = time.time()
        record: dict[str, Any] = {"time": round(now, 3), "kind": kind, "who": who, "image": image}
        record |= {"before": before.model_dump(), "after": after.model_dump()}
        self._append(record | ({"how": how} if how else {}))

    def add_naming(self, kind: Kind, change: Change, who: str = "") -> None:
        """Append a change of the landmarks; it is on the disk when this returns."""
        now = round(time.time(), 3)
        self._append({"time": now, "kind": kind, "who": who, "naming": change.model_dump()})

    def _append(self, record: dict[str, Any]) -> None:
        line = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as stream:
            stream.truncate(self._end)  # what a full disk left of a line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        self._count(record["kind"], self._end, record["time"], record.get("image", ""))
        self._end += len(line)

    def next_undo(self) -> Recorded | None:
        """The change that is undone next."""
        return self._read(self._undo[-1]) if self._undo else None

    def next_redo(self) -> Recorded | None:
        """The change that is done again next."""
        return self._read(self._redo[-1]) if self._redo else None

    def last(self) -> Recorded | None:
        """The last change, from what was there to what it made, whichever way it went; to mend what a crash cut."""
        return None if self._last is None else self._read(self._last)

    def counts(self) -> tuple[int, int]:
        """How many changes can be undone, and how many done again."""
        return len(self._undo), len(self._redo)

    def _read(self, place: int) -> Recorded:
        with self.file.open("rb") as stream:
            stream.seek(place)
            record = json.loads(stream.readline())
        if "naming" in record:
            return Recorded(record["kind"], "", State(), State(), Change.model_validate(record["naming"]))
        before, after = (State.model_validate(record[name]) for name in ("before", "after"))
        return Recorded(record["kind"], record["image"], before, after)

    def pace(self) -> float | None:
        """Seconds of work per image, from the last changes without the breaks between them; None for too few.

        >>> journal = Journal(Path("no such file"))
        >>> journal.times = [(0.0, "a"), (4.0, "a"), (10.0, "b"), (400.0, "b"), (406.0, "c")]
        >>> journal.pace()
        8.0
        """
        recent = self.times[-_RECENT:]
        images = len({image for _, image in recent})
        if images < 2:
            return None
        gaps = [b[0] - a[0] for a, b in itertools.pairwise(recent)]
        work = sum(gap for gap in gaps if gap < _GAP)
        return work / (images - 1)
