"""Golden runs: does a change leave every number as it was?

    python -m benchmarks.golden record FOLDER   before the change: trains, measures, keeps runs and numbers
    python -m benchmarks.golden compare FOLDER  after it: trains again, and loads the kept runs as well

Two epochs of each kind of training on drawn images, one thread of a CPU: heatmaps with every schedule and loss, several
networks, the foveated pyramid with one network and with one per landmark, the cascade, instances, and cross-task
learning with a source that is trained first. Compared to 1e-6: the sums of all weights, ``metrics.csv``, radii and
threshold, predicted points and scores, and the metrics of the evaluation. The numbers belong to one machine and one
torch; they are not kept in the repository.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import trigpoint as tp

try:
    from trigpoint import synthetic
except ImportError:  # before the drawn sets had a room of their own
    from trigpoint import synthetic  # type: ignore[attr-defined, no-redef]

TOLERANCE = 1e-6
TINY = {"workers": 0, "input": {"size": [64, 56]}}
TRAIN = {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "threads": 1, "precision": "32"}
UNET = {"name": "unet", "width": 4, "depth": 2}
GLIMPSES = {"trunk": "small", "glimpse": 16, "levels": 3, "train_iterations": 2, "train_starts": 1, "iterations": 2}
WIDE = {"sigma0": 6.0}
MAPS: dict[str, dict[str, Any]] = {
    "fixed": {"schedule": {"name": "fixed", "sigma0": 3.0}},
    "linear": {"schedule": {"name": "linear", **WIDE}},
    "exponential": {"schedule": {"name": "exponential", **WIDE}},
    "adaloss": {"schedule": {"name": "adaloss", **WIDE, "window": 2}},
    "adaloss-literal": {"schedule": {"name": "adaloss", **WIDE, "window": 2, "guard": "literal"}, "normalize": "mean"},
    "learned": {"schedule": {"name": "learned"}, "normalize": "mean"},
    "argmax": {"decoder": "argmax", "loss": {"name": "mse", "relative": True}},
    "kl": {
        "loss": "kl",
        "decoder": "soft_argmax",
        "network": {"name": "res_unet", "width": 8},
        "schedule": {"name": "fixed", "sigma0": 1.0},
    },
    "dense": {"network": {"name": "dense_unet", "width": 4, "growth": 4, "kernel": 3}, "normalize": "mean"},
    "hourglass": {"network": {"name": "hourglass", "width": 8, "stacks": 2}},
    "timm": {"network": {"name": "timm_unet", "encoder": "test_resnet"}, "schedule": {"name": "fixed", "sigma0": 2.0}},
}


def recipes(data: Path, source: Path) -> Iterator[tuple[str, dict[str, Any], Path]]:
    """Name, recipe values and dataset of every golden run."""
    heads, tools, names = data / "heads", data / "tools", ["sella", "menton", "upper_incisor"]
    base = {"seed": 3, "train": {**TRAIN, "ema": 0.9, "clip": 5.0}}
    about = {**TINY, "path": str(heads), "landmarks": names}
    augment = {"rotation": 10, "scale": [0.9, 1.1], "shift": 0.05, "elastic": 2.0, "gamma": 0.2, "noise": 0.02}
    for name, options in MAPS.items():
        method = {"name": "heatmap", "network": UNET, **options}
        train = {**base["train"], "epochs": 4 if name.startswith("adaloss") else 2}  # its widths move after two
        yield (
            f"heatmap-{name}",
            {"seed": 3, "train": train, "data": {**about, "augment": augment}, "method": method},
            heads,
        )
    for name, options in (
        ("separate", {}),
        ("shared", {"shared": True, "starts": 3}),
        ("embedding", {"shared": True, "conditioning": "embedding", "loss": "relative", "start": "landmark"}),
    ):
        yield f"foveated-{name}", {**base, "data": about, "method": {"name": "foveated", **GLIMPSES, **options}}, heads
    coarse = {
        "data": {"input": {"size": [32, 28]}, "workers": 0},
        "method": {"name": "heatmap", "network": UNET, "schedule": {"name": "adaloss", **WIDE}},
        "train": TRAIN,
    }
    cascade = {
        "name": "cascade",
        "coarse": coarse,
        "fine": {**GLIMPSES, "levels": 2, "shared": True},
        "min_score": 0.01,
    }
    yield "cascade", {**base, "data": about, "method": cascade}, heads
    frames = {"path": str(tools), "workers": 0, "input": {"size": [64, 80], "channels": 3}}
    instances = {"name": "instances", "network": UNET, "schedule": {"name": "fixed", "sigma0": 3.0}}
    longer = {**base, "train": {**base["train"], "epochs": 30, "optimizer": {"name": "adam", "lr": 0.01}}}
    yield "instances", {**longer, "data": frames, "method": instances}, tools
    yield "instances-single", {**base, "data": about, "method": instances}, heads
    few = {"path": str(heads), "landmarks": names, "limit": 6, "unlabelled": 2, "workers": 0}
    transfer = {"source": {"run": str(source)}, "loss": "both", "weight": 0.5}
    held = {
        "name": "heatmap",
        "network": {"name": "timm_unet", "encoder": "test_resnet"},
        "schedule": {"name": "fixed", "sigma0": 2.0},
        "transfer": transfer,
    }
    yield "cross-task", {**base, "data": {**few, "input": {"size": [64, 56]}}, "method": held}, heads


def source_recipe(data: Path) -> dict[str, Any]:
    """A source model that tells the first subjects of the drawn heads apart."""
    about = {"path": str(data / "classes"), "workers": 0, "input": {"size": [64, 56]}, "val_share": 0.3}
    return {"task": "classification", "seed": 1, "encoder": "test_resnet", "data": about, "train": TRAIN}


def draw(data: Path) -> None:
    """Heads, instruments, and two folders of heads as classes."""
    synthetic.write_radiographs(data / "heads", 20, size=(96, 84), seed=2, spacing_mm=0.5)
    synthetic.write_instruments(data / "tools", 24, size=(72, 90), seed=2)
    for i, file in enumerate(sorted((data / "heads" / "images").iterdir())[:16]):
        place = data / "classes" / f"class{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place / file.name)


def trained(values: dict[str, Any], out: Path) -> Any:
    """The run of recipe values."""
    from trigpoint.config import to_yaml

    file = out.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(to_yaml(values))
    return tp.train(file, out=out, progress=False)


def weights_of(run: Any) -> dict[str, list[float]]:
    """Sum and sum of squares of every tensor."""
    state = {name: value.double() for name, value in run.load_weights()[0].items()}
    return {name: [float(value.sum()), float(value.square().sum())] for name, value in state.items()}


def numbers_of(run: Any, data: Path) -> dict[str, Any]:
    """All that is compared of a run that finds landmarks."""
    predictor = tp.Predictor.load(run, device="cpu")
    dataset = tp.LandmarkDataset.load(data, split="test", names=predictor.landmarks.names)
    if hasattr(predictor, "predict_instances"):  # before there was one result for one and for many
        found = predictor.predict_instances(dataset) if predictor.several else None
    else:
        result = predictor.predict(dataset)
        found = result.detections if result.multi_instance else None
    if found is not None:
        points = {one.image: {"points": one.points.tolist(), "scores": one.scores.tolist()} for one in found}
    else:
        single = predictor.predict(dataset)
        points = {"points": single.points.tolist(), "scores": single.scores.tolist()}
        points["spread"] = None if single.spread is None else single.spread.tolist()
    report = tp.evaluate(run, data, device="cpu").to_dict()
    drop = ("run", "dataset", "warnings")
    marks = run.read_landmarks()
    table = run.history_table().drop(columns=["minutes", "data_wait_share", "epoch"])
    return {
        "weights": weights_of(run),
        "history": table.to_dict("list"),
        "radius": marks.radius.tolist(),
        "threshold": marks.threshold,
        "predicted": {Path(key).name: value for key, value in points.items()},
        "metrics": {key: value for key, value in report.items() if key not in drop},
    }


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Where two trees of numbers differ by more than the tolerance."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:  # a number that is new leaves the others as they were
            if key not in new:
                yield f"{where}.{key}: only before"
            else:
                yield from differences(old[key], new[key], f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} values before, {len(new)} now"
        for i, (a, b) in enumerate(zip(old, new, strict=False)):
            yield from differences(a, b, f"{where}[{i}]")
    elif isinstance(old, float) and isinstance(new, float | int):
        same = (math.isnan(old) and math.isnan(new)) or math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        if not same:
            yield f"{where}: {old} before, {new} now"
    elif old != new:
        yield f"{where}: {old!r} before, {new!r} now"


def record(folder: Path) -> None:
    """Draw, train, measure and keep everything in ``folder``."""
    draw(folder / "data")
    source = trained(source_recipe(folder / "data"), folder / "runs" / "source")
    golden = {"source": {"weights": weights_of(source)}}
    for name, values, data in recipes(folder / "data", source.folder):
        golden[name] = numbers_of(trained(values, folder / "runs" / name), data)
        print(name, flush=True)
    (folder / "golden.json").write_text(json.dumps(golden))


def compare(folder: Path) -> int:
    """Train again and load the kept runs; prints what differs and returns how many of the runs do."""
    golden, failed = json.loads((folder / "golden.json").read_text()), 0
    with tempfile.TemporaryDirectory() as place:
        runs = Path(place)
        source = trained(source_recipe(folder / "data"), runs / "source")
        found = list(differences(golden["source"]["weights"], weights_of(source), "source"))
        kept = folder / "runs"
        for name, values, data in recipes(folder / "data", source.folder):
            new = json.loads(json.dumps(numbers_of(trained(values, runs / name), data)))
            found += [f"trained anew {text}" for text in differences(golden[name], new, name)]
            old = json.loads(json.dumps(numbers_of(tp.evaluate(kept / name, data, device="cpu").run, data)))
            found += [f"loaded {text}" for text in differences(golden[name], old, name)]
            print(f"{name}: {'same' if not found else f'{len(found)} DIFFER'}", flush=True)
            for text in found[:12]:
                print(f"  {text}")
            failed, found = failed + bool(found), []
    print(f"{len(golden)} kinds of runs, {failed} differ")
    return failed


if __name__ == "__main__":
    torch.set_num_threads(1)
    verb, place = sys.argv[1:]
    sys.exit({"record": record, "compare": compare}[verb](Path(place)))
