"""Frames of folders and videos: order, counts, what a broken video still gives, and videos that are written."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from dicom_files import dicom
from PIL import Image

from trigpoint.data.input.augment import InputConfig, InputPipeline
from trigpoint.data.pixels.folders import natural_key
from trigpoint.data.pixels.frames import Frame, Frames, VideoWriter
from trigpoint.data.pixels.images import read_image
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet

HEIGHT, WIDTH, COUNT = 48, 64, 24
LEVELS = [10 * k + 10 for k in range(COUNT)]  # the grey of each frame


def picture(level: int) -> np.ndarray:
    """A frame of one grey with noise, so that its data are not empty, and a bright top-left corner."""
    noise = np.random.default_rng(level).integers(-9, 10, (HEIGHT, WIDTH, 3))
    values = level + noise
    values[:16, :16] = 250
    return np.clip(values, 0, 255).astype(np.uint8)


def level(frame: Frame) -> float:
    return float(frame.image.pixels[:, 24:, 24:].mean())


def write(path: Path, codec: str = "libx264", **options: str) -> Path:
    av: Any = pytest.importorskip("av")
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for grey in LEVELS:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(grey), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def until_error(frames: Frames) -> tuple[list[Frame], str]:
    given = []
    with pytest.raises(DataError) as error:  # noqa: PT012 - what came before the error is the point
        for frame in frames:
            given.append(frame)  # noqa: PERF402
    return given, str(error.value)


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for k in (10, 9, 2, 1):
        Image.new("L", (5, 3), k).save(tmp_path / f"f{k}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "sub").mkdir()
    frames = Frames(tmp_path)
    assert (frames.count, frames.rate) == (4, None)
    found = list(frames)
    assert [(frame.index, frame.name) for frame in found] == [
        (0, "f1.png"),
        (1, "f2.png"),
        (2, "f9.png"),
        (3, "f10.png"),
    ]
    assert all(frame.image.pixels.shape == (1, 3, 5) for frame in found)
    assert [frame.image.pixels.max() for frame in found] == [1, 2, 9, 10]
    third = Frames(tmp_path, every=3)
    assert (third.count, [frame.index for frame in third]) == (2, [0, 3])
    assert len(list(third)) == 2  # each iteration begins anew


def test_one_image_is_a_folder_of_one(tmp_path: Path) -> None:
    Image.new("L", (5, 3), 7).save(tmp_path / "one.png")
    (frame,) = Frames(tmp_path / "one.png")
    assert (frame.index, frame.name) == (0, "one.png")
    assert (frame.image.pixels == 7).all()


@pytest.mark.parametrize("kind", ["png", "float.tif", "dcm"])
@pytest.mark.parametrize("normalize", ["image", "unit"])
def test_a_frame_is_the_same_input_as_a_still(tmp_path: Path, kind: str, normalize: Literal["image", "unit"]) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 30), dtype=np.uint16)
    file = tmp_path / f"a.{kind}"
    if kind == "dcm":
        dicom(file, values, BitsStored=12)
    else:
        Image.fromarray(values if kind == "png" else values.astype(np.float32)).save(file)
    (frame,) = Frames(tmp_path)
    still = read_image(file)
    pipeline = InputPipeline(InputConfig(size=(32, 32), normalize=normalize), LandmarkSet(("tip",)))
    first, second = (pipeline(image.pixels, value_range=image.value_range)[0] for image in (still, frame.image))
    assert torch.equal(first, second)
    assert first.std() > (0.01 if kind == "png" else 0.1)  # its white is 65535


def test_a_damaged_image_comes_after_those_before_it(tmp_path: Path) -> None:
    for k in range(3):
        Image.new("RGB", (5, 3)).save(tmp_path / f"{k}.png")
    (tmp_path / "2.png").write_bytes(b"\x89PNG")
    given, message = until_error(Frames(tmp_path))
    assert len(given) == 2
    assert "2.png" in message


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder of images .* got none"):
        Frames(tmp_path)
    with pytest.raises(DataError, match="nothing there"):
        Frames(tmp_path / "no.mp4")
    Image.new("L", (5, 3)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="every: expected 1 or more, got 0"):
        Frames(tmp_path, every=0)


def test_names_sort_by_their_numbers() -> None:
    names = ["b2", "a10", "a9.png", "a9_1.png", "10", "2", "a"]
    assert sorted(names, key=natural_key) == ["2", "10", "a", "a9.png", "a9_1.png", "a10", "b2"]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"anything")
    for use in (lambda: Frames(tmp_path / "a.mp4"), lambda: VideoWriter(tmp_path / "b.mp4", 25)):
        with pytest.raises(ConfigError, match=r'pip install "trigpoint\[video\]"'):
            use()


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mjpeg"), ("a.mkv", "libx264")])
def test_every_frame_of_a_video_in_order(tmp_path: Path, name: str, codec: str) -> None:
    file = write(tmp_path / name, codec)
    frames = Frames(file)
    assert (frames.count, frames.rate) == (COUNT, 25)
    found = list(frames)
    assert [frame.index for frame in found] == list(range(COUNT))
    np.testing.assert_allclose([level(frame) for frame in found], LEVELS, atol=5)
    assert found[3].name == "a_000003.png"
    assert found[0].image.pixels.shape == (3, HEIGHT, WIDTH)
    some = Frames(file, every=5)
    assert (some.count, some.rate) == (5, 5)
    assert [(frame.index, round(level(frame), -1)) for frame in some] == [(k, LEVELS[k]) for k in range(0, COUNT, 5)]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mjpeg"), ("a.mkv", "libx264")])
@pytest.mark.parametrize("whole", [5, 13, COUNT - 1])
@pytest.mark.parametrize("beyond", [0, 30])
def test_a_cut_video_gives_what_it_holds_and_names_the_frame(
    tmp_path: Path, name: str, codec: str, whole: int, beyond: int
) -> None:
    av: Any = pytest.importorskip("av")
    file = write(tmp_path / name, codec, **({"movflags": "faststart"} if name.endswith("mp4") else {}))
    with av.open(str(file)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        order = np.argsort([packet.pts for packet in packets]).tolist()
    file.write_bytes(file.read_bytes()[: packets[whole - 1].pos + packets[whole - 1].size + beyond])
    # frames are stored in another order than shown: what counts is up to the first that is lost
    expected = next(shown for shown, stored in enumerate(order) if stored >= whole)
    given, message = until_error(Frames(file))
    assert 0 <= expected - len(given) <= (1 if name.endswith("mkv") else 0)  # a block has a head before its data
    np.testing.assert_allclose([level(frame) for frame in given], LEVELS[: len(given)], atol=5)
    assert message.startswith(f"{file}: frame {len(given)}: expected a frame, got a damaged or cut video")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("sound", [False, True])
def test_uneven_times_and_a_late_start_are_no_damage(tmp_path: Path, name: str, sound: bool) -> None:
    av: Any = pytest.importorskip("av")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            voice = container.add_stream("pcm_s16le" if name == "a.mkv" else "aac", rate=8000, layout="mono")
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), format="s16", layout="mono")
            silence.sample_rate = 8000
            resampled = av.AudioResampler(voice.format, "mono", 8000, 1024).resample(silence)
            for block in resampled:
                container.mux(voice.encode(block))
            container.mux(voice.encode(None))
        for k, grey in enumerate(LEVELS):
            image = av.VideoFrame.from_ndarray(picture(grey), format="rgb24")
            image.pts, image.time_base = 777 + 90 * k + 25 * (k % 3), Fraction(1, 1000)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    assert len(list(Frames(tmp_path / name))) == COUNT


def test_a_file_that_is_no_video_or_has_no_index(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a\.mp4: expected a video, got something else or a part of one"):
        Frames(file)
    (tmp_path / "b.mp4").write_text("text")
    with pytest.raises(DataError, match=r"b\.mp4: expected a video"):
        Frames(tmp_path / "b.mp4")


def test_a_video_without_pictures(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DataError, match="got a file without pictures"):
        Frames(tmp_path / "a.wav")


def test_a_video_is_turned_upright(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4")
    data = bytearray(file.read_bytes())
    start = data.index(b"tkhd") + 44  # the matrix of the track header (ISO 14496-12), here 90 degrees clockwise
    turn = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30], dtype=">i4")
    data[start : start + 36] = turn.tobytes()
    file.write_bytes(data)
    first = next(iter(Frames(file)))
    assert first.image.pixels.shape == (3, WIDTH, HEIGHT)
    corners = first.image.pixels[:, :16, :16].mean(), first.image.pixels[:, :16, -16:].mean()
    assert corners[0] < 60 < 200 < corners[1]  # the bright corner went from the top left to the top right


def test_written_videos_read_back(tmp_path: Path) -> None:
    pytest.importorskip("av")
    file = tmp_path / "new" / "overlay.mp4"
    with VideoWriter(file, Fraction(30000, 1001)) as video:
        for grey in LEVELS:
            video.add(picture(grey)[:-1, :-1])  # odd sides
        assert not file.exists()
    assert [path.name for path in file.parent.iterdir()] == ["overlay.mp4"]
    frames = Frames(file)
    assert (frames.count, frames.rate) == (COUNT, Fraction(30000, 1001))
    found = list(frames)
    np.testing.assert_allclose([level(frame) for frame in found], LEVELS, atol=5)
    assert found[0].image.pixels.shape == (3, HEIGHT, WIDTH)
    with pytest.raises(DataError, match="expected a new file"):
        VideoWriter(file, 25)


def test_a_video_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("av")
    file = tmp_path / "a.mp4"
    file.write_text("mine")

    def stop() -> None:
        with VideoWriter(file, 25, overwrite=True) as video:
            video.add(picture(50))
            video.add(picture(50)[:32])

    with pytest.raises(DataError, match="expected frames of one size, 64 x 48, got 64 x 32"):
        stop()
    with pytest.raises(DataError, match="expected at least one frame"), VideoWriter(file, 25, overwrite=True):
        pass
    with pytest.raises(DataError, match=r"expected the name of a video, such as overlay\.mp4"):
        VideoWriter(tmp_path / "a.nonsense", 25)
    with pytest.raises(ConfigError, match="rate: expected frames per second above 0, got 0"):
        VideoWriter(tmp_path / "b.mp4", 0)
    with (
        pytest.raises(DataError, match=r"expected a frame \(H, W, 3\) of uint8, got \(4, 4\) of float64"),
        VideoWriter(tmp_path / "b.mp4", 25) as video,
    ):
        video.add(np.zeros((4, 4)))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert file.read_text() == "mine"
