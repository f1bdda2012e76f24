"""Images of strangers are decoded beside the service: one that hangs or crashes a library ends its decoder only."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import queue
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from trigpoint.data.pixels.images import ImageData
from trigpoint.errors import DataError
from trigpoint.serving.decoder import READY, decode_forever
from trigpoint.serving.limits import Limits
from trigpoint.serving.passing import receive_many, send_many

_PATIENCE = 60.0  # seconds for a process to start
# no fork of a process with threads; where there is a forkserver, it makes the next decoder soon
_CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


def prepare() -> None:
    """Let decoders begin with their libraries; before the first process that multiprocessing starts here."""
    if sys.platform == "linux":
        _CONTEXT.set_forkserver_preload([decode_forever.__module__])


class Decoders:
    """So many processes that decode, each with a thread that waits for it."""

    def __init__(self, count: int, limits: Limits) -> None:
        self._limits = limits
        self._held = Held(limits.held_pixels)
        self._all = [_Decoder(limits) for _ in range(count)]
        self._free: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decode")
        for decoder in self._all:
            self._free.put(decoder)

    def start(self) -> None:
        """Start the processes, so that the first request does not wait for them."""
        for decoder in self._all:
            decoder.begin()
        for decoder in self._all:
            decoder.ready()

    async def read(self, data: bytes, until: float) -> ImageData:
        """Decode an image file by ``until`` (of ``time.monotonic``).

        Raises DataError for one that cannot be read and TimeoutError where there was no time for it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, data, until)

    def _read(self, data: bytes, until: float) -> ImageData:
        decoder = self._free.get()
        try:
            image = decoder.read(data, until)
            self._held.take(image, until)  # a decoder waits with it, so that no other image is decoded
            return image
        finally:
            self._free.put(decoder)

    def end(self) -> None:
        """Kill the processes, whatever they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for decoder in self._all:
            decoder.kill()


class Held:
    """Pixels in memory, up to ``most``: those of an image count until nothing refers to it any more."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 0
        self._changed = threading.Condition(threading.RLock())  # an image may end while this thread holds it

    def take(self, image: ImageData, until: float) -> None:
        """Wait for the room of an image. Raises TimeoutError where there is none in time."""
        pixels = image.height * image.width
        with self._changed:
            if not self._changed.wait_for(lambda: self.now + pixels <= self.most, until - time.monotonic()):
                raise TimeoutError
            self.now += pixels
        weakref.finalize(image, self._give, pixels).atexit = False

    def _give(self, pixels: int) -> None:
        with self._changed:
            self.now -= pixels
            self._changed.notify_all()


class _Decoder:
    """One process, started again where it ended."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: Any = None
        self._pipe: Connection | None = None
        self._new = False

    def begin(self) -> None:
        """Start a process where none runs."""
        if self._process is not None and self._process.is_alive():
            return
        self.kill()
        self._pipe, theirs = _CONTEXT.Pipe()
        arguments = (theirs, self._limits.pixels, self._limits.decoding)
        self._process = _CONTEXT.Process(target=decode_forever, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._new = True

    def ready(self) -> Connection:
        """The pipe to the process, which waits for images then. Raises TimeoutError where it does not in a minute."""
        self.begin()
        assert self._pipe is not None
        if self._new:
            if not self._pipe.poll(_PATIENCE) or self._pipe.recv_bytes() != READY:
                raise TimeoutError
            self._new = False
        return self._pipe

    def read(self, data: bytes, until: float) -> ImageData:
        if not data:
            raise DataError("expected an image, got nothing")
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        pipe, patience = self.ready(), self._limits.decoding
        try:
            send_many(pipe, data)
            if not pipe.poll(min(left, patience)):
                self.kill()
                if left < patience:
                    raise TimeoutError
                raise DataError(
                    f"expected an image that is decoded within {patience:.0f} s, got one that takes longer, so it is "
                    "damaged or too large; save it again"
                )
            about = json.loads(pipe.recv_bytes())
            if "error" in about:
                raise DataError(about["error"])
            room = receive_many(pipe)
        except TimeoutError:
            raise  # an OSError as well
        except (EOFError, OSError, RuntimeError):  # of a pipe that ends, or a file that is not sent
            self.kill()
            raise DataError("expected a whole image, got one that crashes its library; save it again") from None
        pixels = np.frombuffer(room, np.dtype(about["type"])).reshape(about["shape"])
        spacing = None if about["spacing_mm"] is None else tuple(about["spacing_mm"])
        return ImageData(pixels, spacing, about["spacing_source"], tuple(about["value_range"]))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
