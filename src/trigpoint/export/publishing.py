"""``export_html``: from a run folder to one checked page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigpoint.data.files import write_text
from trigpoint.export.browser import chromium, try_page
from trigpoint.export.export import (
    Checked,
    Exported,
    Precision,
    checked_model,
    limit_of,
    of_run,
    refuse_farther,
    summary,
)
from trigpoint.export.html import page_text
from trigpoint.export.writing import about_of
from trigpoint.prediction import Predictor
from trigpoint.runs import RunFolder


@dataclass(frozen=True)
class ExportedPage(Exported):
    """As ``Exported``, whose numbers are those of the model in the page. ``browser``: what the page found in Chromium;
    None where it was not tried, and ``untried`` says why. ``refused``: what it said of images that it does not read, by
    file. ``seconds``: that an image took, of reading and finding."""

    browser: Checked | None
    untried: str
    refused: dict[Path, str]
    seconds: float


def export_html(
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    precision: Precision = "float32",
    check: Sequence[Path] | None = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportedPage:
    """Write a run as one page ``out`` (.html) that finds landmarks in a browser, without a network or a server.

    Its model is checked as ``export_run`` does, then the page itself in Chromium, where there is one, on the images
    that browsers read. Nothing is written that fails. Raises what ``export_run`` raises, ConfigError for a model that
    is too large for a page, and DataError where the page reads none of the images to check on.
    """
    return of_run(page_of_predictor, run, Path(out), ".html", precision, check, tolerance, overwrite, progress)


def page_of_predictor(
    predictor: Predictor,
    target: Path,
    images: Sequence[Path],
    precision: Precision = "float32",
    *,
    tolerance: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> ExportedPage:
    """As ``export_html`` for a predictor on the CPU; ``origin``: what the file says of where it comes from."""
    model, of_model = checked_model(
        predictor, target, images, precision, tolerance=tolerance, progress=progress, origin=origin
    )
    text = page_text(model, about_of(model), target.stem)
    program, untried = chromium()
    browser, refused, seconds = None, dict[Path, str](), float("nan")
    if program:
        trial = try_page(text, program, predictor, images, progress)
        for one in trial.found:
            refuse_farther(one, limit_of(precision, tolerance))
        browser, refused, seconds = summary(trial.found), trial.refused, trial.seconds
    write_text(target, text, overwrite=overwrite)
    return ExportedPage(target, *of_model, browser, untried, refused, seconds)
