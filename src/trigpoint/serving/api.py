"""The addresses of the service: ``POST /predict``, what is served, and how it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from trigpoint import __version__
from trigpoint.errors import TrigpointError
from trigpoint.prediction.base import ImagePredictor
from trigpoint.serving.answers import About, Answer, ImageAnswer, Model, Problem, State, image_answer
from trigpoint.serving.batching import Batcher
from trigpoint.serving.decoding import Decoders
from trigpoint.serving.gate import OPEN, PREDICT, Gate, Room
from trigpoint.serving.limits import Limits
from trigpoint.serving.metrics import Metrics
from trigpoint.serving.refusing import answer_errors, only_known

_DECODERS = 4  # decoding takes far less time than predicting, and each holds an image
_NAME = 255  # letters of a file's name that are given back
_BINARY = {"type": "string", "format": "binary"}
_TYPES = ("image/png", "image/jpeg", "image/tiff", "application/dicom", "application/octet-stream")
_MANY = {"type": "object", "properties": {"images": {"type": "array", "items": _BINARY, "minItems": 1}}}
_BODY = {
    "required": True,
    "description": "One image file as it is, or any number of them as a form (multipart/form-data). The content "
    "decides how a file is read, not its type or name.",
    "content": {kind: {"schema": _BINARY} for kind in _TYPES} | {"multipart/form-data": {"schema": _MANY}},
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "No image, or a form that is damaged.",
        401: "The token is missing or wrong.",
        403: "A request of a page of another site.",
        408: "The request itself did not come in time.",
        413: "More bytes or images than one request may have.",
        422: "An image that cannot be read, has too many pixels, or a parameter that is wrong.",
        429: "The queue is full; see Retry-After.",
        503: "No answer in time, or the service ends; see Retry-After.",
    }.items()
}
_KEY: dict[int | str, dict[str, Any]] = {401: _PROBLEMS[401], 403: _PROBLEMS[403]}


class Service:
    """A model, what runs it, and the application that answers for it. ``threads``: of predictors that can have many."""

    def __init__(
        self,
        predictor: ImagePredictor,
        model: Model,
        limits: Limits,
        *,
        batch: int = 16,
        threads: int = 1,
        token: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.predictor, self.model, self.limits = predictor, model, limits
        self.room = Room(limits.queue)
        paths = (PREDICT, *OPEN, "/model", "/metrics", "/openapi.json")
        self.metrics = Metrics(paths, model.model_dump(), lambda: self.room.now)
        self._batch, self._threads = batch, threads
        self.decoders: Decoders
        self.batcher: Batcher
        app = FastAPI(title="trigpoint serve", version=__version__, lifespan=self._life, docs_url=None, redoc_url=None)
        answer_errors(app)
        _add_addresses(app, self)
        self.app = Gate(app, limits, self.room, self.metrics, token, host)

    @asynccontextmanager
    async def _life(self, app: FastAPI) -> AsyncIterator[None]:
        self.decoders = Decoders(min(_DECODERS, max(2, self._threads)), self.limits)
        self.batcher = Batcher(
            self.predictor, self._batch, self._threads, self.limits.pixels, self.metrics.batch.observe
        )
        self.decoders.start()
        self.batcher.start()
        try:
            yield
        finally:
            await self.batcher.end()
            self.decoders.end()

    async def answered(self, name: str, data: bytes, threshold: float | None, until: float) -> ImageAnswer:
        """What is found in one file. Raises DataError and ConfigError that begin with ``name``."""
        try:
            image = await self.decoders.read(data, until)
            del data
            found = await self.batcher.predict(image, threshold)
        except TrigpointError as error:
            self.metrics.refused.inc()
            raise type(error)(f"{name}: {error}") from None
        self.metrics.images.inc()
        return image_answer(name, image, found, self.predictor)


def _add_addresses(app: FastAPI, service: Service) -> None:
    model, predictor, limits = service.model, service.predictor, service.limits
    about = About(
        **model.model_dump(),
        landmarks=list(predictor.landmarks.names),
        untaught=list(predictor.untaught),
        cannot_tell=predictor.cannot_tell or None,
        multi_instance=predictor.threshold is not None,
        threshold=predictor.threshold,
        limits={name: float(value) for name, value in asdict(limits).items()},
    )

    limit: Any = Query(
        None,
        allow_inf_nan=False,
        description="The score that instances exceed, instead of the model's own.",
        include_in_schema=about.multi_instance,
    )

    @app.post(PREDICT, response_model=Answer, responses=_PROBLEMS, openapi_extra={"requestBody": _BODY})
    async def predict(request: Request, threshold: float | None = limit) -> Response:
        """Find the landmarks in one image or many. Either all of them are answered or none is."""
        only_known(request, ("threshold",))
        files = await _received(request, service.room.most)
        until = request.scope["state"]["until"]
        with service.room.taken(len(files) - 1):  # the request itself has room for one
            work = [service.answered(name, data, threshold, until) for name, data in files]
            del files
            images = await _unless_gone(request, _all(work))
        return Response(Answer(model=model, images=images).model_dump_json(), media_type="application/json")

    @app.get("/model", responses=_KEY)
    async def which() -> About:
        """The model, its landmarks, and the limits of the service."""
        return about

    @app.get("/health")
    async def health() -> State:
        """Whether the process answers."""
        return State(status="ok")

    @app.get("/ready", responses={503: {"model": State, "description": "The service ends."}})
    async def ready() -> Response:
        """Whether it takes images."""
        leaving = service.app.leaving
        return JSONResponse({"status": "leaving" if leaving else "ready"}, 503 if leaving else 200)

    @app.get("/metrics", response_class=Response, responses={**_KEY, 200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})


class _InMemory(MultiPartParser):
    """A form whose files never touch a disk, and that has to be whole."""

    spool_max_size = 1 << 60
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _received(request: Request, most: int) -> list[tuple[str, bytes]]:
    """Names and bytes of the files of a request. Raises HTTPException for none, too many and damaged forms."""
    data = b"".join([part async for part in request.stream()])
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        files = [("image", data)] if data else []
    else:
        files = await _of_form(request, data, most)
    if not files:
        raise HTTPException(400, "expected an image file as the body, or a form with files, got none")
    return files


async def _of_form(request: Request, data: bytes, most: int) -> list[tuple[str, bytes]]:
    async def body() -> AsyncGenerator[bytes, None]:
        yield data

    parser = _InMemory(request.headers, body(), max_files=float("inf"), max_fields=0)
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:
        what = getattr(error, "message", None) or str(error)
        raise HTTPException(400, f"expected a form of files only (multipart/form-data), got: {what[:200]}") from None
    try:
        if not parser.ended:
            raise HTTPException(400, "expected a whole form, got one that is cut short")
        uploads = [upload for _, upload in form.multi_items() if not isinstance(upload, str)]
        if len(uploads) > most:
            raise HTTPException(413, f"expected at most {most} images in a request, got {len(uploads)}; send fewer")
        names = [(upload.filename or f"image {i}")[:_NAME] for i, upload in enumerate(uploads, start=1)]
        return [(name, await upload.read()) for name, upload in zip(names, uploads, strict=True)]
    finally:
        await form.close()


async def _all(work: list[Coroutine[Any, Any, ImageAnswer]]) -> list[ImageAnswer]:
    """All results, or the first error, with which the others are given up."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, list[ImageAnswer]]) -> list[ImageAnswer]:
    """The result of ``work``; it is given up when the client does not wait for it. Raises ClientDisconnect."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())  # the body is read: what comes now is the end
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
