"""Fixed target width: the control that every other schedule is compared with."""

from typing import Literal

from trigpoint.schedules.base import Schedule, WidthConfig


class Fixed(Schedule):
    """The same width for all landmarks and epochs, ``sigma0`` heatmap px.

    >>> Fixed(num_landmarks=2, sigma0=3.0).sigma
    tensor([3., 3.])
    """

    class Config(WidthConfig):
        name: Literal["fixed"] = "fixed"
