"""What the site needs besides ``docs/``: pages of the files that the documentation links to, and links that lead there.

The same Markdown is read on a code host, where ``../examples/x.yaml`` is a file. On the site it becomes a page of its
own. ``README.md`` is the front page.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)\s#]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python"}  # a linked folder holds recipes


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside ``docs/``, and those that they link to."""
    waiting = [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    known = set(waiting)
    while waiting:
        origin = waiting.pop()
        text = _text(ROOT / origin)
        if not origin.startswith("docs/"):
            files.append(File.generated(config, _uri(origin), content=_markdown(origin, text)))
        if origin.endswith(".md"):
            linked = {target for target in _targets(origin, text) if not target.startswith("docs/")}
            waiting += sorted(linked - known)
            known |= linked
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of the repository become links of the site."""
    origin = _origin(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        target = _uri(_resolved(origin, link.group(1)))
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".") + (link.group(2) or "")

    return _outside_blocks(markdown, lambda line: LINK.sub(moved, line))


def _outside_blocks(markdown: str, change: Any) -> str:
    """``markdown`` with ``change`` applied to the lines that are in no fenced block."""
    lines, inside = [], False
    for line in markdown.split("\n"):
        inside ^= line.startswith("```")
        lines.append(line if inside else change(line))
    return "\n".join(lines)


def _targets(origin: str, text: str) -> Iterator[str]:
    found: list[str] = []
    _outside_blocks(text, lambda line: found.extend(link.group(1) for link in LINK.finditer(line)) or line)
    return (_resolved(origin, target) for target in found)


def _resolved(origin: str, target: str) -> str:
    """A link of a file as a path in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _uri(origin: str) -> str:
    """Where a file of the repository is on the site."""
    if origin.startswith("docs/"):
        return origin.removeprefix("docs/")
    return PAGES.get(origin, f"files/{origin}.md")


def _text(path: Path) -> str:
    """What a file says, or a folder: its files one after another."""
    if not path.is_dir():
        return path.read_text(encoding="utf-8")
    files = sorted(file for file in path.iterdir() if file.is_file())
    return "\n".join(f"# {file.name}\n\n{file.read_text(encoding='utf-8').rstrip()}\n" for file in files)


def _origin(uri: str) -> str:
    """Which file of the repository a page shows."""
    if uri.startswith("files/"):
        return uri.removeprefix("files/").removesuffix(".md")
    return {page: name for name, page in PAGES.items()}.get(uri, f"docs/{uri}")


def _markdown(origin: str, text: str) -> str:
    """A file as a page: Markdown as it is, a notebook by its cells, others as one block."""
    if origin.endswith(".md"):
        return text
    if origin.endswith(".ipynb"):
        cells = ((cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"])
        return "\n\n".join(f"```python\n{source}\n```" if kind == "code" else source for kind, source in cells)
    language = LANGUAGES.get(PurePosixPath(origin).suffix, "yaml" if (ROOT / origin).is_dir() else "text")
    return f"# {origin}\n\n```{language}\n{text.rstrip()}\n```\n"
