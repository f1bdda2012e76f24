"""Decoders begin at once, unless processes of other tests begin with more."""

from __future__ import annotations

import sys

from trigpoint.serving.decoding import prepare


def pytest_collection_finish() -> None:
    if "warm" not in sys.modules:  # which has its own list, for all tests
        prepare()
