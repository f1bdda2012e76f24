"""Published numbers on the ISBI 2015 cephalograms; ``None`` where none is known to us.

The rows of ``TEST1`` are quoted second-hand, as tables of later papers give them. ``FOURFOLD`` is an independent
reproduction with the official code: four folds of the 400 images with the junior doctor's labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAPER = "Gilmour & Ray 2020 (foveated pyramid)"


@dataclass(frozen=True)
class Published:
    """MRE and its SD in mm, SDR in per cent at 2, 2.5, 3 and 4 mm."""

    mre: float | None
    sd: float | None
    sdr: tuple[float, float, float, float]


@dataclass(frozen=True)
class PublishedLandmark(Published):
    """Beside these ``iov``: half the distance of the two doctors, mm."""

    iov: float


TEST1: Mapping[str, Published] = {
    "Ibragimov 2015": Published(1.84, None, (71.72, 77.40, 81.93, 88.04)),
    "Lindner & Cootes 2015": Published(1.67, None, (73.68, 80.21, 85.19, 91.47)),
    "Arik 2017": Published(None, None, (75.37, 80.91, 84.32, 88.25)),
    "Zhong 2019": Published(1.12, 0.88, (86.91, 91.82, 94.88, 97.90)),
    "Chen 2019 (AFPF)": Published(1.17, None, (86.67, 92.67, 95.54, 98.53)),
    "CephaNN 2020": Published(1.15, None, (87.61, 93.16, 96.35, 98.74)),
    "FARNet 2021": Published(1.12, None, (88.03, 92.73, 95.96, 98.48)),
    PAPER: Published(1.01, 0.85, (88.32, 93.12, 96.14, 98.63)),
}

FOURFOLD = Published(1.06, 0.95, (87.42, 92.47, 95.24, 97.86))
LANDMARKS: Mapping[str, PublishedLandmark] = {
    "sella": PublishedLandmark(0.60, 0.83, (98.5, 99.5, 99.5, 99.5), 0.46),
    "nasion": PublishedLandmark(0.99, 1.13, (87.5, 90.75, 92.75, 96.25), 0.76),
    "orbitale": PublishedLandmark(1.20, 1.14, (81.25, 86.75, 90.75, 95.75), 1.54),
    "porion": PublishedLandmark(1.56, 1.78, (79.25, 86.75, 90.0, 92.25), 1.66),
    "subspinale_A": PublishedLandmark(1.48, 1.12, (77.0, 84.0, 89.5, 95.5), 1.45),
    "supramentale_B": PublishedLandmark(1.07, 0.73, (88.75, 95.75, 97.25, 99.25), 1.51),
    "pogonion": PublishedLandmark(0.98, 0.70, (89.75, 95.75, 98.75, 100.0), 0.62),
    "menton": PublishedLandmark(0.80, 0.64, (94.75, 96.5, 98.5, 100.0), 0.66),
    "gnathion": PublishedLandmark(0.82, 0.71, (94.5, 97.75, 98.75, 99.25), 0.50),
    "gonion": PublishedLandmark(1.47, 1.17, (76.0, 85.25, 91.25, 96.5), 1.43),
    "lower_incisal_incision": PublishedLandmark(0.55, 0.74, (95.5, 96.75, 98.0, 99.25), 0.33),
    "upper_incisal_incision": PublishedLandmark(0.47, 0.84, (95.0, 96.5, 97.25, 98.75), 0.24),
    "upper_lip": PublishedLandmark(1.44, 0.76, (77.75, 89.25, 96.5, 100.0), 1.36),
    "lower_lip": PublishedLandmark(1.08, 0.65, (89.25, 96.25, 98.5, 100.0), 1.09),
    "subnasale": PublishedLandmark(1.06, 0.87, (90.75, 94.5, 96.5, 98.25), 0.81),
    "soft_tissue_pogonion": PublishedLandmark(1.25, 1.10, (83.0, 89.5, 92.75, 97.75), 3.29),
    "posterior_nasal_spine": PublishedLandmark(0.93, 0.83, (93.5, 96.5, 97.25, 98.5), 0.72),
    "anterior_nasal_spine": PublishedLandmark(1.34, 1.18, (78.0, 84.25, 89.25, 94.5), 0.91),
    "articulare": PublishedLandmark(0.98, 1.23, (91.0, 94.75, 96.5, 98.0), 1.06),
}
