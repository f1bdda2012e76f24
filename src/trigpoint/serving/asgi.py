"""What the servers of the package share of a single request: bounded bodies, plain answers, requests of other sites."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no other machine can reach."""


class TooLongError(Exception):
    """A request sent more bytes than it may."""

    def __init__(self, most: int) -> None:
        super().__init__(too_long(most, "more"))


def too_long(most: int, got: str) -> str:
    """What is said of a body of more bytes than allowed."""
    return f"expected at most {most} bytes, got {got}"


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request by their names in lower case."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}


def stated_length(headers: dict[str, str], most: int) -> str:
    """What is wrong with the length that a request states; empty where nothing is."""
    length = headers.get("content-length", "0")
    return "" if length.isdecimal() and int(length[:20]) <= most else too_long(most, length[:20])


def foreign(scope: Scope, headers: dict[str, str], local: bool, printed_by: str) -> str:
    """Why a request does not come from this machine or our own page; empty where it does.

    ``local``: no other machine is to be served, so another name for this one is a trick of a page (DNS rebinding).
    """
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        from_ = urlsplit(headers["origin"]).netloc if "origin" in headers else host
    except ValueError:  # brackets that are not closed
        return "expected the name of a host, got something else"
    if local and name not in (*LOCAL, "testserver"):
        return f"expected the address that '{printed_by}' printed, got {name}"
    asks = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    if not asks and from_ != host:
        return "expected a request of the page itself, got one of another site"
    return ""


def bounded(receive: Receive, most: int) -> Receive:
    """``receive`` that raises TooLongError where a body has more than ``most`` bytes, whatever length it states."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > most:
            raise TooLongError(most)
        return message

    return counted


async def answer(send: Send, status: int, problem: str, headers: Headers = ()) -> None:
    """Answer with an error as JSON."""
    await send_all(send, status, b"application/json", json.dumps({"error": problem}).encode(), headers)


async def send_all(send: Send, status: int, kind: bytes, body: bytes, headers: Headers = ()) -> None:
    """Answer at once, and tell browsers to keep nothing of it."""
    length = str(len(body)).encode()
    fixed = [(b"content-type", kind), (b"content-length", length), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
