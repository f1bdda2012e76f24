"""Every command and every line of Python in the documentation is run, page by page, in an empty folder.

Blocks marked ``bash`` and ``python`` run in the order of the page; ``pycon`` blocks are doctests. A comment directly
above a block says otherwise: ``<!-- not run: reason -->`` leaves it out, ``<!-- file: NAME -->`` makes it that file.
Training is made tiny on the way in: pages show settings that a reader would use.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import trigpoint.synthetic as synthetic
from trigpoint import recipe
from trigpoint.cli import app
from trigpoint.codecs.gaussian import DECODERS
from trigpoint.data.description import KEYS
from trigpoint.data.formats import FORMATS
from trigpoint.methods import METHODS
from trigpoint.methods.losses import LOSSES
from trigpoint.nn import NETWORKS
from trigpoint.recipes import recipe_names
from trigpoint.schedules import SCHEDULES
from trigpoint.training import landmarks

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\s*$")
NOTE = re.compile(r"^<!--\s*(not run|file):\s*(.+?)\s*-->$")
RUNNABLE = ("bash", "python", "pycon")

MOST_IMAGES, LARGEST = 16, (160, 128)
TINY = ("train.epochs=2", "train.batch_size=8", "data.input.size=[32,32]", "data.workers=0", "train.threads=1")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page and the comment above it."""

    language: str
    text: str
    line: int
    note: str = ""
    value: str = ""


def blocks(page: Path) -> Iterator[Block]:
    language, start, kept, note = None, 0, [], ("", "")
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if language is None and fence:
            language, start, kept = fence.group(1), number, []
        elif language is None:
            found = NOTE.match(line.strip())
            if found or line.strip():
                note = found.groups() if found else ("", "")
        elif line.rstrip() == "```":
            yield Block(language, "\n".join(kept) + "\n", start, *note)
            language, note = None, ("", "")
        else:
            kept.append(line)
    assert language is None, f"{page.name}, line {start}: the block is not closed"


# -- running --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same commands on less: recipes lose size and epochs, drawn sets lose size and images."""
    load = recipe.load_any_recipe

    def load_tiny(source: Any, overrides: Sequence[str] = ()) -> recipe.Recipe | recipe.SourceRecipe:
        chosen = load(source, overrides)
        small = list(TINY)
        if isinstance(chosen, recipe.Recipe):
            if hasattr(getattr(chosen.method, "network", None), "width"):
                small.append("method.network.width=4")
            if getattr(getattr(chosen.method, "schedule", None), "sigma0", None):
                small.append(f"method.schedule.sigma0={3 if hasattr(chosen.method, 'threshold') else 2}")
            for where in ("method", "method.fine"):
                glimpses = chosen.method if where == "method" else getattr(chosen.method, "fine", None)
                if hasattr(glimpses, "trunk"):  # every glimpse step is an optimizer step
                    small += [f"{where}.trunk=small", f"{where}.train_iterations=1", f"{where}.train_starts=1"]
        return load(chosen, small)

    for module in (recipe, landmarks):
        monkeypatch.setattr(module, "load_any_recipe", load_tiny)
    monkeypatch.setattr(landmarks, "LEARNED", float("inf"))  # two epochs learn nothing, which is no error here

    def fewer(write: Callable[..., Path]) -> Callable[..., Path]:
        def write_few(folder: str | Path, count: int, size: Any = 64, *args: Any, **options: Any) -> Path:
            return write(
                folder, min(count, MOST_IMAGES), LARGEST if isinstance(size, tuple) else size, *args, **options
            )

        return write_few

    for name in synthetic.__all__:
        monkeypatch.setattr(synthetic, name, fewer(getattr(synthetic, name)))


@pytest.fixture
def own_tables() -> Iterator[None]:
    """Pages may register parts of their own; they are taken out again."""
    tables: tuple[dict[str, Any], ...] = (SCHEDULES, NETWORKS, LOSSES, FORMATS, METHODS)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


def run_bash(text: str, where: str) -> None:
    """One command after the other; ``trigpoint`` in this process, which saves starting Python for each."""
    for command in text.replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        if not words:
            continue
        if words[0] == "trigpoint" and not set(words) & {"|", "&&", ";"}:
            target = Path(words[-1]) if len(words) > 2 and words[-2] == ">" else None
            result = CliRunner().invoke(app, words[1:] if target is None else words[1:-2])
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            assert result.exit_code == 0, f"{where}: {command}\nexit code {result.exit_code}\n{result.output}"
            if target is not None:
                target.write_text(result.stdout, encoding="utf-8")
            continue
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{where}: {command}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"


def run_pycon(text: str, where: str, names: dict[str, Any]) -> None:
    example = doctest.DocTestParser().get_doctest(text, names, where, where, 0)
    said: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    doctest.DocTestRunner(verbose=False, optionflags=flags).run(example, out=said.append, clear_globs=False)
    assert not said, "".join(said)
    names.update(example.globs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("tiny", "own_tables")
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.note == "file":
            target = tmp_path / block.value
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.note == "not run" or block.language not in RUNNABLE:
            continue
        elif block.language == "bash":
            run_bash(block.text, where)
        elif block.language == "pycon":
            run_pycon(block.text, where, names)
        else:
            # padded, so that a traceback counts lines as the page does
            exec(compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True), names)


def test_a_wrong_command_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="exit code 2"):
        run_bash("trigpoint data check nowhere", "here")
    with pytest.raises(AssertionError, match="exit code 1"):
        run_bash("ls . && false", "here")
    with pytest.raises(AssertionError, match="Expected"):
        run_pycon(">>> 1 + 1\n3\n", "here", {})


def test_the_page_reader(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- not run: slow -->\n```bash\nls\n```\n\n```python\nx = 1\n```\n", encoding="utf-8")
    first, second = blocks(page)
    assert (first.note, first.value, first.text, first.line) == ("not run", "slow", "ls\n", 3)
    assert (second.language, second.note) == ("python", "")


# -- completeness ---------------------------------------------------------------------------------------------------


def page_text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def anchors(page: Path) -> set[str]:
    """What a link may name after ``#``, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if "://" not in target and (not file.exists() or (anchor and anchor not in anchors(file))):
            lost.append(target)
    assert not lost, f"{page.name}: nothing there: {', '.join(lost)}"


def verbs(group: Any, before: str = "trigpoint") -> Iterator[tuple[str, list[str]]]:
    """Every verb with its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, f"{before} {name}")
        else:
            yield f"{before} {name}", [o for p in command.params for o in p.opts if o.startswith("--")]


def test_every_verb_and_option_is_on_the_page() -> None:
    text = page_text("docs/cli.md")
    missing = []
    for verb, options in verbs(typer.main.get_command(app)):
        section = re.search(rf"^## `{re.escape(verb)}\b.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        if section is None:
            missing.append(verb)
            continue
        named = set(re.findall(r"--[a-z][a-z-]*", section.group()))
        missing += [f"{verb} {option}" for option in options if option not in named | {"--help"}]
    assert not missing, f"docs/cli.md says nothing of: {', '.join(missing)}"


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/adaloss.md", [*SCHEDULES, *LOSSES, *DECODERS]),
        ("docs/training.md", [*NETWORKS, *recipe_names()]),
        ("docs/data-format.md", [*FORMATS, *KEYS]),
    ],
)
def test_every_choice_is_on_its_page(page: str, names: list[str]) -> None:
    text = page_text(page)
    missing = [name for name in names if not re.search(rf"`{re.escape(name)}\b", text)]
    assert not missing, f"{page} says nothing of: {', '.join(missing)}"
