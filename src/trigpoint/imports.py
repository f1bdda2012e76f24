"""Names of a package that are imported when they are first used, so that what needs no PyTorch does not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package: imports one of its names from the module that ``homes`` lists it under.

    >>> get = lazy("here", {"math": ("tau",)})
    >>> round(get("tau"), 2)
    6.28
    >>> get("pi")
    Traceback (most recent call last):
    AttributeError: module 'here' has no attribute 'pi'
    """
    module_of = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(module_of[name]), name)

    return get
