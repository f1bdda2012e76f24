"""From a stored image and its points to what a network is fed, in one resampling.

A recipe's ``InputConfig`` says what the network sees, its ``AugmentConfig`` how training varies it; ``InputPipeline``
does both: fit, flip, scale, rotation and shift are one affine map, the elastic deformation is added to it, and the
image is sampled once; the points go through the same maps. Intensity changes come from torchvision.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import functional as tv

from trigpoint.errors import DataError
from trigpoint.geometry import Affine, Displacement, center, fit, inside, resample
from trigpoint.landmarks import FloatArray, IntArray, LandmarkSet
from trigpoint.recipe import AugmentConfig, InputConfig

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_FLAT = 1e-6  # relative spread below which an image counts as constant


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one sample in one epoch, the same whichever worker or process draws them."""
    return np.random.default_rng((seed, epoch, index))


def as_tensor(pixels: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """Pixels of any shape as a tensor, copied only when the array is read-only, mirrored or of foreign byte order.

    Raises DataError for anything but integers and floating point numbers.
    """
    if isinstance(pixels, torch.Tensor):
        return pixels
    if pixels.dtype.kind not in "uif" or pixels.dtype.itemsize > 8:
        raise DataError(f"image: expected integers or floating point numbers, got {pixels.dtype}; convert the array")
    native = np.asarray(pixels, pixels.dtype.newbyteorder("="))
    shared = native.flags.writeable and min(native.strides, default=0) >= 0
    return torch.from_numpy(native if shared else native.copy(order="K"))


def flip_order(landmarks: LandmarkSet, augment: AugmentConfig) -> IntArray:
    """Order of the landmarks (K,) in a mirrored image. Raises DataError where it is not known, or said in two ways."""
    if augment.swap:
        return landmarks.flip_permutation()
    if landmarks.pairs:
        raise DataError(
            "data.augment.swap=false says that each landmark keeps its name in a mirrored image, but dataset.yaml "
            "names pairs; drop one of the two"
        )
    return np.arange(len(landmarks))


class InputPipeline:
    """Prepares one sample: image and points in, network input and input pixels out.

    Raises DataError when ``augment.flip`` is set and ``landmarks`` names no pairs, or names some that ``augment.swap``
    would ignore.

    >>> pipeline = InputPipeline(InputConfig(size=(64, 64)), LandmarkSet(("tip",)))
    >>> image, points, to_original = pipeline(np.zeros((1, 128, 128), np.uint8), np.array([[0.5, 127.5]]))
    >>> image.shape, points.tolist()
    (torch.Size([1, 64, 64]), [[0.0, 63.5]])
    """

    def __init__(self, config: InputConfig, landmarks: LandmarkSet, augment: AugmentConfig | None = None) -> None:
        self.config = config
        self.augment = augment or AugmentConfig()
        self.permutation = flip_order(landmarks, self.augment) if self.augment.flip > 0 else None

    def __call__(
        self,
        image: npt.NDArray[Any] | torch.Tensor,
        points: npt.NDArray[Any] | None = None,
        visibility: npt.NDArray[Any] | None = None,
        rng: np.random.Generator | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """With ``rng`` (see ``sample_rng``) as in training; without it nothing is random and no point is dropped.

        ``image`` (C, H, W), an array or a tensor of 1 or 3 channels, of any integer or floating point type; ``points``
        (..., K, 2) in its pixels, ``visibility`` (..., K), where 0 makes a point missing; ``value_range`` what black
        and white are (``ImageData.value_range``; otherwise 0 and the largest number of an integer type, 0 and 1 of a
        floating point type). Returns the image (channels, h, w) float32, the points (..., K, 2) float32 in input pixels
        with NaN for missing, and the float64 (2, 3) affine matrix from input to image pixels. An elastic deformation
        moves the points, but no matrix can hold it.
        """
        image = as_tensor(image)
        if image.dim() != 3 or image.shape[0] not in (1, 3):
            raise DataError(f"expected an image of shape (1 or 3, height, width), got {tuple(image.shape)}")
        size = self.config.size
        to_input = fit((int(image.shape[1]), int(image.shape[2])), size, self.config.fit, self.config.region)
        moved = _known(np.zeros((0, 2)) if points is None else points, visibility)
        displacement = None
        if rng is not None:
            change, flipped = self._draw_affine(rng)
            to_input = to_input.then(change)
            if flipped and self.permutation is not None and moved.size:
                moved = moved[..., self.permutation, :]
            if self.augment.elastic > 0:
                displacement = Displacement.random(size, self.augment.elastic, self.augment.elastic_spacing, rng)
        moved = to_input.apply(moved)
        if displacement is not None:
            moved = displacement.push(moved)
        if rng is not None and self.augment.drop_outside:
            moved[~inside(moved, size)] = np.nan
        values, shown = resample(image, to_input, size, displacement)
        values = to_channels(values, self.config.channels)
        white = 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)
        values = to_unit(values, value_range or (0.0, white))
        if rng is not None:
            values = vary_intensity(values, shown, self.augment, rng)
        values = self._normalize(values, shown)
        back = torch.from_numpy(to_input.inverse().matrix.copy())
        return values, torch.from_numpy(moved.astype(np.float32)), back

    def points(
        self, image_size: tuple[int, int], points: npt.NDArray[Any], visibility: npt.NDArray[Any] | None = None
    ) -> torch.Tensor:
        """The points alone of an image of ``image_size`` (H, W), as they are without ``rng``."""
        to_input = fit(image_size, self.config.size, self.config.fit, self.config.region)
        moved = to_input.apply(_known(points, visibility))
        return torch.from_numpy(moved.astype(np.float32))

    def _draw_affine(self, rng: np.random.Generator) -> tuple[Affine, bool]:
        """A random change of the input in input pixels, and whether it mirrors."""
        a, size = self.augment, self.config.size
        about = center(size)
        # drawn in this order whatever is switched on, so that one option does not alter the others' numbers
        flipped = bool(rng.random() < a.flip)
        factor = float(np.exp(rng.uniform(np.log(a.scale[0]), np.log(a.scale[1]))))
        degrees = rng.uniform(-a.rotation, a.rotation)
        dx, dy = rng.uniform(-a.shift, a.shift, 2) * (size[1], size[0])
        change = Affine.rotation(about, degrees, factor).then(Affine.shift(dx, dy))
        return Affine.flip(size[1]).then(change) if flipped else change, flipped

    def _normalize(self, values: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Normalised ``values`` (C, H, W), 0 where the mask ``shown`` (H, W) says that there is no image."""
        if self.config.normalize == "image":
            # sums under the mask: picking out what is shown would take longer than all the rest
            weight = shown.to(values.dtype)
            count = max(float(weight.sum()) * len(values), 1.0)
            mean = float((values * weight).sum()) / count
            centred = (values - mean).mul_(weight)
            spread = math.sqrt(float(centred.square().sum()) / count)
            if spread <= _FLAT * (1 + abs(mean)):  # nothing but rounding is left to enlarge
                return torch.zeros_like(values)
            return centred.div_(spread)
        if self.config.normalize == "fixed":
            means, sds = (values.new_tensor(numbers)[:, None, None] for numbers in (self.config.mean, self.config.std))
            values = (values - means) / sds
        return values.masked_fill(~shown, 0.0)


def _known(points: npt.NDArray[Any], visibility: npt.NDArray[Any] | None) -> FloatArray:
    """A copy of the points with NaN for those that are missing."""
    known = np.array(points, dtype=np.float64)
    if visibility is not None:
        known[np.asarray(visibility) == 0] = np.nan
    return known


def to_unit(values: torch.Tensor, value_range: tuple[float, float]) -> torch.Tensor:
    """Values between black and white (``value_range``) as 0 to 1."""
    black, white = value_range
    return (values - black) / (white - black) if white > black else values - black  # of a constant image


def to_channels(values: torch.Tensor, channels: int) -> torch.Tensor:
    """Values (1 or 3, H, W) as (channels, H, W): grey by luma, colour by repetition."""
    if values.shape[0] == channels:
        return values
    if channels == 1:
        grey: torch.Tensor = torch.tensordot(values.new_tensor(_LUMA), values, dims=1)[None]
        return grey
    return values.expand(channels, -1, -1)


def vary_intensity(
    values: torch.Tensor, shown: torch.Tensor, config: AugmentConfig, rng: np.random.Generator
) -> torch.Tensor:
    """Random intensity changes of ``values`` (C, H, W), whose range over the mask ``shown`` (H, W) is kept as unit.

    Gamma, brightness and contrast clip to that range, as torchvision does; blur, noise and erasing do not.
    """
    c = config
    if not (c.gamma or c.brightness or c.contrast or c.blur or c.noise or c.erase):
        return values
    hidden = ~shown
    low = float(values.masked_fill(hidden, torch.inf).min())
    if low == math.inf:  # nothing of the image is shown
        return values
    span = max(float(values.masked_fill(hidden, -torch.inf).max()) - low, _FLAT)
    unit = (values - low).div_(span).clamp_(0, 1)
    if c.gamma:
        unit = tv.adjust_gamma(unit, float((1 + c.gamma) ** rng.uniform(-1, 1)))
    if c.brightness:
        unit = tv.adjust_brightness(unit, rng.uniform(1 - c.brightness, 1 + c.brightness))
    if c.contrast:
        unit = tv.adjust_contrast(unit, rng.uniform(1 - c.contrast, 1 + c.contrast))
    if c.blur:
        sd = max(rng.uniform(0, c.blur), 1e-3)
        kernel = 2 * min(int(np.ceil(3 * sd)), min(unit.shape[-2:]) - 1) + 1
        unit = tv.gaussian_blur(unit, [kernel, kernel], [sd, sd])
    if c.noise:
        noise = rng.standard_normal(unit.shape, dtype=np.float32) * np.float32(rng.uniform(0, c.noise))
        unit = unit + torch.from_numpy(noise).to(unit)
    if c.erase and rng.random() < c.erase:
        unit = _erase(unit, c.erase_area, rng)
    varied: torch.Tensor = unit * span + low
    return varied


def _erase(unit: torch.Tensor, area: tuple[float, float], rng: np.random.Generator) -> torch.Tensor:
    height, width = unit.shape[-2:]
    share, aspect = rng.uniform(*area), np.exp(rng.uniform(np.log(0.5), np.log(2.0)))
    h = min(max(round(np.sqrt(share * aspect) * height), 1), height)
    w = min(max(round(np.sqrt(share / aspect) * width), 1), width)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    erased: torch.Tensor = tv.erase(unit, top, left, h, w, unit.mean(dim=(1, 2), keepdim=True))
    return erased
