"""Verdicts follow the numbers: made-up sweeps, one changed at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trigpoint.report.figures import comparison
from trigpoint.reproduce import Claim, Findings, Table
from trigpoint.reproduce.catheter import OPTIMIZERS, SCALES, jobs, settings
from trigpoint.reproduce.catheter_claims import Sweep, catheter_claims
from trigpoint.reproduce.study import Job, Outcome
from trigpoint.runs import RunFolder

KEYS = tuple(settings(SCALES["small"]))


def outcome(error: float, sigma: tuple[float, ...] = (16.0, 8.0, 1.25), last: float = 1.0, seed: int = 0) -> Outcome:
    """A run of three epochs with this test error, these widths, and a last validation error ``last`` x its best."""
    values = {"epoch": [0, 1, 2], "minutes": [0.1, 0.2, 0.3], "val_mre_px": [9.0, error, error * last]}
    history = pd.DataFrame({**values, "sigma_tip": sigma})
    return Outcome(Job("x", "x", {}, seed), RunFolder("x"), np.zeros((2, 1, 2)), np.full((2, 1), error), history)


def sweep_like_the_paper(size: int = 64) -> Sweep:
    """Every claim holds: fixed sigmas at 1e-3 and with Adadelta guess, at 1e-4 only sigma 5 does."""
    runs: dict[tuple[str, str], list[Outcome]] = {}
    slow = {"fixed5": 20.0, "fixed25": 5.0, "fixed40": 2.2, "fixed60": 2.9, "adaloss": 0.9, "literal": 0.9}
    slow["falling"] = 30.0  # worse on validation, so nothing is claimed of it
    for optimizer in OPTIMIZERS:
        for key in KEYS:
            quick = {"adaloss": 0.5, "literal": 0.5, "falling": 30.0}.get(key, 22.0)
            error = slow[key] if optimizer == "Adam 1e-4" else quick
            seeds = (0, 1, 2) if optimizer == "Adam 1e-3" else (0,)
            runs[optimizer, key] = [outcome(error, seed=seed) for seed in seeds]
    ntv = {(which, form): (3.0, 2.8) for which in ("all", "last") for form in ("valid", "zero_padded")}
    return Sweep(runs, 24.0, size, 1.0, ntv)


def verdicts(sweep: Sweep) -> list[bool | None]:
    return [claim.holds for claim in catheter_claims(sweep)]


def test_a_sweep_like_the_papers_reproduces_every_claim() -> None:
    claims = catheter_claims(sweep_like_the_paper())
    assert [c.text for c in claims if not c.holds] == []
    assert len(claims) == 11
    assert "3 of 3 seeds" in claims[0].numbers


def change(key: tuple[str, str], new: Callable[[Outcome], Outcome]) -> Sweep:
    sweep = sweep_like_the_paper()
    runs = dict(sweep.runs)
    runs[key] = [new(runs[key][0]), *runs[key][1:]]
    return replace(sweep, runs=runs)


@pytest.mark.parametrize(
    ("optimizer", "key", "new", "lost"),
    [
        ("Adam 1e-3", "adaloss", outcome(0.5, last=6.0), [0]),
        ("Adam 1e-3", "adaloss", outcome(0.5, sigma=(16.0, 3.0, 0.5)), [0, 8]),
        ("Adam 1e-3", "adaloss", outcome(13.0), [0, 5]),
        ("Adam 1e-3", "fixed25", outcome(11.0), [3]),
        ("Adam 1e-3", "literal", outcome(0.5, sigma=(16.0, 0.1, 0.1)), [7]),
        ("Adam 1e-4", "fixed5", outcome(4.0), [4]),
        ("Adam 1e-4", "fixed60", outcome(2.0), [4]),
        ("Adam 1e-4", "fixed40", outcome(0.8), [2]),
        ("Adadelta", "fixed40", outcome(3.0), [6]),
        ("Adadelta", "adaloss", outcome(13.0), [6]),
    ],
)
def test_one_changed_run_changes_its_verdicts(optimizer: str, key: str, new: Outcome, lost: list[int]) -> None:
    sweep = change((optimizer, key), lambda old: replace(new, job=old.job))
    assert [i for i, holds in enumerate(verdicts(sweep)) if not holds] == lost


def test_adaloss_may_be_ten_per_cent_worse_than_the_best_fixed_sigma() -> None:
    for error, holds in ((2.41, True), (2.43, False)):
        sweep = sweep_like_the_paper()
        runs = dict(sweep.runs)
        runs["Adam 1e-3", "adaloss"] = [outcome(error)]
        runs["Adam 1e-3", "fixed60"] = [outcome(2.2)]
        assert verdicts(replace(sweep, runs=runs))[1] is holds


def test_the_rule_with_the_lower_validation_error_is_judged() -> None:
    sweep = sweep_like_the_paper()
    assert sweep.ours == "adaloss"
    runs = dict(sweep.runs)
    runs["Adam 1e-3", "falling"] = [replace(outcome(0.4), errors=np.full((2, 1), 25.0)) for _ in range(3)]
    other = replace(sweep, runs=runs)
    assert other.ours == "falling"  # although it is worse on the test images
    assert catheter_claims(other)[0].holds is False
    assert "0 of 3 seeds; test MRE 25.00" in catheter_claims(other)[0].numbers


def test_a_run_without_weights_counts_as_not_learned() -> None:
    broken = replace(outcome(1.0), errors=np.full((2, 1), np.nan), note="the training loss became infinite or NaN")
    claims = catheter_claims(change(("Adam 1e-3", "adaloss"), lambda old: broken))
    assert claims[0].holds is False
    assert "infinite or NaN" in claims[0].numbers
    assert claims[1].holds is False
    assert catheter_claims(change(("Adam 1e-3", "fixed5"), lambda old: broken))[3].holds is True


def test_rougher_filters_do_not_reproduce_table_two() -> None:
    sweep = sweep_like_the_paper()
    sweep.smoothness["last", "valid"] = (1.6, 1.7)
    assert verdicts(sweep)[-2:] == [True, False]


def test_settings_scale_sigma_with_the_map() -> None:
    small = settings(SCALES["small"])
    assert [small[key]["method.schedule"]["sigma0"] for key in KEYS[:4]] == [0.9375, 4.6875, 7.5, 11.25]
    paper = settings(SCALES["paper"])
    assert [paper[key]["method.schedule"]["sigma0"] for key in KEYS[:4]] == [5, 25, 40, 60]


def test_other_optimizers_take_the_first_seed_only() -> None:
    planned = jobs(SCALES["small"], (4, 7))
    assert len({job.folder for job in planned}) == len(planned) == 7 * (2 + 1 + 1)
    assert {job.seed for job in planned if "1e-3" not in job.name} == {4}


def test_findings_write_numbers_that_json_allows(tmp_path: Path) -> None:
    figure = comparison({"a": ([0, 1], [2.0, 1.0])})
    claims = [Claim("it trains", True, "1 of 1"), Claim("it wins", None, "no data")]
    findings = Findings("T", "S", [Table("t", [{"a": float("nan"), "b": np.float64(2)}], "n")], claims, ["odd"])
    findings.figures["curve"] = figure
    findings.write(tmp_path)
    values = json.loads((tmp_path / "results.json").read_text())
    assert values["tables"][0]["rows"] == [{"a": None, "b": 2.0}]
    assert [claim["verdict"] for claim in values["claims"]] == ["reproduces", "not tested"]
    text = (tmp_path / "table.md").read_text()
    assert "**Note:** odd" in text
    assert "- it trains: **reproduces**. 1 of 1" in text
    assert (tmp_path / "curve.png").stat().st_size > 1000
    findings.write(tmp_path)  # a second call replaces its own files
