"""The part of a recipe on images: what the network sees of them, how training varies it, and where they come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from trigpoint.config import Config

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=1)]
SMALLEST_REGION = 0.01  # sides of a region of interest, shares of those of the image


def _square(value: Any) -> Any:
    """One number stands for both sides."""
    return (value, value) if isinstance(value, int) else value


class InputConfig(Config):
    """What the network sees. Before normalisation black is 0 and white is 1; beyond the image it is 0 after it."""

    size: Annotated[tuple[Side, Side], BeforeValidator(_square)] = (256, 256)
    """Height and width, pixels; one number for both."""
    channels: Literal[1, 3] = 1
    """Colours; 1 turns colour to grey (luma of ITU-R BT.601), 3 repeats grey."""
    fit: Literal["letterbox", "crop", "stretch"] = "letterbox"
    """How an image comes to this size: all of it with a margin, its middle without, or stretched."""
    region: tuple[Share, Share, Share, Share] | None = None
    """Left, top, right and bottom of what is shown of an image, as shares of its width and height; null: all of it."""
    normalize: Literal["image", "fixed", "unit"] = "image"
    """Mean 0 and standard deviation 1 of each image, fixed numbers per channel, or as it is."""
    mean: tuple[float, ...] | None = None
    """Subtracted by ``normalize: fixed``, a number per channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Divided by in ``normalize: fixed``, a number per channel."""

    @model_validator(mode="after")
    def _check(self) -> InputConfig:
        if self.region is not None:
            left, top, right, bottom = self.region
            if right - left < SMALLEST_REGION or bottom - top < SMALLEST_REGION:
                raise ValueError(
                    "region: expected left, top, right and bottom, the latter two larger by at least "
                    f"{SMALLEST_REGION}, got {list(self.region)}"
                )
        if self.normalize != "fixed":
            if self.mean is not None or self.std is not None:
                raise ValueError(f"mean and std are used by normalize=fixed only, got normalize={self.normalize}")
            return self
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is None or len(values) != self.channels:
                raise ValueError(
                    f"{name}: normalize=fixed expects {self.channels} numbers, one a channel, got {values}"
                )
        return self


class AugmentConfig(Config):
    """How training varies the input; everything is off by default. Geometry is about the middle of the input, intensity
    in units of the image's range."""

    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest turn, degrees either way."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Least and largest factor, 0.1 to 10, drawn evenly on a log scale."""
    shift: Share = 0.0
    """Largest shift either way, as a share of the input's side."""
    flip: Share = 0.0
    """Probability of a mirrored image; needs ``pairs`` in ``dataset.yaml``, be it ``[]``, or ``swap: false``."""
    swap: bool = True
    """Whether a flip swaps the ``pairs``; false: there are none, and each landmark keeps its name in a mirrored image,
    as where left and right wings are labelled alike."""
    elastic: float = Field(default=0.0, ge=0)
    """Largest displacement of an elastic deformation, input pixels."""
    elastic_spacing: float = Field(default=32.0, gt=0)
    """Distance between its control points, input pixels; more than four times ``elastic``."""
    brightness: Share = 0.0
    """Brightness factors are 1 +- this; ``normalize: image`` undoes them but for the clipping."""
    contrast: Share = 0.0
    """Contrast factors are 1 +- this; ``normalize: image`` undoes them but for the clipping."""
    gamma: float = Field(default=0.0, ge=0, le=4)
    """Exponents lie between 1 / (1 + this) and 1 + this."""
    blur: float = Field(default=0.0, ge=0, le=20)
    """Largest standard deviation of a Gaussian blur, input pixels."""
    noise: Share = 0.0
    """Largest standard deviation of additive noise."""
    erase: Share = 0.0
    """Probability that a rectangle is set to the image's mean."""
    erase_area: tuple[float, float] = (0.02, 0.1)
    """Least and largest share of the input that the rectangle takes."""
    drop_outside: bool = True
    """A landmark that left the input counts as missing, because no heatmap can show it."""

    @property
    def varies(self) -> bool:
        """Whether an image looks different from one epoch to the next."""
        ways = (self.rotation, self.shift, self.flip, self.elastic, self.brightness, self.contrast, self.gamma)
        return self.scale != (1.0, 1.0) or any((*ways, self.blur, self.noise, self.erase))

    @model_validator(mode="after")
    def _check(self) -> AugmentConfig:
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError(f"scale: expected [low, high] between 0.1 and 10, got {list(self.scale)}")
        if not 0 < self.erase_area[0] <= self.erase_area[1] < 1:
            raise ValueError(f"erase_area: expected [low, high] between 0 and 1, got {list(self.erase_area)}")
        if self.elastic and self.elastic_spacing <= 4 * self.elastic:
            raise ValueError(
                f"elastic_spacing: expected more than 4 x elastic = {4 * self.elastic:g} px, so that the image cannot "
                f"fold, got {self.elastic_spacing:g}"
            )
        return self


class DataConfig(Config):
    """Which images are learned from and what the network sees of them."""

    path: str | None = None
    """Dataset folder."""
    train: str = "train"
    """Name of the training subset."""
    val: str = "val"
    """Name of the validation subset; where there is none, it is drawn from the training subjects by the seed."""
    val_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the training subjects that is drawn for validation then."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many labelled training images: a fixed choice by the seed, with fewer always among more."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the labelled training images, in place of ``limit``."""
    limit_across: bool = False
    """Take one image of each subject first, in place of subject after subject."""
    unlabelled: int = Field(default=0, ge=0)
    """Images without labels that join each batch for ``method.transfer``."""
    landmarks: tuple[str, ...] | None = None
    """Only these landmarks; null: all."""
    input: InputConfig = InputConfig()
    """What the network sees."""
    augment: AugmentConfig = AugmentConfig()
    """How training varies it."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that prepare batches; null: half of the cores, 1 to 8."""
    cache: bool = False
    """Keep decoded images in memory."""
    on_error: Literal["stop", "skip"] = "stop"
    """What an image that cannot be read does: stop, or be skipped and listed in the run's ``skipped.csv``."""
    on_change: Literal["stop", "accept"] = "stop"
    """What data that changed or were added since the run began do to a resumed run: stop it, or be learned from."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.limit is not None and self.fraction is not None:
            raise ValueError("limit and fraction: expected one of the two, got both; remove one")
        return self


"""What ``train.epochs=auto`` is at least: rounds of the training images, and optimizer steps."""
