"""The text of a page that holds a whole detector: scripts, style, runtime and model in one file, and no address of
another.

The scripts of ``page/`` are modules, so that their types can be checked; in the file they stand one after another.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trigpoint import __version__
from trigpoint.errors import ConfigError
from trigpoint.export.card_html import card_html
from trigpoint.metrics import difficulty, domain
from trigpoint.metrics.trust import UNLIKE_FIRST, UNLIKE_THEN
from trigpoint.report.page import SHARED

PAGE = Path(__file__).parent / "page"
VENDOR = PAGE / "vendor"
RUNTIME = "onnxruntime-web 1.30.0"
"""What lies in ``page/vendor``, unchanged but for the comment that names its source map."""
MAIN = (
    "dom",
    "heads",
    "files",
    "detector",
    "colours",
    "marks",
    "pen",
    "trust",
    "store",
    "table",
    "view",
    "lists",
    "keys",
    "main",
)
WORKER = ("heads", "png", "reading", "worker")
"""Modules, each after those that it uses at once."""
USUAL, MOST = 25_000_000, 200_000_000
"""Bytes of a page: up to which it is easily sent, and above which browsers fail to open it."""
_IMPORT = re.compile(r'^import [^;]*? from "\./[a-z]+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async |class |const |function |let )", re.MULTILINE)


def page_text(model: bytes, about: Mapping[str, Any], name: str) -> str:
    """The page of an exported ``model`` that says ``about`` of itself; ``name`` is its title.

    Raises ConfigError for a model that is too large for a page.
    """
    main, style = _joined(MAIN), _read("frame.css") + _read("style.css")
    notices = (VENDOR / "onnxruntime-ThirdPartyNotices.txt.gz").read_bytes()
    parts = [
        _part("about", "application/json", _as_json(_for_page(about, name))),
        _part("worker", "text/plain", _joined(WORKER)),
        _part("runtime", "text/plain", _packed((VENDOR / "ort.wasm.bundle.min.mjs").read_bytes())),
        _part("wasm", "text/plain", _base64((VENDOR / "ort-wasm-simd-threaded.wasm.gz").read_bytes())),
        _part("model", "text/plain", _packed(model)),
        _part("notices-packed", "text/plain", _base64(notices)),
    ]
    values = {
        "policy": _policy(main, style),
        "generator": f"trigpoint {__version__}",
        "name": html.escape(name),
        "icon": _base64((PAGE / "icon.svg").read_bytes()),
        "style": style,
        "main": main,
        "what": html.escape(_what(about["landmarks"]["landmarks"])),
        "licence": html.escape(f"{RUNTIME}\n\n{(VENDOR / 'onnxruntime-LICENSE.txt').read_text(encoding='utf-8')}"),
        "card": card_html(about.get("card")),
        "parts": "\n".join(parts),
    }
    text = re.sub(r"\{([a-z]+)\}", lambda found: values[found[1]], _read("index.html"))
    if len(text) > MOST:
        raise ConfigError(
            f"export: expected a model for a page of at most {MOST / 1e6:.0f} MB, which browsers open, got one of "
            f"{len(text) / 1e6:.0f} MB; try --precision float16 or int8, or --to onnx"
        )
    return text


def _read(name: str) -> str:
    own = PAGE / name
    return (own if own.is_file() else SHARED / name).read_text(encoding="utf-8")


def _joined(names: Iterable[str]) -> str:
    """Modules as one script; each is a module of its own in ``page``, or shared."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"{name}.js"))) for name in names)


def _policy(script: str, style: str) -> str:
    """What the page may do: run its own script and WebAssembly, and reach nothing.

    ``blob:`` are the parts that the page itself has unpacked.
    """
    allowed = {
        "default-src": "'none'",
        "script-src": f"'sha256-{_digest(script)}' 'wasm-unsafe-eval' blob:",
        "style-src": f"'sha256-{_digest(style)}'",
        "worker-src": "blob:",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{key} {value}" for key, value in allowed.items())


def _digest(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _packed(data: bytes) -> str:
    """The same bytes for the same data."""
    return _base64(gzip.compress(data, 9, mtime=0))


def _part(name: str, kind: str, text: str) -> str:
    """A part that the page reads; its length tells whether the file is whole."""
    return f'<script id="{name}" type="{kind}" data-length="{len(text)}">{text}</script>'


def _as_json(values: Mapping[str, Any]) -> str:
    """JSON that may stand within HTML."""
    return json.dumps(values, ensure_ascii=True).replace("<", "\\u003c")


def _what(names: list[str]) -> str:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"The page finds {shown}, lets you correct them, and writes a table."


def _for_page(about: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the scripts need of ``about``; see ``About`` in types.js."""
    marks, size, check = about["landmarks"], about["input"]["size"], about["check"]
    facts = {
        "Detector": name,
        "Landmarks": ", ".join(marks["landmarks"]),
        "Method": f"{about['method']}, sees {size[1]} × {size[0]} pixels, {about['precision']}",
        "Points": about["points"],
        "Radius": f"share of validation points nearer than it: {about['radius_coverage']:.0%}. Blank: too few to tell",
        "Check": f"at most {check['largest_px']} px from PyTorch in {check['images']} images, by onnxruntime",
        "Not learned": ", ".join(about["untaught"]),
        "Weights": "; ".join(about["weights"]),
        "Licence": about["licence"],
        "Made by": f"{about['made_by']}, {RUNTIME}",
    }
    return {
        "name": name,
        "landmarks": marks["landmarks"],
        "skeleton": marks.get("skeleton", []),
        "threshold": about["threshold"],
        "trust": _for_flags(about),
        "facts": [[key, text] for key, text in facts.items() if text],
    }


def _for_flags(about: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page flags images by, and the constants of its rules; None where the run cannot say it."""
    if about.get("trust") is None or about["threshold"] is not None:
        return None
    rules = {
        "far": domain.FAR,
        "subjects": domain.SUBJECTS,
        "shifted": domain.SHIFTED,
        "several": domain.SEVERAL,
        "leastScore": difficulty.LEAST_SCORE,
        "leastDoubt": float(difficulty.LEAST),
        "mostDoubt": float(difficulty.MOST),
        "first": UNLIKE_FIRST,
        "then": UNLIKE_THEN,
    }
    return {**about["trust"], "rules": rules}
