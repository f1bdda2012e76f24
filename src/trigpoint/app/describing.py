"""``dataset.yaml`` while a set is labelled: made for a new one, and one key changed in the text of an old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trigpoint.app.state import Naming
from trigpoint.config import to_yaml
from trigpoint.data.description import DEFAULT_TABLE
from trigpoint.data.files import is_formula, possible_name, shown
from trigpoint.data.table import META
from trigpoint.errors import DataError

ENDS = ("_x", "_y", "_v", "_score", "_radius", "_spread")
"""What the columns of a landmark end in."""


def check_names(names: Sequence[str]) -> list[str]:
    """Names of landmarks that a table can hold, without space around them. Raises DataError for others.

    >>> check_names([" tip", "root"])
    ['tip', 'root']
    """
    plain = [name.strip() for name in names]
    for name in plain:
        fine = possible_name(name) and not is_formula(name) and "," not in name and ";" not in name
        if not fine or any(f"{name}{end}" in META for end in ENDS):
            raise DataError(f"landmarks: expected a plain name without comma, got {shown(name)}; rename it")
    twice = [name for name in plain if plain.count(name) > 1]
    if twice:
        raise DataError(f"landmarks: expected each name once, got '{twice[0]}' more than once; rename one")
    return plain


def with_key(text: str, key: str, value: Any) -> str:
    """The text of a YAML mapping in which one key has another value; comments and all other keys stay.

    >>> print(with_key("name: a  # mine\\nlandmarks:\\n- tip\\n# end\\n", "landmarks", ["tip", "root"]), end="")
    name: a  # mine
    landmarks: [tip, root]
    # end
    >>> with_key("", "pairs", [])
    'pairs: []\\n'
    """
    line = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    line = line.strip().removesuffix("...").strip()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name, old in node.value if isinstance(node, yaml.MappingNode) else ():
        if name.value == key:
            start = text.index(":", name.end_mark.index) + 1
            end = old.end_mark.index
            kept = text[start:end].splitlines(keepends=True)
            while kept and (not kept[-1].strip() or kept[-1].lstrip().startswith("#")):  # of what follows
                end -= len(kept.pop())
            rest = text[end:]
            if text[start:end].endswith("\n"):
                end -= 1
                rest = text[end:]
            return f"{text[:start]} {line}{rest}"
    return f"{text.rstrip()}\n{key}: {line}\n".lstrip("\n")


def new_description(folder: Path, images: str, names: Sequence[str], instances: bool, table: str) -> str:
    """The text of a ``dataset.yaml`` for images that were never labelled."""
    about: dict[str, Any] = {"name": folder.resolve().name, "images": images, "table": table or DEFAULT_TABLE}
    about |= {"landmarks": list(names)} | ({"instances": True} if instances else {})
    return to_yaml(about)


def described(file: Path, text: str, naming: Naming) -> str:
    """The text of ``dataset.yaml`` with these landmarks, pairs and lines; what ``naming`` leaves open stays.

    Raises DataError where the ``file`` says the same in a way that cannot be changed here, such as by an alias.
    """
    wanted: Mapping[str, Any] = {
        "landmarks": naming.landmarks,
        "pairs": None if naming.pairs is None else [list(pair) for pair in naming.pairs],
        "skeleton": None if naming.skeleton is None else [list(line) for line in naming.skeleton],
    }
    old = yaml.safe_load(text) or {}
    changes = {key: value for key, value in wanted.items() if value is not None and old.get(key) != value}
    new = text
    for key, value in changes.items():
        new = with_key(new, key, value)
    if yaml.safe_load(new) != {**old, **changes}:
        raise DataError(f"{file}: expected plain keys {', '.join(changes)}, got others; change them by hand")
    return new
