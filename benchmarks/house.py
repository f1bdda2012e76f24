"""Is the house in order? Measures of the source code, which ``tests/test_layers.py`` holds to: ``python -m
benchmarks.house``.

- loose modules: what stands in ``src/trigpoint`` beside the rooms below
- method tests: code outside ``methods/`` that asks which method it has, in place of the contract of ``LandmarkMethod``
- lines of ``src``, the longest file, the longest function
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "src" / "trigpoint"
FILES = sorted(PACKAGE.rglob("*.py"))

# A module may import from the rooms above its own and from its own room, never from below.
ROOMS = (
    "errors",
    "imports",
    "machine",
    "landmarks",
    "config",
    "geometry",
    "recipes",
    "recipe",
    "data",
    "synthetic",
    "codecs",
    "schedules",
    "nn",
    "metrics",
    "methods",
    "runs",
    "report",
    "prediction",
    "export",
    "training",
    "evaluation",
    "serving",
    "app",
    "experiments",
    "cli",
)
ROOTS = ("__init__", "__main__")  # the public names and ``python -m trigpoint``: they may import anything
MODULES = {"errors", "imports", "machine", "config"}  # one file each; every other room is a package


def module_of(file: Path) -> str:
    """Dotted name below ``trigpoint``, such as data.table; a package is named by its folder."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    """The room of a dotted name below ``trigpoint``."""
    return module.split(".")[0]


@cache
def parse(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def loose_modules() -> list[str]:
    """Modules and packages that are none of the rooms, or a file where a package belongs."""
    files = {file.stem for file in PACKAGE.glob("*.py")} - {*ROOTS, *MODULES}
    packages = {file.parent.name for file in PACKAGE.glob("*/__init__.py")} - ({*ROOMS} - MODULES)
    return sorted(files | packages)


# -- method tests ---------------------------------------------------------------------------------------------------


class Concrete(NamedTuple):
    """What only ``methods/`` may name: the methods' names, their classes, and the modules that these stand in."""

    names: frozenset[str]
    classes: frozenset[str]
    modules: frozenset[str]


@cache
def concrete() -> Concrete:
    """The methods, by ``METHODS`` and by every class that derives from ``LandmarkMethod``."""
    classes, modules = {"LandmarkMethod"}, set()
    files = [file for file in FILES if room_of(module_of(file)) == "methods"]
    defined = [(node, module_of(file)) for file in files for node in parse(file).body if isinstance(node, ast.ClassDef)]
    for _ in defined:  # as deep as they can derive from one another
        for node, module in defined:
            if {_last(base) for base in node.bases} & classes:
                classes.add(node.name)
                modules.add(f"trigpoint.{module}")
    tables = [
        node.value
        for node in ast.walk(parse(PACKAGE / "methods" / "__init__.py"))
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
    ]
    keys = {key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)}
    return Concrete(frozenset(keys), frozenset(classes - {"LandmarkMethod"}), frozenset(modules))


def method_tests(module: str, tree: ast.Module) -> list[str]:
    """Lines that ask which method they have.

    Refused are: the class of a method, imported, named or cast to; ``isinstance``, ``issubclass`` and a comparison of
    the type of something called method; its name compared with one in the code, or as the key of a table that is not
    METHODS.
    """
    if room_of(module) == "methods":
        return []
    found = []
    for node in ast.walk(tree):
        what = _named(node) or _typed(node) or _compared(node) or _keyed(node, default=module == "recipe")
        if what:
            found.append(f"{module}, line {getattr(node, 'lineno', 0)}: {what}")
    return found


def _named(node: ast.AST) -> str:
    """The class of a method, or its module, imported or used."""
    known = concrete()
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        inside = {f"{node.module}.{name}" for name in names} | {node.module}
        if names & known.classes or inside & known.modules:
            return f"imports of {node.module}"
    if isinstance(node, ast.Import) and {alias.name for alias in node.names} & known.modules:
        return "imports a method"
    if isinstance(node, ast.Name | ast.Attribute) and _last(node) in known.classes:
        return f"names {_last(node)}"
    return ""


def _typed(node: ast.AST) -> str:
    """The type of something that is called a method, or a cast to one by its name in quotes."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return ""
    if node.func.id in ("isinstance", "issubclass") and {"method", "METHODS"} & _words(node):
        return f"{node.func.id} of a method"
    quoted = {a.value for a in node.args if isinstance(a, ast.Constant)}
    return "casts to a method" if node.func.id == "cast" and quoted & concrete().classes else ""


def _compared(node: ast.AST) -> str:
    """The name of a method compared with one that stands in the code, or its type with another."""
    if not isinstance(node, ast.Compare | ast.Match) or not {"method", "method_name"} & _words(node):
        return ""
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.subject, *_patterns(node)]
    if any({"method", "type"} <= _words(side) for side in sides):
        return "compares the type of a method"
    said = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)}
    return "compares the name of a method" if said & concrete().names else ""


def _patterns(node: ast.Match) -> list[ast.pattern]:
    return [case.pattern for case in node.cases]


def _keyed(node: ast.AST, default: bool) -> str:
    """A table with an entry for each method, or METHODS asked for a certain one (``default``: which may be)."""
    if isinstance(node, ast.Subscript):
        if _last(node.value) == "METHODS":
            constant = isinstance(node.slice, ast.Constant) and not default
            return "asks METHODS for a certain one" if constant else ""
        return "a table by the names of methods" if "method_name" in _words(node.slice) else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return "a table by the names of methods" if any("method_name" in _words(a) for a in node.args) else ""
    return ""


def _last(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _words(node: ast.AST) -> set[str]:
    """Names of variables and attributes below a node."""
    return {_last(part) for part in ast.walk(node)}


def all_method_tests() -> list[str]:
    """``method_tests`` of the whole package."""
    return [text for file in FILES for text in method_tests(module_of(file), parse(file))]


# -- lengths --------------------------------------------------------------------------------------------------------


def file_lengths() -> dict[str, int]:
    """Lines of each module."""
    return {module_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}


def function_lengths() -> dict[str, int]:
    """Lines of each function and method; of several with one name in a module the longest."""
    lengths: dict[str, int] = {}
    for file in FILES:
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                key = f"{module_of(file)}.{node.name}"
                lengths[key] = max(lengths.get(key, 0), (node.end_lineno or node.lineno) - node.lineno + 1)
    return lengths


def measures() -> str:
    """The measures as text."""
    files, functions = file_lengths(), function_lengths()
    file, function = max(files, key=files.__getitem__), max(functions, key=functions.__getitem__)
    loose, tests = loose_modules(), all_method_tests()
    return "\n".join(
        [
            f"loose modules: {len(loose)} ({', '.join(loose) or 'none'})",
            f"method tests outside methods/: {len(tests)}",
            *(f"  {text}" for text in tests),
            f"lines of src: {sum(files.values())}",
            f"longest file: {file}, {files[file]} lines",
            f"longest function: {function}, {functions[function]} lines",
        ]
    )


if __name__ == "__main__":
    print(measures())
