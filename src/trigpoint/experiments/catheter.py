"""Catheter tip, section 4.2 of the Adaloss paper: its Tables 1 and 2, and its statements checked by rules stated here.

A run *learned* when its test error is below ``LEARNED`` times that of always answering with the mean training position.
It *collapsed* when it did not learn, when its loss became infinite or NaN, when its sigma left [sigma_min, sigma0],
when its test error is ``COLLAPSED`` times that of the best setting, or when its last validation error is ``COLLAPSED``
times its own best.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, between, judged, spread
from trigpoint.experiments.measures import Outcome
from trigpoint.experiments.study import ClaimSpec
from trigpoint.metrics import normalized_total_variation
from trigpoint.metrics.paired import difference
from trigpoint.prediction import Predictor
from trigpoint.report.tables import UNKNOWN

FULL = 256  # pixels of the paper's map, which its sigmas refer to
MAIN, SLOW, DELTA = OPTIMIZERS = ("adam-1e-3", "adam-1e-4", "adadelta")
OURS = "paced"
"""The setting of Adaloss that claims are about."""
LEARNED = 0.5
COLLAPSED = 5.0
FORMS = ("valid", "zero_padded")


class Catheter(Experiment):
    """Fixed sigmas against Adaloss on drawn catheter tips; a setting is an optimizer and a key, such as ``fixed5``."""

    @property
    def fixed(self) -> list[str]:
        """Keys of the fixed sigmas, the sharpest first."""
        return [key for key in self.scale.vary[-1] if key.startswith("fixed")]

    @property
    def optimizers(self) -> list[str]:
        """Those of this scale, ``MAIN`` among them."""
        return [key for key in OPTIMIZERS if key in self.scale.vary[0]]

    def of(self, optimizer: str, *keys: str) -> list[Outcome]:
        """All seeds of settings with an optimizer."""
        return [run for key in keys for run in self.runs[f"{optimizer}-{key}"]]

    @cached_property
    def guess(self) -> float:
        """The error of a constant answer."""
        return self.constant(self.test)

    @cached_property
    def size(self) -> int:
        """Pixels along the side of the maps."""
        return int(self.test.read(0).pixels.shape[-1])

    @cached_property
    def smoothness(self) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
        """NTV of each seed of the best fixed sigma and of Adaloss, by layers and form."""
        settings = (self.best_fixed(MAIN), OURS)
        fixed, ours = ([run for run in self.of(MAIN, key) if run.run.weights.is_file()] for key in settings)
        keys = product(self.values["paper_ntv"], FORMS)
        return {
            key: ([_variation(run, *key) for run in fixed], [_variation(run, *key) for run in ours]) for key in keys
        }

    def best_fixed(self, optimizer: str) -> str:
        """Fixed setting with the least mean test MRE."""
        return min(self.fixed, key=lambda key: self.mean(f"{optimizer}-{key}"))

    def learned(self, *runs: Outcome) -> int:
        """How many of the runs learned."""
        return sum(run.mre < LEARNED * self.guess for run in runs)

    def nothing_learned(self, optimizer: str) -> str:
        """That no run with this optimizer learned, so that nothing follows from one that did not."""
        there = self.of(optimizer, *self.scale.vary[-1])
        return "" if self.learned(*there) else f"nothing trains with {self.labels[optimizer]}, Adaloss included"

    def collapse(self, run: Outcome, best: float) -> str:
        """Why a run counts as collapsed, or an empty text; ``best`` is the best setting's test MRE."""
        widths = run.sigma()
        if run.note:
            return run.note
        if not self.learned(run):
            return f"test MRE {run.mre:.2f} px against {self.guess:.2f} px of a constant answer"
        if widths.min() < 0.999 * self.values["sigma_min"] or widths.max() > 1.001 * self.size / 4:
            return f"sigma went from {widths[0, 0]:.1f} to between {widths.min():.2f} and {widths.max():.2f} map px"
        if run.mre >= COLLAPSED * best:
            return f"test MRE {run.mre:.2f} px against {best:.2f} px of the best setting"
        if run.last_val_mre >= COLLAPSED * run.val_mre:
            return f"validation MRE rose from {run.val_mre:.2f} to {run.last_val_mre:.2f} px"
        return ""

    # -- tables -------------------------------------------------------------------------------------------------------

    def tables(self) -> list[Table]:
        return [self._table_one(), *super().tables(), self._smoothness()]

    def _table_one(self) -> Table:
        rows, names = list[Row](), {key: self.labels[key] for key in self.optimizers}
        scale, paper, full = FULL / self.size, self.values["paper"], f"{names[MAIN]} in px of 256"
        for key in self.scale.vary[-1]:
            row: Row = {"targets": self.label(key)}
            for optimizer, name in names.items():
                row[f"{name}: MRE px"] = spread(self.means(f"{optimizer}-{key}"))
                row[f"{name}: last sigma"] = spread([run.last_sigma for run in self.of(optimizer, key)])
            row[full] = spread([run.mre * scale for run in self.of(MAIN, key)])
            rows.append({**row, "paper, Adam 1e-4, px of 256": paper.get(key, UNKNOWN)})
        guess = {f"{name}: MRE px": spread([self.guess]) for name in names.values()}
        rows.append({"targets": "always the mean training position", **guess, full: spread([self.guess * scale])})
        return Table("Table 1: distance on the test images", rows, self.note("table_one"))

    def _smoothness(self) -> Table:
        rows = list[Row]()
        for (which, form), (fixed, ours) in self.smoothness.items():
            paper = self.values["paper_ntv"][which]
            row: Row = {"layers": which, "form": form.replace("_", " "), "fixed sigma": spread(fixed)}
            row |= {"paced": spread(ours), "change": _change(float(np.mean(ours)), float(np.mean(fixed)))}
            row |= {"paper: fixed": paper[0], "paper: Adaloss": paper[1], "paper: change": _change(paper[1], paper[0])}
            rows.append(row)
        note = self.note("smoothness", fixed=self.label(self.best_fixed(MAIN)))
        return Table("Table 2: normalised total variation of the filters", rows, note)

    # -- claims -------------------------------------------------------------------------------------------------------

    def claims(self) -> list[Claim]:
        """The paper's statements, and our own (``paced`` against the fixed sigmas).

        Whether a setting trains can always be told, so long as something trains with that optimizer.
        """
        return [
            self._trains(OURS, "Paced trains at Adam 1e-3 without collapse, every seed"),
            *super().claims(),
            self._beats_guesses(),
            self._sharpest_stays_empty(),
            self._fixed_fails(MAIN, "No fixed sigma trains at Adam 1e-3"),
            *(self._by_optimizer() if len(self.optimizers) > 1 else []),
            self._trains("literal", "Eq. 5 as printed trains at Adam 1e-3 without collapse, every seed"),
            self._smoother("all", "Paced makes the filters of all layers smoother (paper: NTV 3.03 to 2.80)"),
            self._smoother("last", "Paced makes the filters of the last layer smoother (paper: NTV 1.83 to 1.68)"),
        ]

    def _beats_guesses(self) -> Claim:
        """Against what one would take without a sweep: any of the fixed sigmas but the best."""
        best, ours = self.best_fixed(MAIN), self.errors[f"{MAIN}-{OURS}"]
        others = [key for key in self.fixed if key != best]
        gaps = {key: difference(ours, self.errors[f"{MAIN}-{key}"], self.subjects) for key in others}
        each = ", ".join(f"{_named(key)} {gap:+.2f} ({between(bounds)})" for key, (gap, bounds) in gaps.items())
        text = "Paced is better than each fixed sigma but the best, that is, than most guesses (whole interval)"
        holds = all(bounds[1] < 0 for _, bounds in gaps.values())
        return judged(text, holds, f"difference px: {each}; best: {_named(best)}", self.obstacles(f"{MAIN}-{OURS}"))

    def _sharpest_stays_empty(self) -> Claim:
        """Sample bias: nearly all of a sharp target is empty, and so is the map of a network that learns from it."""
        key = self.fixed[0]
        sharp, ours = self.of(MAIN, key), self.of(MAIN, OURS)
        each = [f"{self.learned(*runs)} of {len(runs)} seeds, {_since(runs)}" for runs in (ours, sharp)]
        text = f"Paced learns every time, where the sharpest sigma ({key.removeprefix('fixed')}) never does"
        holds = self.learned(*ours) == len(ours) and not self.learned(*sharp)
        return judged(text, holds, f"learned: paced {each[0]}; {_named(key)} {each[1]}", [self.nothing_learned(MAIN)])

    def _trains(self, key: str, text: str) -> Claim:
        runs, best = self.of(MAIN, key), min(self.mean(f"{MAIN}-{name}") for name in [*self.fixed, OURS])
        reasons = {run.job.seed: self.collapse(run, best) for run in runs}
        bad = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items() if reason)
        good, low = sum(not reason for reason in reasons.values()), min(run.least_sigma for run in runs)
        errors = f"test MRE {_list(run.mre for run in runs)} px, least sigma {low:.2f} map px"
        numbers = f"{good} of {len(runs)} seeds; {errors}"
        return Claim(text, not bad, f"{numbers}. {bad}" if bad else numbers)

    def _fixed_fails(self, optimizer: str, text: str) -> Claim:
        runs = {key: self.of(optimizer, key) for key in self.fixed}
        learned = {key: self.learned(*each) for key, each in runs.items()}
        counts = ", ".join(f"{_named(key)} {learned[key]} of {len(each)}" for key, each in runs.items())
        numbers = f"seeds that learned: {counts} (test MRE below half of the {self.guess:.2f} px of a constant answer)"
        return judged(text, not any(learned.values()), numbers, [self.nothing_learned(optimizer)])

    def _by_optimizer(self) -> list[Claim]:
        """Which sigmas train at the slow rate, and what Adaloss does there and with Adadelta."""
        ours = {optimizer: self.of(optimizer, OURS) for optimizer in self.optimizers}
        learned = {optimizer: self.learned(*runs) == len(runs) for optimizer, runs in ours.items()}
        small, others = self.of(SLOW, self.fixed[0]), self.of(SLOW, *self.fixed[1:])
        larger = not self.learned(*small) and self.learned(*others) == len(others)
        means = ", ".join(f"{_named(key)} {self.mean(f'{SLOW}-{key}'):.2f}" for key in self.fixed)
        slow = judged(
            "At Adam 1e-4 sigma 5 does not train, larger fixed sigmas do, and 40 is the best of them",
            larger and self.best_fixed(SLOW) == "fixed40",
            f"test MRE px: {means}; a constant answer {self.guess:.2f}",
            [self.nothing_learned(SLOW)],
        )
        text = "Paced trains at both rates and ends better at Adam 1e-3 than at Adam 1e-4"
        rates = self.claim(ClaimSpec(text=text, ours=(f"{MAIN}-{OURS}",), than=(f"{SLOW}-{OURS}",)))
        delta = self._fixed_fails(DELTA, "With Adadelta fixed sigmas do not train and paced does (Fig. 3)")
        numbers = f"paced {self.mean(f'{DELTA}-{OURS}'):.2f} px; {delta.numbers}"
        return [
            slow,
            replace(rates, holds=rates.holds and learned[MAIN] and learned[SLOW]),
            replace(delta, holds=delta.holds and learned[DELTA], numbers=numbers),
        ]

    def _smoother(self, which: str, text: str) -> Claim:
        """Every seed of ours below every seed of the best fixed sigma: by chance 1 in 20 with three seeds each."""
        fixed, ours = self.smoothness[which, FORMS[0]]
        seeds = f"{len(ours)} seeds against {len(fixed)}"
        numbers = f"{spread(fixed)} ({_named(self.best_fixed(MAIN))}) to {spread(ours)}, {seeds}"
        bad = self.obstacles(f"{MAIN}-{OURS}", f"{MAIN}-{self.best_fixed(MAIN)}")
        few = "" if min(len(fixed), len(ours)) >= 3 else "needs three seeds of both"
        return judged(text, max(ours, default=np.inf) < min(fixed, default=-np.inf), numbers, [*bad, few])


def _variation(run: Outcome, which: Any, form: Any = "valid") -> float:
    return normalized_total_variation(Predictor.load(run.run).method.inference_network(), form, which)


def _change(new: float, old: float) -> str:
    return f"{100 * (new / old - 1):+.1f} %"


def _named(key: str) -> str:
    return f"sigma {key.removeprefix('fixed')}"


def _since(runs: Sequence[Outcome]) -> str:
    epochs = [run.learned_after(LEARNED) for run in runs]
    return "after epoch " + ", ".join("never" if math.isnan(epoch) else f"{epoch:g}" for epoch in epochs)


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
