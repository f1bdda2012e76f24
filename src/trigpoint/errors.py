"""What ends the work early: errors a user can act on, and signals that ask to stop.

Every message says what was expected, what came, and the fix. The command line prints it without a traceback and exits
with code 2, after a signal with 128 + its number.
"""

import ctypes
import difflib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What the system answers where it takes no more of a file, or none."""
_COMPARED = 500  # words of which the nearest is looked for; among more, it takes long and nobody reads the list


class TrigpointError(Exception):
    """Root of every error this package raises for bad input."""


class DataError(TrigpointError):
    """A dataset, table, image or annotation file that cannot be used as it is."""


class ConfigError(TrigpointError):
    """A recipe, option or combination of options that cannot work."""


class RunError(TrigpointError):
    """A run folder that is missing, foreign, incomplete or damaged."""


class EndedEarly(Exception):
    """What ``watch`` raises to end a training that is not worth going on with: nothing went wrong."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Name the nearest valid word, or list the valid ones.

    >>> did_you_mean("adalos", ["adaloss", "fixed"])
    "did you mean 'adaloss'? valid: adaloss, fixed"
    """
    options = [str(choice) for choice in choices]
    near = difflib.get_close_matches(word, options[:_COMPARED], n=1, cutoff=0.5)
    more = f" and {len(options) - _COMPARED} more" if len(options) > _COMPARED else ""
    valid = "valid: " + (", ".join(options[:_COMPARED]) + more if options else "none")
    return f"did you mean '{near[0]}'? {valid}" if near else valid


def counted(number: int, noun: str) -> str:
    """A number and what there are so many of.

    >>> counted(1, "image"), counted(12, "image")
    ('1 image', '12 images')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


EXTRAS = {
    "train": (
        *("torch", "torchvision", "timm", "lightning", "torchmetrics", "scipy", "pandas", "matplotlib", "jinja2"),
        *("safetensors", "pooch"),
    ),
    "export": ("onnx", "onnxscript"),
    "sweep": ("optuna",),
    "report": ("highdicom",),
    "wandb": ("wandb",),
    "parquet": ("pyarrow",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""What is imported of packages that predicting with an exported model does not need, by the extra that brings them."""


def missing(error: ImportError) -> str | None:
    """What to do about an import that failed because a package of one of our extras is not installed; None: a bug."""
    package = (error.name or "").split(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    return None if extra is None else f"{package} is not installed; pip install 'trigpoint[{extra}]'"


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Let the import of a package of our extras that is not there fail as a ConfigError that says what brings it."""
    try:
        yield
    except ImportError as error:
        advice = missing(error)
        if advice is None:
            raise
        raise ConfigError(f"{what}: {advice}") from None


# -- signals that ask to stop -------------------------------------------------------------------------------------

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C; and kill, Slurm, Docker, systemd, a machine that is taken away."""
PATIENCE = 25.0
"""Seconds from SIGTERM to the end of the process at the latest; SIGKILL often follows after 30."""


class Stopped(KeyboardInterrupt):
    """The signal ``number`` asked to stop; what takes care of Ctrl-C takes care of this."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)  # pickled by this, from one process to another
        self.number = number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


class _Asked:
    """Handler of the signals: the first raises Stopped, once, as soon as nothing makes it wait."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.waits, self.raised = 0, False

    def __call__(self, number: int, frame: object) -> None:
        self.numbers.append(number)
        self.check()

    def check(self) -> None:
        if self.numbers and not (self.waits or self.raised):
            self.raised = True
            raise Stopped(self.numbers[0])


_now: list[_Asked] = []  # the handler that is set, if any


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise Stopped in this block, once: what is done is then saved, however often they come.

    One that is ignored stays ignored, as SIGINT is in a job that a script runs in the background.
    """
    if _now or threading.current_thread() is not threading.main_thread():
        yield
        return
    _now.append(_Asked())
    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _now[0]) for number in heard}
    try:
        yield
    finally:
        _now.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unstopped() -> Iterator[list[int]]:
    """Let the signals wait until the block ends. Given are those that came, for a block that ends by itself then."""
    with stoppable():
        asked = _now[0] if _now else _Asked()
        asked.waits += 1
        try:
            yield asked.numbers
        except BaseException:
            asked.raised = asked.raised or bool(asked.numbers)
            raise
        finally:
            asked.waits -= 1
        asked.check()


def end_with_parent() -> None:
    """Let this process die with the one that started it; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end_in_time() -> None:
    """End this process ``PATIENCE`` seconds after a SIGTERM, whatever keeps it.

    Python's handlers wait for library calls that do not return, such as those that wait for another process.
    """
    if sys.platform == "win32" or signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        return  # Windows knows no SIGTERM from outside; one that is ignored stays so
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while os.read(reader, 1)[0] != signal.SIGTERM:
            pass
        time.sleep(PATIENCE)
        os.write(2, f"stopped after {PATIENCE:.0f} s of waiting; what was saved before is whole\n".encode())
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
