"""A planned training that begins from a run (``train.init``): its network is taken as it is."""

import json
from collections.abc import Sequence
from typing import Any

from trigpoint.config import apply_overrides
from trigpoint.errors import ConfigError
from trigpoint.recipe import METHOD, Recipe
from trigpoint.runs import RunFolder


def can_continue(run: RunFolder) -> bool:
    """Whether a training can begin from the weights of a run. Raises RunError for a source model."""
    method: Any = METHOD.find(run.recipe().method_name)
    return bool(method.continues)


def continued(overrides: Sequence[str]) -> list[str]:
    """The overrides with the method and the channels of the run that ``train.init`` names, where it names one and they
    are not given. Raises ConfigError for a run that nothing can begin from."""
    given = apply_overrides({}, overrides, Recipe)
    init = given.get("train", {}).get("init")
    if init is None or "method" in given:
        return list(overrides)
    run = RunFolder(init)
    if not run.exists():
        raise ConfigError(f"train.init: expected a run folder, got none at {run.folder}; check the path")
    if not can_continue(run):
        raise ConfigError(
            f"train.init: expected a run whose network gives a map per landmark, got {run.folder} of another method; "
            "train without train.init"
        )
    first = run.recipe()
    method = first.method.model_dump(mode="json")
    taken = [f"method={json.dumps(method)}"]
    if "channels" not in given.get("data", {}).get("input", {}):
        taken.append(f"data.input.channels={first.data.input.channels}")
    return [*taken, *overrides]
