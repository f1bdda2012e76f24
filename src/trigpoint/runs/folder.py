"""The run folder: what training leaves and everything after it reads.

``config.yaml`` the resolved recipe, ``plan.yaml`` the same with a planner's reasons (where it was planned),
``landmarks.yaml`` names, pairs, measurements, spacing, calibrated radii, intervals and threshold, and the landmarks
that no training image annotated, ``trust.json`` how radii grow from image to image and what images are usual,
``together.json`` how errors of neighbouring landmarks go together (where they do),
``record.json`` and ``card.md`` what a finished run notes of itself (``runs.record``),
``split.csv`` which image was learned from and which validated,
``weights.safetensors`` the best weights, ``last.ckpt`` to resume from and ``previous.ckpt`` the one before it,
``metrics.csv`` one row per epoch,
``history.png``, ``env.txt`` versions and device, ``data.csv`` what each image was, by hashes of its pixels and
annotations, ``skipped.csv`` images that could not be read (with ``data.on_error=skip``), ``curve.csv`` errors of
trainings with fewer labels (``trigpoint data curve``). Files are written to a
temporary name and renamed; only ``skipped.csv`` gains lines. ``.lock`` is held by the process that trains.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from trigpoint import __version__
from trigpoint.config import to_yaml
from trigpoint.data.files import write_bytes, write_text
from trigpoint.data.quality.fingerprint import ImageRecord, fingerprint, last_records, to_csv
from trigpoint.errors import ConfigError, RunError
from trigpoint.metrics.shape_prior import ShapePrior
from trigpoint.metrics.together import Together
from trigpoint.metrics.trust import Trust
from trigpoint.nn.pretrained import notes
from trigpoint.nn.weights import pack, unpack
from trigpoint.recipe import Recipe, SourceRecipe, load_any_recipe
from trigpoint.runs.environment import environment_text
from trigpoint.runs.landmark_file import LandmarkFile, damaged

T = TypeVar("T")
FIXED = "fixed"  # the schedule that leaves the widths of the targets as they are
_ORIGIN = "begun from "  # a line of env.txt
_PART = re.compile(r"unknown (network|method|schedule|loss) '([^']+)'")


class RunFolder:
    """Paths of a run and access to its files; raises RunError for what is missing or damaged."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.plan = self.folder / "plan.yaml"
        self.landmarks = self.folder / "landmarks.yaml"
        self.trust = self.folder / "trust.json"
        self.shape = self.folder / "shape.json"
        self.together = self.folder / "together.json"
        self.split = self.folder / "split.csv"
        self.weights = self.folder / "weights.safetensors"
        self.last = self.folder / "last.ckpt"
        self.previous = self.folder / "previous.ckpt"
        self.metrics = self.folder / "metrics.csv"
        self.history = self.folder / "history.png"
        self.sigma = self.folder / "sigma.png"
        self.env = self.folder / "env.txt"
        self.data = self.folder / "data.csv"
        self.skipped = self.folder / "skipped.csv"
        self.curve = self.folder / "curve.csv"
        self.lock = self.folder / ".lock"
        self._begun = self.folder / ".begun.part"  # there while the first files are written

    def __fspath__(self) -> str:
        return str(self.folder)

    def begin(
        self,
        recipe: Recipe,
        marks: LandmarkFile,
        split: Mapping[str, list[str]],
        origins: Mapping[str, str] | None = None,
    ) -> None:
        """Write what is known before training. Raises RunError when the folder holds anything else."""
        self.open_new()
        self.write_landmarks(marks)
        self.write_about(recipe, split, origins)

    def open_new(self) -> None:
        """Make the folder. Raises RunError when it holds anything but what a start that was killed leaves."""
        there = {file.name for file in self.folder.iterdir()} if self.folder.exists() else set()
        if there - {self.lock.name} and not self._begun.exists():
            raise RunError(
                f"{self.folder}: expected a new folder or an unfinished run, got a folder with other files; "
                "give another --out"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._begun.touch()

    def write_about(
        self,
        recipe: Recipe | SourceRecipe,
        split: Mapping[str, list[str]],
        origins: Mapping[str, str] | None = None,
    ) -> None:
        """Write which images are in which part, the environment, the hashes of the runs it begins from by their names
        in the recipe, what is known of weights that have a name, and the recipe."""
        self._write_split(_split_rows(split))
        begun = "".join(f"{_ORIGIN}{name} {digest}\n" for name, digest in (origins or {}).items())
        begun += "".join(f"{note}\n" for note in notes(recipe))
        write_text(self.env, environment_text() + begun, overwrite=True)
        self.write_recipe(recipe)  # last: its presence makes the folder a run
        self.sweep()

    def write_recipe(self, recipe: Recipe | SourceRecipe) -> None:
        """Write ``config.yaml``."""
        write_text(self.config, to_yaml(recipe), overwrite=True)

    def write_data(self, records: Sequence[ImageRecord]) -> None:
        """Write ``data.csv``, and add its fingerprint to ``env.txt``."""
        write_text(self.data, to_csv(records), overwrite=True)
        before = self.env.read_text(encoding="utf-8") if self.env.is_file() else ""
        line = f"data {fingerprint(records)}, {len(last_records(records))} images\n"
        write_text(self.env, before + line, overwrite=True)

    def sweep(self) -> None:
        """Remove what was written, or half written, under a temporary name."""
        for part in self.folder.glob(".*.part"):
            part.unlink(missing_ok=True)

    def exists(self) -> bool:
        """Whether the folder is a run."""
        return self.config.is_file()

    def recipe(self) -> Recipe:
        """The resolved recipe of a run that finds landmarks."""
        found = self.any_recipe()
        if isinstance(found, SourceRecipe):
            raise RunError(
                f"{self.folder}: expected a run that finds landmarks, got a source model, which tells classes of "
                f"images apart; learn landmarks with it: method.transfer.source.run={self.folder}"
            )
        return found

    def located(self) -> Recipe:
        """The recipe with ``data.path`` as the present working folder finds it: as it stands, else, where it was given
        relative to another one, from the nearest folder around the run that has it."""
        recipe = self.recipe()
        path = recipe.data.path
        if path is None or Path(path).exists():
            return recipe
        around = (folder / path for folder in self.folder.resolve().parents)
        found = next((str(place) for place in around if place.exists()), path)
        return recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": found})})

    def source_recipe(self) -> SourceRecipe:
        """The resolved recipe of a source model."""
        found = self.any_recipe()
        if not isinstance(found, SourceRecipe):
            raise RunError(f"{self.folder}: expected the run of a source model, got one that finds landmarks")
        return found

    def any_recipe(self) -> Recipe | SourceRecipe:
        """What ``config.yaml`` holds. Raises RunError, and says when another version wrote it."""
        if self.folder.is_file():
            raise RunError(f"{self.folder}: expected a run folder, got {_file(self.folder)}")
        if not self.folder.is_dir():
            fix = f"train one with 'trigpoint train fast data.path=FOLDER --out {self.folder}'"
            raise RunError(f"{self.folder}: no such run folder; check the path, or {fix}")
        if not self.exists():
            raise RunError(f"{self.folder}: expected a run folder with config.yaml, got none; check the path")
        try:
            return load_any_recipe(self.config)
        except ConfigError as error:
            lines = self.env.read_text(encoding="utf-8", errors="replace").splitlines() if self.env.is_file() else []
            if part := _PART.search(str(error)):
                kind, name = part.groups()
                of = next((line for line in lines if line.startswith("part ") and f": {name} of " in line), None)
                package = "another package" if of is None else of.split(" of ")[1]
                fix = f"install it, or import the module that adds the {kind} first (from Python)"
                raise RunError(f"{self.config}: {kind} '{name}' is a part of {package}, not there; {fix}") from None
            made = next((line.split()[1] for line in lines if line.startswith("trigpoint ")), None)
            other = made is not None and made != __version__
            advice = f"; the run was made by trigpoint {made}, this is {__version__}: pip install trigpoint=={made}"
            raise RunError(f"{error}{advice if other else ''}") from None

    def unfinished(self) -> str | None:
        """What is missing of a run that finds landmarks, in words, while it is trained or after it was stopped."""
        if len(self.read_landmarks().radius):
            return None
        done = f"{self.epochs_done()} of {self.recipe().train.num_epochs} epochs"
        return f"{self.folder}: is not finished ({done}), so its weights may change and its radii are not known yet"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.folder)!r})"

    def read_landmarks(self) -> LandmarkFile:
        """Names, spacing and radii."""
        return LandmarkFile.read(self.landmarks)

    def write_landmarks(self, marks: LandmarkFile) -> None:
        """Write ``landmarks.yaml``."""
        marks.write(self.landmarks)

    def read_trust(self, count: int) -> Trust | None:
        """What is known of the errors of the ``count`` landmarks beside their radii; None of runs without."""
        return _read_json(self.trust, Trust.from_dict, lambda found: len(found.difficulty.mean), count)

    def write_trust(self, trust: Trust | None) -> None:
        """Write ``trust.json``; without any there is none."""
        _write_json(self.trust, None if trust is None else trust.to_dict())

    def read_shape(self, count: int) -> ShapePrior | None:
        """What the labelled shapes say of the ``count`` landmarks; None of runs that do not ask them."""
        return _read_json(self.shape, ShapePrior.from_dict, lambda found: len(found.mean), count)

    def write_shape(self, shape: ShapePrior | None) -> None:
        """Write ``shape.json``; without any there is none."""
        _write_json(self.shape, None if shape is None else shape.to_dict())

    def read_together(self) -> Together | None:
        """How errors of landmarks near one another go together; None where they do not, or nobody knows."""
        return _read_json(self.together, Together.from_dict)

    def write_together(self, together: Together | None) -> None:
        """Write ``together.json``; without anything to say there is none."""
        _write_json(self.together, None if together is None else together._asdict())

    def origins(self) -> dict[str, str]:
        """Hashes of the runs that this one began from; none of a run that did not note them."""
        lines = self.env.read_text(encoding="utf-8", errors="replace").splitlines() if self.env.is_file() else []
        noted = (line.removeprefix(_ORIGIN).rpartition(" ") for line in lines if line.startswith(_ORIGIN))
        return {name: digest for name, _, digest in noted}

    def join(self, new: Mapping[str, list[str]], epoch: int) -> None:
        """Add images to the parts, which are learned from, or validated on, from an epoch on."""
        rows, table = _split_rows(new, epoch), _table(self.split, ("image", "part"), dtype=str)
        self._write_split(pd.concat([table[~table["image"].isin(rows["image"])], rows]))

    def _write_split(self, table: pd.DataFrame) -> None:
        write_text(self.split, table.to_csv(index=False, lineterminator="\n"), overwrite=True)

    def parts(self, begun: bool = False) -> dict[str, list[str]]:
        """Image names that were trained on and validated on; ``begun``: when it began."""
        table = _table(self.split, ("image", "part"), dtype=str)
        if begun and "since" in table:
            table = table[table["since"].isna()]
        return {str(part): rows["image"].tolist() for part, rows in table.groupby("part", sort=False)}

    def since(self, part: str) -> int:
        """The epoch from which on a part has been what it is now."""
        table = _table(self.split, ("image", "part"), dtype=str)
        joined = table.loc[table["part"] == part, "since"].dropna() if "since" in table else ()
        return max(map(int, joined), default=1)

    def save_weights(self, state: Mapping[str, torch.Tensor], note: Mapping[str, str]) -> None:
        """Write the weights; ``note`` says where they come from."""
        write_bytes(self.weights, pack(state, note), overwrite=True)

    def load_weights(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Weights and their note, whose epoch counts from 1; read without executing anything."""
        if not self.weights.is_file():
            raise RunError(
                f"{self.folder}: expected weights.safetensors, got none; training has not reached its first "
                "validation yet (run the same 'trigpoint train' again), or the file was removed: put it back, or "
                "train into another --out"
            )
        try:
            state, note = unpack(self.weights)
        except ValueError as error:
            raise RunError(f"{self.weights}: {error}") from None
        if "epoch" in note and "validated" not in note:  # of 0.1, which counted from 0 and noted no words
            note = {**note, "epoch": str(int(note["epoch"]) + 1)}
        return state, note

    def history_table(self) -> pd.DataFrame:
        """``metrics.csv``, one row per epoch, the first of which is 1."""
        if not self.metrics.is_file():
            raise RunError(f"{self.folder}: metrics.csv is missing; no epoch has been finished")
        table = _table(self.metrics, ("epoch",))
        if len(table) and table["epoch"].iloc[0] == 0:  # of a version that counted from 0
            table["epoch"] += 1
        return table

    def curves(self) -> dict[str, Path]:
        """The pictures of the training that there are, by their titles.

        That of the target widths is not shown of a run whose schedule is fixed; earlier versions drew its level line.
        """
        drawn = {"Training": self.history} | ({"Target width": self.sigma} if self.widths_move() else {})
        return {title: file for title, file in drawn.items() if file.is_file()}

    def widths_move(self) -> bool:
        """Whether the schedule of the recipe is one that moves the widths of the targets."""
        method = getattr(self.any_recipe(), "method", None)
        schedule = getattr(method, "schedule", None)
        return schedule is not None and schedule.name != FIXED

    def epochs_done(self) -> int:
        """Number of finished epochs."""
        return len(self.history_table()) if self.metrics.is_file() else 0


def _split_rows(split: Mapping[str, list[str]], since: int | None = None) -> pd.DataFrame:
    """Rows of ``split.csv``; those of images that joined later say from which epoch on."""
    rows = pd.DataFrame([(n, part) for part, names in split.items() for n in names], columns=["image", "part"])
    return rows if since is None else rows.assign(since=str(since))


def _read_json(
    file: Path, read: Callable[[Any], T], landmarks: Callable[[T], int] | None = None, count: int = 0
) -> T | None:
    """What ``read`` makes of a file, with ``count`` ``landmarks``; None where there is none. Raises RunError."""
    if not file.is_file():
        return None
    try:
        found = read(json.loads(file.read_text(encoding="utf-8")))
        if landmarks is not None and landmarks(found) != count:
            raise ValueError(f"expected {count} landmarks, got {landmarks(found)}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(file, error) from None
    return found


def _write_json(file: Path, values: Mapping[str, Any] | None) -> None:
    """Write values, or take the file away where there are none."""
    if values is None:
        file.unlink(missing_ok=True)
    else:
        write_text(file, json.dumps(values) + "\n", overwrite=True)


def _table(file: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    """A table that training wrote. Raises RunError when it is not there or not that any more."""
    if not file.is_file():
        raise RunError(f"{file}: is missing; put it back, or train into another --out")
    try:
        table: pd.DataFrame = pd.read_csv(file, **options)
    except (OSError, ValueError) as error:  # what pandas raises for no table derives from ValueError
        raise damaged(file, error) from None
    if missing := [column for column in columns if column not in table]:
        raise damaged(file, KeyError(f"no column {missing[0]}"))
    return table


def _file(file: Path) -> str:
    """What a file is that was given in place of a run folder, and what to give."""
    if file.suffix.lower() == ".onnx":
        what = "an exported model, with which 'trigpoint predict', 'verify' and 'serve' work"
        return f"{what}; give the run folder that it was made from"
    if file.suffix.lower() in (".html", ".htm"):
        return "a page to open in a browser; give the run folder that it was made from"
    if (file.parent / "config.yaml").is_file():
        return f"a file in one; give the folder: {file.parent}"
    return "a file; give the folder that 'trigpoint train --out' has made"
