"""What has to be the same of two runs that trained alike, bit by bit."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from trigpoint.runs import RunFolder

TIMES = ["minutes", "data_wait_share"]
STATE = ("state_dict", "schedule", "optimizer_states", "lr_schedulers", "epoch", "global_step")


def table_of(run: RunFolder) -> str:
    """``metrics.csv`` without the columns of times, every digit."""
    frame = pd.read_csv(run.metrics, dtype=str)
    return frame.drop(columns=TIMES).to_csv(index=False)


def assert_same(run: RunFolder, other: RunFolder) -> None:
    """Both runs have the same weights, metrics and state, bit by bit, and nothing half written."""
    (weights, note), (others, other_note) = run.load_weights(), other.load_weights()
    assert note == other_note  # not byte by byte: safetensors writes the entries of its note in any order
    _assert_equal(weights, others, "weights")
    assert table_of(run) == table_of(other)
    if run.landmarks.exists() or other.landmarks.exists():  # which source models have none of
        assert run.landmarks.read_bytes() == other.landmarks.read_bytes()
    one, two = (torch.load(each.last, weights_only=True) for each in (run, other))
    for key in STATE:
        _assert_equal(one.get(key), two.get(key), key)
    assert [path.name for each in (run, other) for path in each.folder.iterdir() if path.name.endswith(".part")] == []


def _assert_equal(one: Any, two: Any, where: str) -> None:
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True, msg=where)
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            _assert_equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            _assert_equal(a, b, f"{where}[{i}]")
    else:
        assert one == two, where
