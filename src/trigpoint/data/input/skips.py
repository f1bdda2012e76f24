"""Which images could not be read while a run trained with ``data.on_error=skip``."""

from pathlib import Path

from trigpoint.data.files import csv_text, read_csv, write_text


class SkipLog:
    """``skipped.csv`` of a run: images that could not be read, the part, and the epoch (from 1; blank in validation).

    Every process that reads images adds lines of its own; what is repeated, as after a resume, counts once. Without a
    ``file`` nothing is written yet.
    """

    columns = ("epoch", "part", "image", "reason")

    def __init__(self, part: str) -> None:
        self.part = part
        self.file: Path | None = None
        self._told: set[tuple[int, str]] = set()

    def note(self, epoch: int, image: str, reason: str) -> None:
        """Add a line; ``epoch`` counts from 0, -1 in validation."""
        if self.file is None or (epoch, image) in self._told:
            return
        self._told.add((epoch, image))
        line = csv_text([["" if epoch < 0 else epoch + 1, self.part, image, " ".join(reason.split())]])
        with self.file.open("ab", buffering=0) as stream:
            stream.write(line.encode())  # one call: lines of several processes do not mix

    @classmethod
    def begin(cls, file: Path) -> None:
        """Make the file, if there is none, with no image in it."""
        if not file.exists():
            write_text(file, csv_text([cls.columns]))

    @classmethod
    def read(cls, file: Path) -> list[dict[str, str]]:
        """The different lines; one that a kill cut off is left out."""
        rows = read_csv(file, strict=False)
        found = {tuple(row[:3]): row for row in rows if len(row) == len(cls.columns) and tuple(row) != cls.columns}
        return [dict(zip(cls.columns, row, strict=True)) for row in found.values()]


def summary(file: Path) -> str:
    """How many images ``skipped.csv`` lists, in words; nothing for none."""
    names = sorted({row["image"] for row in SkipLog.read(file)}) if file.is_file() else []
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} images could not be read and were skipped: {', '.join(names[:3])}{more}; see {file}"
