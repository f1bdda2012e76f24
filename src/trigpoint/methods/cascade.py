"""The cascade: a heatmap network finds the landmarks coarsely, glimpses refine them at full resolution.

The coarse stage is a trained heatmap run with any network and schedule (Adaloss, say) on a small version of the image.
Its points are where the foveated network begins. So near the landmark few levels are enough, and training begins
around the landmarks, as far away as the coarse stage errs on images it was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from trigpoint.config import parse
from trigpoint.data.input.augment import InputPipeline
from trigpoint.errors import ConfigError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods.base import StageRun
from trigpoint.methods.foveated import FoveatedMethod
from trigpoint.methods.glimpse_graph import glimpse_steps
from trigpoint.methods.graph import Applying, Calling, GraphStep, Preparing
from trigpoint.methods.heatmap import HeatmapMethod
from trigpoint.nn.spatialized import GlimpseNetwork
from trigpoint.recipe import MethodConfig, Recipe, Stage
from trigpoint.recipes import recipe_values

LEAST_SD = 2.0  # input pixels; guesses of a nearly perfect coarse stage are still spread by so much in training


class FineConfig(FoveatedMethod.Config):
    """The options of ``foveated``, which begins at the coarse points here; fewer levels are enough."""

    levels: int | None = Field(default=4, ge=1, le=16)
    """Levels of the pyramid; null: as many as the input needs."""
    start: Literal["landmark"] = "landmark"
    """What the initial guess in training lies around: the landmark itself."""


class CascadeMethod(FoveatedMethod):
    """``foveated`` that begins at the points of a coarse stage, a heatmap method on a smaller input."""

    reads_tiles: ClassVar[bool] = False  # the coarse stage needs the whole image

    class Config(MethodConfig):
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
        coarse_share: float = Field(default=0.0, ge=0, le=1)
        """Share of the coarse point in the result, beside that of the glimpses."""

        @model_validator(mode="after")
        def _check(self) -> CascadeMethod.Config:
            if self.coarse is None and self.coarse_run is None:
                raise ValueError("expected coarse (a recipe) or coarse_run (a folder), got neither; give one of them")
            return self

        def completed(self, recipe: Recipe) -> CascadeMethod.Config:
            """With the recipe of the coarse stage complete and in place.

            One that is to be trained gets the images, landmarks and seed of the whole.
            """
            if recipe.data.input.region is not None:
                raise ConfigError(
                    "data.input.region: expected none with a cascade, whose coarse stage has learned whole images, got "
                    f"{list(recipe.data.input.region)}; set data.input.region=null"
                )
            source = self.coarse
            if source is None:
                source = str(Path(str(self.coarse_run)) / "config.yaml")
            values = recipe_values(source)
            if self.coarse_run is None:
                same = ("path", "train", "val", "val_share", "limit", "fraction", "limit_across", "landmarks")
                shared = {key: getattr(recipe.data, key) for key in same}
                values = {**values, "seed": recipe.seed, "data": {**(values.get("data") or {}), **shared}}
            coarse = parse(Recipe, values, "method.coarse")
            if coarse.method_name != "heatmap":
                raise ConfigError(f"method.coarse: expected a recipe of the method heatmap, got {coarse.method_name}")
            if coarse.data.input.normalize != "image" and recipe.data.input.normalize != "unit":
                raise ConfigError(
                    "method.coarse: data.input.normalize=image is needed, or unit in the recipe of the cascade, because"
                    f" the coarse stage sees what that leaves; got {coarse.data.input.normalize} "
                    f"after {recipe.data.input.normalize}"
                )
            return self.model_copy(update={"coarse": coarse.model_dump(mode="json")})

        def stages(self) -> dict[str, Stage]:
            recipe = self.coarse if isinstance(self.coarse, dict) and self.coarse_run is None else None
            return {"coarse": Stage("coarse stage", self.coarse_run, recipe)}

    def __init__(
        self,
        method: CascadeMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
        stages: Mapping[str, StageRun] | None = None,
    ) -> None:
        recipe = parse(Recipe, method.coarse, "method.coarse")
        seen = recipe.data.input
        coarse = HeatmapMethod(
            cast(HeatmapMethod.Config, recipe.method), landmark_names, seen.channels, seen.size, ema=recipe.train.ema
        )
        super().__init__(method.fine, landmark_names, channels, input_size, epochs)
        self.min_score, self.coarse_share = method.min_score, method.coarse_share
        self.network.coarse = coarse.network.requires_grad_(False)
        for glimpses in self.network.networks:  # untrained, it leaves the coarse points where they are
            nn.init.zeros_(cast(GlimpseNetwork, glimpses).last.weight)
        # how the coarse stage makes maps, and points of them
        self.applied, self.decode, self.meet_coarse = coarse.applied, coarse.decode_output, coarse.meet
        self.small = InputPipeline(seen, LandmarkSet(landmark_names))
        self.ema = ema
        self.keep_average()
        self.coarse_sd: Tensor | None = None

    def meet(self, landmarks: LandmarkSet) -> None:
        self.meet_coarse(landmarks)

    def take_stage(self, name: str, run: StageRun) -> None:
        """The trained coarse weights, and how far they err on images that they were not trained on."""
        if run.errors is None or not bool(run.errors.isfinite().any()):
            raise ConfigError("cascade: expected annotated validation images to measure the coarse stage, got none")
        for network in (self.network, self.used):
            network.coarse.load_state_dict(run.weights)  # type: ignore[union-attr]
        spread = run.errors.double().square().nanmean(0).sqrt()
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
    def initial_guess(self, batch: Batch) -> Tensor:
        """The coarse points (B, S, K, 2) in input pixels, the first as found and the others around it."""
        network = self.used
        prepared = [self.small(image) for image in batch.images]  # on the device where the images are
        images = torch.stack([image for image, _, _ in prepared])
        back = torch.stack([matrix for _, _, matrix in prepared]).to(images.device)
        coarse: Any = network.coarse
        with torch.autocast(images.device.type, enabled=False):
            maps = self.applied(coarse, images.contiguous(memory_format=torch.channels_last))
            return self._coarse_guess(maps, back).to(batch.images)

    def _coarse_guess(self, maps: Tensor, back: Tensor) -> Tensor:
        """Initial guesses (B, S, K, 2) of the coarse maps, whose input ``back`` (B, 2, 3) maps to the whole one."""
        points, scores = self.decode(maps)
        guess = map_points(back, points).to(points)
        found = guess.isfinite().all(-1) & (scores >= self.min_score)
        return self.around(torch.where(found[..., None], guess, self.used.start_mean))

    def graph_steps(self) -> list[GraphStep]:
        coarse = Applying(cast(nn.Module, self.used.coarse), self.applied)
        return [
            GraphStep(Preparing(self.small.config), ("images",), ("small", "back")),
            GraphStep(coarse, ("small",), ("coarse_maps",), network=True),
            GraphStep(Calling(self._coarse_guess), ("coarse_maps", "back"), ("guess_0",)),
            *glimpse_steps(self),
        ]

    def conclude(self, path: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """As of the glimpses, and ``coarse_share`` of the way back to the point that they began at."""
        points, scores, spread = super().conclude(path)
        return torch.lerp(points, path[0, :, 0], self.coarse_share), scores, spread
