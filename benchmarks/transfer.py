"""What a frozen source costs a training step: L_ED, L_CD and both against plain fine-tuning, in time and memory.

All start from the same source and see the same images; a step is loss, gradient and optimizer. With the cache, the
source has said before what it says of each image. Peak memory is that of a process of its own that does the same steps.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm import create_model

from benchmarks.timing import Row, compare
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import build_method
from trigpoint.recipe import Recipe
from trigpoint.training.optimizers import fast_precision, make_optimizers

TARGET = 1.40
FINE_TUNING: dict[str, Any] = {"loss": "none"}
CASES: dict[str, dict[str, Any]] = {
    "L_ED": {"loss": "encoder"},
    "L_ED, cached": {"loss": "encoder", "cache": True},
    "L_CD": {"loss": "classifier"},
    "both": {"loss": "both"},
}
MEBI = 2**20


def rows(encoder: str, size: int, batch: int, rounds: int, landmarks: int = 14, memory: bool = True) -> list[Row]:
    """Time of a step of each regulariser over fine-tuning, and the memory it adds."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "source.safetensors"
        save_file(create_model(encoder, num_classes=165).state_dict(), weights)
        plain = step_of(FINE_TUNING, encoder, size, batch, landmarks, weights)
        base = peak(FINE_TUNING, encoder, size, batch, landmarks, weights) if memory else 0.0
        for name, options in CASES.items():
            ours = step_of(options, encoder, size, batch, landmarks, weights)
            mine, theirs, ratio = compare(ours, plain, rounds)
            about = f"{encoder}, {batch} x {size} x {size}"
            found.append(
                Row(
                    f"step with {name} ({about})",
                    f"{mine * 1e3:.0f} ms",
                    f"fine-tuning: {theirs * 1e3:.0f} ms",
                    f"{1 / ratio:.2f} x",
                    f"<= {TARGET:.2f} x",
                    1 / ratio <= TARGET,
                )
            )
            if memory and name == "both":
                own = peak(options, encoder, size, batch, landmarks, weights)
                text = f"{own / base:.2f} x"
                peaks = f"{own / MEBI:.0f} MiB", f"fine-tuning: {base / MEBI:.0f} MiB"
                found.append(Row(f"peak memory with {name} ({about})", *peaks, text, "", None))
    return found


def step_of(
    options: dict[str, Any], encoder: str, size: int, batch: int, landmarks: int, weights: Path
) -> Callable[[], None]:
    """A training step on images that lie ready."""
    recipe = Recipe.model_validate(
        {
            "data": {"input": {"size": [size, size], "channels": 3, "normalize": "unit"}},
            "method": {
                "name": "heatmap",
                "network": {"name": "simple_baseline", "encoder": encoder},
                "schedule": {"name": "fixed", "sigma0": 1.5},
                "transfer": {"source": {"weights": str(weights), "normalize": "unit"}, **options},
            },
            "train": {"epochs": 1},
        }
    )
    method = build_method(recipe, LandmarkSet(tuple(f"p{i}" for i in range(landmarks)))).train()
    images = torch.randn(batch, 3, size, size)
    back = torch.eye(2, 3, dtype=torch.float64).expand(batch, 2, 3)
    data = Batch(images, torch.rand(batch, landmarks, 2) * size, back, torch.arange(batch))
    learned = [p for p in method.parameters() if p.requires_grad]
    optimizer = make_optimizers(recipe.train, learned, 1000)["optimizer"]
    mixed = fast_precision() == "bf16-mixed"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            loss = method.training_step(data, 0)
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def peak(options: dict[str, Any], encoder: str, size: int, batch: int, landmarks: int, weights: Path) -> float:
    """Largest resident size, bytes, of a fresh process that does four steps."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (options, encoder, size, batch, landmarks, weights))


def _peak(*setting: Any) -> float:
    torch.set_num_threads(1)
    step = step_of(*setting)
    for _ in range(4):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
