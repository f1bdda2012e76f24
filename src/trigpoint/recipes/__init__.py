"""The recipes of the package, and how a recipe extends another."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

from trigpoint.config import read_yaml
from trigpoint.errors import ConfigError, did_you_mean


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(entry.name[:-5] for entry in files("trigpoint.recipes").iterdir() if entry.name.endswith(".yaml"))


def recipe_values(source: str | Path | Mapping[str, Any], home: Path | None = None) -> dict[str, Any]:
    """Values of a recipe with all that it ``extends``: a file, a recipe of the package by name, or values.

    ``home`` is the folder of files that values extend.

    ``extends`` names the parent, a recipe of the package or a file beside the child; the child wins, see
    ``config.merged``. Raises ConfigError when there is no such recipe, and for recipes that extend one another.
    """
    if isinstance(source, Mapping):
        return extended(source, home or Path(), _named)
    is_file = Path(source).is_file() or str(source).endswith((".yaml", ".yml"))
    file = Path(source) if is_file else _named(str(source))
    return extended(read_yaml(file), file.parent, _named, (file.resolve(),))


def _named(name: str) -> Path:
    if name not in recipe_names():
        near = did_you_mean(name, recipe_names())
        raise ConfigError(f"'{name}' is neither a dataset folder, nor a recipe file, nor the name of a recipe; {near}")
    return Path(str(files("trigpoint.recipes") / f"{name}.yaml"))


def merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """``child`` over ``parent``, section by section; a component with another ``name`` replaces the parent's section.

    >>> merged({"loss": {"name": "kl", "coordinate": 1.0}, "epochs": 5}, {"loss": {"coordinate": 2.0}})
    {'loss': {'name': 'kl', 'coordinate': 2.0}, 'epochs': 5}
    >>> merged({"loss": {"name": "kl", "coordinate": 1.0}}, {"loss": {"name": "mse"}})
    {'loss': {'name': 'mse'}}
    """
    out = deepcopy(dict(parent))
    for key, value in child.items():
        old = out.get(key)
        if isinstance(old, str) and isinstance(value, Mapping) and "extends" not in value:
            old = {"name": old}  # "loss: mse", now with options
        if (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            out[key] = merged(old, value)
        else:
            out[key] = deepcopy(value)
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
