"""Labels of SLEAP and of NWB as plain values, by sleap-io and pynwb, and back; see ``formats.sleap``."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import decoding, open_file
from trigpoint.data.hdf5 import opened_hdf5
from trigpoint.data.isolated import isolated
from trigpoint.data.pixels.extract import keep_image
from trigpoint.data.pixels.folders import natural_key
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, FloatArray, Sample

_FRAME = 1 << 28  # bytes of an embedded image


@dataclass
class Pose:
    """One instance: its track, points (K, 2) as stored, which are visible (K,), and the scores of a predicted one."""

    skeleton: str
    nodes: tuple[str, ...]
    track: str
    points: FloatArray
    visible: Sequence[bool]
    scores: FloatArray | None = None


@dataclass
class Shot:
    """A labelled frame: what was annotated and predicted; ``negative``: known to show none."""

    video: int
    index: int
    annotated: list[Pose] = field(default_factory=list)
    predicted: list[Pose] = field(default_factory=list)
    negative: bool = False


@dataclass
class Footage:
    """Where frames come from: a video or single image by name, a list of images, or images in the file itself."""

    names: list[str]
    listed: bool = False
    embedded: str = ""  # the array that holds them


@dataclass
class Project:
    """What a file holds, in plain values."""

    shots: list[Shot] = field(default_factory=list)
    footage: list[Footage] = field(default_factory=list)
    pairs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # by skeleton, as its lines
    lines: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_project(file: Path) -> Project:
    """The content of a ``.slp`` or ``.nwb``. Raises DataError, ConfigError without sleap-io."""
    with open_file(file):  # its own message where there is none
        sleap_io()
    values = isolated(_project_values, file)
    out = Project(footage=[Footage(**one) for one in values["footage"]], problems=values["problems"])
    out.pairs, out.lines = ({k: [(a, b) for a, b in v] for k, v in values[key].items()} for key in ("pairs", "lines"))
    for shot in values["shots"]:
        poses = [[_pose(one) for one in shot.pop(key)] for key in ("annotated", "predicted")]
        out.shots.append(Shot(**shot, annotated=poses[0], predicted=poses[1]))
    return out


def _pose(values: dict[str, Any]) -> Pose:
    points = np.array(values.pop("points"), np.float64).reshape(-1, 2)
    scores = values.pop("scores")
    nodes = tuple(values.pop("nodes"))
    return Pose(**values, nodes=nodes, points=points, scores=None if scores is None else np.array(scores, np.float64))


def _project_values(file: Path) -> dict[str, Any]:
    """The same as plain values."""
    with (
        opened_hdf5(file, "sleap", apart=lambda path: path.endswith("/video")) as opened,
        decoding(file, "expected a file of SLEAP or NWB, got another or a damaged one"),
    ):
        project = _nwb_project(file) if "nwb_version" in opened.attrs else _slp_project(file)
    for shot in project.shots:
        for pose in (*shot.annotated, *shot.predicted):
            pose.points = pose.points.tolist()
            pose.scores = None if pose.scores is None else pose.scores.tolist()
    return asdict(project)


def unpacked_images(
    file: Path, where: str, numbers: Sequence[int], folder: Path, stem: str
) -> tuple[dict[int, Path], str]:
    """Write images of frames that a ``.pkg.slp`` holds itself, as they are (PNG or JPEG), into a folder.

    Returned are the file of each number, and why there is none for others. Raises DataError.
    """
    found, why = isolated(_unpack, file, where, list(numbers), str(folder), stem)
    return {int(number): Path(image) for number, image in found}, str(why)


def _unpack(file: Path, where: str, numbers: list[int], folder: str, stem: str) -> tuple[list[tuple[int, str]], str]:
    files: list[tuple[int, str]] = []
    with (
        opened_hdf5(file, "sleap", apart=lambda path: path.endswith("/video")) as opened,
        decoding(file, f"expected images of frames in {where}, got none or damaged ones"),
    ):
        array = opened[where]
        stored = opened[where.rpartition("/")[0]]["frame_numbers"][:]
        places = {int(number): place for place, number in enumerate(stored)}
        if str(array.attrs.get("format", "")).lower() not in ("png", "jpg", "jpeg"):
            return [], "expected images as PNG or JPEG, got others"
        if int(np.prod(array.shape[1:])) * array.dtype.itemsize > _FRAME:
            raise DataError(f"{file}: {where}: expected images of at most {_FRAME >> 20} MB, got larger ones")
        for number in numbers:
            if number in places:
                data = np.asarray(array[places[number]]).astype(np.uint8).tobytes()
                png = data.startswith(b"\x89PNG")
                data = data[: data.rfind(b"IEND") + 8] if png else data.rstrip(b"\0")
                image = keep_image(Path(folder) / f"{stem}_{number:06d}.{'png' if png else 'jpg'}", data)
                files.append((number, str(image)))
    return files, "the file holds no image of it"


def _slp_project(file: Path) -> Project:
    """The content of a ``.slp``; raises whatever sleap-io does."""
    labels = sleap_io().load_slp(str(file), open_videos=False)
    out = Project()
    for skeleton in labels.skeletons:
        order = {node.name: place for place, node in enumerate(skeleton.nodes)}
        both = [sorted((node.name for node in one.nodes), key=lambda name: order[name]) for one in skeleton.symmetries]
        edges = [(str(edge.source.name), str(edge.destination.name)) for edge in skeleton.edges]
        out.lines[str(skeleton.name)] = edges
        out.pairs[str(skeleton.name)] = [(pair[0], pair[1]) for pair in both if len(pair) == 2]
    for video in labels.videos:
        out.footage.append(_footage(video, out))
    number = {id(video): place for place, video in enumerate(labels.videos)}
    for frame in labels.labeled_frames:
        shot = Shot(number[id(frame.video)], int(frame.frame_idx), negative=bool(getattr(frame, "is_negative", False)))
        for instance in frame.instances:
            predicted = hasattr(instance, "score") and "score" in (instance.points.dtype.names or ())
            pose = Pose(
                str(instance.skeleton.name),
                tuple(node.name for node in instance.skeleton.nodes),
                "" if instance.track is None else str(instance.track.name),
                np.array(instance.points["xy"], np.float64).reshape(-1, 2),
                [bool(value) for value in instance.points["visible"]],
                np.array(instance.points["score"], np.float64) if predicted else None,
            )
            (shot.predicted if predicted else shot.annotated).append(pose)
        out.shots.append(shot)
    return out


def _footage(video: Any, project: Project) -> Footage:
    about = video.backend_metadata or {}
    source = video.source_video
    first = video.filename if source is None else source.filename
    names = [str(name) for name in first] if isinstance(first, list) else [str(first)]
    if "crop" in about and about["crop"] is not None:
        project.problems.append(f"the video {names[0][:80]} is cropped in SLEAP, and its frames are not read")
        return Footage([], listed=True)
    if about.get("has_embedded_images"):
        return Footage(names, embedded=str(about.get("dataset", "")))
    return Footage(names, listed=isinstance(first, list))


def _nwb_project(file: Path) -> Project:
    """The annotations (ndx-pose, PoseTraining) of an NWB file; raises whatever pynwb does."""
    sleap_io()
    import ndx_pose
    import pynwb

    out = Project()
    with pynwb.NWBHDF5IO(str(file), mode="r", load_namespaces=True) as opened:
        objects = list(opened.read().objects.values())
        if any(isinstance(item, ndx_pose.PoseEstimation) for item in objects):
            message = "predictions (PoseEstimation) are left out: NWB gives them times, not frames; save them as .slp"
            out.problems.append(message)
        videos: dict[int, int] = {}
        for training in (item for item in objects if isinstance(item, ndx_pose.PoseTraining)):
            frames = training.training_frames
            for frame in _in_order(None if frames is None else frames.training_frames):
                series = frame.source_video
                if id(series) not in videos:
                    videos[id(series)] = len(out.footage)
                    names = [str(name) for name in (() if series is None else series.external_file or ())]
                    out.footage.append(Footage(names or ["video"], listed=len(names) > 1))
                shot = Shot(videos[id(series)], int(frame.source_video_frame_index))
                for one in frame.skeleton_instances.skeleton_instances.values():
                    out.lines.setdefault(str(one.skeleton.name), _nwb_lines(one.skeleton))
                shot.annotated += [_nwb_pose(one) for one in _in_order(frame.skeleton_instances.skeleton_instances)]
                out.shots.append(shot)
    return out


def _in_order(items: Any) -> list[Any]:
    """The values of named items, by the numbers in their names: HDF5 has 10 before 2."""
    return [items[name] for name in sorted(items or {}, key=lambda name: (natural_key(str(name)), str(name)))]


def _nwb_lines(skeleton: Any) -> list[tuple[str, str]]:
    nodes = [str(node) for node in skeleton.nodes[:]]
    edges = np.array([] if skeleton.edges is None else skeleton.edges[:], np.int64).reshape(-1, 2)
    return [(nodes[a], nodes[b]) for a, b in edges.tolist()]


def _nwb_pose(instance: Any) -> Pose:
    points = np.array(instance.node_locations[:], np.float64)
    visible = (
        [True] * len(points) if instance.node_visibility is None else [bool(v) for v in instance.node_visibility[:]]
    )
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"expected points of two coordinates, got an array of shape {points.shape}")
    nodes = tuple(str(node) for node in instance.skeleton.nodes[:])
    return Pose(str(instance.skeleton.name), nodes, "", points, visible)


def made_labels(dataset: LandmarkDataset, apart: bool) -> Any:
    """A dataset as sleap-io's labels on image files, which are opened for their sizes.

    Images of a size are one list, or each is a video of its own (``apart``). Instances have tracks of their names.
    """
    sio = sleap_io()
    marks = dataset.landmarks
    skeleton = sio.Skeleton(
        list(marks.names),
        [tuple(line) for line in marks.skeleton],
        symmetries=[tuple(pair) for pair in marks.pairs],
        name=dataset.name or "set",
    )
    tracks = {name: sio.Track(name) for name in dict.fromkeys(s.instance for s in dataset.samples if s.instance)}
    by_size: dict[tuple[int, int, int], list[tuple[int, ...]]] = {}  # number (0 unless apart), height, width
    for number, rows in enumerate(dataset.by_image()):
        height, width = image_size(dataset.samples[rows[0]].image)
        by_size.setdefault((number * apart, height, width), []).append(rows)
    frames, videos = [], []
    for (_, height, width), images in by_size.items():
        files = [Path(os.path.abspath(dataset.samples[rows[0]].image)).as_posix() for rows in images]
        shape = [len(files), height, width, 3]
        about = {"type": "ImageVideo", "shape": shape, "filename": files[0], "filenames": files, "grayscale": False}
        own = sio.Video.from_filename(files) if apart else sio.Video(files, open_backend=False, backend_metadata=about)
        videos.append(own)
        for index, rows in enumerate(images):
            poses = [_instance(sio, skeleton, tracks, dataset.samples[row]) for row in rows]
            frame = sio.LabeledFrame(video=videos[-1], frame_idx=index, instances=[p for p in poses if p is not None])
            absent = dataset.instances and all((dataset.samples[row].visibility == ABSENT).all() for row in rows)
            frame.is_negative = absent
            frames.append(frame)
    return sio.Labels(frames, videos=videos, skeletons=[skeleton], tracks=list(tracks.values()))


def _instance(sio: Any, skeleton: Any, tracks: dict[str, Any], sample: Sample) -> Any:
    if not (sample.visibility > 0).any():
        return None
    track = tracks.get(sample.instance)
    if sample.scores is None:
        return sio.Instance.from_numpy(sample.points.copy(), skeleton=skeleton, track=track)
    scores = np.nan_to_num(sample.scores)
    return sio.PredictedInstance.from_numpy(
        sample.points.copy(), skeleton=skeleton, point_scores=scores, score=float(scores.mean()), track=track
    )


def sleap_io() -> Any:
    """The module. Raises ConfigError where it is not installed."""
    try:
        import sleap_io as module
    except ImportError:
        raise ConfigError(
            'SLEAP and NWB files need a package that is not installed; pip install "trigpoint[sleap]"'
        ) from None
    return module
