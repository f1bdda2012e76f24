"""A set is opened, locked and served until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from trigpoint.app.folder import HIDDEN, Opened, open_folder, writable
from trigpoint.data.annotators import begin_table, table_of
from trigpoint.data.description import read_description
from trigpoint.errors import ConfigError, DataError, RunError, counted
from trigpoint.serving.asgi import LOCAL
from trigpoint.serving.listening import address, bound, moved

PORT = 8765


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; ``port`` None: the usual one, or any other that is free."""

    path: Path
    landmarks: tuple[str, ...] = ()
    annotator: str = ""
    host: str = "127.0.0.1"
    port: int | None = None
    password: str | None = None
    instances: bool = False
    read_only: bool = False
    runs: tuple[Path, ...] = ()
    learn: bool = False


def serve(wanted: Wanted, tell: Callable[[str], None]) -> None:
    """Serve the labelling page until the process is asked to stop.

    ``tell`` is told the address and what is worth knowing. Raises ConfigError where a package is missing, the port is
    taken, or other machines could reach it without a password, DataError for what cannot be labelled, and RunError
    where another process labels the set.
    """
    try:
        import uvicorn
        import websockets  # noqa: F401

        from trigpoint.app.access import Access
        from trigpoint.app.project import Project
        from trigpoint.app.server import make_app
    except ImportError as error:
        raise ConfigError(f'label needs {error.name}, which is missing; pip install "trigpoint[label]"') from None
    if wanted.host not in LOCAL and not wanted.password:
        got = f"got --host {wanted.host} alone"
        raise ConfigError(f"--password: expected one where other machines can reach the page, {got}; give --password")
    for run in wanted.runs:
        _check_run(run)
    place = _table_of(wanted, tell)
    if done := _finished(place, wanted.read_only):
        tell(done)
    opened = _with_instances(open_folder(place, wanted.landmarks), wanted.instances)
    with ExitStack() as stack:
        read_only = _held(stack, opened, wanted.read_only, tell)
        project = Project(opened, wanted.annotator.strip() or opened.own, read_only=read_only)
        for note in project.notes:
            tell(note)
        listening = stack.enter_context(bound(wanted.host, wanted.port, PORT))
        if (elsewhere := moved(listening, wanted.port, PORT)) is not None:
            tell(elsewhere)
        access = Access(wanted.password, kept=None if read_only else opened.hidden / "label.key")
        learn = wanted.learn and not read_only
        app = make_app(project, access, wanted.host, wanted.runs, learn=learn)
        labelled = sum(bool(entry.state.rows) for entry in project.entries)
        tell(f"{counted(len(project.entries), 'image')}, {labelled} of them in {opened.table}")
        tell(f"open  {address(wanted.host, listening.getsockname()[1])}?token={access.token}")
        tell("stop with Ctrl-C; every change is saved at once")
        threading.Thread(target=project.scan, daemon=True).start()
        config = uvicorn.Config(app, log_level="warning", access_log=False, ws="websockets-sansio", server_header=False)
        config.timeout_graceful_shutdown = 2
        uvicorn.Server(config).run(sockets=[listening])


def _check_run(run: Path) -> None:
    from trigpoint.runs import RunFolder

    folder = RunFolder(run)
    folder.recipe()
    if not folder.weights.is_file():
        raise ConfigError(f"--run {run}: expected a trained run, got one without weights; train it to the end")


def _finished(place: Path, read_only: bool) -> str:
    """What was finished of a change of landmarks that a crash has cut, in words; nothing while the set is labelled."""
    from trigpoint.app.naming import finish
    from trigpoint.runs.lock import locked

    folder = place.parent if place.suffix.lower() == ".csv" else place
    if read_only or not (folder / HIDDEN).is_dir() or not writable(folder):
        return ""
    table = place if place != folder else folder / read_description(folder, []).table
    with suppress(RunError), locked(folder / HIDDEN / "label.lock"):  # nothing is half done while another has it open
        return finish(folder, table)
    return ""


def _with_instances(opened: Opened, instances: bool) -> Opened:
    if not instances or opened.instances:
        return opened
    if not opened.new:
        raise DataError(
            f"{opened.table}: expected a new set for --instances, got a table with one object in each image; add "
            "'instances: true' to dataset.yaml and a column 'instance'"
        )
    return replace(opened, about=replace(opened.about, instances=True))


def _table_of(wanted: Wanted, tell: Callable[[str], None]) -> Path:
    """What is to be opened: the annotator's own table, where ``dataset.yaml`` names annotators."""
    if not wanted.path.is_dir():
        return wanted.path
    about, name = read_description(wanted.path, []), wanted.annotator.strip()
    if not about.annotators:
        return wanted.path
    if not name:
        tell(f"annotators {', '.join(about.annotators)} have tables of their own: give --annotator NAME to open one")
        return wanted.path
    own = table_of(about, name)
    return own if wanted.read_only or not writable(about.folder) else begin_table(about, name)


def _held(stack: ExitStack, opened: Opened, read_only: bool, tell: Callable[[str], None]) -> bool:
    """Lock the set for this process; whether it is opened for reading only."""
    from trigpoint.runs.lock import locked

    folder = opened.folder
    if read_only:
        return True
    if not writable(folder):
        tell(f"{folder}: cannot be written to, so it is opened for reading only")
        return True
    opened.hidden.mkdir(parents=True, exist_ok=True)
    fix = "use its page, or look at the set with --read-only"
    held = opened.table if opened.own else f"the set {folder}"
    stack.enter_context(locked(opened.hidden / "label.lock", f"{held} is being labelled", fix))
    return False
