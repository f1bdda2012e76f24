"""The experiments with the foveated pyramid on a few drawn radiographs, and their claims on made-up numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.experiments import Request, Study, load_study, run_study
from trigpoint.experiments.ablation import Ablation
from trigpoint.experiments.isbi2015 import PAPER, STEPS, Isbi2015
from trigpoint.experiments.measures import Job, Measured
from trigpoint.experiments.task import Task, kept, predicted
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import radial_error
from trigpoint.prediction import Predictor
from trigpoint.recipe import load_recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs

GLIMPSES = {"trunk": "small", "pretrained": False, "glimpse": 16, "train_iterations": 1, "train_starts": 1}
COMMON = {"data.input.size": [48, 40], "data.workers": 0, "train.epochs": 1, "train.precision": "32"}
ONE = {**COMMON, **{f"method.{key}": value for key, value in GLIMPSES.items()}}
COARSE = {
    "data": {"input": {"size": [32, 32]}, "workers": 0},
    "method": {"name": "heatmap", "network": {"name": "res_unet", "width": 4, "max_width": 8}, "schedule": "fixed"},
    "train": {"epochs": 1, "batch_size": 4},
}
ISBI, ABLATION = load_study("foveated-isbi2015"), load_study("foveated-ablation")
RUNS = ISBI.choices["runs"].values or ()
DRAWN = ABLATION.values["drawn_landmarks"]
VARIED = {
    "shared": {**ONE, "method.shared": True},
    "single": {**ONE, "data.landmarks": DRAWN},
    "shared3": {**ONE, "method.shared": True, "data.landmarks": DRAWN},
    "cascade": {**COMMON, "method": {"name": "cascade", "coarse": COARSE, "fine": {**GLIMPSES, "shared": True}}},
}


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Study]) -> Study:
    recipe = {"extends": "foveated-isbi2015", "method": {"pretrained": False}}
    values = {"three": DRAWN}
    return tiny("foveated-isbi2015", recipe=recipe, vary=(VARIED,), values={"every": 2}, study_values=values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiographs in the layout of the challenge: the senior sets every point 6 px to the right of the junior."""
    root = write_radiographs(tmp_path_factory.mktemp("isbi"), 10, size=(48, 40), splits={"train": 0.6, "test1": 0.4})
    mean = pd.read_csv(root / "landmarks.csv", dtype={"subject": str})
    for name, shift in (("junior", -3.0), ("senior", 3.0)):
        table = mean.copy()
        table[[c for c in table if c.endswith("_x")]] += shift
        table.iloc[::-1].to_csv(root / f"landmarks_{name}.csv", index=False)
    test, train = (mean.loc[mean["split"] == part, "image"].tolist() for part in ("test1", "train"))
    rows = [(test[1], train[0], "test1", "train"), (test[2], test[0], "test1", "test1"), (train[3], train[4], "", "")]
    copies = pd.DataFrame(rows, columns=["image", "same_radiograph_as", "split", "split_of_other"])
    copies.to_csv(root / "duplicates.csv", index=False)
    return root


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory, small: Study) -> Path:
    target = tmp_path_factory.mktemp("out") / "isbi"
    run_study(small, Request(ISBI.name, target, data=folder))
    return target


# -- ISBI 2015 --------------------------------------------------------------------------------------------------------


def test_it_writes_two_lines_per_method_and_the_published_ones(out: Path) -> None:
    values = json.loads((out / "results.json").read_text())
    rows = values["tables"][0]["rows"]
    ours = [(row["method"], row["images"]) for row in rows[:10]]
    assert ours[:2] == [
        ("one network for all landmarks", "4 (all)"),
        ("one network for all landmarks", "2 (without copies)"),
    ]
    assert [method for method, _ in ours[2:10:2]] == [
        "the cascade",
        "its coarse stage alone",
        "half the distance of the two doctors",
        "distance of the two doctors",
    ]
    assert [row["MRE ± SD mm"] for row in rows[6:10:2]] == ["0.30 ± 0.00", "0.60 ± 0.00"]  # 6 px of 0.1 mm
    published = {row["method"]: row for row in rows[10:]}
    assert published[PAPER]["MRE ± SD mm"] == "1.01 ± 0.85"
    assert published[PAPER]["SDR 2 mm %"] == "88.32"
    assert "second-hand" in published[PAPER]["images"]
    assert published["official code, reproduced by others"]["images"] == "400 (4 folds, junior)"
    assert values["warnings"] == []
    assert [run["run"] for run in values["runs"]] == [f"{name}-seed0" for name in RUNS]
    for name in values["figures"]:
        assert (out / name).stat().st_size > 2000, name
    assert "each image is normalised by itself" in (out / "table.md").read_text()


def test_numbers_of_the_tables_are_those_of_the_runs(out: Path, folder: Path) -> None:
    values = json.loads((out / "results.json").read_text())
    overall, landmarks, three, steps = values["tables"]
    test = LandmarkDataset.load(folder, "test1")
    errors = 0.1 * radial_error(Predictor.load(out / "runs" / "shared-seed0").predict(test).points, test.points)
    assert overall["rows"][0]["MRE ± SD mm"].split(" ")[0] == f"{errors.mean():.2f}"
    assert overall["rows"][1]["MRE ± SD mm"].split(" ")[0] == f"{errors[[0, 3]].mean():.2f}"
    assert [row["landmark"] for row in landmarks["rows"]] == list(test.landmarks.names)
    row = next(row for row in landmarks["rows"] if row["landmark"] == "gonion")
    assert row["MRE ± SD mm"].split(" ")[0] == f"{errors[:, test.landmarks.index('gonion')].mean():.2f}"
    assert row["published MRE ± SD mm"] == "1.47 ± 1.17"
    assert row["published half distance mm"] == "1.43"
    assert row["half doctors' distance mm"] == "0.30"
    assert [row["network"] for row in three["rows"]] == ["a network per landmark", "one network for the three"]
    assert "sella MRE mm" in three["rows"][0]
    assert [row["glimpse steps"] for row in steps["rows"]] == list(STEPS)
    assert "on 2 images" in steps["note"]


def test_the_runs_never_see_the_test_images(out: Path) -> None:
    for split in out.rglob("split.csv"):
        used = pd.read_csv(split)
        assert len(used) == 6, split
        assert sorted(used["part"].unique()) == ["train", "val"]


def test_the_same_command_predicts_nothing_again_and_takes_other_runs(
    out: Path, folder: Path, small: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("predicted again")

    monkeypatch.setattr(Predictor, "predict", refuse)
    request = Request(ISBI.name, out, data=folder, options={"runs": "shared3, shared"})
    findings = run_study(small, request)
    assert [run["setting"] for run in findings.runs] == ["shared", "shared3"]
    assert findings.claims[-1].numbers == "not run: cascade"
    with pytest.raises(RunError, match="labels mean, not junior"):
        run_study(small, replace(request, options={"labels": "junior"}))


def test_points_after_steps_are_those_of_predictions(out: Path, folder: Path) -> None:
    test = LandmarkDataset.load(folder, "test1")
    for name in ("shared", "cascade"):
        run = RunFolder(out / "runs" / f"{name}-seed0")
        found = predicted(run, test, (1, 4))
        for count, points in zip((1, 4), found, strict=True):
            predictor = Predictor.load(run)
            options = predictor.method.options.model_copy(update={"iterations": count})  # type: ignore[operator]
            predictor.method.options = options  # type: ignore[assignment]
            np.testing.assert_allclose(points, predictor.predict(test).points, atol=1e-3)
        assert np.abs(found[0] - found[1]).max() > 0.01
    with pytest.raises(ConfigError, match=r"unknown key 'method\.iterations'"):
        predicted(RunFolder(out / "runs" / "cascade-seed0" / "coarse"), test, (3,))


def test_what_is_kept_belongs_to_its_weights(out: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.folder.mkdir()
    run.config.write_text("seed: 0")
    run.weights.write_bytes(b"1")
    assert kept(run, ["a"], lambda: np.array([1.0])).tolist() == [1.0]
    assert kept(run, ["a"], lambda: np.array([2.0])).tolist() == [1.0]
    assert kept(run, ["b"], lambda: np.array([3.0])).tolist() == [3.0]
    run.weights.write_bytes(b"2")
    assert kept(run, ["a"], lambda: np.array([4.0])).tolist() == [4.0]


def copy_without(folder: Path, target: Path, *files: str) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        if file.name not in files:
            (target / file.name).symlink_to(file)
    return target


def test_missing_parts_of_the_folder(folder: Path, tmp_path: Path, small: Study) -> None:
    def read(folder: Path, labels: str = "mean") -> Isbi2015:
        given = Request(ISBI.name, tmp_path / "out" / folder.name / labels, data=folder, options={"labels": labels})
        (found := Isbi2015(small, given)).prepare()
        return found

    found = read(folder, "junior")
    assert found.clean == (0, 3)
    assert found.test.points[0, 0, 0] == pytest.approx(read(folder).test.points[-1, 0, 0] - 3)
    some = read(copy_without(folder, tmp_path / "a", "duplicates.csv", "landmarks_junior.csv"))
    assert some.clean is None
    assert some.doctors is None
    assert [warning.split(" ")[0] for warning in some.warnings] == ["duplicates.csv", "landmarks_junior.csv"]
    assert list(some.sets()) == ["all"]
    with pytest.raises(DataError, match=r"landmarks_challenge.csv: .* labels that are there: mean, junior, senior"):
        read(folder, "challenge")
    renamed = copy_without(folder, tmp_path / "b", "landmarks.csv")
    (renamed / "landmarks.csv").write_text((folder / "landmarks.csv").read_text().replace(",test1,", ",test,"))
    with pytest.raises(DataError, match="unknown split 'test1'"):
        read(renamed)
    odd = copy_without(folder, tmp_path / "c", "duplicates.csv")
    (odd / "duplicates.csv").write_text("picture\n1.jpg\n")
    with pytest.raises(DataError, match="the columns image, same_radiograph_as, got no image"):
        read(odd)
    (odd / "duplicates.csv").write_text("image,same_radiograph_as\nx.png,y.png\n")
    assert "names no image of test1" in read(odd).warnings[0]
    bare = copy_without(folder, tmp_path / "d", "dataset.yaml")
    with pytest.raises(DataError, match="expected millimetres per pixel"):
        read(bare)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "juniro"}, "labels: unknown value 'juniro'; did you mean 'junior'"),
        ({"runs": "shared,cascde"}, "runs: unknown value 'cascde'; did you mean 'cascade'"),
        ({"lables": "mean"}, "foveated-isbi2015: unknown option 'lables'; did you mean 'labels'"),
        ({"pretrained": "yes"}, "pretrained=yes: the trunk of --scale small has no such weights"),
        ({}, "give --data FOLDER with landmarks.csv"),
    ],
)
def test_bad_options(options: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        run_study(ISBI, Request(ISBI.name, tmp_path / "out", options=options))
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_set_without_the_three_landmarks_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown landmark 'upper_incisal_incision'; did you mean 'upper_incisor'"):
        run_study(ISBI, Request(ISBI.name, tmp_path / "out", data=folder))
    assert not (tmp_path / "out").exists()


def planned(scale: str, pretrained: bool) -> dict[str, Job]:
    request = Request(ISBI.name, Path("x"), scale)
    experiment = Isbi2015(ISBI, request)
    experiment.learned_before, experiment.pretrained = scale == "paper", pretrained
    return {job.name: job for job in experiment.jobs()}


def test_runs_of_both_scales_are_valid_recipes_and_pretrained_can_be_left_out() -> None:
    for scale in ("small", "paper"):
        jobs = planned(scale, pretrained=False)
        assert tuple(jobs) == RUNS
        for job in jobs.values():
            text = json.dumps(Task(job, Path("x"), Path("y")).recipe().model_dump(mode="json")["method"])
            assert '"pretrained": false' in text
            assert '"pretrained": true' not in text
    single = planned("paper", pretrained=True)["single"]
    assert single.overrides == {}
    plain = load_recipe(single.recipe)
    options = plain.method.model_dump()
    assert (options["trunk"], options["pretrained"], options["shared"]) == ("resnet34", True, False)
    assert (options["train_iterations"], options["train_starts"], options["start"]) == (10, 2, "mean")
    assert (plain.train.epochs, plain.train.batch_size, plain.train.optimizer.lr) == (40, 2, 1e-4)
    assert plain.data.input.size == (2400, 1935)
    small = ISBI.scales["small"].settings()
    assert small["single"]["train.epochs"] == small["shared3"]["train.epochs"]


def test_published_numbers_agree_with_one_another() -> None:
    """The mean over the landmarks is the overall number of the same table."""
    landmarks, fourfold = ISBI.values["per_landmark"], ISBI.values["fourfold"]
    assert len(landmarks) == 19
    assert set(ISBI.values["three"]) <= set(landmarks)
    table = np.array(list(landmarks.values()))
    assert table[:, 0].mean() == pytest.approx(fourfold[0], abs=0.01)
    assert table[:, 6].mean() == pytest.approx(1.07, abs=0.01)
    assert table[:, 2:6].mean(axis=0) == pytest.approx(fourfold[2:], abs=0.02)
    assert all(row[2:] == sorted(row[2:]) for row in ISBI.values["test1"].values())


# -- claims -----------------------------------------------------------------------------------------------------------


def flat(value: float, landmarks: int = 5) -> list[FloatArray]:
    return [np.full((6, landmarks), value)]


def evidence_like_the_paper(**changed: Any) -> Isbi2015:
    """The experiment with what was measured of its runs."""
    found = Isbi2015(ISBI, Request(ISBI.name, Path("x")))
    found.subjects, found.constants = [f"subject:{i}" for i in range(6)], (float("inf"), float("inf"))
    found.errors = {"shared": flat(1.0), "cascade": flat(0.9), "coarse": flat(1.5)}
    found.errors |= {"single3": flat(0.8, 3), "shared3": flat(0.84, 3)}
    found.errors |= {"3 steps": flat(1.0), "10 steps": flat(0.985)}
    found.doctors, found.clean = flat(2.1)[0], (0, 1, 2, 3, 4)
    vars(found).update(changed)
    return found


def test_evidence_like_the_papers_bears_out_every_claim() -> None:
    claims = evidence_like_the_paper().claims()
    assert [claim.text for claim in claims if not claim.holds] == []
    assert len(claims) == 7
    assert claims[0].numbers == "1.00 mm, 95 % 1.00 to 1.00 (all); 1.00 mm, 95 % 1.00 to 1.00 (without copies)"
    assert claims[4].numbers == (
        "0.84 mm (shared3) against 0.80 mm (single3), difference +0.04 mm, +5.0 % (95 % 0.04 to 0.04 mm)"
    )


@pytest.mark.parametrize(
    ("field", "changed", "lost"),
    [
        ("errors", {"shared": flat(1.02)}, [0]),
        ("errors", {"shared": flat(1.06)}, [0, 2]),
        ("errors", {"cascade": flat(1.2)}, [1, 6]),
        ("errors", {"coarse": flat(0.85)}, [5]),
        ("errors", {"shared3": flat(0.86, 3)}, [4]),
        ("errors", {"3 steps": flat(1.01)}, [3]),
        ("errors", {"cascade": flat(float("inf"))}, [1, 5, 6]),
    ],
)
def test_one_changed_number_changes_its_outcomes(field: str, changed: dict[str, object], lost: list[int]) -> None:
    evidence = evidence_like_the_paper()
    setattr(evidence, field, {**getattr(evidence, field), **changed})
    assert [i for i, claim in enumerate(evidence.claims()) if not claim.holds] == lost


def test_what_was_not_run_is_not_testable() -> None:
    evidence = evidence_like_the_paper(errors={"shared": flat(1.0)}, doctors=None)
    assert [claim.outcome for claim in evidence.claims()] == ["holds", *["not testable"] * 5]
    assert evidence.claims()[-1].numbers == "not run: cascade"
    evidence.errors = {}
    assert [claim.holds for claim in evidence.claims()] == [None] * 6


def test_what_is_no_better_than_the_mean_position_is_not_testable() -> None:
    claims = evidence_like_the_paper(constants=(0.95, 0.82)).claims()
    found = [claim.outcome for claim in claims]
    assert found == ["not testable", "holds", "not testable", "not testable", *["not testable"] * 3]
    assert claims[4].numbers.endswith("Not testable: shared3 has 0.84 mm, the mean training position 0.82 mm")


def test_several_seeds_are_paired_and_the_network_per_landmark_stands_for_the_paper() -> None:
    evidence = evidence_like_the_paper()
    seeds = {"shared": [*flat(1.0), *flat(1.2)], "single": [*flat(0.9), *flat(1.0)]}
    evidence.errors = {**evidence.errors, **seeds, "cascade": [*flat(0.9), *flat(1.2)]}
    assert evidence.methods[0] == "single"
    found = evidence.claims()
    assert found[0].numbers.startswith("0.95 mm")
    assert found[-1].numbers.startswith("1.05 ± 0.21 mm (cascade) against 1.10 ± 0.14 mm (shared), difference -0.05 mm")
    assert found[-1].holds


def test_measured_counts_what_was_not_predicted_as_a_failure() -> None:
    found = Measured([np.array([[1.0, np.inf], [np.nan, 3.0]])], ["a", "b"])
    assert (found.mre, found.sdr[2.0], found.sdr[3.0]) == (2.0, 1 / 3, 2 / 3)
    assert Measured([np.full((2, 1), np.inf)], ["a", "b"]).cells()["MRE ± SD mm"] == "–"


# -- ablation ---------------------------------------------------------------------------------------------------------


def sweep_like_the_slides(start: float = 60.0, **changed: dict[int, float]) -> Ablation:
    """The experiment with two seeds of each setting; ``changed`` are errors by setting and steps."""
    last = {"looks1": 5.0, "looks3": 4.0, "looks10": 3.0, "flatten": 6.0, "levels1": 40.0, "levels2": 20.0}
    errors = {key: {n: 2 * v if n < 3 else v for n in STEPS} | changed.get(key, {}) for key, v in last.items()}
    sweep = Ablation(ABLATION, Request(ABLATION.name, Path("x")))
    sweep.errors = {
        f"{key} after {n}": [np.full((2, 1), error)] * 2 for key, row in errors.items() for n, error in row.items()
    }
    sweep.levels, sweep.start, sweep.subjects = 3, start, ["a", "b"]
    return sweep


def test_a_sweep_like_the_slides_bears_out_every_claim() -> None:
    assert [claim.holds for claim in sweep_like_the_slides().claims()] == [True] * 4


@pytest.mark.parametrize(
    ("setting", "looks", "error", "lost"),
    [
        ("looks1", 10, 2.9, [0]),
        ("looks10", 3, 3.1, [1]),
        ("flatten", 10, 3.9, [2]),
        ("levels1", 10, 3.9, [3]),
        ("looks10", 10, float("nan"), [0, 1]),
    ],
)
def test_one_changed_setting_changes_its_outcome(setting: str, looks: int, error: float, lost: list[int]) -> None:
    found = sweep_like_the_slides(**{setting: {looks: error}}).claims()  # type: ignore[arg-type]
    assert [i for i, claim in enumerate(found) if not claim.holds] == lost


def test_parts_of_what_learned_nothing_are_not_testable() -> None:
    claims = sweep_like_the_slides(start=3.5).claims()
    assert [claim.outcome for claim in claims] == ["not testable", "holds", "not testable", "not testable"]
    found = "looks3 after 10 has 4.00 px, the mean training position 3.50 px; flatten after 10 has 6.00 px"
    assert f"Not testable: {found}" in claims[2].numbers


def test_every_setting_makes_the_same_number_of_steps() -> None:
    for scale in ("small", "paper"):
        experiment = Ablation(ABLATION, Request(ABLATION.name, Path("x"), scale, seeds=(0,)))
        experiment.canvas, experiment.names, experiment.levels = (512, 512), DRAWN, 4
        planned = experiment.jobs()
        assert [job.name for job in planned] == [
            "looks1",
            "looks3",
            "looks10",
            "flatten",
            "levels1",
            "levels2",
            "levels3",
        ]
        steps = [job.overrides["train.epochs"] * job.overrides["method.train_iterations"] for job in planned]
        assert max(steps) - min(steps) <= 1
        for job in planned:
            recipe = Task(job, Path("x"), Path("y")).recipe()
            assert recipe.train.val_every == recipe.train.epochs


def test_the_ablation_on_drawn_images(tmp_path: Path, tiny: Callable[..., Study]) -> None:
    method = {"trunk": "small", "glimpse": 16, "train_starts": 1}
    recipe = {"extends": "foveated", "data": {"workers": 0}, "method": method, "train": {"precision": "32"}}
    draw = {"size": 32, "images": {"train": 4, "val": 2, "test": 2}}
    study = tiny("foveated-ablation", recipe=recipe, draw=draw, values={"steps": 1}, about="a tiny network")
    said: list[str] = []
    request = Request(ABLATION.name, tmp_path / "out", seeds=(0,), say=said.append)
    findings = run_study(study, request)
    assert said[0] == "drawing 8 images (radiograph) of 32 x 32 pixels"
    assert [run["setting"] for run in findings.runs] == ["looks1", "looks3", "looks10", "flatten", "levels1"]
    rows = findings.tables[0].rows
    assert [list(row)[1:] for row in rows[:-1]] == [["1 step", "2 steps", "3 steps", "5 steps", "10 steps"]] * 5
    assert rows[-1]["training"].startswith("no step, the mean training position: ")
    assert rows[4]["training"] == "3 steps per batch, spatialised features, 1 level"
    assert (tmp_path / "out" / "steps.png").stat().st_size > 2000
    with pytest.raises(RunError, match="landmarks"):
        run_study(study, replace(request, options={"landmarks": "nasion"}))


def test_the_ablation_takes_the_largest_image_as_canvas(folder: Path, tmp_path: Path) -> None:
    request = Request(ABLATION.name, tmp_path / "out", data=folder, options={"landmarks": "gonion, sella"})
    with pytest.raises(DataError, match="unknown split 'test'"):
        run_study(ABLATION, request)
    assert not (tmp_path / "out").exists()
    experiment = Ablation(ABLATION, replace(request, options={**request.options, "split": "test1"}))
    experiment.prepare()
    assert (experiment.canvas, experiment.names) == ((48, 40), ["gonion", "sella"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": "test"}, "expected only with --data"), ({"landmarks": "gonio"}, "did you mean 'gonion'")],
)
def test_bad_options_of_the_ablation(options: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        run_study(ABLATION, Request(ABLATION.name, tmp_path / "out", options=options))
    assert not (tmp_path / "out").exists()
