"""From nothing to a measured detector in under a minute, on drawn images: ``python examples/quickstart.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import trigpoint as tp
from trigpoint.data.synthetic import write_catheter


def main(folder: Path) -> None:
    """Draw a dataset, train on it, measure, and predict; everything is written below ``folder``."""
    data, run = folder / "data", folder / "run"
    write_catheter(data, count=200, size=96, seed=0)
    tp.train("fast", [f"data.path={data}", "data.input.size=[96,96]", "train.epochs=16"], out=run)

    report = tp.evaluate(run, data, split="test")
    print(f"mean radial error on {len(report.dataset)} test images: {report.metrics['mre_px']:.2f} px")
    report.to_html(folder / "report.html", overwrite=True)

    test = tp.LandmarkDataset.load(data, split="test")
    prediction = tp.Predictor.load(run).predict(test)
    for image, (x, y), (true_x, true_y) in zip(
        prediction.images, prediction.points[:, 0], test.points[:, 0], strict=True
    ):
        print(f"{Path(image).name}: tip found at ({x:.1f}, {y:.1f}), true at ({true_x:.1f}, {true_y:.1f})")
    print(f"report: {folder / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/quickstart"))
