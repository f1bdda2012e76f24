"""From nothing to a measured detector in under a minute: ``python examples/quickstart.py [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

import trigpoint as tp
from trigpoint.synthetic import write_radiographs


def main(folder: Path) -> None:
    """Draw a dataset, train on it, measure, and predict; everything is written below ``folder``."""
    data, run = folder / "data", folder / "run"
    write_radiographs(data, count=120, size=(480, 384), spacing_mm=0.5)
    tp.train("fast", [f"data.path={data}", "train.epochs=20"], out=run)

    report = tp.evaluate(run, data, split="test")
    print(f"mean radial error on {len(report.dataset)} test images: {report.metrics['mre_mm']:.2f} mm")
    report.to_html(folder / "report.html", overwrite=True)

    image = data / "images" / "00000.png"
    prediction = tp.Predictor.load(run).predict(image)
    print(f"{image}:")
    for name, (x, y), radius in zip(
        prediction.landmarks.names, prediction.points[0], prediction.radius[0], strict=True
    ):
        print(f"  {name} at ({x:.1f}, {y:.1f}), error below {radius:.1f} px nine times in ten")
    print(f"report: {folder / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/quickstart"))
