"""Many images to one table by several processes or machines: each image once, in blocks that outlive a kill."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trigpoint.data.columns import Columns, columns_writer
from trigpoint.data.table import refuse_formulas
from trigpoint.errors import RunError, TrigpointError, end_with_parent
from trigpoint.landmarks import Prediction, Spacing
from trigpoint.metrics.trust import UNLIKE_ADVICE
from trigpoint.prediction.base import ImagePredictor, Progress
from trigpoint.prediction.blocks import JOB, Blocks, Job
from trigpoint.prediction.broken import left_out, refuse_all
from trigpoint.prediction.files import header_problems, refuse_headers
from trigpoint.prediction.measurements import BLIND, beside, blind, lengths_of, measurement_columns
from trigpoint.prediction.table import prediction_columns

_LOOKED_AT = 256  # files whose headers a process looks at before it asks for more

Tell = Callable[[str], None]
Load = Callable[[], ImagePredictor]


def predict_blocks(
    job: Job,
    load: Load,
    *,
    processes: int = 1,
    shard: tuple[int, int] | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Predict what is missing of a job's blocks, or of the ``shard`` (I, N) of them: the blocks I, I + N, ...

    So many ``processes`` of this machine take one block after the other; the first is this one, whose predictor
    ``load`` gives. Gives how many images were there before, and how many were to be there. Whatever ends it, finished
    blocks stay, and a note on what ended it says so. ``replace``: blocks of another prediction are removed first.

    Raises RunError where the folder holds blocks of another prediction, or others are at the same blocks; DataError for
    an image that cannot be read.
    """
    blocks = Blocks(job)
    blocks.open(replace)
    with blocks.held(shard):
        own = job.own(shard)
        missing = blocks.missing(own)
        total, left = job.length(own), job.length(missing)
        try:
            if missing:
                _work(
                    job, load, missing, min(processes, len(missing)), lambda n: _say(progress, total - left + n, total)
                )
        except BaseException as error:
            done = len(own) - len(missing) + sum(job.file(block).is_file() for block in missing)
            error.add_note(f"{job.folder}: {done} of {len(own)} blocks are done; the same command goes on")
            raise
    return total - left, total


def _say(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


# -- processes of this machine -----------------------------------------------------------------------------------------


def _work(job: Job, load: Load, missing: Sequence[int], processes: int, done: Callable[[int], None]) -> None:
    """Predict blocks, each by the process that asks for the next one."""
    context = get_context("spawn")
    taken, done_images, begun, seen = (context.Value("q", 0) for _ in range(4))
    common = _Common(taken, done_images, begun, seen, context.Event(), context.SimpleQueue(), context.SimpleQueue())
    with _helpers(context, processes, job, missing, common) as check:
        problems = common.looked_at(_files(job, missing), check)
        if not job.skip_broken:
            refuse_headers(problems)
        common.begin.set()
        limit_threads(job, processes)
        predictor, blocks = load(), Blocks(job)
        for block in common.blocks(missing):
            done(common.add(blocks.predict(predictor, block)))
            check(False)
        check(True)
    done(common.add(0))


def _files(job: Job, missing: Sequence[int]) -> list[Path]:
    return [file for block in missing for file in job.files[job.images(block)]]


class _Common(NamedTuple):
    """What processes share: how many blocks are ``taken``, how many images ``done``, of how many files the headers are
    ``begun`` and ``seen``, when to begin to predict, what went wrong, and with which files."""

    taken: Any
    done: Any
    begun: Any
    seen: Any
    begin: Any
    said: Any
    bad: Any

    def look_at(self, files: Sequence[Path]) -> None:
        """Look at headers until all are begun, by as many processes as have nothing else to do yet."""
        while True:
            with self.begun.get_lock():
                at, self.begun.value = self.begun.value, self.begun.value + _LOOKED_AT
            if at >= len(files):
                return
            some = files[at : at + _LOOKED_AT]
            if problems := header_problems(some):
                self.bad.put((at, problems))
            with self.seen.get_lock():
                self.seen.value += len(some)

    def looked_at(self, files: Sequence[Path], check: Callable[[bool], None]) -> list[str]:
        """What is wrong with the files, once all processes have looked at their part; ``check`` raises for one that
        ended."""
        self.look_at(files)
        found: dict[int, list[str]] = {}
        while True:
            whole = self.seen.value == len(files)  # before the queue is emptied: each part is told, then counted
            while not self.bad.empty():
                at, problems = self.bad.get()
                found[at] = problems
            if whole:
                return [problem for at in sorted(found) for problem in found[at]]
            check(False)
            time.sleep(0.02)

    def blocks(self, missing: Sequence[int]) -> Iterator[int]:
        """The blocks that this process takes, of those that nobody has taken."""
        while True:
            with self.taken.get_lock():
                at, self.taken.value = self.taken.value, self.taken.value + 1
            if at >= len(missing):
                return
            yield missing[at]

    def add(self, images: int) -> int:
        """Count images; how many are done by all processes."""
        with self.done.get_lock():
            self.done.value += images
            return int(self.done.value)


@contextmanager
def _helpers(
    context: Any, processes: int, job: Job, missing: Sequence[int], common: _Common
) -> Iterator[Callable[[bool], None]]:
    """All processes but this one, which end with the block; a function that raises what ended one of them, and waits
    for all of them where it is told so."""
    helpers = [
        context.Process(target=_help, args=(number, processes, job, missing, common), daemon=True)
        for number in range(1, processes)
    ]

    def check(wait: bool) -> None:
        for helper in helpers:
            while wait and helper.is_alive():
                helper.join(0.2)
            if helper.exitcode:
                if not common.said.empty():
                    raise common.said.get()
                raise RunError(
                    f"a process that predicts was ended from outside ({_code(helper.exitcode)}), mostly for lack of "
                    "memory; take fewer --processes or a smaller --batch-size"
                )

    try:
        for helper in helpers:
            helper.start()
        yield check
    finally:
        for helper in helpers:
            if helper.is_alive():
                helper.terminate()
            if helper.pid is not None:
                helper.join()


def _code(exitcode: int) -> str:
    return f"signal {-exitcode}" if exitcode < 0 else f"exit code {exitcode}"


def _help(number: int, processes: int, job: Job, missing: Sequence[int], common: _Common) -> None:
    """What a helper does."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for all; the first process ends the others
    try:
        common.look_at(_files(job, missing))
        predictor, blocks = loaded(job, number, processes), Blocks(job)
        common.begin.wait()
        for block in common.blocks(missing):
            common.add(blocks.predict(predictor, block))
    except (TrigpointError, OSError) as error:  # the latter of a full disk, which names the file
        common.said.put(error)
        sys.exit(1)


def loaded(job: Job, number: int = 0, processes: int = 1) -> ImagePredictor:
    """The predictor of process ``number`` of so many, on a GPU of its own where there are several."""
    from trigpoint.prediction import load_predictor
    from trigpoint.prediction.model_file import is_model_file

    device = job.device
    if processes > 1 and not is_model_file(job.run):
        import torch

        limit_threads(job, processes)
        if device in ("auto", "cuda") and torch.cuda.is_available():
            device = f"cuda:{number % torch.cuda.device_count()}"
    predictor = load_predictor(job.run, device)
    predictor.group = job.group
    return predictor


def limit_threads(job: Job, processes: int) -> None:
    """Give this process its part of the cores."""
    from trigpoint.prediction.model_file import is_model_file

    if processes > 1 and not is_model_file(job.run):
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


# -- the table ---------------------------------------------------------------------------------------------------------


def interrupted(job: Job) -> bool:
    """Whether a prediction was ended after its table was written and before its blocks were removed, which is done
    then."""
    if not (job.out.exists() and (job.folder / JOB).is_file()):
        return False
    blocks = Blocks(job)
    try:
        blocks.open()
    except RunError:
        return False
    if blocks.missing():
        return False
    blocks.remove()
    return True


def join(
    job: Job, predictor: ImagePredictor, *, overwrite: bool = False, flag: bool = False, tell: Tell | None = None
) -> int:
    """Write the tables of all blocks, in the order of the images, and remove the blocks; how many images they hold.

    The same tables as ``predict_files`` writes, see there. Raises RunError where a block is missing.
    """
    blocks, trust = Blocks(job), predictor.trust
    away: list[Mapping[str, Any]] = []
    images: list[str] = []
    with blocks.held(None):
        if missing := blocks.missing():
            raise RunError(f"{job.folder}: expected all {job.count} blocks, {len(missing)} are missing; predict them")
        broken = blocks.broken() if job.skip_broken else {}
        refuse_all(broken, len(job.files))
        numbers, measuring = blocks.numbers(), _Measuring(job, predictor)
        with ExitStack() as stack:  # leaves in the reverse order: the table of points appears last
            add = stack.enter_context(columns_writer(job.out, overwrite=overwrite))
            measuring.open(stack, blocks)
            for block in range(job.count):
                found, spacings = blocks.read(block)
                if not found:
                    continue
                prediction = predictor.joined(found)
                columns = prediction_columns(prediction, trust.flags(found) if trust and flag else None, numbers)
                refuse_formulas([*columns, *columns["image"]], str(job.out))
                add(columns)
                measuring.add(prediction, spacings)
                if trust is not None and trust.domain is not None:
                    away.append(trust.domain.away(found, trust.difficulty))
                    images += [one.image for one in found]
    if tell is not None:
        for line in left_out(broken, len(job.files)):
            tell(line)
        if trust is not None and trust.domain is not None and away:
            whole = {name: np.concatenate([one[name] for one in away]) for name in away[0]}
            if unlike := trust.domain.in_words(whole, images):
                tell(f"not as in the validation images: {'; '.join(unlike)}. {UNLIKE_ADVICE}")
        for note in measuring.notes:
            tell(note)
    blocks.remove()
    return len(job.files) - len(broken)


class _Measuring:
    """The table of measurements, where the run makes any; what is left of one that was being joined is replaced."""

    def __init__(self, job: Job, predictor: ImagePredictor) -> None:
        self.predictor, self.out = predictor, beside(job.out)
        self.notes: list[str] = []
        self._write: Callable[[Columns], None] | None = None

    def open(self, stack: ExitStack, blocks: Blocks) -> None:
        """Begin the table; its columns follow from the pixel sizes of all images, not from those of a block."""
        if not self.predictor.measures:
            return
        sides = np.concatenate([blocks.spacings(block) for block in range(blocks.job.count)])
        self.lengths = lengths_of(sides)
        self._say(blind(sides, self.predictor.landmarks.measurements))
        self._write = stack.enter_context(columns_writer(self.out, overwrite=True))

    def add(self, prediction: Prediction, spacings: Sequence[Spacing | None]) -> None:
        """The rows of some images."""
        if self._write is None:
            return
        columns, notes = measurement_columns(prediction, self.predictor.widths, spacings, self.lengths)
        refuse_formulas([*columns, *columns["image"]], str(self.out))
        self._write(columns)
        self._say([note for note in notes if not note.startswith(BLIND)])

    def _say(self, notes: Sequence[str]) -> None:
        told = [f"{self.out}: {note}" for note in notes]
        self.notes += [note for note in told if note not in self.notes]
