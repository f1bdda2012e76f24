"""The cross-task experiment end to end on drawn heads, tiny: its tables say what its runs measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.experiments import Findings, Request, Study, load_study, run_study
from trigpoint.experiments.cross_task import CrossTask, read_labels, settings_of
from trigpoint.metrics import mean_radial_error
from trigpoint.prediction import Predictor
from trigpoint.runs import RunFolder

STUDY = load_study("cross-task")
TRANSFER = STUDY.values["transfer"]
CHOSEN = {"methods": "FT,CTD-ED,ED-fine", "more": "adaloss,unlabelled"}


def request(out: Path, **options: str) -> Request:
    return Request("cross-task", out, seeds=(0,), options={**CHOSEN, **options})


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Study]) -> Study:
    values = {"size": 32, "steps": 6, "batch": 4, "labels": "6,all", "validations": 1}
    values |= {"width": 8, "pretraining": {"encoder": "test_resnet", "train.epochs": 1}}
    return tiny("cross-task", "drawn", draw={"size": 64, "images": 48, "per_subject": 4}, values=values)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, small: Study) -> tuple[Path, Findings]:
    out = tmp_path_factory.mktemp("cross") / "out"
    return out, run_study(small, request(out))


def test_every_setting_is_measured_on_the_test_images(found: tuple[Path, Findings]) -> None:
    out, findings = found
    table = findings.tables[0].rows
    chosen = chosen_of(findings)
    in_words = {"CTD-ED": "CTD-ED", "ED-fine": "L_ED at stride 8"}[chosen]
    assert [(row["labelled"], row["method"]) for row in table] == [
        ("6", "FT"),
        ("6", "CTD-ED"),
        ("6", "L_ED at stride 8"),
        ("6", "FT, Adaloss targets"),
        ("6", f"{in_words}, Adaloss targets"),
        ("6", f"{in_words}, unlabelled images in L_D"),
        ("all", "FT"),
        ("all", in_words),
        ("all", "always the mean training position"),
    ]
    assert {claim.outcome for claim in findings.claims} == {"not testable"}  # six steps beat no constant answer
    assert "the mean training position" in findings.claims[0].numbers
    run = RunFolder(out / "runs" / f"all-{chosen.lower()}-seed0")
    test = LandmarkDataset.load(out / "data", split="test")
    again = mean_radial_error(Predictor.load(run).predict(test).points, test.points)
    assert table[7]["MRE px"] == f"{again:.2f}"
    assert table[0]["paper: ME ± SD"] == "0.858 ± 0.238"
    assert {"fig4_ced", "labels", "fig3_comparison"} == set(findings.figures)
    assert json.loads((out / "results.json").read_text())["tables"][0]["rows"] == table


def chosen_of(findings: Findings) -> str:
    """The penalty that was trained with all images."""
    found = {row["setting"] for row in findings.runs} - {"all-ft"}
    (name,) = [name.removeprefix("all-") for name in found if name.startswith("all-")]
    return {"ctd-ed": "CTD-ED", "ed-fine": "ED-fine"}[name]


def test_the_penalty_is_chosen_on_validation_images(found: tuple[Path, Findings]) -> None:
    _, findings = found
    errors = {row["setting"]: row["val_mre_px"] for row in findings.runs}
    best = min(("CTD-ED", "ED-fine"), key=lambda method: errors[f"6-{method.lower()}"])
    assert chosen_of(findings) == best
    assert [row["chosen"] for row in findings.tables[1].rows] == [
        "",
        *("yes" * (m == best) for m in ("CTD-ED", "ED-fine")),
    ]
    assert findings.tables[1].rows[0]["6 labelled"] == f"{errors['6-ft']:.2f}"


def test_the_effect_is_the_paired_difference(found: tuple[Path, Findings]) -> None:
    out, findings = found
    test = LandmarkDataset.load(out / "data", split="test")
    chosen = chosen_of(findings)
    means = {
        name: mean_radial_error(
            Predictor.load(out / "runs" / f"6-{name}-seed0").predict(test).points,
            test.points,
        )
        for name in ("ft", "ctd-ed", "ft-adaloss", f"{chosen.lower()}-adaloss")
    }
    effect = {(row["labelled"], row["method"]): row for row in findings.tables[2].rows}
    assert effect["6", "CTD-ED"]["difference px"] == f"{means['ctd-ed'] - means['ft']:+.3f}"
    (adaloss,) = [row for (_, method), row in effect.items() if "Adaloss" in method and not method.startswith("FT")]
    assert adaloss["difference px"] == f"{means[f'{chosen.lower()}-adaloss'] - means['ft-adaloss']:+.3f}"
    (unlabelled,) = [row for (_, method), row in effect.items() if "unlabelled" in method]
    assert f"{unlabelled['against']}, unlabelled images in L_D" == unlabelled["method"]
    assert [len(row) for row in findings.tables[3].rows] == [3, 3]


def test_labelled_images_are_nested_and_no_test_subject_is_seen(found: tuple[Path, Findings]) -> None:
    out, findings = found
    few, many = (RunFolder(out / "runs" / f"{count}-ft-seed0").parts()["train"] for count in ("6", "all"))
    assert len(few) == 6
    assert set(few) < set(many)
    subjects = {s.image.name: s.subject for s in LandmarkDataset.load(out / "data").samples}
    assert len({subjects[Path(name).name] for name in few}) == 6  # an image of each subject before a second of any
    tested = {s.subject for s in LandmarkDataset.load(out / "data", split="test").samples}
    source = RunFolder(out / "source").parts()
    seen = {subjects[Path(name).name] for names in (source["train"], source["val"], many) for name in names}
    assert not seen & tested
    extra = RunFolder(out / "runs" / f"6-{chosen_of(findings).lower()}-unlabelled-seed0").parts()
    assert set(extra["train"]) == set(few)
    assert set(extra["train"]) | set(extra["unlabelled"]) == set(many)


def test_a_second_call_reads_what_is_there(
    found: tuple[Path, Findings], small: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, findings = found
    monkeypatch.setattr("trigpoint.training.landmarks.fit", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr("trigpoint.training.source.fit", lambda *a, **k: pytest.fail("trained again"))
    again = run_study(small, request(out))
    assert again.tables[0].rows == findings.tables[0].rows
    with pytest.raises(RunError, match="source"):
        run_study(small, request(out, source=str(out / "source")))


def test_settings_of_the_paper_and_beyond() -> None:
    methods = tuple(STUDY.values["paper"])
    plan = settings_of(("scratch", *methods), ("50", "100"), "50", "CTD-ED", ("unlabelled",))
    assert [key[1] for key in plan if key[0] == "50" and not key[2]] == ["scratch", *methods]
    assert [key[1] for key in plan if key[0] == "100"] == ["scratch", "FE", "FT", "CTD-ED"]
    assert ("50", "CTD-ED", "unlabelled") in plan
    assert settings_of(("FT",), ("50", "all"), "50", None, ()) == [("50", "FT", ""), ("all", "FT", "")]
    paper = STUDY.scales["paper"].values
    assert paper["pretraining"]["encoder"] == "resnet50"
    assert np.isclose(paper["steps"] * paper["batch"] / 1239, 150, rtol=0.01)  # the paper's 150 epochs


def test_methods_are_those_of_the_study() -> None:
    known = set(STUDY.choices["methods"].values or ())
    assert known == set(TRANSFER)
    assert known >= {*STUDY.values["candidates"], *STUDY.values["names"], *STUDY.values["paper"]}


def test_weights_are_a_source_and_splits_can_be_thinned_out(
    found: tuple[Path, Findings], tiny: Callable[..., Study], tmp_path: Path
) -> None:
    encoder = timm.create_model("test_resnet", num_classes=0)
    safetensors.torch.save_file(encoder.state_dict(), tmp_path / "w.safetensors")
    source = {"encoder": "test_resnet", "weights": str(tmp_path / "w.safetensors")}
    study = tiny("cross-task", values={"source": source, "images": {"val": 2, "test": 3}, "labels": "6"})
    experiment = CrossTask(study, replace(request(tmp_path / "out", methods="FT,CTD-CD"), data=found[0] / "data"))
    experiment.prepare()
    assert experiment.options["methods"] == ("FT",)
    assert "not run: CTD-CD; " in experiment.warnings[0]
    assert "expected a source with a classifier" in experiment.warnings[0]
    overrides = experiment.overrides(("6", "FT", ""))
    assert overrides["method.transfer"]["source"] == {"weights": source["weights"]}
    assert overrides["method.network.encoder"] == "test_resnet"
    assert (overrides["data.input"]["mean"], overrides["data.input"]["size"]) == ((0.5, 0.5, 0.5), [96, 96])
    assert experiment.overrides(("6", "scratch", ""))["method.transfer"] is None
    thinned, whole = LandmarkDataset.load(experiment.folder), LandmarkDataset.load(found[0] / "data")
    assert thinned.splits() == {**whole.splits(), "val": 2, "test": 3}
    assert len(set(thinned.only("test").groups)) == min(3, len(set(whole.only("test").groups)))
    assert experiment.facts()["source"] == "test_resnet with the weights w.safetensors"


@pytest.mark.parametrize("text", ["0", "few", "50,", "-3"])
def test_bad_numbers_of_labels_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="labels: expected numbers"):
        read_labels(text)


def test_a_subject_in_two_splits_is_refused(found: tuple[Path, Findings], tmp_path: Path) -> None:
    data = LandmarkDataset.load(found[0] / "data")
    by_split = {s.split: s.subject for s in data.samples}
    moved = [replace(s, subject=by_split["test"]) if s.subject == by_split["val"] else s for s in data.samples]
    mixed = replace(data, samples=moved)
    mixed.save(tmp_path / "mixed", images="copy")
    with pytest.raises(DataError, match="expected each subject in one split"):
        run_study(STUDY, replace(request(tmp_path / "out"), data=tmp_path / "mixed"))
    assert not (tmp_path / "out" / "runs").exists()


def test_options_are_known() -> None:
    with pytest.raises(ConfigError, match="unknown option 'label'"):
        run_study(STUDY, Request("cross-task", Path("out"), options={"label": "50"}))
