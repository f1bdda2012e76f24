"""The recipes of examples/ are recipes, and what the results say of them is what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigpoint.config import to_yaml
from trigpoint.recipe import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))


def test_there_are_examples() -> None:
    assert [file.stem for file in RECIPES] == ["cascade", "shared", "unet"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_an_example_is_a_recipe(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "unet").mkdir(parents=True)  # what the cascade begins from
    (tmp_path / "runs" / "unet" / "config.yaml").write_text(to_yaml(load_recipe(file.with_name("unet.yaml"))))
    recipe = load_recipe(file)
    assert recipe.method_name == {"unet": "heatmap", "shared": "foveated"}.get(file.stem, file.stem)
    assert recipe.train.num_epochs == (40 if file.stem == "unet" else 30)
