"""SLEAP and NWB, in files of sleap-io: frames to the pixel, predictions, tracks, the old origin, embedded images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Nwb, Sleap
from trigpoint.data.hdf5 import opened_hdf5
from trigpoint.data.pixels.frames import VideoWriter
from trigpoint.data.pixels.images import read_image
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample

sio = pytest.importorskip("sleap_io")
h5py = pytest.importorskip("h5py")

SIDE, STEP = 96, 3  # frame k shows a bright square of 8 pixels around (8 + 3 k, 20)


def place(frame: int) -> tuple[float, float]:
    return 8.0 + STEP * frame, 20.0


def video(file: Path, frames: int = 25) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(file, 25) as writer:
        for frame in range(frames):
            x, y = (int(value) for value in place(frame))
            pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
            pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
            writer.add(pixels)
    return file


def middle(image: Path) -> np.ndarray:
    """Where the square is, (x, y)."""
    rows, columns = np.nonzero(read_image(image).pixels[0] > 128)
    return np.array([columns.mean(), rows.mean()])


LINES = [("nose", "left ear"), ("nose", "right ear")]
SKELETON = sio.Skeleton(
    ["nose", "left ear", "right ear"], [*LINES], symmetries=[("left ear", "right ear")], name="mouse"
)


def instance(frame: int, track: Any = None, **more: Any) -> Any:
    x, y = place(frame)
    return sio.Instance.from_numpy(np.array([[x, y], [x + 1, y], [np.nan] * 2]), skeleton=SKELETON, track=track, **more)


def predicted(frame: int) -> Any:
    x, y = place(frame)
    points, scores = np.array([[x + 0.25, y], [x, y], [x, y + 1]]), np.array([0.9, 0.8, 0.7])
    return sio.PredictedInstance.from_numpy(points, skeleton=SKELETON, point_scores=scores, score=0.9)


def labels(file: Path, shots: dict[int, list[Any]], **more: Any) -> Any:
    source = sio.Video.from_filename(str(file))
    frames = [sio.LabeledFrame(video=source, frame_idx=index, instances=own) for index, own in shots.items()]
    tracks = list({id(one.track): one.track for own in shots.values() for one in own if one.track}.values())
    return sio.Labels(frames, videos=[source], skeletons=[SKELETON], tracks=tracks, **more)


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


def check_frames(data: LandmarkDataset) -> None:
    for sample in data.samples:
        np.testing.assert_allclose(middle(sample.image), sample.points[0], atol=0.05)


@pytest.mark.parametrize("suffix", [".slp", ".pkg.slp", ".nwb"])
def test_each_labelled_frame_is_the_one_that_was_labelled(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mice{suffix}"
    made = labels(video(tmp_path / "day 1.mp4"), {frame: [instance(frame)] for frame in (17, 3, 24, 0)})
    if suffix == ".nwb":
        sio.save_nwb(made, str(file), nwb_format="annotations")
    else:
        made.save(str(file), verbose=False, **({"embed": True} if "pkg" in suffix else {}))
    data = Sleap().read(file)
    assert sorted(int(sample.image.stem[-6:]) for sample in data.samples) == [0, 3, 17, 24]
    for sample in data.samples:
        np.testing.assert_array_equal(sample.points[0], place(int(sample.image.stem[-6:])))
        assert sample.image.parent == tmp_path / f"{file.stem}-frames"
        assert sample.subject == "day 1"
    check_frames(data)
    assert data.visibility.tolist() == [[2, 2, 0]] * 4
    assert not data.instances
    assert data.landmarks.pairs == (() if suffix == ".nwb" else (("left ear", "right ear"),))
    assert list(data.landmarks.skeleton) == LINES
    assert "4 labelled frames are image files now" in told(data)
    assert len(Sleap().read(file)) == 4  # again: the same files stay
    data.samples[0].image.write_bytes(b"mine")
    with pytest.raises(DataError, match="expected no image or the same one, got another"):
        Sleap().read(file)
    assert Sleap(frames=str(tmp_path / "other")).read(file).samples[0].image.parent == tmp_path / "other"


def test_videos_of_another_machine_that_are_cut_or_missing(tmp_path: Path) -> None:
    made = labels(video(tmp_path / "recorded" / "v.mp4"), {2: [instance(2)], 24: [instance(24)]})
    made.save(str(tmp_path / "a.slp"), verbose=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "a.slp").rename(elsewhere / "a.slp")
    (tmp_path / "recorded" / "v.mp4").unlink()
    with pytest.raises(DataError, match=r"2 labelled frames of .* are left out, the first is 2: expected the video at"):
        Sleap().read(elsewhere / "a.slp")
    video(elsewhere / "videos" / "v.mp4", frames=10)
    data = Sleap().read(elsewhere / "a.slp")
    check_frames(data)
    assert len(data) == 1
    assert "1 labelled frames of" in told(data)
    assert "the video ends before" in told(data)
    assert "found by the end of its name" in told(data)


def test_predictions_are_left_out_or_read_with_scores(tmp_path: Path) -> None:
    made = labels(video(tmp_path / "v.mp4"), {2: [instance(2), predicted(2)], 5: [predicted(5)], 9: []})
    made.save(str(tmp_path / "a.slp"), verbose=False)
    data = Sleap().read(tmp_path / "a.slp")
    assert sorted(int(sample.image.stem[-6:]) for sample in data.samples) == [2, 9]
    assert "2 predicted instances are left out; --option predictions=yes" in told(data)
    data = Sleap(predictions=True).read(tmp_path / "a.slp")
    by_frame = {int(sample.image.stem[-6:]): sample for sample in data.samples}
    assert sorted(by_frame) == [2, 5, 9]
    np.testing.assert_array_equal(by_frame[5].points, predicted(5).points["xy"])
    np.testing.assert_allclose(by_frame[5].scores, [0.9, 0.8, 0.7])
    assert by_frame[2].scores is None
    assert by_frame[9].visibility.tolist() == [0, 0, 0]  # nobody said that it shows none
    assert "1 predicted instances are left out" in told(data)


def test_tracks_are_instances_and_negative_frames_show_none(tmp_path: Path) -> None:
    one, two = sio.Track("left"), sio.Track("right")
    shots = {2: [instance(2, two), instance(3, one)], 5: [instance(5, one)], 7: [], 8: []}
    made = labels(video(tmp_path / "v.mp4"), shots)
    made.labeled_frames[3].is_negative = True
    made.save(str(tmp_path / "a.slp"), verbose=False)
    data = Sleap().read(tmp_path / "a.slp")
    rows = [(int(s.image.stem[-6:]), s.instance, s.visibility.tolist()) for s in data.samples]
    assert (2, "right", [2, 2, 0]) in rows
    assert (2, "left", [2, 2, 0]) in rows
    assert (5, "left", [2, 2, 0]) in rows
    assert (7, "", [0] * 3) in rows
    assert (8, "", [ABSENT] * 3) in rows
    made = labels(tmp_path / "v.mp4", {2: [instance(2, one)], 5: [instance(5, one)]})
    made.save(str(tmp_path / "b.slp"), verbose=False)
    data = Sleap().read(tmp_path / "b.slp")
    assert not data.instances
    assert "its track 'left' is dropped" in told(data)
    made = labels(tmp_path / "v.mp4", {2: [instance(2), instance(4)]})
    made.save(str(tmp_path / "c.slp"), verbose=False)
    assert [s.instance for s in Sleap().read(tmp_path / "c.slp").samples] == ["1", "2"]


def test_points_that_are_marked_not_visible(tmp_path: Path) -> None:
    own = instance(2)
    own.points["visible"][0] = False
    labels(video(tmp_path / "v.mp4"), {2: [own]}).save(str(tmp_path / "a.slp"), verbose=False)
    data = Sleap().read(tmp_path / "a.slp")
    assert data.visibility.tolist() == [[0, 2, 0]]
    assert "1 points are marked not visible; --option invisible=occluded" in told(data)
    data = Sleap(invisible="occluded").read(tmp_path / "a.slp")
    assert data.visibility.tolist() == [[1, 2, 0]]
    np.testing.assert_array_equal(data.points[0, 0], place(2))


def test_files_before_version_1_1_counted_from_the_corner(tmp_path: Path) -> None:
    file = tmp_path / "a.slp"
    labels(video(tmp_path / "v.mp4"), {2: [instance(2)]}).save(str(file), verbose=False)
    with h5py.File(file, "r+") as opened:
        opened["metadata"].attrs["format_id"] = 1.0
        rows = opened["instances"][:]
        del opened["instances"]  # which had no score of the track then
        opened["instances"] = rows[[name for name in rows.dtype.names if name != "tracking_score"]]
    np.testing.assert_array_equal(Sleap().read(file).points[0, 0], np.array(place(2)) - 0.5)


def test_lists_of_images_and_several_skeletons(tmp_path: Path) -> None:
    for name in ("one", "two"):
        PIL.Image.new("L", (50, 40)).save(tmp_path / f"{name}.png")
    source = sio.Video.from_filename([str(tmp_path / "one.png"), str(tmp_path / "two.png")])
    other = sio.Skeleton(["tip"], name="tool")
    tool = sio.Instance.from_numpy(np.array([[1.0, 2.0]]), skeleton=other)
    frames = [sio.LabeledFrame(video=source, frame_idx=1, instances=[instance(1), tool])]
    made = sio.Labels(frames, videos=[source], skeletons=[SKELETON, other])
    made.save(str(tmp_path / "a.slp"), verbose=False)
    with pytest.raises(
        DataError, match="expected one skeleton, got mouse, tool; choose one with: --option skeleton=NAME"
    ):
        Sleap().read(tmp_path / "a.slp")
    data = Sleap(skeleton="tool").read(tmp_path / "a.slp")
    assert data.samples[0].image == tmp_path / "two.png"
    assert data.landmarks.names == ("tip",)
    assert "1 instances of other skeletons" in told(data)
    with pytest.raises(DataError, match="unknown skeleton 'toll'; did you mean 'tool'"):
        Sleap(skeleton="toll").read(tmp_path / "a.slp")


@pytest.mark.parametrize("suffix", [".slp", ".nwb"])
def test_ours_opens_in_sleap_io(tmp_path: Path, suffix: str) -> None:
    samples = []
    for index, size in enumerate(((50, 40), (30, 20), (50, 40))):
        image = tmp_path / f"{index}.png"
        PIL.Image.new("L", size).save(image)
        points = np.array([[1.25, 2.0 + index], [np.nan, np.nan]])
        samples.append(Sample(image, points, np.array([2, 0])))
    data = LandmarkDataset(
        samples, LandmarkSet(("left", "right"), (("left", "right"),), skeleton=(("left", "right"),)), images=tmp_path
    )
    (file,) = (Sleap() if suffix == ".slp" else Nwb()).write(data, tmp_path / f"a{suffix}")
    found = sio.load_file(str(file))
    rows = {}
    for frame in found:
        name = frame.video.filename if isinstance(frame.video.filename, str) else frame.video.filename[frame.frame_idx]
        rows[Path(name)] = frame.instances[0].numpy()
        if suffix == ".slp":
            assert frame.image.shape[:2] == read_image(Path(name)).pixels.shape[1:]
    for sample in data.samples:
        np.testing.assert_array_equal(rows[sample.image], sample.points)
    assert [node.name for node in found.skeletons[0].nodes] == ["left", "right"]
    assert [(edge.source.name, edge.destination.name) for edge in found.skeletons[0].edges] == [("left", "right")]


@pytest.mark.parametrize("form", [Sleap, Nwb])
def test_images_keep_their_order(tmp_path: Path, form: Any) -> None:
    samples = []
    for index in range(12):
        PIL.Image.new("L", (50, 40)).save(tmp_path / f"{index}.png")
        samples.append(Sample(tmp_path / f"{index}.png", np.array([[1.0, index]]), np.array([2])))
    form().write(LandmarkDataset(samples, LandmarkSet(("tip",))), tmp_path / "a.file")
    again = form().read(tmp_path / "a.file")
    assert [s.image for s in again.samples] == [s.image for s in samples]


def test_predictions_are_written_as_such(tmp_path: Path) -> None:
    PIL.Image.new("L", (50, 40)).save(tmp_path / "a.png")
    sample = Sample(tmp_path / "a.png", np.array([[1.0, 2]]), np.array([2]), scores=np.array([0.75]))
    data = LandmarkDataset([sample], LandmarkSet(("tip",)), images=tmp_path)
    (file,) = Sleap().write(data, tmp_path / "a.slp")
    with pytest.raises(DataError, match="1 predicted instances are left out"):
        Sleap().read(file)
    again = Sleap(predictions=True).read(file)
    assert again.samples[0].scores is not None
    np.testing.assert_allclose(again.samples[0].scores, [0.75])
    with pytest.raises(DataError, match="write them as sleap"):
        Nwb().write(data, tmp_path / "a.nwb")


def test_hdf5_that_leads_elsewhere_or_holds_too_much(tmp_path: Path) -> None:
    def made(change: Any) -> Path:
        file = tmp_path / "a.h5"
        with h5py.File(file, "w") as opened:
            change(opened)
        return file

    def deep(group: Any) -> None:
        for _ in range(100):
            group = group.create_group("a")

    cases = [
        (lambda f: f.__setitem__("x", h5py.ExternalLink("b.h5", "/")), "got a link to another file"),
        (lambda f: f.create_dataset("x", (1 << 31,), "u1", chunks=True), "arrays of at most 1024 MB together"),
        (lambda f: f.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)]), "one kept in other files"),
        (deep, "50 deep"),
    ]
    for change, expected in cases:
        with pytest.raises(DataError, match=expected), opened_hdf5(made(change), "sleap"):
            pass
        with pytest.raises(DataError, match=r"a\.h5"):
            Sleap().read(tmp_path / "a.h5")
    with pytest.raises(DataError, match="expected a file of SLEAP or NWB"):
        Sleap().read(made(lambda f: None))
    (tmp_path / "b.slp").write_text("no")
    with pytest.raises(DataError, match="expected an HDF5 file"):
        Sleap().read(tmp_path / "b.slp")


def test_options_and_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown choice 'hidden'"):
        Sleap(invisible="hidden")
    with pytest.raises(ConfigError, match="predictions: expected yes or no, got 'maybe'"):
        Sleap(predictions="maybe")  # type: ignore[arg-type]
    labels(video(tmp_path / "v.mp4"), {2: [instance(2)]}).save(str(tmp_path / "a.slp"), verbose=False)
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with pytest.raises(ConfigError, match=r'pip install "trigpoint\[sleap\]"'):
        Sleap().read(tmp_path / "a.slp")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r'pip install "trigpoint\[sleap\]"'):
        Sleap().read(tmp_path / "a.slp")
