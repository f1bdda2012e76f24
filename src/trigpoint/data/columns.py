"""Tables that are written column by column: csv, or Parquet where the file is named so, all at once or in parts.

A Parquet file has the columns of the csv file, numbers as numbers, and nothing where a cell is blank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from trigpoint.data.files import column_text, decoding, open_file, whole
from trigpoint.errors import DataError, needed

PARQUET = ".parquet"
Columns = Mapping[str, Sequence[Any]]
"""Of a table: the values of each column by its name, as many of each."""


def is_parquet(path: str | Path) -> bool:
    """Whether a table of this name is Parquet.

    >>> is_parquet("a/predictions.parquet"), is_parquet("predictions.csv")
    (True, False)
    """
    return Path(path).suffix.lower() == PARQUET


def check_table(path: str | Path) -> None:
    """Raise ConfigError where a table of this name cannot be written, for lack of a package, before any work."""
    if is_parquet(path):
        with needed(f"{path}: Parquet"):
            import pyarrow.parquet  # noqa: F401


def write_columns(path: str | Path, columns: Columns, *, overwrite: bool = False) -> Path:
    """Write a table, whole or not at all. Raises DataError if the file exists, ConfigError without what it takes."""
    with columns_writer(path, overwrite=overwrite) as add:
        add(columns)
    return Path(path)


@contextmanager
def columns_writer(path: str | Path, *, overwrite: bool = False) -> Iterator[Callable[[Columns], None]]:
    """A function that adds rows to a table, which appears when the block ends, and not at all when it fails.

    All calls give the same columns. Raises as ``write_columns``.
    """
    check_table(path)
    with whole(path, overwrite=overwrite) as stream, ExitStack() as stack:
        yield _parquet(stream, stack) if is_parquet(path) else _csv(stream)


def _csv(stream: IO[bytes]) -> Callable[[Columns], None]:
    names: list[str] = []

    def add(columns: Columns) -> None:
        text = column_text(columns)
        if names and names != list(columns):
            raise ValueError(f"expected the columns {names}, got {list(columns)}")
        stream.write((text.split("\n", 1)[1] if names else text).encode())
        names[:] = list(columns)

    return add


def _parquet(stream: IO[bytes], stack: ExitStack) -> Callable[[Columns], None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: list[Any] = []

    def add(columns: Columns) -> None:
        schema = pa.schema([(name, _type(name, values, pa)) for name, values in columns.items()])
        if not writer:
            writer.append(stack.enter_context(pq.ParquetWriter(stream, schema)))
        arrays = [
            pa.array(_blank(values, field.type, pa), field.type, from_pandas=True)
            for field, values in zip(schema, columns.values(), strict=True)
        ]
        writer[0].write_table(pa.table(arrays, schema=schema))

    return add


def _type(name: str, values: Sequence[Any], pa: Any) -> Any:
    """Of a column: its name decides where its values are texts, so that all parts of a table have one type."""
    if name == "instance":
        return pa.int64()
    return pa.string() if len(values) == 0 or isinstance(values[0], str) else pa.float64()


def _blank(values: Sequence[Any], kind: Any, pa: Any) -> Sequence[Any]:
    if kind == pa.int64():
        return [int(value) if value != "" else None for value in values]
    return [value or None for value in values] if kind == pa.string() else values


def parquet_rows(file: Path) -> list[list[str]]:
    """The cells of a Parquet table as those of a csv file, the header first. Raises DataError, and ConfigError without
    what reads it."""
    with needed(f"{file}: Parquet"):
        import pyarrow.parquet as pq
    with open_file(file) as stream, decoding(file, "expected a Parquet table, got none that can be read"):
        table = pq.read_table(stream)
        columns = [table.column(name).to_pylist() for name in table.column_names]
    if len(set(table.column_names)) < len(table.column_names):
        raise DataError(f"{file}: expected columns of different names, got {', '.join(table.column_names)}; rename one")
    cells = [["" if value is None or value != value else str(value) for value in column] for column in columns]
    return [list(table.column_names), *(list(row) for row in zip(*cells, strict=True))]
