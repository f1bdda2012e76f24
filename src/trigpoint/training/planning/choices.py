"""The choices of a plan, and how they are written for a person and for a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

GIVEN = "given on the command line"


@dataclass(frozen=True)
class Choice:
    """A value of the recipe, by its dotted key, and why it is chosen (empty: as in the recipe fast)."""

    key: str
    value: Any
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The choices, in the order of the recipe."""

    choices: tuple[Choice, ...]

    def values(self) -> dict[str, Any]:
        """The recipe as nested values."""
        return nested(self.choices)

    def text(self, values: Mapping[str, Any] | None = None) -> str:
        """The recipe as YAML, each choice with its reason beside it; ``values``: with what was given otherwise."""
        planned = {choice.key: choice for choice in self.choices}
        head = "# Planned by trigpoint from the data. An ordinary recipe: change what you like and train with it.\n"
        return head + "".join(_lines(self.values() if values is None else values, planned, ""))

    def told(self) -> list[str]:
        """The choices that have a reason, a line each."""
        return [f"{choice.key}={_inline(choice.value)}: {choice.reason}" for choice in self.choices if choice.reason]


def nested(choices: tuple[Choice, ...] | list[Choice]) -> dict[str, Any]:
    """Values by their dotted keys as a recipe has them.

    >>> nested([Choice("train.epochs", 3), Choice("name", "a")])
    {'train': {'epochs': 3}, 'name': 'a'}
    """
    out: dict[str, Any] = {}
    for choice in choices:
        *parents, last = choice.key.split(".")
        place = out
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = choice.value
    return out


def _lines(values: Mapping[str, Any], planned: Mapping[str, Choice], prefix: str) -> list[str]:
    indent = "  " * prefix.count(".")
    out = []
    for key, value in values.items():
        path = prefix + key
        choice = planned.get(path)
        if isinstance(value, dict) and any(other.startswith(f"{path}.") for other in planned):
            out += [f"{indent}{key}:\n", *_lines(value, planned, path + ".")]
        else:
            why = choice.reason if choice is not None and choice.value == value else GIVEN
            out.append(f"{indent}{key}: {_inline(value)}{f'  # {why}' if why else ''}\n")
    return out


def _inline(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
