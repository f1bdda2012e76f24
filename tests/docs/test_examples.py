"""The recipes of examples/ are recipes, and what the results say of them is what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigpoint.config import to_yaml
from trigpoint.recipe import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))


def test_there_are_examples() -> None:
    assert [file.stem for file in RECIPES] == ["cascade-cpu", "cascade", "shared", "unet-cpu", "unet"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_an_example_is_a_recipe(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for stage in ("unet", "unet-cpu"):  # what the cascades begin from
        (tmp_path / "runs" / stage).mkdir(parents=True)
        coarse = to_yaml(load_recipe(file.with_name(f"{stage}.yaml")))
        (tmp_path / "runs" / stage / "config.yaml").write_text(coarse)
    recipe = load_recipe(file)
    kind = file.stem.removesuffix("-cpu")
    assert recipe.method_name == {"unet": "heatmap", "shared": "foveated"}.get(kind, kind)
    epochs = {"unet": 40, "unet-cpu": 12, "cascade-cpu": 22}
    assert recipe.train.num_epochs == epochs.get(file.stem, 30)
