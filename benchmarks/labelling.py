"""How many clicks labelling takes with the room's proposals: a simulated annotator labels a set that is labelled.

    python -m benchmarks labelling                      # drawn radiographs
    python -m benchmarks labelling --data FACES --minutes 1.5

The annotator begins with no label. The first image costs a click per landmark. Then a planned training, as the room
takes it, learns from what is labelled, again whenever there are ``--growth`` times as many labels; of each next image
every proposal that is off by more than ``--tolerance`` pixels is dragged, for one click each, and the others are
accepted as they are, so models learn from them too. A landmark that an image lacks costs a click, with and without
proposals. The next images are those of ``trigpoint data next``, whose doubts are known of ``--pool`` images, or random.

All that is known lies in the labelled folders below ``--out``: the same command goes on after it was stopped.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import trigpoint as tp
from trigpoint.app.choosing import choose, to_choose_from
from trigpoint.app.folder import open_folder
from trigpoint.app.learning import minutes_asked, snapshot, snapshot_file
from trigpoint.app.predictions import AHEAD
from trigpoint.app.project import Entry, Project
from trigpoint.app.state import ABSENT, Mark, Row
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import FloatArray, Sample
from trigpoint.prediction.views import mean_apart, predict_views
from trigpoint.report import markdown_table
from trigpoint.synthetic import write_radiographs

GOAL = 0.15
"""Share of the clicks of plain labelling that the room shall take at most."""
ORDERS = ("chosen", "random")
DRAWN = 60, (480, 388)  # images and their size, where no data are given


@dataclass(frozen=True)
class Setting:
    """``growth``: times as many labels as before make it worth learning again; ``tolerance`` in original pixels."""

    minutes: float = 1.5
    growth: float = 2.0
    tolerance: float = 4.0
    pool: int = AHEAD
    seed: int = 0
    until: int | None = None  # labels at which it stops


class Annotator:
    """Labels images of a project by the truth of a set, and notes the clicks beside each label."""

    def __init__(self, truth: tp.LandmarkDataset, project: Project, tolerance: float) -> None:
        self.project, self.tolerance = project, tolerance
        own = {truth.image_name(sample): sample for sample in truth.samples}
        self.truth: list[Sample] = [own[entry.called] for entry in project.entries]

    def clicks(self) -> list[tuple[int, int]]:
        """Of each labelled image its number and its clicks, in the order of labelling."""
        notes = [(entry.state.note.split(), entry.id) for entry in self.project.entries if entry.state.note]
        return [(number, int(note[1])) for note, number in sorted(notes, key=lambda one: int(one[0][0]))]

    def label(self, entry: Entry, proposed: FloatArray | None) -> None:
        """Correct the proposals (K, 2) that are too far off, or place all points where there are none."""
        marks, clicks, sample = dict[str, Mark](), 0, self.truth[entry.id]
        for k, (name, seen) in enumerate(zip(self.project.names, sample.visibility, strict=True)):
            true = (float(sample.points[k, 0]), float(sample.points[k, 1]))
            guess = None if proposed is None else (float(proposed[k, 0]), float(proposed[k, 1]))
            if seen > 0 and guess is not None and math.dist(guess, true) <= self.tolerance:
                marks[name] = (*guess, 2)
                continue
            clicks += 1
            marks[name] = (*true, 2) if seen > 0 else ABSENT
        note = f"{1 + len(self.clicks())} {clicks}"
        state = entry.state.model_copy(update={"rows": [Row(marks=marks)], "note": note})
        self.project.save(entry.id, state, entry.revision)

    def errors(self) -> FloatArray:
        """How far each label that was placed or accepted is from the truth, original pixels."""
        found = []
        for entry in self.project.entries:
            for row in entry.state.rows:
                for name, mark in row.marks.items():
                    if mark != ABSENT:
                        true = self.truth[entry.id].points[self.project.names.index(name)]
                        found.append(math.dist(mark[:2], true))
        return np.array(found)


def simulate(
    truth: tp.LandmarkDataset, folder: Path, order: str, setting: Setting, say: Callable[[str], None]
) -> Annotator:
    """Label all images of a set in a folder beside, or go on with it; what was clicked is in the result."""
    if not (folder / "dataset.yaml").is_file():
        truth.without_labels().save(folder, images="link")
    project = Project(open_folder(folder))
    annotator = Annotator(truth, project, setting.tolerance)
    mixed = np.random.default_rng(setting.seed).permutation(len(project.entries))
    most = len(project.entries) if setting.until is None else min(setting.until, len(project.entries))
    while (done := len(to_choose_from(project)[0])) < most:
        left = to_choose_from(project)[1]
        at, until = _round(done, setting.growth)
        count = min(until, most) - done
        if not at:
            annotator.label(project.entry(int(mixed[0])), None)
            continue
        predictor = _learned(project, at, setting, say)
        known: dict[int, FloatArray] = {}
        waiting = [project.entry(int(number)) for number in mixed if project.entry(int(number)) in left]
        if order == "chosen":
            pool = {entry.id for entry in waiting[: setting.pool]}
            doubt = _doubt(predictor, pool, known)
            waiting = [one.entry for one in choose(project, doubt, count)]
        for entry in waiting[:count]:
            if entry.id not in known:
                known[entry.id] = predictor.predict([entry.file]).points[0]
            annotator.label(entry, known[entry.id])
        total = sum(clicks for _, clicks in annotator.clicks())
        say(f"{order}: {done + count} of {len(project.entries)} images, {total} clicks")
    return annotator


def _round(done: int, growth: float) -> tuple[int, int]:
    """Labels from which the model of a round has learned, and with how many the next one learns.

    >>> [_round(n, 2) for n in (0, 1, 2, 3, 4, 9)]
    [(0, 1), (1, 2), (2, 4), (2, 4), (4, 8), (8, 16)]
    """
    at, until = 0, 1
    while until <= done:
        at, until = until, max(until + 1, math.ceil(until * growth))
    return at, until


def _learned(project: Project, at: int, setting: Setting, say: Callable[[str], None]) -> tp.Predictor:
    """What the planned training from the labels so far finds; the run of a round is made once."""
    run = project.opened.hidden / "runs" / f"from-{at}"
    if not (run / "weights.safetensors").is_file():
        snapshot(project, [entry.id for entry in to_choose_from(project)[0]])
        table, minutes = snapshot_file(project), setting.minutes
        try:
            tp.train(table, [f"seed={setting.seed}"], out=run, progress=False, minutes=minutes)
        except ConfigError as error:  # this machine is slow, or busy
            longer = minutes_asked(str(error))
            if longer is None:
                raise
            say(f"{run.name}: {longer:g} minutes in place of {minutes:g}, which are too few on this machine")
            tp.train(table, [f"seed={setting.seed}"], out=run, progress=False, minutes=longer)
    return tp.Predictor.load(run)


def _doubt(predictor: tp.Predictor, pool: set[int], known: dict[int, FloatArray]) -> Callable[[Entry], float]:
    """How far views of an image lie apart, of those in the pool; what is found in them becomes known."""

    def apart(entry: Entry) -> float:
        if entry.id not in pool:
            return float("nan")
        found, spread = predict_views(predictor, entry.file)
        known[entry.id] = found.best().points[0]
        return mean_apart(spread)

    return apart


# -- what is printed ---------------------------------------------------------------------------------------------------


def curve(annotators: dict[str, Annotator], growth: float) -> str:
    """Clicks so far after each round, and their share of plain labelling, so far and of the round alone."""
    rows: list[dict[str, object]] = []
    clicks = {order: [each for _, each in one.clicks()] for order, one in annotators.items()}
    images = max(map(len, clicks.values()))
    landmarks = len(next(iter(annotators.values())).project.names)
    done = 0
    while done < images:
        before, done = done, min(_round(done, growth)[1], images)
        row: dict[str, object] = {"labels": done, "plain, clicks": done * landmarks}
        for order, own in clicks.items():
            so_far, now = sum(own[:done]), sum(own[before:done])
            row[f"{order}, clicks"] = so_far
            row[f"{order}, share"] = f"{so_far / (done * landmarks):.1%}"
            row[f"{order}, of these images"] = f"{now / ((done - before) * landmarks):.1%}"
        rows.append(row)
    return markdown_table(rows)


def verdict(order: str, annotator: Annotator) -> str:
    """The clicks of all images against plain labelling, and how exact the labels are."""
    own = annotator.clicks()
    plain, total, errors = len(own) * len(annotator.project.names), sum(each for _, each in own), annotator.errors()
    share, keys = total / plain, (total + len(own) - 1) / plain
    met = "met" if share <= GOAL else "not met"
    return (
        f"{order}: {total} clicks for {plain} landmarks of {len(own)} images, {share:.1%} (goal: {GOAL:.0%}, {met}); "
        f"{keys:.1%} with one key an image that accepts the rest. Labels are off by {errors.mean():.2f} px on average, "
        f"{errors.max():.2f} px at most."
    )


def main(arguments: Sequence[str]) -> str:
    """Simulate, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks labelling", description=(__doc__ or "").split("\n")[0])
    start = Setting()
    parser.add_argument("--data", type=Path, help="a labelled set; none: drawn radiographs")
    parser.add_argument("--split", default="train", help="the subset whose images are labelled; all: every image")
    parser.add_argument("--images", type=int, help=f"how many; default: 500, or {DRAWN[0]} drawn ones")
    parser.add_argument("--minutes", type=float, default=start.minutes, help="of each training")
    parser.add_argument("--growth", type=float, default=start.growth, help="times as many labels until the next one")
    parser.add_argument("--tolerance", type=float, default=start.tolerance, help="pixels that a label may be off")
    parser.add_argument("--pool", type=int, default=start.pool, help="unlabelled images whose doubts are known")
    parser.add_argument("--until", type=int, help="labels at which it stops, to go on later; none: all images")
    parser.add_argument("--seed", type=int, default=start.seed)
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--out", type=Path, help="folder to label in and to go on from; none: a temporary one")
    given = parser.parse_args(arguments)
    if given.growth <= 1:
        raise ConfigError(f"--growth: expected more than 1, got {given.growth:g}; 2 learns again at twice the labels")
    setting = Setting(given.minutes, given.growth, given.tolerance, given.pool, given.seed, given.until)
    with tempfile.TemporaryDirectory() as spare:
        out = given.out or Path(spare)
        truth = _truth(given.data, given.split, given.images, given.seed, out)
        done = {order: simulate(truth, out / order, order, setting, _say) for order in given.orders}
        text = "\n".join([curve(done, setting.growth), "", *(verdict(*one) for one in done.items())])
    about = (
        f"{setting}, torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads"
    )
    return f"{text}\n\n{about}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _truth(data: Path | None, split: str, images: int | None, seed: int, out: Path) -> tp.LandmarkDataset:
    """The labelled images, one of each subject before the second of any."""
    if data is None:
        count = images or DRAWN[0]
        return tp.LandmarkDataset.load(write_radiographs(out / "truth", count, DRAWN[1], seed, {"train": 1.0}))
    truth = tp.LandmarkDataset.load(data, split=None if split == "all" else split)
    if truth.instances:
        raise DataError(f"{data}: expected one object in an image, got a set with instances; give another")
    return truth.limit(images or 500, seed, across=True)
