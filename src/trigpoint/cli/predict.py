"""``trigpoint predict``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from trigpoint.cli.console import note, progress, refuse
from trigpoint.cli.predict_many import BlockSize, Jobs, Launcher, Many, Processes, Shard, Slurm, predict_many
from trigpoint.errors import ConfigError, TrigpointError, counted

if TYPE_CHECKING:
    from trigpoint.landmarks import Prediction, Spacing
    from trigpoint.prediction import Predictor
    from trigpoint.prediction.base import ImagePredictor

_PATIENCE = 30.0
Overlay = Annotated[
    Path | None, typer.Option("--overlay", help="Draw images with their points into this folder or video (.mp4).")
]
Trace = Annotated[
    Path | None, typer.Option("--trace", help="Runs with glimpses: draw into this folder how points were found.")
]
DicomReport = Annotated[
    Path | None,
    typer.Option("--dicom-report", help="Write a DICOM structured report of each DICOM image into this folder."),
]
Group = Annotated[
    float | None,
    typer.Option("--group", min=0.0, help="Multi-instance runs: join landmarks at most this many pixels apart."),
]
SpacingMm = Annotated[
    str | None,
    typer.Option("--spacing-mm", help="Millimetres per pixel of images that state none: 0.1, or 0.2,0.1 for x, y."),
]
Flag = Annotated[bool, typer.Option("--flag", help="Mark images that a person should look at, in the column 'flag'.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be read, and name them.")]


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder, or a model that was exported (.onnx).")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, folders of images (with their subfolders), one video or stack of frames."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table to write.")] = Path("predictions.csv"),
    overlay: Overlay = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Take only every N-th image or frame.")] = 1,
    trace: Trace = None,
    dicom_report: DicomReport = None,
    group: Group = None,
    spacing_mm: SpacingMm = None,
    flag: Flag = False,
    skip_broken: SkipBroken = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")] = 16,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="Share images among this many GPUs or processes; not for videos.")
    ] = 1,
    processes: Processes = None,
    shard: Shard = None,
    block_size: BlockSize = None,
    launcher: Launcher = "local",
    jobs: Jobs = None,
    slurm: Slurm = None,
) -> None:
    """Find the landmarks in images or a video and write them to a table.

    The table has a score and a radius per landmark; you can correct it and train on it. Files that are no images are
    named before any work. If it ends early (Ctrl-C, SIGTERM, a damaged image or video, a full disk), the table keeps
    what was done, a message says that it is partial, and the exit code is not 0.

    If the run's dataset names measurements, they are in a second table, OUT-measurements.csv, with the ends of 90 %
    intervals: NAME, NAME_low, NAME_high, and lengths in mm as NAME_mm.

    Many images: --processes 4, or --shard 2/8 on each of 8 machines, keep finished blocks in OUT.blocks, and the same
    command goes on where it was stopped. --out FILE.parquet writes Parquet.

    Images that are unlike those that the run was validated on are told: another size or turn of the figure, other grey
    values. --flag marks them as "unlike", and as "doubtful" those as hard as the hardest tenth in validation.

    Example: trigpoint predict runs/faces photos/ --out predictions.csv --overlay drawn
    """
    from trigpoint.prediction.files import has_frames, image_files, is_video
    from trigpoint.prediction.model_file import is_model_file

    if trace is not None and is_model_file(run):
        raise ConfigError("--trace: draws what a run folder shows, got an exported model; give the run folder")
    many = Many(processes, shard, block_size, launcher, jobs, slurm or ()).checked(
        overlay, trace, dicom_report, devices
    )
    how = {"batch_size": batch_size, "overwrite": force, "spacing_mm": _spacing(spacing_mm), "flag": flag}
    load = partial(_loaded, run, device, group, out, how)
    with _told_once():
        refuse(None if many.asked else out, force)
        if is_video(overlay) or any(has_frames(path) for path in images):
            alone = {"--dicom-report": dicom_report is not None, "--skip-broken": skip_broken}
            if single := next((name for name, given in alone.items() if given), many.asked):
                raise ConfigError(f"{single}: is for single images, got a video or frames; leave it out")
            _predict_frames(load, _one_source(images, trace, devices), out, overlay, how | {"every": every})
        else:
            files = image_files(images, [run, overlay, trace], note)
            if many.asked:
                more = {"device": device, "group": group, "skip_broken": skip_broken}
                predict_many(load, run, files[::every], out, many, how | more)
            else:
                beside = _Beside(overlay, trace, dicom_report, run.name, skip_broken)
                _predict_files(load, files[::every], out, beside, how | {"devices": devices})


def _spacing(text: str | None) -> Spacing | None:
    """The pixel size of ``--spacing-mm``."""
    from trigpoint.landmarks import spacing_pair

    if text is None:
        return None
    if one := re.fullmatch(r"\s*([0-9]+),([0-9]+)\s*", text):  # a decimal comma, or two whole numbers
        whole, rest = one.groups()
        two = f"; if you mean {whole} and {rest} for x and y: {whole}.0,{rest}.0" if int(whole) and int(rest) else ""
        fix = f"if the comma is that of a decimal number, write {whole}.{rest} with a point{two}"
        raise ConfigError(f"--spacing-mm: expected millimetres per pixel, got '{text}'; {fix}")
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError:
        sides = []
    return spacing_pair(sides[0] if len(sides) == 1 else sides or text, "--spacing-mm")


def _loaded(run: Path, device: str, group: float | None, out: Path, how: dict[str, Any]) -> ImagePredictor:
    from trigpoint.prediction import load_predictor
    from trigpoint.prediction.engine import first_process

    predictor = load_predictor(run, device)
    if first_process():
        _tell_model(run, predictor)
    if group is not None and predictor.threshold is None:
        found = predictor.method_name
        raise ConfigError(f"--group: is for multi-instance runs, got one of method {found}; leave it out")
    predictor.group = group
    if predictor.measures:
        from trigpoint.prediction.measurements import beside

        refuse(beside(out), how["overwrite"])
    elif how["spacing_mm"] is not None:
        raise ConfigError(f"--spacing-mm: is for measurements, got a run that makes none ({run}); leave it out")
    elif predictor.landmarks.measurements and first_process():
        note("measurements: none are made, for they need one of each landmark, got a multi-instance run")
    if predictor.untaught and first_process():
        names = ", ".join(f"'{name}'" for name in predictor.untaught)
        note(f"{names}: annotated in no training image of {run}, so nothing is predicted of it")
    return predictor


def _tell_model(run: Path, predictor: ImagePredictor) -> None:
    """What to know of the model itself: that it is not finished, or what it cannot tell."""
    if run.is_dir():
        from trigpoint.runs import RunFolder

        if unfinished := RunFolder(run).unfinished():
            note(f"warning: {unfinished}")
            return
    if predictor.cannot_tell:
        note(f"note: this model cannot tell {predictor.cannot_tell}")


class _Beside(NamedTuple):
    """What is drawn and written beside the table, folders, how the model is called there, and whether images that
    cannot be read are left out of all of it."""

    overlay: Path | None
    trace: Path | None
    reports: Path | None
    model: str
    skip_broken: bool = False


def _predict_files(
    load: Callable[[], ImagePredictor], files: list[Path], out: Path, beside: _Beside, how: dict[str, Any]
) -> None:
    from trigpoint.prediction import predict_files
    from trigpoint.prediction.drawing import draw_predictions
    from trigpoint.prediction.engine import first_process
    from trigpoint.prediction.files import check_headers, drawing_names

    overlay, trace = beside.overlay, beside.trace
    drawings = [] if overlay is None else drawing_names(files, overlay)
    paths, stacks = ([] if trace is None else drawing_names(files, trace, what) for what in ("path", "glimpses"))
    reports = _reports(files, beside.reports)
    for drawing in (*drawings, *paths, *stacks, *filter(None, reports)):
        refuse(drawing, how["overwrite"])
    predictor = load()
    if reports and predictor.threshold is not None:
        raise ConfigError("--dicom-report: expected a run that finds one of each landmark, got a multi-instance run")
    if trace is not None:
        from trigpoint.prediction.trace import check_traces

        check_traces(predictor)
    broken: dict[str, str] | None = {} if beside.skip_broken else None
    if broken is None:
        check_headers(files)
    told: list[str] = []
    with progress("predicting") as advance:
        found = predict_files(predictor, files, out, progress=advance, tell=told.append, broken=broken, **how)
    if not first_process():
        return
    if broken:
        from trigpoint.data.table_names import TableNames
        from trigpoint.prediction.broken import left_out

        for line in left_out(broken, len(files)):
            note(line)
        write = TableNames.of(out).write
        kept = [write(file) not in broken for file in files]
        files, drawings, paths, stacks = (list(compress(some, kept)) for some in (files, drawings, paths, stacks))
        reports = list(compress(reports, kept))
    counts = "" if found.multi_instance else f", {counted(len(found.landmarks), 'landmark')} each"
    note(f"wrote {out}: {counted(len(found), 'image')}{counts}")
    _tell_measurements(predictor, out, told)
    if beside.reports is not None:
        _write_reports(predictor, found, files, reports, beside, how)
    if overlay is not None:
        with progress("drawing") as advance:
            draw_predictions(found, files, drawings, advance)
        note(f"drew {counted(len(drawings), 'image')} into {overlay}")
    if trace is not None:
        from trigpoint.prediction.trace import draw_traces

        with progress("drawing traces") as advance:
            draw_traces(cast("Predictor", predictor), files, paths, stacks, advance)
        note(f"drew {len(paths)} paths and {len(stacks)} stacks of glimpses into {trace}")


def _reports(files: list[Path], folder: Path | None) -> list[Path | None]:
    from trigpoint.prediction.dicom_report import report_names

    return [] if folder is None else report_names(files, folder)


def _write_reports(
    predictor: ImagePredictor,
    found: Prediction,
    files: list[Path],
    reports: list[Path | None],
    beside: _Beside,
    how: dict[str, Any],
) -> None:
    from trigpoint.prediction.dicom_report import write_reports
    from trigpoint.prediction.measurements import measurement_columns, spacings_of

    measured: Mapping[str, Any] = {}
    if predictor.measures:
        measured, _ = measurement_columns(found, predictor.widths, spacings_of(files, how["spacing_mm"]))
    with progress("writing reports") as advance:
        flags = [] if predictor.trust is None else predictor.trust.marks(found.detections)
        done = write_reports(found, files, reports, measured, beside.model, how["overwrite"], advance, flags)
    left = len(files) - done
    note(
        f"wrote {done} DICOM reports into {beside.reports}"
        + (f"; left out: {counted(left, 'file')} without DICOM" if left else "")
    )


def _predict_frames(
    load: Callable[[], ImagePredictor], source: Path, out: Path, overlay: Path | None, how: dict[str, Any]
) -> None:
    from trigpoint.prediction import predict_frames
    from trigpoint.prediction.files import is_video
    from trigpoint.prediction.stream import check_overlay

    if is_video(overlay):
        refuse(overlay, how["overwrite"])
    check_overlay(overlay, how["overwrite"])
    predictor = load()
    told: list[str] = []
    with progress("predicting") as advance:
        found = predict_frames(predictor, source, out, overlay=overlay, progress=advance, tell=told.append, **how)
    note(f"wrote {out}: {counted(len(found), 'frame')}")
    _tell_measurements(predictor, out, told)
    if overlay is not None:
        note(f"drew {counted(len(found), 'frame')} into {overlay}")


def _tell_measurements(predictor: ImagePredictor, out: Path, told: list[str]) -> None:
    """The second table, and what is to know of the work."""
    if predictor.measures:
        from trigpoint.prediction.measurements import beside

        note(f"wrote {beside(out)}: {', '.join(predictor.landmarks.measurements)}")
    for text in told:
        note(f"warning: {text}")


@contextmanager
def _told_once() -> Iterator[None]:
    """Let the first of the processes that torchrun or Slurm started on this machine say why all end.

    Its launcher ends the others then; they say it where they are still there after ``_PATIENCE`` seconds.
    """
    try:
        yield
    except TrigpointError:
        from trigpoint.prediction.engine import tells_errors

        if not tells_errors():
            time.sleep(_PATIENCE)
        raise


def _one_source(images: list[Path], trace: Path | None, devices: int) -> Path:
    """The video, or the folder of which a video is to be drawn."""
    from trigpoint.prediction.engine import processes

    if len(images) != 1:
        raise ConfigError(
            "expected one video, or one file of several frames, or one folder to draw a video of, got "
            f"{len(images)} paths; call it once for each"
        )
    if trace is not None:
        raise ConfigError("--trace: draws single images, got a video; save the frames as images, or leave it out")
    if processes(devices) > 1:
        raise ConfigError(
            "expected one process for a video or stack, got several (--devices, torchrun or Slurm); "
            "save its frames as images"
        )
    return images[0]
