"""The notebooks of examples/ run from top to bottom, and are stored without outputs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from trigpoint.config import read_yaml

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_detector.ipynb"
MINUTES = 3  # on two cores, as the notebook says


def run(folder: Path) -> str:
    """Execute it in an empty folder; what its cells printed."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3  # the contact sheet, the errors, a drawn prediction
    assert not list(folder.iterdir())  # all that it writes is in a temporary folder
    return "".join(output.get("text", "") for output in outputs)


def test_no_outputs_are_stored() -> None:
    cells = [cell for cell in read_yaml(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]  # JSON is YAML
    assert len(cells) >= 8
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGPOINT_NOTEBOOK", "quick")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "drawn"))
    (tmp_path / "drawn").mkdir()
    (tmp_path / "empty").mkdir()
    said = run(tmp_path / "empty")
    assert "mean radial error" in said
    assert "## Not for" in said  # the model card


@pytest.mark.soak
def test_the_whole_notebook_learns_within_its_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TRIGPOINT_NOTEBOOK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "drawn"))
    (tmp_path / "drawn").mkdir()
    (tmp_path / "empty").mkdir()
    start = time.monotonic()
    said = run(tmp_path / "empty")
    assert time.monotonic() - start < MINUTES * 60
    error = float(said.split("mean radial error: ")[1].split(" mm")[0])
    assert error < 5  # a network that learned nothing is far worse
