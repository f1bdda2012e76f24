"""Who may use the page: the one who has the address with its token, or knows the password; and how much may be sent."""

from __future__ import annotations

import hmac
import html
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST = 2 << 20  # bytes of a request
LOCAL = ("127.0.0.1", "localhost", "::1")
_PAUSE = 1.0  # seconds until the next password is looked at
_HEADERS = {
    b"content-security-policy": b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
}


class Access:
    """The keys of one server. ``password``: what opens it beside the token, where it is served to other machines.

    ``kept``: a file, readable by its owner only, by which pages stay open when the server is started again.
    """

    def __init__(self, password: str | None = None, token: str | None = None, kept: Path | None = None) -> None:
        keys = _kept_keys(kept)
        self.token = token or keys["token"]
        self.password = password
        self.cookie = keys["cookie"]  # cookies of one machine's servers are told apart by name
        self._key = keys["key"]
        self._next = 0.0

    def opens(self, headers: dict[str, str]) -> bool:
        """Whether a request carries the cookie."""
        try:
            jar = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        given = jar.get(self.cookie)
        return given is not None and hmac.compare_digest(given.value.encode(), self._key.encode())

    def set_cookie(self) -> str:
        """The header that gives the cookie."""
        return f"{self.cookie}={self._key}; HttpOnly; SameSite=Strict; Path=/"

    def is_token(self, given: str) -> bool:
        """Whether this is the token of the address."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_password(self, given: str) -> bool:
        """Whether this is the password; one guess a second."""
        now = time.monotonic()
        if self.password is None or now < self._next:
            return False
        right = hmac.compare_digest(given.encode(), self.password.encode())
        self._next = 0.0 if right else now + _PAUSE
        return right


def _kept_keys(file: Path | None) -> dict[str, str]:
    """The keys in the file, else new ones, which are stored there."""
    keys = {
        "token": secrets.token_urlsafe(24),
        "key": secrets.token_urlsafe(24),
        "cookie": f"trigpoint-{secrets.token_hex(4)}",
    }
    if file is None:
        return keys
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
        private = os.name == "nt" or not file.stat().st_mode & 0o077
        whole = isinstance(known, dict) and known.keys() == keys.keys()
        if private and whole and all(isinstance(v, str) and len(v) > 8 for v in known.values()):
            return dict(known)
    with suppress(OSError):  # then they are new each time
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            json.dump(keys, stream)
    return keys


class Guard:
    """Lets through what has the cookie and comes from the page itself, and no more than ``MOST`` bytes of it."""

    def __init__(self, app: App, access: Access, host: str) -> None:
        self.app, self.access, self.local = app, access, host in LOCAL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        problem = self._foreign(scope, headers)
        if scope["type"] == "websocket":
            if problem or not self.access.opens(headers):
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "open the page first"})
                return
            await self.app(scope, receive, send)
        elif problem:
            await _answer(send, 403, problem)
        else:
            await self._http(scope, headers, receive, send)

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> str:
        """Why a request does not come from our own page; empty where it does."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self.local and name not in (*LOCAL, "testserver"):
            return f"expected the address that 'trigpoint label' printed, got {name}"
        origin = headers.get("origin")
        asks = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if origin is not None and not asks and urlsplit(origin).netloc != host:
            return "expected a request of the page itself, got one of another site"
        return ""

    async def _http(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        path, method = scope["path"], scope["method"]
        if path == "/" and "token" in query and self.access.is_token(query.pop("token")[0]):
            rest = urlencode(query, doseq=True)
            await self._welcome(send, f"/?{rest}" if rest else "/")
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST:
            await _answer(send, 413, f"expected at most {MOST} bytes, got {length[:20]}")
            return
        if path == "/login" and method == "POST" and self.access.password is not None:
            body = await _body(receive)
            given = parse_qs((body or b"").decode("utf-8", "replace")).get("password", [""])[0]
            if self.access.is_password(given):
                await self._welcome(send, "/")
            else:
                await _page(send, 403, _login("That is not the password, or it came too soon after another."))
        elif not self.access.opens(headers):
            if path == "/" and self.access.password is not None:
                await _page(send, 200, _login(""))
            elif path == "/":
                await _page(send, 403, _SHUT)
            else:
                await _answer(send, 403, "open the page by the address that 'trigpoint label' printed")
        else:
            await self.app(scope, _bounded(receive), _with_headers(send))

    async def _welcome(self, send: Send, target: str) -> None:
        headers = [(b"location", target.encode()), (b"set-cookie", self.access.set_cookie().encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class TooLongError(Exception):
    """A request sent more than it said."""


def _bounded(receive: Receive) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MOST:
            raise TooLongError
        return message

    return counted


async def _body(receive: Receive) -> bytes | None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST:
            return None
    return body


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS.items()]
        await send(message)

    return sent


async def _answer(send: Send, status: int, problem: str) -> None:
    await _send(send, status, b"application/json", json.dumps({"error": problem}).encode())


async def _page(send: Send, status: int, text: str) -> None:
    await _send(send, status, b"text/html; charset=utf-8", text.encode())


async def _send(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"cache-control", b"no-store"), *_HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_LOOK = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>trigpoint</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:20vh auto;"
    "padding:0 1rem;color-scheme:light dark}input,button{font:inherit;padding:.4rem .7rem}</style><h1>trigpoint</h1>"
)
_SHUT = (
    f"{_LOOK}<p>This page opens with the whole address that <code>trigpoint label</code> printed, with the token at "
    "its end.</p>"
)


def _login(problem: str) -> str:
    told = f"<p role=alert>{html.escape(problem)}</p>" if problem else ""
    form = "<label>Password <input type=password name=password autofocus required></label> <button>Open</button>"
    return f"{_LOOK}{told}<form method=post action=/login>{form}</form>"
