"""A recipe that extends another: what it inherits, what it replaces, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigpoint.errors import ConfigError
from trigpoint.recipe import load_recipe
from trigpoint.recipes import recipe_values


def test_the_child_wins_and_keeps_the_rest_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "mine.yaml").write_text("extends: fast\nname: mine\ntrain: {epochs: 3}\n")
    (tmp_path / "child.yaml").write_text("extends: base/mine.yaml\nmethod: {schedule: {sigma0: 2.0}, loss: mse}\n")
    child, parent = load_recipe(tmp_path / "child.yaml"), load_recipe("fast")
    assert child.name == "mine"
    assert child.train == parent.train.model_copy(update={"epochs": 3})
    assert child.data == parent.data
    assert dict(child.method.schedule) == {"name": "fixed", "sigma0": 2.0}  # type: ignore[attr-defined]
    assert child.method.loss.name == "mse"  # type: ignore[attr-defined]
    assert child.method.network == parent.method.network  # type: ignore[attr-defined]
    assert "extends" not in recipe_values(tmp_path / "child.yaml")


def test_a_component_with_another_name_replaces_the_parents(tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text("extends: fast\nmethod: {network: {name: unet, depth: 2}}\n")
    network = load_recipe(tmp_path / "child.yaml").method.network  # type: ignore[attr-defined]
    assert (network.name, network.depth) == ("unet", 2)  # the stride of fast's res_unet would be refused


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        (
            "fats",
            "'fats' is neither a dataset folder, nor a recipe file, nor the name of a recipe; did you mean 'fast'",
        ),
        ("nowhere.yaml", "nowhere.yaml: no such file in "),
        ("[fast]", r"expected the name or file of a parent, got \['fast'\]"),
        ("a.yaml", "got a.yaml -> a.yaml; remove one extends"),
        ("b.yaml", "got a.yaml -> b.yaml -> a.yaml; remove one extends"),
    ],
)
def test_parents_that_cannot_be(parent: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"extends: {parent}\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "a.yaml")
