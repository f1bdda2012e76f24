"""Training a source model: a timm encoder that tells classes of images apart, such as the subjects of a face set.

Its run folder can be named as ``method.transfer.source.run``. Classes are the sub-folders of a folder of images, or the
values of a column of a dataset's table.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import read_csv, write_text
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import InputDataset
from trigpoint.data.pixels.images import is_image
from trigpoint.data.subsets import stable_order
from trigpoint.data.table import read_table
from trigpoint.errors import ConfigError, DataError, RunError, did_you_mean
from trigpoint.landmarks import Batch, LandmarkSet, Sample
from trigpoint.methods.base import TrainedModule, take_sums
from trigpoint.methods.validation import ValidationMetric
from trigpoint.nn.backbones import build_encoder
from trigpoint.nn.source import pooled_logits
from trigpoint.prediction.engine import first_process
from trigpoint.recipe import SourceDataConfig, SourceRecipe
from trigpoint.runs import RunFolder
from trigpoint.training.fitting import alone, check_engine, draw_history, fit, go_on, tell, writing
from trigpoint.training.resuming import settled, trained
from trigpoint.training.tracking import check_logger, tracked


class ClassError(ValidationMetric):
    """Share of misclassified images."""

    columns = ("val_error",)
    title, unit, factor = "images misclassified", "%", 100.0

    def rows(self, found: Tensor, batch: Batch) -> Tensor:
        """1 where the class is wrong, else 0."""
        return found

    def summary(self, rows: Tensor) -> Sequence[float]:
        """Their mean."""
        return (float(rows.mean()),)

    def told(self, values: Mapping[str, float]) -> str:
        """``error 3.1 %``."""
        return f"error {100 * values['val_error']:.1f} %"


class ClassNetwork(nn.Module):
    """A timm encoder, the average of its deepest features, and one linear layer: (B, C, H, W) -> scores (B,
    classes)."""

    def __init__(self, recipe: SourceRecipe, classes: int) -> None:
        super().__init__()
        self.encoder = build_encoder(recipe.encoder, recipe.data.input.channels, recipe.pretrained, recipe.weights)
        self.classifier = nn.Linear(cast(Any, self.encoder).feature_info.channels()[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of images."""
        return pooled_logits(self.classifier, self.encoder(x)[-1])


class SourceClassifier(TrainedModule):
    """Cross entropy over the classes; ``labels`` (N,) of the training images, ``val_labels`` of the others."""

    def __init__(self, recipe: SourceRecipe, classes: int, labels: Tensor, val_labels: Tensor) -> None:
        super().__init__(recipe.train.ema)
        self.network = ClassNetwork(recipe, classes)
        self.network.to(memory_format=torch.channels_last)
        self.smoothing = recipe.label_smoothing
        self.keep_average()
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("val_labels", val_labels, persistent=False)
        self.register_buffer("loss_sums", torch.zeros(2, dtype=torch.float64), persistent=False)

    labels: Tensor
    val_labels: Tensor
    loss_sums: Tensor

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy of the batch; raises RunError when it is not finite."""
        scores = self.network(batch.images.contiguous(memory_format=torch.channels_last)).float()
        loss = functional.cross_entropy(scores, self.labels[batch.index], label_smoothing=self.smoothing)
        self.finite.watch(loss, batch.index)
        self.loss_sums += torch.stack([loss.detach() * len(batch), loss.new_tensor(len(batch))])
        return loss

    def on_train_epoch_end(self) -> None:
        """The mean of the epoch."""
        self.finite.ask()
        total, count = take_sums(self.loss_sums).tolist()
        self.epoch_loss = total / count

    def validation_metric(self) -> ClassError:
        """The share of misclassified images."""
        return ClassError()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Which classes are wrong."""
        scores: Tensor = self.inference_network()(batch.images)
        self.metric.update((scores.argmax(1) != self.val_labels[batch.index]).float(), batch)


def train_source(recipe: SourceRecipe, run: RunFolder, progress: bool = True) -> RunFolder:
    """Train, or resume what ``run`` holds of the same recipe.

    Raises ConfigError and DataError before anything is written, else as ``training.train``.
    """
    images, classes = read_classes(recipe.data)
    parts = _divide(images, recipe.data.val_share, recipe.seed)
    names = {part: [data.image_name(sample) for sample in data.samples] for part, data in parts.items()}
    recipe, existed = settled(recipe, len(names["train"])), run.exists()
    number = {name: i for i, name in enumerate(classes)}
    labels = {part: torch.tensor([number[sample.subject] for sample in data.samples]) for part, data in parts.items()}
    if existed and (then := run.parts()) != names:
        gone, more = (len(_all(a) - _all(b)) for a, b in ((then, names), (names, then)))
        raise RunError(
            f"{run.split}: the run was begun with other images than {recipe.data.path} holds ({gone} gone, {more} "
            "new, or of other classes); put back what it had, or give another --out"
        )
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    module = SourceClassifier(recipe, len(classes), labels["train"], labels["val"])
    if existed and trained(run, recipe) and run.history.is_file():
        return run
    check_engine(recipe.train, len(names["val"]))
    check_logger(recipe.train)
    inputs = {}
    for part, augment in (("train", recipe.data.augment), ("val", None)):
        pipeline = InputPipeline(recipe.data.input, parts[part].landmarks, augment)
        inputs[part] = InputDataset(parts[part], pipeline, recipe.seed, recipe.data.cache)
        inputs[part].preload()
    with alone(run):
        if not existed and first_process():
            with writing(run):
                run.open_new()
                rows = "".join(f"{name}\n" for name in ("class", *classes))
                write_text(run.folder / "classes.csv", rows, overwrite=True)
                run.write_about(recipe, names)
        if recipe.train.threads:
            torch.set_num_threads(recipe.train.threads)
        point = go_on(recipe, inputs, run)
        with writing(run), tracked(recipe, run, tell) as tracker:
            fit(recipe, module, inputs, run, point, progress, tracker=tracker)
            if first_process():
                draw_history(run, module.metric)
    return run


def _all(names: Mapping[str, Sequence[str]]) -> set[str]:
    return {name for part in names.values() for name in part}


def read_classes(settings: SourceDataConfig) -> tuple[LandmarkDataset, tuple[str, ...]]:
    """Images without landmarks, the class in ``Sample.subject``, and the sorted names of the classes.

    Raises ConfigError without a path, DataError for fewer than two classes or a class of a single image.
    """
    if settings.path is None:
        raise ConfigError("data.path: expected a folder of images, got none; add data.path=FOLDER")
    folder = Path(settings.path)
    if not folder.exists():
        raise DataError(f"{folder}: expected a folder of images, got nothing there; check the path")
    is_table = folder.is_file() or (folder / "dataset.yaml").is_file() or (folder / "landmarks.csv").is_file()
    if is_table:
        samples, root = _from_table(folder, settings)
    elif settings.splits is not None:
        raise ConfigError(f"data.splits: are those of a dataset's table, got the folder {folder}; remove data.splits")
    else:
        samples, root = _from_folders(folder), folder
    counts = Counter(sample.subject for sample in samples)
    classes = tuple(sorted(counts))
    if len(classes) < 2:
        what = f"column '{settings.column}'" if is_table else "sub-folders"
        raise DataError(f"{folder}: expected at least two classes, got {len(classes)} by its {what}")
    alone = [name for name in classes if counts[name] < 2]
    if alone:
        raise DataError(
            f"{folder}: expected at least two images of each class, one to learn from and one to measure, got one of "
            f"'{alone[0]}'" + (f" and {len(alone) - 1} more" if len(alone) > 1 else "") + "; add images or leave it out"
        )
    return LandmarkDataset(samples, LandmarkSet(()), name=folder.resolve().name, images=root), classes


def _from_table(folder: Path, settings: SourceDataConfig) -> tuple[list[Sample], Path]:
    table = read_table(folder)
    rows = read_csv(table.table)
    header = [cell.strip() for cell in rows[0]]
    if settings.column not in header:
        raise DataError(f"{table.table}: no column '{settings.column}'; {did_you_mean(settings.column, header)}")
    at = header.index(settings.column)
    existing = {sample.split for sample in table.samples if sample.split}
    unknown = [name for name in settings.splits or () if name not in existing]
    if unknown:
        raise DataError(f"{table.table}: unknown split '{unknown[0]}'; {did_you_mean(unknown[0], existing)}")
    samples, seen = [], set()
    for sample in table.samples:
        name = rows[sample.row - 1][at].strip()
        wanted = settings.splits is None or sample.split in settings.splits
        if name and wanted and sample.image not in seen:  # a blank cell: no class is known
            seen.add(sample.image)
            samples.append(_image(sample.image, name, sample.row))
    return samples, table.images


def _from_folders(folder: Path) -> list[Sample]:
    return [
        _image(file, inner.name)
        for inner in sorted(folder.iterdir())
        if inner.is_dir()
        for file in sorted(inner.rglob("*"))
        if is_image(file)
    ]


def _image(path: Path, name: str, row: int = 0) -> Sample:
    return Sample(path, np.zeros((0, 2)), np.zeros(0, np.int64), subject=name, row=row)


def _divide(images: LandmarkDataset, share: float, seed: int) -> dict[str, LandmarkDataset]:
    """Of each class the share ``share`` of its images, at least one, for validation, drawn by the seed."""
    of_class: dict[str, list[int]] = {}
    for i, sample in enumerate(images.samples):
        of_class.setdefault(sample.subject, []).append(i)
    held: set[int] = set()
    for members in of_class.values():
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held.update(sorted(members, key=lambda i: stable_order(images.image_name(images.samples[i]), seed))[:count])
    return {
        "train": images.subset([i for i in range(len(images)) if i not in held]),
        "val": images.subset(sorted(held)),
    }
