"""The experiments of the papers, each one command: our numbers beside the published ones, with a verdict per claim.

- ``catheter`` (with ``catheter_claims``): fixed sigmas against Adaloss on drawn catheter tips
- ``faces300w`` (with ``layout300w``): 300-W from the user's own copy
- ``muct``: sigma per region of the face on a stand-in for 300-W; ``faces`` is what the two share,
  ``dlib_line`` dlib's shape predictor on the same images
- ``foveated_isbi`` (with ``foveated_isbi_data``, ``foveated_isbi_claims``, ``foveated_published``): the foveated
  pyramid on the ISBI 2015 cephalograms
- ``foveated_ablation``: its iterations, features and levels; ``foveated`` is what the two share
- ``cross_task`` (with ``cross_task_tables``): a frozen source regularises training on few labels
- ``endovis`` (with ``endovis_data``): several instruments per image, or what stands in for EndoVis 2015
- ``study`` runs and reuses trainings, ``findings`` holds tables and claims

A new experiment is one file with ``reproduce(request) -> Findings`` and one entry in ``EXPERIMENTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.reproduce import catheter, cross_task, endovis, faces300w, foveated_ablation, foveated_isbi, muct
from trigpoint.reproduce.findings import Claim, Findings, Table
from trigpoint.reproduce.study import Request

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "Findings", "Request", "Table", "run_experiment"]


@dataclass(frozen=True)
class Experiment:
    """An experiment: what it is, the function that does it, whether single runs are long enough for a bar each, and
    the names of its own options."""

    about: str
    run: Callable[[Request], Findings]
    long_runs: bool = True
    options: tuple[str, ...] = ()


EXPERIMENTS: Mapping[str, Experiment] = {
    catheter.NAME: Experiment(
        "catheter tip: fixed sigmas against Adaloss, Table 1 and 2, Figs. 3, 4, 6", catheter.reproduce, False
    ),
    faces300w.NAME: Experiment(
        "300-W faces, Table 3 (needs --data with your copy)", faces300w.reproduce, options=faces300w.OPTIONS
    ),
    muct.NAME: Experiment(
        "MUCT faces in place of 300-W, sigma per region, Fig. 7 (needs --data)", muct.reproduce, options=muct.OPTIONS
    ),
    foveated_isbi.NAME: Experiment(
        "foveated pyramid on the ISBI 2015 cephalograms (needs --data)",
        foveated_isbi.reproduce,
        options=foveated_isbi.OPTIONS,
    ),
    foveated_ablation.NAME: Experiment(
        "foveated pyramid: iterations, features and levels on drawn radiographs, or on --data",
        foveated_ablation.reproduce,
        options=foveated_ablation.OPTIONS,
    ),
    cross_task.NAME: Experiment(
        "cross-task learning from few labels, Table 1, on drawn heads, or on --data",
        cross_task.reproduce,
        False,
        cross_task.OPTIONS,
    ),
    endovis.NAME: Experiment(
        "several instruments per image, EndoVis 2015 (needs --data), or with --stand-in laparoscopy or synthetic",
        endovis.reproduce,
        options=endovis.OPTIONS,
    ),
}


def run_experiment(request: Request) -> Findings:
    """Reproduce ``request.name``; raises ConfigError for an unknown name or option.

    >>> " ".join(EXPERIMENTS)
    'adaloss-catheter adaloss-300w adaloss-muct foveated-isbi2015 foveated-ablation cross-task endovis'
    """
    if request.name not in EXPERIMENTS:
        raise ConfigError(f"unknown experiment '{request.name}'; {did_you_mean(request.name, EXPERIMENTS)}")
    experiment = EXPERIMENTS[request.name]
    request.refuse_options_but(experiment.options)
    return experiment.run(request)
