"""Decoding several instances per landmark, against landmarker 0.4 and against the network that made the maps.

One frame of EndoVis (576 x 720) with two landmarks of six instances each, on one thread. landmarker takes the same
maps, window and threshold, and has neither the median nor the sub-pixel place: less work than ours.

From end to end: frames of a video file to points in their pixels, by networks with weights as they are drawn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.codec import peer
from benchmarks.timing import Row, compare, seconds
from trigpoint.codecs import InstanceHeatmap
from trigpoint.data.pixels.frames import Frames, VideoWriter
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.nn import NETWORKS
from trigpoint.prediction import Predictor
from trigpoint.recipe import load_recipe
from trigpoint.synthetic import write_instruments

PEER_TARGET, NETWORK_TARGET = 50.0, 0.05
SIGMA, WINDOW, THRESHOLD = 3.0, 10, 0.3
NOISE = 0.05


def rows(
    size: tuple[int, int],
    landmarks: int,
    instances: int,
    rounds: int,
    width: int = 32,
    recipes: Sequence[str] = ("instances", "endovis"),
) -> list[Row]:
    """Decoding a frame of ``size`` (H, W), and ``recipes`` from end to end; ``width`` is that of the paper's U-Net."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = _rows(size, landmarks, instances, rounds, width)
        return [*found, *(end_to_end(recipe, size, frames=4 * rounds) for recipe in recipes)]
    finally:
        torch.set_num_threads(threads)


def _rows(size: tuple[int, int], landmarks: int, instances: int, rounds: int, width: int) -> list[Row]:
    codec = InstanceHeatmap(size, stride=1, window=WINDOW, threshold=THRESHOLD)
    points = scattered(size, landmarks, instances)
    maps = codec.encode(points, SIGMA)
    noisy = maps + NOISE * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    shape = f"{landmarks} x {instances} instances, {size[0]} x {size[1]}, one thread"
    found = [
        _against_peer(f"decode {shape}", codec, maps, THRESHOLD, rounds, PEER_TARGET),
        _against_peer(f"decode with threshold 0, noise {NOISE:g}: {shape}", codec, noisy, 0.0, rounds, None),
    ]
    network = NETWORKS["unet"](3, landmarks, width=width).eval().to(memory_format=torch.channels_last)
    image = torch.zeros(1, 3, *size).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward() -> Tensor:
        return network(image)

    mine, whole, ratio = compare(lambda: codec.decode(maps), forward, rounds)
    share = 1 / ratio
    other = f"U-Net: {1000 * whole:.0f} ms"
    aim, met = f"< {NETWORK_TARGET:.0%}", share < NETWORK_TARGET
    return [
        *found,
        Row(f"decode, as a share of the network: {shape}", f"{1000 * mine:.1f} ms", other, f"{share:.2%}", aim, met),
    ]


def end_to_end(recipe: str, size: tuple[int, int], frames: int, landmarks: int = 2) -> Row:
    """Frames per second of a video file of ``size`` (H, W): decoded, resized, through the network, to points."""
    chosen = load_recipe(recipe, ["train.accelerator=cpu"])
    marks = LandmarkSet(tuple(f"mark{k}" for k in range(landmarks)))
    predictor = Predictor(build_method(chosen, marks), chosen, marks, np.full(landmarks, np.nan), "cpu")
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "frames.mp4"
        images = write_instruments(Path(folder) / "drawn", count=4, size=size) / "images"
        drawn = [frame.image for frame in Frames(images)]
        with VideoWriter(video, rate=25) as writer:
            for index in range(frames):
                writer.add(drawn[index % len(drawn)].pixels.transpose(1, 2, 0))
        predictor.predict(drawn[:1])  # warms up
        start = time.perf_counter()
        for frame in Frames(video):
            predictor.predict([frame.image])
        rate = frames / (time.perf_counter() - start)
    seen = " x ".join(map(str, chosen.data.input.size))
    frame = f"{size[0]} x {size[1]}"
    return Row(
        f"video of {frame} to points, recipe {recipe} ({seen}), one thread", f"{rate:.1f} frames/s", "", "", "", None
    )


def scattered(size: tuple[int, int], landmarks: int, instances: int) -> Tensor:
    """Points (1, instances, landmarks, 2) at least two windows apart and one from the border, drawn at random."""
    generator = torch.Generator().manual_seed(0)
    room = torch.tensor([size[1], size[0]]) - 1 - 2 * WINDOW
    chosen: list[Tensor] = []
    while len(chosen) < landmarks * instances:
        point = WINDOW + torch.rand(2, generator=generator) * room
        if all(torch.dist(point, other) >= 2 * WINDOW for other in chosen):
            chosen.append(point)
    return torch.stack(chosen).reshape(1, instances, landmarks, 2)


def _against_peer(
    measure: str, codec: InstanceHeatmap, maps: Tensor, threshold: float, rounds: int, target: float | None
) -> Row:
    def ours() -> Any:
        return codec.decode(maps, threshold)

    other, aim = peer(), "" if target is None else f">= {target:g} x"
    if other is None:
        mine = min(seconds(ours) for _ in range(rounds + 1))
        return Row(measure, f"{1000 * mine:.1f} ms", "landmarker: not installed", "", aim, None)

    def theirs() -> Any:
        return other.heatmap_to_multiple_coord(maps, window=WINDOW, threshold=threshold)

    if target is not None:
        _check_same(ours().points[0], theirs()[0][0])
    mine, reference, ratio = compare(ours, theirs, rounds)
    met = None if target is None else ratio >= target
    return Row(measure, f"{1000 * mine:.1f} ms", f"landmarker: {1000 * reference:.0f} ms", f"{ratio:.1f} x", aim, met)


def _check_same(ours: Tensor, theirs: list[list[Tensor]]) -> None:
    """Raises RuntimeError unless both found the same instances, to the cell (its points are (y, x))."""
    for mine, other in zip(ours, theirs, strict=True):
        mine = mine[mine.isfinite().all(-1)]
        cells = torch.stack(other).flip(-1) if other else mine.new_zeros(0, 2)
        near = (mine[:, None] - cells).abs().amax(-1) <= 1.0
        if len(mine) != len(cells) or not bool(near.any(0).all() and near.any(1).all()):
            raise RuntimeError("landmarker's instances differ from ours: not the same work, nothing to compare")
