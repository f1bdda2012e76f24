"""Predictions as DICOM structured reports, which picture archives and viewers keep beside the images (TID 1500).

Each landmark is a point of the image it was found in, with its score and radius; measurements have a group each, with
the ends of their interval. Where radii may not hold for an image, a qualitative evaluation in each of these groups says
so. DICOM counts from the outer corner of the top-left pixel, we from its centre: a point is half a pixel more there in
x and y (PS3.3 C.18.6.1.2). Reports say that a device made them, and that nobody has verified them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint import __version__
from trigpoint.data.files import write_bytes
from trigpoint.data.measurements import HIGH, LOW, column
from trigpoint.data.pixels.kinds import head_of, kind_of
from trigpoint.errors import DataError, needed
from trigpoint.geometry import to_corner
from trigpoint.landmarks import COVERAGE, Prediction
from trigpoint.metrics.measurements import unit_of
from trigpoint.metrics.trust import DOUBTFUL, SHIFTED, UNLIKE
from trigpoint.prediction.files import drawing_names

SCHEME = "99TRIGPOINT"
_UNITS = {
    "deg": ("deg", "degree"),
    "mm": ("mm", "millimeter"),
    "px": ("{pixels}", "pixels"),
    "ratio": ("1", "no units"),
}
_TRUST = "Trust in radii and intervals"
_MARKS = {
    UNLIKE: "unlike images validated on: radii and intervals do not hold",
    SHIFTED: "together unlike images validated on: radii do not hold",
    DOUBTFUL: "doubtful: as hard as the hardest tenth in validation",
}  # as long as a meaning may be
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_BLANK = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
_LONGEST = 64  # characters of a meaning
_SERIES = 9900


def report_names(files: Sequence[Path], folder: Path) -> list[Path | None]:
    """The report of each image in ``folder``, None of those that are no DICOM. Raises DataError where none is."""
    named = [path.with_suffix(".dcm") for path in drawing_names(files, folder, "report")]
    found = [name if kind_of(head_of(file)) == "dicom" else None for file, name in zip(files, named, strict=True)]
    if not any(found):
        raise DataError(f"--dicom-report: expected DICOM images, got {len(files)} others; leave it out")
    return found


def write_reports(
    prediction: Prediction,
    files: Sequence[Path],
    reports: Sequence[Path | None],
    measured: Mapping[str, Sequence[float]],
    run: str,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    flags: Sequence[str] = (),
) -> int:
    """Write the report of each image that has one, whole or not at all, and give their number.

    ``measured``: the columns of ``measurement_columns``, empty without measurements; ``run`` names the model; ``flags``
    of each image as ``Trust.marks`` gives them, empty where the run cannot tell. Raises ConfigError where highdicom is
    not installed, and DataError for an image without the identifiers of its study.
    """
    with needed("DICOM reports"):
        import highdicom  # noqa: F401
    series = _uid(f"{run} {uuid.uuid4()}")
    done = 0
    for i, (file, report) in enumerate(zip(files, reports, strict=True)):
        if report is not None:
            written = BytesIO()
            flag = flags[i] if flags else ""
            made = _report(prediction, i, file, measured, run, series, done + 1, flag)
            made.save_as(written, enforce_file_format=True)
            write_bytes(report, written.getvalue(), overwrite=overwrite)
            done += 1
        if progress is not None:
            progress(i + 1, len(files))
    return done


def _report(
    prediction: Prediction,
    i: int,
    file: Path,
    measured: Mapping[str, Sequence[float]],
    run: str,
    series: str,
    number: int,
    flag: str,
) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    image = _identified(file)
    source = image.SOPClassUID, image.SOPInstanceUID
    algorithm = sr.AlgorithmIdentification(name=f"trigpoint {run}"[:_LONGEST], version=__version__)
    marks = [sr.QualitativeEvaluation(_code("trust", _TRUST), _code(flag, _MARKS[flag]))] if flag else None
    whole: list[tuple[str, list[Any]]] = [("whole image", [])] if flag else []
    groups: list[Any] = []
    one = prediction[i].best()
    for k, name in enumerate(prediction.landmarks.names):
        if not np.isfinite(one.points[0, k]).all():
            continue
        point = to_corner(one.points[0, k])[None]
        numbers = [("score", one.scores[0, k], "ratio")]
        numbers.append((f"{COVERAGE:.0%} radius", prediction.radius[i, k], "px"))
        groups.append(
            sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(_uid(f"{source[1]} {name}"), name),
                referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POINT, point, sr.SourceImageForRegion(*source)),
                finding_type=_code(f"LM{k}", name),
                algorithm_id=algorithm,
                measurements=[_number(what, value, unit) for what, value, unit in numbers if np.isfinite(value)],
                qualitative_evaluations=marks,
            )
        )
    for name, values in [*whole, *_measurements(prediction, measured, i).items()]:
        groups.append(
            sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(_uid(f"{source[1]} {name}"), name),
                algorithm_id=algorithm,
                measurements=values or None,
                qualitative_evaluations=marks,
                source_images=[sr.SourceImageForMeasurementGroup(*source)],
            )
        )
    device = sr.DeviceObserverIdentifyingAttributes(_uid(run), name="trigpoint", model_name=run[:_LONGEST])
    context = sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device))
    content = sr.MeasurementReport(
        context, Code("363679005", "SCT", "Imaging procedure"), groups, title=codes.DCM.ImagingMeasurementReport
    )
    return sr.ComprehensiveSR(
        [image], content, series, _SERIES, _uid(f"{series} {number}"), number, "trigpoint", is_complete=True
    )


def _measurements(prediction: Prediction, measured: Mapping[str, Sequence[float]], i: int) -> dict[str, list[Any]]:
    """Of each measurement its value and the ends of its interval, as far as they are known; in mm where the pixel size
    of this image is."""
    found = dict[str, list[Any]]()
    named = prediction.landmarks.measurements
    for name in named:
        values = [(name, ""), (f"{name}, low end of the {COVERAGE:.0%} interval", LOW)]
        values.append((f"{name}, high end of the {COVERAGE:.0%} interval", HIGH))
        for unit in (unit_of(name, named, "mm"), unit_of(name, named, "px")):
            own = [(what, measured.get(f"{column(name, unit)}{end}", [np.nan] * (i + 1))[i]) for what, end in values]
            if known := [_number(what, value, unit) for what, value in own if np.isfinite(value)]:
                found[name] = known
                break
    return found


def _number(what: str, value: float, unit: str) -> Any:
    from highdicom import sr
    from pydicom.sr.coding import Code

    code, meaning = _UNITS[unit]
    return sr.Measurement(_code(what, what), round(float(value), 6), Code(code, "UCUM", meaning))


def _code(value: str, meaning: str) -> Any:
    """A code of our own; a value has at most 16 characters, so that of a longer text is a part of its hash."""
    from highdicom import sr

    short = value if len(value) <= 16 else uuid.uuid5(uuid.NAMESPACE_OID, value).hex[:16]
    return sr.CodedConcept(short, SCHEME, meaning[:_LONGEST])


def _uid(text: str) -> str:
    """A UID of a text: the same report says the same of the same image."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, text).int}"


def _identified(file: Path) -> Any:
    """What identifies an image, its patient and study. Raises DataError where its study is not named."""
    import pydicom

    data = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    if lacking := [name for name in _IDENTIFIERS if not data.get(name)]:
        raise DataError(
            f"{file}: --dicom-report: expected {', '.join(lacking)}, got none; a report cannot name this image: leave "
            "it out, or export the image again from the archive"
        )
    for name in _BLANK:
        if name not in data:
            setattr(data, name, "")
    return data
