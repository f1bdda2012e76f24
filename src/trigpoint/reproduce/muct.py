"""MUCT in place of 300-W for Fig. 7 of the Adaloss paper: how sigma moves in each region of the face.

The images may not be published and are not part of the package: ``--data`` names the folder. Any dataset with groups
and a test split works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import failure_rate, mean_error, median_error, radial_error
from trigpoint.report.figures import ced_plot, comparison, time_to_accuracy
from trigpoint.reproduce import dlib_line
from trigpoint.reproduce.dlib_line import DlibLine
from trigpoint.reproduce.faces import SMALL, nme_of_images, region_claims, region_figure, region_table
from trigpoint.reproduce.findings import Claim, Findings, Table, spread
from trigpoint.reproduce.study import Job, Outcome, Request, run_jobs, with_seeds

NAME = "adaloss-muct"
OPTIONS = (dlib_line.OPTION,)
FAILED = 0.08  # of the normalising length
ADALOSS: Mapping[str, str] = {
    "adaloss": "Adaloss, bounded, rule paper (default)",
    "falling": "Adaloss, bounded, rule non_increasing",
}


@dataclass(frozen=True)
class Scale:
    """Overrides of the recipe, the fixed sigma (heatmap px) to compare with, and what differs from the paper."""

    epochs: int
    fixed_sigma: float
    about: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


SCALES: Mapping[str, Scale] = {
    "small": Scale(
        24,
        1.5,
        "128 x 128 grey input, residual U-Net with maps of 32 x 32, Kullback-Leibler loss between the softmax of the "
        "map and the target divided by its sum, AdamW 2e-3, 24 epochs, widths of at least 1 map px, rho 0.9 map px, "
        "which is 7.2 px of 256, for there are fewer epochs to move in (paper: 256 x 256, Dense U-Net, squared error, "
        "targets divided by their mean, Adam 1e-4, 150 epochs, rho 0.9 px)",
        SMALL,
    ),
    "paper": Scale(150, 5.0, "the paper's network, loss, targets, optimizer and augmentation at 256 x 256"),
}


def reproduce(request: Request, scale: Scale | None = None) -> Findings:
    """Train Adaloss by two rules and a fixed sigma and write tables and figures into ``request.out``.

    What is said of Adaloss is of the rule with the lower error on the validation images.

    Raises ConfigError without ``data``, DataError for a dataset without groups or without the split ``test``.
    """
    chosen = SCALES[request.scale] if scale is None else scale
    if request.data is None:
        raise ConfigError(f"{NAME}: expected a face dataset, got none; give --data FOLDER (docs: MUCT, native format)")
    test = LandmarkDataset.load(request.data, split="test")
    if not test.landmarks.groups:
        raise DataError(
            f"{request.data}: expected 'groups' in dataset.yaml (jaw, brows, eyes, nose, mouth), got none; "
            "sigma per region needs regions"
        )
    dlib_line.wanted(request)  # a wish that cannot be met is told before hours of training
    request.open_folder()
    seeds = request.seeds or (0,)
    outcomes = run_jobs(request, with_seeds(jobs(chosen), seeds), request.data, test)
    grouped = {name: [o for o in outcomes if o.job.name == name] for name in (*ADALOSS, "fixed")}
    ours = min(ADALOSS, key=lambda name: float(np.mean([run.val_mre for run in grouped[name]])))
    line = dlib_line.dlib_line(request, request.data, test)
    findings = Findings(
        f"Adaloss paper, sigma per region of the face (scale {request.scale})",
        f"Dataset {test.name}, {len(test)} test images, in place of 300-W: {chosen.about}. Weights are chosen on the "
        f"validation images, all numbers are from the test images. Seeds {', '.join(map(str, seeds))}. Lengths are "
        "pixels of the stored images.",
        [_accuracy(grouped, test, chosen, line), *_regions(grouped, test)],
        [_margin(grouped, ours), *region_claims(grouped[ours], test.landmarks)],
        list(dlib_line.missing(request)),
        runs=[outcome.summary() for outcome in outcomes],
        figures=_figures(grouped, ours, test, line),
    )
    findings.write(request.out)
    return findings


def jobs(scale: Scale) -> list[Job]:
    """The same network and training with Adaloss by both rules and with a fixed sigma."""
    common = {**scale.overrides, "train.epochs": scale.epochs}
    falling = {**common, "method.schedule.rule": "non_increasing"}
    fixed = {key: value for key, value in common.items() if not key.startswith("method.schedule")}
    fixed["method.schedule"] = {"name": "fixed", "sigma0": scale.fixed_sigma}
    return [Job("adaloss", NAME, common, 0), Job("falling", NAME, falling, 0), Job("fixed", NAME, fixed, 0)]


def _accuracy(
    grouped: Mapping[str, Sequence[Outcome]], test: LandmarkDataset, scale: Scale, line: DlibLine | None
) -> Table:
    names = {**ADALOSS, "fixed": f"fixed sigma {scale.fixed_sigma:g}"}
    rows: list[dict[str, Any]] = []
    for key, runs in grouped.items():
        shares = [nme_of_images(run.points, test) for run in runs]
        rows.append(
            {
                "model": names[key],
                "NME %": spread([100 * mean_error(values) for values in shares]),
                "MRE px": spread([run.mre for run in runs]),
                "median px": spread([median_error(run.errors) for run in runs]),
                f"% of images above {FAILED:g}": spread([100 * failure_rate(values, FAILED) for values in shares], 1),
                "minutes": spread([run.minutes for run in runs], 1),
            }
        )
    if line is not None:
        errors, shares = radial_error(line.points, test.points), [nme_of_images(line.points, test)]
        rows.append(
            {
                "model": line.name,
                "NME %": f"{100 * mean_error(shares[0]):.2f}",
                "MRE px": f"{mean_error(errors):.2f}",
                "median px": f"{median_error(errors):.2f}",
                f"% of images above {FAILED:g}": f"{100 * failure_rate(shares[0], FAILED):.1f}",
                "minutes": f"{line.minutes:.1f}",
            }
        )
    length = test.landmarks.normalizer
    note = f"NME is divided by {length.name}." if length is not None else "NME: the dataset names no normalizer."
    return Table("Error on the test images", rows, note + " The paper has no number for this set.")


def _regions(grouped: Mapping[str, Sequence[Outcome]], test: LandmarkDataset) -> list[Table]:
    """The widths of the regions by each rule."""
    tables = {name: region_table(grouped[key], test.landmarks) for key, name in ADALOSS.items()}
    return [replace(table, title=f"{table.title}: {name}") for name, table in tables.items()]


def _margin(grouped: Mapping[str, Sequence[Outcome]], ours: str) -> Claim:
    adaloss, fixed = (float(np.mean([run.mre for run in grouped[key]])) for key in (ours, "fixed"))
    return Claim(
        "Adaloss is better than the fixed sigma",
        bool(adaloss < fixed),
        f"{ADALOSS[ours]}: test MRE {adaloss:.2f} against {fixed:.2f} px: {100 * (adaloss / fixed - 1):+.1f} %",
    )


def _figures(
    grouped: Mapping[str, Sequence[Outcome]], ours: str, test: LandmarkDataset, line: DlibLine | None
) -> dict[str, Figure]:
    names = {"adaloss": "Adaloss", "falling": "Adaloss, non_increasing", "fixed": "fixed sigma"}
    timed = {names[key]: _pair(runs[0]) for key, runs in grouped.items()}
    mark = None
    if line is not None:
        reached = mean_error(radial_error(line.points, test.points))
        timed["dlib (test images)"] = ([line.minutes], [reached])
        mark = (f"dlib {reached:.2f} px", reached)
    errors = {names[key]: np.concatenate([run.errors for run in runs]) for key, runs in grouped.items()}
    top = float(np.nanquantile(np.concatenate([values.ravel() for values in errors.values()]), 0.97))
    curves = {
        names[key]: (runs[0].epochs, np.stack([run.history["val_mre_px"].to_numpy(dtype=np.float64) for run in runs]))
        for key, runs in grouped.items()
    }
    return {
        "fig7_sigma": region_figure(grouped[ours][0], test.landmarks),
        "validation": comparison(curves, title="Validation error"),
        "time_to_accuracy": time_to_accuracy(timed, mark),
        "ced": ced_plot(errors, threshold=float(f"{top:.2g}")),
    }


def _pair(run: Outcome) -> tuple[list[float], list[float]]:
    known = run.history.dropna(subset="val_mre_px")
    return known["minutes"].to_list(), known["val_mre_px"].to_list()
