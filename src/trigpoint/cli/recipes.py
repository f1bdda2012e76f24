"""``trigpoint recipes``."""

from typing import Annotated

import typer

from trigpoint.cli.console import say


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe instead of the list.")] = None,
) -> None:
    """List the recipes of the package, or print one to start your own from.

    Example: trigpoint recipes fast > mine.yaml
    """
    from importlib.resources import files

    from trigpoint.cli.console import show_table
    from trigpoint.recipes import recipe_names, recipe_values

    if name is not None:
        recipe_values(name)  # raises with the nearest name
        if name in recipe_names():
            say((files("trigpoint.recipes") / f"{name}.yaml").read_text(encoding="utf-8").rstrip("\n"))
            return
    about = {each: str(recipe_values(each).get("description", "")).strip() for each in recipe_names()}
    rows = [{"recipe": each, "about": text.partition("\n")[0]} for each, text in about.items()]
    show_table(rows, {"recipe": "Recipe", "about": "What it does"})
