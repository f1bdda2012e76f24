"""Answers to requests that are wrong: what was expected, what came, and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from trigpoint.errors import TrigpointError
from trigpoint.serving.asgi import TooLongError

_GONE = 499  # what nginx calls a client that did not wait for the answer
_SHOWN = 100  # letters of what came
_EXPECTED = {"float_parsing": "a number", "finite_number": "a finite number"}


def _addresses(app: FastAPI) -> dict[str, list[str]]:
    """The addresses that the OpenAPI description names, with their methods."""
    return {place: [way.upper() for way in ways] for place, ways in app.openapi()["paths"].items()}


def only_known(request: Request, known: Sequence[str]) -> None:
    """Raise HTTPException for an option of the address that there is not."""
    for name in request.query_params:
        if name not in known:
            got = f"got '{name[:_SHOWN]}'; correct it, or leave it out"
            raise HTTPException(422, f"expected the parameter {' or '.join(known)}, {got}")


def answer_errors(app: FastAPI) -> None:
    @app.exception_handler(TrigpointError)
    async def refused(request: Request, error: TrigpointError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def odd(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        expected = _EXPECTED.get(first["type"], first["msg"])
        got = f"got '{str(first.get('input'))[:_SHOWN]}'; correct it, or leave it out"
        return JSONResponse({"error": f"{where}: expected {expected}, {got}"}, 422)

    @app.exception_handler(TooLongError)
    async def long(request: Request, error: TooLongError) -> Response:
        return JSONResponse({"error": str(error)}, 413)

    @app.exception_handler(StarletteHTTPException)
    async def other(request: Request, error: StarletteHTTPException) -> Response:
        told = str(error.detail)
        if error.status_code in (404, 405) and told == HTTPStatus(error.status_code).phrase:
            addresses = ", ".join(f"{way} {place}" for place, ways in _addresses(app).items() for way in ways)
            told = f"expected one of {addresses}, got {request.method} {request.url.path[:_SHOWN]}; correct the address"
        return JSONResponse({"error": told}, error.status_code, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_GONE)
