"""From data to a recipe: ``facts`` of the data, ``speed`` of this machine, and the ``plan``: choices with reasons."""

from collections.abc import Sequence
from pathlib import Path

from trigpoint.recipe import load_recipe
from trigpoint.training.planning.facts import Facts, described, facts_of
from trigpoint.training.planning.plan import Choice, Plan, make_plan
from trigpoint.training.subsets import dataset_of, divided

__all__ = ["Choice", "Facts", "Plan", "described", "facts_of", "make_plan", "plan_for"]


def plan_for(folder: str | Path, overrides: Sequence[str] = (), minutes: float = 10.0) -> tuple[Facts, Plan]:
    """Look at a dataset and plan its training; ``overrides`` such as ``data.limit=50`` say what there is to learn from.

    Raises DataError for data that cannot be trained on, ConfigError for overrides that are wrong or too little time.
    """
    path = str(folder)
    recipe = load_recipe({"name": "planned", "data": {"path": path}}, _of_data(overrides))
    parts = divided(recipe, dataset_of(recipe))
    facts = facts_of(parts["train"], parts["val"])
    return facts, make_plan(facts, parts["train"].landmarks, path, minutes)


def _of_data(overrides: Sequence[str]) -> list[str]:
    """Those that say which images and landmarks are learned."""
    return [each for each in overrides if each.startswith("data.")]
