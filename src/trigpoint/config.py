"""Strict configuration: frozen pydantic models, YAML in and out, dotted overrides.

Every component states its options once, in its ``Config``: default, range and, as the string below a field, what it
means. Recipes name components and set their options; Python gives the same options as keywords (``Config.of``).
An unknown key is refused with the nearest valid one.
"""

import difflib
import inspect
import re
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PlainValidator, ValidationError
from pydantic.fields import FieldInfo

from trigpoint.errors import ConfigError, did_you_mean

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

MAX_VALUES = 1_000_000  # of one YAML file, aliases multiplied out
MAX_BYTES = 10 << 20  # of one YAML file, whose reading takes minutes beyond that
_LONGEST = 500  # letters of a value in a message
_TOO_DEEP, _HALF = "values too deep in one another", "half a surrogate pair, which is no letter"
_MOST_MEANT = 3  # keys that an unknown one may stand for and that are worth naming
_EXPECTED = {  # pydantic's kinds of errors, or their first words, as the second half of "expected ..."
    "bool": "true or false",
    "float": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "model_type": "a section of options",
    "multiple_of": "a multiple of {multiple_of:g}",
    "string_type": "text",
    "too_long": "at most {max_length} values",
    "too_short": "at least {min_length} values",
    "tuple_type": "a list",
}

ModelT = TypeVar("ModelT", bound="Config")


class Config(BaseModel):
    """Base of every component's configuration: frozen, no unknown keys, no silent type changes of strings.

    The string below a field is its documentation.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def of(cls, *given: Any, **options: Any) -> Self:
        """What a component is built from: a config as it is, or one made of options, by keyword or in their order.

        Raises ConfigError for an unknown option, with the nearest valid one, and for a value out of range.
        """
        if len(given) == 1 and isinstance(given[0], cls) and not options:
            return given[0]
        keys = [key for key in cls.model_fields if key != "name"]
        values = dict(zip(keys, given, strict=False))
        if len(given) > len(keys) or values.keys() & options.keys():
            raise ConfigError(
                f"expected a Config, or each of {', '.join(keys)} at most once, got {len(given)} values and "
                f"{', '.join(options) or 'no keywords'}; give the options as keywords"
            )
        return parse(cls, {**values, **options})


class Component(Config):
    """Base of the options of anything that has a name in recipes; a subclass says which."""

    name: str = ""


@dataclass(frozen=True)
class Choice:
    """Marks a field that names one component of the table at ``place`` ("module:NAMES") and gives its options.

    ``{"name": "adaloss", "rho": 0.9}`` or just ``"adaloss"`` becomes ``table["adaloss"].Config(rho=0.9)``. Other
    packages add components by an entry point of the group ``trigpoint.names``, such as ``trigpoint.networks``.
    """

    kind: str
    place: str

    @property
    def table(self) -> dict[str, Any]:
        """The components by name; its module is imported when the table is first looked at."""
        module, _, name = self.place.partition(":")
        table: dict[str, Any] = getattr(import_module(module), name)
        return table

    def find(self, name: str) -> Any:
        """The component of this name; one of another package is entered in the table. Raises ValueError."""
        group = f"trigpoint.{self.place.partition(':')[2].lower()}"
        if name not in self.table:
            found = entry_points(group=group)
            if name not in found.names:
                raise ValueError(f"unknown {self.kind} '{name}'; {did_you_mean(name, [*self.table, *found.names])}")
            try:
                self.table[name] = found[name].load()
            except Exception as error:  # of any type: it is the code of another package that runs here
                *_, last = traceback.extract_tb(error.__traceback__)
                where = f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
                raise ValueError(f"{self.kind} '{name}' of {found[name].value} cannot be imported: {where}") from error
        return self.table[name]

    def default(self, name: str, **options: Any) -> Any:
        """What stands behind the field when this component is taken where none is named."""
        return Field(default_factory=lambda: self.table[name].Config(**options))

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> Any:
        return PlainValidator(self._config).__get_pydantic_core_schema__(Any, handler)

    def _config(self, value: Any) -> Config:
        """The component's config; pydantic puts the field's key before what is wrong in it."""
        if isinstance(value, Config):
            return value
        values = {"name": value} if isinstance(value, str) else value
        if not isinstance(values, dict) or "name" not in values:
            valid = ", ".join(self.table)
            raise ValueError(f"expected the {self.kind} by name, got options without 'name'; valid: {valid}")
        config: Config = self.find(str(values["name"])).Config.model_validate(values)
        return config


def choice_of(field: FieldInfo) -> Choice | None:
    """The table that a field chooses a component from, if it does."""
    return next((part for part in field.metadata if isinstance(part, Choice)), None)


def section_of(field: FieldInfo, value: Any = None) -> type[Config] | None:
    """The model of the options below a field with this value; None where there are none, or any are taken."""
    choice = choice_of(field)
    if choice is None:
        kinds = (field.annotation, *get_args(field.annotation))
        return next((kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, Config)), None)
    if value is None:
        return type(field.get_default(call_default_factory=True))
    with suppress(ValueError):
        config: type[Config] = choice.find(str(value.get("name") if isinstance(value, Mapping) else value)).Config
        return config
    return None


def dotted_keys(model: type[Config], values: Any, before: str = "") -> Iterator[str]:
    """Every key that these values of a model may have, sections and the options of the components they name included.

    A section has its own key first.
    """
    for key, field in model.model_fields.items():
        value = values.get(key) if isinstance(values, Mapping) else None
        yield before + key
        inner = section_of(field, value)
        if inner is not None:
            yield from dotted_keys(inner, value, f"{before}{key}.")


def parse(model: type[ModelT], values: Any, where: str = "") -> ModelT:
    """Validate ``values``; raises ConfigError that lists every problem by its dotted key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, values, problem) for problem in error.errors()]
        raise ConfigError((where + ": " if where else "") + "; ".join(lines)) from None


def _explain(model: type[Config], values: Any, problem: Any) -> str:
    key, kind, context = ".".join(str(part) for part in problem["loc"]), problem["type"], problem.get("ctx") or {}
    if kind == "extra_forbidden":
        return f"unknown key '{key}'; {_meant(key, list(dotted_keys(model, values)))}"
    if kind == "missing":
        return f"'{key}' is required but not given"
    if "error" in context:  # of a check of our own; one of a whole section names its option itself
        joint = "." if key and re.match(r"\w+: ", str(context["error"])) else ": "
        return f"{key}{joint}{context['error']}" if key else str(context["error"])
    got, hint = problem["input"], ""
    said = problem["msg"].removeprefix("Input should be ").lower()
    expected = _EXPECTED.get(kind, _EXPECTED.get(kind.partition("_")[0], said)).format(**context)
    if kind == "literal_error":
        expected = context["expected"].replace("'", "")
        near = difflib.get_close_matches(str(got), re.findall(r"'([^']*)'", context["expected"]), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{key}: expected {expected}, got {_short(repr(got))}{hint}"


def _meant(key: str, valid: Sequence[str]) -> str:
    """Which of the valid dotted keys an unknown one may stand for, or those of its section."""
    parent, _, word = key.rpartition(".")
    beside = [other for other in valid if other.rpartition(".")[0] == parent]
    below = [other for other in valid if not parent or other.startswith(f"{parent}.")]
    for keys, likeness in ((below, 1.0), (beside, 0.5), (valid, 0.75)):
        last = [other.rpartition(".")[2] for other in keys]
        near = difflib.get_close_matches(word, last, n=1, cutoff=likeness)
        meant = [f"'{other}'" for other, end in zip(keys, last, strict=True) if end in near]
        if 0 < len(meant) <= _MOST_MEANT:
            return f"did you mean {' or '.join(meant)}?"
    return "valid: " + (", ".join(beside) or "none")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class _Loader(_SafeLoader):
    """PyYAML's safe loader, which builds plain values only, without its ways to be made to fill the memory.

    Compiled where PyYAML is, which reads recipes eight times as fast.
    """

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
            twice = Counter(keys).most_common(1)[0][0]
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
            raise yaml.YAMLError(_HALF)
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
        raise yaml.YAMLError(_TOO_DEEP) from None
    except yaml.MarkedYAMLError as error:  # in the words of the parser that is not compiled
        words = {"exceeded maximum nesting depth": _TOO_DEEP, "found invalid Unicode character escape code": _HALF}
        raise yaml.YAMLError(words[str(error.problem)]) if error.problem in words else error from None
    except ValueError as error:  # a character that YAML has no escape for
        raise yaml.YAMLError(str(error)) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping from a file, see ``parse_yaml``; raises ConfigError naming file and line."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise ConfigError(f"{file}: expected at most {MAX_BYTES} bytes of YAML, got {size}; check the file")
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {_short(str(error))}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected keys and values, got {type(values).__name__}")
    return values


def to_yaml(values: Config | Mapping[str, Any]) -> str:
    """YAML text of a config or mapping, keys in their order."""
    plain = values.model_dump(mode="json") if isinstance(values, Config) else dict(values)
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))


def apply_overrides(
    values: Mapping[str, Any], overrides: Sequence[str], model: type[Config] | None = None
) -> dict[str, Any]:
    """Set dotted keys, values read as YAML; a section before what is in it, otherwise in the order given.

    With the ``model`` of the values, naming another component (``method.loss=mse`` or ``method.loss.name=mse``) drops
    the options of the one that stood there.

    >>> apply_overrides({"train": {"epochs": 5}}, ["train.epochs=7", "data.size=[64, 64]"])
    {'train': {'epochs': 7}, 'data': {'size': [64, 64]}}
    """
    out = deepcopy(dict(values))
    given = []
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"override '{text}': expected key=value, such as train.epochs=5")
        try:
            given.append((key.strip().split("."), parse_yaml(raw), text))
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{text}': value not readable as YAML: {_short(str(error))}") from None
    for path, value, text in sorted(given, key=lambda item: len(item[0]) - (item[0][-1] == "name")):
        _set(out, path, value, model, text)
    return out


def _set(target: dict[str, Any], path: Sequence[str], value: Any, model: type[Config] | None, text: str) -> None:
    """Set one dotted key in place, opening the sections on the way."""
    key, *rest = path
    if not rest:
        target[key] = value
        return
    field = model.model_fields.get(key) if model else None
    choice = choice_of(field) if field else None
    inner = target.get(key)
    if inner is None:  # a component that is not named is the default one
        inner = field.get_default(call_default_factory=True).model_dump(mode="json") if field and choice else {}
    elif isinstance(inner, str) and (choice or not model):  # "schedule: adaloss" with schedule.rho=0.5 given
        inner = {"name": inner}
    if not isinstance(inner, dict):
        raise ConfigError(f"override '{text}': expected a section of options as '{key}', got {_short(repr(inner))}")
    if choice and rest == ["name"] and inner.get("name") != value:
        inner = {}
    target[key] = inner
    _set(inner, rest, value, section_of(field, inner) if field else None, text)
