"""The architecture as a test: imports go up one list only, files and functions stay short, one home per convention."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from benchmarks.house import (
    FILES,
    PACKAGE,
    ROOMS,
    ROOTS,
    all_method_tests,
    concrete,
    file_lengths,
    function_lengths,
    loose_modules,
    measures,
    method_tests,
    module_of,
    parse,
    room_of,
)

from trigpoint.errors import EXTRAS
from trigpoint.methods import METHODS

ROOT = Path(__file__).parents[1]

MAX_FILE = 400
MAX_FUNCTION = 70

BARRED = {  # what a room or a part of it never imports, beside what stands below it
    "nn": ("trigpoint.data", "trigpoint.runs"),
    "data.pixels": ("torch", "torchvision"),
}


def order_of(module: str) -> int:
    assert room_of(module) in ROOMS, f"trigpoint.{module} stands in no room; see ROOMS in benchmarks/house.py"
    return ROOMS.index(room_of(module))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import, wherever it stands, relative ones refused."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write it from trigpoint on"
            module = node.module or ""
            if module != "trigpoint" or [alias.name for alias in node.names] != ["__version__"]:
                yield node.lineno, module
            # ``from trigpoint import config`` imports the module trigpoint.config
            yield from (
                (node.lineno, f"{module}.{alias.name}") for alias in node.names if is_module(module, alias.name)
            )


def is_module(package: str, name: str) -> bool:
    if package.split(".")[0] != "trigpoint":
        return False
    folder = PACKAGE.joinpath(*package.split(".")[1:])
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def upward_violations(module: str, tree: ast.Module) -> list[str]:
    own = order_of(module)
    barred = [name for part, names in BARRED.items() if f"{module}.".startswith(f"{part}.") for name in names]
    found = []
    for line, name in imported(tree):
        if any(f"{name}.".startswith(f"{each}.") for each in barred):
            found.append(f"line {line}: {module} imports {name}, which it must not know")
        elif name.startswith("trigpoint."):
            target = name.removeprefix("trigpoint.")
            if room_of(target) != room_of(module) and order_of(target) >= own:
                found.append(f"line {line}: {module} imports {target}, which stands below it")
        elif name == "trigpoint" and not any(n.startswith("trigpoint.") for at, n in imported(tree) if at == line):
            found.append(f"line {line}: {module} imports the whole package; name the module")
    return found


def test_imports_go_one_way() -> None:
    modules = {module_of(file): parse(file) for file in FILES}
    found = [text for name, tree in modules.items() if name not in ROOTS for text in upward_violations(name, tree)]
    assert not found, "\n".join(found)


def test_the_import_check_can_fail() -> None:
    tree = ast.parse("def f():\n    from trigpoint.methods import METHODS\n    from trigpoint import training\n")
    assert len(upward_violations("codecs.gaussian", tree)) == 2
    assert len(upward_violations("metrics.functional", tree)) == 2
    assert not upward_violations("evaluation", tree)
    assert upward_violations("data.table", ast.parse("import trigpoint"))
    assert upward_violations("nn.source", ast.parse("from trigpoint.data.files import write_text"))
    assert upward_violations("nn.source", ast.parse("from trigpoint import runs"))
    assert upward_violations("data.pixels.images", ast.parse("import torch.nn"))
    assert not upward_violations("data.input.loading", ast.parse("import torch"))


def test_there_are_no_loose_modules() -> None:
    assert not loose_modules(), "put the module into a room of benchmarks/house.py"


def test_names_say_something() -> None:
    vague = [file.name for file in PACKAGE.rglob("*") if file.stem in {"utils", "util", "helpers", "misc", "common"}]
    assert not vague, "name a module by what it holds"


def test_files_and_functions_are_short() -> None:
    long = [f"{name}: {n} lines, at most {MAX_FILE}" for name, n in file_lengths().items() if n > MAX_FILE]
    functions = function_lengths().items()
    long += [f"{name}: {n} lines, at most {MAX_FUNCTION}" for name, n in functions if n > MAX_FUNCTION]
    assert not long, "\n".join(long)


# -- predicting with an exported model is a small install -------------------------------------------------------------

SMALL = (
    *("cli", "prediction", "prediction.exported", "prediction.stream", "prediction.drawing", "prediction.files"),
    *("prediction.measurements", "serving.serve", "serving.api", "serving.decoder"),
)


def at_once(tree: ast.Module) -> Iterator[str]:
    """What a module imports when it is imported itself: not in functions, nor for types alone."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names if is_module(node.module, a.name))
        else:
            nodes += ast.iter_child_nodes(node)


def imported_with(start: str, trees: dict[str, ast.Module]) -> dict[str, str]:
    """Every module that importing ``start`` brings, dotted, and which brought it."""
    found, waiting = {}, [(f"trigpoint.{start}", "")]
    while waiting:
        name, by = waiting.pop()
        parts = name.split(".")
        for module in (".".join(parts[: n + 1]) for n in range(len(parts))):  # with the packages around it
            if module in found:
                continue
            found[module] = by
            if (own := module.removeprefix("trigpoint.")) in trees and module != "trigpoint":
                waiting += [(each, module) for each in at_once(trees[own])]
    return found


def test_predicting_with_an_exported_model_imports_no_pytorch() -> None:
    trees = {module_of(file): parse(file) for file in FILES}
    heavy = {name for names in EXTRAS.values() for name in names}
    for start in SMALL:
        found = imported_with(start, trees)
        assert "trigpoint.errors" in found
        bad = [f"{start} imports {name}, by {by}" for name, by in found.items() if name.split(".")[0] in heavy]
        assert not bad, "import it where it is used:\n" + "\n".join(bad)


def test_the_check_of_small_installs_can_fail() -> None:
    trees = {module_of(file): parse(file) for file in FILES}
    assert "torch" in imported_with("prediction.predictor", trees)
    code = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c\nclass D:\n    import d\n"
    assert set(at_once(ast.parse(code))) == {"b", "d"}


def test_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {
        extra: {re.split(r"[<>=!~\[; ]", text)[0] for text in project["optional-dependencies"][extra]}
        for extra in EXTRAS
    }
    brings = {extra: {DISTRIBUTIONS.get(name, name) for name in packages} for extra, packages in EXTRAS.items()}
    assert all(packages <= names[extra] for extra, packages in brings.items())
    base = {re.split(r"[<>=!~\[; ]", text)[0] for text in project["dependencies"]}
    assert not base & {name for packages in EXTRAS.values() for name in packages}
    assert {"tensorboard"} == names["train"] - set(EXTRAS["train"])  # which Lightning imports, not we


# -- one contract ---------------------------------------------------------------------------------------------------


def test_nothing_outside_methods_asks_which_method_it_has() -> None:
    found = all_method_tests()
    assert not found, "ask the contract of LandmarkMethod instead:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "from trigpoint.methods import HeatmapMethod",
        "from trigpoint.methods import cascade",
        "from trigpoint.methods.foveated import STACKS",
        "import trigpoint.methods.maps",
        "isinstance(predictor.method, kind)",
        "issubclass(METHODS[name], kind)",
        "x = methods.InstanceMethod",
        "cast('FoveatedMethod', it)",
        "type(self.method) is kind",
        "type(self.method) in kinds",
        "recipe.method_name == 'heatmap'",
        "'cascade' != recipe.method.name",
        "if method in ('foveated', 'cascade'): pass",
        "match recipe.method_name:\n    case 'instances': pass",
        "match recipe.method:\n    case {'name': 'instances'}: pass",
        "METHODS['heatmap']",
        "{'heatmap': 1}[recipe.method_name]",
        "words.get(recipe.method_name)",
    ],
)
def test_the_contract_check_can_fail(code: str) -> None:
    assert method_tests("evaluation.measure", ast.parse(code))
    assert not method_tests("methods.build", ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "from trigpoint.methods import METHODS, LandmarkMethod, build_method",
        "from trigpoint.methods.base import StageRun",
        "kind = METHODS[recipe.method_name]",
        "if predictor.threshold is None: pass",
        "if self.method.traces: pass",
        "raise DataError(f'got {recipe.method_name}; train with method.name=instances')",
        "facts['instances'] = True",
        "recipe.method_name == other.method_name",
    ],
)
def test_the_contract_may_be_asked(code: str) -> None:
    assert not method_tests("evaluation.measure", ast.parse(code))


def test_the_measures_are_printed() -> None:
    text = measures()
    for words in (
        "loose modules: ",
        "method tests outside methods/: ",
        "lines of src: ",
        "longest file",
        "longest fun",
    ):
        assert words in text
    assert set(concrete().names) == set(METHODS)
    assert {kind.__name__ for kind in METHODS.values()} < concrete().classes


# -- one home per convention ----------------------------------------------------------------------------------------

SAMPLING = re.compile(r"\b(affine_grid|grid_sample|align_corners)\b")
HALF_PIXEL = re.compile(r"[\w\])]\s*[+-]\s*0\.5\b(?!\s*\*)")


@cache
def code_of(file: Path) -> str:
    """The file without comments and strings, line for line, so that prose about the convention is free."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            for number in range(first, last + 1):
                start = _column(lines[number], node.col_offset) if number == first else 0
                end = _column(lines[number], node.end_col_offset or 0) if number == last else len(lines[number])
                lines[number] = lines[number][:start] + " " * (end - start) + lines[number][end:]
    return "\n".join(line.split("#")[0] for line in lines)


def _column(line: str, utf8_offset: int) -> int:
    return len(line.encode()[:utf8_offset].decode(errors="ignore"))


def places(pattern: re.Pattern[str], *allowed: str) -> list[str]:
    """Lines of code that match, in all modules but those whose name begins with one of ``allowed``."""
    found = []
    for file in FILES:
        if not module_of(file).startswith(allowed):
            lines = code_of(file).splitlines()
            found += [
                f"{module_of(file)}, line {n}: {m.group()}"
                for n, line in enumerate(lines, 1)
                if (m := pattern.search(line))
            ]
    return found


def test_only_geometry_samples_images() -> None:
    found = places(SAMPLING, "geometry", "nn")
    assert not found, "resample with trigpoint.geometry, which moves the points too:\n" + "\n".join(found)


def test_only_geometry_knows_the_half_pixel() -> None:
    # the synthetic sets draw on a canvas of their own, and the half cell of the peaks is a mean width, no coordinate
    found = places(HALF_PIXEL, "geometry", "synthetic", "codecs.peaks")
    assert not found, "use to_grid, from_grid, inside or center of trigpoint.geometry:\n" + "\n".join(found)


def test_the_convention_check_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text('"""x + 0.5 is prose"""\ny = (p + 0.5) / 4  # - 0.5\nz = 1 - 0.5 * t\n', encoding="utf-8")
    assert [m.group() for m in HALF_PIXEL.finditer(code_of(file))] == ["p + 0.5"]


# -- what is imported is declared -----------------------------------------------------------------------------------

DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "dlib": "dlib-bin",
    "mlflow": "mlflow-skinny",
    "ndx_pose": "ndx-pose",
    "sleap_io": "sleap-io",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
}  # where the import has another name than the package


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for group in project.get("optional-dependencies", {}).values() for text in group]
    declared = {re.split(r"[<>=!~\[; ]", text)[0].lower() for text in [*project["dependencies"], *extras]}
    used = {name.split(".")[0] for file in FILES for _, name in imported(parse(file))}
    foreign = {name for name in used if name not in sys.stdlib_module_names and name not in ("trigpoint", "__future__")}
    needed = {DISTRIBUTIONS.get(name, name).lower() for name in foreign}
    assert needed <= declared, f"imported but not declared in pyproject.toml: {sorted(needed - declared)}"
