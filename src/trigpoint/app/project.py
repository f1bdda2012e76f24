"""A dataset while it is labelled: images with their states, saved at once, and never over what others have written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigpoint.app.folder import HIDDEN, Opened
from trigpoint.app.journal import Journal, Kind
from trigpoint.app.naming import Names
from trigpoint.app.pictures import size_of
from trigpoint.app.state import Naming, State
from trigpoint.app.table import LabelTable
from trigpoint.data.description import read_description
from trigpoint.data.pixels.frame_names import video_of
from trigpoint.errors import DataError, TrigpointError, counted

Event = dict[str, Any]
_TOLD = 10  # images left out that are named


class StaleError(TrigpointError):
    """An image that was changed elsewhere since the page has seen it; nothing is overwritten."""


@dataclass
class Entry:
    """An image: ``revision`` counts the changes of its state in this process; ``broken``: why it cannot be read."""

    id: int
    file: Path
    called: str
    state: State = field(default_factory=State)
    revision: int = 0
    size: tuple[int, int] | None = None
    broken: str = ""


class Project:
    """The states of all images of a set. Safe to share between threads.

    ``tell`` is called with an event whenever a state changes, whoever changed it.
    """

    def __init__(self, opened: Opened, annotator: str = "", *, read_only: bool = False) -> None:
        self.opened, self.annotator, self.read_only = opened, annotator, read_only
        self.lock = threading.RLock()
        self.tell: Callable[[Event], None] = lambda event: None
        self.notes = [f"left out: {why}" for why in opened.left_out[:_TOLD]]  # and what was mended when it was opened
        about = opened.about
        self.pairs, self.skeleton = about.pairs, about.skeleton
        self.described = tuple(opened.names) == about.landmarks or (about.landmarks is None and not opened.new)
        self.table = LabelTable(opened.table, opened.names, opened.instances, opened.read, opened.stamp)
        self.journal = Journal(opened.folder / HIDDEN / f"{opened.table.name}.jsonl", read_only=read_only)
        self.naming = Names(self)
        found = zip(opened.images, opened.called, strict=True)
        self.entries = [Entry(i, file, name) for i, (file, name) in enumerate(found)]
        self._by_name = {entry.called: entry for entry in self.entries}
        self._name_video()
        for entry in self.entries:
            entry.state = self._state(entry)
        if not read_only:
            self._mend()

    def _name_video(self) -> None:
        """What frames of the set's video get as their subject: its name, or what all that are labelled have."""
        self._video = self.opened.video
        frames = [entry for entry in self.entries if self._video and video_of(entry.file.name) == self._video]
        self._frames = {entry.id for entry in frames}
        rows = [self.table.state(entry.file) for entry in frames if self.table.rows.get(entry.file)]
        known = {state.subject for state in rows}
        if known - {""}:  # what somebody has written is kept: one name holds for further frames, several say nothing
            self._video = next(iter(known - {""})) if len(known - {""}) == 1 else ""
        if rows and "" in known:
            blank = counted(sum(not state.subject for state in rows), "frame")
            fix = f"'trigpoint data split {self.opened.folder} --videos' names it when you divide the set"
            self.notes.append(f"{blank} of the video '{self.opened.video}' in the table without a subject; {fix}")

    def _state(self, entry: Entry) -> State:
        """What the table says of an image; of a frame without a row, that it is of its video."""
        state = self.table.state(entry.file)
        return state if state.rows or entry.id not in self._frames else State(subject=self._video)

    @property
    def names(self) -> list[str]:
        """The landmarks, in their order."""
        return self.table.names

    def _mend(self) -> None:
        """Do what the last line of the journal says, where a crash came between it and the table."""
        last = self.journal.last()
        entry = self._by_name.get(last.image) if last is not None and last.naming is None else None
        if last is None or entry is None or entry.state == last.after or entry.state != last.before:
            return
        self._store(entry, last.after)
        self.notes.append(f"{entry.called}: its last change was in the journal only and is now in the table")

    def scan(self) -> None:
        """Read the headers of all images: sizes, and what is wrong with those that cannot be read."""
        for entry in self.entries:
            if entry.size is None:
                try:
                    entry.size = size_of(entry.file)
                except (DataError, OSError) as error:
                    entry.broken = str(error).removeprefix(f"{entry.file}: ")
        broken = [entry.id for entry in self.entries if entry.broken]
        self.tell({"kind": "scanned", "images": [self.summary(self.entries[i]) for i in broken]})

    # -- reading -----------------------------------------------------------------------------------------------------

    def entry(self, number: int) -> Entry:
        """An image by its number. Raises DataError for one that is not there."""
        if not 0 <= number < len(self.entries):
            raise DataError(f"image {number}: expected one of 0 to {len(self.entries) - 1}; reload the page")
        return self.entries[number]

    def summary(self, entry: Entry) -> dict[str, Any]:
        """What the list of images shows of one."""
        state = entry.state
        total = len(self.names) * max(1, len(state.rows))
        return {
            "id": entry.id, "name": entry.called, "split": state.split, "subject": state.subject,
            "annotator": state.annotator, "doubtful": state.doubtful, "note": state.note, "revision": entry.revision,
            "done": state.decided(self.names), "total": total, "broken": entry.broken,
        }  # fmt: skip

    def overview(self) -> dict[str, Any]:
        """The set and the list of its images."""
        with self.lock:
            return {
                "name": self.opened.about.name, "landmarks": self.names, "pairs": self.pairs,
                "skeleton": self.skeleton, "instances": self.opened.instances, "annotator": self.annotator,
                "readOnly": self.read_only, "notes": self.notes, "new": self.opened.new,
                "images": [self.summary(entry) for entry in self.entries], **self.history(),
            }  # fmt: skip

    def history(self) -> dict[str, Any]:
        """How much can be undone and redone, and seconds of work per image."""
        undo, redo = self.journal.counts()
        return {"undo": undo, "redo": redo, "pace": self.journal.pace()}

    def example(self, landmark: str, besides: int, instance: int = 0) -> tuple[Entry, float, float] | None:
        """An image, fully labelled where there is one, on which a landmark is visible, and where."""
        best = None
        for entry in self.entries:
            if entry.id == besides or entry.broken:
                continue
            for row in entry.state.rows[:1]:
                mark = row.marks.get(landmark)
                if mark is not None and mark != "absent":
                    found = (len(row.marks) + (mark[2] == 2), -entry.id, entry, mark[0], mark[1])
                    best = found if best is None or found[:2] > best[:2] else best
        return None if best is None else best[2:]

    # -- writing -----------------------------------------------------------------------------------------------------

    def save(self, number: int, state: State, base: int, how: str = "", before: State | None = None) -> Entry:
        """Store a new state of an image, made from revision ``base``, or from what it was ``before``.

        It is on the disk when this returns.

        Raises StaleError where somebody else has changed the image since, and DataError for what cannot be stored.
        """
        with self.lock:
            entry = self._writable(number)
            if entry.revision != base and before != entry.state:
                raise StaleError(f"{entry.called}: was changed elsewhere; look at it again")
            self._check(state)
            bare = State(subject=self._video) if entry.id in self._frames else State()
            said = state.model_copy(update={"annotator": ""}) != bare  # a frame of its video, and no more, has no row
            state = state.normal(self.opened.instances) if said else bare
            if self.annotator and state.rows:
                state = state.model_copy(update={"annotator": self.annotator})
            if state != entry.state:
                self._change("edit", entry, state, how)
            return entry

    def step(self, kind: Kind) -> Entry | None:
        """Undo the last change, or redo the last one undone; None where there is none, or it was one of landmarks.

        Raises StaleError where the image is not what the change has left; that change cannot be undone any more.
        """
        with self.lock:
            found = self.journal.next_undo() if kind == "undo" else self.journal.next_redo()
            if found is None:
                return None
            if found.naming is not None:
                self._writable_set()
                self.naming.step(kind, found.naming)
                return None
            now, then = (found.after, found.before) if kind == "undo" else (found.before, found.after)
            known = self._by_name.get(found.image)
            entry = self._writable(known.id) if known is not None else None
            if entry is None or entry.state != now:
                if kind == "undo":
                    self.journal.add("void", found.image, now, now, self.annotator)
                raise StaleError(f"{found.image}: was changed elsewhere since, so this change stays")
            self._change(kind, entry, then)
            return entry

    def _writable(self, number: int) -> Entry:
        entry = self.entry(number)
        self._writable_set()
        return entry

    def _writable_set(self) -> None:
        if self.read_only:
            raise DataError(f"{self.opened.folder}: expected a folder to write to, got one opened for reading only")
        self.refresh()

    def _check(self, state: State) -> None:
        unknown = {name for row in state.rows for name in row.marks} - {*self.names}
        if unknown:
            raise DataError(f"landmarks: expected those of the set, got {', '.join(sorted(unknown))}; reload the page")
        if len(state.rows) > 1 and not self.opened.instances:
            raise DataError("objects: expected one in each image, got several; add 'instances: true' to dataset.yaml")
        called = [row.instance.strip() for row in state.rows]
        if len(set(called)) < len(called):
            raise DataError("objects: expected a name of its own for each, got one twice; rename it")

    def _change(self, kind: Kind, entry: Entry, state: State, how: str = "") -> None:
        before = entry.state
        self.journal.add(kind, entry.called, before, state, self.annotator, how)
        try:
            self._store(entry, state)
        except (TrigpointError, OSError):
            self.table.read()
            self.journal.add("void", entry.called, before, before, self.annotator)
            raise
        self.tell({"kind": "changed", "image": self.summary(entry), **self.history()})

    def _store(self, entry: Entry, state: State) -> None:
        self.table.put(entry.file, entry.called, state)
        self.table.write()
        if not self.described:
            self.naming.describe()
        entry.state = self._state(entry)
        entry.revision += 1

    def refresh(self) -> list[Entry]:
        """Take up what another program has written into the table; the images that it changed.

        Raises DataError, and keeps what was known, where the table cannot be read now.
        """
        with self.lock:
            if not self.table.changed_outside():
                return []
            self.table.read()
            changed = []
            for entry in self.entries:
                state = self._state(entry)
                if state != entry.state:
                    entry.state = state
                    entry.revision += 1
                    changed.append(entry)
            for entry in changed:
                self.tell({"kind": "outside", "image": self.summary(entry), **self.history()})
            return changed

    # -- landmarks ---------------------------------------------------------------------------------------------------

    def name_landmarks(self, naming: Naming) -> None:
        """Rename landmarks, add some, take some away, and say which are left and right and which are joined by lines.

        Raises DataError when one that is there is left out without being named as removed: its labels would be lost.
        """
        with self.lock:
            self._writable_set()
            self.naming.change(naming)

    def renamed(self) -> None:
        """Take up the table after its landmarks were changed, and what ``dataset.yaml`` says of them now."""
        about = read_description(self.opened.folder, [])
        self.pairs, self.skeleton = about.pairs, about.skeleton
        self.described = True
        for entry in self.entries:
            state = self._state(entry)
            if state != entry.state:
                entry.state = state
                entry.revision += 1
        self.tell({"kind": "landmarks", **self.history()})
