"""What is let in: who has the key, as much as fits, for as long as it may take."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from trigpoint.serving.asgi import (
    LOCAL,
    App,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    answer,
    bounded,
    foreign,
    headers_of,
    stated_length,
)
from trigpoint.serving.limits import Limits
from trigpoint.serving.metrics import Metrics

PREDICT = "/predict"
OPEN = ("/health", "/ready")  # without the key, for who looks after the process
_AGAIN = (b"retry-after", b"1")
_SAFE = (b"x-content-type-options", b"nosniff")


class FullError(Exception):
    """There is no room for so much now."""


class Room:
    """Images, or bytes of requests, that are received, wait or are worked on: ``now`` of at most ``most``."""

    def __init__(self, most: int, what: str = "images") -> None:
        self.most, self.now, self.what = most, 0, what

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Room for so many until the block ends. Raises FullError."""
        if self.now + count > self.most:
            raise FullError(f"expected at most {self.most} {self.what} at a time, got more; send it again in a second")
        self.now += count
        try:
            yield
        finally:
            self.now -= count


class Gate:
    """Around the application: key, size, queue, time, and a count of every answer.

    ``leaving``: set when the service ends; what is accepted is finished, the rest is refused.
    """

    def __init__(self, app: App, limits: Limits, room: Room, metrics: Metrics, token: str | None, host: str) -> None:
        self._app, self._limits, self._room, self._metrics = app, limits, room, metrics
        self._token, self._local = token, host in LOCAL
        self._bodies = Room(limits.held_bytes, "bytes of requests")
        self.leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), _SAFE]
            await send(message)

        try:
            await self._guarded(scope, receive, told)
        finally:  # 0: there was no answer
            self._metrics.answered(scope["path"], status or 500, time.perf_counter() - began)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        if scope["path"] not in OPEN:
            problem = foreign(scope, headers, self._local, "trigpoint serve")
            if problem:
                await answer(send, 403, problem)
                return
            if not self._has_key(headers):
                what = "expected the header 'Authorization: Bearer TOKEN' with the token of this service"
                await answer(send, 401, what, [(b"www-authenticate", b"Bearer")])
                return
        problem = stated_length(headers, self._limits.bytes)
        if problem:
            await answer(send, 413, problem)
        elif scope["path"] == PREDICT and scope["method"] == "POST":
            stated = int(headers.get("content-length", self._limits.bytes))
            await self._predict(scope, receive, send, stated)
        else:
            await self._in_time(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send, length: int) -> None:
        if self.leaving:
            closing = [_AGAIN, (b"connection", b"close")]
            await answer(send, 503, "the service ends; send it to another, or again when it is back", closing)
            return
        let_in = False
        try:
            with self._room.taken(1), self._bodies.taken(length):
                let_in = True
                await self._in_time(scope, receive, send)
        except FullError as error:
            if not let_in:
                await _drained(receive, self._limits.seconds)
            await answer(send, 429, str(error), [_AGAIN])

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole, answered = False, False
        taken, seconds = bounded(receive, self._limits.bytes), self._limits.seconds

        async def noted() -> Message:
            nonlocal whole
            message = await taken()
            whole = whole or not message.get("more_body", False)
            return message

        async def told(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        scope.setdefault("state", {})["until"] = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._app(scope, noted, told)
        except TimeoutError:
            if answered:
                raise
            headers: Headers = [_AGAIN] if whole else [(b"connection", b"close")]
            late = f"expected to answer within {seconds:g} s, got too much to do; send it again, or less at a time"
            slow = f"expected the whole request within {seconds:g} s, got a part of it; send it faster, or less of it"
            await answer(send, 503 if whole else 408, late if whole else slow, headers)

    def _has_key(self, headers: dict[str, str]) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode())


async def _drained(receive: Receive, seconds: float) -> None:
    """Take what still comes of a request and forget it: many clients read the answer only after they have sent all."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive()).get("more_body", False):
                pass
