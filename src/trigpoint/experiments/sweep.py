"""A sweep: many trainings of a recipe whose keys are drawn from spaces, those that fall behind ended early.

Trials are drawn and remembered by Optuna (Akiba et al. 2019). Its storage is a file beside the runs, or a database that
many machines share; the same command goes on where it stopped, and started in several places it shares the work.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigpoint.config import parse_yaml
from trigpoint.errors import ConfigError, EndedEarly, TrigpointError, needed
from trigpoint.prediction.submitting import check_executor, executor_of, wait_for
from trigpoint.runs import RunFolder
from trigpoint.training.landmarks import train

if TYPE_CHECKING:
    import optuna

KINDS = {
    "choice": "choice(a, b, ...): one of these",
    "uniform": "uniform(low, high): a number",
    "loguniform": "loguniform(low, high): a number above 0, by its logarithm",
    "integer": "integer(low, high): a whole number",
}
_SPACE = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_FIRST = 5  # trials before any is ended early
_RUN = "run"  # attribute of a trial: the folder of its run
_LAUNCH = "launch"  # attribute of a trial: which jobs train it
JOURNAL = "journal:"
"""Begins a storage that is a file which machines share over a network, where SQLite must not be."""


@dataclass(frozen=True)
class Space:
    """Where a key is drawn from: one of ``KINDS``, and its values."""

    kind: str
    values: tuple[Any, ...]

    @classmethod
    def of(cls, text: str) -> Space | None:
        """The space that a text such as ``loguniform(1e-4, 1e-2)`` names, None for any other value.

        >>> Space.of("choice(mse, kl)"), Space.of("5")
        (Space(kind='choice', values=('mse', 'kl')), None)
        """
        found = _SPACE.fullmatch(text.strip())
        if found is None or found[1] not in KINDS:
            return None
        kind, values = found[1], parse_yaml(f"[{found[2]}]")
        if kind != "choice":
            values = _range(kind, values, text)
        elif len(values) < 2 or len({str(value) for value in values}) < len(values):
            raise ConfigError(f"'{text}': expected two or more values that differ; {KINDS[kind]}")
        return cls(kind, tuple(values))

    def draw(self, trial: optuna.Trial, key: str) -> Any:
        """A value for ``key``."""
        if self.kind == "choice":  # by their place, for Optuna takes no lists
            return self.values[trial.suggest_categorical(key, list(range(len(self.values))))]
        low, high = self.values
        if self.kind == "integer":
            return trial.suggest_int(key, low, high)
        return trial.suggest_float(key, low, high, log=self.kind == "loguniform")

    def shown(self, value: Any) -> Any:
        """What Optuna notes as ``value``, as it stands in the recipe."""
        return self.values[value] if self.kind == "choice" else value


def _range(kind: str, values: Sequence[Any], text: str) -> list[float]:
    """Two numbers, the smaller one first."""
    try:
        numbers = [int(value) if kind == "integer" else float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    whole = kind != "integer" or all(isinstance(value, int) for value in values)
    if len(numbers) != 2 or not numbers[0] < numbers[1] or not whole:
        raise ConfigError(f"'{text}': expected two numbers, the smaller one first; {KINDS[kind]}")
    if kind == "loguniform" and numbers[0] <= 0:
        raise ConfigError(f"'{text}': expected numbers above 0, got {numbers[0]:g}; {KINDS[kind]}")
    return numbers


def divided(overrides: Sequence[str]) -> tuple[dict[str, Space], list[str]]:
    """The spaces by their keys, and the overrides that all trials have. Raises ConfigError where there is no space."""
    spaces, fixed = dict[str, Space](), list[str]()
    for text in overrides:
        key, _, value = text.partition("=")
        space = Space.of(value)
        if space is None:
            fixed.append(text)
        else:
            spaces[key.strip()] = space
    if not spaces:
        known = "; ".join(KINDS.values())
        raise ConfigError(f"expected a key with a space, such as train.optimizer.lr=loguniform(1e-4,1e-2); {known}")
    return spaces, fixed


@dataclass(frozen=True)
class Sweep:
    """``trials`` of ``recipe`` in ``out``; ``storage``: URL of a database or ``journal:FILE``, None: a file in ``out``.
    ``prune``: end trials whose error is above the median of the others at the same epoch. ``launch`` and ``worker``:
    of one of several jobs, which draws numbers of its own, and begins no trial that the others already work at."""

    recipe: str
    spaces: Mapping[str, Space]
    fixed: Sequence[str]
    out: Path
    trials: int = 20
    storage: str | None = None
    prune: bool = True
    seed: int = 0
    launch: str = ""
    worker: int = 0

    def go_on(self, tell: Callable[[str], None], progress: bool = True) -> optuna.Study:
        """Train until there are so many trials, those of other processes and of before included.

        Raises ConfigError for a recipe or spaces that cannot be, and where ``out`` holds another sweep; a training that
        fails otherwise is told and counts as a trial.
        """
        study = self.study()
        while len(self.done(study)) + self._at_work(study) < self.trials:
            trial = study.ask()
            if self._surplus(study, trial):
                break
            name = trial.user_attrs.get(_RUN, f"trial-{trial.number:04d}")
            trial.set_user_attr(_RUN, name)
            values = {key: space.draw(trial, key) for key, space in self.spaces.items()}
            tell(f"{name}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
            self._run(study, trial, name, values, tell, progress)
        return study

    def _at_work(self, study: optuna.Study, before: float = math.inf) -> int:
        """How many trials the jobs of the same launch are at, of those with a number below ``before``."""
        return sum(
            not one.state.is_finished() and bool(self.launch) and one.user_attrs.get(_LAUNCH) == self.launch
            for one in study.get_trials(deepcopy=False)
            if one.number < before
        )

    def _surplus(self, study: optuna.Study, trial: optuna.Trial) -> bool:
        """Whether others have begun the last trials at the same moment; then this one is none."""
        if not self.launch:
            return False
        trial.set_user_attr(_LAUNCH, self.launch)
        if len(self.done(study)) + self._at_work(study, trial.number) < self.trials:
            return False
        import optuna

        trial.set_user_attr("stopped", True)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if _RUN in trial.user_attrs:  # one that was to go on
            study.enqueue_trial(trial.params, user_attrs={_RUN: trial.user_attrs[_RUN]})
        return True

    def release(self, study: optuna.Study) -> None:
        """Let trials that jobs of this launch have left go on another time."""
        import optuna

        for one in study.get_trials(deepcopy=False):
            if one.state == optuna.trial.TrialState.RUNNING and one.user_attrs.get(_LAUNCH) == self.launch:
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
        sampler = optuna.samplers.TPESampler(seed=None if self.storage else self.seed + 1000 * self.worker)
        try:
            study = optuna.create_study(
                storage=self._storage(),
                sampler=sampler,
                pruner=pruner,
                study_name=self.out.resolve().name,
                load_if_exists=True,
            )
        except Exception as error:  # of many types: no such database, no driver for it, no rights
            where = self.storage or self.out
            raise ConfigError(f"--storage {where}: {str(error).splitlines()[0]}") from None
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
            error = least(run)
            study.tell(trial, error)
            tell(f"{name}: {error:.4g}")
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
    begun = executor.map_array(work, [replace(mine, worker=number) for number in range(min(jobs, left))])
    tell(f"{mine.out}: {len(begun)} jobs share {left} trials")
    try:
        wait_for(begun, "job")
    finally:
        mine.release(study)
    return study


def _stopped(trial: optuna.trial.FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("stopped"))


def least(run: RunFolder) -> float:
    """The validation error that chose the weights of a finished run."""
    table = run.history_table()
    column = next(str(name) for name in table if str(name).startswith("val_"))
    return float(table[column].min())


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
