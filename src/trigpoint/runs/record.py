"""What a finished run notes of itself: ``record.json`` to verify it by, ``card.md`` for people."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trigpoint.data.files import write_text
from trigpoint.errors import RunError, counted
from trigpoint.landmarks import COVERAGE, Spacing
from trigpoint.metrics.trust import RADII, why_untold
from trigpoint.runs.folder import RunFolder
from trigpoint.runs.landmark_file import LandmarkFile

RECORD, CARD = "record.json", "card.md"


@dataclass(frozen=True)
class Record:
    """``weights``: SHA-256 of ``weights.safetensors``. ``images``, ``subjects``: numbers by part. ``size``: median
    height and width of the validation images. ``error``: their mean radial error, original pixels, NaN of
    multi-instance runs; ``interval``: its 95 % over subjects, None where too few were validated on. ``card``: SHA-256
    of the text of ``card.md``, empty where none was noted."""

    weights: str
    images: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    error: float = math.nan
    interval: tuple[float, float] | None = None
    card: str = ""


def digest(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def card_digest(text: str) -> str:
    """SHA-256 of the text of a card, whatever its line ends, as hexadecimal digits."""
    return hashlib.sha256("\n".join(text.splitlines()).encode()).hexdigest()


def write_record(run: RunFolder, record: Record) -> None:
    """Write both files; the record notes the card."""
    text = card(run, record)
    record = replace(record, card=card_digest(text))
    values = asdict(record) | {"error": None if math.isnan(record.error) else round(record.error, 6)}
    write_text(run.folder / RECORD, json.dumps(values, indent=1) + "\n", overwrite=True)
    write_text(run.folder / CARD, text, overwrite=True)


def read_record(run: RunFolder) -> Record | None:
    """What a run noted; None of runs that noted nothing. Raises RunError for a damaged file."""
    file = run.folder / RECORD
    if not file.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        error = math.nan if values["error"] is None else float(values["error"])
        height, width = values["size"]
        images, subjects = ({str(k): int(v) for k, v in values[key].items()} for key in ("images", "subjects"))
        ends = values.get("interval")  # not noted by older versions
        interval = None if ends is None else (float(ends[0]), float(ends[1]))
        noted = str(values.get("card") or "")
        return Record(str(values["weights"]), images, subjects, (int(height), int(width)), error, interval, noted)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file}: is damaged ({error}); put it back, or train into another --out") from None


def card(run: RunFolder, record: Record) -> str:
    """The model card: what the run was trained on and measured on, and what it is not for."""
    recipe, marks = run.recipe(), run.read_landmarks()
    names = marks.landmarks.names
    env = run.env.read_text(encoding="utf-8", errors="replace").splitlines() if run.env.is_file() else []
    facts = {line.split(" ", 1)[0]: line.split(" ", 1)[-1] for line in env}
    learned, validated = (record.images.get(part, 0) for part in ("train", "val"))
    people = [record.subjects.get(part, 0) for part in ("train", "val")]
    radii = [radius for radius in marks.radius.tolist() if not math.isnan(radius)]
    warned = "`predict` warns of some differences, and cannot see all."
    if not run.trust.is_file():
        warned = f"Nothing warns of them: {why_untold(bool(radii), marks.threshold is not None, people[1])}."
    chose = ", which chose the weights, so that new ones may be a little worse"
    if recipe.train.num_epochs <= recipe.train.val_every:  # they were looked at once
        chose = ""
    lines = [
        f"# {run.folder.resolve().name}: a model that finds {counted(len(names), 'landmark')}",
        "",
        f"- **Finds**: {', '.join(names)}",
        f"- **Method**: {recipe.method_name}, input {recipe.data.input.size[0]} x {recipe.data.input.size[1]} (rows x "
        f"columns), {'grey' if recipe.data.input.channels == 1 else 'colour'}",
        f"- **Made by**: trigpoint {facts.get('trigpoint', '?')}, torch {facts.get('torch', '?')}",
        f"- **Weights**: SHA-256 {record.weights}",
    ]
    lines += [f"- **Began from**: {line}" for line in env if line.startswith(("weights ", "begun from "))]
    lines += [
        "",
        "## Trained on",
        "",
        f"{counted(learned, 'image')} of {counted(people[0], 'subject')} of the dataset "
        f"`{Path(str(recipe.data.path)).name}` ({facts.get('data', 'no fingerprint')}).",
        "",
        "## Measured on",
        "",
        f"{counted(validated, 'image')} of {counted(people[1], 'subject')}, "
        f"{record.size[1]} x {record.size[0]} pixels (rows x columns, median){chose}:",
        "",
        *_measured(record, radii, marks),
        "",
        "Measure it on images of subjects that it has never seen: `trigpoint evaluate RUN --data FOLDER --split test`.",
        "",
        "## Not for",
        "",
        f"- images unlike those above: other machines, framing, sizes of the figure, ages, species or poses. {warned}",
        "- decisions that nobody checks. This is no medical device, and no one has approved it for diagnosis or "
        "treatment.",
        "- images without the landmarks: exactly one of each is found in every image."
        if marks.threshold is None
        else "- counting what is hidden: instances that are not seen are not found.",
        "",
        "Check that the run, or a model exported from it, is as it was made: `trigpoint verify RUN`, `trigpoint verify "
        "MODEL.onnx`.",
        "",
    ]
    return "\n".join(lines)


def _measured(record: Record, radii: list[float], marks: LandmarkFile) -> list[str]:
    lines = []
    if not math.isnan(record.error):
        lines.append(f"- mean radial error: {error_told(record, marks.spacing_mm)}")
    if radii:
        one = len(radii) == 1
        width = (
            _length(radii[0], marks.spacing_mm)
            if one
            else f"{_span(min(radii), max(radii), marks.spacing_mm)}, by landmark"
        )
        lines.append(f"- radius that the error stays below in {COVERAGE:.0%} of new images like these: {width}")
    else:
        lines.append(
            f"- no radius: too few subjects were validated on to say how far points may be off; it takes {RADII}"
        )
    return lines + (
        [] if marks.threshold is None else [f"- an instance counts from a score of {marks.threshold:.3g} on"]
    )


def error_told(record: Record, spacing: Spacing | None) -> str:
    """The mean radial error with its interval.

    >>> error_told(Record("", error=2.5, interval=(2.25, 2.75)), None)
    '2.50 px, 95 % interval 2.25 px to 2.75 px'
    """
    sure = "" if record.interval is None else f", 95 % interval {_span(*record.interval, spacing, 2)}"
    return f"{_length(record.error, spacing, 2)}{sure}"


def _length(pixels: float, spacing: Spacing | None, digits: int = 1) -> str:
    """A length in mm where all training images have the same square pixels, and in px.

    >>> _length(23.68, (0.1, 0.1)), _length(23.68, None)
    ('2.4 mm (23.7 px)', '23.7 px')
    """
    px = f"{pixels:.{digits}f} px"
    return px if spacing is None or spacing[0] != spacing[1] else f"{pixels * spacing[0]:.{digits}f} mm ({px})"


def _span(low: float, high: float, spacing: Spacing | None, digits: int = 1) -> str:
    return f"{_length(low, spacing, digits)} to {_length(high, spacing, digits)}"
