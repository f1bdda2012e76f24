"""Frames one after another, of a folder of images, of a file of several (TIFF, DICOM, GIF) or of a video.

Videos need the extra ``video`` (PyAV). What a video gives before it breaks off is given before the error is raised, so
the caller keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import check_path, refuse_existing
from trigpoint.data.pixels.folders import images_below
from trigpoint.data.pixels.frame_names import frame_name
from trigpoint.data.pixels.images import (
    MAX_PIXELS,
    NAMES,
    ImageData,
    check_size,
    frame_count,
    is_image,
    read_frames,
    read_image,
)
from trigpoint.data.pixels.timing import repeat_note, timing_notes
from trigpoint.errors import ConfigError, DataError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,gif,apng,h264,hevc,m4v,dv,ivf,rawvideo,nut,wav"
)
_EARLY = 0.75  # frames' time by which a video may end before its header says: one frame less is noticed
_GAP = 1.5  # frames' time between two frames above which one is missing between them


@dataclass(frozen=True)
class Frame:
    """``index`` counts all frames of the source from 0, also those passed over; ``image`` is what ``read_image`` gives.

    ``name`` is the image's name below its folder, or for a video the name that a picture of the frame would have.
    ``time_s``: seconds from the first frame, as the file says itself; None where it does not.
    """

    index: int
    name: str
    image: ImageData
    time_s: float | None = None


class Frames:
    """Every ``every``-th frame of ``source``: the images of a folder and its subfolders in natural order (2 before 10),
    one image, a file of several frames (pages of a TIFF, DICOM, GIF, WebP) or a video.

    Folders ``besides`` are not entered.

    Each iteration begins anew. ``count`` is the number of frames that it gives, None where a video does not say; of a
    video it is what its header promises. ``rate`` is the frames per second of a video, after leaving out, else None. A
    video is turned upright as its header says; more than 8 bits are kept. ``of_files``: each frame is a file of its
    own. ``notes``: what the last iteration has met that is worth telling, such as frames that the video lacks.

    Raises ConfigError when ``every`` is below 1 or PyAV is missing, DataError when there is nothing to read. Iterating
    raises DataError naming file and frame where an image or the video is damaged or a video ends before its time, after
    the frames before it. Transport and program streams do not say how long they are: one that was cut just ends.
    """

    def __init__(self, source: str | Path, every: int = 1, besides: Sequence[Path | None] = ()) -> None:
        if every < 1:
            raise ConfigError(f"every: expected 1 or more, got {every}")
        self.source = Path(source)
        self.every = every
        self.count: int | None
        self.rate: Fraction | None = None
        self.notes: list[str] = []
        self._images = _images(self.source, besides)
        stored = len(self._images or ())
        if stored == 1 and not self.source.is_dir():
            stored = frame_count(self.source)
        self.of_files = self._images is not None and stored == len(self._images)
        if self._images is not None:
            self.count = -(-stored // every)
            return
        with _opened(self.source) as container:
            stream = _stream(self.source, container)
            total = stream.frames or round(_seconds(container, stream) * (stream.average_rate or 0))
            self.count = -(-total // every) or None
            self.rate = None if stream.average_rate is None else stream.average_rate / every

    @property
    def names(self) -> list[str] | None:
        """The names of all frames that are image files, below their folder; None of a video or a stack of frames."""
        root = self.source if self.source.is_dir() else self.source.parent
        if self._images is None or not self.of_files:
            return None
        return [file.relative_to(root).as_posix() for file in self._images]

    def __iter__(self) -> Iterator[Frame]:
        self.notes = []
        if self._images is not None and self.of_files:
            names = self.names or []
            for index in range(0, len(self._images), self.every):
                yield Frame(index, names[index], read_image(self._images[index]))
        elif self._images is not None:
            for index, (image, time_s) in enumerate(read_frames(self.source)):
                if index % self.every == 0:
                    yield Frame(index, self._name(index), image, time_s)
        else:
            yield from self._of_video()

    def _of_video(self) -> Iterator[Frame]:
        times: list[float | None] = []
        repeated: list[int] = []
        before: npt.NDArray[Any] | None = None
        with _opened(self.source) as container:
            stream = _stream(self.source, container)
            try:
                for index, frame in enumerate(_decoded(self.source, container)):
                    check_size(self.source, frame.height, frame.width)
                    times.append(_seconds_of(frame, stream))
                    if index % self.every:
                        continue
                    image = _image(frame)
                    if self.every == 1:
                        if before is not None and np.array_equal(before, image.pixels):
                            repeated.append(index)
                        before = image.pixels
                    first, now = times[0], times[-1]
                    yield Frame(index, self._name(index), image, None if now is None else now - (first or 0.0))
            finally:
                self.notes = timing_notes(times, float(stream.time_base or 0)) + repeat_note(repeated, len(times))

    def _name(self, index: int) -> str:
        return frame_name(self.source.stem, index)


def _image(frame: VideoFrame) -> ImageData:
    """The pixels of a frame, upright: 8 bits a colour, or 16 of what has more; of deep grey the values as they are."""
    parts = frame.format.components
    bits = max((part.bits for part in parts), default=8)
    values: npt.NDArray[Any]
    if bits <= 8 or bits > 16:
        values, white = frame.to_ndarray(format="rgb24"), 255
    elif len(parts) == 1:
        values = np.right_shift(frame.to_ndarray(format="gray16le").astype(np.uint16)[..., None], 16 - bits)
        white = 2**bits - 1
    else:
        values, white = frame.to_ndarray(format="rgb48le"), 65535
    upright = np.rot90(values, round(frame.rotation / 90)).transpose(2, 0, 1)
    return ImageData(np.ascontiguousarray(upright), value_range=(0.0, float(white)))


def _images(source: Path, besides: Sequence[Path | None]) -> list[Path] | None:
    """The images below a folder, or one; None when the source is taken for a video."""
    check_path(source)
    if source.is_dir():
        found = images_below(source, besides)
        if not found.files:
            got = "videos; give one of them" if found.videos else "none; check the path"
            raise DataError(f"{source}: expected a folder of images ({NAMES}), got {got}")
        return found.files
    if not source.is_file():
        raise DataError(f"{source}: expected a folder of images or a video, got nothing there; check the path")
    return [source] if is_image(source) else None


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise ConfigError('videos need a package that is not installed; pip install "trigpoint[video]"') from None
    return av


def _opened(file: Path) -> InputContainer:
    av = _pyav()
    try:
        options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}  # no list of other files or addresses
        container: InputContainer = av.open(  # titles may be in an old coding
            str(file), metadata_errors="replace", container_options=options
        )
    except av.FFmpegError as error:
        got = f"something else or a part of one ({_why(error)})"
        fix = "copy it again; an MP4 that broke off while it was recorded has to be repaired first"
        raise DataError(f"{file}: expected a video, got {got}; {fix}") from None
    return container


def _stream(file: Path, container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise DataError(f"{file}: expected a video, got a file without pictures")
    stream = container.streams.video[0]
    if stream.codec_context is None or not stream.width or not stream.height:
        raise DataError(f"{file}: expected a video, got pictures of a kind that is not known")
    check_size(file, stream.height, stream.width)
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # a video may change its size
    return stream


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    """How long the pictures last as the header says; 0 when it does not, or only for picture and sound together."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # its duration is guessed from the size of the file
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1_000_000
    return 0.0


class _BrokenError(Exception):
    """Why the frames end before the video does."""


def _decoded(file: Path, container: InputContainer) -> Iterator[VideoFrame]:
    """All frames; raises DataError after the last sound one when the file does not hold what its header says."""
    stream = _stream(file, container)
    given = 0
    try:
        for frame in _sound_frames(container, stream):
            if frame.is_corrupt:  # the decoder has filled in what it could not read
                raise _BrokenError("the data of this frame are damaged")
            yield frame
            given += 1
        if not given:
            raise _BrokenError("no pictures in it")
    except _BrokenError as error:
        got = f"a damaged or cut video ({error})"
        fix = "copy the file again, or go on with the frames before it"
        raise DataError(f"{file}: frame {given}: expected a frame, got {got}; {fix}") from None


def _sound_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in order without a gap; raises _BrokenError after the last of them."""
    av = _pyav()
    begin = end = 0.0  # seconds; some headers count from 0, also where the first frame comes later
    last: float | None = None
    reason = ""
    try:
        for packet in container.demux(stream):
            if not packet.size and packet.dts is None:  # the end of the file
                missing = _seconds(container, stream) - (end - begin)
                if missing * (stream.average_rate or 0) > _EARLY:
                    reason = f"it ends {missing:.2f} s before its header says"
                break
            if packet.is_corrupt:
                reason = "the file ends within a frame"
                break
            if packet.pts is not None and packet.time_base is not None:
                begin = min(begin, float(packet.pts * packet.time_base))
                shown = packet.duration * packet.time_base if packet.duration else 1 / (stream.average_rate or np.inf)
                end = max(end, float(packet.pts * packet.time_base + shown))
            for frame in packet.decode():
                last = _seconds_of(frame, stream)
                yield frame
    except av.FFmpegError as error:
        reason = _why(error)
    try:  # the decoder keeps frames back until it knows their order
        held = stream.codec_context.decode(None)
    except av.FFmpegError as error:
        held, reason = [], reason or _why(error)
    for frame in held:
        now = _seconds_of(frame, stream)
        if reason and now is not None and last is not None and (now - last) * (stream.average_rate or 0) > _GAP:
            break  # a frame between was lost, so this one's number is unknown
        last = now
        yield frame
    if reason:
        raise _BrokenError(reason)


def _seconds_of(frame: VideoFrame, stream: VideoStream) -> float | None:
    return None if frame.pts is None or stream.time_base is None else float(frame.pts * stream.time_base)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


class VideoWriter(AbstractContextManager["VideoWriter", None]):
    """An MP4 (or what the suffix of ``target`` says) written frame by frame; needs the extra ``video``.

    The file appears whole when the ``with`` block ends, and not at all when it ends by an error or without a frame.
    Frames of an odd side get one more column or row, a copy of their last, since H.264 stores even sides.

    Raises ConfigError without PyAV or for a ``rate`` not above 0, DataError when ``target`` exists and ``overwrite`` is
    False or its suffix is of no video.
    """

    def __init__(self, target: str | Path, rate: Fraction | float, *, overwrite: bool = False) -> None:
        self._av = _pyav()
        if not rate > 0:
            raise ConfigError(f"rate: expected frames per second above 0, got {rate}")
        self.target = Path(target)
        self.rate = Fraction(rate).limit_denominator(1001)
        refuse_existing(self.target, overwrite)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._part = self.target.with_name(f".{self.target.stem}.part{self.target.suffix}")
        self._stream: Any = None
        self._size = (0, 0)
        self.frames = 0  # that were added
        try:
            self._container: Any = self._av.open(str(self._part), "w")
        except ValueError as error:
            self._part.unlink(missing_ok=True)
            message = f"expected the name of a video, such as overlay.mp4 ({_why(error)}); change its suffix"
            raise DataError(f"{self.target}: {message}") from None

    def add(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Append a frame (H, W, 3) uint8 RGB. Raises DataError for another shape than that of the first."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise DataError(f"{self.target}: expected a frame (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}")
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"  # some builds leave out GPL parts
            self._size = height, width
            self._stream = self._container.add_stream(codec, rate=self.rate)
            self._stream.height, self._stream.width, self._stream.pix_fmt = *even.shape[:2], "yuv420p"
        if (height, width) != self._size:
            expected = f"expected frames of one size, {self._size[1]} x {self._size[0]}"
            raise DataError(f"{self.target}: {expected}, got {width} x {height}")
        with self._naming():
            self._container.mux(self._stream.encode(self._av.VideoFrame.from_ndarray(even, format="rgb24")))
        self.frames += 1

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """What the system refuses, such as on a full disk, names the video and not its temporary file."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.target)) from None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            with self._naming() if error is None else suppress(OSError):  # what came first is told
                if error is None and self._stream is not None:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
            if error is None and self._stream is not None:
                self._part.replace(self.target)
        finally:
            self._part.unlink(missing_ok=True)
        if error is None and self._stream is None:
            raise DataError(f"{self.target}: expected at least one frame, got none; nothing was written")
