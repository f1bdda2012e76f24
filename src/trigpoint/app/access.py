"""Who may use the page: the one who has the address with its token, or knows the password; and how much may be sent."""

from __future__ import annotations

import hmac
import html
import json
import os
import secrets
import time
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from trigpoint.serving.asgi import (
    LOCAL,
    App,
    Message,
    Receive,
    Scope,
    Send,
    TooLongError,
    answer,
    bounded,
    foreign,
    headers_of,
    send_all,
    stated_length,
)

MOST = 2 << 20  # bytes of a request
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
        return f"{self.cookie}={self._key}; HttpOnly; SameSite=Lax; Path=/"

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
        headers = headers_of(scope)
        problem = foreign(scope, headers, self.local, "trigpoint label")
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

    async def _http(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        path, method = scope["path"], scope["method"]
        if path == "/" and "token" in query and self.access.is_token(query.pop("token")[0]):
            rest = urlencode(query, doseq=True)
            await self._welcome(send, f"/?{rest}" if rest else "/")
            return
        problem = stated_length(headers, MOST)
        if problem:
            await _answer(send, 413, problem)
            return
        if path == "/login" and method == "POST" and self.access.password is not None:
            given = parse_qs((await _body(receive)).decode("utf-8", "replace")).get("password", [""])[0]
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
            await self.app(scope, bounded(receive, MOST), _with_headers(send))

    async def _welcome(self, send: Send, target: str) -> None:
        headers = [(b"location", target.encode()), (b"set-cookie", self.access.set_cookie().encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    """The whole body; empty where it is too long."""
    body, more, next_part = b"", True, bounded(receive, MOST)
    with suppress(TooLongError):
        while more:
            message = await next_part()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body
    return b""


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS.items()]
        await send(message)

    return sent


async def _answer(send: Send, status: int, problem: str) -> None:
    await answer(send, status, problem, _HEADERS.items())


async def _page(send: Send, status: int, text: str) -> None:
    await send_all(send, status, b"text/html; charset=utf-8", text.encode(), _HEADERS.items())


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
