"""How much predicting with an exported model installs: the package and what its plain installation brings, in MB.

``python -m benchmarks.install`` prints it, package by package, of the environment that it runs in. The bytecode that
Python makes of the files is counted for itself: ``pip install --no-compile`` leaves it out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 200.0  # MB


def brought() -> dict[str, Distribution]:
    """What installing the package without an extra brings beside itself, by name, as far as it is installed here."""
    found: dict[str, Distribution] = {}
    waiting = list(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])
    while waiting:
        one = re.split(r"[ ;<>=!~\[(]", waiting.pop())[0].lower().replace("_", "-")
        if one in found:
            continue
        try:
            found[one] = distribution(one)
        except PackageNotFoundError:
            continue  # of another system or Python
        waiting += [text for text in found[one].requires or () if "extra ==" not in text]
    return found


def sizes() -> dict[str, tuple[float, float]]:
    """Of each package the size of its files without bytecode, and that of the bytecode where it was made, MB."""
    files = {name: [Path(str(file.locate())) for file in of.files or ()] for name, of in brought().items()}
    files["trigpoint"] = list((ROOT / "src" / "trigpoint").rglob("*"))
    return {name: _megabytes(of) for name, of in files.items()}


def _megabytes(files: Iterable[Path]) -> tuple[float, float]:
    sizes: dict[bool, float] = {False: 0.0, True: 0.0}
    for file in {one for one in files if one.is_file()}:
        sizes[file.suffix == ".pyc"] += file.stat().st_size / 1e6
    return sizes[False], sizes[True]


def main() -> None:
    """Print the table."""
    found = sizes()
    for name, (own, compiled) in sorted(found.items(), key=lambda item: -item[1][0]):
        print(f"{name:<24} {own:6.1f}  bytecode {compiled:5.1f}")
    own, compiled = (sum(each) for each in zip(*found.values(), strict=True))
    print(f"{'all':<24} {own:6.1f}  bytecode {compiled:5.1f}")


if __name__ == "__main__":
    main()
