"""What an offset of the foveated method means, and that the heads of all landmarks keep learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

import trigpoint as tp
from trigpoint.config import parse
from trigpoint.landmarks import Batch
from trigpoint.methods import FoveatedMethod
from trigpoint.nn.spatialized import GlimpseNetwork
from trigpoint.recipe import Recipe
from trigpoint.recipes import recipe_values
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train

SIZE = (96, 80)
START = torch.tensor([[40.0, 45.0], [30.0, 50.0], [20.0, 20.0]])
SD = torch.tensor([[3.0, 5.0], [0.5, 0.7], [12.0, 8.0]])
MENDED = {"unit": "spread", "activation": "leaky_relu"}
RECIPES = Path(tp.__file__).parent


def method(**options: Any) -> FoveatedMethod:
    torch.manual_seed(0)
    values = {"name": "foveated", "trunk": "small", "glimpse": 16, "levels": 3, "iterations": 1, **options}
    made = FoveatedMethod(parse(FoveatedMethod.Config, values), ("a", "b", "c"), 1, SIZE, epochs=2)
    made.set_start(START, SD)
    return made.eval()


class OneToTheRight(nn.Module):
    """An offset of 1 in x whatever it sees."""

    def forward(self, stacks: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0]).expand(*stacks.shape[:2], 2)


# -- what 1 means ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("patch", [32.0, 32.0, 32.0]), ("spread", [4.0, 1.0, 10.0])],  # at least one pixel
)
@pytest.mark.parametrize("shared", [False, True])
def test_an_offset_of_one_is_a_unit_of_its_landmark(unit: str, expected: list[float], shared: bool) -> None:
    m = method(unit=unit, shared=shared)
    m.network.networks = nn.ModuleList([OneToTheRight() for _ in m.network.networks])
    back = torch.eye(2, 3, dtype=torch.float64)[None]
    found = m.predict(Batch(torch.zeros(1, 1, *SIZE), START[None], back, torch.zeros(1))).points[0, 0]
    torch.testing.assert_close(found[:, 0] - START[:, 0], torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(found[:, 1], START[:, 1].double())


def test_the_leaky_head_has_a_gradient_where_the_other_is_dead() -> None:
    """All units below 0 for every glimpse: what the old heads could not come back from."""
    gradients = {}
    for activation in ("relu", "leaky_relu"):
        network = GlimpseNetwork(2, 1, 2, trunk="small", glimpse=16, activation=activation)
        nn.init.normal_(network.last.weight)
        nn.init.constant_(network.second.bias, -100.0)
        network(torch.randn(3, 2, 2, 1, 16, 16)).sum().backward()
        assert not network.active.any()
        assert network.second.weight.grad is not None
        gradients[activation] = network.second.weight.grad.abs().sum().item()
    assert gradients["relu"] == 0 < gradients["leaky_relu"]


def test_only_training_counts_active_units() -> None:
    network = GlimpseNetwork(2, 1, 2, trunk="small", glimpse=16)
    glimpses = torch.randn(3, 2, 2, 1, 16, 16)
    network.eval()(glimpses)
    assert not network.active.any()
    network.train()(glimpses)
    assert network.active.any()
    assert "active" not in network.state_dict()


# -- heads that die -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_radiographs(tmp_path_factory.mktemp("data") / "heads", 24, size=(192, 160), seed=1)


def trained(heads: Path, out: Path, **options: Any) -> RunFolder:
    """Landmarks some pixels from where they are guessed, seen in patches of up to 256: the audit's case."""
    glimpses = {"trunk": "small", "glimpse": 16, "levels": 5, "train_iterations": 4, "train_starts": 1}
    values = {
        "name": "heads",
        "data": {
            "path": str(heads),
            "landmarks": ["sella", "menton"],
            "input": {"size": [192, 160]},
            "workers": 0,
        },
        "method": {"name": "foveated", "shared": True, "rotation": 0.0, "scale": 0.0, **glimpses, **options},
        "train": {
            "epochs": 5,
            "batch_size": 4,
            "accelerator": "cpu",
            "threads": 1,
            "optimizer": {"name": "adamw", "lr": 0.003},
            "clip": 5.0,
            "val_every": 5,
        },
    }
    return train(parse(Recipe, values), out=out, progress=False)


def alive(table: pd.DataFrame) -> list[float]:
    """Shares of the last epoch, by landmark."""
    return [float(table[name].iloc[-1]) for name in ("alive_sella", "alive_menton")]


@pytest.mark.soak
def test_units_of_every_head_stay_alive(heads: Path, tmp_path: Path) -> None:
    """A quarter of them at least, where the old heads, for contrast, lose nearly all."""
    old, new = trained(heads, tmp_path / "old"), trained(heads, tmp_path / "new", **MENDED)
    assert max(alive(old.history_table())) < 0.15
    assert min(alive(new.history_table())) > 0.25
    assert tp.Predictor.load(new, device="cpu").method.network.unit.max() < 20  # type: ignore[union-attr]


# -- who has the mended heads ---------------------------------------------------------------------------------------


def glimpse_options(values: Any) -> list[dict[str, Any]]:
    """Options of glimpses anywhere in the values of a recipe or a study."""
    if isinstance(values, list):
        return [found for value in values for found in glimpse_options(value)]
    if not isinstance(values, dict):
        return []
    own = [values] if values.get("name") == "foveated" else []
    own += [values["fine"]] if isinstance(values.get("fine"), dict) else []
    return own + [found for value in values.values() for found in glimpse_options(value)]


def test_every_recipe_and_study_takes_the_mended_heads() -> None:
    """The defaults are those of runs that do not state these options, so each recipe has to."""
    checked = 0
    recipes = [recipe_values(file.stem) for file in sorted((RECIPES / "recipes").glob("*.yaml"))]
    studies = [yaml.safe_load(file.read_text()) for file in sorted((RECIPES / "experiments/studies").glob("*.yaml"))]
    for values in [*recipes, *studies]:
        for options in glimpse_options(values):
            if "trunk" in options:
                assert MENDED.items() <= options.items(), options
                checked += 1
    assert checked >= 5
