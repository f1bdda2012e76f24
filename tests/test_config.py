"""Options given as text: what an override sets, to which component it switches, and how a wrong one is answered."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, Literal

import pytest

from trigpoint.config import Config, apply_overrides, parse
from trigpoint.errors import ConfigError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.nn import NETWORKS, UNet
from trigpoint.recipe import Recipe, SourceRecipe, load_recipe

ADALOSS = {"name": "adaloss", "sigma0": 9.0, "rho": 0.5}
VALUES: dict[str, Any] = {
    "data": {"input": {"size": [64, 48]}},
    "method": {
        "name": "heatmap",
        "network": {"name": "unet", "width": 8},
        "schedule": ADALOSS,
        "loss": {"name": "kl", "coordinate": 0.0},
        "decoder": "soft_argmax",
    },
}


def recipe(*overrides: str) -> Any:
    return parse(Recipe, apply_overrides(VALUES, overrides, Recipe))


# -- components -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("override", ["method.loss.name=mse", "method.loss=mse", "method.loss={name: mse}"])
def test_another_component_takes_its_defaults_and_drops_the_options_of_the_old(override: str) -> None:
    made = recipe(override).method
    assert made.loss.model_dump() == {"name": "mse", "relative": False, "reduction": "mean"}
    assert made.schedule.rho == 0.5  # what was not named stays


@pytest.mark.parametrize("switch", ["method.network.name=timm_unet", "method.network=timm_unet"])
@pytest.mark.parametrize("first", [True, False])
def test_options_given_with_the_switch_are_kept_in_any_order(switch: str, first: bool) -> None:
    option = "method.network.encoder=resnet10t"
    network = recipe(*([switch, option] if first else [option, switch])).method.network
    assert (network.name, network.encoder, network.stride) == ("timm_unet", "resnet10t", 4)


@pytest.mark.parametrize("switch", ["method.name=foveated", "method=foveated"])
def test_another_method_drops_all_of_the_old_one(switch: str) -> None:
    made = recipe("method.glimpse=16", switch, "method.trunk=small").method
    assert (made.name, made.glimpse, made.trunk, made.levels) == ("foveated", 16, "small", None)


def test_the_name_that_stands_there_keeps_the_options_and_the_component_alone_resets_them() -> None:
    assert recipe("method.schedule.name=adaloss").method.schedule.rho == 0.5
    assert recipe("method.schedule=adaloss").method.schedule.rho is None


def test_an_option_of_a_component_that_is_not_named_is_one_of_the_default() -> None:
    made = load_recipe("fast", ["method.transfer.source.pretrained=true", "method.network=simple_baseline"]).method
    assert made.transfer.source.pretrained  # type: ignore[attr-defined]
    values = apply_overrides({}, ["method.schedule.rho=0.7"], Recipe)
    schedule: Any = parse(Recipe, values).method
    assert (schedule.schedule.name, schedule.schedule.rho) == ("adaloss", 0.7)
    several = apply_overrides({"method": "instances"}, ["method.schedule.rho=0.7"], Recipe)
    assert several["method"]["schedule"]["sigma_min"] == 3.0  # the method's own default


def test_the_later_of_two_values_holds() -> None:
    assert recipe("train.epochs=3", "train.epochs=4").train.epochs == 4


def test_one_number_is_a_square() -> None:
    assert recipe("data.input.size=256").data.input.size == (256, 256)
    assert recipe("data.input.size=[30, 40]").data.input.size == (30, 40)


# -- components of other packages -----------------------------------------------------------------------------------


class Elsewhere(UNet):
    """A network of another package."""

    class Config(UNet.Config):
        """Options of ``Elsewhere``."""

        name: Literal["elsewhere"] = "elsewhere"  # type: ignore[assignment]
        extra: int = 1
        """An option of its own."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package with one network that works, one that is gone, and one whose module fails."""
    (tmp_path / "broken.py").write_text("class Net:\n    name: Literal\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = EntryPoints(
        EntryPoint(name, value, "trigpoint.networks")
        for name, value in (
            ("elsewhere", f"{__name__}:Elsewhere"),
            ("gone", f"{__name__}:Gone"),
            ("broken", "broken:Net"),
        )
    )
    monkeypatch.setattr("trigpoint.config.entry_points", lambda group: points.select(group=group))
    monkeypatch.setitem(NETWORKS, "elsewhere", Elsewhere)  # so that it is taken out again
    del NETWORKS["elsewhere"]


@pytest.mark.usefixtures("installed")
def test_a_network_of_an_installed_package_is_found_by_its_entry_point() -> None:
    made = recipe("method.network=elsewhere", "method.network.extra=3", "method.network.width=2")
    assert type(made.method.network) is Elsewhere.Config
    assert (made.method.network.extra, made.method.network.width) == (3, 2)
    again = parse(Recipe, made.model_dump(mode="json"))
    assert again == made
    assert isinstance(build_method(again, LandmarkSet(("tip",))).network, Elsewhere)


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_fails_is_named_and_only_its_own_group_is_looked_in() -> None:
    with pytest.raises(ConfigError, match="network 'gone' of test_config:Gone cannot be imported: AttributeError"):
        recipe("method.network=gone")
    with pytest.raises(
        ConfigError, match=r"'broken' of broken:Net cannot be imported: NameError: .*broken\.py, line 2"
    ):
        recipe("method.network=broken")
    with pytest.raises(ConfigError, match="did you mean 'elsewhere'"):
        recipe("method.network=elsewher")
    with pytest.raises(ConfigError, match="unknown schedule 'elsewhere'"):
        recipe("method.schedule=elsewhere")


# -- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("epochs=5", "train.epochs"),
        ("epoch=5", "train.epochs"),
        ("lr=0.01", "train.optimizer.lr"),
        ("train.lr=0.01", "train.optimizer.lr"),
        ("batch_size=4", "train.batch_size"),
        ("train.batchsize=4", "train.batch_size"),
        ("data.size=64", "data.input.size"),
        ("method.network.widht=4", "method.network.width"),
        ("method.sigma0=4", "method.schedule.sigma0"),
        ("method.shedule.rho=0.4", "method.schedule"),
        ("trian.epochs=4", "train"),
    ],
)
def test_an_unknown_key_is_answered_with_the_one_that_is_meant(override: str, meant: str) -> None:
    key = "trian" if override.startswith("trian") else override.partition("=")[0].replace("shedule.rho", "shedule")
    with pytest.raises(ConfigError, match=rf"unknown key '{key}'; did you mean '{meant}'\?"):
        recipe(override)


def test_a_key_that_resembles_none_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'method\.loss\.zzz'; valid: method\.loss\.name, "):
        recipe("method.loss.zzz=1")
    with pytest.raises(ConfigError, match=r"did you mean 'data.augment.scale'\?"):
        recipe("scale=[1, 2]")
    with pytest.raises(ConfigError, match=r"unknown key 'stride'; did you mean 'method.network.stride'\?"):
        recipe("method.network=res_unet", "stride=2")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.network.width=0", "method.network.width: expected at least 1, got 0"),
        ("method.network.kernel=4", "method.network.kernel: expected an odd number, got 4"),
        ("method.network.kernel=a", "method.network.kernel: expected a whole number, got 'a'"),
        ("method.network.width=2.5", "method.network.width: expected a whole number, got 2.5"),
        ("method.schedule.rho=.nan", "method.schedule.rho: expected .*, got nan"),
        ("method.schedule.sigma0=1", "method.schedule.sigma0: expected at least sigma_min=1.5 heatmap px, got 1"),
        ("method.decoder=drak", "method.decoder: expected argmax, .* got 'drak'; did you mean 'dark'"),
        ("method.loss.name=mes", "method.loss: unknown loss 'mes'; did you mean 'mse'"),
        ("method.loss=[1]", "method.loss: expected the loss by name"),
        ("data.limit=0", "data.limit: expected at least 1, got 0"),
        ("data.input.size=[1, 2, 3]", r"data.input.size: expected at most 2 values, got \[1, 2, 3\]"),
        ("data.augment.scale=[2, 1]", r"data.augment.scale: expected \[low, high\]"),
        ("data.cache=perhaps", "data.cache: expected true or false, got 'perhaps'"),
        ("train.optimizer=5", "train.optimizer: expected a section of options, got 5"),
        ("train.optimizer.momentum=0.9", "train.optimizer: momentum is an option of sgd"),
        ("method.decoder.width=3", r"override 'method.decoder.width=3': .* as 'decoder', got 'soft_argmax'"),
        ("train", "override 'train': expected key=value"),
        ("train.epochs=[", "value not readable as YAML"),
    ],
)
def test_errors_name_the_full_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(override)


def test_every_problem_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        recipe("method.network.widht=4", "method.schedule.rho=0", "epochs=3")
    for words in ("'method.network.width'", "method.schedule.rho: expected more than 0, got 0", "'train.epochs'"):
        assert words in str(caught.value)


def test_a_source_recipe_has_keys_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'lr'; did you mean 'train.optimizer.lr'\?"):
        parse(SourceRecipe, apply_overrides({}, ["lr=1"], SourceRecipe))


# -- of ------------------------------------------------------------------------------------------------------------


class Two(Config):
    """Two options."""

    first: int = 1
    """The first."""
    second: str = "a"
    """The second."""


def test_a_config_is_made_of_values_in_order_or_of_keywords() -> None:
    made = Two(first=3, second="b")
    assert Two.of(made) is made
    assert Two.of(3, "b") == Two.of(3, second="b") == Two.of(second="b", first=3) == made
    assert Two.of() == Two()
    for given, options in [((3, "b", 4), {}), ((3,), {"first": 4})]:
        with pytest.raises(ConfigError, match="each of first, second at most once"):
            Two.of(*given, **options)


def test_the_string_below_a_field_is_its_description() -> None:
    assert Two.model_fields["second"].description == "The second."


def test_precision_may_be_the_number_that_a_command_line_reads() -> None:
    assert load_recipe(Recipe(), ["train.precision=32"]).train.precision == "32"
    with pytest.raises(ConfigError, match="expected 32, bf16-mixed, 16-mixed or auto, got 16"):
        load_recipe(Recipe(), ["train.precision=16"])
