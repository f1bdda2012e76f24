"""Images that wait while others are predicted are predicted together, or side by side where the predictor can."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trigpoint.data.pixels.images import ImageData
from trigpoint.errors import TrigpointError
from trigpoint.landmarks import ImageDetections
from trigpoint.prediction.base import ImagePredictor


@dataclass(eq=False)
class _Waiting:
    image: ImageData
    threshold: float | None
    answer: asyncio.Future[ImageDetections]


class Batcher:
    """One predictor for all requests.

    Nothing waits to be joined by others: a batch is what came while the one before was predicted, up to ``most``
    images. A predictor that several threads may call gets ``threads`` of them, and each image alone; those that are
    predicted side by side have ``pixels`` at most, or it is one: predicting takes far more memory than the image.
    """

    def __init__(
        self,
        predictor: ImagePredictor,
        most: int,
        threads: int,
        pixels: int,
        told: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.predictor = predictor
        self._most = 1 if predictor.concurrent else most
        self._count = threads if predictor.concurrent else 1
        self._told = told
        self._pixels, self._now = pixels, 0  # of the images that are predicted
        self._changed = asyncio.Condition()
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="predict")
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work on what waits; in a running event loop."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._count)]

    async def end(self) -> None:
        """Stop; what waits still is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._waiting:
            one.answer.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def predict(self, image: ImageData, threshold: float | None = None) -> ImageDetections:
        """What is found in one image, which is given up when this is cancelled. Raises what the predictor raises."""
        one = _Waiting(image, threshold, asyncio.get_running_loop().create_future())
        del image
        self._waiting.append(one)
        self._some.set()
        return await one.answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            part = self._taken()
            if not part:
                self._some.clear()
                continue
            images, threshold = [one.image for one in part], part[0].threshold
            async with self._room_for(images):
                results = await loop.run_in_executor(self._threads, self._results, images, threshold)
            self._told(len(part))
            for one, result in zip(part, results, strict=True):
                if one.answer.done():
                    continue  # nobody waits for it any more
                if isinstance(result, Exception):
                    one.answer.set_exception(result)
                else:
                    one.answer.set_result(result)
            del part, images, results, one, result  # not kept until the next ones come

    @asynccontextmanager
    async def _room_for(self, images: Sequence[ImageData]) -> AsyncIterator[None]:
        """Wait until these may be predicted beside the others."""
        count = sum(image.height * image.width for image in images)
        async with self._changed:
            await self._changed.wait_for(lambda: not self._now or self._now + count <= self._pixels)
            self._now += count
        try:
            yield
        finally:
            async with self._changed:
                self._now -= count
                self._changed.notify_all()

    def _taken(self) -> list[_Waiting]:
        """The next images of one threshold, without those that were given up."""
        part: list[_Waiting] = []
        rest: deque[_Waiting] = deque()
        while self._waiting and len(part) < self._most:
            one = self._waiting.popleft()
            if one.answer.done():
                continue
            same = not part or one.threshold == part[0].threshold
            (part if same else rest).append(one)
        self._waiting.extendleft(reversed(rest))
        return part

    def _results(self, images: list[ImageData], threshold: float | None) -> list[ImageDetections | Exception]:
        try:
            names = [""] * len(images)
            return [*self.predictor.predict(images, len(images), threshold=threshold, names=names).detections]
        except Exception as error:
            if len(images) == 1:
                foreseen = isinstance(error, TrigpointError)
                return [error.with_traceback(None) if foreseen else error]  # a traceback holds the image
            return [result for image in images for result in self._results([image], threshold)]
