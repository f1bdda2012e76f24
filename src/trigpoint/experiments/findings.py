"""What an experiment found: tables beside the paper's numbers, and claims with their outcome, as Markdown and JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data.files import write_text
from trigpoint.report.style import save
from trigpoint.report.tables import UNKNOWN, markdown_table

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows under a title; ``note`` says what the columns mean."""

    title: str
    rows: list[Row]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim, whether it ``holds`` here, and the numbers; None = not testable: see ``judged``."""

    text: str
    holds: bool | None
    numbers: str

    @property
    def outcome(self) -> Literal["holds", "fails", "not testable"]:
        """In words."""
        return "not testable" if self.holds is None else "holds" if self.holds else "fails"


def judged(text: str, holds: bool | None, numbers: str, obstacles: Iterable[str] = ()) -> Claim:
    """A claim that is not testable, whatever the numbers, where one of the ``obstacles`` is no empty text.

    An obstacle says why the runs cannot tell: what is compared is no better than a constant answer, or a width stands
    at a clamp.

    >>> judged("A beats B", True, "40 against 41 px", ["", "B: 41 px, a constant answer 22 px"]).numbers
    '40 against 41 px. Not testable: B: 41 px, a constant answer 22 px'
    """
    reasons = "; ".join(dict.fromkeys(reason for reason in obstacles if reason))
    return Claim(text, None, f"{numbers}. Not testable: {reasons}") if reasons else Claim(text, holds, numbers)


@dataclass
class Findings:
    """Everything an experiment has to say; ``setting`` states how it differs from the paper."""

    title: str
    setting: str
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)

    def markdown(self) -> str:
        """The text of ``table.md``."""
        blocks = [f"# {self.title}", self.setting, *(f"**Note:** {warning}" for warning in self.warnings)]
        for table in self.tables:
            blocks += [f"## {table.title}", markdown_table(table.rows), *([table.note] if table.note else [])]
        if self.claims:
            blocks += ["## Claims", *(f"- {c.text}: **{c.outcome}**. {c.numbers}" for c in self.claims)]
        return "\n\n".join([*blocks, *(f"![{name}]({name}.png)" for name in self.figures)]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinity are null."""
        values = {
            "title": self.title,
            "setting": self.setting,
            "warnings": self.warnings,
            "tables": [asdict(table) for table in self.tables],
            "claims": [{**asdict(claim), "outcome": claim.outcome} for claim in self.claims],
            "figures": [f"{name}.png" for name in self.figures],
            "runs": self.runs,
        }
        text = json.dumps(values, default=lambda number: number.item())  # of NumPy
        plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return plain

    def write(self, out: Path) -> None:
        """Write ``results.json``, ``table.md`` and the figures into ``out``, over those of an earlier call."""
        for name, figure in self.figures.items():
            save(figure, out / f"{name}.png")
        write_text(out / "results.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", overwrite=True)
        write_text(out / "table.md", self.markdown(), overwrite=True)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation (N - 1 below) of several seeds; one value stands alone, unknown ones are counted.

    >>> spread([1.0, 2.0, 3.0]), spread([1.234]), spread([1.0, float("nan")])
    ('2.00 ± 1.00', '1.23', '1.00 (1 of 2)')
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return UNKNOWN
    deviation = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    counted = "" if len(known) == len(values) else f" ({len(known)} of {len(values)})"
    return f"{np.mean(known):.{digits}f}{deviation}{counted}"


def finite_mean(values: Sequence[float]) -> float:
    """Mean over the seeds; infinite when a seed has no value."""
    mean = float(np.mean(values))
    return mean if math.isfinite(mean) else math.inf


def between(bounds: tuple[float, float]) -> str:
    """Bounds as text, a dash where there are none."""
    return f"{bounds[0]:.2f} to {bounds[1]:.2f}" if np.isfinite(bounds).all() else UNKNOWN
