"""What the plain installation has to do on every system.

``python tests/export/small_path.py make FOLDER``, where PyTorch is, trains and exports a small model and writes what it
finds. ``python tests/export/small_path.py try FOLDER`` then finds the same where PyTorch is not. It needs nothing but
``pip install "trigpoint[serve]"``, and no pytest.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

PORT = 18765
MEASURED = "\nmeasurements:\n  base: {distance: [sella, nasion]}\n"


def trigpoint(*arguments: object) -> None:
    """A command of trigpoint, which has to end well."""
    subprocess.run([sys.executable, "-m", "trigpoint", *map(str, arguments)], check=True)


def make(folder: Path) -> None:
    """A model, images, and the tables of the run that it is made of."""
    from trigpoint.export import export_run
    from trigpoint.synthetic import write_radiographs
    from trigpoint.training import train

    data = write_radiographs(folder / "heads", count=16, size=(160, 128), spacing_mm=0.5)
    about = data / "dataset.yaml"
    about.write_text(about.read_text(encoding="utf-8") + MEASURED, encoding="utf-8")
    run = train("fast", overrides=[f"data.path={data}", "train.epochs=4", "data.workers=0"], out=folder / "run")
    export_run(run, folder / "heads.onnx")
    trigpoint("predict", run.folder, data / "images", "--out", folder / "wanted.csv")


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def same(found: Path, wanted: Path) -> None:
    """Whether two tables have the same numbers, but for rounding; the folders of images may be others."""
    ours, theirs = rows(found), rows(wanted)
    assert len(ours) == len(theirs) > 0, (found, len(ours), len(theirs))
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"image"}:
            assert bool(one[key]) == bool(other[key]), (key, one, other)
            assert not one[key] or abs(float(one[key]) - float(other[key])) < 0.02, (key, one[key], other[key])


def attempt(folder: Path) -> None:
    """Predict with the model: tables, drawings, measurements; and serve it."""
    assert importlib.util.find_spec("torch") is None, "expected an installation without PyTorch"
    images, model = folder / "heads" / "images", folder / "heads.onnx"
    trigpoint("--help")
    trigpoint("verify", model)
    trigpoint("predict", model, images, "--out", folder / "found.csv", "--overlay", folder / "drawn", "--force")
    same(folder / "found.csv", folder / "wanted.csv")
    same(folder / "found-measurements.csv", folder / "wanted-measurements.csv")
    assert len(list((folder / "drawn").glob("*.png"))) == len(rows(folder / "wanted.csv"))
    service = subprocess.Popen([sys.executable, "-m", "trigpoint", "serve", str(model), "--port", str(PORT)])
    try:
        answered(sorted(images.iterdir())[0].read_bytes(), service)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)


def answered(image: bytes, service: subprocess.Popen[bytes]) -> None:
    """Wait for the service, and post an image to it."""
    end = time.monotonic() + 120
    while True:
        try:
            urlopen(f"http://127.0.0.1:{PORT}/ready", timeout=5).close()
            break
        except OSError:
            if service.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the service did not begin") from None
            time.sleep(0.5)
    post = Request(f"http://127.0.0.1:{PORT}/predict", image, {"content-type": "image/png"})
    with urlopen(post, timeout=60) as reply:
        found = json.load(reply)
    assert found["images"][0]["instances"][0][0]["x"] is not None, found


def main() -> None:
    """``make FOLDER`` or ``try FOLDER``."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    {"make": make, "try": attempt}[what](folder)


if __name__ == "__main__":
    main()
