"""What the verbs share: errors as one message, results on stdout, notes and progress on stderr, no file lost."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from trigpoint.errors import REFUSED, DataError, TrigpointError, missing, stoppable

BAD_INPUT = 2
_BOXED = 80  # columns of a terminal from which on help stands in boxes
_RESUMED = ("train", "demo", "reproduce")  # verbs that take up where they were stopped
_SYSTEM = (*REFUSED, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class Flowing(TyperGroup):
    """A group whose verbs' help flows: a paragraph is broken where the terminal ends, not where the source does."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """As in typer."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help and not isinstance(command, TyperGroup):
            command.help = flowing(command.help)
        if isinstance(command, TyperCommand) and shutil.get_terminal_size().columns < _BOXED:
            command.rich_markup_mode = None  # boxes and columns leave too little room: words would be cut
        return command


def flowing(text: str) -> str:
    """Paragraphs on a line each; but examples, which have a line each, and a word in front.

    >>> flowing("Find points.\\n\\nThe table has\\nscores.\\n\\nExample: run a\\nTo compare: run b")
    'Find points.\\n\\nThe table has scores.\\n\\nExample: run a\\nTo compare: run b'
    """
    parts = text.split("\n\n")
    return "\n\n".join(part if part.lstrip().startswith("Example") else " ".join(part.split()) for part in parts)


class Verbs(Flowing):
    """The group of all verbs; turns bad input, Ctrl-C and SIGTERM into a message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As in typer; what was given is kept."""
        ctx.meta["given"] = [*args, os.getcwd()]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen verb."""
        with stoppable():
            try:
                for text in ctx.meta["given"]:
                    if text.encode("utf-8", "replace").decode() != text:  # could be written to no table and no settings
                        got = "got other bytes; rename it"
                        raise DataError(f"{os.fsencode(text)!r}: expected a path that is UTF-8, {got}")
                return super().invoke(ctx)
            except TrigpointError as error:
                _tell_notes(error)
                note(f"error: {error}")
            except ImportError as error:
                advice = missing(error)
                if advice is None:  # not an extra: a bug, with its traceback
                    raise
                note(f"error: trigpoint {ctx.invoked_subcommand}: {advice}")
            except OSError as error:
                if error.errno not in _SYSTEM:  # not the user's files: a bug, with its traceback
                    raise
                _tell_notes(error)
                what = f"{error.filename or 'output'}: {error.strerror}"
                note(f"error: {what}; check the path, its permissions and the disk")
            except KeyboardInterrupt as error:
                number = getattr(error, "number", signal.SIGINT)
                if began_beside_another():
                    with suppress(ProcessLookupError):
                        os.kill(os.getppid(), number)
                    raise typer.Exit(0) from None  # with another code Lightning would kill the one that tells it
                _tell_notes(error)
                resumed = ctx.invoked_subcommand in _RESUMED
                note("stopped; run the same command to resume" if resumed else "stopped")
                raise typer.Exit(128 + number) from None
            raise typer.Exit(BAD_INPUT)


class Several(TyperCommand):
    """A verb whose option ``--against`` takes all values up to the next option, which click would give one each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As in typer, with the option repeated before each of its values.

        >>> Several._repeated(["a", "--against", "b", "c", "--data", "d"])
        ['a', '--against', 'b', '--against', 'c', '--data', 'd']
        """
        return super().parse_args(ctx, self._repeated(args))

    @staticmethod
    def _repeated(args: Sequence[str]) -> list[str]:
        option, repeated = "--against", list[str]()
        own = False  # whether what comes is a value of the option
        for text in args:
            if text.startswith("-"):
                own = text == option or text.startswith(f"{option}=")
            elif own and repeated[-1] != option:
                repeated.append(option)
            repeated.append(text)
        return repeated


def began_beside_another() -> bool:
    """Whether Lightning in another process, which is still there, began this one to share its work."""
    by_others = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return os.environ.get("LOCAL_RANK", "0") != "0" and not by_others and os.getppid() != 1


def _tell_notes(error: BaseException) -> None:
    """What is kept of the work that ended so."""
    for line in getattr(error, "__notes__", ()):
        note(line)


def say(text: str = "", prose: bool = False) -> None:
    """A line of the result, to stdout; ``prose`` is broken between words where a terminal is too narrow for it."""
    typer.echo(_fitting_terminal(text, err=False) if prose else text)


def note(text: str) -> None:
    """A line about the work, to stderr; broken between words where a terminal is too narrow for it."""
    typer.echo(_fitting_terminal(text, err=True), err=True)


def _fitting_terminal(text: str, err: bool) -> str:
    from rich.console import Console

    from trigpoint.report.tables import broken

    return broken(text, Console(stderr=err))


def show_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str] | None = None,
    title: str = "",
    hide: Sequence[str] = (),
    parts: bool = False,
) -> list[str]:
    """A table on stdout: as wide as the terminal, or in a pipe or file as it needs.

    In a terminal that is too narrow, columns of ``hide`` are left out, the first of them first; gives those. With
    ``parts`` none is lost: what has no room beside the others follows below, after the columns that tell rows apart.
    """
    from rich.console import Console
    from rich.text import Text

    from trigpoint.report.tables import columns_of, console_table

    wide, console = Console(width=10_000), Console()  # where nothing is folded
    shown, hidden = columns_of(rows, columns), list[str]()
    if console.is_terminal:
        if title:
            console.print(Text(title, style="bold"))  # beside the table, which may be narrower
        for key in hide:
            if wide.measure(console_table(rows, shown)).maximum <= console.width:
                break
            if key in shown:
                hidden.append(shown.pop(key))
        if parts:
            fitting = _fitting(
                rows, shown, lambda some: wide.measure(console_table(rows, some)).maximum <= console.width
            )
        else:
            fitting = [shown]
        for number, some in enumerate(fitting):
            console.print(*([""] if number else []), console_table(rows, some), sep="\n")
        return hidden
    with wide.capture() as text:
        wide.print(console_table(rows, shown, title or None))
    say("\n".join(line.rstrip() for line in text.get().splitlines()))
    return hidden


def _fitting(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], fits: Callable[[dict[str, str]], bool]
) -> list[dict[str, str]]:
    """Columns in groups that fit, each after the first columns by which the rows differ.

    >>> _fitting([{"a": 1, "b": 2, "c": 3}], {"a": "a", "b": "b", "c": "c"}, lambda some: len(some) < 3)
    [{'a': 'a', 'b': 'b'}, {'a': 'a', 'c': 'c'}]
    """
    names = list(columns)
    known = next(
        (n for n in range(1, len(names)) if len({tuple(row.get(k) for k in names[:n]) for row in rows}) == len(rows)), 1
    )
    lead = {key: columns[key] for key in names[:known]}
    groups = [dict(lead)]
    for key in names[known:]:
        if len(groups[-1]) > known and not fits({**groups[-1], key: columns[key]}):
            groups.append(dict(lead))
        groups[-1][key] = columns[key]
    return groups


def tell_hidden(columns: Sequence[str], where: str) -> None:
    """Which columns a terminal had no room for, if any, and where they are."""
    if columns:
        left = ", ".join(dict.fromkeys(columns))
        note(f"not enough room for: {left}; widen the terminal, or write all with {where}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left on stderr, as a function of (done, total); nothing where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    silent = not console.is_terminal or os.environ.get("LOCAL_RANK", "0") != "0"  # one bar for all processes
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def refuse(path: Path | None, force: bool) -> None:
    """Raise DataError when ``path`` exists and may not be replaced, before any work is done."""
    from trigpoint.data.files import check_path

    if path is None or str(path) == "-":
        return
    check_path(path)
    if not path.exists():
        return
    if path.is_dir():
        raise DataError(f"{path}: expected a file to write, got a folder; give a file name")
    if not force:
        raise DataError(f"{path}: exists already and stays as it is; give another name or --force")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON to a file whole or not at all, or to stdout for ``-``; the caller has asked ``refuse``."""
    from trigpoint.data.files import write_text

    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if str(path) == "-":
        typer.echo(text, nl=False)
    else:
        write_text(path, text, overwrite=True)
