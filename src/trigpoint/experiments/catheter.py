"""Catheter tip, section 4.2 of the Adaloss paper: its Tables 1 and 2, and its statements checked by rules stated here.

A run *learned* when its test error is below ``LEARNED`` times that of always answering with the mean training position.
It *collapsed* when it did not learn, when its loss became infinite or NaN, when its sigma left [sigma_min, sigma0],
when its test error is ``COLLAPSED`` times that of the best setting, or when its last validation error is ``COLLAPSED``
times its own best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, judged, spread
from trigpoint.experiments.measures import Outcome, clamped, compared, finite_mean, obstacles, shown
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

    def mean(self, optimizer: str, key: str) -> float:
        """Test MRE over the seeds; infinite when a seed has none."""
        return finite_mean([run.mre for run in self.runs[optimizer, key]])

    def validation(self, key: str) -> float:
        """Mean validation MRE at ``MAIN``, of the weights that were kept; infinite when a seed has none."""
        return finite_mean([run.val_mre for run in self.runs[MAIN, key]])

    @property
    def ours(self) -> str:
        """Setting of the bounded Adaloss that the claims are judged on: the better one on validation images."""
        return min(BOUNDED, key=self.validation)

    def best_fixed(self, optimizer: str) -> str:
        """Fixed setting with the least mean test MRE."""
        return min(FIXED, key=lambda key: self.mean(optimizer, key))

    @property
    def pair(self) -> tuple[Outcome, Outcome]:
        """The best run of a fixed sigma and of Adaloss on validation images, over all optimizers and seeds."""
        return self._best_run(FIXED), self._best_run((self.ours,))

    def _best_run(self, keys: Sequence[str]) -> Outcome:
        found = [run for (_, key), runs in self.runs.items() if key in keys for run in runs]
        return min(found, key=lambda run: np.nan_to_num(run.val_mre, nan=np.inf))

    def learned(self, *runs: Outcome) -> int:
        """How many of the runs learned."""
        return sum(run.mre < LEARNED * self.guess for run in runs)

    def nothing_learned(self, optimizer: str) -> str:
        """That no run with this optimizer learned, so that nothing follows from one that did not."""
        there = [run for (name, _), runs in self.runs.items() if name == optimizer for run in runs]
        return "" if self.learned(*there) else f"nothing trains with {optimizer}, Adaloss included"

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

    @cached_property
    def sweep(self) -> Sweep:
        """The runs by optimizer and target."""
        keys = list(self.scale.vary[-1])
        by_pair = {(name, key): self.runs[f"{short}-{key}"] for name, short in OPTIMIZERS.items() for key in keys}
        size = self.test.read(0).pixels.shape[-1]
        return Sweep(by_pair, self.constant(self.test), size, float(self.values["sigma_min"]))

    def tables(self) -> list[Table]:
        return [self._table_one(), *super().tables(), self._smoothness()]

    def claims(self) -> list[Claim]:
        return catheter_claims(self.sweep)

    def _table_one(self) -> Table:
        sweep, rows = self.sweep, list[Row]()
        scale, paper, full = FULL / sweep.size, self.values["paper"], f"{MAIN} in px of 256"
        for key in self.scale.vary[-1]:
            row: dict[str, Any] = {"targets": self.label(key)}
            for optimizer in OPTIMIZERS:
                row[f"{optimizer}: MRE px"] = shown(sweep.runs[optimizer, key])
                row[f"{optimizer}: last sigma"] = spread([run.last_sigma for run in sweep.runs[optimizer, key]])
            row[full] = spread([run.mre * scale for run in sweep.runs[MAIN, key]])
            rows.append({**row, "paper, Adam 1e-4, px of 256": paper.get(key, paper["adaloss"])})
        guess = {f"{optimizer}: MRE px": spread([sweep.guess]) for optimizer in OPTIMIZERS}
        rows.append({"targets": "always the mean training position", **guess, full: spread([sweep.guess * scale])})
        rules = [f"{self.label(key).split(', ')[-1]} {sweep.validation(key):.2f} px" for key in BOUNDED]
        return Table("Table 1: distance on the test images", rows, self.note("table_one", rules=", ".join(rules)))

    def _smoothness(self) -> Table:
        sweep, rows = self.sweep, list[Row]()
        keys = (sweep.best_fixed(MAIN), sweep.ours)
        every = [[run for run in sweep.runs[MAIN, key] if run.run.weights.is_file()] for key in keys]
        for which, paper in self.values["paper_ntv"].items():
            seeds = [spread([_variation(run, "valid", which) for run in runs]) for runs in every]
            sweep.of_seeds[which] = f"{' to '.join(seeds)} over seeds at {MAIN} (valid)"
            for form in FORMS:
                fixed, ours = (_variation(run, form, which) for run in sweep.pair)
                sweep.smoothness[which, form] = (fixed, ours)
                row = {"layers": which, "form": form.replace("_", " "), "fixed sigma": fixed, "Adaloss": ours}
                row |= {"change": _change(ours, fixed), "paper: fixed": paper[0], "paper: Adaloss": paper[1]}
                rows.append({**row, "paper: change": _change(paper[1], paper[0])})
        note = self.note("smoothness", fixed=sweep.pair[0].job.folder, ours=sweep.pair[1].job.folder)
        return Table("Table 2: normalised total variation of the filters", rows, note)


# -- claims -----------------------------------------------------------------------------------------------------------


def catheter_claims(sweep: Sweep) -> list[Claim]:
    """The paper's statements, and our own (the bounded Adaloss against the best fixed sigma).

    Whether a setting trains can always be told, so long as something trains with that optimizer; what is compared has
    to beat a constant answer.
    """
    bounded = f"Adaloss (bounded) trains at {MAIN} without collapse, every seed"
    return [
        _trains(sweep, sweep.ours, bounded),
        *_against_fixed(sweep),
        _fixed_fails(sweep, MAIN, f"No fixed sigma trains at {MAIN}"),
        *_by_optimizer(sweep),
        _trains(sweep, "literal", f"Eq. 5 as printed trains at {MAIN} without collapse, every seed"),
        _last_sigma(sweep),
        *(_smoother(sweep, which, paper) for which, paper in (("all", "3.03 to 2.80"), ("last", "1.83 to 1.68"))),
    ]


def _trains(sweep: Sweep, key: str, text: str) -> Claim:
    runs, best = sweep.runs[MAIN, key], min(sweep.mean(MAIN, name) for name in [*FIXED, sweep.ours])
    reasons = {run.job.seed: sweep.collapse(run, best) for run in runs}
    bad = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items() if reason)
    low = min(run.least_sigma for run in runs)
    good = sum(not reason for reason in reasons.values())
    numbers = f"{good} of {len(runs)} seeds; test MRE {_list(run.mre for run in runs)} px, least sigma {low:.2f} map px"
    return Claim(text, not bad, f"{numbers}. {bad}" if bad else numbers)


def _against_fixed(sweep: Sweep) -> list[Claim]:
    """Adaloss against the best fixed sigma at one rate, and over all optimizers."""
    ours, key = sweep.runs[MAIN, sweep.ours], sweep.best_fixed(MAIN)
    change = sweep.mean(MAIN, sweep.ours) / sweep.mean(MAIN, key)
    fixed, where, best = min((sweep.mean(o, key), o, key) for o, key in sweep.runs if key in FIXED)
    least, with_ = min((sweep.mean(o, key), o) for o, key in sweep.runs if key == sweep.ours)
    pair, factor = (sweep.runs[with_, sweep.ours], sweep.runs[where, best]), fixed / least
    text = f"At {MAIN} the error of Adaloss (bounded) is at most that of the best fixed sigma + 10 %"
    wide = "The best Adaloss beats the best fixed sigma by a wide margin (paper: 1.19 against 8.71 px, a factor of 7.3)"
    numbers = f"{shown(pair[0])} px ({with_}) against {shown(pair[1])} px ({_named(best)}, {where}), a factor of "
    more = f" ({_named(key)}): {100 * (change - 1):+.0f} %"
    return [
        compared(text, change <= MARGIN, ours, sweep.runs[MAIN, key], more),
        judged(wide, bool(factor >= 2), f"{numbers}{factor:.2f}; a factor of 2 would count", obstacles(*pair)),
    ]


def _fixed_fails(sweep: Sweep, optimizer: str, text: str) -> Claim:
    learned = {key: sweep.learned(*sweep.runs[optimizer, key]) for key in FIXED}
    counts = ", ".join(f"{_named(key)} {learned[key]} of {len(sweep.runs[optimizer, key])}" for key in FIXED)
    numbers = f"seeds that learned: {counts} (test MRE below half of the {sweep.guess:.2f} px of a constant answer)"
    return judged(text, not any(learned.values()), numbers, [sweep.nothing_learned(optimizer)])


def _by_optimizer(sweep: Sweep) -> list[Claim]:
    """Which sigmas train at the slow rate, and what Adaloss does there and with Adadelta."""
    ours = {optimizer: sweep.runs[optimizer, sweep.ours] for optimizer in OPTIMIZERS}
    learned = {optimizer: sweep.learned(*runs) == len(runs) for optimizer, runs in ours.items()}
    others = [run for key in FIXED[1:] for run in sweep.runs[SLOW, key]]
    slow = not sweep.learned(*sweep.runs[SLOW, "fixed5"]) and sweep.learned(*others) == len(others)
    means = ", ".join(f"{_named(key)} {sweep.mean(SLOW, key):.2f}" for key in FIXED)
    fixed = _fixed_fails(sweep, "Adadelta", "")
    return [
        judged(
            f"At {SLOW} sigma 5 does not train, larger fixed sigmas do, and 40 is the best of them",
            slow and sweep.best_fixed(SLOW) == "fixed40",
            f"test MRE px: {means}; a constant answer {sweep.guess:.2f}",
            [sweep.nothing_learned(SLOW)],
        ),
        compared(
            f"Adaloss (bounded) trains at both rates and ends better at {MAIN} than at {SLOW}",
            sweep.mean(MAIN, sweep.ours) < sweep.mean(SLOW, sweep.ours) and learned[MAIN] and learned[SLOW],
            ours[MAIN],
            ours[SLOW],
        ),
        Claim(
            "With Adadelta fixed sigmas do not train and Adaloss (bounded) does (Fig. 3)",
            None if fixed.holds is None else fixed.holds and learned["Adadelta"],
            f"Adaloss {sweep.mean('Adadelta', sweep.ours):.2f} px; {fixed.numbers}",
        ),
    ]


def _last_sigma(sweep: Sweep) -> Claim:
    runs = sweep.runs[MAIN, sweep.ours]
    ends = [run.last_sigma * FULL / sweep.size for run in runs]
    bounds = [clamped(run.sigma(), sweep.sigma_min, sweep.size / 4) for run in runs if len(run.sigma())]
    text = "Sigma settles at about 5 px of a 256-px map (Fig. 6; between 2.5 and 10 counts)"
    numbers = f"Adaloss (bounded) ends at {_list(ends)} px of 256"
    return judged(text, all(2.5 <= end <= 10 for end in ends), numbers, bounds + obstacles(runs))


def _smoother(sweep: Sweep, which: str, paper: str) -> Claim:
    forms = {form: sweep.smoothness[which, form] for form in FORMS}
    each = ", ".join(f"{a:.2f} to {b:.2f} ({form.replace('_', ' ')})" for form, (a, b) in forms.items())
    layers = "all layers" if which == "all" else "the last layer"
    text = f"Adaloss makes the filters of {layers} smoother (paper: NTV {paper})"
    numbers = f"best fixed to Adaloss: {each}; {sweep.of_seeds.get(which, '')}".removesuffix("; ")
    return judged(text, all(b < a for a, b in forms.values()), numbers, obstacles(*([run] for run in sweep.pair)))


def _variation(run: Outcome, form: Any, which: Any) -> float:
    return normalized_total_variation(Predictor.load(run.run).method.inference_network(), form, which)


def _change(new: float, old: float) -> str:
    return f"{100 * (new / old - 1):+.1f} %"


def _named(key: str) -> str:
    return f"sigma {key.removeprefix('fixed')}"


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
