"""NWB files with pose annotations (ndx-pose), by pynwb and sleap-io (extra ``sleap``); see ``sleap``."""

from collections.abc import Collection
from pathlib import Path

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import write_bytes
from trigpoint.data.formats.sleap import Sleap
from trigpoint.data.poses import sleap_io
from trigpoint.errors import DataError


class Nwb(Sleap):
    """Read as ``Sleap`` reads them; written are annotations (PoseTraining), each image a video of one frame.

    NWB has no tracks and no symmetries here: instances come back as 1, 2, ..., and scores cannot be stored. The origin
    of its coordinates is not defined; sleap-io writes those of SLEAP, 0 at the centre of the top-left pixel, as ours.
    """

    @property
    def keeps(self) -> Collection[str]:
        return ()

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one ``.nwb`` that names image files; images are opened for their sizes."""
        if any(sample.scores is not None for sample in dataset.samples):
            raise DataError(f"{target}: expected annotations, got predictions with scores; write them as sleap")

        def save(labels: object, file: str) -> None:
            sleap_io().save_nwb(labels, file, nwb_format="annotations")

        return [write_bytes(target, self._saved(dataset, Path(target), ".nwb", save), overwrite=overwrite)]
