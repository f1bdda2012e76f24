"""The cascade: a heatmap network finds the landmarks coarsely, glimpses refine them at full resolution.

The coarse stage is a trained heatmap run with any network and schedule (Adaloss, say) on a small version of the image.
Its points are where the foveated network begins. So near the landmark few levels are enough, and training begins
around the landmarks, as far away as the coarse stage errs on images it was not trained on.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from trigpoint import config
from trigpoint.data.input.augment import InputConfig, InputPipeline
from trigpoint.errors import ConfigError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods.foveated import FoveatedMethod
from trigpoint.methods.heatmap import HeatmapMethod
from trigpoint.nn.spatialized import GlimpseNetwork

LEAST_SD = 2.0
"""Input pixels; guesses of a nearly perfect coarse stage are still spread by so much in training."""


class FineConfig(FoveatedMethod.Config):
    """The options of ``foveated``, which begins at the coarse points here; fewer levels are enough."""

    levels: int | None = Field(default=4, ge=1, le=16)
    """Levels of the pyramid; null: as many as the input needs."""
    start: Literal["landmark"] = "landmark"
    """What the initial guess in training lies around: the landmark itself."""


class CascadeMethod(FoveatedMethod):
    """``foveated`` that begins at the points of ``coarse``, a heatmap method whose input is ``coarse_input``."""

    class Config(config.Component):
        """Options of ``CascadeMethod``; either ``coarse`` or ``coarse_run`` is needed."""

        name: Literal["cascade"] = "cascade"
        coarse: dict[str, Any] | str | None = None
        """Recipe of the coarse stage, in place or as a file or name; it is trained first, on the same images."""
        coarse_run: str | None = None
        """Run folder of a coarse stage that has been trained."""
        fine: FineConfig = FineConfig()
        """Options of the glimpses, as of ``foveated``."""
        min_score: float = Field(default=0.0, ge=0)
        """Score below which a coarse point is replaced by the mean of the training landmarks."""

        @model_validator(mode="after")
        def _check(self) -> CascadeMethod.Config:
            if self.coarse is None and self.coarse_run is None:
                raise ValueError("expected coarse (a recipe) or coarse_run (a folder), got neither; give one of them")
            return self

    def __init__(
        self,
        method: CascadeMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
        *,
        coarse: HeatmapMethod,
        coarse_input: InputConfig,
    ) -> None:
        super().__init__(method.fine, landmark_names, channels, input_size, epochs)
        self.min_score = method.min_score
        self.network.coarse = coarse.network.requires_grad_(False)
        for glimpses in self.network.networks:  # untrained, it leaves the coarse points where they are
            nn.init.zeros_(cast(GlimpseNetwork, glimpses).last.weight)
        self.decode = coarse.decode_output  # how its maps become points
        self.small = InputPipeline(coarse_input, LandmarkSet(landmark_names))
        self.ema = ema
        self.keep_average()
        self.coarse_sd: Tensor | None = None

    def take_coarse(self, weights: dict[str, Tensor], errors: Tensor) -> None:
        """The trained coarse weights, and its errors (N, K, 2) in input pixels on images it was not trained on."""
        for network in (self.network, self.used):
            network.coarse.load_state_dict(weights)  # type: ignore[union-attr]
        spread = errors.double().square().nanmean(0).sqrt()
        if not bool(spread.isfinite().any()):
            raise ConfigError("cascade: expected annotated validation images to measure the coarse stage, got none")
        self.coarse_sd = torch.where(spread.isfinite(), spread, spread.nanmean()).clamp_min(LEAST_SD)

    def observe(self, points: Tensor) -> None:
        """The mean of the landmarks, where the coarse stage is missing; the spread is that of its errors."""
        super().observe(points)
        if self.coarse_sd is not None:
            self.set_start(self.network.start_mean, self.coarse_sd)

    def train(self, mode: bool = True) -> CascadeMethod:
        """The coarse stage is never trained here, so its batch statistics stay."""
        super().train(mode)
        for network in (self.network, self.used):
            if isinstance(network.coarse, nn.Module):
                network.coarse.eval()
        return self

    @torch.no_grad()
    def beginnings(self, batch: Batch) -> Tensor:
        """The coarse points (B, S, K, 2) in input pixels, the first as found and the others around it."""
        network = self.used
        prepared = [self.small(image) for image in batch.images.cpu()]
        images = torch.stack([image for image, _, _ in prepared]).to(batch.images.device)
        back = torch.stack([matrix for _, _, matrix in prepared]).to(batch.images.device)
        coarse: Any = network.coarse
        with torch.autocast(images.device.type, enabled=False):
            points, scores = self.decode(coarse(images.contiguous(memory_format=torch.channels_last)).float())
        guess = map_points(back, points).to(batch.images)
        found = guess.isfinite().all(-1) & (scores >= self.min_score)
        return self._around(torch.where(found[..., None], guess, network.start_mean))
