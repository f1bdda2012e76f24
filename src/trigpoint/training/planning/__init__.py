"""From data to a recipe.

- ``facts.py``: what is measured of the data, with ``decoding.py``, ``poses.py``, ``repeats.py`` and ``machine.py``
- ``speed.py``: how long a training step takes on this machine
- ``plan.py``: choices with reasons, with ``learner.py``, ``region.py``, ``resolution.py`` and ``cascade.py``
- ``continuing.py``: what a training takes of the run that it begins from
- ``race.py``: what reasons do not decide is tried for a short time
- ``choices.py``: how a plan is written; ``shared.py``: one plan for all processes
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trigpoint.config import apply_overrides
from trigpoint.prediction.engine import first_process
from trigpoint.recipe import Recipe, SourceRecipe, load_any_recipe, load_recipe
from trigpoint.recipes import recipe_names
from trigpoint.runs import RunFolder
from trigpoint.training.planning.choices import Choice, Plan
from trigpoint.training.planning.continuing import can_continue, continued
from trigpoint.training.planning.facts import Facts, described, facts_of
from trigpoint.training.planning.few import few_labels, most_labels
from trigpoint.training.planning.plan import make_plan
from trigpoint.training.planning.race import raced
from trigpoint.training.planning.shared import from_first, together
from trigpoint.training.subsets import dataset_of, divided

__all__ = [
    "MINUTES",
    "Choice",
    "Facts",
    "Plan",
    "can_continue",
    "described",
    "facts_of",
    "is_dataset",
    "make_plan",
    "plan_for",
    "planned",
]

MINUTES = 10.0
"""Of a planned training, where none are given."""


def is_dataset(given: str | Path) -> bool:
    """Whether a word names a dataset. A folder may have the name of a recipe, such as the one that the demo makes."""
    path = Path(given)
    if path.suffix == ".csv" or any((path / name).is_file() for name in ("dataset.yaml", "landmarks.csv")):
        return True
    return path.is_dir() and str(given) not in recipe_names()


def plan_for(
    folder: str | Path, overrides: Sequence[str] = (), minutes: float = MINUTES
) -> tuple[Facts, Plan, dict[str, Any]]:
    """Look at a dataset and plan its training: facts, plan, and the values of the recipe with ``overrides``.

    ``overrides`` such as ``data.limit=50`` say what there is to learn from; size and length are fitted to the others.
    Raises DataError for data that cannot be trained on, ConfigError for overrides that are wrong or too little time.
    """
    begin, path = time.monotonic(), str(folder)
    overrides = continued(overrides)
    given = apply_overrides({}, overrides)  # with no default of a component that is named: the plan has its own
    recipe = load_recipe({"name": "planned", "data": {"path": path, **given.get("data", {})}})
    data = dataset_of(recipe)
    parts = divided(load_recipe({**recipe.model_dump(mode="json"), "method": "template"}), data)  # needs one label only
    facts = facts_of(parts["train"], parts["val"]) if len(parts["train"]) <= most_labels(minutes) else None
    if facts is None or not few_labels(facts, given, minutes):
        parts = divided(recipe, data)
        facts = facts_of(parts["train"], parts["val"])
    marks = parts["train"].landmarks
    plan = make_plan(facts, marks, path, minutes, given=given, spent=time.monotonic() - begin)
    if not few_labels(facts, given, minutes) and given.get("train", {}).get("init") is None:
        plan = raced(plan, parts, facts, minutes, overrides)
    plan = Plan((*plan.choices, *together(facts.machine)))
    return facts, plan, apply_overrides(plan.values(), overrides, Recipe)


def planned(
    folder: str | Path, overrides: Sequence[str], minutes: float | None, run: RunFolder, tell: Callable[[str], None]
) -> tuple[Recipe | SourceRecipe, str | None]:
    """The recipe of a planned training into ``run``, and the text of its plan; facts and reasons are told line by line.

    A run that is there goes on as it was planned, and has no new plan (None).
    """
    if run.exists():
        ignored = "" if minutes is None else "; other minutes count for new runs only"
        if first_process():
            tell(f"{run.folder}: goes on as it was planned{ignored}")
        return load_any_recipe(run.recipe(), overrides), None

    def plan() -> dict[str, Any]:
        tell(f"{folder}: looks at images and labels, and times some training steps")
        facts, made, values = plan_for(folder, overrides, MINUTES if minutes is None else minutes)
        for line in (*described(facts), "", *made.told(), ""):
            tell(line)
        return {"values": values, "text": made.text(values)}

    found = from_first(plan)
    return load_any_recipe(found["values"]), found["text"]
