"""A run of a tool that records trainings: what all have in common, and the note of it in the run folder."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from trigpoint.data.files import load_json, write_text
from trigpoint.errors import ConfigError, RunError, TrigpointError
from trigpoint.recipe import Recipe, SourceRecipe
from trigpoint.runs import RunFolder

NOTE = "tracking.json"
"""In the run folder: the tool, and the id of the run there."""


class Tracker(ABC):
    """One run of a tool. ``begin`` opens it, and raises ConfigError where that cannot be; afterwards what the tool
    refuses is told once, for training goes on and ``metrics.csv`` has everything."""

    kind: str
    logger: Logger

    def __init__(self, run: RunFolder, tell: Callable[[str], None]) -> None:
        self.run, self.tell = run, tell
        self._refused: set[str] = set()

    @staticmethod
    @abstractmethod
    def check() -> None:
        """Raise ConfigError where the tool is not installed."""

    @abstractmethod
    def open(self) -> None:
        """Begin the tool's run, or go on with it."""

    @abstractmethod
    def begin(self, recipe: Recipe | SourceRecipe) -> None:
        """Open the run and note its recipe."""

    def row(self, values: Mapping[str, float], epoch: int) -> None:
        """The numbers of an epoch."""
        with self._told("an epoch"):
            self.logger.log_metrics({plain(key): value for key, value in values.items()}, step=epoch)

    def measures(self, values: Mapping[str, float], epoch: int) -> None:
        """Numbers of the whole run, NaN left out."""
        known = {plain(key): value for key, value in values.items() if not math.isnan(value)}
        with self._told("the measures"):
            self.logger.log_metrics(known, step=epoch)

    def files(self, files: Sequence[Path]) -> None:
        """Keep copies of files of the run."""
        for file in files:
            with self._told(file.name):
                self._file(file)

    @abstractmethod
    def _file(self, file: Path) -> None: ...

    def close(self, ended: BaseException | None) -> None:
        """End the run: finished, failed or stopped, by what ended the training, if anything."""
        with self._told("its end"):
            self._close(ended)

    @abstractmethod
    def _close(self, ended: BaseException | None) -> None: ...

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except TrigpointError:
            raise
        except Exception as error:  # of many types: of the tool, of its database, of HTTP
            if what not in self._refused:
                self._refused.add(what)
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                self.tell(f"warning: {self.kind} did not take {what} ({reason}); the run folder has it")

    def _known(self) -> str | None:
        """The id of the tool's run that the run folder goes on with."""
        found = noted(self.run)
        return None if found is None or found[0] != self.kind else found[1]

    def _note(self, identity: str) -> None:
        text = json.dumps({"logger": self.kind, "id": identity}) + "\n"
        write_text(self.run.folder / NOTE, text, overwrite=True)


def noted(run: RunFolder) -> tuple[str, str] | None:
    """Tool and id of the record of a run; None where it is in the run folder alone. Raises RunError for a damaged
    note."""
    file = run.folder / NOTE
    if not file.is_file():
        return None
    try:
        values = load_json(file)
        kind, identity = str(values["logger"]), str(values["id"])
    except (KeyError, TypeError, TrigpointError) as error:
        raise RunError(f"{file}: is damaged ({error}); remove it, and the run is recorded as a new one") from None
    return kind, identity


def flat(values: Mapping[str, Any], by: str = ".", before: str = "") -> dict[str, Any]:
    """A tree of values with the keys on the way joined.

    >>> flat({"train": {"epochs": 3}, "name": "a"})
    {'train.epochs': 3, 'name': 'a'}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, by, f"{before}{key}{by}") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


def plain(name: str) -> str:
    """A name in letters that all tools take; others by their numbers, so that different names stay different.

    >>> plain("val_mre_px"), plain("sigma_nez à")
    ('val_mre_px', 'sigma_nez -e0-')
    """
    return re.sub(r"[^a-zA-Z0-9_/. -]", lambda letter: f"-{ord(letter[0]):x}-", name)


def unopened(kind: str, error: Exception, fix: str) -> ConfigError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ConfigError(f"train.logger={kind}: expected a run that can be recorded, got '{reason[:300]}'; {fix}")
