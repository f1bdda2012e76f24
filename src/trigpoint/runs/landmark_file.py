"""``landmarks.yaml`` of a run: what it finds, and how far off."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data.files import write_text
from trigpoint.data.measurements import read_measurements
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import COVERAGE, FloatArray, LandmarkSet, Spacing, Widths, plain_spacing, spacing_pair


@dataclass(frozen=True)
class LandmarkFile:
    """Content of ``landmarks.yaml``. ``radius`` and ``scale``: see ``Prediction.radii``; empty before they are
    calibrated, which is the last thing that training does. ``threshold``: score above which an instance counts, chosen
    on the validation images; only of multi-instance runs, whose ``radius`` is that of the pairs there. ``untaught``:
    landmarks that no training image annotates, which predictions leave blank. ``widths``: of each measurement, half the
    width of its interval by unit, see ``methods.measuring``; NaN where too few subjects validated."""

    landmarks: LandmarkSet
    spacing_mm: Spacing | None = None
    radius: FloatArray = field(default_factory=lambda: np.zeros(0))
    threshold: float | None = None
    scale: float | None = None
    untaught: tuple[str, ...] = ()
    widths: Widths = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "LandmarkFile":
        """Names, spacing and radii. Raises RunError."""
        if not file.is_file():
            raise RunError(f"{file}: is missing; put it back, or train into another --out")
        values = read_yaml(file)
        try:
            wrong: list[str] = []
            read_measurements(values.get("measurements") or {}, wrong)
            if wrong:
                raise ValueError(wrong[0])
            marks = LandmarkSet.from_dict(values)
            radius = values.get("radius_px")
            numbers = np.array([] if radius is None else [radius.get(name) for name in marks.names], dtype=np.float64)
            spacing = spacing_pair(values.get("spacing_mm"))
            threshold, scale = (
                None if values.get(key) is None else float(values[key]) for key in ("threshold", "radius_scale")
            )
            untaught = tuple(str(name) for name in values.get("untaught") or ())
            if unknown := [name for name in untaught if name not in marks.names]:
                raise ValueError(f"untaught: unknown landmark '{unknown[0]}'")
            widths = {
                str(name): {str(unit): float(np.nan if width is None else width) for unit, width in one.items()}
                for name, one in (values.get("measurement_half_widths") or {}).items()
            }
            return cls(marks, spacing, numbers, threshold, scale, untaught, widths)
        except (AttributeError, KeyError, TypeError, ValueError, ConfigError, DataError) as error:
            raise damaged(file, error) from None

    def write(self, file: Path) -> None:
        """Write it in place of what is there."""
        values = self.landmarks.to_dict()
        values["spacing_mm"] = plain_spacing(self.spacing_mm)
        if len(self.radius):
            values["radius_coverage"] = COVERAGE
            pairs = zip(self.landmarks.names, self.radius, strict=True)
            values["radius_px"] = {name: None if np.isnan(r) else round(float(r), 4) for name, r in pairs}
            values["radius_scale"] = self.scale
        if self.threshold is not None:
            values["threshold"] = self.threshold
        if self.widths:
            values["measurement_half_widths"] = {
                name: {unit: None if np.isnan(width) else float(f"{width:.6g}") for unit, width in one.items()}
                for name, one in self.widths.items()
            }
        if self.untaught:
            values["untaught"] = list(self.untaught)
        write_text(file, to_yaml(values), overwrite=True)


def damaged(file: Path, error: Exception) -> RunError:
    """What is said of a file of a run that cannot be understood."""
    what = " ".join(str(part) for part in error.args) or type(error).__name__
    return RunError(f"{file}: expected what training wrote, got a damaged file ({what}); put it back, or train again")
