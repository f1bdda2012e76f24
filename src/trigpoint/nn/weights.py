"""Weights in files: safetensors with a checksum and the number of their format; other checkpoints are only read.

Nothing that is read is executed.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from trigpoint.errors import ConfigError

FORMAT = 1  # raised when a run folder changes so that an older trigpoint would read it wrongly
_FORMAT, _CHECKSUM = "trigpoint_format", "sha256"
_REMEDY = "put back the file that was written, or train again"


def pack(state: Mapping[str, Tensor], note: Mapping[str, str]) -> bytes:
    """A safetensors file with ``note`` in its header."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return save(tensors, metadata={**note, _FORMAT: str(FORMAT), _CHECKSUM: checksum(tensors)})


def unpack(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and note of a safetensors file.

    Raises ValueError when it is damaged, of a later format than ``FORMAT``, or holds other tensors than were written;
    files of other programs have no checksum to compare with.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no iteration)
            note = dict(opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(f"damaged or not a safetensors file ({error}); {_REMEDY}") from None
    stated = note.pop(_FORMAT, "0")
    if not (stated.isascii() and stated.isdigit()) or int(stated) > FORMAT:
        raise ValueError(
            f"expected format {FORMAT} at most, got {stated[:20]}: it was made by a newer trigpoint; "
            "pip install --upgrade trigpoint"
        )
    expected = note.pop(_CHECKSUM, None)
    if expected != checksum(state) and (expected is not None or stated != "0"):
        raise ValueError(f"damaged: its tensors are not those that were written (wrong checksum); {_REMEDY}")
    return state, note


def read_note(file: Path) -> dict[str, str]:
    """The note of a safetensors file alone, whose tensors are not read. Raises ValueError when it is damaged."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {key: value for key, value in (opened.metadata() or {}).items() if key not in (_FORMAT, _CHECKSUM)}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: damaged or not a safetensors file ({error}); {_REMEDY}") from None


def checksum(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values; the order does not matter.

    >>> checksum({"a": torch.zeros(2), "b": torch.ones(1)}) == checksum({"b": torch.ones(1), "a": torch.zeros(2)})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint (.safetensors, or a torch file of plain tensors); raises ConfigError."""
    if not file.is_file():
        raise ConfigError(f"weights: no such file: {file}; give a .safetensors or torch checkpoint")
    if file.suffix == ".safetensors":
        try:
            return unpack(file)[0]
        except ValueError as error:
            raise ConfigError(f"{file}: not readable as weights: {error}") from None
    return plain_tensors(file, str(file))


def plain_tensors(source: Path | IO[bytes], where: str) -> dict[str, Tensor]:
    """Tensors of a torch file of plain tensors, which runs no code in it; raises ConfigError that names ``where``."""
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise ConfigError(f"{where}: not readable as weights: {_line(error)}") from error
    except Exception as error:  # pickle.UnpicklingError and what a damaged pickle happens to raise
        raise ConfigError(f"{where}: not readable as plain tensors: {_line(error)}; save it as .safetensors") from error
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    named = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not named or not state:
        raise ConfigError(f"{where}: expected named tensors, got {type(state).__name__} of something else")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
