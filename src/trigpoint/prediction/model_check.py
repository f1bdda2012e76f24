"""Whether an exported model is whole and can be used here, and its card. Needs onnxruntime, and no PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from trigpoint import __version__
from trigpoint.errors import RunError
from trigpoint.prediction.exported import ExportedPredictor
from trigpoint.prediction.model_file import FORMAT, read_model
from trigpoint.prediction.onnx_runtime import onnx_runtime

SAME, OTHER, UNKNOWN = "as recorded", "differs", "cannot be told"
NO_CARD = "it has no model card: it was exported without a run folder, or by an early version; export the run again"


class Check(NamedTuple):
    """``outcome``: one of the three above; ``text``: what was found."""

    what: str
    outcome: str
    text: str


def verify_model(path: str | Path) -> tuple[list[Check], str | None]:
    """Compare an exported model with what it says of itself; with it its card and licence, None where it has no card.

    Raises RunError for a file that is missing, cut, changed, of another tool, of a newer trigpoint, or cannot be run
    here.
    """
    data = read_model(path)
    try:
        about = ExportedPredictor.of(data, path, "cpu").about
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # whole, but not as this version knows it
        raise RunError(f"{path}: says of itself what is not understood ({error!r}); export it again") from None
    checks = [
        Check("file", SAME, f"whole, SHA-256 {hashlib.sha256(data).hexdigest()[:12]}"),
        Check("format", SAME, f"{about['format']}; this version reads up to {FORMAT}"),
        _versions(about),
        _at_export(about),
        Check("weights, data, error", UNKNOWN, "that takes the run folder and its images: trigpoint verify RUN"),
    ]
    card = (about.get("card") or "").rstrip()
    return checks, f"{card}\n\n## Licence\n\n{about.get('licence', '?')}\n" if card else None


def refuse_other_file(path: Path) -> None:
    """Raise RunError for what is neither a run folder nor named as an exported model."""
    if path.is_file():
        page = path.suffix.lower() in (".html", ".htm")
        hint = "open a page in a browser: it checks itself, and its button i has the card" if page else "check the path"
        raise RunError(f"{path}: expected a run folder or an exported model (.onnx), got another file; {hint}")


def _versions(about: dict[str, Any]) -> Check:
    """Of the trigpoint that made it and of the runtime that it was tried with."""
    then = {
        "trigpoint": str(about.get("made_by", "?")).removeprefix("trigpoint "),
        "onnxruntime": str(about.get("runtime", {}).get("onnxruntime_checked", "?")),
    }
    now = {"trigpoint": __version__, "onnxruntime": onnx_runtime().__version__}
    differ = [f"{name} {then[name]}, now {now[name]}" for name in now if then[name] != now[name]]
    return Check("versions", OTHER if differ else SAME, "; ".join(differ) or f"trigpoint {__version__} and others")


def _at_export(about: dict[str, Any]) -> Check:
    """What was found when the file was made; it cannot be found again without the run."""
    check = about.get("check")
    if not check:
        return Check("same as its run", UNKNOWN, "the file does not say that it was checked when it was exported")
    text = f"when it was exported: at most {check['largest_px']} px apart in {check['images']} images"
    return Check("same as its run", SAME, text)
