"""A sweep: many trainings of a recipe whose keys are drawn from spaces, those that fall behind ended early.

Trials are drawn and remembered by Optuna (Akiba et al. 2019). Its storage is a file beside the runs, or a database that
many machines share; the same command goes on where it stopped, and started in several places it shares the work.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trigpoint.errors import ConfigError, EndedEarly, RunError, TrigpointError, needed
from trigpoint.experiments.spaces import Space
from trigpoint.prediction.submitting import check_executor, executor_of, wait_for
from trigpoint.runs import RunFolder
from trigpoint.runs.listing import error_name
from trigpoint.runs.lock import locked
from trigpoint.training.landmarks import train

if TYPE_CHECKING:
    import optuna

_FIRST = 5  # trials before any is ended early
_RUN = "run"  # attribute of a trial: the folder of its run
_LAUNCH = "launch"  # attribute of a trial: which jobs train it
_CHOSEN_BY = "error"  # attribute of a study: the column of metrics.csv that its errors are of
_TRIES = 3  # to open a storage, which another may just be making
JOURNAL = "journal:"
"""Begins a storage that is a file which machines share over a network, where SQLite must not be."""


@dataclass(frozen=True)
class Sweep:
    """``trials`` of ``recipe`` in ``out``; ``storage``: URL of a database or ``journal:FILE``, None: a file in ``out``.
    ``prune``: end trials whose error is above the median of the others at the same epoch. ``launch``: of several jobs,
    none of which begins a trial that another works at. What is drawn follows from ``seed``, the number of the trial
    and what was found so far, whoever draws it."""

    recipe: str
    spaces: Mapping[str, Space]
    fixed: Sequence[str]
    out: Path
    trials: int = 20
    storage: str | None = None
    prune: bool = True
    seed: int = 0
    launch: str = ""

    def go_on(self, tell: Callable[[str], None], progress: bool = True) -> optuna.Study:
        """Train until there are so many trials, those of other processes and of before included.

        Raises ConfigError for a recipe or spaces that cannot be, and where ``out`` holds another sweep; a training that
        fails otherwise is told and counts as a trial.
        """
        study = self.study()
        self._release(study, lambda trial: self._trained(trial) is False)
        while len(self.done(study)) + self._at_work(study) < self.trials:
            trial = study.ask()
            study.sampler = self._sampler(trial.number)
            before = trial.user_attrs.get(_RUN)
            name = before or f"trial-{trial.number:04d}"
            trial.set_user_attr(_RUN, name)
            with self._held(name):
                if self._surplus(study, trial, before):
                    break
                values = {key: space.draw(trial, key) for key, space in self.spaces.items()}
                tell(f"{name}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
                self._run(study, trial, name, values, tell, progress)
        return study

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        """Hold the lock of a trial, which is left behind by a process that is killed."""
        file = self.out / f".{name}.lock"
        with locked(file, f"{name} is being trained", "wait for it or end it"):
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def _trained(self, trial: optuna.trial.FrozenTrial) -> bool | None:
        """Whether a process is at a trial; None where that cannot be told from here."""
        file = self.out / f".{trial.user_attrs.get(_RUN)}.lock"
        if not file.is_file():
            return None
        try:
            with locked(file) as works:
                return False if works else None
        except RunError:
            return True

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Of the trial of this number: one that began anew in each process would draw the same in all of them."""
        import optuna

        drawn = np.random.SeedSequence((self.seed, number)).generate_state(1)
        return optuna.samplers.TPESampler(seed=int(drawn[0]))

    def _at_work(self, study: optuna.Study, before: float = math.inf) -> int:
        """How many trials below number ``before`` jobs of the same launch or other processes are at."""
        return sum(
            one.number < before and not one.state.is_finished() and (self._launched(one) or self._trained(one) is True)
            for one in study.get_trials(deepcopy=False)
        )

    def _launched(self, trial: optuna.trial.FrozenTrial) -> bool:
        return bool(self.launch) and trial.user_attrs.get(_LAUNCH) == self.launch

    def _surplus(self, study: optuna.Study, trial: optuna.Trial, before: str | None) -> bool:
        """Whether others have begun the last trials at the same moment; then this one is none. ``before``: the folder
        of one that was to go on."""
        if self.launch:
            trial.set_user_attr(_LAUNCH, self.launch)
        if len(self.done(study)) + self._at_work(study, trial.number) < self.trials:
            return False
        import optuna

        trial.set_user_attr("stopped", True)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if before is not None:
            study.enqueue_trial(trial.params, user_attrs={_RUN: before})
        return True

    def release(self, study: optuna.Study) -> None:
        """Let trials that jobs of this launch have left go on another time."""
        self._release(study, self._launched)

    def _release(self, study: optuna.Study, left: Callable[[optuna.trial.FrozenTrial], bool]) -> None:
        import optuna

        for one in study.get_trials(deepcopy=False):
            if one.state == optuna.trial.TrialState.RUNNING and left(one):
                trial = optuna.Trial(study, one._trial_id)
                trial.set_user_attr("stopped", True)
                study.tell(one.number, state=optuna.trial.TrialState.FAIL)
                if _RUN in one.user_attrs:
                    study.enqueue_trial(one.params, user_attrs={_RUN: one.user_attrs[_RUN]})

    @property
    def journal(self) -> Path:
        """The file that jobs share where no storage is named."""
        return self.out / "study.journal"

    def _storage(self) -> Any:
        """URL, or a storage of Optuna."""
        given = self.storage
        if given is None and (self.journal.is_file() or self.launch) and not (self.out / "study.db").is_file():
            given = f"{JOURNAL}{self.journal}"
        if given is None:
            return f"sqlite:///{(self.out / 'study.db').resolve()}"
        if not given.startswith(JOURNAL):
            return given
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(given.removeprefix(JOURNAL)))

    def study(self) -> optuna.Study:
        """The memory of the sweep."""
        with needed("a sweep"):
            import optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.out.mkdir(parents=True, exist_ok=True)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_FIRST) if self.prune else optuna.pruners.NopPruner()
        for left in reversed(range(_TRIES)):
            try:
                study = optuna.create_study(
                    storage=self._storage(), pruner=pruner, study_name=self.out.resolve().name, load_if_exists=True
                )
                break
            except Exception as error:  # of many types: no such database, no driver for it, no rights
                if left:  # two that make the tables at the same moment stand in one another's way
                    time.sleep(1)
                    continue
                where = f"--storage {self.storage}" if self.storage else f"{self.out}, where the trials are remembered"
                raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from None
        spaces = {key: [space.kind, *map(str, space.values)] for key, space in self.spaces.items()}
        mine = {"recipe": str(self.recipe), "fixed": list(self.fixed), "spaces": spaces}
        before = study.user_attrs.get("sweep")
        if before is None:
            study.set_user_attr("sweep", mine)
        elif before != mine:
            raise ConfigError(
                f"{self.out}: holds a sweep of {before}, got {mine}; give the same recipe, keys and spaces, or another "
                "--out"
            )
        return study

    def done(self, study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
        """The trials that have ended, but for those that were stopped and wait to go on."""
        return [one for one in study.get_trials(deepcopy=False) if one.state.is_finished() and not _stopped(one)]

    def _run(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        name: str,
        values: Mapping[str, Any],
        tell: Callable[[str], None],
        progress: bool,
    ) -> None:
        import optuna

        states = optuna.trial.TrialState
        given = [*self.fixed, *(f"{key}={value}" for key, value in values.items())]

        def watch(row: Mapping[str, Any]) -> None:
            error = next((float(value) for key, value in row.items() if key.startswith("val_")), math.nan)
            if math.isnan(error):
                return
            trial.report(error, int(row["epoch"]))
            if trial.should_prune():
                raise EndedEarly

        try:
            run = train(self.recipe, given, self.out / name, progress, watch=watch if self.prune else None)
            column, error = least(run)
            study.set_user_attr(_CHOSEN_BY, column)
            study.tell(trial, error)
            tell(f"{name}: {error_name(column)} {error:.4g}")
        except EndedEarly:
            study.tell(trial, state=states.PRUNED)
            tell(f"{name}: ended early, others were better at this epoch")
        except KeyboardInterrupt:  # it goes on when the sweep does
            trial.set_user_attr("stopped", True)
            study.tell(trial, state=states.FAIL)
            study.enqueue_trial(trial.params, user_attrs={_RUN: name})
            raise
        except ConfigError:
            study.tell(trial, state=states.FAIL)
            if not any(one.value is not None for one in self.done(study)):
                raise  # no trial has worked yet: it is the recipe
            tell(f"{name}: failed")
        except TrigpointError as error:
            study.tell(trial, state=states.FAIL)
            tell(f"{name}: failed: {error}")


def work(sweep: Sweep) -> int:
    """What a job does: train until there are enough trials; how many there are."""
    return len(sweep.done(sweep.go_on(lambda text: print(text, flush=True), progress=False)))


def sweep_in_jobs(sweep: Sweep, jobs: int, options: Mapping[str, str], tell: Callable[[str], None]) -> optuna.Study:
    """Train in so many jobs of an array, which share the trials, until there are enough.

    Raises as ``Sweep.go_on``, ``submitting.executor_of`` and, for a job that failed, ``submitting.wait_for``; what the
    others have trained is kept. When stopped, jobs are cancelled, and their trials go on another time.
    """
    check_executor(options, "--slurm ")
    mine = replace(sweep, launch=uuid.uuid4().hex)
    study = mine.study()
    left = mine.trials - len(mine.done(study))
    if left <= 0:
        return study
    executor = executor_of(options, mine.out / "jobs", "--slurm ")
    begun = executor.map_array(work, [mine] * min(jobs, left))
    tell(f"{mine.out}: {len(begun)} jobs share {left} trials")
    try:
        wait_for(begun, "job")
    finally:
        mine.release(study)
    return study


def _stopped(trial: optuna.trial.FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("stopped"))


def chosen_by(study: optuna.Study) -> str:
    """What the errors of the trials are, in words."""
    return error_name(study.user_attrs.get(_CHOSEN_BY, "val_error"))


def least(run: RunFolder) -> tuple[str, float]:
    """The validation error that chose the weights of a finished run, and its column of ``metrics.csv``."""
    table = run.history_table()
    column = next(str(name) for name in table if str(name).startswith("val_"))
    return column, float(table[column].min())


def rows(study: optuna.Study, spaces: Mapping[str, Space]) -> list[dict[str, Any]]:
    """A row for each trial, the best first: run, state, error, minutes and the values that were drawn."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        if _stopped(trial):
            continue
        minutes = None if trial.duration is None else trial.duration.total_seconds() / 60
        row = {"run": trial.user_attrs.get(_RUN, ""), "state": trial.state.name.lower(), "error": trial.value}
        row["minutes"] = minutes
        row |= {key: spaces[key].shown(value) for key, value in trial.params.items() if key in spaces}
        found.append(row)
    complete = [row for row in found if row["state"] == "complete"]
    return sorted(complete, key=lambda row: row["error"]) + [row for row in found if row["state"] != "complete"]
