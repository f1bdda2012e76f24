"""Times of a video's frames come from its container; gaps, repeats and uneven rates are told; deep pixels are kept."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import read_image
from trigpoint.data.pixels.timing import timing_notes

EVEN = [40 * k for k in range(24)]  # milliseconds


def write(path: Path, times: Sequence[int], codec: str = "mpeg4", still: int = 0) -> Path:
    """A video whose frames are shown at these milliseconds; from frame ``still`` on, where it is set, nothing moves."""
    av: Any = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p" if codec != "ffv1" else "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, time in enumerate(times):
            grey = 6 * (k if not still or k < still else still - 1)
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def told(file: Path, every: int = 1) -> tuple[list[float | None], str]:
    frames = Frames(file, every)
    times = [frame.time_s for frame in frames]
    return times, "; ".join(frames.notes)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_an_even_video_has_nothing_to_tell(tmp_path: Path, name: str) -> None:
    assert told(write(tmp_path / name, EVEN)) == (pytest.approx([t / 1000 for t in EVEN]), "")
    times, notes = told(write(tmp_path / name, [777 + t for t in EVEN]), every=5)
    assert (times, notes) == (pytest.approx([0, 0.2, 0.4, 0.6, 0.8]), "")
    thirds = [round(k * 1000 / 30) for k in range(40)]  # 33 and 34 ms, as a container of milliseconds has to
    assert told(write(tmp_path / name, thirds))[1] == ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_dropped_frames_are_told_and_timed(tmp_path: Path, name: str) -> None:
    kept = [t for k, t in enumerate(EVEN) if k not in (7, 8, 15)]
    times, notes = told(write(tmp_path / name, kept))
    assert times == pytest.approx([t / 1000 for t in kept])  # not index / rate
    assert notes == "2 gaps between frames, about 3 frames are missing; the longest is 0.12 s after frame 6"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_an_uneven_rate_is_told(tmp_path: Path, name: str) -> None:
    uneven = np.cumsum([0, *[(20, 40, 70)[k % 3] for k in range(23)]]).tolist()
    times, notes = told(write(tmp_path / name, uneven))
    assert times == pytest.approx([t / 1000 for t in uneven])
    assert notes == "the frame rate varies: 0.020 to 0.070 s from frame to frame, usually 0.040 s"


def test_repeated_frames_are_told(tmp_path: Path) -> None:
    times, notes = told(write(tmp_path / "a.mkv", EVEN, codec="ffv1", still=20))
    assert len(times) == 24
    assert notes.startswith("4 of 24 frames repeat the frame before, the first is frame 20: they were recorded twice")


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (
            [0.0, 0.04, 0.04, 0.08, 0.12],
            "1 of 5 frames has a time that is not after that of the frame before, the first is frame 2",
        ),
        ([0.0, 0.04, 0.02, 0.08, 0.12], "1 of 5 frames has a time that is not after"),
        ([0.0, None, 0.08, 0.12, 0.16], "1 of 5 frames has no time"),
        ([None] * 5, "5 of 5 frames have no time"),
        ([0.0] * 5, "4 of 5 frames have a time that is not after"),
        ([0.0, 0.04, 0.08, 10.0, 10.04, 10.08, 10.12], "about 247 frames are missing; the longest is 9.92 s"),
        ([], ""),
        ([3.0], ""),
    ],
)
def test_broken_times_are_told(times: list[float | None], words: str) -> None:
    assert words in "; ".join(timing_notes(times))


@pytest.mark.parametrize(("form", "bits"), [("gray10le", 10), ("gray12le", 12), ("gray16le", 16), ("gbrp10le", 10)])
def test_a_deep_video_keeps_its_values(tmp_path: Path, form: str, bits: int) -> None:
    av: Any = pytest.importorskip("av")
    if "ffv1" not in av.codecs_available:
        pytest.skip("this build of PyAV has no ffv1")
    values = np.random.default_rng(0).integers(0, 2**bits, (48, 64), dtype=np.uint16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        frame = av.VideoFrame(64, 48, form)
        for plane in frame.planes:
            rows = np.zeros((48, plane.line_size // 2), np.uint16)
            rows[:, :64] = values
            plane.update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (found,) = Frames(tmp_path / "a.mkv")
    assert found.image.pixels.dtype == np.uint16
    if form.startswith("gray"):
        Image.fromarray(values).save(tmp_path / "a.png")
        np.testing.assert_array_equal(found.image.pixels, read_image(tmp_path / "a.png").pixels)
        assert found.image.value_range == (0.0, 2.0**bits - 1)
    else:
        np.testing.assert_allclose(found.image.pixels[0] / 65535, values / (2**bits - 1), atol=2e-3)
