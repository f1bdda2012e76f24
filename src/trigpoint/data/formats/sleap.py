"""SLEAP labels, ``.slp`` and ``.pkg.slp``, and annotations in NWB; read and written by sleap-io (extra ``sleap``)."""

import tempfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import decoding, shown, write_bytes
from trigpoint.data.formats.base import Format
from trigpoint.data.formats.collected import ABSENT, Collected, Mark
from trigpoint.data.names import plain_name
from trigpoint.data.pixels.extract import save_frames
from trigpoint.data.pixels.images import SUFFIXES
from trigpoint.data.poses import Footage, Pose, Project, Shot, made_labels, read_project, unpacked_images
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import LandmarkSet

_INVISIBLE = ("missing", "occluded")


class Sleap(Format):
    """Landmarks by the nodes of the skeleton, its symmetries as pairs; instances by their tracks, else 1, 2, ...

    SLEAP counts from 0 at the centre of the top-left pixel, as ours, since version 1.1 of its format; sleap-io takes
    half a pixel off the numbers of older files, which counted from the corner. Annotated instances are read. Predicted
    ones are left out and told; ``predictions=yes`` takes them, with their scores, for frames without annotated ones. A
    point that is marked not visible is missing, as it is to SLEAP, and told; ``invisible=occluded`` keeps its place.
    Several skeletons need ``skeleton=NAME``. Its edges are the skeleton. If every instance has the same track, it is
    dropped and told.

    Frames of a video are written as images, as are images inside a ``.pkg.slp``: into ``FILE-frames`` below the images
    folder, or into ``frames=FOLDER``. Videos and images of another machine are found by the end of their path. The name
    of the video becomes the subject, since neighbouring frames must not be divided between splits. A frame without
    instances is known to show none only if SLEAP says so (a negative frame), else it is not annotated.

    NWB files (ndx-pose) are read too: their annotations (PoseTraining). Predictions there (PoseEstimation) say times
    and not frames, so they are left out and told. Written are annotated instances, or predicted ones where the dataset
    has scores, on lists of image files with whole paths. Visibility 1, split, subject, groups and the normaliser are
    not stored.

    Before sleap-io reads a file its links, its number of arrays and their sizes are checked, see
    ``trigpoint.data.hdf5``; it reads in a process of its own, which a file can neither hang nor crash for long; no
    video or address that it names is opened by the library, and nothing in it is code.
    """

    def __init__(
        self,
        predictions: bool = False,
        invisible: str = "missing",
        skeleton: str | None = None,
        frames: str | None = None,
    ) -> None:
        if not isinstance(predictions, bool):
            raise ConfigError(f"sleap: predictions: expected yes or no, got {shown(predictions)}")
        if invisible not in _INVISIBLE:
            raise ConfigError(
                f"sleap: invisible: unknown choice '{invisible}'; {did_you_mean(str(invisible), _INVISIBLE)}"
            )
        self.predictions, self.invisible = predictions, invisible
        self.skeleton = None if skeleton is None else str(skeleton)
        self.frames = None if frames is None else Path(str(frames))

    @property
    def keeps(self) -> Collection[str]:
        return ("pairs",)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one file; ``images`` is the folder of images and videos (default: the file's). Raises DataError."""
        file = Path(source)
        project = read_project(file)
        found = Collected(file, file.parent if images is None else Path(images))
        for message in project.problems:
            found.problem(file, message)
        shots = self._chosen(found, project)
        places = _images(found, project.footage, shots, self.frames or found.images / f"{file.stem}-frames")
        self._add(found, project, shots, places)
        return self._with_pairs(found, project, shots)

    def _chosen(self, found: Collected, project: Project) -> list[tuple[Shot, list[Pose]]]:
        """The frames that are read with their instances; everything else is told."""
        kinds = dict.fromkeys(pose.skeleton for shot in project.shots for pose in (*shot.annotated, *shot.predicted))
        if self.skeleton is not None and self.skeleton not in kinds:
            raise DataError(f"{found.source}: unknown skeleton '{self.skeleton}'; {did_you_mean(self.skeleton, kinds)}")
        if self.skeleton is None and len(kinds) > 1:
            fix = "choose one with: --option skeleton=NAME"
            raise DataError(f"{found.source}: expected one skeleton, got {', '.join(list(kinds)[:20])}; {fix}")
        out: list[tuple[Shot, list[Pose]]] = []
        left = Counter[str]()
        for shot in project.shots:
            own = [pose for pose in shot.annotated if self.skeleton in (None, pose.skeleton)]
            guessed = [pose for pose in shot.predicted if self.skeleton in (None, pose.skeleton)]
            left["of other skeletons"] += len(shot.annotated) + len(shot.predicted) - len(own) - len(guessed)
            poses = own or (guessed if self.predictions else [])
            left["predicted instances"] += len(guessed) * (poses is not guessed)
            if poses or not (guessed or shot.annotated or shot.predicted):
                out.append((shot, poses))
        fix = "" if self.predictions else "; --option predictions=yes reads them where nobody annotated"
        if left["predicted instances"]:
            found.problem(found.source, f"{left['predicted instances']} predicted instances are left out{fix}")
        if left["of other skeletons"]:
            found.problem(found.source, f"{left['of other skeletons']} instances of other skeletons are left out")
        return out

    def _add(
        self,
        found: Collected,
        project: Project,
        shots: list[tuple[Shot, list[Pose]]],
        places: dict[int, tuple[Path, str]],
    ) -> None:
        tracks = dict.fromkeys(pose.track for _, poses in shots for pose in poses)
        many = any(len(poses) > 1 for _, poses in shots) or len(tracks) > 1
        if not many and any(tracks):
            found.problem(
                found.source, f"each frame has one instance, so its track {shown(next(iter(tracks)))} is dropped"
            )
        hidden = 0
        for number, (shot, poses) in enumerate(shots):
            if number not in places:
                continue
            image, subject = places[number]
            named = len({pose.track for pose in poses} - {""}) == len(poses)
            for order, pose in enumerate(poses, start=1):
                marks, away = self._marks(pose)
                hidden += away
                instance = (pose.track if named else str(order)) if many else ""
                found.add(image, marks, subject=subject, instance=instance)
            if not poses:
                found.add(image, {}, subject=subject, blank=ABSENT if many and shot.negative else 0)
        if hidden:
            fix = (
                "; --option invisible=occluded keeps them" if self.invisible == "missing" else ", but kept as occluded"
            )
            found.problem(found.source, f"{hidden} points are marked not visible{fix}")

    def _marks(self, pose: Pose) -> tuple[dict[str, Mark], int]:
        """The marks by name, and how many points have a place but are marked not visible."""
        marks: dict[str, Mark] = {}
        hidden = 0
        scores = np.full(len(pose.nodes), np.nan) if pose.scores is None else pose.scores
        for name, (x, y), visible, score in zip(pose.nodes, pose.points, pose.visible, scores, strict=True):
            there = bool(np.isfinite(x) and np.isfinite(y))
            hidden += there and not visible
            seen = 0 if not there else 2 if visible else int(self.invisible == "occluded")
            marks[name] = Mark(float(x), float(y), seen, float(score) if seen else np.nan)
        return marks, hidden

    def _with_pairs(self, found: Collected, project: Project, shots: list[tuple[Shot, list[Pose]]]) -> LandmarkDataset:
        names = tuple(found.names)
        used = {pose.skeleton for _, poses in shots for pose in poses}
        pairs, lines = (
            tuple(pair for kind in used for pair in kinds.get(kind, []) if set(pair) <= set(names))
            for kinds in (project.pairs, project.lines)
        )
        try:
            marks = LandmarkSet(names, pairs, skeleton=lines)
        except DataError as error:
            found.problem(found.source, f"the symmetries of the skeleton are left out: {error}")
            marks = LandmarkSet(names, skeleton=lines)
        return found.dataset(landmarks=marks)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one ``.slp`` that names image files; images are opened for their sizes."""
        data = self._saved(dataset, Path(target), ".slp", lambda labels, file: labels.save(file, verbose=False))
        return [write_bytes(target, data, overwrite=overwrite)]

    def _saved(self, dataset: LandmarkDataset, target: Path, suffix: str, save: Any) -> bytes:
        """The bytes that ``save(labels, file)`` writes, in a folder of its own."""
        what = f"expected a dataset that {suffix} can hold, got one that sleap-io refuses"
        with tempfile.TemporaryDirectory() as folder, decoding(target, what):
            file = Path(folder) / f"labels{suffix}"
            save(made_labels(dataset, apart=suffix == ".nwb"), str(file))
            return file.read_bytes()


def _images(
    found: Collected, footage: list[Footage], shots: list[tuple[Shot, list[Pose]]], folder: Path
) -> dict[int, tuple[Path, str]]:
    """(image, subject) of each frame, by its place in ``shots``; frames are written, those not to be had are told."""
    places: dict[int, tuple[Path, str]] = {}
    stems = _stems(footage)
    wanted: dict[int, dict[int, list[int]]] = {}
    for number, (shot, _) in enumerate(shots):
        wanted.setdefault(shot.video, {}).setdefault(shot.index, []).append(number)
    for video, frames in wanted.items():
        source = footage[video]
        subject = "" if source.listed else stems[video]
        if source.embedded:
            files, why = unpacked_images(found.source, source.embedded, list(frames), folder, stems[video])
        elif source.listed:
            files = {k: found.image.alike(source.names[k]) for k in frames if 0 <= k < len(source.names)}
            why = f"the list has {len(source.names)} images"
        else:
            files, why = _filmed(found, source, frames, folder, stems[video])
        lost = [index for index in frames if index not in files]
        if lost:
            name = source.names[0] if source.names else source.embedded
            message = f"{len(lost)} labelled frames of {shown(name)} are left out, the first is {min(lost)}: {why}"
            found.problem(found.source, message)
        for index, file in files.items():
            for number in frames[index]:
                places[number] = file, subject
    written = [file for file, _ in places.values() if file.is_relative_to(folder)]
    if written:
        found.problem(found.source, f"{len(set(written))} labelled frames are image files now, in {folder}")
    return places


def _filmed(
    found: Collected, source: Footage, frames: dict[int, list[int]], folder: Path, stem: str
) -> tuple[dict[int, Path], str]:
    name = source.names[0]
    path = found.image.alike(name) if PurePosixPath(plain_name(name)).suffix.lower() in SUFFIXES else found.image(name)
    if path.suffix.lower() in SUFFIXES:
        return {0: path} if 0 in frames else {}, "it is a single image"
    if not path.is_file():
        found.image.missing.pop(name, None)
        return {}, f"expected the video at {path}, got none; copy it there or name its folder with --images"
    return save_frames(path, frames, folder, stem)


def _stems(footage: list[Footage]) -> list[str]:
    """A name for each video that differs from the others and can be a file's."""
    out: list[str] = []
    for number, source in enumerate(footage):
        last = PurePosixPath(plain_name(source.names[0] if source.names else "")).stem
        plain = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in last)[:60] or "video"
        out.append(plain if plain not in out else f"{plain}_{number}")
    return out
