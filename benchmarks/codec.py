"""Encoding and decoding against landmarker 0.4 (predict-idlab), on one thread and the same points and maps."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.timing import Row, compare, seconds
from trigpoint.codecs import GaussianHeatmap

ENCODE_TARGET, DECODE_TARGET = 30.0, 10.0
SIGMA = 3.0
DECODERS = {"dark": DECODE_TARGET, "centroid": DECODE_TARGET, "soft_argmax": None}


def peer() -> Any:
    """landmarker's heatmap module, or None; it needs torch and scipy only, whatever the package's metadata asks for."""
    try:
        from landmarker import heatmap  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return heatmap


def rows(size: int, batch: int, landmarks: int, rounds: int) -> list[Row]:
    """Encoding, then decoding by each sub-pixel decoder, of ``batch`` x ``landmarks`` maps of ``size`` x ``size``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _rows(size, batch, landmarks, rounds)
    finally:
        torch.set_num_threads(threads)


def _rows(size: int, batch: int, landmarks: int, rounds: int) -> list[Row]:
    other = peer()
    room = size - 6 * SIGMA
    points = 3 * SIGMA + torch.rand(batch, landmarks, 2, generator=torch.Generator().manual_seed(0)) * room
    codec = GaussianHeatmap((size, size), stride=1)
    maps = codec.encode(points, SIGMA)
    shape = f"{batch} x {landmarks} x {size} x {size}, one thread"

    generate = decode = None
    if other is not None:
        generator = other.GaussianHeatmapGenerator(landmarks, sigmas=SIGMA, heatmap_size=(size, size))
        same = generator(points.flip(-1))  # its points are (y, x)
        if not torch.allclose(same, maps, atol=1e-4):
            raise RuntimeError("landmarker's maps differ from ours: not the same work, nothing to compare")

        def generate() -> Any:
            return generator(points.flip(-1))

        def decode() -> Any:
            return other.heatmap_to_coord(maps, method="local_soft_argmax")

    found = [_row(f"encode {shape}", lambda: codec.encode(points, SIGMA), generate, batch, rounds, ENCODE_TARGET)]
    for name, target in DECODERS.items():
        decoder = GaussianHeatmap((size, size), stride=1, decoder=name)
        found.append(_row(f"decode ({name}) {shape}", lambda d=decoder: d.decode(maps), decode, batch, rounds, target))
    return found


def _row(measure: str, ours: Any, other: Any, batch: int, rounds: int, target: float | None) -> Row:
    aim = "" if target is None else f">= {target:g} x"
    if other is None:
        mine = min(seconds(ours) for _ in range(rounds + 1))
        return Row(measure, f"{batch / mine:.0f} images/s", "landmarker: not installed", "", aim, None)
    mine, theirs, ratio = compare(ours, other, rounds)
    speed = f"landmarker: {batch / theirs:.1f} images/s"
    met = None if target is None else ratio >= target
    return Row(measure, f"{batch / mine:.0f} images/s", speed, f"{ratio:.1f} x", aim, met)
