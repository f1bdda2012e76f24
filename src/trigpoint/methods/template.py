"""Templates: from one labelled image on, in seconds, without gradients.

A frozen pretrained encoder describes every place of an image by features of several levels (``nn.hypercolumns``). The
template of a landmark is the linear filter that tells the labelled places from all others: ridge regression of narrow
Gaussian targets, which has a closed form and is linear discriminant analysis but for a factor (Hariharan, Malik and
Ramanan, ECCV 2012, whiten features alike). All landmarks share one matrix, the covariance of the features, so that a
hundred cost hardly more than one. A prior of the shape (``codecs.shape``) decides between the peaks of the responses.

An epoch adds one augmented view of each training image to the sums that the solution follows from, and solves anew.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from trigpoint.codecs.shape import ShapePrior
from trigpoint.config import Component
from trigpoint.geometry import map_points, pixel_centers, to_grid
from trigpoint.landmarks import Batch, Detections
from trigpoint.methods.base import LandmarkMethod, NotFinite, take_sums
from trigpoint.methods.graph import Applying, Calling, GraphStep
from trigpoint.nn.hypercolumns import Hypercolumns
from trigpoint.recipe import MethodConfig, WeightsConfig


class TemplateMethod(LandmarkMethod):
    """Frozen features, filters in closed form and a prior of the shape; built as every ``LandmarkMethod``."""

    validates_itself: ClassVar[bool] = True
    network: TemplateNetwork

    class Config(WeightsConfig, MethodConfig, Component):
        """Options of ``TemplateMethod``."""

        name: Literal["template"] = "template"
        encoder: str = "tf_efficientnet_lite0"
        """Name of timm, with or without the tag of its weights, or ``hf_hub:owner/model``; it is never trained."""
        weights: str | None = "lite0"
        """Name of weights that need no hub, such as lite0, or a checkpoint of the encoder: .safetensors, or a torch
        file of plain tensors; null: random weights, unless ``pretrained``."""
        levels: tuple[int, ...] = Field(default=(4, 8, 16, 32), min_length=1)
        """Reductions of the encoder whose features are compared; the finest is the stride of the maps."""
        sigma: float = Field(default=1.0, gt=0)
        """Width of the Gaussian that the filters shall answer with, cells of the maps."""
        ridge: float = Field(default=0.3, gt=0)
        """Weight of the penalty on the filters, in mean squares of a feature."""
        deviation: float = Field(default=0.06, gt=0)
        """SD of a landmark from where a moved, scaled and turned mean shape has it, in radii of the shape; labels
        correct it."""
        trust: float = Field(default=40.0, gt=0)
        """Weight of a response against the shape: larger follows the image more."""

    def __init__(
        self,
        method: TemplateMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
    ) -> None:
        super().__init__(landmark_names, ema)
        self.automatic_optimization = False  # nothing follows a gradient
        self.options, self.size = method, input_size
        self.network: TemplateNetwork = TemplateNetwork(method, len(landmark_names), channels)
        self.keep_average()
        width, count = self.network.columns.width + 1, len(landmark_names)
        for name, shape in (("epoch_products", (width, width)), ("epoch_targets", (width, count))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64), persistent=False)
        self.register_buffer("epoch_counts", torch.zeros(3 + count, dtype=torch.float64), persistent=False)
        self.totals = [torch.zeros_like(each) for each in self._epoch_sums()]

    epoch_products: Tensor  # of features (D + 1, D + 1), the last is 1
    epoch_targets: Tensor  # of features and targets (D + 1, K)
    epoch_counts: Tensor  # places, loss, maps that it is of, and places of each landmark, (3 + K,)

    def _epoch_sums(self) -> list[Tensor]:
        return [self.epoch_products, self.epoch_targets, self.epoch_counts]

    def observe(self, points: Tensor) -> None:
        """The prior of the shape."""
        prior = ShapePrior.of(points, self.size, self.options.deviation)
        for network in (self.network, self.used):
            network.shape_mean.copy_(prior.mean)
            network.shape_covariance.copy_(prior.covariance)
            network.shape_known.copy_(prior.known)

    @property
    def used(self) -> TemplateNetwork:
        """``inference_network``, by its own type."""
        return cast(TemplateNetwork, self.inference_network())

    # -- training ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the features and targets of a batch to the sums of the epoch; raises NotFinite."""
        columns = self.network.columns(batch.images).flatten(2).transpose(1, 2)
        columns = torch.cat([columns, torch.ones_like(columns[..., :1])], -1)
        present = batch.points.isfinite().all(-1)
        targets = self._targets(batch.points, self.network.columns.map_size(batch.images.shape[-2:]))
        misfit = (columns @ self.network.filters.T - targets).square().mean(1)
        if not columns.isfinite().all():
            raise NotFinite(batch.index.tolist())
        places = columns.shape[1]
        self.epoch_products += torch.einsum("bpd,bpe->de", columns, columns)
        self.epoch_targets += torch.einsum("bpd,bpk->dk", columns, targets)  # 0 where a landmark is missing
        loss = torch.where(present, misfit, torch.zeros_like(misfit)).sum()
        about = torch.stack([loss.new_tensor(places * len(batch)), loss, present.sum().to(loss)])
        self.epoch_counts += torch.cat([about, places * present.sum(0)]).to(self.epoch_counts)
        optimizer: Any = self.optimizers()
        optimizer.step()  # counts the step; there are no gradients
        rate: Any = self.lr_schedulers()
        rate.step()

    def _targets(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Gaussians (B, places, K) around the points (B, K, 2), 0 for a missing one."""
        cells = to_grid(points, self.network.columns.stride)
        x, y = (pixel_centers(n, points.dtype, points.device) for n in (size[1], size[0]))
        wide = 2 * self.options.sigma**2
        across = torch.exp(-((x[:, None] - cells[:, None, :, 0]) ** 2) / wide)
        down = torch.exp(-((y[:, None] - cells[:, None, :, 1]) ** 2) / wide)
        return (down[:, :, None] * across[:, None]).flatten(1, 2).nan_to_num(0.0)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Solve after the last batch of an epoch, before validation, which follows inside the epoch."""
        if batch_idx + 1 != self.trainer.num_training_batches:
            return
        self.totals = [total + take_sums(sums) for total, sums in zip(self.totals, self._epoch_sums(), strict=True)]
        products, targets, counts = self.totals
        self.epoch_loss = float(counts[1] / counts[2].clamp_min(1))
        counts[1:3] = 0  # the loss is that of an epoch
        square = products / counts[0]
        wanted = targets / counts[3:].clamp_min(1)
        penalty = self.options.ridge * square.diagonal()[:-1].mean() * torch.ones(len(square), dtype=torch.float64)
        penalty[-1] = 1e-9  # the constant is free
        solved = torch.linalg.solve(square + torch.diag(penalty), wanted).T
        with torch.no_grad():
            self.network.filters.copy_(solved)
        self.follow()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The sums over all views so far."""
        checkpoint["totals"] = self.totals

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to the sums that were saved."""
        self.totals = [total.cpu() for total in checkpoint["totals"]]

    # -- prediction -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        """The most likely shape; a score is the response where the landmark was found, 1 for a perfect one."""
        points, scores = self.decode(self.heatmaps(batch.images))
        points, scores = points.to(batch.images), scores.to(batch.images)
        return Detections(map_points(batch.to_original, points)[:, None], scores[:, None])

    def decode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in input pixels and scores (B, K) of maps (B, K, h, w), float64 on the CPU."""
        network = self.used
        prior = ShapePrior(
            network.shape_mean.double().cpu(), network.shape_covariance.double().cpu(), network.shape_known.cpu()
        )
        return prior.fit(maps, network.columns.stride, self.options.trust)

    def graph_steps(self) -> list[GraphStep]:
        def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
            points, scores = self.decode(maps)
            return points[:, None].float(), scores[:, None].float()

        answer = Applying(self.used, lambda network, images: network.answers(images))
        maps = GraphStep(answer, ("images",), ("maps",), network=True)
        return [maps, GraphStep(Calling(decode), ("maps",), ("points", "scores"))]

    @torch.no_grad()
    def heatmaps(self, images: Tensor) -> Tensor:
        return self.used.answers(images)


class TemplateNetwork(nn.Module):
    """The frozen ``columns``, a filter (K, D + 1) per landmark, the last number a constant, and the shape's prior."""

    columns: Hypercolumns
    shape_mean: Tensor
    shape_covariance: Tensor
    shape_known: Tensor

    def __init__(self, method: TemplateMethod.Config, count: int, channels: int) -> None:
        super().__init__()
        self.columns = Hypercolumns(channels, method.encoder, method.pretrained, method.weights, method.levels)
        self.columns.to(memory_format=torch.channels_last)
        self.filters = nn.Parameter(torch.zeros(count, self.columns.width + 1))
        self.register_buffer("shape_mean", torch.zeros(count, 2))
        self.register_buffer("shape_covariance", torch.eye(2 * count))
        self.register_buffer("shape_known", torch.zeros(count, dtype=torch.bool))

    def answers(self, images: Tensor) -> Tensor:
        """What the filters answer (B, K, h, w) to inputs (B, C, H, W)."""
        return self.columns.responses(images, self.filters[:, :-1]) + self.filters[:, -1, None, None]
