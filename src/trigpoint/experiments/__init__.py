"""The experiments of the papers, each one command: our numbers beside the published ones, with an outcome per claim.

- ``studies``: what each study varies and publishes, as YAML; ``study`` reads them
- ``engine`` trains (``task``: here or as Slurm jobs), measures (``measures``) and tabulates
- ``findings``: tables, claims with their outcomes, and the files they become
- the others: the data, tables and claims that a study has for itself, as a subclass of ``Experiment`` in ``ANALYSES``

A new study is a YAML file; only data, tables or claims that no YAML can state need code.
"""

from collections.abc import Mapping

from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.experiments.ablation import Ablation
from trigpoint.experiments.annotators import Annotators
from trigpoint.experiments.catheter import Catheter
from trigpoint.experiments.cross_task import CrossTask
from trigpoint.experiments.endovis import Endovis
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.faces import Faces300W, Muct
from trigpoint.experiments.findings import Claim, Findings, Table
from trigpoint.experiments.isbi2015 import Isbi2015
from trigpoint.experiments.study import Request, Study, load_study, study_names

__all__ = ["ANALYSES", "Claim", "Findings", "Request", "Study", "Table", "load_study", "run_study", "study_names"]

ANALYSES: Mapping[str, type[Experiment]] = {
    "annotators": Annotators,
    "catheter": Catheter,
    "faces300w": Faces300W,
    "muct": Muct,
    "isbi2015": Isbi2015,
    "ablation": Ablation,
    "cross_task": CrossTask,
    "endovis": Endovis,
}


def run_study(study: Study, request: Request) -> Findings:
    """Do what a study says; raises ConfigError for an option that it does not have.

    >>> study_names()[:5]
    ['adaloss-300w', 'adaloss-annotators', 'adaloss-catheter', 'adaloss-muct', 'adaloss-widths']
    >>> study_names()[5:]
    ['cross-task', 'endovis', 'foveated-ablation', 'foveated-isbi2015']
    """
    kind = study.analysis
    if kind is not None and kind not in ANALYSES:
        raise ConfigError(f"{study.name}: unknown analysis '{kind}'; {did_you_mean(kind, ANALYSES)}")
    return (Experiment if kind is None else ANALYSES[kind])(study, request).run()
