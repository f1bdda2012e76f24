"""News for the open pages: what was saved in another tab, changed by another program, or found meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from trigpoint.app.project import Project
from trigpoint.errors import TrigpointError

_EVERY = 1.0  # seconds between two looks at the table
_WAITING = 1000  # events that a page that does not listen is behind; then it is dropped and asks anew


class Live:
    """Passes events to every open page. ``tell`` may be called from any thread, also before the loop runs."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[dict[str, Any]]] = set()

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event to all pages."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # it closes just now
                self._loop.call_soon_threadsafe(self._pass_on, event)

    def _pass_on(self, event: dict[str, Any]) -> None:
        for queue in list(self._queues):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._queues.discard(queue)

    async def serve(self, socket: WebSocket) -> None:
        """Talk to one page until it goes."""
        self._loop = asyncio.get_running_loop()
        await socket.accept()
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING)
        self._queues.add(queue)
        listening = asyncio.create_task(_until_gone(socket))
        try:
            while not listening.done() and queue in self._queues:
                got = asyncio.create_task(queue.get())
                await asyncio.wait({got, listening}, return_when=asyncio.FIRST_COMPLETED)
                if not got.done():
                    got.cancel()
                    break
                await socket.send_json(got.result())
        except (WebSocketDisconnect, RuntimeError):  # gone while it was told
            pass
        finally:
            self._queues.discard(queue)
            listening.cancel()

    async def watch(self, project: Project) -> None:
        """Look every second whether another program has written the table."""
        self._loop = asyncio.get_running_loop()
        told = ""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await asyncio.to_thread(project.refresh)
                told = ""
            except (TrigpointError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    self.tell({"kind": "trouble", "error": told})


async def _until_gone(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_text()
