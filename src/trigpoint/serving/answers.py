"""The form of the answers, as OpenAPI shows it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from trigpoint import __version__
from trigpoint.data.files import open_file
from trigpoint.data.pixels.images import ImageData
from trigpoint.landmarks import COVERAGE, FloatArray, ImageDetections
from trigpoint.prediction.base import ImagePredictor
from trigpoint.prediction.measurements import Measured as Made
from trigpoint.prediction.measurements import measured
from trigpoint.prediction.model_file import is_model_file

_SHOWN = 12  # digits of the hash that are the version of a model without one
_SHA = "9f2c4e0d7b51a86c3e9d0f4b2a7c8e6d5f1b3a9c0e8d7f6a5b4c3d2e1f0a9b8c"
_MODEL: dict[str, Any] = {
    "name": "heads",
    "version": "9f2c4e0d7b51",
    "sha256": _SHA,
    "method": "heatmap",
    "trigpoint": __version__,
}
_FOUND: dict[str, Any] = {"name": "sella", "x": 431.27, "y": 388.91, "score": 0.94, "radius": 2.6, "spread": None}
_MEASURED: dict[str, Any] = {"name": "SNA", "value": 81.93, "unit": "deg", "low": 79.62, "high": 84.24}
_IMAGE: dict[str, Any] = {
    "image": "skull.png",
    "width": 1935,
    "height": 2400,
    "spacing_mm": [0.1, 0.1],
    "spacing_source": "PixelSpacing",
    "instances": [[_FOUND]],
    "flag": "unlike",
    "unlike": ["the figure is 26% larger"],
    "measurements": [_MEASURED],
}


class Model(BaseModel):
    """Which model has answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    name: str = Field(description="Name of its folder or file.")
    version: str = Field(description="As --model-version says, else the first digits of sha256.")
    sha256: str = Field(description="Of the exported file, or of weights.safetensors in the run folder.")
    method: str = Field(description="How landmarks are found.")
    trigpoint: str = Field(description="Version of trigpoint that has predicted.")


class Found(BaseModel):
    """One landmark in one image; null: it was not found."""

    name: str
    x: float | None = Field(description="Pixels of the upright image; the centre of the first one is 0.")
    y: float | None = Field(description="As x, downwards.")
    score: float | None = Field(description="How sure the model is; of some methods it may exceed 1.")
    radius: float | None = Field(
        description=f"Pixels that the error stays below in {COVERAGE:.0%} of new subjects; null: not known."
    )
    spread: float | None = Field(None, description="How far several attempts end from one another, pixels.")


class Measured(BaseModel):
    """A measurement of one image; null: not known."""

    name: str
    value: float | None
    unit: str = Field(description="deg, ratio, mm where the file states its pixel size, else px.")
    low: float | None = Field(description=f"Low end of the interval that holds the true value in {COVERAGE:.0%}.")
    high: float | None = Field(description="High end of it.")


class ImageAnswer(BaseModel):
    """What was found in one image."""

    image: str = Field(description="Name of the file that was sent, else its number.")
    width: int
    height: int
    spacing_mm: tuple[float, float] | None = Field(description="Millimetres per pixel (x, y), where the file says so.")
    spacing_source: str = Field(description="Where that stands in the file.")
    instances: list[list[Found]] = Field(
        description="One list of landmarks; of multi-instance models as many as there are, the most certain first."
    )
    flag: Literal["unlike", "doubtful"] | None = Field(
        description="Why a person should look at it: unlike the images that the model was validated on, so that radii "
        "and intervals do not hold; or as hard as the hardest tenth of them. null: neither, or it cannot be told."
    )
    unlike: list[str] | None = Field(
        description="In what it is unlike the images that the model was validated on; null: the model cannot tell "
        "that, and has no flags."
    )
    measurements: list[Measured] | None = Field(
        description="Those that the model makes; null: none, as its dataset names none, or it is multi-instance."
    )


class Answer(BaseModel):
    """What was found in all images, in the order in which they were sent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": _MODEL, "images": [_IMAGE]}]})

    model: Model
    images: list[ImageAnswer]


class Problem(BaseModel):
    """Why there is no result."""

    error: str = Field(description="What was expected, what came, and the fix.")


class About(Model):
    """The model, and what it finds."""

    landmarks: list[str]
    untaught: list[str] = Field(description="Landmarks that no training image annotated: never found.")
    cannot_tell: str | None = Field(description="What the model cannot tell of its own errors, and why.")
    multi_instance: bool
    threshold: float | None = Field(description="Of multi-instance models: the score that instances exceed.")
    limits: dict[str, float] = Field(description="Bytes of a request, pixels of an image, seconds, images that wait.")


class State(BaseModel):
    """Whether the service works."""

    status: str


def identity(source: str | Path, predictor: ImagePredictor, version: str | None) -> Model:
    """Which model is served: ``source`` is its folder or file."""
    path = Path(source)
    file = path if is_model_file(path) else path / "weights.safetensors"
    with open_file(file) as stream:
        sha = hashlib.file_digest(stream, "sha256").hexdigest()
    name = path.resolve().stem if is_model_file(path) else path.resolve().name
    return Model(
        name=name, version=version or sha[:_SHOWN], sha256=sha, method=predictor.method_name, trigpoint=__version__
    )


def image_answer(name: str, image: ImageData, found: ImageDetections, predictor: ImagePredictor) -> ImageAnswer:
    """One image's answer; pixels are rounded to thousandths, as in tables."""
    whole = predictor.joined([found])
    radius = whole.radius[0]
    flag, unlike = ("", None) if predictor.trust is None else predictor.trust.alone(found)
    made = measured(whole, predictor.widths, image.spacing_mm) if predictor.measures else None
    spread = found.numbers.get("spread")
    names = predictor.landmarks.names

    def one(m: int, k: int) -> Found:
        x, y = found.points[m, k]
        score = _number(found.scores[m, k], 5)
        return Found(
            name=names[k],
            x=_number(x),
            y=_number(y),
            score=score,
            radius=None if score is None else _number(radius[k]),
            spread=None if spread is None else _number(spread[m, k]),
        )

    return ImageAnswer(
        image=name,
        width=image.width,
        height=image.height,
        spacing_mm=image.spacing_mm,
        spacing_source=image.spacing_source,
        instances=[[one(m, k) for k in range(len(names))] for m in range(len(found))],
        flag=cast(Any, flag or None),
        unlike=unlike,
        measurements=None if made is None else [_measured(each) for each in made],
    )


def _measured(made: Made) -> Measured:
    value, low, high = (_number(number, 4) for number in (made.value, made.low, made.high))
    return Measured(name=made.name, value=value, unit=made.unit, low=low, high=high)


def _number(value: FloatArray | Any, digits: int = 3) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
