"""The nodes that decode several instances find what ``InstanceHeatmap`` finds: all of them, and nothing else."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor

from trigpoint.codecs import InstanceHeatmap, maxima
from trigpoint.codecs.instance_graph import candidate_nodes, chosen_nodes
from trigpoint.codecs.instances import MOST
from trigpoint.export.assembly import translated
from trigpoint.export.nodes import Graph
from trigpoint.methods.graph import Calling

pytestmark = pytest.mark.soak  # the translation of each graph takes seconds


CODEC = InstanceHeatmap((64, 96), stride=2, median=5)
SIZE = (2, 32, 48)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    def refine(maps: Tensor, owner: Tensor, centre: Tensor, height: Tensor) -> Tensor:
        return maxima.refined(maps[0], maxima.Maxima(owner, centre, height), CODEC.window, CODEC.median)

    example = torch.randn(1, *SIZE), torch.zeros(3, dtype=torch.long), torch.full((3, 2), 4.0), torch.ones(3)
    g = Graph()
    found = candidate_nodes(g, "maps", "threshold", SIZE, CODEC.median, MOST)
    g.use(translated(Calling(refine), example, rows=True), ["maps", *found], ["place"])
    points, scores = chosen_nodes(g, "place", found[0], found[2], SIZE[0], CODEC.window, CODEC.stride)
    g.name(points, "points")
    g.name(scores, "scores")
    kind = TensorProto.FLOAT
    made = g.model(
        {"maps": (kind, [1, *SIZE]), "threshold": (kind, [])},
        {"points": (kind, [1, "N", SIZE[0], 2]), "scores": (kind, [1, "N", SIZE[0]])},
    )
    return onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])


def compare(session: onnxruntime.InferenceSession, maps: Tensor, threshold: float) -> int:
    """How many instances there are; raises where the graph finds others."""
    found = CODEC.decode(maps, threshold)
    points, scores = session.run(None, {"maps": maps.numpy(), "threshold": np.array(threshold, np.float32)})
    np.testing.assert_allclose(points, found.points.transpose(1, 2).numpy(), atol=1e-3)
    np.testing.assert_allclose(scores, found.scores.transpose(1, 2).numpy(), atol=1e-6)
    return int(found.counts.sum())


def noisy(noise: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(1, 4, 2, 2, generator=generator) * torch.tensor([95.0, 63.0])
    return CODEC.encode(points, 3.0) + noise * torch.randn(1, *SIZE, generator=generator)


@pytest.mark.parametrize("threshold", [0.3, 0.05])
def test_the_graph_finds_the_same_instances(session: onnxruntime.InferenceSession, threshold: float) -> None:
    counts = [compare(session, noisy(0.02 * seed, seed), threshold) for seed in range(10)]
    assert len(set(counts)) > 2  # not always as many


def test_plateaus_count_once(session: onnxruntime.InferenceSession) -> None:
    for seed in range(4):
        assert compare(session, (noisy(0.0, seed) * 4).round() / 4, 0.3)
    flat = torch.zeros(1, *SIZE)
    flat[0, 0, 5:16, 7:30] = 0.8  # wider than the filter, with a step on it
    flat[0, 1, 10:20, 20:30], flat[0, 1, 13:17, 23:27] = 0.5, 0.9
    assert compare(session, flat, 0.3) == 2


def test_maps_without_instances_give_none(session: onnxruntime.InferenceSession) -> None:
    for maps in (torch.zeros(1, *SIZE), torch.full((1, *SIZE), 0.5), -torch.ones(1, *SIZE)):
        assert compare(session, maps, 0.3) == 0
