"""What the paper says of the catheter tip, checked against the numbers of a sweep by rules stated here.

A run *learned* when its test error is below ``LEARNED`` times that of always answering with the mean training position.
It *collapsed* when it did not learn, when its loss became infinite or NaN, when its sigma left [sigma_min, sigma0],
when its test error is ``COLLAPSED`` times that of the best setting, or when its last validation error is ``COLLAPSED``
times its own best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from trigpoint.reproduce.findings import Claim, spread
from trigpoint.reproduce.study import Outcome

FULL = 256  # pixels of the paper's map, which its sigmas refer to
MAIN = "Adam 1e-3"
SLOW = "Adam 1e-4"
PAPER_FIXED: Mapping[int, float] = {5: 87.05, 25: 19.27, 40: 8.71, 60: 11.46}
PAPER_ADALOSS = 1.19
BOUNDED = ("adaloss", "falling")
"""Settings of the bounded Adaloss, which differ in when a width may grow."""
LEARNED = 0.5
COLLAPSED = 5.0
MARGIN = 1.1  # of the best fixed sigma's error


@dataclass
class Sweep:
    """Runs by (optimizer, setting), the error ``guess`` of a constant answer, and the sizes they were made with.

    ``smoothness``: NTV of (best fixed, Adaloss) by (layers, form), where it was measured.
    """

    runs: Mapping[tuple[str, str], list[Outcome]]
    guess: float
    size: int
    sigma_min: float
    smoothness: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    @property
    def fixed(self) -> list[str]:
        """Settings with a fixed sigma."""
        return [f"fixed{sigma}" for sigma in PAPER_FIXED]

    def errors(self, optimizer: str, key: str) -> list[float]:
        """Test MRE of each seed."""
        return [run.mre for run in self.runs[optimizer, key]]

    def mean(self, optimizer: str, key: str) -> float:
        """Test MRE over the seeds; infinite when a seed has none."""
        value = float(np.mean(self.errors(optimizer, key)))
        return value if np.isfinite(value) else float("inf")

    def validation(self, optimizer: str, key: str) -> float:
        """Mean validation MRE over the seeds, of the weights that were kept; infinite when a seed has none."""
        value = float(np.mean([run.val_mre for run in self.runs[optimizer, key]]))
        return value if np.isfinite(value) else float("inf")

    @property
    def ours(self) -> str:
        """Setting of the bounded Adaloss that the claims are judged on: the better one on validation images."""
        return min(BOUNDED, key=lambda key: self.validation(MAIN, key))

    def best_fixed(self, optimizer: str) -> str:
        """Fixed setting with the least mean test MRE."""
        return min(self.fixed, key=lambda key: self.mean(optimizer, key))

    def best_run(self, *keys: str) -> Outcome:
        """Run with the least validation MRE among settings, over all optimizers and seeds."""
        found = [run for (_, key), runs in self.runs.items() if key in keys for run in runs]
        return min(found, key=lambda run: np.nan_to_num(run.val_mre, nan=np.inf))

    def best_fixed_run(self) -> Outcome:
        """Run with the least validation MRE among those with a fixed sigma."""
        return self.best_run(*self.fixed)

    def last_sigma(self, run: Outcome) -> float:
        """Width of the last epoch, map px; NaN when no epoch was finished."""
        widths = run.sigma()
        return float(widths[-1].mean()) if len(widths) else float("nan")

    def least_sigma(self, run: Outcome) -> float:
        """Least width of any epoch, map px; NaN when no epoch was finished."""
        widths = run.sigma()
        return float(widths.min()) if len(widths) else float("nan")

    def learned(self, run: Outcome) -> bool:
        """See the module."""
        return run.mre < LEARNED * self.guess

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


def catheter_claims(sweep: Sweep) -> list[Claim]:
    """Verdicts on the paper's statements, and on our own (the bounded Adaloss against the best fixed sigma)."""
    best = min(sweep.mean(MAIN, key) for key in [*sweep.fixed, sweep.ours])
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
    low = min(sweep.least_sigma(run) for run in runs)
    good = sum(not reason for reason in reasons.values())
    numbers = f"{good} of {len(runs)} seeds; test MRE {_list(run.mre for run in runs)} px, least sigma {low:.2f} map px"
    return Claim(text, not bad, f"{numbers}. {bad}" if bad else numbers)


def _against_fixed(sweep: Sweep) -> Claim:
    key = sweep.best_fixed(MAIN)
    fixed, ours = sweep.mean(MAIN, key), sweep.mean(MAIN, sweep.ours)
    return Claim(
        f"At {MAIN} the error of Adaloss (bounded) is at most that of the best fixed sigma + 10 %",
        ours <= MARGIN * fixed,
        f"{spread(sweep.errors(MAIN, sweep.ours))} against {spread(sweep.errors(MAIN, key))} px ({_named(key)}): "
        f"{100 * (ours / fixed - 1):+.0f} %",
    )


def _beats_fixed(sweep: Sweep) -> Claim:
    optimizers = list(dict.fromkeys(optimizer for optimizer, _ in sweep.runs))
    fixed, where = min((sweep.mean(o, key), f"{_named(key)}, {o}") for o in optimizers for key in sweep.fixed)
    ours, with_ = min((sweep.mean(o, sweep.ours), o) for o in optimizers)
    return Claim(
        "The best Adaloss beats the best fixed sigma by a wide margin (paper: 1.19 against 8.71 px, a factor of 7.3)",
        bool(fixed / ours >= 2),
        f"{ours:.2f} px ({with_}) against {fixed:.2f} px ({where}), a factor of {fixed / ours:.2f}; "
        "a factor of 2 would count",
    )


def _fixed_fails(sweep: Sweep, optimizer: str, text: str) -> Claim:
    runs = {key: sweep.runs[optimizer, key] for key in sweep.fixed}
    learned = {key: sum(sweep.learned(run) for run in members) for key, members in runs.items()}
    counts = ", ".join(f"{_named(key)} {learned[key]} of {len(runs[key])}" for key in runs)
    numbers = f"seeds that learned: {counts} (test MRE below half of the {sweep.guess:.2f} px of a constant answer)"
    return Claim(text, not any(learned.values()), numbers)


def _slow_fixed(sweep: Sweep) -> Claim:
    best = sweep.best_fixed(SLOW)
    learned = any(sweep.learned(run) for run in sweep.runs[SLOW, "fixed5"])
    others = [sweep.learned(run) for key in sweep.fixed if key != "fixed5" for run in sweep.runs[SLOW, key]]
    shown = ", ".join(f"{_named(key)} {sweep.mean(SLOW, key):.2f}" for key in sweep.fixed)
    return Claim(
        f"At {SLOW} sigma 5 does not train, larger fixed sigmas do, and 40 is the best of them",
        not learned and all(others) and best == "fixed40",
        f"test MRE px: {shown}; a constant answer {sweep.guess:.2f}",
    )


def _fast_is_better(sweep: Sweep) -> Claim:
    fast, slow = sweep.mean(MAIN, sweep.ours), sweep.mean(SLOW, sweep.ours)
    return Claim(
        f"Adaloss (bounded) trains at both rates and ends better at {MAIN} than at {SLOW}",
        fast < slow and all(sweep.learned(run) for rate in (MAIN, SLOW) for run in sweep.runs[rate, sweep.ours]),
        f"{fast:.2f} against {slow:.2f} px",
    )


def _adadelta(sweep: Sweep) -> Claim:
    fixed = _fixed_fails(sweep, "Adadelta", "")
    ours = all(sweep.learned(run) for run in sweep.runs["Adadelta", sweep.ours])
    return Claim(
        "With Adadelta fixed sigmas do not train and Adaloss (bounded) does (Fig. 3)",
        bool(fixed.holds) and ours,
        f"Adaloss {sweep.mean('Adadelta', sweep.ours):.2f} px; {fixed.numbers}",
    )


def _last_sigma(sweep: Sweep) -> Claim:
    ends = [sweep.last_sigma(run) * FULL / sweep.size for run in sweep.runs[MAIN, sweep.ours]]
    return Claim(
        "Sigma settles at about 5 px of a 256-px map (Fig. 6; between 2.5 and 10 counts)",
        all(2.5 <= end <= 10 for end in ends),
        f"Adaloss (bounded) ends at {_list(ends)} px of 256",
    )


def _smoother(sweep: Sweep) -> list[Claim]:
    claims = []
    for which, paper in (("all", "3.03 to 2.80"), ("last", "1.83 to 1.68")):
        forms = {form: sweep.smoothness[which, form] for form in ("valid", "zero_padded")}
        shown = ", ".join(f"{a:.2f} to {b:.2f} ({form.replace('_', ' ')})" for form, (a, b) in forms.items())
        layers = "all layers" if which == "all" else "the last layer"
        text = f"Adaloss makes the filters of {layers} smoother (paper: NTV {paper})"
        claims.append(Claim(text, all(b < a for a, b in forms.values()), f"best fixed to Adaloss: {shown}"))
    return claims


def _named(key: str) -> str:
    return f"sigma {key.removeprefix('fixed')}"


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
