"""Catheter tip, section 4.2 of the Adaloss paper: its Tables 1 and 2, and its statements checked by rules stated here.

A run *learned* when its test error is below ``LEARNED`` times that of always answering with the mean training position.
It *collapsed* when it did not learn, when its loss became infinite or NaN, when its sigma left [sigma_min, sigma0],
when its test error is ``COLLAPSED`` times that of the best setting, or when its last validation error is ``COLLAPSED``
times its own best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from torch import nn

from trigpoint.experiments.engine import Experiment, Runs
from trigpoint.experiments.findings import Claim, Table, judged, spread
from trigpoint.experiments.measures import Outcome, clamped, obstacles
from trigpoint.metrics import normalized_total_variation
from trigpoint.prediction import Predictor

FULL = 256  # pixels of the paper's map, which its sigmas refer to
OPTIMIZERS: Mapping[str, str] = {"Adam 1e-3": "adam-1e-3", "Adam 1e-4": "adam-1e-4", "Adadelta": "adadelta"}
MAIN, SLOW = "Adam 1e-3", "Adam 1e-4"
FIXED = ("fixed5", "fixed25", "fixed40", "fixed60")
BOUNDED = ("adaloss", "falling")
"""Settings of the bounded Adaloss, which differ in when a width may grow."""
LEARNED = 0.5
COLLAPSED = 5.0
MARGIN = 1.1  # of the best fixed sigma's error
FORMS = ("valid", "zero_padded")


@dataclass
class Sweep:
    """Runs by (optimizer, setting), the error ``guess`` of a constant answer, and the sizes they were made with.

    ``smoothness``: NTV of (best fixed, Adaloss) by (layers, form), where it was measured, and ``of_seeds`` in words
    that of all seeds at ``MAIN``.
    """

    runs: Mapping[tuple[str, str], list[Outcome]]
    guess: float
    size: int
    sigma_min: float
    smoothness: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    of_seeds: dict[str, str] = field(default_factory=dict)

    def errors(self, optimizer: str, key: str) -> list[float]:
        """Test MRE of each seed."""
        return [run.mre for run in self.runs[optimizer, key]]

    def mean(self, optimizer: str, key: str) -> float:
        """Test MRE over the seeds; infinite when a seed has none."""
        return _finite(self.errors(optimizer, key))

    def validation(self, optimizer: str, key: str) -> float:
        """Mean validation MRE over the seeds, of the weights that were kept; infinite when a seed has none."""
        return _finite([run.val_mre for run in self.runs[optimizer, key]])

    @property
    def ours(self) -> str:
        """Setting of the bounded Adaloss that the claims are judged on: the better one on validation images."""
        return min(BOUNDED, key=lambda key: self.validation(MAIN, key))

    def best_fixed(self, optimizer: str) -> str:
        """Fixed setting with the least mean test MRE."""
        return min(FIXED, key=lambda key: self.mean(optimizer, key))

    def best_run(self, *keys: str) -> Outcome:
        """Run with the least validation MRE among settings, over all optimizers and seeds."""
        found = [run for (_, key), runs in self.runs.items() if key in keys for run in runs]
        return min(found, key=lambda run: np.nan_to_num(run.val_mre, nan=np.inf))

    def learned(self, run: Outcome) -> bool:
        """See the module."""
        return run.mre < LEARNED * self.guess

    def obstacles(self, *settings: tuple[str, str]) -> list[str]:
        """What forbids comparing settings."""
        return obstacles(*(self.runs[setting] for setting in settings))

    def collapse(self, run: Outcome, best: float) -> str:
        """Why a run counts as collapsed, or an empty text; ``best`` is the best setting's test MRE."""
        widths = run.sigma()
        if run.note:
            return run.note
        if not self.learned(run):
            return f"test MRE {run.mre:.2f} px against {self.guess:.2f} px of a constant answer"
        if widths.min() < 0.999 * self.sigma_min or widths.max() > 1.001 * self.size / 4:
            return f"sigma went from {widths[0, 0]:.1f} to between {widths.min():.2f} and {widths.max():.2f} map px"
        if run.mre >= COLLAPSED * best:
            return f"test MRE {run.mre:.2f} px against {best:.2f} px of the best setting"
        if run.last_val_mre >= COLLAPSED * run.val_mre:
            return f"validation MRE rose from {run.val_mre:.2f} to {run.last_val_mre:.2f} px"
        return ""


class Catheter(Experiment):
    """Fixed sigmas against Adaloss on drawn catheter tips."""

    def sweep(self, runs: Runs) -> Sweep:
        """The runs by optimizer and target."""
        keys = list(self.scale.vary[-1])
        by_pair = {(name, key): runs[f"{short}-{key}"] for name, short in OPTIMIZERS.items() for key in keys}
        size = self.test.read(0).pixels.shape[-1]
        return Sweep(by_pair, self.constant(self.test), size, float(self.values["sigma_min"]))

    def tables(self, runs: Runs) -> list[Table]:
        self.found = self.sweep(runs)
        return [self._table_one(self.found), *super().tables(runs), self._smoothness(self.found)]

    def claims(self, runs: Runs) -> list[Claim]:
        return catheter_claims(self.found)

    def _table_one(self, sweep: Sweep) -> Table:
        rows: list[dict[str, Any]] = []
        scale, paper = FULL / sweep.size, self.values["paper"]
        for key in self.scale.vary[-1]:
            row: dict[str, Any] = {"targets": self.label(key)}
            for optimizer in OPTIMIZERS:
                row[f"{optimizer}: MRE px"] = spread(sweep.errors(optimizer, key))
                row[f"{optimizer}: last sigma"] = spread([run.last_sigma for run in sweep.runs[optimizer, key]])
            row[f"{MAIN} in px of 256"] = spread([error * scale for error in sweep.errors(MAIN, key)])
            row["paper, Adam 1e-4, px of 256"] = paper.get(key, paper["adaloss"])
            rows.append(row)
        guess = {f"{optimizer}: MRE px": spread([sweep.guess]) for optimizer in OPTIMIZERS}
        of_full = {f"{MAIN} in px of 256": spread([sweep.guess * scale])}
        rows.append({"targets": "always the mean training position", **guess, **of_full})
        rules = [f"{self.label(key).split(', ')[-1]} {sweep.validation(MAIN, key):.2f} px" for key in BOUNDED]
        return Table("Table 1: distance on the test images", rows, self.note("table_one", rules=", ".join(rules)))

    def _smoothness(self, sweep: Sweep) -> Table:
        pair = (sweep.best_run(*FIXED), sweep.best_run(sweep.ours))
        networks = [_network(run) for run in pair]
        keys = (sweep.best_fixed(MAIN), sweep.ours)
        every = [[_network(run) for run in sweep.runs[MAIN, key] if run.run.weights.is_file()] for key in keys]
        rows = []
        for which, paper in self.values["paper_ntv"].items():
            seeds = [spread([normalized_total_variation(net, "valid", which) for net in nets]) for nets in every]
            sweep.of_seeds[which] = f"{' to '.join(seeds)} over seeds at {MAIN} (valid)"
            for form in FORMS:
                fixed, ours = (normalized_total_variation(net, cast(Any, form), which) for net in networks)
                sweep.smoothness[which, form] = (fixed, ours)
                row = {"layers": which, "form": form.replace("_", " "), "fixed sigma": fixed, "Adaloss": ours}
                row |= {"change": _change(ours, fixed), "paper: fixed": paper[0], "paper: Adaloss": paper[1]}
                rows.append({**row, "paper: change": _change(paper[1], paper[0])})
        note = self.note("smoothness", fixed=pair[0].job.folder, ours=pair[1].job.folder)
        return Table("Table 2: normalised total variation of the filters", rows, note)


# -- claims -----------------------------------------------------------------------------------------------------------


def catheter_claims(sweep: Sweep) -> list[Claim]:
    """The paper's statements, and our own (the bounded Adaloss against the best fixed sigma).

    Whether a setting trains can always be told, so long as something trains with that optimizer; what is compared has
    to beat a constant answer.
    """
    best = min(sweep.mean(MAIN, key) for key in [*FIXED, sweep.ours])
    return [
        _trains(sweep, sweep.ours, f"Adaloss (bounded) trains at {MAIN} without collapse, every seed", best),
        _against_fixed(sweep),
        _beats_fixed(sweep),
        _fixed_fails(sweep, MAIN, f"No fixed sigma trains at {MAIN}"),
        _slow_fixed(sweep),
        _fast_is_better(sweep),
        _adadelta(sweep),
        _trains(sweep, "literal", f"Eq. 5 as printed trains at {MAIN} without collapse, every seed", best),
        _last_sigma(sweep),
        *_smoother(sweep),
    ]


def _trains(sweep: Sweep, key: str, text: str, best: float) -> Claim:
    runs = sweep.runs[MAIN, key]
    reasons = {run.job.seed: sweep.collapse(run, best) for run in runs}
    bad = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items() if reason)
    low = min(run.least_sigma for run in runs)
    good = sum(not reason for reason in reasons.values())
    numbers = f"{good} of {len(runs)} seeds; test MRE {_list(run.mre for run in runs)} px, least sigma {low:.2f} map px"
    return Claim(text, not bad, f"{numbers}. {bad}" if bad else numbers)


def _against_fixed(sweep: Sweep) -> Claim:
    key = sweep.best_fixed(MAIN)
    fixed, ours = sweep.mean(MAIN, key), sweep.mean(MAIN, sweep.ours)
    return judged(
        f"At {MAIN} the error of Adaloss (bounded) is at most that of the best fixed sigma + 10 %",
        ours <= MARGIN * fixed,
        f"{spread(sweep.errors(MAIN, sweep.ours))} against {spread(sweep.errors(MAIN, key))} px ({_named(key)}): "
        f"{100 * (ours / fixed - 1):+.0f} %",
        sweep.obstacles((MAIN, sweep.ours), (MAIN, key)),
    )


def _beats_fixed(sweep: Sweep) -> Claim:
    optimizers = list(dict.fromkeys(optimizer for optimizer, _ in sweep.runs))
    fixed, where, key = min((sweep.mean(o, key), o, key) for o in optimizers for key in FIXED)
    ours, with_ = min((sweep.mean(o, sweep.ours), o) for o in optimizers)
    return judged(
        "The best Adaloss beats the best fixed sigma by a wide margin (paper: 1.19 against 8.71 px, a factor of 7.3)",
        bool(fixed / ours >= 2),
        f"{spread(sweep.errors(with_, sweep.ours))} px ({with_}) against {spread(sweep.errors(where, key))} px "
        f"({_named(key)}, {where}), a factor of {fixed / ours:.2f}; a factor of 2 would count",
        sweep.obstacles((with_, sweep.ours), (where, key)),
    )


def _fixed_fails(sweep: Sweep, optimizer: str, text: str) -> Claim:
    runs = {key: sweep.runs[optimizer, key] for key in FIXED}
    learned = {key: sum(sweep.learned(run) for run in members) for key, members in runs.items()}
    counts = ", ".join(f"{_named(key)} {learned[key]} of {len(runs[key])}" for key in runs)
    numbers = f"seeds that learned: {counts} (test MRE below half of the {sweep.guess:.2f} px of a constant answer)"
    return judged(text, not any(learned.values()), numbers, [_nothing_learned(sweep, optimizer)])


def _slow_fixed(sweep: Sweep) -> Claim:
    best = sweep.best_fixed(SLOW)
    learned = any(sweep.learned(run) for run in sweep.runs[SLOW, "fixed5"])
    others = [sweep.learned(run) for key in FIXED if key != "fixed5" for run in sweep.runs[SLOW, key]]
    shown = ", ".join(f"{_named(key)} {sweep.mean(SLOW, key):.2f}" for key in FIXED)
    return judged(
        f"At {SLOW} sigma 5 does not train, larger fixed sigmas do, and 40 is the best of them",
        not learned and all(others) and best == "fixed40",
        f"test MRE px: {shown}; a constant answer {sweep.guess:.2f}",
        [_nothing_learned(sweep, SLOW)],
    )


def _fast_is_better(sweep: Sweep) -> Claim:
    fast, slow = sweep.mean(MAIN, sweep.ours), sweep.mean(SLOW, sweep.ours)
    return judged(
        f"Adaloss (bounded) trains at both rates and ends better at {MAIN} than at {SLOW}",
        fast < slow and all(sweep.learned(run) for rate in (MAIN, SLOW) for run in sweep.runs[rate, sweep.ours]),
        f"{spread(sweep.errors(MAIN, sweep.ours))} against {spread(sweep.errors(SLOW, sweep.ours))} px",
        sweep.obstacles((MAIN, sweep.ours), (SLOW, sweep.ours)),
    )


def _adadelta(sweep: Sweep) -> Claim:
    fixed = _fixed_fails(sweep, "Adadelta", "")
    ours = all(sweep.learned(run) for run in sweep.runs["Adadelta", sweep.ours])
    return Claim(
        "With Adadelta fixed sigmas do not train and Adaloss (bounded) does (Fig. 3)",
        None if fixed.holds is None else fixed.holds and ours,
        f"Adaloss {sweep.mean('Adadelta', sweep.ours):.2f} px; {fixed.numbers}",
    )


def _last_sigma(sweep: Sweep) -> Claim:
    runs = sweep.runs[MAIN, sweep.ours]
    ends = [run.last_sigma * FULL / sweep.size for run in runs]
    widths = [run.sigma() for run in runs]
    return judged(
        "Sigma settles at about 5 px of a 256-px map (Fig. 6; between 2.5 and 10 counts)",
        all(2.5 <= end <= 10 for end in ends),
        f"Adaloss (bounded) ends at {_list(ends)} px of 256",
        [clamped(each, sweep.sigma_min, sweep.size / 4) for each in widths if len(each)]
        + sweep.obstacles((MAIN, sweep.ours)),
    )


def _smoother(sweep: Sweep) -> list[Claim]:
    claims = []
    pair = (sweep.best_run(*FIXED), sweep.best_run(sweep.ours))
    for which, paper in (("all", "3.03 to 2.80"), ("last", "1.83 to 1.68")):
        forms = {form: sweep.smoothness[which, form] for form in FORMS}
        shown = ", ".join(f"{a:.2f} to {b:.2f} ({form.replace('_', ' ')})" for form, (a, b) in forms.items())
        layers = "all layers" if which == "all" else "the last layer"
        text = f"Adaloss makes the filters of {layers} smoother (paper: NTV {paper})"
        holds = all(b < a for a, b in forms.values())
        numbers = f"best fixed to Adaloss: {shown}; {sweep.of_seeds.get(which, '')}".removesuffix("; ")
        claims.append(judged(text, holds, numbers, obstacles(*([run] for run in pair))))
    return claims


def _network(run: Outcome) -> nn.Module:
    return Predictor.load(run.run).method.inference_network()


def _nothing_learned(sweep: Sweep, optimizer: str) -> str:
    """That no run with this optimizer learned, so that nothing follows from one that did not."""
    there = [run for (name, _), runs in sweep.runs.items() if name == optimizer for run in runs]
    return "" if any(sweep.learned(run) for run in there) else f"nothing trains with {optimizer}, Adaloss included"


def _finite(values: Sequence[float]) -> float:
    mean = float(np.mean(values))
    return mean if np.isfinite(mean) else float("inf")


def _change(new: float, old: float) -> str:
    return f"{100 * (new / old - 1):+.1f} %"


def _named(key: str) -> str:
    return f"sigma {key.removeprefix('fixed')}"


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
