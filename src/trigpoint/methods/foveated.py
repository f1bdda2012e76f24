"""The foveated pyramid: landmarks in very large images by iterated glimpses (Gilmour & Ray, arXiv 2008.04428).

Look at a stack of patches around a guess, one per level of a Gaussian pyramid; predict how far the landmark lies from
the guess; move there; repeat. In training every glimpse step is an optimizer step of its own, nothing is propagated
back through the moves. The guess begins where the training landmarks lie on average. All points are in input pixels
here; what an offset of 1 means, ``unit`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.random import Generator
from pydantic import Field, model_validator
from torch import Tensor

from trigpoint.data.tiled import TiledImage
from trigpoint.data.tiled.pyramid import LazyPyramid
from trigpoint.geometry import center, map_points
from trigpoint.landmarks import Batch, Detections
from trigpoint.methods.base import GlimpseTrace, LandmarkMethod, own_share, take_sums, to_device
from trigpoint.methods.glimpse_augment import GlimpseAugment, normal_like, random_linear, turn, without_shift
from trigpoint.methods.glimpse_graph import glimpse_steps
from trigpoint.methods.glimpse_networks import FoveatedNetworks
from trigpoint.methods.graph import Calling, GraphStep
from trigpoint.nn.pyramid import GaussianPyramid, GlimpseSource, TensorPyramid, level_count
from trigpoint.nn.spatialized import GlimpseNetwork
from trigpoint.recipe import InputConfig, MethodConfig

NEAR = 1 / 8  # share of the glimpse that a guess counts as away from the landmark at least, in the relative loss


class FoveatedMethod(LandmarkMethod):
    """Glimpse networks, the start of the guess, and the loop; built as every ``LandmarkMethod``."""

    reads_tiles: ClassVar[bool] = True
    traces: ClassVar[bool] = True

    class Config(GlimpseNetwork.Config, MethodConfig):
        """Options of ``FoveatedMethod``; those of its networks are its own."""

        name: Literal["foveated"] = "foveated"
        shared: bool = False
        """One network for all landmarks, in place of one for each (the paper)."""
        levels: int | None = Field(default=None, ge=1, le=16)
        """Levels of the pyramid; null: as many as the input needs."""
        start: Literal["mean", "landmark"] = "mean"
        """What the initial guess in training lies around: the training landmarks' mean, or the landmark itself."""
        train_starts: int = Field(default=2, ge=1)
        """Initial guesses per training image."""
        train_iterations: int = Field(default=10, ge=1)
        """Glimpse steps per batch, each an optimizer step."""
        iterations: int = Field(default=3, ge=1)
        """Glimpse steps in prediction."""
        starts: int = Field(default=1, ge=1)
        """Initial guesses in prediction, the first at the mean; the median of their ends counts."""
        last: int = Field(default=1, ge=1)
        """Glimpse steps, the last ones, whose ends are averaged in prediction."""
        views: int = Field(default=1, ge=1)
        """Turned glimpses in each step of prediction, evenly between ``view_rotation`` either way; the mean counts."""
        view_rotation: float = Field(default=7.5, ge=0, le=180)
        """Largest turn of these views, degrees."""
        unit: Literal["patch", "spread"] = "patch"
        """An offset of 1 means half of what the coarsest level shows, or the SD of the landmark's initial guesses."""
        loss: Literal["l1", "relative"] = "l1"
        """Mean absolute error of an offset, or that divided by how far the guess was away."""
        rotation: float = Field(default=15.0, ge=0, le=180)
        """Augmentation of each glimpse: degrees, either way."""
        scale: float = Field(default=0.05, ge=0, le=1)
        """Augmentation of each glimpse: logarithm of the factor, either way."""
        noise: float = Field(default=0.01, ge=0)
        """Augmentation of each glimpse: standard deviation of additive noise."""
        contrast: float = Field(default=0.0, ge=0, le=2)
        """Augmentation of each glimpse: logarithm of the factor of its grey values, either way."""
        brightness: float = Field(default=0.0, ge=0)
        """Augmentation of each glimpse: what is added to all its grey values, either way, in the input's unit."""
        at_once: bool | None = None
        """Pass the networks of ``shared: false`` at once, in the memory of all; null: on a GPU, which is then busy."""

        @model_validator(mode="after")
        def _check(self) -> FoveatedMethod.Config:
            if self.conditioning is not None and not self.shared:
                raise ValueError("conditioning belongs to shared=true, got shared=false; set method.shared=true")
            if self.last > self.iterations:
                raise ValueError(f"last: expected at most iterations={self.iterations}, got {self.last}; lower it")
            return self

    def __init__(
        self,
        method: FoveatedMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
    ) -> None:
        super().__init__(landmark_names, ema)
        self.automatic_optimization = False  # several steps a batch
        self.options, self.size, self.steps_per_batch = method, input_size, method.train_iterations
        self.levels = method.levels or level_count(input_size, method.glimpse)
        self.pyramid = GaussianPyramid(method.glimpse, self.levels)
        self.network: FoveatedNetworks = FoveatedNetworks(method, len(landmark_names), channels, self.levels)
        self.keep_average()
        self.seed = int(torch.randint(2**31, ()))  # of what is drawn in training, the same in a resumed run
        self.register_buffer("loss_sums", torch.zeros(2, dtype=torch.float64), persistent=False)
        corner = torch.tensor([input_size[1] - 1.0, input_size[0] - 1.0])
        self.register_buffer("corner", corner, persistent=False)
        self.alive: dict[str, float] = {}  # by landmark, of the last epoch

    loss_sums: Tensor
    corner: Tensor  # (2,), the last pixel

    def observe(self, points: Tensor) -> None:
        """Mean and standard deviation per landmark and axis; for a landmark met less than twice those of the others."""
        middle = torch.tensor(center(self.size), dtype=torch.float64)
        points = points.double()
        present = points.isfinite().all(-1)
        count = present.sum(0)[:, None]
        values = torch.where(present[..., None], points, 0.0)
        mean = torch.where(count > 0, values.sum(0) / count, middle)
        squares = torch.where(present[..., None], (points - mean) ** 2, 0.0).sum(0)
        sd = torch.where(count > 1, (squares / (count - 1)).sqrt(), torch.nan)
        sd = torch.where(sd.isnan(), sd.nanmean() if bool(sd.isfinite().any()) else min(self.size) / 8, sd)
        self.set_start(mean, sd)

    def set_start(self, mean: Tensor, sd: Tensor) -> None:
        """Where guesses begin: ``mean`` and ``sd`` (K, 2), input pixels."""
        for network in (self.network, self.used):
            network.start_mean.copy_(mean)
            network.start_sd.copy_(sd)

    # -- training ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """All glimpse steps on one batch; raises NotFinite."""
        rng = np.random.default_rng((self.seed, self.current_epoch, *batch.index.tolist()))
        source = self.source(batch.images)
        present = batch.points.isfinite().all(-1)[:, None, :]
        mean = self.network.start_mean.to(batch.points)
        truth = torch.where(present[..., None], batch.points[:, None], mean)  # (B, 1, K, 2)
        guess = self.training_guess(truth, rng)
        # a network at a time keeps the memory of one; several processes reduce in one go
        together = self.trainer.world_size > 1 or self.network.together(guess)
        parts = [self.network.all] if together else self.network.parts
        weight = present.expand(guess.shape[:3]).to(guess)
        for drawn in self._draw(guess, parts, rng):
            guess = self.keep_inside(guess + self._learn_step(source, guess, truth, weight, drawn, batch))

    def _draw(self, guess: Tensor, parts: Sequence[list[int]], rng: Generator) -> list[GlimpseAugment]:
        """What augments the glimpses of every step, drawn and copied before the first: a copy in between would wait
        for the device to finish."""
        options, shape, steps = self.options, guess.shape[:3], self.options.train_iterations
        turns, seeds = [], []
        for _ in range(steps):
            turns.append(random_linear(shape, options.rotation, options.scale, rng))
            seeds.append([(part, int(rng.integers(2**31))) for part in parts])
        tones = None
        if options.contrast or options.brightness:
            limits = np.array([options.contrast, options.brightness])
            tones = to_device(torch.from_numpy(rng.uniform(-limits, limits, (steps, *shape, 2))), guess)
        linear = to_device(torch.stack(turns), guess)
        return [GlimpseAugment(linear[i], seeds[i], None if tones is None else tones[i]) for i in range(steps)]

    def training_guess(self, truth: Tensor, rng: Generator) -> Tensor:
        """Initial guesses (B, S, K, 2) in training for the true points (B, 1, K, 2)."""
        shape = (len(truth), self.options.train_starts, *truth.shape[2:])
        noise = to_device(torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)), truth)
        middle = truth if self.options.start == "landmark" else self.network.start_mean.to(truth)
        return self.keep_inside(middle + noise * self.network.start_sd.to(truth))

    def _learn_step(
        self,
        source: GlimpseSource,
        guess: Tensor,
        truth: Tensor,
        weight: Tensor,
        drawn: GlimpseAugment,
        batch: Batch,
    ) -> Tensor:
        """One glimpse step and one optimizer step; returns the moves (B, S, K, 2) in input pixels.

        What is seen is turned and scaled by the inverse of ``drawn.linear``, so the offset that the network gives is
        mapped back by it. (The official code divides by the scale here, which turns that augmentation round.)
        ``weight`` (B, S, K) is 0 where a landmark is missing.
        """
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        unit, total = self.network.unit, own_share(weight.sum())
        moves, losses = [], []
        for columns, seed in drawn.parts:
            here = slice(columns[0], columns[-1] + 1)
            at, linear = guess[:, :, here], drawn.linear[:, :, here]
            stacks = drawn.toned(self.look(source, at, linear), here)
            stacks = stacks + self.options.noise * normal_like(stacks, seed)
            offsets = self.network(stacks.flatten(0, 1), columns).reshape(at.shape)
            move = map_points(without_shift(linear), offsets)
            away = (at - truth[:, :, here]) / unit[here]
            wrong = (move + away).abs().mean(-1)
            if self.options.loss == "relative":
                wrong = wrong / (away.abs().mean(-1) + NEAR * self.options.glimpse / unit[here, 0])
            loss = (wrong * weight[:, :, here]).sum() / total
            self.manual_backward(loss)
            self.loss_sums += torch.stack([loss.detach() * total, weight[:, :, here].sum()]).to(self.loss_sums)
            moves.append(move.detach() * unit[here])
            losses.append(loss.detach())
        self.finite.watch(torch.stack(losses).sum(), batch.index)
        if self.clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.clip, gradient_clip_algorithm="norm")
        optimizer.step()
        rate: Any = self.lr_schedulers()
        rate.step()
        self.follow()
        return torch.cat(moves, dim=2)

    def on_train_epoch_end(self) -> None:
        """The mean loss over all glimpse steps of the epoch (``l1``: per coordinate, in ``unit``), and the share of
        units in each landmark's head that were above 0 for any glimpse: one that never is no longer learns by ReLU."""
        self.finite.ask()
        loss, count = take_sums(self.loss_sums).tolist()
        self.epoch_loss = loss / max(count, 1.0)
        active = [take_sums(cast(GlimpseNetwork, network).active) for network in self.network.networks]
        shares = (torch.cat(active) > 0).double().mean(1).tolist()
        self.alive = {f"alive_{name}": round(share, 4) for name, share in zip(self.landmark_names, shares, strict=True)}

    def epoch_results(self) -> dict[str, float]:
        return self.alive

    @property
    def used(self) -> FoveatedNetworks:
        """``inference_network``, by its own type."""
        return cast(FoveatedNetworks, self.inference_network())

    # -- looking ----------------------------------------------------------------------------------------------------

    def source(self, images: Tensor) -> TensorPyramid:
        """Pyramids of the images (B, C, H, W)."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return TensorPyramid(self.pyramid(images))

    def look(self, source: GlimpseSource, at: Tensor, linear: Tensor | None = None) -> Tensor:
        """Glimpse stacks (B, S, K, L, C, g, g) at guesses (B, S, K, 2)."""
        with torch.no_grad(), torch.autocast(at.device.type, enabled=False):
            flat = None if linear is None else linear.flatten(1, 2)
            stacks = source.glimpses(at.flatten(1, 2), self.options.glimpse, flat)
        return stacks.reshape(*at.shape[:3], *stacks.shape[2:])

    def graph_steps(self) -> list[GraphStep]:
        start = self.mean_guess(1, torch.device("cpu"))
        begin = GraphStep(Calling(lambda images: start + 0 * images.sum()), ("images",), ("guess_0",))
        return [begin, *glimpse_steps(self)]

    def keep_inside(self, guess: Tensor) -> Tensor:
        """Guesses moved to the nearest point of the image: beyond it there is nothing to see."""
        corner = self.corner.to(guess)
        return guess.clamp(torch.zeros_like(corner), corner)

    # -- validation and prediction ----------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        """Ends of the paths; see ``conclude``."""
        return self.find(self.source(batch.images), self.initial_guess(batch), batch.to_original)

    @torch.no_grad()
    def predict_tiled(self, image: TiledImage, input: InputConfig) -> Detections:
        """As ``predict`` for one image, of which only what the glimpses show is read."""
        return self.find(*self.open_tiled(image, input))

    @torch.no_grad()
    def trace(
        self,
        image: Batch | TiledImage,
        input: InputConfig,
        columns: Sequence[int] | None = None,
        moves: Sequence[tuple[float, float]] = ((0.0, 0.0),),
    ) -> GlimpseTrace:
        """The path of one image, and what is seen at its end; see ``GlimpseTrace``."""
        columns = range(len(self.landmark_names)) if columns is None else columns
        source: GlimpseSource
        if isinstance(image, Batch):
            source, guess, to_original = self.source(image.images), self.initial_guess(image), image.to_original
        else:
            source, guess, to_original = self.open_tiled(image, input)
        side, levels = self.options.glimpse, torch.arange(self.levels)
        path = self.refine(source, guess)  # (T + 1, 1, S, K, 2)
        end = path[-1][0, 0, list(columns)]  # (N, 2)
        away = torch.tensor(moves)[:, None] * (side * 2.0**levels)[:, None]  # (S, L, 2): each level is moved by itself
        centers = end[:, None, None] + away.to(end)  # (N, S, L, 2)
        stacks = source.glimpses(centers.flatten(0, 2)[None], side)[0].float()  # every level at every centre
        stacks = stacks.reshape(*centers.shape[:3], *stacks.shape[1:])[:, :, levels, levels]
        half = side * 2.0 ** levels.to(torch.float64) / 2
        signs = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
        return GlimpseTrace(
            path=path[:, 0, 0].double().cpu(),
            found=self.conclude(path)[0][0].double().cpu(),
            glimpses=stacks.cpu(),
            maps=torch.stack([self._maps(column, stacks[n]) for n, column in enumerate(columns)]).cpu(),
            extents=centers.double().cpu()[..., None, :] + half[:, None, None] * signs,
            to_original=to_original[0].cpu(),
            spatialized=self.options.features == "spatialized",
        )

    def _maps(self, column: int, glimpses: Tensor) -> Tensor:
        """Softmaxed maps (S, L, D, h, w) of glimpses (S, L, C, g, g), by the network of this landmark."""
        network = self.used.networks[next(i for i, part in enumerate(self.used.parts) if column in part)]
        maps = cast(GlimpseNetwork, network).maps(glimpses.flatten(0, 1)).float()
        return maps.flatten(-2).softmax(-1).reshape(*glimpses.shape[:2], *maps.shape[1:])

    def open_tiled(self, image: TiledImage, input: InputConfig) -> tuple[LazyPyramid, Tensor, Tensor]:
        """Pyramid, initial guess and map to the original (1, 2, 3) of an image that is read by tiles."""
        source, device = LazyPyramid(image, self.size, input, self.levels), self.used.start_mean.device
        return source, self.mean_guess(1, device), source.to_original[None].to(device)

    def find(self, source: GlimpseSource, guess: Tensor, to_original: Tensor) -> Detections:
        """What is found in a source of any kind from initial guesses (B, S, K, 2)."""
        points, scores, spread = self.conclude(self.refine(source, guess))
        scale = torch.linalg.det(to_original[:, :, :2]).abs().sqrt().to(points)
        numbers = {} if spread is None else {"spread": (spread * scale[:, None])[:, None]}
        return Detections(map_points(to_original, points)[:, None], scores[:, None], numbers)

    def initial_guess(self, batch: Batch) -> Tensor:
        """Initial guesses (B, S, K, 2) in prediction."""
        return self.mean_guess(len(batch), batch.images.device)

    def mean_guess(self, count: int, device: torch.device) -> Tensor:
        """Initial guesses (count, S, K, 2), the same for every image: their mean, then normal around it."""
        return self.around(self.used.start_mean.to(device).expand(count, -1, -1))

    def around(self, guess: Tensor) -> Tensor:
        """``starts`` guesses (B, S, K, 2): ``guess`` (B, K, 2) itself and others normal around it, always the same."""
        sd = self.used.start_sd
        noise = np.random.default_rng(0).standard_normal((self.options.starts, *sd.shape))
        noise[0] = 0.0
        return self.keep_inside(guess[:, None] + torch.from_numpy(noise).to(guess) * sd.to(guess))

    @torch.no_grad()
    def refine(self, source: GlimpseSource, guess: Tensor, iterations: int | None = None) -> Tensor:
        """Path (T + 1, B, S, K, 2) of guesses that begin at ``guess`` (B, S, K, 2)."""
        path = [guess]
        for _ in range(iterations or self.options.iterations):
            moves = [self._move(source, path[-1], linear) for linear in self.turned_views(guess)]
            path.append(self.keep_inside(path[-1] + torch.stack(moves).mean(0)))
        return torch.stack(path)

    def _move(self, source: GlimpseSource, guess: Tensor, linear: Tensor | None) -> Tensor:
        """The moves (B, S, K, 2) that the networks propose of what is seen at ``guess``, turned by ``linear``."""
        offsets = self.used.by_parts(self.look(source, guess, linear).flatten(0, 1)).reshape(guess.shape)
        return self.turned_back(linear, offsets)

    def turned_back(self, linear: Tensor | None, offsets: Tensor) -> Tensor:
        """Moves (B, S, K, 2) in input pixels of a network's offsets, which are those of a view turned by ``linear``."""
        seen = offsets if linear is None else map_points(without_shift(linear), offsets)
        return seen * self.used.unit

    def turned_views(self, guess: Tensor) -> list[Tensor | None]:
        """How each view of a glimpse is turned: (B, S, K, 2, 2); None: not at all."""
        if self.options.views == 1:
            return [None]
        angles = np.radians(np.linspace(-1, 1, self.options.views) * self.options.view_rotation)
        linear = to_device(torch.from_numpy(turn(np.cos(angles), np.sin(angles))), guess)
        return [turn.expand(*guess.shape[:3], 2, 2) for turn in linear]

    def conclude(self, path: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Points (B, K, 2), the median of the ends, each the mean of the ``last`` steps; scores (B, K), 1 / (1 + u);
        and spread (B, K), all in input pixels.

        u is the spread of the ends (root mean square distance from their median) where there are several, and else
        the length of the last move: a guess that still moves has not arrived.
        """
        ends = path[-self.options.last :].mean(0)
        points = ends.quantile(0.5, dim=1)  # of two in the middle their mean, which median does not give
        if ends.shape[1] == 1:
            last = torch.linalg.vector_norm(path[-1] - path[-2], dim=-1)[:, 0]
            return points, 1 / (1 + last), None
        spread = (ends - points[:, None]).pow(2).sum(-1).mean(1).sqrt()
        return points, 1 / (1 + spread), spread
