"""``trigpoint data convert | merge``: annotations of other tools become a set, or the reverse; sets become one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from trigpoint.cli.console import note, progress
from trigpoint.errors import ConfigError, DataError, counted, did_you_mean

if TYPE_CHECKING:
    from trigpoint.data import LandmarkDataset
    from trigpoint.data.description import Problem

NATIVE = "native"
_ROOM = Path(__file__).parents[1] / "data" / "formats"  # its modules bear the formats' names; importing them takes time
_SHARED = ("base", "collected", "objects")  # what the formats share
_FORMATS = ", ".join([NATIVE, *(module.name for module in iter_modules([str(_ROOM)]) if module.name not in _SHARED)])
_TOLD = 10  # of what a reader left out, one line each

Images = Annotated[
    Path | None, typer.Option("--images", help="Look for the images below this folder, if they or the table moved.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.")]


def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="The annotations: files or folders, depending on the format."),
    ],
    start: Annotated[str, typer.Option("--from", help=f"{_FORMATS}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder or file to write.")],
    target: Annotated[str, typer.Option("--to", help="The format to write.")] = NATIVE,
    images: Images = None,
    names: Annotated[
        str | None, typer.Option("--names", help="Names for a format without names: a,b,c or a file, one per line.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of a format, see above.")
    ] = None,
    origin: Annotated[
        str, typer.Option("--origin", help="Where foreign files have (0, 0) of the top-left pixel: centre or corner.")
    ] = "centre",
    link: Annotated[bool, typer.Option("--link", help="Link native images instead of copying them.")] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out rows whose image is not there, and count them.")
    ] = False,
    force: Force = False,
) -> None:
    """Convert annotations from one format to another. Landmarks are matched by name.

    Several sources become one set; what states no subset is in that of its source's name (train.json val.json).

    Options of a format, such as category=NAME (coco), annotator=senior (isbi), predictions=yes (sleap), unit=mm (tps),
    are listed in docs/data-format.md; a misspelt one is answered with those that there are.

    Example: trigpoint data convert 300w/ --from pts --out data/300w
    """
    from trigpoint.data.quality.sentinels import find_sentinels
    from trigpoint.data.sources import read_sources

    options = _options(option or [], names)
    reading, writing = _format_options(start, options), _format_options(target, options)
    unused = [key for key in options if key not in reading and key not in writing]
    if unused:
        valid = sorted({*_keywords(start), *_keywords(target)})
        fix = did_you_mean(unused[0], valid)
        raise ConfigError(f"option '{unused[0]}': unknown to the formats {start} and {target}; {fix}")
    if start == target == NATIVE and origin != "centre":
        raise ConfigError("--origin: native sets have the centre of the top-left pixel at (0, 0); leave it out")
    if start == NATIVE and len(sources) > 1:
        raise ConfigError(f"convert: expected one native set, got {len(sources)}; join them: trigpoint data merge")

    def read(source: Path) -> LandmarkDataset:
        found = _read(source, start, images, reading, origin, check=not skip_missing)
        return _with_images(found, source, skip_missing) if target == NATIVE or skip_missing else found

    dataset = read_sources(sources, read)
    for one in find_sentinels(dataset.points)[:_TOLD]:
        note(f"warning: landmark '{dataset.landmarks.names[one.column]}': {one.message}")
    _tell_problems(dataset)
    written = _write(dataset, target, out, writing, origin, link, force)
    note(f"wrote {written}: {counted(len(dataset), 'row')}, {counted(len(dataset.landmarks), 'landmark')}")
    if target != NATIVE and not writing.get("copy"):
        fix = "--option copy=true copies them" if "copy" in _keywords(target) else "put them where the other tool looks"
        note(f"only annotations were written, no images; {fix}")


def _options(given: list[str], names: str | None) -> dict[str, Any]:
    from trigpoint.config import apply_overrides
    from trigpoint.data.files import read_text

    try:
        options = apply_overrides({}, given)
    except (ConfigError, yaml.YAMLError) as error:
        raise ConfigError(f"--option: {error}") from None
    if names is not None:
        text = read_text(names).replace("\n", ",") if os.path.isfile(names) else names
        options["names"] = [name.strip() for name in text.split(",") if name.strip()]
    return options


def _keywords(form: str) -> list[str]:
    from trigpoint.data.formats import ALIASES, FORMATS

    if form == NATIVE:
        return []
    if form not in FORMATS:
        near = ALIASES.get(form.lower().lstrip("."), form)
        raise ConfigError(f"unknown format '{form}'; {did_you_mean(near, [NATIVE, *FORMATS])}")
    return list(inspect.signature(FORMATS[form]).parameters)


def _format_options(form: str, options: dict[str, Any]) -> dict[str, Any]:
    return {key: options[key] for key in _keywords(form) if key in options}


def _read(
    source: Path, form: str, images: Path | None, options: dict[str, Any], origin: str, check: bool
) -> LandmarkDataset:
    from trigpoint.data import LandmarkDataset
    from trigpoint.data.formats import FORMATS
    from trigpoint.data.origin import origin_of, read_from

    if images is not None and not images.is_dir():
        raise DataError(f"--images {images}: expected a folder, got none there; check the path")
    counted = origin_of(origin)
    if form != NATIVE:
        return read_from(FORMATS[form](**options).read(source, images), counted)
    return _of_videos(LandmarkDataset.load(source, images=images, check_images=check))


def _of_videos(found: LandmarkDataset) -> LandmarkDataset:
    """The same with the video as the subject of its frames, where they were predicted and name none."""
    from trigpoint.data.videos import with_video_subjects

    data, told = with_video_subjects(found)
    if told:
        note(told)
    return data


def _with_images(found: LandmarkDataset, source: Path, skip: bool) -> LandmarkDataset:
    """The rows whose images are there; raises DataError for the others, unless they are to be left out."""
    from dataclasses import replace

    from trigpoint.data.description import Problem
    from trigpoint.data.formats.collected import NOT_BELOW
    from trigpoint.data.saving import refuse_missing
    from trigpoint.data.table import raise_problems

    there = {image: image.is_file() for image in {sample.image for sample in found.samples}}
    missing = sorted(image for image, exists in there.items() if not exists)
    if not missing:
        return found
    if not skip or len(missing) == len(there):
        try:
            refuse_missing(found)
        except DataError as error:
            told = DataError(f"{error}. To leave out what is missing: --skip-missing" if not skip else str(error))
            for line in _problem_lines([one for one in found.problems if NOT_BELOW not in one.message]):
                told.add_note(line)
            raise told from None
    left = [sample for sample in found.samples if there[sample.image]]
    out = Problem(source, f"left out {len(missing)} of {len(there)} images that are not there, the first {missing[0]}")
    found = replace(found, samples=left, problems=[*found.problems, out])
    raise_problems(found.image_problems())
    return found


def _write(
    dataset: LandmarkDataset, form: str, out: Path, options: dict[str, Any], origin: str, link: bool, force: bool
) -> Path:
    from trigpoint.data.formats import FORMATS
    from trigpoint.data.formats.base import not_kept
    from trigpoint.data.origin import written_to

    if form == NATIVE:
        with progress("linking images" if link else "copying images") as advance:
            return dataset.save(out, images="link" if link else "copy", overwrite=force, progress=advance)
    if link:
        raise ConfigError("--link: only a native dataset holds images; leave it out")
    writer = FORMATS[form](**options)
    writer.write(written_to(dataset, origin), out, overwrite=force)
    for text in writer.untold:
        note(f"warning: {out}: {text}")
    if lost := not_kept(writer, dataset):
        note(f"{form} does not keep {', '.join(lost)}; add to dataset.yaml what you need when you read it again")
    return out


def merge(
    sets: Annotated[list[Path], typer.Argument(metavar="A B ...", help="Dataset folders, or tables in them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    same_subjects: Annotated[
        bool, typer.Option("--same-subjects", help="Subjects of one name in several sets are the same people.")
    ] = False,
    link: Annotated[bool, typer.Option("--link", help="Link the images instead of copying them.")] = False,
    force: Force = False,
) -> None:
    """Join datasets by the names of their landmarks. One that a set lacks is not annotated in its images.

    Images of equal names get a folder for each set. A picture that several sets hold becomes one row, if they agree.

    Example: trigpoint data merge data/ward1 data/ward2 --out data/both
    """
    from trigpoint.data import LandmarkDataset
    from trigpoint.data.merge import merge_datasets

    joined = merge_datasets([_of_videos(LandmarkDataset.load(each)) for each in sets], same_subjects=same_subjects)
    _tell_problems(joined)
    with progress("linking images" if link else "copying images") as advance:
        joined.save(out, images="link" if link else "copy", overwrite=force, progress=advance)
    note(f"wrote {out}: {counted(len(joined), 'row')}, {counted(len(joined.landmarks), 'landmark')}")


def _tell_problems(dataset: LandmarkDataset) -> None:
    for line in _problem_lines(dataset.problems):
        note(line)


def _problem_lines(problems: Sequence[Problem]) -> list[str]:
    """What was left out or decided, the first lines of it."""
    more = [f"warning: and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
    return [*(f"warning: {problem}" for problem in problems[:_TOLD]), *more]
