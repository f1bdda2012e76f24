"""Tables as files for a paper or a spreadsheet: .csv, .xlsx with a sheet for each, .tex with the rules of booktabs."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd

from trigpoint.data.files import refuse_existing, write_bytes, write_text
from trigpoint.data.written import refuse_formulas
from trigpoint.errors import ConfigError
from trigpoint.report.tables import UNKNOWN, Row

ENDINGS = (".csv", ".tex", ".xlsx")
_DIGITS = 4  # a ten-thousandth of a pixel or mm; more would be noise
_WIDEST = 40  # characters of a column of a sheet


@dataclass(frozen=True)
class Tables:
    """The tables of one subject: ``sheets`` by name, of which the first is the main one, with plain numbers.

    ``paper`` is the main one in rounded text, as it is printed, with ``last`` rows of totals; ``papers`` are others of
    the sheets in rounded text. ``about`` says of what the numbers are.
    """

    sheets: Mapping[str, Sequence[Row]]
    paper: Sequence[Row]
    about: Sequence[str] = ()
    last: int = 1
    papers: Mapping[str, Sequence[Row]] = field(default_factory=dict)


def table_files(path: str | Path, more: Sequence[str], papers: Sequence[str] = ()) -> list[Path]:
    """Where ``write_tables`` writes: ``path``, and beside it a file for each of the ``more`` tables where that is .csv,
    and for each of the ``papers`` where it is .tex.

    Raises ConfigError for another ending, and for .xlsx without the package that writes it.

    >>> [file.name for file in table_files("errors.csv", ["images", "subjects"])]
    ['errors.csv', 'errors-images.csv', 'errors-subjects.csv']
    >>> [file.name for file in table_files("errors.tex", ["images", "measurements"], ["measurements"])]
    ['errors.tex', 'errors-measurements.tex']
    """
    file = Path(path)
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"{file}: expected a table ending in {', '.join(ENDINGS)}, got '{file.suffix}'; rename it")
    if ending == ".xlsx" and find_spec("openpyxl") is None:
        raise ConfigError(
            f'{file}: xlsx needs a package that is not installed; pip install "trigpoint[excel]", or write .csv'
        )
    names = {".csv": more, ".tex": papers}.get(ending, ())
    return [file, *(file.with_name(f"{file.stem}-{name}{file.suffix}") for name in names)]


def write_tables(path: str | Path, tables: Tables, *, overwrite: bool = False) -> list[Path]:
    """Write the tables as the ending says, see ``table_files``; each file whole or not at all. Gives the files.

    Raises DataError for a file that exists, before any is written, and for names that a spreadsheet would calculate.
    """
    more = list(tables.sheets)[1:]
    files = table_files(path, more, list(tables.papers))
    for file in files:
        refuse_existing(file, overwrite)
    frames = {name: _frame(rows) for name, rows in tables.sheets.items()}
    ending = files[0].suffix.lower()
    if ending == ".tex":
        others = [replace(tables, paper=rows, last=0) for rows in tables.papers.values()]
        for file, one in zip(files, [tables, *others], strict=True):
            write_text(file, latex(one), overwrite=overwrite)
        return files
    for frame in frames.values():
        refuse_formulas(
            [*map(str, frame.columns), *map(str, frame.select_dtypes(["object", "str"]).stack())], str(files[0])
        )
    if ending == ".xlsx":
        write_bytes(files[0], _workbook(frames), overwrite=overwrite)
    else:
        for file, frame in zip(files, frames.values(), strict=True):
            write_text(file, frame.to_csv(index=False, lineterminator="\n"), overwrite=overwrite)
    return files


def latex(tables: Tables) -> str:
    r"""The main table as a ``tabular`` of booktabs, to be read with ``\input`` within a table of the paper.

    >>> print(latex(Tables({}, [{"Landmark": "left_eye", "n": "3"}, {"Landmark": "all", "n": "3"}], ["Two images."])))
    % Two images.
    % Needs \usepackage{booktabs}.
    \begin{tabular}{lr}
    \toprule
    Landmark & n \\
    \midrule
    left\_eye & 3 \\
    \midrule
    all & 3 \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    frame = pd.DataFrame(list(tables.paper)).fillna(UNKNOWN).replace(UNKNOWN, "--").replace({"\n": " "}, regex=True)
    sides = "l" + "r" * (len(frame.columns) - 1)
    styled = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    lines = styled.to_latex(hrules=True, column_format=sides).splitlines()
    lines = [re.sub(r"^([\[*])", r"{}\1", line) for line in lines]  # after \\ they would be its arguments
    if 0 < tables.last < len(frame):
        lines.insert(-2 - tables.last, r"\midrule")
    about = [f"% {' '.join(line.split())}" for line in [*tables.about, r"Needs \usepackage{booktabs}."]]
    return "\n".join([*about, *lines]) + "\n"


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pd.DataFrame([{key: _plain(row.get(key)) for key in columns} for row in rows], columns=columns)


def _plain(value: Any) -> Any:
    """A cell: whole numbers stay whole, others are rounded; what is not known is blank."""
    if isinstance(value, Real) and not isinstance(value, bool | Integral):
        return round(float(value), _DIGITS) if math.isfinite(value) else None
    return value


def _workbook(frames: Mapping[str, pd.DataFrame]) -> bytes:
    """A sheet for each table, its first row and column in sight while the others move."""
    stream = io.BytesIO()
    with pd.ExcelWriter(stream, engine="openpyxl") as writer:
        for name, frame in frames.items():
            frame.to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 1))
            sheet = writer.sheets[name]
            for column in sheet.columns:
                longest = max(len(str(cell.value)) for cell in column if cell.value is not None)
                sheet.column_dimensions[column[0].column_letter].width = min(longest + 2, _WIDEST)
    return stream.getvalue()
