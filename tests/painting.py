"""Figures that stay blank or are painted: painting those of a run takes longer than a tiny training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trigpoint.report.style import new_figure

_FIGURE = type(new_figure())
_PAINT = _FIGURE.draw


@contextmanager
def blank() -> Iterator[None]:
    """Figures are composed and written, in their size, but nothing is painted on them; that gives a PNG below 2 kB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_FIGURE, "draw", lambda figure, renderer: None)
        yield


@contextmanager
def painting() -> Iterator[None]:
    """Figures are painted as ever, within ``blank`` too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_FIGURE, "draw", _PAINT)
        yield
