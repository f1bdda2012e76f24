"""These tests look at figures."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _painted(painted: None) -> None:
    """Paint them."""
