"""What the two face experiments share: the small scale, sigma and error per region (Fig. 7), and NME of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.metrics import mean_error, normalized_error
from trigpoint.metrics.functional import image_errors
from trigpoint.report.figures import sigma_curves
from trigpoint.reproduce.findings import Claim, Table, spread
from trigpoint.reproduce.study import Outcome

REGIONS = ("jaw", "brows", "mouth", "eyes", "nose")  # Fig. 7, the widest first
# what --scale small changes in the recipes: a network, loss and size that a CPU trains in minutes
SMALL: Mapping[str, Any] = {
    "data.input.size": [128, 128],
    "data.input.channels": 1,
    "data.augment": {
        "rotation": 15,
        "scale": [0.87, 1.15],
        "shift": 0.05,
        "flip": 0.5,
        "brightness": 0.2,
        "contrast": 0.2,
    },
    "data.workers": 1,
    "method.network": {"name": "res_unet"},
    "method.schedule.sigma_min": 1.0,
    "method.loss": "kl",
    "method.decoder": "soft_argmax",
    "method.normalize": "peak",
    "train.batch_size": 16,
    "train.optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.01},
    "train.lr_schedule": {"name": "cosine", "warmup": 0.05},
    "train.ema": 0.99,
    "train.clip": 5,
}


def nme_of_images(points: FloatArray, test: LandmarkDataset) -> FloatArray:
    """Normalised mean error (N,) of each test image, a share; NaN where it has no normalising length.

    ``points`` (N, K, 2) found, original pixels.
    """
    marks = test.landmarks
    if marks.normalizer is None or not np.isfinite(points).any():
        return np.full(len(test), np.nan)
    return image_errors(normalized_error(points, test.points, marks.normalizer, marks))


def region_widths(outcome: Outcome, marks: LandmarkSet) -> dict[str, FloatArray]:
    """Mean sigma (E,) of each group's landmarks over the epochs, heatmap px."""
    return {group: outcome.sigma(names).mean(axis=1) for group, names in marks.groups.items()}


def region_figure(outcome: Outcome, marks: LandmarkSet) -> Figure:
    """Fig. 7: mean sigma of each region against the epoch."""
    return sigma_curves(
        outcome.epochs, {group: values.tolist() for group, values in region_widths(outcome, marks).items()}
    )


def region_table(outcomes: Sequence[Outcome], marks: LandmarkSet) -> Table:
    """Last sigma, speed and error of each region, mean ± sd over seeds."""
    rows: list[dict[str, Any]] = []
    for group, names in marks.groups.items():
        where = [marks.index(name) for name in names]
        widths = [region_widths(outcome, marks)[group] for outcome in outcomes]
        rows.append(
            {
                "region": group,
                "landmarks": len(names),
                "last sigma": spread([float(values[-1]) for values in widths]),
                "epochs to half of sigma0": spread([_halved(values) for values in widths], 0),
                "MRE px": spread([mean_error(outcome.errors[:, where]) for outcome in outcomes]),
            }
        )
    note = "Sigma in heatmap px, mean over the region's landmarks, mean ± sd over seeds; MRE of the test images."
    return Table("Sigma per region (Fig. 7)", rows, note)


def region_claims(outcomes: Sequence[Outcome], marks: LandmarkSet) -> list[Claim]:
    """The order of the regions in Fig. 7; not tested when the dataset's groups are others."""
    text = "Eyes and nose end with the sharpest targets, then the mouth; jaw and brows stay widest (Fig. 7)"
    if not set(REGIONS) <= set(marks.groups):
        return [Claim(text, None, f"needs the groups {', '.join(REGIONS)}, got {', '.join(marks.groups) or 'none'}")]
    last: Mapping[str, float] = {
        group: float(np.mean([region_widths(outcome, marks)[group][-1] for outcome in outcomes])) for group in REGIONS
    }
    sharp, wide = max(last["eyes"], last["nose"]), min(last["jaw"], last["brows"])
    order = sorted(last, key=lambda group: last[group])
    return [
        Claim(
            text,
            sharp <= last["mouth"] <= wide and sharp < wide,
            "last sigma: " + ", ".join(f"{group} {last[group]:.2f}" for group in order),
        )
    ]


def _halved(widths: FloatArray) -> float:
    """First epoch whose width is at most half of the first one's; NaN = never."""
    below = np.flatnonzero(widths <= widths[0] / 2)
    return float(below[0]) if len(below) else float("nan")
