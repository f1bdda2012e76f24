"""Where the tables of a DeepLabCut or lightning-pose project are, and what its ``config.yaml`` says of landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trigpoint.config import read_yaml
from trigpoint.data.files import check_path, inside, shown
from trigpoint.data.formats.collected import Collected, reason
from trigpoint.data.names import plain_name
from trigpoint.data.pixels.folders import natural_key
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet

LABELED = "labeled-data"
_TABLES = "CollectedData*"
_SUFFIXES = (".csv", ".h5")
_TRIED = 20  # names of images in search of their folder


@dataclass(frozen=True)
class Config:
    """What ``config.yaml`` says, as far as it can be used."""

    file: Path
    parts: tuple[str, ...] = ()
    skeleton: tuple[Any, ...] = ()
    scorer: str | None = None


def find_tables(source: Path) -> list[Path]:
    """The labelled tables of a project, of its folder ``labeled-data`` or of one video in it, in natural order.

    A csv is taken before the h5 of the same name. Raises DataError where there is none.
    """
    check_path(source)
    if source.is_file() and source.suffix.lower() in (".yaml", ".yml"):
        fix = f"give its folder: {source.parent}"
        raise DataError(
            f"{source}: expected a table or the folder of a project, got the project's {source.name}; {fix}"
        )
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: expected a csv, an h5 or the folder of a project, got nothing there")
    found: dict[Path, Path] = {}
    for pattern in (_TABLES, f"*/{_TABLES}", f"{LABELED}/*/{_TABLES}"):
        for suffix in reversed(_SUFFIXES):
            found |= {file.with_suffix(""): file for file in source.glob(pattern + suffix) if file.is_file()}
        if pattern == _TABLES and found:
            break  # lightning-pose has one table of all videos at the top
    if not found:
        expected = f"expected {LABELED}/VIDEO/CollectedData_SCORER.csv of a project"
        raise DataError(f"{source}: {expected}, got none; label frames first, or give a table itself")
    return sorted(found.values(), key=lambda file: natural_key(file.as_posix()))


def find_root(source: Path, tables: Sequence[Path], names: Sequence[str]) -> Path:
    """The folder that the names of images start at: that of the project, or the nearest above that has the images."""
    for folder in [source.resolve(), *list(source.resolve().parents)[:4]]:
        if (folder / LABELED).is_dir():
            return folder
    above = list(tables[0].resolve().parents)[:4]
    places = [each for each in map(place, names[:_TRIED]) if inside(each)]
    return next((folder for folder in above if any((folder / each).is_file() for each in places)), tables[0].parent)


def place(name: str) -> str:
    """An image below the project, whatever machine and system the project was on.

    >>> place("C:\\\\Users\\\\me\\\\proj\\\\labeled-data\\\\v1\\\\img1.png"), place("img1.png")
    ('labeled-data/v1/img1.png', 'img1.png')
    """
    parts = PurePosixPath(plain_name(name)).parts
    if LABELED in parts:
        parts = parts[len(parts) - 1 - parts[::-1].index(LABELED) :]
        return "/".join(parts)
    return plain_name(name)


def read_config(rows: Collected) -> Config:
    """Read ``config.yaml`` of a project; without one, or where it cannot be read, nothing is known."""
    file = rows.images / "config.yaml"
    if not file.is_file():
        return Config(file)
    try:
        values = read_yaml(file)
    except ConfigError as error:
        rows.problem(file, f"{reason(file, error)}; order of the landmarks and skeleton are left out")
        return Config(file)
    parts: list[str] = []
    for key in ("bodyparts", "multianimalbodyparts", "uniquebodyparts"):
        given = values.get(key)
        parts += [str(name) for name in given] if isinstance(given, list) else []
    lines = values.get("skeleton")
    scorer = values.get("scorer")
    return Config(
        file,
        tuple(dict.fromkeys(parts)),
        tuple(lines) if isinstance(lines, list) else (),
        scorer if isinstance(scorer, str) and scorer else None,
    )


def landmark_set(rows: Collected, config: Config, parts: Sequence[str]) -> LandmarkSet:
    """The landmarks of the tables in the order of the config, which may list some that no table has, and its lines."""
    names = tuple(dict.fromkeys([*config.parts, *parts]))
    for name in config.parts:
        if name not in parts:
            rows.tally(config.file, "no table has these bodyparts; not annotated anywhere", name)
    lines = []
    for line in config.skeleton:
        if isinstance(line, list) and len(line) == 2 and all(str(name) in names for name in line):
            lines.append((str(line[0]), str(line[1])))
        else:
            rows.tally(config.file, "skeleton: expected two bodyparts each; left out", shown(line))
    return LandmarkSet(names, skeleton=tuple(lines))
