"""Copies among the images of a set: the same picture, or one that looks like it, under two names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from trigpoint.data.quality.findings import Finding
from trigpoint.data.quality.fingerprint import COPY, nearest, stack_looks
from trigpoint.data.quality.pictures import Picture, alike
from trigpoint.data.table import Table

_LISTED = 20  # copies that are told one by one; the rest are counted
_NAMED = 3  # in a line that counts
_SCENE = 10, 1 / 3  # images, and share of all, from which those that look alike are of one scene rather than copies


def copy_findings(table: Table, images: Mapping[Path, Picture]) -> list[Finding]:
    """The same picture under two names: an error across splits, for the numbers would be of training data, else a
    warning; and pictures that look like others: in another split, or in a set that is not divided yet."""
    rows = {file: own[0] for file, own in table.listed.items()}
    first = {sample.row: sample for sample in table.samples}
    split = {file: first[row].split if row in first else "" for file, row in rows.items()}
    subject = {file: first[row].subject if row in first else "" for file, row in rows.items()}
    found = _same(images, rows, split)
    if any(split.values()):
        return found + _across_splits(table, images, rows, split)
    return found + _undivided(table, images, rows, subject)


def _named(image: Path, rows: Mapping[Path, int], split: Mapping[Path, str]) -> str:
    return f"{image.name} (row {rows[image]}), which is in " + (
        f"split '{split[image]}'" if split[image] else "no split"
    )


def _same(images: Mapping[Path, Picture], rows: Mapping[Path, int], split: Mapping[Path, str]) -> list[Finding]:
    first: dict[str, Path] = {}
    found = []
    for file, image in images.items():
        twin = first.setdefault(image.digest, file)
        if not image.digest or twin == file:
            continue
        same = f"same picture as {_named(twin, rows, split)}"
        if split[file] != split[twin]:
            where = f"in '{split[file]}'" if split[file] else "in none"
            found.append(Finding(file, f"{same} while this is {where}; keep one", rows[file]))
        else:
            found.append(Finding(file, f"{same}; keep one", rows[file], severity="warning"))
    return found


def _across_splits(
    table: Table, images: Mapping[Path, Picture], rows: Mapping[Path, int], split: Mapping[Path, str]
) -> list[Finding]:
    """Pictures that look like copies of one in another split: other grey values, size or compression."""
    whole = [file for file, image in images.items() if image.look]
    earlier: list[Path] = []
    found: list[Finding] = []
    for name in dict.fromkeys(split[file] for file in whole):
        files = [file for file in whole if split[file] == name]
        place, best = nearest(*(stack_looks([images[file].look for file in part]) for part in (files, earlier)))
        for file, at, similar in zip(files, place, best, strict=True):
            if similar >= COPY and images[earlier[at]].digest != images[file].digest:  # equal ones have been told
                here = f"in '{name}'" if name else "in none"
                looks = f"looks like a copy of {_named(earlier[at], rows, split)} while this is {here}"
                fix = f"(similarity {similar:.2f}); keep one, or put both in one split"
                found.append(Finding(file, f"{looks} {fix}", rows[file], severity="warning"))
        earlier += files
    if len(found) > _LISTED:
        rest = f"{len(found) - _LISTED} more images that look like copies of images in another split"
        found[_LISTED:] = [Finding(table.images, rest, severity="warning")]
    return found


def _undivided(
    table: Table, images: Mapping[Path, Picture], rows: Mapping[Path, int], subject: Mapping[Path, str]
) -> list[Finding]:
    """Pictures of different subjects that look alike, in one line: a split has to keep them together."""
    files = list(images)
    group = alike([images[file] for file in files])
    pairs = [(file, files[at]) for file, at in zip(files, group, strict=True) if files[at] != file]
    pairs = [
        (file, twin)
        for file, twin in pairs
        if images[file].digest != images[twin].digest and not (subject[file] and subject[file] == subject[twin])
    ]
    if not pairs:
        return []
    first = ", ".join(f"{file.name} of {twin.name}" for file, twin in pairs[:_NAMED])
    many = f"{len(pairs)} images look like copies of others" if len(pairs) > 1 else "an image looks like a copy"
    what = f"{many} ({first}{', ...' * (len(pairs) > _NAMED)})"
    fix = "keep one of each, or let 'trigpoint data split FOLDER' put them into one split"
    return [Finding(table.images, f"{what}; {fix}", rows[pairs[0][0]], severity="warning")]


def joined(groups: Sequence[str], pictures: Sequence[Picture], least: int = 1) -> tuple[list[str], list[str]]:
    """Groups (N,) of what no split divides, joined where their pictures are copies; and what to tell about it.

    Where pictures that only look alike join a third of all, as the frames of one scene do, or leave fewer groups than
    the ``least``, groups are joined by equal pixels alone; where even these leave fewer, none are.
    """
    by_look = _merged(groups, alike(pictures).tolist())
    by_pixels = _merged(groups, alike(pictures, threshold=2.0).tolist())
    sizes = Counter(name for name, before in zip(by_look, groups, strict=True) if name != before)
    told = []
    chosen = by_look
    if max(sizes.values(), default=0) > max(_SCENE[0], _SCENE[1] * len(groups)) or len(set(by_look)) < least:
        told.append("many images look alike, as of one scene, so only images with equal pixels are kept together")
        chosen = by_pixels
    if len(set(chosen)) < min(least, len(set(groups))):
        return list(groups), ["too many images are copies of one another to keep them together; remove the copies"]
    moved = [name for name, before in zip(chosen, groups, strict=True) if name != before]
    if moved:
        told.append(f"{len(moved)} images are kept together with those that they, or others of their subject, copy")
    return chosen, told


def _merged(groups: Sequence[str], label: Sequence[int]) -> list[str]:
    """Groups (N,), those with a label in common under the name of the first."""
    parent: dict[str, str] = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[int, str] = {}
    order = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    for name, own in zip(groups, label, strict=True):
        a, b = sorted((root(first.setdefault(own, name)), root(name)), key=lambda each: order[each])
        parent[b] = a
    return [root(name) for name in groups]
