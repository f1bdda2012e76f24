"""What runs find in the images of a set, predicted in a process of its own: the open image first, then the others."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.app.choosing import ordered
from trigpoint.app.project import Event, Project
from trigpoint.app.state import ABSENT
from trigpoint.data.files import write_text
from trigpoint.errors import RunError

Points = dict[str, tuple[float, ...]]
"""Of each landmark x, y, score, and how far views of the image lie apart, or None; original pixels."""


AHEAD = 100
"""Images that a model which learns meanwhile predicts beforehand: a better one comes soon."""


class Predictions:
    """Of one run. ``found`` holds a list of objects for each image; ``tell`` is told of each one, and of problems.

    What was found is kept in ``cache``, by the weights of the run, and not predicted again. ``ahead``: how many images
    without labels are predicted before they are asked for; None: all images are.
    """

    def __init__(
        self, run: Path, project: Project, cache: Path | None, tell: Callable[[Event], None], ahead: int | None = None
    ) -> None:
        self.run, self.project, self.tell, self.ahead = run, project, tell, ahead
        self.name = run.name
        self.found: dict[int, list[Points]] = {}
        self.looks: dict[int, list[float] | None] = {}
        """What images look like, as vectors; None where that cannot be said."""
        self.problem = ""
        self.landmarks: list[str] = []
        self.together: dict[str, float] | None = None
        """How errors go together (``metrics.Together``); None: not at all."""
        self._first: list[int] = []
        self._wake = threading.Condition()
        self._ended = False
        self._process: subprocess.Popen[str] | None = None
        self._cache = None if cache is None else cache / f"{_weights_of(run)}.json"
        self._read_cache()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin to predict."""
        self._thread.start()

    def end(self) -> None:
        """Stop predicting; what was found stays."""
        with self._wake:
            self._ended = True
            self._wake.notify_all()
        if self._process is not None:
            with suppress(OSError):
                self._process.terminate()

    def first(self, numbers: list[int]) -> None:
        """Predict these images before the others."""
        with self._wake:
            self._first = numbers
            self._wake.notify_all()

    # -- the process -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with subprocess.Popen(
                [sys.executable, "-m", "trigpoint.app.worker", str(self.run)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={"OMP_NUM_THREADS": threads(), **os.environ},
            ) as process:
                self._process = process
                self._predict(process)
                if not self._ended and self.problem == "":
                    process.stdin.close()  # type: ignore[union-attr]
                elif self._ended:
                    process.terminate()
        except (OSError, RunError) as error:
            self._fail(str(error))
        self._write_cache()

    def _predict(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        hello = self._answer(process)
        if "failed" in hello:
            self._fail(hello["failed"])
            return
        self.landmarks, self.together = list(hello["landmarks"]), hello.get("together")
        while (wanted := self._next()) is not None:
            number, only_look = wanted
            entry = self.project.entry(number)
            asked = {"id": number, "file": str(entry.file), **({"look": True} if only_look else {})}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            answer = self._answer(process)
            self.looks[number] = answer.get("look")
            if only_look:
                continue
            rows = answer.get("rows", [])
            self.found[number] = [
                {name: tuple(mark) for name, mark in zip(self.landmarks, row, strict=True) if mark is not None}
                for row in rows
            ]
            self.tell({"kind": "predicted", "id": number, "run": self.name, "done": len(self.found)})
            if len(self.found) % 50 == 0:
                self._write_cache()

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RunError("" if self._ended else f"{self.run}: the process that predicts has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _next(self) -> tuple[int, bool] | None:
        """The next image, waited for, and whether only its look is wanted; None when there is none, or it is to end.

        Looks are wanted of labelled images that are not predicted, to tell which others are unlike them.
        """
        with self._wake:
            while not self._ended:
                left = [entry for entry in self.project.entries if entry.id not in self.found and not entry.broken]
                if not left:
                    return None
                if (number := next((n for n in self._first if any(entry.id == n for entry in left)), None)) is not None:
                    return number, False
                ahead = left if self.ahead is None else [entry for entry in left if not entry.state.rows]
                if self.ahead is None or (len(self.found) < self.ahead and ahead):
                    return ahead[0].id, False
                unseen = next((entry.id for entry in left if entry.state.rows and entry.id not in self.looks), None)
                if unseen is not None:
                    return unseen, True
                self._wake.wait()
        return None

    def _fail(self, problem: str) -> None:
        if problem and not self._ended:
            self.problem = problem
            self.tell({"kind": "trouble", "error": problem})

    # -- what is kept ------------------------------------------------------------------------------------------------

    def _read_cache(self) -> None:
        if self._cache is None or not self._cache.is_file():
            return
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # of another version: predicted again
            kept = json.loads(self._cache.read_text(encoding="utf-8"))
            for entry in self.project.entries:
                if (known := kept["images"].get(entry.called)) and known["file"] == _file_of(entry.file):
                    self.found[entry.id] = [{name: tuple(mark) for name, mark in row.items()} for row in known["rows"]]
                    self.looks[entry.id] = known.get("look")
            self.landmarks = list(kept["landmarks"])

    def _write_cache(self) -> None:
        if self._cache is None or not self.found:
            return
        images = {
            self.project.entry(number).called: {
                "file": _file_of(self.project.entry(number).file),
                "rows": rows,
                "look": self.looks.get(number),
            }
            for number, rows in list(self.found.items())
        }
        with suppress(OSError):  # then it is predicted again
            write_text(self._cache, json.dumps({"landmarks": self.landmarks, "images": images}), overwrite=True)


class Runs:
    """The runs whose predictions are shown: up to two that were given, or the one that is learned meanwhile."""

    def __init__(self, project: Project, tell: Callable[[Event], None]) -> None:
        self.project, self.tell = project, tell
        self.cache = None if project.read_only else project.opened.hidden / "predictions"
        self.shown: list[Predictions] = []
        self.learned = False

    def show(self, *runs: Path, learned: bool = False) -> None:
        """Predict with these runs instead of those before; ``learned``: to propose points, not to be reviewed."""
        self.learned = learned
        for old in self.shown:
            old.end()
        ahead = AHEAD if learned else None
        self.shown = [Predictions(run, self.project, self.cache, self.tell, ahead) for run in runs]
        for one in self.shown:
            one.start()
        self.tell({"kind": "runs"})

    def of(self, number: int) -> list[dict[str, Any]]:
        """What the runs find in an image; it and those behind it are predicted next."""
        for one in self.shown:
            one.first(list(range(number, min(number + 6, len(self.project.entries)))))
        shown: list[dict[str, Any]] = [
            {"run": one.name, "rows": one.found.get(number), "learned": self.learned, "together": one.together}
            for one in self.shown
        ]
        return shown

    def end(self) -> None:
        """Stop all processes."""
        for one in self.shown:
            one.end()


def compared(project: Project, runs: list[Predictions]) -> dict[str, Any]:
    """Of each image: how far a landmark is from its prediction by the first run, how far views of it lie apart
    (``doubt``), and how far two runs do (``apart``); original pixels, None where there is nothing to compare. Sets with
    one object in an image. ``gain``: of each image without labels, the more the sooner it is worth labelling."""
    names = project.names
    images: dict[int, Any] = {}
    for number in list(runs[0].found) if runs else []:
        truth = project.entry(number).state.rows
        first = runs[0].found[number][:1]
        other = runs[1].found.get(number, [])[:1] if len(runs) > 1 else []
        marks = truth[0].marks if truth else {}
        told: dict[str, Any] = {"error": [], "doubt": [], "apart": []}
        for name in names:
            a = first[0].get(name) if first else None
            b = other[0].get(name) if other else None
            mark = marks.get(name)
            told["error"].append(_distance(a, mark if mark != ABSENT else None))
            told["doubt"].append(None if a is None else a[3])
            told["apart"].append(_distance(a, b))
        images[number] = told
    for number, gain in (gains(project, runs[0]) if runs else {}).items():
        images[number]["gain"] = gain
    return {"runs": [run.name for run in runs], "images": images, "total": len(project.entries)}


def gains(project: Project, run: Predictions) -> dict[int, int]:
    """How soon the images without labels that a run has predicted are worth labelling, the most useful highest: the
    order of ``trigpoint data next``. Empty where it is not known what they look like."""
    left = [number for number in run.found if not project.entry(number).state.rows and run.looks.get(number)]
    known = [look for number, look in list(run.looks.items()) if look and project.entry(number).state.rows]
    if not left:
        return {}
    marks = [[mark[3] for row in run.found[n][:1] for mark in row.values() if mark[3] is not None] for n in left]
    doubts = np.array([np.mean(each) if each else np.nan for each in marks])
    looks = np.array([run.looks[number] for number in left], float)
    order = ordered(doubts, looks, np.array(known, float).reshape(-1, looks.shape[1]), len(left))
    return {left[i]: len(order) - place for place, (i, _) in enumerate(order)}


def _distance(a: Any, b: Any) -> float | None:
    if a is None or b is None:
        return None
    return round(float(np.hypot(a[0] - b[0], a[1] - b[1])), 2)


def _weights_of(run: Path) -> str:
    """A name of the weights of a run."""
    with suppress(OSError), (run / "weights.safetensors").open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:24]
    return "none"


def _file_of(file: Path) -> list[int]:
    with suppress(OSError):
        found = file.stat()
        return [found.st_size, found.st_mtime_ns]
    return []


def threads() -> str:
    """Cores that work beside the page takes, so that the page keeps one."""
    return str(max(1, (os.cpu_count() or 2) - 1))
