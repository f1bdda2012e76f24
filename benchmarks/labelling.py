"""How many clicks labelling takes with the room's proposals: a simulated annotator labels a set that is labelled.

    python -m benchmarks labelling                      # drawn radiographs
    python -m benchmarks labelling --data FACES --minutes 8

The annotator begins with no label. The first image costs a click per landmark. Then the room's ``Learner`` learns from
what is labelled, again whenever there are ``--growth`` times as many labels, each network beginning from the one
before; the annotator waits for it. Of each next image the proposal that is farthest off is dragged, for one click,
others near it move along where the run says so, and so on until none is off by more than ``--tolerance`` pixels. The
rest are accepted as they are then, so models learn from them too. A landmark that an image lacks costs a click, with
and without proposals. The next images are those of ``trigpoint data next``, whose doubts are known of ``--pool``
images, or random.

All that is known lies in the labelled folders below ``--out``: the same command goes on after it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import trigpoint as tp
from trigpoint.app.choosing import appearance, choose, to_choose_from
from trigpoint.app.folder import open_folder
from trigpoint.app.learning import Learner, labelled, minutes_for
from trigpoint.app.pictures import Picture
from trigpoint.app.predictions import AHEAD
from trigpoint.app.project import Entry, Project
from trigpoint.app.state import ABSENT, Mark, Row
from trigpoint.data.pixels.images import read_image
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import FloatArray, Sample
from trigpoint.metrics.together import Together, corrections
from trigpoint.prediction.looks import Looks
from trigpoint.prediction.views import mean_apart, predict_views_of
from trigpoint.report import markdown_table
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.training.planning.few import most_labels

GOAL = 0.15
"""Share of the clicks of plain labelling that the room shall take at most."""
ORDERS = ("chosen", "random")
PLENTY = 30.0  # minutes
DRAWN = 60, (480, 388)  # images and their size, where no data are given


@dataclass(frozen=True)
class Setting:
    """``growth``: times as many labels as before make it worth learning again; ``tolerance`` in original pixels."""

    minutes: float = 8.0  # of a training, at most
    growth: float = 2.0
    tolerance: float = 4.0
    pool: int = AHEAD
    seed: int = 0
    until: int | None = None  # labels at which it stops

    steps: int | None = None  # of each network, in place of what the time is enough for
    side: int = 160  # of its input then

    def overrides(self, images: int) -> list[str]:
        """So many steps with an input of one size, whatever this machine does besides; none for templates."""
        if self.steps is None or images <= most_labels(self.time(images)):
            return []
        batch = 2 if images < 30 else 4 if images < 180 else 8
        epochs = math.ceil(self.steps / math.ceil(0.8 * images / batch))
        values = {"data.input.size": [self.side, self.side], "train.batch_size": batch, "train.epochs": epochs}
        values |= {"data.input.channels": 3, "train.optimizer.name": "adamw"}  # given, so that nothing is raced
        return [f"{key}={value}" for key, value in {**values, "train.val_every": epochs}.items()]

    def time(self, images: int) -> float:
        """Minutes to learn from so many images: those of the room, up to ``minutes``; plenty where steps are given."""
        usual = min(self.minutes, minutes_for(images))
        return usual if self.steps is None or images <= most_labels(usual) else PLENTY


class Label(NamedTuple):
    """An image that was labelled: its number, the clicks that it took, and the labels that its proposals come from."""

    image: int
    clicks: int
    learned: int


class Annotator:
    """Labels images of a project by the truth of a set, and notes the clicks beside each label."""

    def __init__(self, truth: tp.LandmarkDataset, project: Project, tolerance: float) -> None:
        self.project, self.tolerance = project, tolerance
        self.corrected = Counter[str]()  # proposals that were dragged since it began, by landmark
        own = {truth.image_name(sample): sample for sample in truth.samples}
        self.truth: list[Sample] = [own[entry.called] for entry in project.entries]

    def labels(self) -> list[Label]:
        """What was labelled, in that order."""
        notes = [(*map(int, entry.state.note.split()), entry.id) for entry in self.project.entries if entry.state.note]
        return [Label(image, clicks, learned) for _, clicks, learned, image in sorted(notes)]

    def label(
        self, entry: Entry, proposed: FloatArray | None, learned: int = 0, together: Together | None = None
    ) -> None:
        """Correct the proposals (K, 2) that are too far off, of which others move along as ``together`` says, or place
        all points where there are none."""
        sample = self.truth[entry.id]
        placed, seen = sample.points.copy(), sample.visibility > 0
        clicked = np.ones(len(seen), bool)
        if proposed is not None and (k := np.flatnonzero(seen & np.isfinite(proposed).all(-1))).size:
            clicked[k] = dragged = corrections(together, proposed[k], placed[k], self.tolerance)
            corrected = np.where(dragged[:, None], placed[k], np.nan)
            rest = proposed[k] if together is None else together.moved(proposed[k], corrected)
            placed[k] = np.where(dragged[:, None], placed[k], rest)
            self.corrected.update(self.project.names[i] for i in np.flatnonzero(clicked))
        marks: dict[str, Mark] = {
            name: (float(placed[i, 0]), float(placed[i, 1]), 2) if seen[i] else ABSENT
            for i, name in enumerate(self.project.names)
        }
        note = f"{len(self.labels())} {int(clicked.sum())} {learned}"
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
    learned = list[Path]()
    learner = Learner(
        project, lambda event: None, learned.append, setting.time, setting.growth, False, setting.overrides
    )
    learner.resume()
    looks = Looked()
    mixed = np.random.default_rng(setting.seed).permutation(len(project.entries))
    most = len(project.entries) if setting.until is None else min(setting.until, len(project.entries))
    while (done := len(labelled(project))) < most:
        if done and done >= learner.due():
            _learn(learner, say)
        left = {entry.id for entry in to_choose_from(project)[1]}
        waiting = [project.entry(int(number)) for number in mixed if int(number) in left]
        if not learned:
            annotator.label(waiting[0], None)
            continue
        predictor, together = tp.Predictor.load(learned[-1]), RunFolder(learned[-1]).read_together()
        count = min(learner.due(), most) - done
        if order == "chosen":
            pool = waiting[: max(setting.pool, count)]
            apart = [mean_apart(spread) for _, spread in predict_views_of(predictor, [entry.file for entry in pool])]
            doubt = dict(zip([entry.id for entry in pool], apart, strict=True))
            looks.see(project.entries)
            chosen = choose(project, lambda entry: doubt.get(entry.id, math.nan), count, None, looks.of)  # noqa: B023
            waiting = [one.entry for one in chosen]
        waiting = waiting[:count]
        found = predictor.predict([entry.file for entry in waiting]).points
        for entry, points in zip(waiting, found, strict=True):
            annotator.label(entry, points, learner.before, together)
        total = sum(one.clicks for one in annotator.labels())
        share = total / len(project.names) / (done + count)
        say(f"{order}: {done + count} of {len(project.entries)} images, {total} clicks, {share:.1%}")
    return annotator


def _learn(learner: Learner, say: Callable[[str], None]) -> None:
    """Learn as the room does beside the page, but wait for it."""
    begin = time.monotonic()
    learner.learn(labelled(learner.project))
    status = learner.status
    if status["phase"] != "ready":
        raise ConfigError(f"{learner.project.opened.folder}: {status['why']}")
    say(f"learned from {status['images']} images in {time.monotonic() - begin:.0f} s; {status['quality']}")


class Looked:
    """What images look like, by their number; seen once, together."""

    def __init__(self) -> None:
        self.known: dict[int, FloatArray] = {}

    def see(self, entries: Sequence[Entry]) -> None:
        """Look at images that were not seen yet."""
        new = [entry for entry in entries if entry.id not in self.known]
        looks = Looks() if new and Looks.known() else None
        for start in range(0, len(new), 16):
            part = new[start : start + 16]
            if looks is not None:
                found = list(looks.of([read_image(entry.file) for entry in part]))
            else:
                found = [appearance(Picture(entry.file)) for entry in part]
            self.known |= dict(zip([entry.id for entry in part], found, strict=True))

    def of(self, entry: Entry) -> FloatArray:
        """A vector of length 1."""
        return self.known[entry.id]


# -- what is printed ---------------------------------------------------------------------------------------------------


def curve(annotators: dict[str, Annotator]) -> str:
    """Clicks whenever a model had learned, and their share of plain labelling, so far and of that round alone."""
    rows: list[dict[str, object]] = []
    own = {order: one.labels() for order, one in annotators.items()}
    longest = max(own.values(), key=len)
    landmarks = len(next(iter(annotators.values())).project.names)
    ends = [i + 1 for i, one in enumerate(longest) if i + 1 == len(longest) or longest[i + 1].learned != one.learned]
    for before, done in itertools.pairwise([0, *ends]):
        row: dict[str, object] = {"labels": done, "plain, clicks": done * landmarks}
        for order, labels in own.items():
            so_far, now = (sum(one.clicks for one in labels[start:done]) for start in (0, before))
            row[f"{order}, clicks"] = so_far
            row[f"{order}, share"] = f"{so_far / (done * landmarks):.1%}"
            row[f"{order}, of these images"] = f"{now / ((done - before) * landmarks):.1%}"
        rows.append(row)
    return markdown_table(rows)


def verdict(order: str, annotator: Annotator) -> str:
    """The clicks of all images against plain labelling, and how exact the labels are."""
    own = annotator.labels()
    plain, total = len(own) * len(annotator.project.names), sum(one.clicks for one in own)
    errors = annotator.errors()
    share, keys = total / plain, (total + len(own) - 1) / plain
    met = "met" if share <= GOAL else "not met"
    worst = ", ".join(f"{name} {count}" for name, count in annotator.corrected.most_common(5))
    return (
        f"{order}: {total} clicks for {plain} landmarks of {len(own)} images, {share:.1%} (goal: {GOAL:.0%}, {met}); "
        f"{keys:.1%} with one key an image that accepts the rest. Labels are off by {errors.mean():.2f} px on average, "
        f"{errors.max():.2f} px at most." + (f" Corrected most: {worst}." if worst else "")
    )


def main(arguments: Sequence[str]) -> str:
    """Simulate, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks labelling", description=(__doc__ or "").split("\n")[0])
    start = Setting()
    parser.add_argument("--data", type=Path, help="a labelled set; none: drawn radiographs")
    parser.add_argument("--split", default="train", help="the subset whose images are labelled; all: every image")
    parser.add_argument("--images", type=int, help=f"how many; default: 500, or {DRAWN[0]} drawn ones")
    parser.add_argument("--minutes", type=float, default=start.minutes, help="of each training, at most")
    parser.add_argument(
        "--steps", type=int, help="of each network in place of minutes, which a busy machine has fewer of"
    )
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
    setting = Setting(given.minutes, given.growth, given.tolerance, given.pool, given.seed, given.until, given.steps)
    with tempfile.TemporaryDirectory() as spare:
        out = given.out or Path(spare)
        truth = _truth(given.data, given.split, given.images, given.seed, out)
        done = {order: simulate(truth, out / order, order, setting, _say) for order in given.orders}
        text = "\n".join([curve(done), "", *(verdict(*one) for one in done.items())])
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
    truth = tp.LandmarkDataset.load(data, None if split == "all" else split, check_images=False)
    if truth.instances:
        raise DataError(f"{data}: expected one object in an image, got a set with instances; give another")
    return truth.limit(images or 500, seed, across=True)
