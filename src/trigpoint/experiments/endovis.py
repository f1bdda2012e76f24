"""Instruments of EndoVis 2015, the third experiment of the Adaloss paper: multi-instance, with unknown tools.

Frames of a video are alike, so images for validation are never drawn at random: they are the end of each training
video, with a gap before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.formats.endovis import JOINTS, EndoVis
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.evaluation import Report, evaluate
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, judged, spread
from trigpoint.experiments.measures import Job, Outcome
from trigpoint.landmarks import FloatArray, Sample
from trigpoint.metrics import DetectionReport, count_detections, detection_scores
from trigpoint.metrics.detection import COUNTINGS
from trigpoint.report.detection_figures import precision_recall_plot

CLASPERS = JOINTS[:2]  # what the paper reports
GAP = 10  # frames left out between what is learned and what chooses the weights
VAL_SHARE = 0.15
SCISSORS = ("test5", "test6")  # sequences of the challenge that show them
WIDER = (1.0, 2.0, 3.0)
"""Multiples of the matching radius."""
MOST_LOST = 5.0
"""Percentage points of precision that unknown tools may cost and still count as told apart; the paper loses 4.4."""
SHARES = {"recall %": "recall", "precision %": "precision", "F1 %": "f1"}
TOGETHER = "all together"


class Detected:
    """What a run finds in the test images: for each image K arrays of points, and of scores.

    All candidates, of which those with more than ``threshold`` count; ``radius`` (N,).
    """

    def __init__(self, report: Report) -> None:
        if report.detected is None:
            raise RunError(f"{report.run.folder}: expected a multi-instance run, got another kind")
        self.report, self.images = report, report.detected.images
        self.threshold, self.radius = report.detected.threshold, report.detected.scores.radius
        self.curve, self.counts = report.detected.curve, report.detected.scores.counts
        pairs = [found.by_landmark() for found in report.prediction.detections]
        self.points, self.scores = [points for points, _ in pairs], [scores for _, scores in pairs]

    def among(
        self, where: Sequence[int] | None = None, times: float = 1.0, constant: FloatArray | None = None
    ) -> DetectionReport:
        """Scores of the images at these positions (None: all), the matching radius so many ``times`` the usual one.

        With ``constant`` (K, 2) those of answering with these points in every image.
        """
        rows = list(range(len(self.images)) if where is None else where)
        points, scores = [self.points[i] for i in rows], [self.scores[i] for i in rows]
        if constant is not None:
            points = [[point[None] for point in constant]] * len(rows)
            scores = [[np.ones(1)] * len(constant)] * len(rows)
        truth = [list(self.images[i].points.swapaxes(0, 1)) for i in rows]
        options: dict[str, Any] = {"annotated": np.array([self.images[i].annotated for i in rows]), "draws": 0}
        names, radius = self.report.dataset.landmarks.names, times * self.radius[rows]
        return detection_scores(points, truth, radius, names, scores=scores, threshold=self.threshold, **options)


class Endovis(Experiment):
    """Adaloss and a fixed sigma on the challenge's frames, on another video, or on drawn instruments."""

    measures_points = False
    scissors: Mapping[str, FloatArray] = {}  # points (S, K, 2) of unlabelled tools by image name

    def prepare(self) -> None:
        """Raises ConfigError for options that do not fit, DataError for data that are not complete."""
        request, stand_in, tools = self.request, self.options["stand_in"], self.options["tools"]
        if "tools" in request.options and stand_in != "none":
            both = f"is of the EndoVis labels, got stand_in={stand_in} as well"
            raise ConfigError(f"tools: {both}; leave one of them out")
        if stand_in == "synthetic":
            if request.data is not None:
                fix = "draws its own images, got --data; leave one of them out"
                raise ConfigError(f"{request.name}: {stand_in=!s} {fix}")
            draw = self.scale.draw or {}
            request.open_folder(stand_in=stand_in, count=draw["images"], size=list(draw["size"]))
            self.folder = self.draw("drawn")
            self.scissors = read_scissors(self.folder)
        elif request.data is None:
            needs = "a native set with instances" if stand_in == "laparoscopy" else "the EndoVis 2015 frames and labels"
            raise ConfigError(f"{request.name}: {stand_in=!s} expected {needs}, got no --data; {self.study.needs}")
        else:
            known = stand_in == "laparoscopy"
            whole = read_video(request.data) if known else read_challenge(request.data, tools, self.study.needs)
            data, self.folder = with_validation(whole), request.out / "data"
            request.open_folder(stand_in=stand_in, **({} if known else {"tools": tools}))
            if not (self.folder / "dataset.yaml").is_file():
                data.save(self.folder, images="link", overwrite=True)
        self.test = LandmarkDataset.load(self.folder, split="test")
        firsts = [self.test.samples[rows[0]] for rows in self.test.by_image()]
        self.images, every = [self.test.image_name(sample) for sample in firsts], list(range(len(firsts)))
        self.subsets = {"all": every}
        if stand_in != "laparoscopy":
            seen = [name in self.scissors or s.subject in SCISSORS for name, s in zip(self.images, firsts, strict=True)]
            plain, busy = ([i for i in every if seen[i] is there] for there in (False, True))
            self.subsets = {"no scissors": plain, "with scissors": busy, "all": every}

    def measured(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes = super().measured(jobs)
        self.found: dict[str, list[Detected]] = {}
        for outcome in outcomes:
            detected = Detected(evaluate(outcome.run, self.test, split=None))
            self.found.setdefault(outcome.job.name, []).append(detected)
            total = detected.among().total["strict"]
            shares = f"recall {100 * total.recall:.1f} %, precision {100 * total.precision:.1f} %"
            self.request.say(f"{outcome.job.folder}: {shares}")
        return outcomes

    def summary(self, run: Outcome) -> Row:
        about: Row = {"run": run.run.folder.name, "setting": run.job.name, "seed": run.job.seed}
        detected = self.found[run.job.name][self.seeds.index(run.job.seed)]
        about |= {"threshold": detected.threshold, "epochs": len(run.history), "minutes": run.minutes}
        keys = ("detection", "detection_lenient", "detection_total")
        return about | {key: detected.report.metrics[key] for key in keys}

    def facts(self) -> dict[str, Any]:
        radii = sorted(set(self.found["adaloss"][0].radius.tolist()))
        radius = " to ".join(f"{radius:g}" for radius in dict.fromkeys((radii[0], radii[-1])))
        whole, facts = LandmarkDataset.load(self.folder, check_images=False), super().facts()
        about: Row = {name: len(whole.only(name).by_image()) for name in ("train", "val", "test")}
        about |= {"set": whole.name, "scissors": len(self.subsets.get("with scissors", []))}
        return {**facts, "data": self.note(self.options["stand_in"], **{**facts, **about}), "radius": radius}

    def tables(self) -> list[Table]:
        found = [self._subset_table(name, where) for name, where in self.subsets.items() if where]
        return [*found, self._wider_table(), *([self._scissor_table()] if self.scissors else [])]

    def _subset_table(self, subset: str, where: Sequence[int]) -> Table:
        rows, names = list[Row](), (*self.test.landmarks.names, TOGETHER)
        for setting, runs in self.found.items():
            reports = [run.among(where) for run in runs]
            for counting, name in product(COUNTINGS, names):
                scores = [one.per_landmark[counting].get(name, one.total[counting]) for one in reports]
                cells = {key: spread([100 * getattr(one, share) for one in scores]) for key, share in SHARES.items()}
                distance = spread([one.distance for one in scores])
                row = {"model": setting, "counting": counting, "landmark": name}
                rows.append({**row, **cells, "distance px": distance})
        note = self.note("subset")
        if self.options["stand_in"] != "none":
            return Table(f"Test images: {subset} ({len(where)})", rows, f"{note} The paper has no number for this set.")
        for name, numbers in self.values["paper"][subset].items():
            cells = {
                key: f"{n:.2f}" for key, n in zip(("recall %", "precision %", "distance px"), numbers, strict=True)
            }
            rows.append({"model": "paper", "counting": "not stated", "landmark": name, **cells})
        return Table(f"Test images: {subset} ({len(where)})", rows, note)

    def _wider_table(self) -> Table:
        """Is a low score due to instruments that were not found, or to points that lie elsewhere on them?"""
        rows = []
        for setting, runs in self.found.items():
            reports = {times: [run.among(times=times) for run in runs] for times in WIDER}
            for name in self.test.landmarks.names:
                row: Row = {"model": setting, "landmark": name}
                for times, found in reports.items():
                    each = [report.per_landmark["strict"][name] for report in found]
                    row[f"F1 % within {times:g} x"] = spread([100 * one.f1 for one in each])
                    row[f"distance px within {times:g} x"] = spread([one.distance for one in each])
                rows.append(row)
        return Table("Nearness: F1 with wider matching radii", rows, self.note("wider"))

    def _scissor_table(self) -> Table:
        """Of the drawn scissors, in how many a landmark of a known instrument is seen."""
        rows, where = [], [i for i, name in enumerate(self.images) if name in self.scissors]
        truth = [list(self.scissors[self.images[i]].swapaxes(0, 1)) for i in where]
        for setting, runs in self.found.items():
            shares = []
            for run in runs:
                points, scores = [run.points[i] for i in where], [run.scores[i] for i in where]
                counts = count_detections(points, truth, run.radius[where], scores=scores, threshold=run.threshold)
                shares.append(100 * counts.true_positives.sum(0) / counts.actual.sum(0))
            names, each = self.test.landmarks.names, np.transpose(shares)
            cells = {f"{name} %": spread(values.tolist(), 1) for name, values in zip(names, each, strict=True)}
            rows.append({"model": setting, **cells})
        return Table("Scissors taken for a known instrument", rows, self.note("scissors"))

    def claims(self) -> list[Claim]:
        """Adaloss against the fixed sigma, and precision with scissors in the image against that without.

        Not testable where a run finds no more than the mean training position, answered in every image, does.
        """
        ours, middle = self.found["adaloss"], self.mean_position(self.test.landmarks.names)
        f1 = {name: [100 * run.among().total["strict"].f1 for run in found] for name, found in self.found.items()}
        constant = 100 * float(np.nan_to_num(ours[0].among(constant=middle).total["strict"].f1))
        bad = {
            name: f"{name} has F1 {np.mean(each):.2f} %, the mean training position {constant:.2f} %"
            for name, each in f1.items()
            if not np.mean(each) > constant
        }
        numbers = f"F1 {spread(f1['adaloss'])} against {spread(f1['fixed'])} %"
        holds = bool(np.mean(f1["adaloss"]) > np.mean(f1["fixed"]))
        claims = [judged("Adaloss finds more than the fixed sigma", holds, numbers, bad.values())]
        where = [self.subsets.get(name) for name in ("no scissors", "with scissors")]
        if all(where):
            each = [[100 * run.among(part).total["strict"].precision for run in ours] for part in where]
            lost = float(np.mean(each[0]) - np.mean(each[1]))
            text = f"Tools that were never seen are told apart (at most {MOST_LOST:g} points of precision are lost)"
            shown = f"precision {spread(each[0])} % without, {spread(each[1])} % with scissors; paper 96.56 and 92.16 %"
            claims.append(judged(text, None if np.isnan(lost) else lost <= MOST_LOST, shown, [bad.get("adaloss", "")]))
        return claims

    def figures(self) -> dict[str, Figure]:
        found, names = self.found["adaloss"][0], self.test.landmarks.names
        busy = [int(i) for i in np.argsort(-found.counts.actual.sum(1), kind="stable")]
        wanted = [i for i in busy if i in self.subsets.get("with scissors", [])][:3]
        wanted += [i for i in busy if i not in wanted][: 6 - len(wanted)]
        curve = precision_recall_plot(found.curve, names, found.threshold)
        return {"precision_recall": curve, "instances": found.report.overlay(wanted)}


# -- data -------------------------------------------------------------------------------------------------------------


def read_scissors(folder: Path) -> dict[str, FloatArray]:
    """Points (S, K, 2) of the tools without a label in a drawn set, by image name."""
    file = folder / "distractors.csv"
    table = pd.read_csv(file).set_index("image") if file.is_file() else pd.DataFrame()
    points = table.to_numpy(np.float64).reshape(len(table), -1, 2)
    return {str(image): points[table.index == image] for image in table.index.unique()}


def read_video(root: Path) -> LandmarkDataset:
    """Frames of one real video with up to two instruments each, in the native format."""
    whole = LandmarkDataset.load(root)
    if not whole.instances:
        raise DataError(
            f"{root}: expected a multi-instance set (instances: true), got one instance per image; see the docs"
        )
    for split in ("train", "test"):
        whole.only(split)  # raises with the splits that exist
    return whole


def read_challenge(root: Path, tools: str, needs: str) -> LandmarkDataset:
    """EndoVis 2015 from the user's labels and frames; ``needs`` says what they are."""
    folders = sorted({file.parent for file in Path(root).rglob("*_labels.json")})
    if not folders:
        raise DataError(f"{root}: expected label files *_labels.json, got none; {needs}")
    if len(folders) > 1:
        raise DataError(f"{root}: expected all *_labels.json in one folder, got {len(folders)}; move them together")
    whole = EndoVis(tools).read(folders[0], root).pick(CLASPERS)
    if missing := sorted({str(s.image) for s in whole.samples if not s.image.is_file()}):
        frames = f"{len(whole.by_image())} annotated frames, {len(missing)} of them are missing, such as {missing[0]}"
        raise DataError(f"{root}: expected {frames}; {needs}")
    return whole


def with_validation(data: LandmarkDataset) -> LandmarkDataset:
    """The last ``VAL_SHARE`` of the training images of each subject as split ``val``, the ``GAP`` before them left out.

    Validation images get a subject of their own. A set that has a split ``val`` is left as it is. Raises DataError when
    too few images remain.
    """
    if "val" in data.splits():
        return data
    videos: dict[str, list[list[Sample]]] = {}
    for rows in data.by_image():
        image = [data.samples[row] for row in rows]
        if image[0].split == "train":
            videos.setdefault(image[0].subject, []).append(image)
    samples: list[Sample] = []
    for subject, images in videos.items():
        images.sort(key=lambda image: image[0].image.name)
        held = max(1, round(VAL_SHARE * len(images)))
        if len(images) <= held + GAP:
            wanted = f"expected more than {held + GAP} training images of '{subject}', got {len(images)}"
            raise DataError(f"{data.name}: {wanted}; give the set a split 'val'")
        samples += chain(*images[: -held - GAP])
        samples += [replace(sample, split="val", subject=f"{subject} (end)") for sample in chain(*images[-held:])]
    for sample in data.only("test").samples:  # a video that goes on among the test images gets another name there
        goes_on = sample.subject and sample.subject in videos
        samples.append(replace(sample, subject=f"{sample.subject} (test)") if goes_on else sample)
    return replace(data, samples=samples)
