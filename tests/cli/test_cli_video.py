"""``trigpoint predict`` on a video and on a folder of frames: tables, overlays, and what remains when it ends early."""

from __future__ import annotations

import os
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from cli_entry import call, without_note
from PIL import Image

from trigpoint.app.folder import frames_folder
from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.frames import Frames, VideoWriter
from trigpoint.prediction import Predictor, stream
from trigpoint.report.frame_overlay import draw_points


@pytest.fixture(scope="module")
def video(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 24 drawn frames of 32 x 32 as a video of 10 frames a second."""
    pytest.importorskip("av")
    target = tmp_path_factory.mktemp("video") / "tips.avi"
    with VideoWriter(target, 10) as writer:
        for frame in Frames(drawn / "images"):
            writer.add(draw_points(frame.image.pixels, np.zeros((0, 1, 2))))
    return target


def test_a_video_gives_a_row_per_frame_and_a_video_of_the_points(trained: Path, video: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "p.csv", tmp_path / "drawn.mp4"
    result = call("predict", trained, video, "--out", out, "--overlay", drawn, "--batch-size", 5)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert table["image"].tolist() == [f"tips_{index:06d}.png" for index in range(24)]
    points = Predictor.load(trained, device="cpu").predict([frame.image for frame in Frames(video)]).points
    np.testing.assert_allclose(table[["tip_x", "tip_y"]], points[:, 0], atol=0.05)
    made = Frames(drawn)
    assert made.rate == 10
    changed = [
        int(np.abs(new.image.pixels.astype(int) - old.image.pixels).max())
        for new, old in zip(made, Frames(video), strict=True)
        if old.index < 24
    ]
    assert len(changed) == 24
    assert min(changed) > 60  # a cross in every frame


def test_every_nth_frame_into_a_folder(trained: Path, video: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "p.csv", tmp_path / "drawn"
    assert call("predict", trained, video, "--out", out, "--every", 10, "--overlay", folder).exit_code == 0
    names = [f"tips_{index:06d}.png" for index in (0, 10, 20)]
    assert pd.read_csv(out)["image"].tolist() == names
    assert sorted(file.name for file in folder.iterdir()) == [f"tips_{index:06d}_points.png" for index in (0, 10, 20)]
    refused = call("predict", trained, video, "--out", tmp_path / "q.csv", "--overlay", folder)
    assert refused.exit_code == 2
    assert "expected an empty folder" in refused.stderr
    assert not (tmp_path / "q.csv").exists()


def test_predictions_of_a_video_become_a_set(trained: Path, video: Path, tmp_path: Path) -> None:
    own = tmp_path / video.name
    own.write_bytes(video.read_bytes())
    out, found = tmp_path / "p.csv", tmp_path / "found"
    assert call("predict", trained, own, "--out", out, "--every", 8, "--overlay", tmp_path / "drawn").exit_code == 0
    refused = call("data", "convert", out, "--from", "native", "--out", found)
    assert refused.exit_code == 2
    told = " ".join(refused.stderr.split())
    assert "'trigpoint label VIDEO --every N'" in told
    assert "into the folder tips/images beside the video" in told
    assert "drawn" not in told  # the pictures with crosses on them
    images = frames_folder(own, 8) / "images"
    done = call("data", "convert", out, "--from", "native", "--out", found, "--images", images)
    assert done.exit_code == 0, done.output
    assert "subject: 'tips' for the frames of 1 video" in done.stderr
    assert [sample.subject for sample in LandmarkDataset.load(found).samples] == ["tips"] * 3


def test_a_folder_becomes_a_video_and_every_holds_for_images(trained: Path, drawn: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    out, target = tmp_path / "p.csv", tmp_path / "drawn.mp4"
    result = call("predict", trained, drawn / "images", "--out", out, "--overlay", target, "--every", 12)
    assert result.exit_code == 0, result.output
    assert len(list(Frames(target))) == 2
    again = tmp_path / "again.csv"
    assert call("predict", trained, drawn / "images", "--out", again, "--every", 12).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv(again))


@pytest.mark.parametrize("kind", ["ten of 16 bits", "float"])
def test_deep_frames_are_predicted_as_stills_and_drawn_visibly(
    kind: str, trained: Path, drawn: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(3):
        with Image.open(drawn / "images" / f"{index:05d}.png") as picture:
            grey = np.asarray(picture.convert("L"))
        if kind == "float":
            Image.fromarray((grey / 8 - 3).astype(np.float32)).save(frames / f"{index}.tif")
        else:
            Image.fromarray(grey.astype(np.uint16) * 4).save(frames / f"{index}.png")
    stills, video = tmp_path / "stills.csv", tmp_path / "video.csv"
    assert call("predict", trained, frames, "--out", stills).exit_code == 0
    assert call("predict", trained, frames, "--out", video, "--overlay", tmp_path / "drawn.mp4").exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv(stills), pd.read_csv(video))
    assert min(frame.image.pixels.mean() for frame in Frames(tmp_path / "drawn.mp4")) > 16


def test_a_file_of_several_frames_is_predicted_as_a_video(trained: Path, drawn: Path, tmp_path: Path) -> None:
    stills = []
    for index in range(6):
        with Image.open(drawn / "images" / f"{index:05d}.png") as picture:
            stills.append(picture.convert("RGB"))
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([np.asarray(still) for still in stills]), photometric="rgb")
    stills[0].save(tmp_path / "moving.webp", save_all=True, append_images=stills[1:], duration=40, lossless=True)
    expected = Predictor.load(trained, device="cpu").predict([np.asarray(still) for still in stills]).points[:, 0]
    for name in ("stack.tif", "moving.webp"):
        out, folder = tmp_path / f"{name}.csv", tmp_path / f"{name} drawn"
        result = call("predict", trained, tmp_path / name, "--out", out, "--overlay", folder, "--batch-size", 4)
        assert result.exit_code == 0, result.output
        assert f"wrote {out}: 6 frames" in result.stderr
        table = pd.read_csv(out)
        stem = name.split(".")[0]
        assert table["image"].tolist() == [f"{stem}_{index:06d}.png" for index in range(6)]
        np.testing.assert_allclose(table[["tip_x", "tip_y"]], expected, atol=0.05)
        assert len(list(folder.iterdir())) == 6
        assert ("time_s" in table) == (name == "moving.webp")
    assert table["time_s"].tolist() == pytest.approx([0.04 * index for index in range(6)])
    again = call("predict", trained, tmp_path / "stack.tif", "--out", tmp_path / "x.csv", "--trace", tmp_path / "t")
    assert again.exit_code == 2
    assert "--trace: draws single images" in again.stderr
    both = call("predict", trained, tmp_path / "stack.tif", drawn / "images", "--out", tmp_path / "x.csv")
    assert both.exit_code == 2
    assert "expected one video, or one file of several frames, or one folder" in both.stderr
    inside = call("predict", trained, tmp_path / "stack.tif", "--every", 4, "--out", tmp_path / "x.csv")
    assert inside.exit_code == 0
    assert len(pd.read_csv(tmp_path / "x.csv")) == 2
    (tmp_path / "in").mkdir()
    (tmp_path / "stack.tif").rename(tmp_path / "in" / "stack.tif")
    folder_of_one = call("predict", trained, tmp_path / "in", "--out", tmp_path / "y.csv")
    assert folder_of_one.exit_code == 2
    assert "stack.tif: expected one image, got 6 pages; predict takes it as it takes a video" in folder_of_one.stderr
    assert not (tmp_path / "y.csv").exists()


def test_times_and_gaps_of_a_video_are_told_and_read_past(trained: Path, tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    shown = [40 * k for k in range(12) if k not in (5, 6)]
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, time in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * k, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    out = frames_folder(tmp_path / "v.mp4", 1) / "landmarks.csv"
    result = call("predict", trained, tmp_path / "v.mp4", "--out", out)
    assert result.exit_code == 0, result.output
    gap = "v.mp4: 1 gap between frames, about 2 frames are missing; the longest is 0.12 s after frame 4"
    assert gap in result.stderr.replace("\n", " ")
    table = pd.read_csv(out)
    assert table.columns[:2].tolist() == ["image", "time_s"]
    assert table["time_s"].tolist() == pytest.approx([time / 1000 for time in shown])
    assert len(LandmarkDataset.load(out.parent)) == len(shown)  # the table is a dataset, the time a note in it


def test_a_cut_video_keeps_what_was_read_and_says_so(trained: Path, video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: int(0.7 * video.stat().st_size)])
    out, drawn = tmp_path / "p.csv", tmp_path / "drawn.mp4"
    result = call("predict", trained, cut, "--out", out, "--overlay", drawn, "--batch-size", 4)
    assert result.exit_code == 2
    assert "cut.avi: frame" in result.stderr
    rows = len(pd.read_csv(out))
    assert 0 < rows < 24
    told = f"{out}: is partial, it holds the first {rows} of 24 images\n{drawn}: is partial as well\nerror: "
    assert without_note(result.stderr).startswith(told)
    assert len(list(Frames(drawn))) == rows


@pytest.mark.parametrize("kind", ["video", "images"])
def test_ctrl_c_keeps_what_is_done(
    kind: str, trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    source = request.getfixturevalue("video") if kind == "video" else drawn / "images"
    original, calls = Predictor.predict, []

    def predict(self: Predictor, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    monkeypatch.setattr(Predictor, "predict", predict)
    out = tmp_path / "p.csv"
    result = call("predict", trained, source, "--out", out, "--batch-size", 4)
    assert result.exit_code == 130
    assert len(pd.read_csv(out)) == 8
    assert without_note(result.stderr) == f"{out}: is partial, it holds the first 8 of 24 images\nstopped\n"


def signals_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *numbers: int, at: int = 1) -> None:
    """These signals come in the ``at``-th call of a function."""
    original, calls = getattr(owner, name), []

    def signalled(*args: Any, **options: Any) -> Any:
        calls.append(1)
        for number in numbers if len(calls) == at else ():
            os.kill(os.getpid(), number)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, signalled)


@pytest.mark.parametrize("overlay", ["o.mp4", "o", None])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_in_prediction_and_again_while_it_is_saved(
    number: int, code: int, overlay: str | None, trained: Path, video: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out, drawn = tmp_path / "p.csv", tmp_path / (overlay or "none")
    signals_at(monkeypatch, Predictor, "predict", number, at=3)
    signals_at(monkeypatch, stream, "write_predictions", number, signal.SIGINT)
    signals_at(monkeypatch, VideoWriter, "__exit__", number)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    result = call(
        "predict", trained, video, "--out", out, "--batch-size", 4, *(["--overlay", drawn] if overlay else [])
    )
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert result.exit_code == code
    assert len(pd.read_csv(out)) == 8
    also = f"{drawn}: is partial as well\n" if overlay else ""
    assert without_note(result.stderr) == f"{out}: is partial, it holds the first 8 of 24 images\n{also}stopped\n"
    if overlay:
        assert len(list(Frames(drawn))) == 8
    assert not [file for file in tmp_path.rglob("*") if ".part" in file.name]


def test_a_frame_is_in_table_and_drawing_or_in_neither(
    trained: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, drawn = tmp_path / "p.csv", tmp_path / "o.mp4"
    signals_at(monkeypatch, stream, "draw_points", signal.SIGTERM, at=6)
    assert call("predict", trained, video, "--out", out, "--batch-size", 4, "--overlay", drawn).exit_code == 143
    assert len(pd.read_csv(out)) == len(list(Frames(drawn))) == 6


@pytest.mark.parametrize("overlay", ["o.mp4", "o"])
def test_a_disk_without_room_for_drawings_keeps_the_table(
    overlay: str, trained: Path, video: Path, tmp_path: Path
) -> None:
    """The limit on the size of files is met at once by pictures, and by the video at its end."""
    out, drawn = tmp_path / "p.csv", tmp_path / overlay
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = 2000 if overlay == "o.mp4" else 300  # the table has 1500
    with pytest.MonkeyPatch.context() as patch:
        if overlay == "o":  # the table is on another disk
            original = stream.write_predictions
            lifted = lambda *given: (resource.setrlimit(resource.RLIMIT_FSIZE, limits), original(*given))  # noqa: E731
            patch.setattr(stream, "write_predictions", lifted)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            result = call("predict", trained, video, "--out", out, "--overlay", drawn, "--batch-size", 4)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 2
    rows = len(pd.read_csv(out))
    if overlay == "o":
        assert without_note(result.stderr).startswith(
            f"{out}: is partial, it holds the first {rows} of 24 images\n{drawn}: is partial"
        )
        assert f"error: {drawn / 'tips_000000_points.png'}: File too large" in result.stderr
    else:
        assert rows == 24
        assert without_note(result.stderr).startswith(
            f"{drawn}: could not be finished and is gone\nerror: {drawn}: File too large"
        )
        assert not drawn.exists()
    assert not [file for file in tmp_path.rglob("*") if ".part" in file.name]


def test_stopped_before_anything_was_done_nothing_is_written(
    trained: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Predictor, *args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", stop)
    result = call("predict", trained, video, "--out", tmp_path / "p.csv", "--overlay", tmp_path / "o.mp4")
    assert result.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_one_video_at_a_time_and_no_trace(trained: Path, video: Path, tmp_path: Path) -> None:
    two = call("predict", trained, video, video, "--out", tmp_path / "p.csv")
    assert two.exit_code == 2
    assert "expected one video" in two.stderr
    traced = call("predict", trained, video, "--out", tmp_path / "p.csv", "--trace", tmp_path / "t")
    assert traced.exit_code == 2
    assert "--trace" in traced.stderr
    gone = call("predict", trained, tmp_path / "gone.mp4", "--out", tmp_path / "p.csv")
    assert gone.exit_code == 2
    assert "gone.mp4" in gone.stderr
    assert list(tmp_path.iterdir()) == []


def test_crosses_are_where_the_points_are() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    drawn = draw_points(frame, np.array([[[100.0, 50.0], [np.nan, np.nan]], [[600.0, 400.0], [5.0, 470.0]]]))
    assert (frame == 90).all()
    rows, columns = np.nonzero((drawn != frame).any(-1))
    for x, y in ((100, 50), (600, 400), (5, 470)):
        near = (abs(rows - y) < 14) & (abs(columns - x) < 14)
        assert near.any()
        rows, columns = rows[~near], columns[~near]
    assert not len(rows)
    assert (drawn[50, 100] != drawn[470, 5]).any()  # another landmark, another colour


@pytest.mark.parametrize("drawing", [(), ("--overlay", "o.mp4")])
def test_a_name_like_a_formula_is_refused_before_any_work(
    drawing: tuple[str, ...], trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    images = tmp_path / "images"
    images.mkdir()
    for index, name in enumerate(("=1+1.png", "b.png")):
        (images / name).write_bytes((drawn / "images" / f"{index:05d}.png").read_bytes())
    monkeypatch.setattr(Predictor, "predict", lambda *given, **more: pytest.fail("was asked to predict"))
    extra = [tmp_path / part if part.endswith(".mp4") else part for part in drawing]
    result = call("predict", trained, images, "--out", tmp_path / "p.csv", *extra)
    assert result.exit_code == 2
    assert "got '=1+1.png', which a spreadsheet would calculate; rename it" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["images"]
