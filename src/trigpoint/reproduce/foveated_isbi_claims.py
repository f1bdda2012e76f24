"""What is claimed of the foveated pyramid on the ISBI 2015 cephalograms, checked by rules stated here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error
from trigpoint.reproduce.findings import Claim
from trigpoint.reproduce.foveated import Measured, between, difference, measure
from trigpoint.reproduce.foveated_published import PAPER, TEST1

SAME_LOOKS = 0.02  # mm between 3 looks and 10
SAME_NETWORKS = 0.05  # mm; published results that differ by less differ by chance
LABELS: Mapping[str, str] = {
    "single": "a network per landmark",
    "shared": "one network for all landmarks",
    "cascade": "the cascade",
    "coarse": "its coarse stage alone",
}
"""What has all landmarks, by run; ``coarse`` is part of the run ``cascade``."""
HALF = "half the distance of the two doctors"


@dataclass(frozen=True)
class Evidence:
    """Errors in mm of each seed, (N, K), NaN = not annotated, on the same N test images.

    ``errors``: by the keys of ``LABELS``, all landmarks. ``three``: of the runs ``single`` and ``shared3``, the
    landmarks that both have. ``looks``: by number of looks, of one run on some of the images. ``doctors`` (N, K):
    distance of the two doctors. ``clean``: positions of the images that are no copies, None = unknown.
    """

    subjects: Sequence[str]
    errors: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict)
    three: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict)
    looks: Mapping[int, FloatArray] = field(default_factory=dict)
    doctors: FloatArray | None = None
    clean: Sequence[int] | None = None

    @property
    def main(self) -> str | None:
        """The run nearest to the paper's: the first of ``LABELS`` that is there."""
        return next((name for name in LABELS if name in self.errors), None)

    def sets(self) -> dict[str, list[int]]:
        """Positions of all test images, and of those without copies where they are known."""
        every = {"all": list(range(len(self.subjects)))}
        return every if self.clean is None else {**every, "without copies": list(self.clean)}

    def measured(self, name: str, where: Sequence[int]) -> Measured:
        """A run, or ``coarse``, on the images at ``where``."""
        return self.of([seed[list(where)] for seed in self.errors[name]], where)

    def of(self, errors: Sequence[FloatArray], where: Sequence[int]) -> Measured:
        """Errors of the images at ``where``."""
        return measure(errors, [self.subjects[i] for i in where])


def isbi_claims(evidence: Evidence) -> list[Claim]:
    """A verdict each; what a run that was not made would have to show is not tested."""
    return [
        *_published(evidence),
        _doctors(evidence),
        _looks(evidence),
        _shared(evidence),
        _cascade(evidence, "coarse", "The cascade errs less than its own coarse stage"),
        _cascade(evidence, "shared", "The cascade errs less than the shared network that starts from the mean"),
    ]


def _published(evidence: Evidence) -> list[Claim]:
    paper = TEST1[PAPER]
    text = f"MRE on test1 at most the paper's {paper.mre} mm"
    claims = []
    for name in [name for name in LABELS if name in evidence.errors and name != "coarse"]:
        found = {about: evidence.measured(name, where) for about, where in evidence.sets().items()}
        numbers = "; ".join(f"{_number(m)} ({about})" for about, m in found.items())
        claims.append(Claim(f"{text}: {LABELS[name]}", bool(found["all"].mre <= (paper.mre or 0)), numbers))
    return claims or [Claim(text, None, "no run with all landmarks was made")]


def _doctors(evidence: Evidence) -> Claim:
    text = f"MRE on test1 at most {HALF}"
    if evidence.doctors is None or evidence.main is None:
        missing = "the labels of both doctors" if evidence.doctors is None else "a run with all landmarks"
        return Claim(text, None, f"needs {missing}")
    ours, half = evidence.measured(evidence.main, evidence.sets()["all"]).mre, mean_error(evidence.doctors) / 2
    return Claim(text, bool(ours <= half), f"{LABELS[evidence.main]} {ours:.2f} mm, half the distance {half:.2f} mm")


def _looks(evidence: Evidence) -> Claim:
    text = f"3 looks in prediction are as good as 10 (MRE differs by less than {SAME_LOOKS} mm)"
    if not {3, 10} <= set(evidence.looks):
        return Claim(text, None, "needs a run of the foveated pyramid")
    few, many = (mean_error(np.where(np.isinf(evidence.looks[n]), np.nan, evidence.looks[n])) for n in (3, 10))
    return Claim(text, bool(abs(few - many) < SAME_LOOKS), f"{few:.3f} mm after 3 looks, {many:.3f} mm after 10")


def _shared(evidence: Evidence) -> Claim:
    text = (
        "A shared network is as good as a network per landmark on three landmarks with the same training "
        f"(at most {SAME_NETWORKS} mm worse)"
    )
    if not {"single", "shared3"} <= set(evidence.three):
        return Claim(text, None, "needs runs=single,shared3")
    shared, single = evidence.three["shared3"], evidence.three["single"]
    gap, bounds = difference(shared, single, evidence.subjects)
    return Claim(text, bool(gap <= SAME_NETWORKS), f"{_pair(evidence, shared, single)}, {_gap(gap, bounds)}")


def _cascade(evidence: Evidence, other: str, text: str) -> Claim:
    needed = {"cascade", "shared"} if other == "shared" else {"cascade"}
    if not needed <= set(evidence.errors) or other not in evidence.errors:
        return Claim(text, None, f"needs runs={','.join(sorted(needed))}")
    ours, others = evidence.errors["cascade"], evidence.errors[other]
    gap, bounds = difference(ours, others, evidence.subjects)
    return Claim(text, bool(gap < 0), f"{_pair(evidence, ours, others)}, {_gap(gap, bounds)}")


def _pair(evidence: Evidence, ours: Sequence[FloatArray], others: Sequence[FloatArray]) -> str:
    every = evidence.sets()["all"]
    return f"{evidence.of(ours, every).mre:.2f} against {evidence.of(others, every).mre:.2f} mm"


def _gap(gap: float, bounds: tuple[float, float]) -> str:
    return f"difference {gap:+.2f} mm (95 % {between(bounds)})"


def _number(measured: Measured) -> str:
    return f"{measured.mre:.2f} mm, 95 % {between(measured.interval)}"
