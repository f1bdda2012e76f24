"""One plan for all processes of a training: each would time its own steps, and plan another number of epochs."""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from trigpoint.prediction.engine import started_by
from trigpoint.training.planning.choices import Choice
from trigpoint.training.planning.machine import Machine

WAIT = timedelta(hours=1)  # longer than any plan takes
_MADE, _READ = "trigpoint/plan", "trigpoint/read"


def together(machine: Machine) -> list[Choice]:
    """What Lightning has to be told of processes that it did not start.

    >>> [(choice.key, choice.value) for choice in together(Machine(processes=8, local=4))]
    [('train.devices', 4), ('train.num_nodes', 2)]
    """
    if machine.processes == 1:
        return []
    why = f"{machine.processes} processes were started, {machine.local} on a machine"
    return [
        Choice("train.devices", machine.local, why),
        Choice("train.num_nodes", machine.processes // machine.local, why),
    ]


def from_first(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the first of the processes makes, for each of those that torchrun or srun started; plain values.

    What ``make`` raises ends all: the first process with it, the others in silence.
    """
    by = started_by()
    if by is None or by.world_size() == 1:
        return make()
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, not listed in __all__

    first, count = by.global_rank() == 0, by.world_size()
    serves = first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"  # else torchrun does
    store = TCPStore(by.main_address, by.main_port, count, serves, WAIT)
    if not first:
        text = store.get(_MADE).decode()
        store.add(_READ, 1)
        if not text:
            raise SystemExit(0)  # with another code the first process would be killed, which tells why
        found: dict[str, Any] = json.loads(text)
        return found
    text = ""
    try:
        found = make()
        text = json.dumps(found)
        return found
    finally:
        store.set(_MADE, text)
        while store.add(_READ, 0) < count - 1:  # the store ends with this process, or gives its port to the training
            time.sleep(0.05)
