"""What a check of a dataset found: problems with their weight, and what the set holds."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from trigpoint.data.description import Problem


@dataclass(frozen=True)
class Finding(Problem):
    """A problem with its weight: "error", "warning", or "note" for what is no fault."""

    severity: Literal["error", "warning", "note"] = "error"


@dataclass(frozen=True)
class Summary:
    """What the dataset holds. ``splits`` counts rows, ``unlabelled`` is the share of rows without an annotation of it.

    A landmark that is known to be absent (sets with instances) is annotated.
    """

    name: str = ""
    rows: int = 0
    images: int = 0
    landmarks: int = 0
    subjects: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    unlabelled: dict[str, float] = field(default_factory=dict)
    smallest: tuple[int, int] | None = None  # (width, height)
    largest: tuple[int, int] | None = None
    with_spacing: int = 0  # images of which the pixel spacing is known
    annotators: dict[str, int] = field(default_factory=dict)  # images in which each has labelled something


@dataclass(frozen=True)
class CheckReport:
    """All findings, errors first and notes last, each in the order of the table, and a summary."""

    problems: list[Finding]
    summary: Summary

    @property
    def errors(self) -> list[Finding]:
        """What has to be repaired before training."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """What somebody should look at."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        problems = [asdict(problem) | {"file": str(problem.file)} for problem in self.problems]
        return {"ok": self.ok, "problems": problems, "summary": asdict(self.summary)}
