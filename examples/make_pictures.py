"""Make the pictures of the README: ``python examples/make_pictures.py [FOLDER]``, about five minutes on two cores."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

import trigpoint as tp
from trigpoint.report import prediction_overlay, save
from trigpoint.synthetic import write_radiographs

SHOWN = 3
WIDTH, COLOURS = 840, 256  # pixels, and colours of the palette: noise makes large files


def main(folder: Path) -> None:
    """Train on drawn radiographs and draw what is found in images of the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        data, run = Path(work) / "data", Path(work) / "run"
        write_radiographs(data, count=120, size=(480, 384), spacing_mm=0.5)
        tp.train(data, minutes=4, out=run)
        report = tp.evaluate(run, data, split="test")
        print(f"mean radial error {report.metrics['mre_mm']:.2f} mm on {len(report.dataset)} images")
        test, found = report.dataset, report.prediction.points[:SHOWN]
        images = [test.read(i).pixels for i in range(SHOWN)]
        spacings = test.spacings[:SHOWN].tolist()
        figure = prediction_overlay(images, test.points[:SHOWN], found, columns=SHOWN, spacing_mm=spacings)
        save(figure, folder / "predictions.png")
    shrink(folder / "predictions.png")


def shrink(file: Path) -> None:
    """Fewer pixels and colours; the octree keeps the few coloured ones."""
    with Image.open(file) as picture:
        height = round(picture.height * WIDTH / picture.width)
        small = picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
