"""The experiments of the papers, each one command: our numbers beside the published ones, with a verdict per claim.

- ``catheter`` (with ``catheter_claims``): fixed sigmas against Adaloss on drawn catheter tips
- ``faces300w`` (with ``layout300w``): 300-W from the user's own copy
- ``muct``: sigma per region of the face on a stand-in for 300-W; ``faces`` is what the two share
- ``study`` runs and reuses trainings, ``findings`` holds tables and claims

A new experiment is one file with ``reproduce(request) -> Findings`` and one line in ``EXPERIMENTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.reproduce import catheter, faces300w, muct
from trigpoint.reproduce.findings import Claim, Findings, Table
from trigpoint.reproduce.study import Request

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "Findings", "Request", "Table", "run_experiment"]


@dataclass(frozen=True)
class Experiment:
    """An experiment: what it is, the function that does it, and whether single runs are long enough for a bar each."""

    about: str
    run: Callable[[Request], Findings]
    long_runs: bool = True


EXPERIMENTS: Mapping[str, Experiment] = {
    catheter.NAME: Experiment(
        "catheter tip: fixed sigmas against Adaloss, Table 1 and 2, Figs. 3, 4, 6", catheter.reproduce, False
    ),
    faces300w.NAME: Experiment("300-W faces, Table 3 (needs --data with your copy)", faces300w.reproduce),
    muct.NAME: Experiment("MUCT faces in place of 300-W, sigma per region, Fig. 7 (needs --data)", muct.reproduce),
}


def run_experiment(request: Request) -> Findings:
    """Reproduce ``request.name``; raises ConfigError for an unknown name.

    >>> list(EXPERIMENTS)
    ['adaloss-catheter', 'adaloss-300w', 'adaloss-muct']
    """
    if request.name not in EXPERIMENTS:
        raise ConfigError(f"unknown experiment '{request.name}'; {did_you_mean(request.name, EXPERIMENTS)}")
    return EXPERIMENTS[request.name].run(request)
