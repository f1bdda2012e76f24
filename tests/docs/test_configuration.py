"""The page of all options is what the package says of itself, and nothing is left without a word."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "configuration.py"


@pytest.fixture(scope="module")
def configuration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("configuration", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["configuration"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(configuration: ModuleType) -> None:
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), "run: python docs/configuration.py"


def test_every_option_has_a_sentence(configuration: ModuleType) -> None:
    parts = [part for section in configuration.all_sections().values() for part in section]
    fields = [(key, field) for part in parts for key, field in part.fields()]
    some = {"method.network.encoder", "method.transfer.source.run", "method.fine.glimpse", "data.column"}
    assert some <= {key for key, _ in fields}
    silent = [key for key, field in fields if not (field.description or "").endswith(".")]
    assert not silent, f"no sentence below: {', '.join(silent)}"


def test_the_script_does_what_it_says(configuration: ModuleType) -> None:
    assert doctest.testmod(configuration).failed == 0
