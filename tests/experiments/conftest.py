"""Studies of the package made so small that they say nothing about accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from painting import painting
from trigpoint.experiments import Study, findings, load_study
from trigpoint.recipes import recipe_values

Tiny = Callable[..., Study]


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """``tiny(name, scale="small", **fields)``: a study with other fields in one scale; ``values`` and ``draw`` are
    added to its own, ``study_values`` to those of the study."""

    def make(name: str, scale: str = "small", study_values: dict[str, Any] | None = None, **fields: Any) -> Study:
        study = load_study(name)
        old = study.scales[scale]
        for key in ("values", "draw"):
            if key in fields:
                fields[key] = {**(getattr(old, key) or {}), **fields[key]}
        if "recipe" in fields:
            fields["recipe"] = recipe_values(fields["recipe"])
        update = {"scales": {scale: old.model_copy(update=fields)}, "values": {**study.values, **(study_values or {})}}
        return study.model_copy(update=update)

    return make


@pytest.fixture(scope="session", autouse=True)
def _findings_are_painted() -> Iterator[None]:
    """Figures of a study are painted, though those of its runs are not."""
    save = findings.save

    def painted(*given: Any, **options: Any) -> Any:
        with painting():
            return save(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "save", painted)
        yield
