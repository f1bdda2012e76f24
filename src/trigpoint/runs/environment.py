"""Versions and device, which a run notes and a bug report needs."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version

import torch

from trigpoint import __version__

_PACKAGES = [
    "trigpoint",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "torchmetrics",
    "numpy",
    "pandas",
    "scipy",
    "pillow",
    "pydicom",
    "tifffile",
    "safetensors",
    "pydantic",
]


def environment_text() -> str:
    """Versions and device, as a bug report needs them."""
    lines = [f"python {platform.python_version()}", f"platform {platform.platform()}"]
    lines += [_version(package) for package in _PACKAGES]
    lines += [f"part {part}" for part in parts_of_others()]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    lines.append(f"device {device}, {torch.get_num_threads()} threads")
    return "\n".join(lines) + "\n"


def parts_of_others() -> list[str]:
    """The networks, schedules, losses and methods that other packages add, with where they come from."""
    found = []
    for group in ("methods", "networks", "schedules", "losses"):
        for point in entry_points(group=f"trigpoint.{group}"):
            source = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            found.append(f"{group}: {point.name} of {source}")
    return sorted(found)


@cache
def _version(package: str) -> str:
    if package == "trigpoint":  # also where it runs from its source, without being installed
        return f"trigpoint {__version__}"
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed as a package"
