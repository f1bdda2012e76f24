"""Catheter tip, section 4.2 of the Adaloss paper: its Tables 1 and 2, and its statements checked by rules stated here.

A run *learned* when its test error is below ``LEARNED`` times that of always answering with the mean training position.
It *collapsed* when it did not learn, when its loss became infinite or NaN, when its sigma left [sigma_min, sigma0],
when its test error is ``COLLAPSED`` times that of the best setting, or when its last validation error is ``COLLAPSED``
times its own best.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, judged, spread
from trigpoint.experiments.measures import Outcome, clamped
from trigpoint.experiments.study import ClaimSpec
from trigpoint.metrics import normalized_total_variation
from trigpoint.prediction import Predictor

FULL = 256  # pixels of the paper's map, which its sigmas refer to
MAIN, SLOW, DELTA = OPTIMIZERS = ("adam-1e-3", "adam-1e-4", "adadelta")
FIXED = ("fixed5", "fixed25", "fixed40", "fixed60")
BOUNDED = ("adaloss", "falling")
"""Settings of the bounded Adaloss, which differ in when a width may grow."""
LEARNED = 0.5
COLLAPSED = 5.0
FORMS = ("valid", "zero_padded")


class Catheter(Experiment):
    """Fixed sigmas against Adaloss on drawn catheter tips; a setting is an optimizer and a key, such as ``fixed5``."""

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
    def smoothness(self) -> dict[tuple[str, str], tuple[float, float]]:
        """NTV of the best run with a fixed sigma and of the best of Adaloss, by layers and form."""
        keys = [(which, form) for which in self.values["paper_ntv"] for form in FORMS]
        fixed, ours = self.pair
        return {key: (_variation(fixed, *key), _variation(ours, *key)) for key in keys}

    @property
    def ours(self) -> str:
        """Setting of the bounded Adaloss that the claims are judged on: the better one on validation images."""
        return min(BOUNDED, key=lambda key: self.validation(f"{MAIN}-{key}"))

    def best_fixed(self, optimizer: str) -> str:
        """Fixed setting with the least mean test MRE."""
        return min(FIXED, key=lambda key: self.mean(f"{optimizer}-{key}"))

    @property
    def pair(self) -> tuple[Outcome, Outcome]:
        """The best run of a fixed sigma and of Adaloss on validation images, over all optimizers and seeds."""
        every = [[run for each in OPTIMIZERS for run in self.of(each, *keys)] for keys in (FIXED, (self.ours,))]
        fixed, ours = (min(runs, key=lambda run: np.nan_to_num(run.val_mre, nan=np.inf)) for runs in every)
        return fixed, ours

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
        rows, names = list[Row](), {key: self.labels[key] for key in OPTIMIZERS}
        scale, paper, full = FULL / self.size, self.values["paper"], f"{names[MAIN]} in px of 256"
        for key in self.scale.vary[-1]:
            row: Row = {"targets": self.label(key)}
            for optimizer, name in names.items():
                row[f"{name}: MRE px"] = spread(self.means(f"{optimizer}-{key}"))
                row[f"{name}: last sigma"] = spread([run.last_sigma for run in self.of(optimizer, key)])
            row[full] = spread([run.mre * scale for run in self.of(MAIN, key)])
            rows.append({**row, "paper, Adam 1e-4, px of 256": paper.get(key, paper["adaloss"])})
        guess = {f"{name}: MRE px": spread([self.guess]) for name in names.values()}
        rows.append({"targets": "always the mean training position", **guess, full: spread([self.guess * scale])})
        rules = {self.label(key).split(", ")[-1]: self.validation(f"{MAIN}-{key}") for key in BOUNDED}
        note = self.note("table_one", rules=", ".join(f"{rule} {error:.2f} px" for rule, error in rules.items()))
        return Table("Table 1: distance on the test images", rows, note)

    def _smoothness(self) -> Table:
        rows = []
        for (which, form), (fixed, ours) in self.smoothness.items():
            paper = self.values["paper_ntv"][which]
            row = {"layers": which, "form": form.replace("_", " "), "fixed sigma": fixed, "Adaloss": ours}
            row |= {"change": _change(ours, fixed), "paper: fixed": paper[0], "paper: Adaloss": paper[1]}
            rows.append({**row, "paper: change": _change(paper[1], paper[0])})
        note = self.note("smoothness", fixed=self.pair[0].job.folder, ours=self.pair[1].job.folder)
        return Table("Table 2: normalised total variation of the filters", rows, note)

    # -- claims -------------------------------------------------------------------------------------------------------

    def claims(self) -> list[Claim]:
        """The paper's statements, and our own (the bounded Adaloss against the best fixed sigma).

        Whether a setting trains can always be told, so long as something trains with that optimizer.
        """
        return [
            self._trains(self.ours, "Adaloss (bounded) trains at Adam 1e-3 without collapse, every seed"),
            *super().claims(),
            self._fixed_fails(MAIN, "No fixed sigma trains at Adam 1e-3"),
            *self._by_optimizer(),
            self._trains("literal", "Eq. 5 as printed trains at Adam 1e-3 without collapse, every seed"),
            self._last_sigma(),
            self._smoother("all", "Adaloss makes the filters of all layers smoother (paper: NTV 3.03 to 2.80)"),
            self._smoother("last", "Adaloss makes the filters of the last layer smoother (paper: NTV 1.83 to 1.68)"),
        ]

    def _trains(self, key: str, text: str) -> Claim:
        runs, best = self.of(MAIN, key), min(self.mean(f"{MAIN}-{name}") for name in [*FIXED, self.ours])
        reasons = {run.job.seed: self.collapse(run, best) for run in runs}
        bad = "; ".join(f"seed {seed}: {reason}" for seed, reason in reasons.items() if reason)
        good, low = sum(not reason for reason in reasons.values()), min(run.least_sigma for run in runs)
        errors = f"test MRE {_list(run.mre for run in runs)} px, least sigma {low:.2f} map px"
        numbers = f"{good} of {len(runs)} seeds; {errors}"
        return Claim(text, not bad, f"{numbers}. {bad}" if bad else numbers)

    def _fixed_fails(self, optimizer: str, text: str) -> Claim:
        runs = {key: self.of(optimizer, key) for key in FIXED}
        learned = {key: self.learned(*each) for key, each in runs.items()}
        counts = ", ".join(f"{_named(key)} {learned[key]} of {len(each)}" for key, each in runs.items())
        numbers = f"seeds that learned: {counts} (test MRE below half of the {self.guess:.2f} px of a constant answer)"
        return judged(text, not any(learned.values()), numbers, [self.nothing_learned(optimizer)])

    def _by_optimizer(self) -> list[Claim]:
        """Which sigmas train at the slow rate, and what Adaloss does there and with Adadelta."""
        ours = {optimizer: self.of(optimizer, self.ours) for optimizer in OPTIMIZERS}
        learned = {optimizer: self.learned(*runs) == len(runs) for optimizer, runs in ours.items()}
        small, others = self.of(SLOW, FIXED[0]), self.of(SLOW, *FIXED[1:])
        larger = not self.learned(*small) and self.learned(*others) == len(others)
        means = ", ".join(f"{_named(key)} {self.mean(f'{SLOW}-{key}'):.2f}" for key in FIXED)
        slow = judged(
            "At Adam 1e-4 sigma 5 does not train, larger fixed sigmas do, and 40 is the best of them",
            larger and self.best_fixed(SLOW) == "fixed40",
            f"test MRE px: {means}; a constant answer {self.guess:.2f}",
            [self.nothing_learned(SLOW)],
        )
        text = "Adaloss (bounded) trains at both rates and ends better at Adam 1e-3 than at Adam 1e-4"
        rates = self.claim(ClaimSpec(text=text, ours=(f"{MAIN}-{self.ours}",), than=(f"{SLOW}-{self.ours}",)))
        delta = self._fixed_fails(DELTA, "With Adadelta fixed sigmas do not train and Adaloss (bounded) does (Fig. 3)")
        numbers = f"Adaloss {self.mean(f'{DELTA}-{self.ours}'):.2f} px; {delta.numbers}"
        return [
            slow,
            replace(rates, holds=rates.holds and learned[MAIN] and learned[SLOW]),
            replace(delta, holds=delta.holds and learned[DELTA], numbers=numbers),
        ]

    def _last_sigma(self) -> Claim:
        runs = self.of(MAIN, self.ours)
        ends = [run.last_sigma * FULL / self.size for run in runs]
        bounds = [clamped(run.sigma(), self.values["sigma_min"], self.size / 4) for run in runs if len(run.sigma())]
        text = "Sigma settles at about 5 px of a 256-px map (Fig. 6; between 2.5 and 10 counts)"
        numbers = f"Adaloss (bounded) ends at {_list(ends)} px of 256"
        bounds += self.obstacles(f"{MAIN}-{self.ours}")
        return judged(text, all(2.5 <= end <= 10 for end in ends), numbers, bounds)

    def _smoother(self, which: str, text: str) -> Claim:
        forms = {form: self.smoothness[which, form] for form in FORMS}
        each = ", ".join(f"{a:.2f} to {b:.2f} ({form.replace('_', ' ')})" for form, (a, b) in forms.items())
        seeds = [
            spread([_variation(run, which) for run in self.of(MAIN, key) if run.run.weights.is_file()])
            for key in (self.best_fixed(MAIN), self.ours)
        ]
        numbers = f"best fixed to Adaloss: {each}; {' to '.join(seeds)} over seeds at Adam 1e-3 (valid)"
        bad = [self.obstacle(run.job.folder, run.mre, run.constant) for run in self.pair]
        return judged(text, all(b < a for a, b in forms.values()), numbers, bad)


def _variation(run: Outcome, which: Any, form: Any = "valid") -> float:
    return normalized_total_variation(Predictor.load(run.run).method.inference_network(), form, which)


def _change(new: float, old: float) -> str:
    return f"{100 * (new / old - 1):+.1f} %"


def _named(key: str) -> str:
    return f"sigma {key.removeprefix('fixed')}"


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
