"""Which image may have been meant by a name that no file has: another suffix, case, number of zeros or folder."""

import difflib
import os
import re
import unicodedata
from functools import cached_property
from pathlib import Path

from trigpoint.data.pixels.images import is_image

_DRAWN = re.compile(r"_(points|path|glimpses)(_\d+)?$")  # what predict draws is not the image itself
_COMPARED = 2000  # names among which a merely similar one is looked for


class NearbyImages:
    """Looks for the image that a table meant, below ``folder``, of which the names are read once.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "001.jpg").write_bytes(b"")
    >>> [NearbyImages(folder).hint(folder / name) for name in ("001.png", "1.JPG", "sub/001.jpg", "xyz.png")]
    ["; did you mean '001.jpg'?", "; did you mean '001.jpg'?", "; did you mean '001.jpg'?", '']
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hint(self, file: Path) -> str:
        """``; did you mean '001.jpg'?`` for a file that is not there, or nothing."""
        name = _plain(file.name)
        for key in (name, _stem(name), _digits(_stem(name))):
            if found := self._known.get(key):
                beside = [other for other in found if (self.folder / other).parent == file.parent]
                return f"; did you mean '{(beside or found)[0]}'?"
        names = self._numbered.get(_numbers(name), [])[:_COMPARED]  # img_13 is not meant by img_12
        names = [other for other in names if not _DRAWN.search(_stem(other))]
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
        return f"; did you mean '{self._by_name[close[0]]}'?" if close else ""

    @cached_property
    def _names(self) -> list[str]:
        found = []
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            inside = [there for file in sorted(files) if is_image(there := Path(place, file), met=True)]
            found += [file.relative_to(self.folder).as_posix() for file in inside]
        return found

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {_plain(Path(name).name): name for name in reversed(self._names)}

    @cached_property
    def _numbered(self) -> dict[tuple[str, ...], list[str]]:
        found: dict[tuple[str, ...], list[str]] = {}
        for name in self._by_name:
            found.setdefault(_numbers(name), []).append(name)
        return found

    @cached_property
    def _known(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names:
            plain = _plain(Path(name).name)
            for key in dict.fromkeys((plain, _stem(plain), _digits(_stem(plain)))):
                found.setdefault(key, []).append(name)
        return found


def _plain(name: str) -> str:
    """Without differences of case, of the coding of accents, and of spaces and underscores."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", name).casefold().strip())


def _stem(name: str) -> str:
    """Without the suffixes of images; a name without one stays."""
    return re.sub(r"(\.ome)?\.[a-z][a-z0-9]{1,4}$", "", name) or name


def _numbers(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", _digits(_stem(name))))


def _digits(name: str) -> str:
    """Without leading zeros of numbers."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)
