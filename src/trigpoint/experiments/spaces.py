"""What the values of a sweep are drawn from, as an argument says it: ``train.optimizer.lr=loguniform(1e-4,1e-2)``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trigpoint.config import parse_yaml
from trigpoint.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import optuna

KINDS = {
    "choice": "choice(a, b, ...): one of these",
    "uniform": "uniform(low, high): a number",
    "loguniform": "loguniform(low, high): a number above 0, by its logarithm",
    "integer": "integer(low, high): a whole number",
}
_SPACE = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Space:
    """Where a key is drawn from: one of ``KINDS``, and its values."""

    kind: str
    values: tuple[Any, ...]

    @classmethod
    def of(cls, text: str) -> Space | None:
        """The space that a text such as ``loguniform(1e-4, 1e-2)`` names, None for any other value.

        >>> Space.of("choice(mse, kl)"), Space.of("5")
        (Space(kind='choice', values=('mse', 'kl')), None)
        """
        found = _SPACE.fullmatch(text.strip())
        if found is None:
            return None
        if found[1] not in KINDS:
            raise ConfigError(f"'{text}': unknown way to draw values '{found[1]}'; {did_you_mean(found[1], KINDS)}")
        kind, values = found[1], parse_yaml(f"[{found[2]}]")
        if kind != "choice":
            values = _range(kind, values, text)
        elif len(values) < 2 or len({str(value) for value in values}) < len(values):
            raise ConfigError(f"'{text}': expected two or more values that differ; {KINDS[kind]}")
        return cls(kind, tuple(values))

    def draw(self, trial: optuna.Trial, key: str) -> Any:
        """A value for ``key``."""
        if self.kind == "choice":  # by their place, for Optuna takes no lists
            return self.values[trial.suggest_categorical(key, list(range(len(self.values))))]
        low, high = self.values
        if self.kind == "integer":
            return trial.suggest_int(key, low, high)
        return trial.suggest_float(key, low, high, log=self.kind == "loguniform")

    def shown(self, value: Any) -> Any:
        """What Optuna notes as ``value``, as it stands in the recipe."""
        return self.values[value] if self.kind == "choice" else value


def _range(kind: str, values: Sequence[Any], text: str) -> list[float]:
    """Two numbers, the smaller one first."""
    try:
        numbers = [int(value) if kind == "integer" else float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    whole = kind != "integer" or all(isinstance(value, int) for value in values)
    if len(numbers) != 2 or not numbers[0] < numbers[1] or not whole:
        raise ConfigError(f"'{text}': expected two numbers, the smaller one first; {KINDS[kind]}")
    if kind == "loguniform" and numbers[0] <= 0:
        raise ConfigError(f"'{text}': expected numbers above 0, got {numbers[0]:g}; {KINDS[kind]}")
    return numbers


def divided(overrides: Sequence[str]) -> tuple[dict[str, Space], list[str]]:
    """The spaces by their keys, and the overrides that all trials have. Raises ConfigError where there is no space."""
    spaces, fixed = dict[str, Space](), list[str]()
    for text in overrides:
        key, _, value = text.partition("=")
        space = Space.of(value)
        if space is None:
            fixed.append(text)
        else:
            spaces[key.strip()] = space
    if not spaces:
        known = "; ".join(KINDS.values())
        what = "expected a key with values to draw from, such as train.optimizer.lr=loguniform(1e-4,1e-2)"
        raise ConfigError(f"{what}, got {' '.join(overrides) or 'none'}; {known}")
    return spaces, fixed
