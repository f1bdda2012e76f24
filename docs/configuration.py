"""Writes configuration.md, the page of all options, from the configs of the package: python docs/configuration.py"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trigpoint.config import Choice, Config, choice_of, section_of
from trigpoint.recipe import Recipe, SourceRecipe

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Configuration

<!-- made by: python docs/configuration.py -->

Every key of a recipe with its full name. In YAML a dot is one level deeper; on the command line and in Python a key is
set as it stands here ([training](training.md)). What a recipe leaves out has its default. `null` is no value.

A method, network, schedule or loss is chosen by its `name`, and `method.loss=kl` is short for `method.loss.name=kl`.
Another name takes its own defaults. In Python the options of a component are keywords:
`UNet(in_channels=1, num_landmarks=3, width=8)`.
"""
WORDS = {int: "whole number", float: "number", bool: "true, false", str: "text", dict: "section", type(None): "null"}
BOUNDS = {"multiple_of": "a multiple of", "gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


@dataclass(frozen=True)
class Section:
    """Options that stand together: the title on the page, what stands before their keys, and their config."""

    title: str
    before: str
    model: type[Config]

    def fields(self) -> Iterator[tuple[str, FieldInfo]]:
        """Key and field of each option; a name that is given by the section itself is none."""
        for key, field in self.model.model_fields.items():
            if not (key == "name" and len(get_args(field.annotation)) == 1):
                yield self.before + key, field


def sections(model: type[Config], title: str, before: str = "") -> Iterator[Section]:
    """A config and all that is below it; of a choice each component, once."""
    section = Section(title, before, model)
    yield section
    for key, field in section.fields():
        choice, inner = choice_of(field), section_of(field)
        if choice is not None:
            for name, component in choice.table.items():
                yield from sections(component.Config, f"`{key}`: {name}", f"{key}.")
        elif inner is not None:
            yield from sections(inner, f"`{key}`", f"{key}.")


def all_sections() -> dict[str, list[Section]]:
    """The sections of both kinds of recipes, by title; what several share stands once, where it comes first."""
    found: dict[str, list[Section]] = {}
    known: set[Section] = set()
    for title, model in (("Recipe", Recipe), ("Recipe of a source model", SourceRecipe)):
        every = list(dict.fromkeys(sections(model, "Top level")))
        found[title] = [section for section in every if section not in known]
        known.update(every)
    return found


def allowed(kind: Any, limits: Sequence[Any] = ()) -> str:
    """Type and range of a value in words.

    >>> allowed(tuple[int, ...] | None), allowed(tuple[float, float]), allowed(Literal["a", "b"])
    ('list of whole numbers; null', '2 numbers', 'a, b')
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return allowed(parts[0], [limit for part in parts[1:] for limit in part.metadata])
    if origin in (Union, types.UnionType):
        return "; ".join(allowed(part, () if part is type(None) else limits) for part in parts)
    if origin is Literal:
        return ", ".join(str(part) for part in parts)
    if origin is tuple:
        each, *bounds = allowed(parts[0]).split(", ")
        each = each if each == "text" else f"{each}s"
        return ", ".join([f"list of {each}" if parts[-1] is ... else f"{len(parts)} {each}", *bounds])
    words = [WORDS.get(origin or kind, "section")]
    words += [
        f"{word} {getattr(limit, key)}" for limit in limits for key, word in BOUNDS.items() if hasattr(limit, key)
    ]
    return ", ".join(words)


def default(field: FieldInfo) -> str:
    """The default as it is written in YAML; of a component its name and what differs from its own defaults."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, Config):
        if choice_of(field) is None:
            return "in its table"
        own = type(value)()
        changed = [f"{key}: {text(part)}" for key, part in value if part != getattr(own, key)]
        return " with ".join([str(getattr(value, "name", ""))] + [", ".join(changed)] * bool(changed))
    return text(value)


def text(value: Any) -> str:
    """A plain value as YAML."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return "[" + ", ".join(map(text, value)) + "]" if isinstance(value, tuple) else str(value) or "empty"


def values(field: FieldInfo) -> str:
    """What a field takes: components, a section, or values of a type."""
    choice: Choice | None = choice_of(field)
    if choice is not None:
        return ", ".join(choice.table)
    if section_of(field) is not None:
        return "section; null" if field.default is None else "section"
    return allowed(field.annotation, field.metadata)


def page() -> str:
    """The text of configuration.md."""
    lines = [HEAD]
    for title, parts in all_sections().items():
        lines.append(f"## {title}\n")
        for part in parts:
            lines += [f"### {part.title}\n", "| key | values | default | meaning |", "| --- | --- | --- | --- |"]
            for key, field in part.fields():
                meaning = str(field.description).replace("``", "`").replace("\n", " ")
                cells = (f"`{key}`", values(field), default(field), meaning)
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
