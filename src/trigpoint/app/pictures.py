"""What the page shows of an image: tiles of its stored values, windows to show them by, thumbnails and details."""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw

from trigpoint.data.files import open_file, reachable
from trigpoint.data.pixels import dicom
from trigpoint.data.pixels.images import MAX_PIXELS, ImageData, image_size, read_image
from trigpoint.data.pixels.kinds import HEAD, kind_of
from trigpoint.data.tiled import TiledImage, is_tiled, open_tiled
from trigpoint.geometry import to_corner

TILE = 512
OVERLAP = 1  # pixels of the neighbours that a tile shows, so that no seam is drawn between two
_HELD = 512 << 20  # bytes of decoded images that are kept
_DIRECT = 4  # times that a tile is reduced when it is read; coarser levels are kept as a whole
_STRIP = 16 << 20  # pixels that are read at a time to reduce them
_SMALLEST = 0.02  # of the values that a stored window shows at least
Array = npt.NDArray[Any]


class Window(NamedTuple):
    """Values that are shown as black and white, under a name."""

    name: str
    low: float
    high: float


class Picture:
    """One image by levels: level ``top`` is the image, each one below has half its size, ``top - k`` a stride of 2**k.

    Stored are 8 or 16 bit; a value is ``offset + step * stored``.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.tiled: TiledImage | None = None
        self._levels: dict[int, Array] = {}  # by stride
        if _is_large(file):
            self.tiled = open_tiled(file)
            self.height, self.width = self.tiled.size
            self.channels, self.dtype = self.tiled.channels, self.tiled.dtype
            self.offset, self.step = 0.0, 1.0
            windows: list[Window] = []
        else:
            image = read_image(file)
            stored, self.offset, self.step = _stored(image.pixels)
            self._levels[1] = stored
            self.channels, self.height, self.width = stored.shape
            self.dtype = stored.dtype
            windows = _stated_windows(file, image)
        self.top = max(0, math.ceil(math.log2(max(self.height, self.width) / TILE)))
        self.windows = self._windows(windows)

    def about(self) -> dict[str, Any]:
        """What the page has to know to draw it."""
        return {
            "width": self.width, "height": self.height, "channels": self.channels, "bits": self.dtype.itemsize * 8,
            "top": self.top, "tile": TILE, "overlap": OVERLAP, "offset": self.offset, "step": self.step,
            "windows": [window._asdict() for window in self.windows],
        }  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return sum(level.nbytes for level in self._levels.values())

    def close(self) -> None:
        """Give the file back."""
        if self.tiled is not None:
            self.tiled.close()

    def tile(self, level: int, column: int, row: int) -> Array | None:
        """A tile (h, w, C) with its overlap; None where there is none."""
        if not 0 <= level <= self.top or min(column, row) < 0:
            return None
        stride = 2 ** (self.top - level)
        height, width = -(-self.height // stride), -(-self.width // stride)
        if column * TILE >= width or row * TILE >= height:
            return None
        x0, y0 = max(column * TILE - OVERLAP, 0), max(row * TILE - OVERLAP, 0)
        x1, y1 = min((column + 1) * TILE + OVERLAP, width), min((row + 1) * TILE + OVERLAP, height)
        return np.ascontiguousarray(np.moveaxis(self._region(stride, y0, x0, y1, x1), 0, -1))

    def _region(self, stride: int, y0: int, x0: int, y1: int, x1: int) -> Array:
        """Cells (C, h, w) of a level; each is the mean of the pixels that it covers."""
        if self.tiled is not None:
            index, factor = self._nearest(stride)
            if factor <= _DIRECT:
                return _reduced(self.tiled.read(index, *(n * factor for n in (y0, x0, y1 - y0, x1 - x0))), factor)
        return self._whole(stride)[:, y0:y1, x0:x1]

    def _nearest(self, stride: int) -> tuple[int, int]:
        """The coarsest stored level that a stride can be made of, and how many of its cells make one."""
        levels = self.tiled.levels if self.tiled is not None else ()
        fits = [(i, stride / level.stride) for i, level in enumerate(levels)]
        index, factor = max((i, f) for i, f in fits if f >= 1 and f.is_integer())
        return index, int(factor)

    def _whole(self, stride: int) -> Array:
        with self.lock:
            return self._made(stride)

    def _made(self, stride: int) -> Array:
        if stride not in self._levels:
            finer = stride // 2
            if self.tiled is not None and (finer not in self._levels and self._nearest(finer)[1] <= _DIRECT):
                self._levels[stride] = self._strips(stride)
            else:
                self._levels[stride] = _reduced(self._made(finer), 2)
        return self._levels[stride]

    def _strips(self, stride: int) -> Array:
        assert self.tiled is not None
        index, factor = self._nearest(stride)
        height, width = self.tiled.levels[index].size
        step = max(1, _STRIP // (width * factor)) * factor
        tops = range(0, height, step)
        parts = [_reduced(self.tiled.read(index, top, 0, min(step, height - top), width), factor) for top in tops]
        return np.concatenate(parts, axis=1)

    def small(self, least: int = 256) -> tuple[Array, int]:
        """The coarsest level whose longer side has ``least`` pixels, (C, h, w), and its stride."""
        longer = max(self.height, self.width)
        stride = 2 ** max(0, math.floor(math.log2(longer / least))) if longer > least else 1
        stride = min(stride, 2**self.top) if self.top else stride
        height, width = -(-self.height // stride), -(-self.width // stride)
        if self.tiled is None and stride > 2**self.top:
            return _reduced(self._levels[1], stride), stride
        return self._region(stride, 0, 0, height, width), stride

    def _windows(self, stated: Sequence[Window]) -> list[Window]:
        """The windows that are offered, the first is the one to begin with."""
        values = self.offset + self.step * self.small()[0].astype(np.float64)
        low, high = float(values.min()), float(values.max())
        full = Window("8 bit", 0.0, 255.0) if self.dtype == np.uint8 and self.step == 1 else Window("all", low, high)
        a, b = (float(end) for end in np.percentile(values, [0.5, 99.5]))
        auto = Window("auto", a, b) if b > a else Window("auto", low, high if high > low else low + 1)
        seen = [w for w in stated if min(high, w.high) - max(low, w.low) > _SMALLEST * (w.high - w.low)]
        if not full.high > full.low:
            full = Window("all", low, low + 1)
        return [full, auto] if self.dtype == np.uint8 and self.step == 1 else [*seen, auto, full]

    # -- small pictures ----------------------------------------------------------------------------------------------

    def shown(self, values: Array) -> PIL.Image.Image:
        """Stored values (C, h, w) by the first window, 8 bits."""
        _, low, high = self.windows[0]
        real = (self.offset + self.step * values.astype(np.float32) - low) / max(high - low, 1e-12)
        eight = np.round(255 * np.clip(real, 0, 1)).astype(np.uint8)
        return PIL.Image.fromarray(eight[0] if len(eight) == 1 else np.moveaxis(eight, 0, -1))

    def thumbnail(self, points: Sequence[tuple[float, float]] = (), side: int = 240) -> bytes:
        """A JPEG of the whole image with its points as dots."""
        values, _ = self.small(side)
        picture = self.shown(values).convert("RGB")
        picture.thumbnail((side, side))
        scale = picture.width / self.width, picture.height / self.height
        draw = PIL.ImageDraw.Draw(picture)
        for point in points:
            # the corner of the first pixel is drawn at (0, 0)
            x, y = (float(to_drawn(value, factor)) for value, factor in zip(point, scale, strict=True))
            draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=(0, 0, 0))
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(64, 224, 208))
        return _jpeg(picture)

    def detail(self, x: float, y: float, half: float, side: int = 240) -> bytes:
        """A JPEG of the square around a point, ``half`` pixels to each side."""
        stride = 2 ** min(self.top, max(0, math.floor(math.log2(max(2 * half / side, 1)))))
        height, width = -(-self.height // stride), -(-self.width // stride)
        x0, y0 = math.floor((x - half) / stride), math.floor((y - half) / stride)
        n = max(1, math.ceil(2 * half / stride))
        a, b, c, d = max(y0, 0), max(x0, 0), min(y0 + n, height), min(x0 + n, width)
        canvas = PIL.Image.new("RGB", (n, n), (24, 26, 30))
        if a < c and b < d:
            canvas.paste(self.shown(self._region(stride, a, b, c, d)).convert("RGB"), (b - x0, a - y0))
        return _jpeg(canvas.resize((side, side), PIL.Image.Resampling.BILINEAR))


class Pictures:
    """Opened images; those used longest ago are closed when they fill the memory they may have."""

    def __init__(self, held: int = _HELD) -> None:
        self.held = held
        self._lock = threading.Lock()
        self._locks: dict[Path, threading.Lock] = {}
        self._kept: OrderedDict[Path, Picture] = OrderedDict()

    def get(self, file: Path) -> Picture:
        """An image, decoded when it is first asked for. Raises DataError for one that cannot be read."""
        with self._lock:
            own = self._locks.setdefault(file, threading.Lock())
        with own:  # decoded once, however many tiles are asked for
            with self._lock:
                if file in self._kept:
                    self._kept.move_to_end(file)
                    return self._kept[file]
            picture = Picture(file)
            with self._lock:
                self._kept[file] = picture
                while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self.held:
                    self._kept.popitem(last=False)
            return picture


def to_drawn(value: float, scale: float) -> Array:
    """Where a coordinate is drawn in a picture that is ``scale`` times as large and has its corner at (0, 0).

    >>> float(to_drawn(1.5, 0.5))
    1.0
    """
    return np.asarray(to_corner(np.asarray(value))) * scale


def size_of(file: Path) -> tuple[int, int]:
    """(height, width) from the header. Raises DataError for what is no image, or one of several frames."""
    if file.is_dir():
        with open_tiled(file) as tiled:
            return tiled.size
    return image_size(file)


def _is_large(file: Path) -> bool:
    """Whether an image is read by tiles: a zarr, or a tiled TIFF that is large."""
    return is_tiled(file) and (file.is_dir() or math.prod(image_size(file)) > min(MAX_PIXELS, 30_000_000))


def _stored(pixels: Array) -> tuple[Array, float, float]:
    """Values (C, H, W) of 8 or 16 bits, with offset and step; whole numbers of a small range stay what they are.

    >>> stored, offset, step = _stored(np.array([[[-1000.0, 3000.0]]]))
    >>> stored.tolist(), offset, step
    ([[[0, 4000]]], -1000.0, 1.0)
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels, 0.0, 1.0
    low, high = float(pixels.min()), float(pixels.max())
    whole = high - low <= 65535 and bool((pixels == np.round(pixels)).all())
    step = 1.0 if whole else max((high - low) / 65535, 1e-12)
    return np.round((pixels.astype(np.float64) - low) / step).astype(np.uint16), low, step


def _reduced(values: Array, factor: int) -> Array:
    """Means of blocks of ``factor`` x ``factor`` cells; those at the lower and right edge may be smaller."""
    if factor == 1:
        return values
    channels, height, width = values.shape
    pad = (-height) % factor, (-width) % factor
    full = np.pad(values, ((0, 0), (0, pad[0]), (0, pad[1])), mode="edge") if any(pad) else values
    blocks = full.reshape(channels, full.shape[1] // factor, factor, full.shape[2] // factor, factor)
    means = blocks.astype(np.float32).mean(axis=(2, 4))
    out: Array = np.rint(means).astype(values.dtype)
    return out


def _stated_windows(file: Path, image: ImageData) -> list[Window]:
    """The windows that a DICOM file states."""
    if not file.is_file():
        return []
    with open_file(file) as stream, reachable(file):
        if kind_of(stream.read(HEAD)) != "dicom":
            return []
    low, high = image.value_range
    inverted = dicom.read_header(file).inverted
    windows = []
    for name, a, b in dicom.read_windows(file):
        windows.append(Window(name, low + high - b, low + high - a) if inverted else Window(name, a, b))
    return windows


def _jpeg(picture: PIL.Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()
