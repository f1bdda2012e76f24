"""Weights in files: what was written comes back, everything else is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from trigpoint.errors import ConfigError, RunError
from trigpoint.nn.weights import pack, read_weights, unpack
from trigpoint.runs import RunFolder

STATE = {
    "conv.weight": torch.arange(12.0).reshape(3, 4).T,
    "steps": torch.tensor(7),
    "half": torch.ones(3).bfloat16(),
    "none": torch.zeros(0, 2),
    "mask": torch.tensor([True, False]),
}


def header(file: Path) -> dict[str, str]:
    with file.open("rb") as stream:
        found: dict[str, str] = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))["__metadata__"]
    return found


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(pack(STATE, {"epoch": "3"}))
    state, note = unpack(file)
    assert note == {"epoch": "3"}
    assert set(state) == set(STATE)
    for name, value in STATE.items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value)
    assert set(read_weights(file)) == set(STATE)
    safetensors.torch.save_file({"a": torch.ones(2)}, file)  # of another program
    assert unpack(file)[1] == {}


@pytest.mark.parametrize("name", ["conv.weight", "steps", "half", "mask"])
def test_one_changed_value_is_noticed(name: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_weights(STATE, {})
    known = header(run.weights)
    state = {key: value.contiguous().clone() for key, value in STATE.items()}
    state[name].view(-1).view(torch.uint8)[0] ^= 1
    run.weights.write_bytes(safetensors.torch.save(state, metadata=known))
    with pytest.raises(RunError, match=r"weights\.safetensors: damaged: its tensors are not those .* put back"):
        run.load_weights()
    with pytest.raises(ConfigError, match="wrong checksum"):
        read_weights(run.weights)
    renamed = {f"{key}.": value.contiguous() for key, value in STATE.items()}
    run.weights.write_bytes(safetensors.torch.save(renamed, metadata=known))
    with pytest.raises(RunError, match="wrong checksum"):
        run.load_weights()
    whole = {key: value.contiguous() for key, value in STATE.items()}
    run.weights.write_bytes(safetensors.torch.save(whole, metadata={"trigpoint_format": "1"}))
    with pytest.raises(RunError, match="wrong checksum"):  # taken away
        run.load_weights()


@pytest.mark.parametrize("stated", ["2", "10", "-1", "x", "٢"])
def test_a_later_format_is_refused(stated: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_weights({"a": torch.ones(2)}, {})
    later = header(run.weights) | {"trigpoint_format": stated}
    run.weights.write_bytes(safetensors.torch.save({"a": torch.ones(2)}, metadata=later))
    with pytest.raises(RunError, match=r"expected format 1 at most, got .*: it was made by a newer trigpoint"):
        run.load_weights()
