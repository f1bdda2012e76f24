"""What a table of ours calls an image, and which image its names mean: what it writes it reads as the same file.

Names in files of other tools are for ``trigpoint.data.names``.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trigpoint.data.description import read_description
from trigpoint.data.files import is_formula, possible_name, shown
from trigpoint.errors import DataError


class TableNames:
    """The names of images in a table that lies in ``folder`` and belongs to the images folder ``images``.

    A plain name is meant from ``images``, one that begins with ``./`` or ``../`` from the folder of the table, an
    absolute path is what it is. Where there is no such file, backslashes are slashes, both codings of accents are one
    name, and ``./a.png`` may be below ``images``. ``fixed``: that images lie in ``images`` stays true when somebody
    makes a folder called images beside the table; only then are plain names written.
    """

    def __init__(self, folder: Path, images: Path, *, fixed: bool = True) -> None:
        self.folder, self.images, self.fixed = folder, images, fixed
        self._lists: dict[Path, dict[str, str]] = {}

    @classmethod
    def of(cls, table: Path) -> "TableNames":
        """Those of a table at this place, by the ``dataset.yaml`` beside it, if any. Raises DataError for a bad one."""
        about = read_description(table.parent, [])
        images = about.images_folder
        return cls(table.parent, images, fixed=bool(about.images) or images != table.parent)

    def read(self, name: str) -> Path:
        """The image that a name means; where there is none, the place where it was expected."""
        if name.isascii() and "\\" not in name and not may_leave(name):
            return tidy(self.images / name)  # nothing to try, so the disk is not asked
        slashed = name.replace("\\", "/")
        places = [*self._places(name), *self._places(slashed), *self._old(slashed)]
        for base, rest in places:
            if (found := self._found(base, rest)) is not None:
                return tidy(found)
        base, rest = next(self._places(slashed))
        return tidy(base / rest)

    def write(self, image: Path) -> str:
        """The name that ``read`` takes for this file: plain, from the table's folder, or as it was given.

        Raises DataError for a file that no name in a table means, such as one with a line break in its name, and for
        one that a spreadsheet would calculate.
        """
        plain = below(image, self.images)
        if plain is not None and is_formula(plain):
            got = f"got {shown(plain)}, which a spreadsheet would calculate"
            raise DataError(f"{image}: expected plain text for a table, {got}; rename it")
        for name in self._written(image):
            good = possible_name(name) and name == name.strip() and not is_formula(name)
            if good and same_place(self.read(name), image):
                return name
        raise DataError(f"{image}: expected an image that a table can name, got {shown(image.name)}; rename the file")

    def _places(self, name: str) -> Iterator[tuple[Path, str]]:
        if name.startswith(("./", "../")):
            yield self.folder, name.removeprefix("./")
        elif os.path.isabs(name):
            yield Path(Path(name).anchor), name
        else:
            yield self.images, name

    def _old(self, name: str) -> Iterator[tuple[Path, str]]:
        if name.startswith("./"):
            yield self.images, name[2:]

    def _found(self, base: Path, name: str) -> Path | None:
        """The file of this name, whatever the coding of its accents, or those of a folder on the way."""
        if exists(base / name):
            return base / name
        if name.isascii():
            return None
        place = base
        for part in PurePosixPath(name).parts:
            if not exists(place / part):
                other = self._listed(place).get(unicodedata.normalize("NFC", part))
                if other is None:
                    return None
                part = other
            place = place / part
        return place

    def _listed(self, folder: Path) -> dict[str, str]:
        if folder not in self._lists:
            try:
                names = [name for name in os.listdir(folder) if not name.isascii()]
            except OSError:
                names = []
            self._lists[folder] = {unicodedata.normalize("NFC", name): name for name in names}
        return self._lists[folder]

    def _written(self, image: Path) -> Iterator[str]:
        if self.fixed and (name := below(image, self.images)) is not None:
            yield name
        if (name := below(image, self.folder)) is not None:
            yield f"./{name}"
        if not image.is_absolute():
            pairs = (image, self.folder), (entry(image), os.path.realpath(self.folder))
            for file, folder in pairs:  # the second where a link makes '..' lead elsewhere
                if name := _relative(file, folder):
                    yield name if name.startswith("../") else f"./{name}"
        yield image.as_posix()
        yield Path(os.path.abspath(image)).as_posix()
        yield Path(entry(image)).as_posix()


def may_leave(name: str) -> bool:
    """Whether a name may be that of an image outside of the images folder.

    >>> [may_leave(name) for name in ("a/b.png", "./a.png", "a/../../b.png", "..\\\\b.png", "/a.png", "C:\\\\a.png")]
    [False, True, True, True, True, True]
    """
    return name.startswith((".", "/", "\\")) or ".." in name or name[1:2] == ":"


def canonical(name: str) -> str:
    """One spelling of the names that mean the same place.

    >>> canonical(".\\\\a.png"), canonical("x/../../a.png"), canonical("./a/../../b.png"), canonical("/a//b.png")
    ('./a.png', '../a.png', '../b.png', '/a/b.png')
    """
    slashed = name.replace("\\", "/")
    plain = Path(os.path.normpath(slashed)).as_posix()
    return f"./{plain}" if slashed.startswith("./") and not plain.startswith("../") else plain


def below(file: Path, folder: Path) -> str | None:
    """The name of a file below a folder, with forward slashes, links on the way as given or followed; else None.

    >>> below(Path("faces/images/a/b.png"), Path("faces/images")), below(Path("faces/b.png"), Path("faces/images"))
    ('a/b.png', None)
    """
    for inner, outer in ((os.path.abspath, os.path.abspath), (entry, os.path.realpath)):
        place, start = inner(file), os.path.join(outer(folder), "")  # both absolute, without ".."
        if os.path.normcase(place).startswith(os.path.normcase(start)):
            return place[len(start) :].replace(os.sep, "/")
    return None


def entry(file: Path) -> str:
    """The absolute path of a file as it stands in its folder: links to folders are followed, it may be a link."""
    return os.path.join(os.path.realpath(file.parent), file.name)


def same_place(a: Path, b: Path) -> bool:
    """Whether two paths are one file, or one place where none is."""
    if os.pardir not in (*a.parts, *b.parts) and os.path.abspath(a) == os.path.abspath(b):
        return True
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):
        return not exists(a) and not exists(b) and os.path.abspath(a) == os.path.abspath(b)


class OnePlace:
    """Gives for each path the first of those it was asked for that is the same file of the same folder.

    Two links to one file are two images, as their owner made them; a file whose name is spelled otherwise is one.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}
        self._first: dict[str, Path] = {}
        self._alike: dict[str, list[Path]] = {}

    def __call__(self, image: Path) -> Path:
        """The first path of this file."""
        if image.parent not in self._folders:
            self._folders[image.parent] = os.path.realpath(image.parent)
        place = os.path.join(self._folders[image.parent], image.name)
        if place not in self._first:  # on some systems A.png is a.png, or another coding of accents is
            others = self._alike.setdefault(unicodedata.normalize("NFC", place).casefold(), [])
            self._first[place] = next((other for other in others if _same_entry(image, other)), image)
            others.append(image)
        return self._first[place]


def _same_entry(a: Path, b: Path) -> bool:
    try:
        one, other = a.lstat(), b.lstat()
    except (OSError, ValueError):
        return False
    return os.path.samestat(one, other) and one.st_nlink == 1


def tidy(path: Path) -> Path:
    """The path without ``..``, unless a link on the way gives it another meaning."""
    if os.pardir not in path.parts:
        return path
    plain = Path(os.path.normpath(path))
    return plain if not exists(path) or same_file(plain, path) else path


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file; False where there is none."""
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything; False for a path that the system does not take."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _relative(file: Path | str, folder: Path | str) -> str | None:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive
        return None
