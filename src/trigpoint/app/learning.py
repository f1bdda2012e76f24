"""A model that learns while images are labelled: trainings of the planner, each in a process of its own.

Which recipe a training takes, also from very few labels, is the planner's choice and no matter of this file.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trigpoint.app.predictions import threads
from trigpoint.app.project import Event, Project
from trigpoint.data.files import csv_text, write_text
from trigpoint.errors import TrigpointError
from trigpoint.nn.pretrained import at_hand
from trigpoint.runs import RunFolder
from trigpoint.training.planning import can_continue
from trigpoint.training.planning.few import WEIGHTS, most_labels
from trigpoint.training.planning.learner import FEW_IMAGES

FEWEST = 5
"""Labelled images from which a network learns something."""
GROWTH = 1.4  # times as many labels as before make it worth learning again
SNAPSHOT = ".learning.csv"
_EVERY = 1.0
_ONE_IN = 5  # subjects that validates
_KEPT = 2  # runs that are kept
_MOST = 15.0  # minutes of a training on a slow machine
_LONGER = re.compile(r"give --minutes ([0-9]+)")


def fewest(project: Project) -> int:
    """Labelled images from which a planned training proposes points: one, where it can take templates."""
    return 1 if not project.opened.instances and at_hand(WEIGHTS) else FEWEST


def minutes_for(images: int) -> float:
    """How long to learn from so many images.

    >>> [minutes_for(n) for n in (5, 40, 200)]
    [1.5, 5.0, 10.0]
    """
    return min(10.0, 1.0 + images / 10)


def minutes_asked(said: str) -> float | None:
    """The minutes that the planner asks for where the time is too short to learn anything, else None.

    >>> minutes_asked("--minutes 1: expected time for at least 60 steps, got 9; give --minutes 4")
    4.0
    """
    found = _LONGER.search(said)
    return None if found is None else float(found[1])


def labelled(project: Project) -> list[int]:
    """The images whose landmarks are all decided, and at least one of them placed."""
    names = project.names
    done = []
    for entry in project.entries:
        state = entry.state
        if state.points() and state.decided(names) >= len(names) * len(state.rows) and not entry.broken:
            done.append(entry.id)
    return done


class Learner:
    """Trains whenever there are enough new labels. ``learned`` is given each finished run, ``tell`` the status.

    ``minutes``: how long to learn from so many images. ``growth``: times as many labels as before make it worth
    learning again. A network begins from the weights of the one before. ``polite``: other processes go first.
    ``overrides``: of the recipe that is planned for so many images.
    """

    def __init__(
        self,
        project: Project,
        tell: Callable[[Event], None],
        learned: Callable[[Path], None],
        minutes: Callable[[int], float] = minutes_for,
        growth: float = GROWTH,
        polite: bool = True,
        overrides: Callable[[int], Sequence[str]] = lambda images: (),
    ) -> None:
        self.project, self.tell, self.learned = project, tell, learned
        self.minutes, self.growth, self.polite, self.overrides = minutes, growth, polite, overrides
        self.runs = project.opened.hidden / "runs"
        self.status: dict[str, Any] = {"phase": "waiting", "need": fewest(project), "images": 0}
        self.before = 0
        """Images that were learned from last."""
        self._process: subprocess.Popen[bytes] | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def resume(self) -> None:
        """Go on from the last run that was learned, where there is one."""
        runs = self._finished()
        if runs:
            self.before = int(runs[-1].name.split("-")[-1])
            self._ready(runs[-1], self.before)

    def start(self) -> None:
        """Go on from the last run, and look for new labels in a thread of its own."""
        self.resume()
        self._thread.start()

    def end(self) -> None:
        """Stop, also a training that goes on."""
        self._end.set()
        if self._process is not None:
            with suppress(OSError):
                self._process.terminate()

    def due(self) -> int:
        """Labelled images with which it learns next."""
        return max(fewest(self.project), math.ceil(round(self.growth * self.before, 6)))

    def _finished(self) -> list[Path]:
        runs = [place for place in self.runs.glob("learned-*-*") if (place / "weights.safetensors").is_file()]
        return sorted(runs, key=lambda place: int(place.name.split("-")[1]))

    def _work(self) -> None:
        while not self._end.wait(_EVERY):
            images = labelled(self.project)
            if len(images) < self.due():
                continue
            try:
                self.learn(images)
            except (TrigpointError, OSError) as error:
                self._say(phase="failed", why=str(error), images=len(images))

    def _say(self, **status: Any) -> None:
        self.status = status
        self.tell({"kind": "learning", "status": status})

    def learn(self, images: list[int]) -> None:
        """Learn from these images now; ``status`` says what came of it."""
        self.before = len(images)
        minutes = self.minutes(len(images))
        snapshot(self.project, images, divide=len(images) > most_labels(minutes))
        self.runs.mkdir(parents=True, exist_ok=True)
        run, said = self._train(len(images), minutes)
        if longer := minutes_asked(said):  # this machine is slow, or busy
            run, said = self._train(len(images), max(minutes, min(_MOST, longer)))
        if self._end.is_set():
            return
        if said:
            self._say(phase="failed", why=said, images=len(images))
            return
        self._ready(run, len(images))
        for old in self._finished()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _train(self, images: int, minutes: float) -> tuple[Path, str]:
        """Train a new run; its folder, and why it failed, empty where it did not."""
        turn = 1 + max((int(place.name.split("-")[1]) for place in self.runs.glob("learned-*-*")), default=0)
        run, before = self.runs / f"learned-{turn}-{images}", self._finished()[-1:]
        table = snapshot_file(self.project)
        command = [sys.executable, "-m", "trigpoint", "train", str(table), "--minutes", f"{minutes:g}"]
        command += [f"train.init={old}" for old in before if can_continue(RunFolder(old))]
        if self.project.pairs and not self.project.opened.instances and images >= FEW_IMAGES:
            command.append("method.flip_test=true")  # below, plans do so; it saves a person's time
        command += [*self.overrides(images), "--out", str(run), "--quiet"]
        if self.polite and (nice := shutil.which("nice")):
            command = [nice, "-n", "10", *command]  # the page goes first
        log, own = run.with_suffix(".log"), {"OMP_NUM_THREADS": threads(), **os.environ}
        with log.open("wb") as stream:
            self._process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, env=own)
        while self._process.poll() is None:
            self._say(phase="learning", images=images, minutes=minutes, share=_share(run))
            if self._end.wait(_EVERY * 2):
                self._process.terminate()
                return run, "stopped"
        if self._process.returncode == 0:
            return run, ""
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no reason was given"]
        return run, said[-1].removeprefix("error: ")

    def _ready(self, run: Path, images: int) -> None:
        self.learned(run)
        note = RunFolder(run).load_weights()[1]
        self._say(phase="ready", images=images, quality=str(note.get("validated", "")))


def snapshot(project: Project, images: list[int], divide: bool = False) -> None:
    """Write the rows of these images as a table beside the set's own, which goes on changing.

    ``divide``: where no row names a subset, say which images validate, so that these stay the same when others come.
    """
    with project.lock:
        table = project.table
        files = {project.entry(number).file for number in images}
        rows = sorted(place for file, places in table.rows.items() if file in files for place in places)
        cells = [table.header, *(table.cells[place] for place in rows)]
    write_text(snapshot_file(project), csv_text(_divided(cells) if divide else cells), overwrite=True)


def _divided(cells: list[list[str]]) -> list[list[str]]:
    """A table with a part of its subjects, or images, for validation, by their names alone; unchanged where parts are
    named already, or none or all would validate.

    >>> _divided([["image", "x"], ["a.png", "1"], ["c.png", "2"], ["d.png", "3"], ["b.png", "4"]])[1:]
    [['a.png', '1', 'train'], ['c.png', '2', 'train'], ['d.png', '3', 'train'], ['b.png', '4', 'val']]
    """
    header, rows = cells[0], cells[1:]
    at = header.index("split") if "split" in header else len(header)
    if any(row[at].strip() for row in rows if len(row) > at):
        return cells
    subject, image = (header.index(name) if name in header else None for name in ("subject", "image"))
    parts = []
    for row in rows:
        name = (row[subject].strip() if subject is not None else "") or row[image or 0]
        parts.append("val" if zlib.crc32(name.encode()) % _ONE_IN == 0 else "train")
    if len(set(parts)) < 2:
        return cells
    return [[*header[:at], "split", *header[at + 1 :]],
            *([*row[:at], part, *row[at + 1 :]] for row, part in zip(rows, parts, strict=True))]  # fmt: skip


def snapshot_file(project: Project) -> Path:
    """The table of ``snapshot``, one for each annotator."""
    own = project.opened.own
    return project.opened.folder / (f"{SNAPSHOT.removesuffix('.csv')}-{own}.csv" if own else SNAPSHOT)


def _share(run: Path) -> float:
    """How much of a training is done, from 0 to 1."""
    with suppress(TrigpointError, OSError, ValueError, ZeroDivisionError):
        folder = RunFolder(run)
        recipe: Any = folder.recipe()
        return min(1.0, float(folder.epochs_done() / recipe.train.num_epochs))
    return 0.0
