"""The cascade: one config trains both stages, and glimpses begin at the coarse points; nothing is lost between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trigpoint.errors import ConfigError, RunError
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import CascadeMethod, build_method
from trigpoint.prediction import Predictor
from trigpoint.recipe import load_recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train

COARSE: dict[str, Any] = {
    "data": {"input": {"size": [64, 64]}, "workers": 0},
    "method": {"name": "heatmap", "network": {"name": "res_unet", "width": 8}, "schedule": "adaloss"},
    "train": {"epochs": 2, "batch_size": 4},
}
RECIPE: dict[str, Any] = {
    "data": {"input": {"size": [256, 256]}, "workers": 0, "landmarks": ["sella", "nasion", "menton"]},
    "method": {
        "name": "cascade",
        "coarse": COARSE,
        "fine": {"shared": True, "trunk": "small", "levels": 2, "train_iterations": 2, "train_starts": 1},
    },
    "train": {"epochs": 2, "batch_size": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_radiographs(tmp_path_factory.mktemp("heads") / "data", 12, 256)


@pytest.fixture(scope="module")
def run(data: Path) -> RunFolder:
    return train(recipe_file(data), out=data.parent / "run", progress=False)


def recipe_file(data: Path, **method: Any) -> Path:
    import yaml

    values = {**RECIPE, "data": {**RECIPE["data"], "path": str(data)}, "method": {**RECIPE["method"], **method}}
    file = data.parent / f"recipe{len(list(data.parent.iterdir()))}.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return file


def built(data: Path, **overrides: Any) -> CascadeMethod:
    torch.manual_seed(0)
    recipe = load_recipe(recipe_file(data), [f"{k}={v}" for k, v in overrides.items()])
    method = build_method(recipe, LandmarkSet(("sella", "nasion", "menton")))
    assert isinstance(method, CascadeMethod)
    return method.eval()


def batch(method: CascadeMethod, count: int = 2) -> Batch:
    images = torch.randn(count, 1, *method.size, generator=torch.Generator().manual_seed(3))
    back = torch.eye(2, 3, dtype=torch.float64).expand(count, -1, -1).clone()
    return Batch(images, torch.full((count, 3, 2), 100.0), back, torch.arange(count))


def test_one_config_trains_both_stages(run: RunFolder) -> None:
    coarse = RunFolder(run.folder / "coarse")
    assert coarse.epochs_done() == 2
    assert run.epochs_done() == 2
    assert coarse.recipe().method_name == "heatmap"
    assert coarse.parts() == run.parts()  # the fine stage validates on what the coarse one has not seen


def test_the_run_holds_the_coarse_weights(run: RunFolder) -> None:
    inner, _ = RunFolder(run.folder / "coarse").load_weights()
    outer, _ = run.load_weights()
    for name, value in inner.items():
        torch.testing.assert_close(outer[f"coarse.{name}"], value, rtol=0, atol=0)


def test_training_spreads_guesses_as_the_coarse_stage_errs(run: RunFolder, data: Path) -> None:
    from trigpoint.data import LandmarkDataset

    predictor = Predictor.load(RunFolder(run.folder / "coarse"))
    names = set(run.parts()["val"])
    whole = LandmarkDataset.load(data, names=["sella", "nasion", "menton"])
    val = whole.subset([i for i, s in enumerate(whole.samples) if whole.image_name(s) in names])
    errors = predictor.predict(val).points - val.points
    expected = np.sqrt((errors**2).mean(axis=0)).clip(2.0)
    stored = run.load_weights()[0]["start_sd"].numpy()
    np.testing.assert_allclose(stored, expected, rtol=1e-4)


def test_the_guess_begins_at_the_coarse_point(run: RunFolder) -> None:
    """The canvas is as large as the image, so both stages must name the same original pixel."""
    image = torch.randint(0, 255, (1, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    coarse = Predictor.load(RunFolder(run.folder / "coarse"), device="cpu").predict(image).points[0]
    predictor = Predictor.load(run, device="cpu")
    pixels, _, back = predictor.pipeline(image)
    prepared = Batch(pixels[None], torch.full((1, 3, 2), torch.nan), back[None], torch.zeros(1))
    method = predictor.method
    assert isinstance(method, CascadeMethod)
    guess = method.initial_guess(prepared)[0, 0].numpy()
    np.testing.assert_allclose(guess, np.clip(coarse, 0, 255), atol=0.05)


def test_a_missing_coarse_point_falls_back_to_the_mean(data: Path) -> None:
    method = built(data, **{"method.min_score": 0.5})
    method.set_start(torch.tensor([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]), torch.ones(3, 2))
    at = torch.tensor([[[5.0, 6.0], [float("nan"), 1.0], [7.0, 8.0]]])
    method.decode = lambda output: (at, torch.tensor([[0.9, 0.9, 0.1]]))
    guess = method.initial_guess(batch(method, 1))[0, 0]
    assert guess[1].tolist() == [30.0, 40.0]  # not found
    assert guess[2].tolist() == [50.0, 60.0]  # hardly found
    assert guess[0].tolist() == pytest.approx([5 * 4 + 1.5, 6 * 4 + 1.5])  # 256 px seen as 64


def test_the_coarse_stage_stays_as_it_was_trained(data: Path) -> None:
    method = built(data)
    method.train()
    assert not any(module.training for module in method.network.coarse.modules())  # type: ignore[union-attr]
    assert not any(p.requires_grad for p in method.network.coarse.parameters())  # type: ignore[union-attr]
    assert method.network.networks.training


def test_a_finished_run_serves_as_coarse_stage(run: RunFolder, data: Path, tmp_path: Path) -> None:
    given = recipe_file(data, coarse=None, coarse_run=str(run.folder / "coarse"))
    second = train(given, ["train.epochs=1"], out=tmp_path / "run", progress=False)
    assert not (second.folder / "coarse").exists()
    assert load_recipe(second.config).method.coarse["train"]["epochs"] == 2  # type: ignore[attr-defined]
    assert np.isfinite(Predictor.load(second).predict(torch.zeros(1, 256, 256)).points).all()


def test_a_coarse_run_that_saw_the_validation_images_is_refused(data: Path, run: RunFolder, tmp_path: Path) -> None:
    given = recipe_file(data, coarse=None, coarse_run=str(run.folder / "coarse"))
    with pytest.raises(ConfigError, match="was trained on all validation images"):
        train(given, ["data.train=val", "data.val=train"], out=tmp_path / "run", progress=False)


def test_a_coarse_run_of_other_landmarks_is_refused(data: Path, run: RunFolder, tmp_path: Path) -> None:
    given = recipe_file(data, coarse=None, coarse_run=str(run.folder / "coarse"))
    with pytest.raises(ConfigError, match="expected a run for the landmarks gonion"):
        train(given, ["data.landmarks=[gonion]"], out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.coarse=null"], "expected coarse .* or coarse_run"),
        (["method.coarse.method=foveated"], "expected a recipe of the method heatmap, got foveated"),
        (["method.coarse.data.input.normalize=unit"], "normalize=image is needed"),
        (["data.input.region=[0, 0, 0.5, 1]"], "region: expected none with a cascade"),
        (["method.fine.start=mean"], "method.fine.start|fine.start"),
        (["method.coarse=no-such-recipe"], "neither a dataset folder"),
        (["method.coarse=null", "method.coarse_run=nowhere"], "config.yaml: no such file"),
    ],
)
def test_wrong_combinations_are_refused(data: Path, overrides: list[str], message: str) -> None:
    with pytest.raises((ConfigError, RunError), match=message):
        load_recipe(recipe_file(data), overrides)


def test_untrained_glimpses_leave_the_coarse_points_where_they_are(data: Path) -> None:
    method = built(data)
    given = batch(method)
    found = method.predict(given)
    torch.testing.assert_close(found.points, method.initial_guess(given)[:, :1].double())


def test_a_share_of_the_coarse_point_counts(data: Path) -> None:
    path = torch.zeros(3, 1, 2, 3, 2)  # the first of two starts is the coarse point
    path[0, 0, 0] = 10.0
    path[-1] = 20.0
    assert (built(data, **{"method.coarse_share": 0.25}).conclude(path)[0] == 17.5).all()
    assert (built(data).conclude(path)[0] == 20.0).all()
