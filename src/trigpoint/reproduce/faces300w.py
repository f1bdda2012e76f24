"""300-W, section 4.3 and Table 3 of the Adaloss paper; needs the user's own copy of the images and ``.pts`` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error
from trigpoint.report.figures import ced_plot, comparison
from trigpoint.reproduce import dlib_line
from trigpoint.reproduce.faces import SMALL, nme_of_images, region_claims, region_figure, region_table
from trigpoint.reproduce.findings import Claim, Findings, Table, spread
from trigpoint.reproduce.layout300w import COUNTS, MARGIN, SIDE, check_layout, prepare
from trigpoint.reproduce.study import Job, Outcome, Request, run_jobs, with_seeds

NAME = "adaloss-300w"
OPTIONS = (dlib_line.OPTION,)
OCULAR, PUPIL, UNKNOWN = "inter-ocular (outer corners)", "inter-pupil", "not stated"
# Table 3: NME in per cent on common, challenging, full; the normaliser is that of the method's own publication
PAPER: Mapping[str, tuple[float, float, float, str]] = {
    "LBF": (4.95, 11.98, 6.32, PUPIL),
    "CFSS": (4.73, 9.98, 5.76, PUPIL),
    "MDM": (4.83, 10.14, 5.88, PUPIL),
    "TCDCN": (4.80, 8.60, 5.54, PUPIL),
    "Two-Stage": (4.36, 7.42, 4.96, UNKNOWN),
    "RDR": (5.03, 8.95, 5.80, UNKNOWN),
    "Pose-Invariant": (5.43, 9.88, 6.30, UNKNOWN),
    "RCN": (4.20, 7.78, 4.90, PUPIL),
    "SAN": (3.34, 6.60, 3.98, OCULAR),
    "CPM + SBR": (3.28, 7.58, 4.10, OCULAR),
    "dlib": (4.38, 19.39, 7.32, UNKNOWN),
    "Adaloss (paper)": (2.76, 5.61, 3.31, OCULAR),
}
PARTS = ("common", "challenging", "full")
CLOSE = 1.05  # times the paper's number counts as reproduced


@dataclass(frozen=True)
class Scale:
    """Overrides of the recipe and what they change."""

    epochs: int
    about: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


SCALES: Mapping[str, Scale] = {
    "small": Scale(
        24,
        "128 x 128 grey input, residual U-Net with maps of 32 x 32, Kullback-Leibler loss, AdamW 2e-3, 24 epochs "
        "(paper: 256 x 256, Dense U-Net, mean squared error, Adam 1e-4, 150 epochs)",
        SMALL,
    ),
    "paper": Scale(150, "the paper's network, loss, targets, optimizer and augmentation at 256 x 256"),
}


def reproduce(request: Request, scale: Scale | None = None, counts: Mapping[str, int] | None = COUNTS) -> Findings:
    """Check and prepare the user's 300-W, train, and write Table 3 with our row into ``request.out``.

    ``counts``: images expected in each folder; differences become warnings (None: none do). Raises ConfigError without
    ``data`` and DataError that lists what is missing.
    """
    chosen = SCALES[request.scale] if scale is None else scale
    if request.data is None:
        folders = ", ".join(COUNTS)
        raise ConfigError(f"{NAME}: expected your copy of 300-W, got none; give --data FOLDER with {folders}")
    dlib_line.wanted(request)  # a wish that cannot be met is told before hours of training
    layout = check_layout(request.data, counts)
    request.open_folder()
    for difference in layout.differences:
        request.say(f"warning: {difference}")
    data = prepare(layout, request.out / "data", request.say)
    common, challenging = (LandmarkDataset.load(data, split=part) for part in PARTS[:2])
    full = LandmarkDataset([*common.samples, *challenging.samples], common.landmarks, name="300-W full")
    seeds = request.seeds or (0,)
    job = Job("adaloss", NAME, {**chosen.overrides, "train.epochs": chosen.epochs}, 0)
    outcomes = run_jobs(request, with_seeds([job], seeds), data, full)
    results = [_parts(nme_of_images(outcome.points, full), len(common)) for outcome in outcomes]
    line = dlib_line.dlib_line(request, data, full)
    others = {} if line is None else {line.name: _parts(nme_of_images(line.points, full), len(common))}
    findings = Findings(
        f"Adaloss paper, 300-W (scale {request.scale})",
        _setting(chosen, data, len(common), len(challenging), seeds),
        [_table_three(results, others), region_table(outcomes, full.landmarks)],
        [*_claims(results), *region_claims(outcomes, full.landmarks)],
        [*layout.differences, *dlib_line.missing(request)],
        [outcome.summary() for outcome in outcomes],
        {
            "fig7_sigma": region_figure(outcomes[0], full.landmarks),
            "validation": comparison({"Adaloss": _validation(outcomes)}, title="Validation error"),
            "ced": ced_plot(
                {part: np.concatenate([r[part] for r in results]) for part in PARTS}
                | {f"{name}, full": values["full"] for name, values in others.items()},
                0.1,
                unit="NME",
            ),
        },
    )
    findings.write(request.out)
    return findings


def _setting(scale: Scale, data: Path, common: int, challenging: int, seeds: Sequence[int]) -> str:
    training = len(LandmarkDataset.load(data, split="train", check_images=False))
    return (
        f"{training} training faces (a twentieth of them kept for validation), {common} common, {challenging} "
        f"challenging; squares around the landmark box, {MARGIN:.0%} larger on every side, at {SIDE} x {SIDE} pixels; "
        f"{scale.about}. Seeds {', '.join(map(str, seeds))}. Weights are chosen on the validation part, "
        "never on a test set."
    )


def _parts(values: FloatArray, common: int) -> dict[str, FloatArray]:
    return {"common": values[:common], "challenging": values[common:], "full": values}


def _table_three(results: Sequence[Mapping[str, FloatArray]], others: Mapping[str, Mapping[str, FloatArray]]) -> Table:
    rows: list[dict[str, Any]] = [
        {
            "method": name,
            **{part: f"{value:.2f}" for part, value in zip(PARTS, values[:3], strict=True)},
            "normaliser": values[3],
        }
        for name, values in PAPER.items()
    ]
    ours = {part: spread([100 * mean_error(result[part]) for result in results]) for part in PARTS}
    rows.append({"method": "Adaloss, bounded (this run)", **ours, "normaliser": OCULAR})
    for name, parts in others.items():
        shown = {part: f"{100 * mean_error(parts[part]):.2f}" for part in PARTS}
        rows.append({"method": f"{name} (this run)", **shown, "normaliser": OCULAR})
    note = (
        "NME in per cent, mean over images. The paper's table mixes normalisers: an error divided by the inter-pupil "
        "distance is about 1.4 times the same error divided by the distance of the outer eye corners (points 37 and "
        "46, counted from 1), so only rows of one normaliser can be compared. dlib of this run learns from the "
        "training and validation faces and takes the whole crop as its box."
    )
    return Table("Table 3: normalised mean error on 300-W", rows, note)


def _claims(results: Sequence[Mapping[str, FloatArray]]) -> list[Claim]:
    claims = []
    for part, paper in zip(PARTS, PAPER["Adaloss (paper)"][:3], strict=True):
        ours = float(np.mean([100 * mean_error(result[part]) for result in results]))
        text = f"NME on the {part} set is the paper's {paper:.2f} % (within 5 %)"
        claims.append(Claim(text, bool(ours <= CLOSE * paper), f"{ours:.2f} %"))
    return claims


def _validation(outcomes: Sequence[Outcome]) -> tuple[list[int], FloatArray]:
    rows = [outcome.history["val_mre_px"].to_numpy(dtype=np.float64) for outcome in outcomes]
    return outcomes[0].epochs, np.stack(rows)
