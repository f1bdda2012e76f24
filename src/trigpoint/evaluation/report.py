"""What every report of an evaluation is: numbers, of which run and data, and how they become files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.report import Picture, render_html
from trigpoint.runs import RunFolder


@dataclass(kw_only=True)
class Report(ABC):
    """``metrics`` by their names in ``metrics.json``; ``warnings`` are what a reader of the numbers has to know."""

    metrics: dict[str, Any]
    dataset: LandmarkDataset
    run: RunFolder
    split: str
    warnings: list[str] = field(default_factory=list)

    @abstractmethod
    def figures(self) -> list[Picture]:
        """What the page shows."""

    @abstractmethod
    def overlay(self, positions: list[int]) -> Figure:
        """Figure of the images at these positions with true and predicted points."""

    @property
    def spacing_source(self) -> str | None:
        """Where millimetres come from, None without any."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """The metrics, plus what was evaluated."""
        about = {"run": self.run.folder.name, "dataset": self.dataset.name, "split": self.split}
        return {**about, **self.metrics, "warnings": list(self.warnings)}

    def to_json(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write ``to_dict``; raises DataError when the file exists."""
        return write_text(path, json.dumps(self.to_dict(), indent=1) + "\n", overwrite=overwrite)

    def to_html(self, path: str | Path | None = None, overwrite: bool = False) -> str:
        """One self-contained HTML page with numbers, curves and overlays; also written to ``path`` when given."""
        training = [
            Picture(title, file)
            for title, file in (("Training", self.run.history), ("Target width", self.run.folder / "sigma.png"))
            if file.is_file()
        ]
        text = render_html(
            self.metrics,
            [*self.figures(), *training],
            settings=self.run.recipe().model_dump(mode="json"),
            warnings=self.warnings,
            title=f"Evaluation of {self.run.folder.name}",
            subtitle=f"{self.dataset.name}, split {self.split}",
            spacing_source=self.spacing_source,
        )
        if path is not None:
            write_text(path, text, overwrite=overwrite)
        return text
