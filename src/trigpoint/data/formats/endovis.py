"""EndoVis 2015 instrument joints: the label JSON of EndoVisPoseAnnotation (Du et al. 2018, TMI 37:1276), read only.

One file per sequence, a list of frames, each with ``filename`` and ``annotations``: a joint's ``class``, the tool's
``id``, ``x`` and ``y``. The frames themselves belong to the EndoVis 2015 challenge and come from there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.files import inside as inside_folder
from trigpoint.data.files import load_json, number, shown
from trigpoint.data.formats.base import Format, annotation_files
from trigpoint.data.formats.collected import Collected, reason
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.geometry import inside
from trigpoint.landmarks import ABSENT, FloatArray, LandmarkSet

JOINTS = ("LeftClasperPoint", "RightClasperPoint", "HeadPoint", "ShaftPoint", "EndPoint")
SIZE = (576, 720)  # height and width of every frame
TOOLS = {
    "all": ("tool1", "tool2", "tool3", "tool4"),
    "needle_driver": ("tool1", "tool2"),
    "scissor": ("tool3", "tool4"),
}
_IGNORED = ("TrackedPoint",)  # of some sequences only, and not part of the published evaluation
_ROOT = "Tracking_Robotic"  # the folders of the challenge begin with it

Spots = dict[tuple[str, str], list[tuple[int, float, float, int]]]  # (tool, joint): entry, x, y, visibility


class EndoVis(Format):
    """One instance per tool and frame; ``tools`` is ``all``, ``needle_driver`` (tools 1, 2) or ``scissor`` (3, 4).

    ``source`` is one label file or a folder of ``*_labels.json``. Images are looked for under the path that the label
    file names, from ``Tracking_Robotic_...`` on: ``IMAGES/Tracking_Robotic_Testing/Dataset1/Raw/img_0001.png``. The
    file's name gives the subject (``test1``) and the split (``train`` or ``test``); the challenge's test sequences 1 to
    4 continue the videos of its training sequences 1 to 4.

    A frame without entries was not annotated and is left out. A frame without any of the chosen tools has one row
    that says so (``ABSENT``). A joint that an annotated tool lacks is not annotated, never absent: some are plainly in
    view. Left and right are seen along the shaft towards the tip, so a mirrored image swaps them.

    Entries that cannot be used are left out and listed in the dataset's ``problems``, not guessed: no ``id`` or that of
    no tool, an unknown joint, no numbers, a point outside the frame of 720 x 576, two of one joint (both are left out).
    Coordinates are kept as they are; the source does not say where its pixels have their origin.
    """

    def __init__(self, tools: str = "all") -> None:
        if tools not in TOOLS:
            raise ConfigError(f"tools: unknown tools '{tools}'; {did_you_mean(str(tools), TOOLS)}")
        self.tools = tools

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read label files; ``images`` is the folder that holds the challenge's folders (default: the labels')."""
        _, folder, files = annotation_files(source, "_labels.json", images)
        rows = Collected(Path(source), folder, JOINTS)
        rows.image.loose = False  # every sequence has its img_0001.png
        for file in files:
            try:
                frames = _frames(file)
            except DataError as error:
                if len(files) == 1:
                    raise
                rows.problem(file, f"{reason(file, error)}; left out")
            else:
                _take(rows, file, frames, TOOLS[self.tools])
        marks = LandmarkSet(JOINTS, pairs=(("LeftClasperPoint", "RightClasperPoint"),))
        try:
            return rows.dataset("endovis2015", landmarks=marks, instances=True)
        except DataError as error:
            expected = f"expected joints of '{self.tools}', got none in {len(files)} label files"
            raise DataError(f"{source}: {expected}{''.join(str(error).partition(chr(10))[1:])}") from None

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Refused: raises DataError."""
        raise DataError(f"{target}: EndoVis labels are only read, got a dataset to write; use coco or native instead")


def _frames(file: Path) -> list[Any]:
    frames = load_json(file)
    if not isinstance(frames, list):
        raise DataError(f"{file}: expected a JSON list of frames, got {type(frames).__name__}; is it a label file?")
    return frames


def _take(rows: Collected, file: Path, frames: list[Any], tools: tuple[str, ...]) -> None:
    """The annotated frames of one label file, a row per tool."""
    subject = file.stem.removesuffix("_labels")
    split = next((name for name in ("train", "test") if subject.startswith(name)), "")
    first: dict[str, int] = {}
    for index, frame in enumerate(frames):
        where = f"frame {index}"
        name, entries = (frame.get("filename"), frame.get("annotations")) if isinstance(frame, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(entries, list):
            rows.problem(file, f"{where}: expected 'filename' as str and 'annotations' as list; left out")
            continue
        if not entries:
            rows.tally(file, "frames without entries count as not annotated; left out", str(index))
            continue
        place = _place(name)
        where += f" ({place.rsplit('/', 1)[-1]})"
        try:
            image = rows.image(place if inside_folder(place) else "")
        except DataError:
            message = f"expected a path with a folder '{_ROOT}...' or a relative one, got {shown(name)}; frame left out"
            rows.problem(file, f"{where}: {message}")
            continue
        if place in first:
            rows.problem(file, f"{where}: expected each image once, got frame {first[place]} again; left out")
        else:
            first[place] = index
            rows.stated_size(image, SIZE[1], SIZE[0])
            for tool, values in _instances(file, where, entries, tools, rows.problems):
                rows.add_values(image, JOINTS, values, split=split, subject=subject, instance=tool)


def _place(name: str) -> str:
    """The image below the images folder: from the challenge's own folder on, whatever machine wrote the name.

    >>> _place("/home/me/Tracking_Robotic_Testing/Dataset1/Raw/img_0001.png")
    'Tracking_Robotic_Testing/Dataset1/Raw/img_0001.png'
    """
    parts = name.replace("\\", "/").split("/")
    start = next((index for index, part in enumerate(parts) if part.startswith(_ROOT)), 0)
    return "/".join(parts[start:])


def _instances(
    file: Path, where: str, entries: list[Any], tools: tuple[str, ...], problems: list[Problem]
) -> Iterator[tuple[str, FloatArray]]:
    """(tool, marks (K, 4)) of the chosen tools in a frame; one row of its own when there are none."""
    spots: Spots = {}
    present: set[str] = set()
    doubtful: set[str] = set()  # joints of which an entry could not be used
    for index, entry in enumerate(entries):
        message = _add(entry, index, spots, present, doubtful, tools)
        if message is not None:
            problems.append(Problem(file, f"{where}, entry {index}: {message}; left out"))
    for (tool, joint), found in spots.items():
        if len(found) > 1:
            which = " and ".join(f"{index} ({x:g}, {y:g})" for index, x, y, _ in found)
            message = f"expected one {joint} of {tool}, got entries {which}; all left out"
            problems.append(Problem(file, f"{where}: {message}"))
    known = {key: found[0][1:] for key, found in spots.items() if len(found) == 1}
    for tool in tools:
        if tool in present:
            yield tool, np.array([(*known.get((tool, joint), (np.nan, np.nan, 0)), np.nan) for joint in JOINTS])
    if not present & set(tools):
        yield "", np.array([(np.nan, np.nan, 0 if joint in doubtful else ABSENT, np.nan) for joint in JOINTS])


def _add(
    entry: Any, index: int, spots: Spots, present: set[str], doubtful: set[str], tools: tuple[str, ...]
) -> str | None:
    """Take one entry up, or say what is wrong with it; faults of tools that are not wanted are passed over."""
    if not isinstance(entry, dict):
        doubtful.update(JOINTS)
        return f"expected a JSON object, got {type(entry).__name__}"
    joint, tool = entry.get("class"), entry.get("id")
    if not isinstance(joint, str):  # a list or an object names nothing
        joint = shown(joint)
    if tool in TOOLS["all"]:
        present.add(tool)
        if tool not in tools:
            return None
    if joint in _IGNORED:
        return None
    if joint not in JOINTS:
        doubtful.update(JOINTS)
        return f"unknown joint {shown(joint)}; {did_you_mean(str(joint), JOINTS)}"
    if tool not in TOOLS["all"]:
        doubtful.add(joint)
        got = "none" if "id" not in entry else shown(tool)
        return f"expected the id of a tool ({', '.join(TOOLS['all'])}) for {joint}, got {got}"
    x, y = number(entry.get("x")), number(entry.get("y"))
    if x is None or y is None:
        return f"expected two numbers for {joint} of {tool}, got {shown(entry.get('x'))}, {shown(entry.get('y'))}"
    if not inside(np.array([x, y]), SIZE):
        return f"expected {joint} of {tool} inside {SIZE[1]} x {SIZE[0]} pixels, got ({x:g}, {y:g})"
    spots.setdefault((tool, joint), []).append((index, x, y, 1 if entry.get("occluded") is True else 2))
    return None
