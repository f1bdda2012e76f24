"""A dataset written as a native one: images first, each linked or copied once, then its table and description."""

from __future__ import annotations

import filecmp
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trigpoint.data.description import DEFAULT_TABLE, description_text
from trigpoint.data.files import Progress, check_path, copy_file, possible_name, refuse_existing, shown
from trigpoint.data.missing import missing_problem
from trigpoint.data.table_names import below
from trigpoint.data.written import set_writer, table_text
from trigpoint.errors import DataError

if TYPE_CHECKING:
    from trigpoint.data.dataset import LandmarkDataset

How = Literal["copy", "link", "keep"]


def save_dataset(
    data: LandmarkDataset, target: Path, images: How, *, overwrite: bool = False, progress: Progress | None = None
) -> None:
    """See ``LandmarkDataset.save``."""
    check_path(target)
    names = stored_names(data)
    files = {names[i]: data.samples[i].image for indices in data.by_image() for i in indices[:1]}
    spaced = {sample.spacing_mm for sample in data.samples} - {data.spacing_mm}
    samples = data.samples if spaced else [replace(sample, spacing_mm=None) for sample in data.samples]
    about = description_text(data.name or target.resolve().name, data.landmarks, data.spacing_mm, data.instances)
    table = table_text(samples, data.landmarks, image_names=names, instances=data.instances)
    write = set_writer(target, {DEFAULT_TABLE: table}, about, overwrite=overwrite)
    if images != "keep":
        refuse_missing(data)
        left = {target / "images" / name: source for name, source in files.items()}
        for file, source in list(left.items()):
            if _is_placed(source, file, images):
                del left[file]
            else:
                refuse_existing(file, overwrite)
        for done, (file, source) in enumerate(left.items(), start=len(files) - len(left) + 1):
            _place(source, file, images)
            if progress is not None:
                progress(done, len(files))
    write()


def refuse_missing(data: LandmarkDataset) -> None:
    """Raise one DataError for all images that are not there."""
    first = {sample.image: sample.row or None for sample in reversed(data.samples)}
    for image in first:
        check_path(image)
    missing = {image: row for image, row in reversed(first.items()) if not image.is_file()}
    where = data.table or Path(f"<{data.name}>")
    if problem := missing_problem(missing, len(first), where, data.images):
        raise DataError(str(problem))


def stored_names(data: LandmarkDataset) -> list[str]:
    """Names inside the images folder, by the common folder of all images when some lie outside ``images``.

    Raises DataError for a name that no table holds.
    """
    found: dict[Path, str | None] = {}
    for sample in data.samples:
        if sample.image not in found:
            name = data.names.get(sample.image, "") if data.images is None else below(sample.image, data.images)
            found[sample.image] = name or None
    if None in found.values():
        paths = {image: Path(os.path.abspath(image)) for image in found}
        try:
            root = Path(os.path.commonpath([path.parent for path in paths.values()]))
        except ValueError:  # on several drives
            root = None
        for image, path in paths.items():
            inner = (
                Path(path.drive.strip(":\\/") or "other", *path.parts[1:]) if root is None else path.relative_to(root)
            )
            found[image] = inner.as_posix()
    names = {image: str(name) for image, name in found.items()}
    for image, name in names.items():
        if name != name.strip() or not possible_name(name):
            raise DataError(f"{image}: expected a name that a table can hold, got {shown(name)}; rename the file")
    return [names[sample.image] for sample in data.samples]


def _is_placed(source: Path, target: Path, how: str) -> bool:
    """Whether a command that was stopped has brought this image already; a copy bears the time of its source."""
    if not target.is_file() or target.is_symlink() != (how == "link"):
        return False
    if target.samefile(source):
        return True
    ours, theirs = source.stat(), target.stat()
    if ours.st_size != theirs.st_size or how == "link":
        return False
    return ours.st_mtime_ns == theirs.st_mtime_ns or filecmp.cmp(source, target, shallow=False)


def _place(source: Path, target: Path, how: str) -> None:
    if how != "link":
        copy_file(source, target, overwrite=True)
        with suppress(OSError):  # then its bytes are compared, should this be stopped
            os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name[:40]}.part")
    try:
        part.unlink(missing_ok=True)  # of a command that was killed
        part.symlink_to(source.resolve())
        part.replace(target)
    except OSError as error:
        error.filename = str(target)
        raise
