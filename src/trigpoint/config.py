"""Strict configuration: frozen pydantic models, YAML in and out, dotted overrides.

Every component owns its ``Config`` (the keywords of its constructor); ``trigpoint.recipe`` assembles them.
An unknown key is refused with the nearest valid one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trigpoint.errors import ConfigError, did_you_mean

ModelT = TypeVar("ModelT", bound="Config")


class Config(BaseModel):
    """Base of every component's configuration: frozen, no unknown keys, no silent type changes of strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def options(self) -> dict[str, Any]:
        """Keywords for the component's constructor: all fields except ``name``."""
        return {key: getattr(self, key) for key in type(self).model_fields if key != "name"}


def choose(table: Mapping[str, Any], kind: str) -> Callable[[Any], Config]:
    """Validator for a field that names one component of ``table`` and gives its options.

    ``{"name": "adaloss", "rho": 0.9}`` or just ``"adaloss"`` becomes ``table["adaloss"].Config(rho=0.9)``.
    """

    def validate(value: Any) -> Config:
        if isinstance(value, Config):
            return value
        values = {"name": value} if isinstance(value, str) else dict(value)
        if "name" not in values:
            raise ValueError(f"expected the {kind} by name, got options without 'name'; valid: {', '.join(table)}")
        name = str(values["name"])
        if name not in table:
            raise ValueError(f"unknown {kind} '{name}'; {did_you_mean(name, table)}")
        config: Config = parse(table[name].Config, values)
        return config

    return validate


def parse(model: type[ModelT], values: Any, where: str = "") -> ModelT:
    """Validate ``values``; raises ConfigError that lists every problem by its dotted key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise ConfigError((where + ": " if where else "") + "; ".join(lines)) from None


def _explain(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(model, problem["loc"][:-1])
        return f"unknown key '{key}'; {did_you_mean(str(problem['loc'][-1]), fields)}"
    if problem["type"] == "missing":
        return f"'{key}' is required but not given"
    cause = (problem.get("ctx") or {}).get("error")
    if cause is not None:
        return f"{key}: {cause}" if key else str(cause)
    return f"{key}: {problem['msg'].lower()}, got {problem['input']!r}"


def _fields_at(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    current: Any = model
    for part in path:
        inner = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if inner is None:
            return []
        current = next((t for t in _types(inner.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)
    return list(current.model_fields) if current is not None else []


def _types(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping from a file (safe loader); raises ConfigError naming file and line."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected keys and values, got {type(values).__name__}")
    return values


def to_yaml(values: Config | Mapping[str, Any]) -> str:
    """YAML text of a config or mapping, keys in their order."""
    plain = values.model_dump(mode="json") if isinstance(values, Config) else dict(values)
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys, values read as YAML.

    >>> apply_overrides({"train": {"epochs": 5}}, ["train.epochs=7", "data.size=[64, 64]"])
    {'train': {'epochs': 7}, 'data': {'size': [64, 64]}}
    """
    out = _copy(values)
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"override '{text}': expected key=value, such as train.epochs=5")
        target = out
        *parents, last = key.strip().split(".")
        for part in parents:
            nested = target.setdefault(part, {})
            if isinstance(nested, str):  # "schedule: adaloss" with schedule.rho=0.5 given
                nested = target[part] = {"name": nested}
            if not isinstance(nested, dict):
                raise ConfigError(f"override '{text}': '{part}' is a value, not a section")
            target = nested
        try:
            target[last] = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{text}': value not readable as YAML: {error}") from None
    return out


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}
