"""``curve.csv`` of a run: errors of trainings with fewer labels, and what they say of more, in words."""

import pandas as pd

from trigpoint.errors import DataError, RunError
from trigpoint.metrics.label_curve import LabelCurve, label_curve
from trigpoint.runs.folder import RunFolder

COLUMNS = ("labels", "image", "subject", "error_px", "points")
TIMES = {2: "twice", 10: "ten times"}


def read_curve(run: RunFolder) -> LabelCurve | None:
    """The curve of a run; None where it was not measured. Raises RunError for a damaged file."""
    if not run.curve.is_file():
        return None
    try:
        table = pd.read_csv(run.curve, dtype={"image": str, "subject": str})
        tables = [part.set_index("image") for _, part in table[list(COLUMNS)].groupby("labels", sort=True)]
        first = tables[0]
        sums = [part["error_px"].reindex(first.index).to_numpy(float) for part in tables]
        counts = [int(part["labels"].iloc[0]) for part in tables]
        return label_curve(
            counts, pd.DataFrame(sums).to_numpy(), first["points"].to_numpy(float), list(first["subject"])
        )
    except (OSError, ValueError, KeyError, IndexError, DataError) as error:
        raise RunError(
            f"{run.curve}: expected what 'trigpoint data curve' wrote, got a damaged file ({error}); remove it and run "
            "that again"
        ) from None


def outlook(curve: LabelCurve) -> list[str]:
    """What was measured, and what to expect of more labels, a sentence each."""
    measured = ", ".join(
        f"{error:.2f} px with {count:.0f}" for count, error in zip(curve.counts, curve.errors, strict=True)
    )
    lines = [f"labels: {measured} labelled images, on the validation images"]
    for times, word in TIMES.items():
        value, low, high = curve.expected(times * float(curve.counts.max()))
        count = times * curve.counts.max()
        lines.append(f"with {word} the labels ({count:.0f}): {value:.2f} px expected [{low:.2f}, {high:.2f}]")
    return lines
