"""A study as data: the YAML file that says what an experiment varies, and what a user asks of it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from trigpoint.config import Config, parse, read_yaml, to_yaml
from trigpoint.data.files import write_text
from trigpoint.errors import ConfigError, RunError, did_you_mean
from trigpoint.experiments.measures import MEASURES
from trigpoint.recipes import extended, recipe_values

Say = Callable[[str], None]


class TimeUp(RunError):
    """The minutes of a request are over and trainings are left; the same request goes on with them."""


SCALES = ("small", "paper")
MARK = "experiment.yaml"
SLURM = "slurm."
STUDIES = files("trigpoint.experiments.studies")


def silent(text: str) -> None:
    """Say nothing."""


Patterns = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
"""One pattern of the names of settings, or several."""


class Option(Config):
    """An option of a study: one of ``values`` (None: any text), or with ``several`` some of them, joined by commas."""

    values: tuple[str, ...] | None = None
    default: str | None = None
    several: bool = False


class Column(Config):
    """A column of a table: a measure of ``measures.MEASURES``, its limit if any (a number, or a key of ``values``), and
    digits."""

    measure: str
    at: float | str = 0.0
    digits: int = 2

    @field_validator("measure")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(f"unknown measure '{name}'; {did_you_mean(name, MEASURES)}")
        return name


class TableSpec(Config):
    """A table with a row for each setting whose name matches ``runs``; ``first`` heads the column of their labels."""

    title: str
    runs: Patterns = ("*",)
    first: str = "setting"
    columns: dict[str, Column]
    note: str = ""

    @field_validator("columns", mode="before")
    @classmethod
    def _short(cls, columns: Any) -> Any:
        return {key: {"measure": value} if isinstance(value, str) else value for key, value in dict(columns).items()}


class FigureSpec(Config):
    """A figure of the settings whose names match one of ``runs``."""

    kind: Literal["validation", "sigma", "ced", "time_to_accuracy"]
    runs: Patterns = ("*",)
    title: str = ""


class ClaimSpec(Config):
    """The claim that ``ours`` errs less than ``than``, both patterns of settings.

    Of several settings that of ``ours`` with the least validation error is meant, and the best on the test images of
    ``than``. ``factor`` and ``more`` (a length): ours may have that many times the other error, and so much more.
    ``sure``: the whole 95 % interval of the difference has to be below that.
    """

    text: str
    ours: Patterns
    than: Patterns
    factor: float = 1.0
    more: float = 0.0
    sure: bool = False


class Scale(Config):
    """One size of a study.

    ``recipe``: a recipe, or one in place that may extend another. ``vary``: factors, each {name: overrides of the
    recipe by dotted key}; every combination is a setting, whose name joins those of its factors by "-". ``draw``: the
    set that is drawn without data: kind, number of images (or {split: number}) and options of that drawing. ``about``
    and ``labels``: what readers are told. ``values``: numbers that the study's own code reads. ``first_seed_only``:
    patterns of settings that are trained with the first seed alone, beside those of the study.
    """

    about: str = ""
    recipe: dict[str, Any]
    seeds: tuple[int, ...] = (0,)
    vary: tuple[dict[str, dict[str, Any] | None], ...] = ()
    draw: dict[str, Any] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    values: dict[str, Any] = Field(default_factory=dict)
    first_seed_only: Patterns = ()

    def settings(self) -> dict[str, dict[str, Any]]:
        """Overrides by name of setting.

        >>> varied = ({"a": {"seed": 1}, "b": {}}, {"x": {"train.ema": 0}})
        >>> Scale(recipe={}, vary=varied).settings()
        {'a-x': {'seed': 1, 'train.ema': 0}, 'b-x': {'train.ema': 0}}
        """
        factors = [[(name, values) for name, values in factor.items() if values is not None] for factor in self.vary]
        return {
            "-".join(name for name, _ in chosen): {key: value for _, values in chosen for key, value in values.items()}
            for chosen in product(*factors)
        }


class Study(Config):
    """What an experiment is: see the files in ``studies``.

    ``analysis``: the one with its own tables and claims (None: only those stated here). ``bars``: whether single runs
    are long enough for a bar each. ``needs``: the data that it cannot do without. ``first_seed_only``: patterns of
    settings that are trained with the first seed alone. ``title``, ``setting`` and ``notes`` (of tables) name {facts}.
    A scale ``drawn`` takes the place of ``small`` without data.
    """

    name: str
    about: str = ""
    title: str = "{name} (scale {scale})"
    analysis: str | None = None
    bars: bool = True
    needs: str = ""
    setting: str = "{about}. Seeds {seeds}."
    choices: dict[str, Option] = Field(default_factory=dict)
    first_seed_only: Patterns = ()
    tables: tuple[TableSpec, ...] = ()
    claims: tuple[ClaimSpec, ...] = ()
    figures: dict[str, FigureSpec] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)
    values: dict[str, Any] = Field(default_factory=dict)
    scales: dict[str, Scale] = Field(min_length=1)


def study_names() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(file.name[:-5] for file in STUDIES.iterdir() if file.name.endswith(".yaml"))


def load_study(source: str | Path | Mapping[str, Any], home: Path | None = None) -> Study:
    """A study by name, from a file or from values (with files it extends in ``home``), all that it extends filled in.

    >>> load_study("foveated-ablation").scales["small"].seeds
    (0, 1)
    """
    if isinstance(source, Mapping):
        values, folder = dict(source), home or Path()
    else:
        file = Path(source) if str(source).endswith((".yaml", ".yml")) else _named(str(source))
        values, folder = read_yaml(file), file.parent
    values = extended(values, folder, _named)
    for scale in (values.get("scales") or {}).values():
        recipe = scale.get("recipe")
        if isinstance(recipe, str):
            scale["recipe"] = recipe_values(folder / recipe if (folder / recipe).is_file() else recipe)
        elif isinstance(recipe, dict):
            scale["recipe"] = recipe_values(recipe, folder)
    return parse(Study, values, str(values.get("name", "study")))


def _named(name: str) -> Path:
    if name not in study_names():
        raise ConfigError(f"unknown experiment '{name}'; {did_you_mean(name, study_names())}")
    return Path(str(STUDIES / f"{name}.yaml"))


@dataclass(frozen=True)
class Request:
    """What to reproduce and where to.

    ``out``: folder for data, runs, figures and tables; the same request there goes on where it stopped. ``seeds``: of
    the runs (None: those of the study). ``data``: the user's dataset. ``say`` gets a line per finished run;
    ``progress`` shows a bar within each. ``launcher``: where trainings run; ``jobs``: how many at a time (None: one
    on this machine, as Slurm jobs all). ``options``: those of the study and, with ``slurm.``, of the jobs, as
    text. ``minutes``: after so many, counted from ``begun``, no training begins any more; None: all are done. Raises
    ConfigError for an unknown scale or launcher, bad seeds or no minutes.
    """

    name: str
    out: Path
    scale: str = "small"
    seeds: tuple[int, ...] | None = None
    data: Path | None = None
    say: Say = silent
    progress: bool = False
    jobs: int | None = None
    launcher: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    minutes: float | None = None
    begun: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        for key, value, valid in (("scale", self.scale, SCALES), ("launcher", self.launcher, ("local", "submitit"))):
            if value not in valid:
                raise ConfigError(f"{key}: expected {' or '.join(valid)}, got '{value}'")
        seeds = (0,) if self.seeds is None else self.seeds
        if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ConfigError(f"seeds: expected different numbers of 0 or more such as 0,1,2, got {list(seeds)}")
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"jobs: expected 1 or more, got {self.jobs}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ConfigError(f"minutes: expected more than 0, got {self.minutes:g}")
        if self.launcher == "local":
            for key in self.slurm:
                raise ConfigError(f"{SLURM}{key}: is of Slurm jobs, got --launcher local; add --launcher submitit")

    @property
    def until(self) -> float:
        """When the time is up, seconds since 1970; infinite without ``minutes``."""
        return math.inf if self.minutes is None else self.begun + 60 * self.minutes

    @property
    def slurm(self) -> dict[str, str]:
        """Options of the Slurm jobs."""
        return {key.removeprefix(SLURM): value for key, value in self.options.items() if key.startswith(SLURM)}

    def chosen(self, known: Mapping[str, Option]) -> dict[str, Any]:
        """All options of a study: what is asked, or the default; of ``several`` values those, in the study's order.

        Raises ConfigError for an unknown option or value, with the nearest one.
        """
        for key in [key for key in self.options if key not in known and not key.startswith(SLURM)]:
            if not known:
                raise ConfigError(f"{self.name}: expected no options, got {key}={self.options[key]}; leave it out")
            raise ConfigError(f"{self.name}: unknown option '{key}'; {did_you_mean(key, known)}")
        found: dict[str, Any] = {}
        for key, option in known.items():
            text, valid = self.options.get(key, option.default), option.values or ()
            given = [] if text is None else [each.strip() for each in text.split(",")] if option.several else [text]
            if wrong := [value for value in given if valid and value not in valid]:
                raise ConfigError(f"{key}: unknown value '{wrong[0]}'; {did_you_mean(wrong[0], valid)}")
            found[key] = tuple(v for v in valid if text is None or v in given) if option.several else text
        return found

    def open_folder(self, **more: Any) -> None:
        """Mark ``out`` as this experiment's, and ``more`` facts that its runs depend on.

        Raises RunError when it holds other files or another experiment.
        """
        mark, data = self.out / MARK, None if self.data is None else str(self.data.resolve())
        facts = {"experiment": self.name, "scale": self.scale, "data": data, **more}
        if self.out.exists() and not self.out.is_dir():
            raise RunError(f"{self.out}: expected a folder to write to, got a file; give another --out")
        if mark.is_file():
            for key, value in read_yaml(mark).items():
                if facts.get(key) != value:
                    other = f"a reproduction with {key} {value}, not {facts.get(key)}"
                    raise RunError(f"{self.out}: holds {other}; give another --out")
            return
        if self.out.exists() and any(self.out.iterdir()):
            wanted = "a new folder or a reproduction to go on with"
            raise RunError(f"{self.out}: expected {wanted}, got other files; give another --out")
        write_text(mark, to_yaml(facts))
