"""What a reproduction found: tables beside the paper's numbers, and claims with a verdict, as Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data.files import write_text
from trigpoint.report.style import save
from trigpoint.report.tables import UNKNOWN, Row, markdown_table


@dataclass(frozen=True)
class Table:
    """Rows under a title; ``note`` says what the columns mean."""

    title: str
    rows: list[dict[str, Any]]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim and whether the numbers here bear it out; ``holds`` None = it could not be tested."""

    text: str
    holds: bool | None
    numbers: str

    @property
    def verdict(self) -> str:
        """In words.

        >>> Claim("Adaloss trains", False, "1 of 3 runs").verdict
        'does not reproduce'
        """
        return {True: "reproduces", False: "does not reproduce", None: "not tested"}[self.holds]


@dataclass
class Findings:
    """Everything a reproduction has to say; ``setting`` states how it differs from the paper."""

    title: str
    setting: str
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)

    def claim_rows(self) -> list[Row]:
        """The claims as rows claim, verdict, numbers."""
        return [{"claim": c.text, "verdict": c.verdict, "numbers": c.numbers} for c in self.claims]

    def markdown(self) -> str:
        """The text of ``table.md``."""
        parts = [f"# {self.title}", self.setting]
        parts += [f"**Note:** {warning}" for warning in self.warnings]
        for table in self.tables:
            parts += [f"## {table.title}", markdown_table(table.rows), *([table.note] if table.note else [])]
        if self.claims:
            parts += ["## Verdict", *(f"- {c.text}: **{c.verdict}**. {c.numbers}" for c in self.claims)]
        parts += [f"![{name}]({name}.png)" for name in self.figures]
        return "\n\n".join(parts) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinity are null."""
        values = {
            "title": self.title,
            "setting": self.setting,
            "warnings": self.warnings,
            "tables": [asdict(table) for table in self.tables],
            "claims": [{**asdict(claim), "verdict": claim.verdict} for claim in self.claims],
            "figures": [f"{name}.png" for name in self.figures],
            "runs": self.runs,
        }
        plain: dict[str, Any] = _plain(values)
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
    text = f"{np.mean(known):.{digits}f}"
    if len(known) > 1:
        text += f" ± {np.std(known, ddof=1):.{digits}f}"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
