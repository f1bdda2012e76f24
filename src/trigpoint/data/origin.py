"""Where the files of another tool have (0, 0): the centre of the top-left pixel, as here, or its corner."""

from dataclasses import replace

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.geometry import from_corner, to_corner

ORIGINS = ("centre", "corner")
_SPELLED = {"center": "centre"}


def origin_of(text: str) -> str:
    """One of ``ORIGINS``. Raises ConfigError.

    >>> origin_of("center")
    'centre'
    """
    origin = _SPELLED.get(text, text)
    if origin not in ORIGINS:
        raise ConfigError(f"--origin: expected centre or corner, got {text!r}; {did_you_mean(text, ORIGINS)}")
    return origin


def read_from(dataset: LandmarkDataset, origin: str) -> LandmarkDataset:
    """A dataset whose points (K, 2) in pixels were counted from ``origin`` in the files it was read from."""
    if origin_of(origin) == "centre":
        return dataset
    return replace(dataset, samples=[replace(s, points=from_corner(s.points)) for s in dataset.samples])


def written_to(dataset: LandmarkDataset, origin: str) -> LandmarkDataset:
    """A dataset with the points (K, 2) in pixels that files have to hold which count from ``origin``."""
    if origin_of(origin) == "centre":
        return dataset
    return replace(dataset, samples=[replace(s, points=to_corner(s.points)) for s in dataset.samples])
