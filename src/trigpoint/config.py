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

MAX_VALUES = 1_000_000  # of one YAML file, aliases multiplied out
_LONGEST = 500  # letters of a value in a message

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
        values = {"name": value} if isinstance(value, str) else value
        if not isinstance(values, dict) or "name" not in values:
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
    except ConfigError as error:  # of a component that ``choose`` read
        raise ConfigError(f"{where}: {error}" if where else str(error)) from None


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
    return f"{key}: {problem['msg'].lower()}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which builds plain values only, without its ways to be made to fill the memory."""

    def checked(self) -> Any:
        """The one document's values; raises YAMLError also for what PyYAML's constructors stumble over."""
        node = self.get_single_node()
        if node is None:
            return None
        _count(node, {})
        try:
            return self.construct_document(node)
        except (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError) as error:
            raise yaml.YAMLError(
                f"a value that is not of its type ({type(error).__name__}); put it in quotes"
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As YAML demands and PyYAML does not: a key stands once."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(
                None, None, f"expected each key once, got '{twice}' again; keep one", node.start_mark
            )
        values: dict[Any, Any] = super().construct_mapping(node, deep)
        return values


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values below a node, each alias counted as often as it stands; raises YAMLError for too many and for a circle."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError("an alias inside of what it stands for")
        return known[id(node)]
    known[id(node)] = 0
    if isinstance(node, yaml.ScalarNode):
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in node.value):
            raise yaml.YAMLError("half a surrogate pair, which is no letter")
        total = 1
    else:
        below = (part for item in node.value for part in (item if isinstance(item, tuple) else (item,)))
        total = 1 + sum(_count(part, known) for part in below)
    if total > MAX_VALUES:
        raise yaml.YAMLError(f"expected at most {MAX_VALUES} values, got more (aliases of aliases?)")
    known[id(node)] = total
    return total


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text; raises yaml.YAMLError, of whatever was wrong.

    Tags of Python objects, keys given twice, aliases in a circle and aliases that multiply are refused.

    >>> parse_yaml("a: [1, x]")
    {'a': [1, 'x']}
    """
    try:
        loader = _Loader(text)
        try:
            return loader.checked()
        finally:
            loader.dispose()
    except RecursionError:
        raise yaml.YAMLError("values too deep in one another") from None
    except ValueError as error:  # a character that YAML has no escape for
        raise yaml.YAMLError(str(error)) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping from a file, see ``parse_yaml``; raises ConfigError naming file and line."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {_brief(error)}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected keys and values, got {type(values).__name__}")
    return values


def _brief(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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
            target[last] = parse_yaml(raw)
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{text}': value not readable as YAML: {_brief(error)}") from None
    return out


def merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """``child`` over ``parent``, section by section; a component with another ``name`` replaces the parent's section.

    >>> merged({"loss": {"name": "kl", "coordinate": 1.0}, "epochs": 5}, {"loss": {"coordinate": 2.0}})
    {'loss': {'name': 'kl', 'coordinate': 2.0}, 'epochs': 5}
    >>> merged({"loss": {"name": "kl", "coordinate": 1.0}}, {"loss": {"name": "mse"}})
    {'loss': {'name': 'mse'}}
    """
    out = _copy(parent)
    for key, value in child.items():
        old = out.get(key)
        if (
            isinstance(old, str) and isinstance(value, Mapping) and "extends" not in value
        ):  # "loss: mse", now with options
            old = {"name": old}
        if (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            out[key] = merged(old, value)
        else:
            out[key] = _copy(value) if isinstance(value, Mapping) else value
    return out


def extended(
    values: Mapping[str, Any], home: Path, named: Callable[[str], Path], chain: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """``values`` over those of the file or name in their ``extends``, and so on; relative files are found in ``home``.

    ``named`` gives the file of a name, or raises ConfigError. ``chain``: the files that led here, the child first.
    """
    if "extends" not in values:
        return dict(values)
    parent = values["extends"]
    if not isinstance(parent, str) or not parent:
        raise ConfigError(f"extends: expected the name or file of a parent, got {parent!r}")
    file = home / parent
    if not parent.endswith((".yaml", ".yml")) and not file.is_file():
        file = named(parent)
    file = file.resolve()
    if file in chain:
        circle = " -> ".join(each.name for each in (*chain[chain.index(file) :], file))
        raise ConfigError(
            f"extends: expected a parent that does not extend its child, got {circle}; remove one extends"
        )
    if not file.is_file():
        raise ConfigError(f"extends: {parent}: no such file in {home}; give a file there, or a name")
    inherited = extended(read_yaml(file), file.parent, named, (*chain, file))
    return merged(inherited, {key: value for key, value in values.items() if key != "extends"})


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}
