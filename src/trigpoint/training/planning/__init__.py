"""From data to a recipe: ``facts`` of the data, ``speed`` of this machine, and the ``plan``: choices with reasons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trigpoint.config import apply_overrides
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.training.planning.facts import Facts, described, facts_of
from trigpoint.training.planning.few import FEWEST_LABELS, few_labels
from trigpoint.training.planning.plan import Choice, Plan, make_plan
from trigpoint.training.subsets import dataset_of, divided

__all__ = ["Choice", "Facts", "Plan", "described", "facts_of", "make_plan", "plan_for"]


def plan_for(
    folder: str | Path, overrides: Sequence[str] = (), minutes: float = 10.0
) -> tuple[Facts, Plan, dict[str, Any]]:
    """Look at a dataset and plan its training: facts, plan, and the values of the recipe with ``overrides``.

    ``overrides`` such as ``data.limit=50`` say what there is to learn from; size and length are fitted to the others.
    Raises DataError for data that cannot be trained on, ConfigError for overrides that are wrong or too little time.
    """
    path = str(folder)
    given = apply_overrides({}, overrides, Recipe)
    values = {"name": "planned", "data": {"path": path, **given.get("data", {})}}
    data = dataset_of(load_recipe(values))
    parts = divided(load_recipe({**values, "method": "template"}), data)  # one label is enough for it
    facts = facts_of(parts["train"], parts["val"]) if len(parts["train"]) <= FEWEST_LABELS else None
    if facts is None or not few_labels(facts, given):
        parts = divided(load_recipe(values), data)
        facts = facts_of(parts["train"], parts["val"])
    plan = make_plan(facts, parts["train"].landmarks, path, minutes, given=given)
    return facts, plan, apply_overrides(plan.values(), overrides, Recipe)
