"""What the labelling page and the exported page share: helpers for the document, a canvas, colours and controls.

Each page has them beside its own files, so its scripts import ``./colours.js``, ``./dom.js`` and
``./pen.js``.
"""

from pathlib import Path

SHARED = Path(__file__).parent
"""Where ``colours.js``, ``dom.js``, ``pen.js`` and ``frame.css`` lie."""
