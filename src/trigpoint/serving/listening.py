"""A port of this machine, what is printed of it, and connections that end when nothing comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trigpoint.errors import ConfigError

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol


@contextmanager
def bound(host: str, port: int | None, usual: int) -> Iterator[socket.socket]:
    """A socket that listens. ``port`` None: ``usual``, or any other that is free. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for number in (usual, 0) if port is None else (port,):
            try:
                listening.bind((host, number))
                break
            except OSError as error:
                if port is not None or number == 0:
                    got = f"got {error.strerror or error}"
                    raise ConfigError(
                        f"--port {number}, --host {host}: expected a free port, {got}; give another"
                    ) from None
        listening.listen(128)
        yield listening


def moved(listening: socket.socket, port: int | None, usual: int) -> str | None:
    """That another port than the usual one was taken, in words, where none was asked for."""
    if port is not None or listening.getsockname()[1] == usual:
        return None
    return f"port {usual} is in use by another program, so this one listens on another; --port N chooses one"


def address(host: str, port: int) -> str:
    """What a user opens.

    >>> address("0.0.0.0", 80), address("::1", 8765)
    ('http://127.0.0.1:80/', 'http://[::1]:8765/')
    """
    shown = f"[{host}]" if ":" in host else host
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else shown}:{port}/"


def impatient(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which also ends a connection on which no request begins, or none goes on, for so long.

    uvicorn itself waits for ever for the rest of a request's head, and of a body that was refused already.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch(None)

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer.cancel()
            super().connection_lost(exc)

        def _watch(self, before: Any) -> None:
            self._timer = self.loop.call_later(seconds, self._look, before)

        def _look(self, before: Any) -> None:
            if self.cycle is before and (before is None or before.response_complete):
                self.transport.abort()
            else:
                self._watch(self.cycle)

    return Impatient
