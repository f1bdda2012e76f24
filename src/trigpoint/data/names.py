"""Where an image is that an annotation file names: names are written on other machines and systems, and sets move."""

import os
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from trigpoint.data.files import inside, sound_text
from trigpoint.data.pixels.images import SUFFIXES
from trigpoint.errors import DataError, counted

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")  # macOS and Linux write the same umlaut differently


class ImageFinder:
    """Finds the images that foreign annotation files name, below ``folder``; each way of finding is counted.

    A name is tried as it stands, with either slash, decoded where it is an address, in both codings of accents; then,
    as names made on another machine need, by the end of its path (``/home/x/proj/labeled-data/v1/a.png`` is
    ``labeled-data/v1/a.png`` here), at last by its file name, where just one file below ``folder`` has it.
    ``moved`` lists the names that were found by their end only, ``missing`` those that were not found. ``shared``:
    files to which different names lead, at least one by its end only (``a/1.png`` and ``b/1.png``, and here is just one
    1.png). Without ``loose``, the file name alone is not searched for in folders of other names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loose = True
        self.moved: dict[str, Path] = {}
        self.missing: dict[str, Path] = {}
        self.shared: dict[Path, list[str]] = {}
        self._names: dict[Path, str] = {}

    def __call__(self, name: str) -> Path:
        """The image's path; where there is none, the place where it was expected. Raises DataError for no name."""
        plain = plain_name(name)
        parts = [part for part in PurePosixPath(plain).parts if part not in ("/", "..")]
        if not parts or not sound_text(name) or not inside("/".join(parts)):
            raise DataError(f"expected the name of an image file, got {name!r:.80}")
        for form in _forms(plain):
            if _is_file(self.folder / form):
                return self._found(Path(os.path.normpath(self.folder / form)), plain)
        for start in range(0 if plain.startswith(("/", "..")) else 1, len(parts)):
            for form in _forms("/".join(parts[start:])):
                if _is_file(self.folder / form):
                    return self._found(self.moved.setdefault(name, self.folder / form), plain)
        same = self._by_file_name.get(unicodedata.normalize("NFC", parts[-1]), []) if self.loose else []
        if len(same) == 1:
            return self._found(self.moved.setdefault(name, same[0]), plain)
        return self.missing.setdefault(name, self.folder.joinpath(*parts))

    def _found(self, image: Path, name: str) -> Path:
        first = self._names.setdefault(image, name)
        if first != name and not _same_place(first, name) and not _same_place(name, first):
            names = self.shared.setdefault(image, [first])
            if name not in names:
                names.append(name)
        return image

    def alike(self, name: str) -> Path:
        """As a call; for a name that is not found also the one image that differs in letter case or suffix only."""
        path = self(name)
        if name not in self.missing or not self.loose:
            return path
        last = PurePosixPath(plain_name(name)).name
        for wanted in dict.fromkeys((_folded(last), _folded(PurePosixPath(last).stem))):
            places = self._by_folded_name.get(wanted, [])
            if len(places) == 1:
                del self.missing[name]
                spelled = PurePosixPath(plain_name(name)).with_name(places[0].name).as_posix()
                return self._found(self.moved.setdefault(name, places[0]), spelled)
            if places:
                break
        return path

    @cached_property
    def _by_file_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for place, _, files in os.walk(self.folder):
            for file in files:
                found.setdefault(unicodedata.normalize("NFC", file), []).append(Path(place, file))
        return found

    @cached_property
    def _by_folded_name(self) -> dict[str, list[Path]]:
        """The images by their names without regard to letter case, and by these without their suffix."""
        found: dict[str, list[Path]] = {}
        for file, places in self._by_file_name.items():
            if PurePosixPath(file).suffix.lower() in SUFFIXES:
                for key in (file, PurePosixPath(file).stem):
                    found.setdefault(_folded(key), []).extend(places)
        return found


def found_by_end(number: int) -> str:
    """What is told of names that were found by their end.

    >>> found_by_end(1), found_by_end(2)
    ('1 image was found by the end of its name only', '2 images were found by the end of their names only')
    """
    rest = "was found by the end of its name" if number == 1 else "were found by the end of their names"
    return f"{counted(number, 'image')} {rest} only"


def plain_name(name: str) -> str:
    """A name with forward slashes, without drive and address.

    >>> plain_name("C:\\\\a\\\\b.png"), plain_name("file:///a/b%20c.png"), plain_name("./a.png")
    ('/a/b.png', '/a/b c.png', 'a.png')
    """
    text = name.strip()
    if "://" in text[:10]:
        text = unquote(urlsplit(text).path)
    text = text.replace("\\", "/")
    if text[1:3] == ":/":
        text = text[2:]
    return text.removeprefix("./")


def _same_place(name: str, whole: str) -> bool:
    """Whether a whole path of another machine may be the file that a name below a folder is here, however spelled."""
    plain = [os.path.normpath(unicodedata.normalize("NFC", text)) for text in (name, whole)]
    return plain[0] == plain[1] or (plain[1].startswith(os.sep) and plain[1].endswith(os.sep + plain[0]))


def _forms(name: str) -> Iterator[str]:
    yield name
    for form in _FORMS:
        if (other := unicodedata.normalize(form, name)) != name:
            yield other


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for this system
        return False
