"""Everything that is built from options, one suite: given as a ``Config`` or as keywords, they come to the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trigpoint.codecs import GaussianHeatmap, InstanceHeatmap
from trigpoint.config import Config
from trigpoint.errors import ConfigError
from trigpoint.methods.losses import LOSSES
from trigpoint.nn import NETWORKS
from trigpoint.nn.spatialized import GlimpseNetwork
from trigpoint.schedules import SCHEDULES

# kind and name: the class, what it needs besides options, options with which it is built fast
BUILT: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    **{f"network {key}": (each, {"in_channels": 1, "num_landmarks": 2}, {}) for key, each in NETWORKS.items()},
    **{
        f"schedule {key}": (each, {"num_landmarks": 2, "epochs": 9}, {"sigma0": 8.0}) for key, each in SCHEDULES.items()
    },
    **{f"loss {key}": (each, {}, {}) for key, each in LOSSES.items()},
    "codec gaussian": (GaussianHeatmap, {"input_size": (16, 16)}, {}),
    "codec instances": (InstanceHeatmap, {"input_size": (16, 16)}, {}),
    "glimpses": (GlimpseNetwork, {"num_landmarks": 1, "channels": 1, "levels": 1}, {"trunk": "small"}),
}
every = pytest.mark.parametrize(("kind", "context", "fast"), BUILT.values(), ids=BUILT)


def options_seen(kind: Any, build: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Config:
    """The config that a component takes its options from."""
    seen: list[Config] = []
    make = kind.Config.of.__func__

    def of(cls: type[Config], *given: Any, **options: Any) -> Config:
        seen.append(make(cls, *given, **options))
        return seen[-1]

    with monkeypatch.context() as patch:
        patch.setattr(kind.Config, "of", classmethod(of))
        build()
    assert len(seen) == 1
    return seen[0]


@every
def test_config_keywords_and_order_give_the_same_options(
    kind: Any, context: dict[str, Any], fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kind.Config(**fast)
    assert options_seen(kind, lambda: kind(**context, **fast), monkeypatch) == config
    assert kind.Config.of(config) is config
    in_order = [getattr(config, key) for key in kind.Config.model_fields if key != "name"]
    assert kind.Config.of(*in_order) == config


@every
def test_an_unknown_keyword_is_refused_with_the_nearest(
    kind: Any, context: dict[str, Any], fast: dict[str, Any]
) -> None:
    last = list(kind.Config.model_fields)[-1]
    with pytest.raises(ConfigError, match=rf"unknown key '{last}x'; did you mean '{last}'\?"):
        kind(**context, **fast, **{f"{last}x": 1})


@every
def test_a_config_and_keywords_at_once_are_refused(kind: Any, context: dict[str, Any], fast: dict[str, Any]) -> None:
    last = list(kind.Config.model_fields)[-1]
    with pytest.raises(ConfigError, match="expected"):
        kind.Config.of(kind.Config(**fast), **{last: getattr(kind.Config(**fast), last)})
