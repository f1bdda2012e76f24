"""The labelling server: the page, the images, and each change as a request. Paths of files never come from outside."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from trigpoint.app.access import Access, Guard
from trigpoint.app.auditing import likely_wrong
from trigpoint.app.learning import Learner
from trigpoint.app.live import Live
from trigpoint.app.pictures import Picture, Pictures
from trigpoint.app.predictions import Runs, compared
from trigpoint.app.project import Entry, Project, StaleError
from trigpoint.app.state import Edit, Naming
from trigpoint.errors import DataError, TrigpointError
from trigpoint.report.page import SHARED
from trigpoint.serving.asgi import App, TooLongError

PAGE = Path(__file__).parent / "page"
_KINDS = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip
_LASTS = "private, max-age=86400"  # addresses of pixels bear the time at which the server began
Number = Annotated[float, Query(ge=-1e7, le=1e7)]


def make_app(
    project: Project, access: Access, host: str = "127.0.0.1", runs: Sequence[Path] = (), *, learn: bool = False
) -> App:
    """The application of one set, with the predictions of up to two ``runs``; ``learn``: of runs that it trains."""
    live, pictures = Live(), Pictures()
    project.tell = live.tell
    shown = Runs(project, live.tell)
    learner = Learner(project, live.tell, partial(shown.show, learned=True)) if learn else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(live.watch(project))
        shown.show(*runs)
        if learner is not None:
            learner.start()
        yield
        if learner is not None:
            learner.end()
        shown.end()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    app = FastAPI(title="trigpoint label", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.live = live
    _answer_errors(app)
    _serve_page(app)
    _serve_set(app, project)
    _serve_pictures(app, project, pictures)
    _serve_runs(app, project, shown, learner)
    app.add_api_websocket_route("/live", _socket(live))
    return Guard(app, access, host)


def _socket(live: Live) -> Callable[[WebSocket], Any]:
    async def talk(socket: WebSocket) -> None:
        await live.serve(socket)

    return talk


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(TrigpointError)
    def refused(request: Request, error: TrigpointError) -> Response:
        return JSONResponse({"error": str(error)}, 409 if isinstance(error, StaleError) else 422)

    @app.exception_handler(OSError)
    def failed(request: Request, error: OSError) -> Response:
        return JSONResponse({"error": f"{error.filename or 'the disk'}: {error.strerror or error}"}, 507)

    @app.exception_handler(RequestValidationError)
    def odd(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)

    @app.exception_handler(TooLongError)
    def long(request: Request, error: TooLongError) -> Response:
        return JSONResponse({"error": str(error)}, 413)


def _serve_page(app: FastAPI) -> None:
    files = {file.relative_to(PAGE).as_posix(): file for file in PAGE.rglob("*") if file.suffix in _KINDS}
    files |= {file.name: file for file in SHARED.iterdir() if file.suffix in _KINDS}

    def sent(name: str) -> Response:
        if name not in files:
            return JSONResponse({"error": "no such file"}, 404)
        file = files[name]
        headers = {"cache-control": "no-cache"}
        return Response(file.read_bytes(), media_type=_KINDS[file.suffix], headers=headers)

    @app.get("/")
    def index() -> Response:
        return sent("index.html")

    @app.get("/page/{name:path}")
    def part(name: str) -> Response:
        return sent(name)


def _full(project: Project, entry: Entry) -> dict[str, Any]:
    return {
        "image": project.summary(entry),
        "revision": entry.revision,
        "state": entry.state.model_dump(),
        **project.history(),
    }


def _serve_set(app: FastAPI, project: Project) -> None:
    began = f"{time.time():.0f}"

    @app.get("/api/set")
    def overview() -> dict[str, Any]:
        return {**project.overview(), "began": began}

    @app.get("/api/images/{number}")
    def image(number: int) -> dict[str, Any]:
        return _full(project, project.entry(number))

    @app.put("/api/images/{number}")
    def save(number: int, edit: Edit) -> dict[str, Any]:
        return _full(project, project.save(number, edit.state, edit.base, edit.how, edit.before))

    def _stepped(kind: Literal["undo", "redo"]) -> dict[str, Any]:
        before = project.history()
        entry = project.step(kind)
        if entry is not None:
            return _full(project, entry)
        return {"landmarks": project.names} if project.history() != before else {}

    @app.post("/api/undo")
    def undo() -> dict[str, Any]:
        return _stepped("undo")

    @app.post("/api/redo")
    def redo() -> dict[str, Any]:
        return _stepped("redo")

    @app.put("/api/landmarks")
    def landmarks(naming: Naming) -> dict[str, Any]:
        project.name_landmarks(naming)
        return {**project.overview(), "began": began}

    @app.get("/api/example")
    def example(landmark: str, besides: int) -> dict[str, Any]:
        found = project.example(landmark, besides)
        if found is None:
            return {}
        entry, x, y = found
        return {"id": entry.id, "name": entry.called, "x": x, "y": y, "revision": entry.revision}


def _serve_runs(app: FastAPI, project: Project, shown: Runs, learner: Learner | None) -> None:
    @app.get("/api/predictions")
    def all_predictions() -> dict[str, Any]:
        return compared(project, shown.shown)

    @app.get("/api/images/{number}/predictions")
    def predictions(number: int) -> list[dict[str, Any]]:
        return shown.of(project.entry(number).id)

    @app.get("/api/audit")
    def suspects() -> dict[int, dict[str, Any]]:
        return likely_wrong(project)

    @app.get("/api/learning")
    def learning() -> dict[str, Any]:
        return {"phase": "off"} if learner is None else learner.status


def _serve_pictures(app: FastAPI, project: Project, pictures: Pictures) -> None:
    def opened(number: int) -> Picture:
        entry = project.entry(number)
        try:
            picture = pictures.get(entry.file)
        except (DataError, OSError) as error:
            entry.broken = entry.broken or str(error).removeprefix(f"{entry.file}: ")
            project.tell({"kind": "changed", "image": project.summary(entry)})
            raise DataError(f"{entry.called}: {entry.broken}") from None
        entry.size = (picture.height, picture.width)
        return picture

    @app.get("/api/images/{number}/picture")
    def about(number: int) -> dict[str, Any]:
        return opened(number).about()

    @app.get("/api/images/{number}/tiles/{level}/{column}/{row}")
    def tile(number: int, level: int, column: int, row: int, request: Request) -> Response:
        values = opened(number).tile(level, column, row)
        if values is None:
            return JSONResponse({"error": "no such tile"}, 404)
        data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        headers = {"cache-control": _LASTS}
        if "gzip" in request.headers.get("accept-encoding", ""):
            data, headers["content-encoding"] = gzip.compress(data, 1), "gzip"
        return Response(data, media_type="application/octet-stream", headers=headers)

    @app.get("/api/images/{number}/thumbnail")
    def thumbnail(number: int) -> Response:
        points = project.entry(number).state.points()
        data = opened(number).thumbnail(points)
        return Response(data, media_type="image/jpeg", headers={"cache-control": _LASTS})

    @app.get("/api/images/{number}/detail")
    def detail(number: int, x: Number, y: Number, half: Annotated[float, Query(gt=1, le=1e5)]) -> Response:
        data = opened(number).detail(x, y, half)
        return Response(data, media_type="image/jpeg", headers={"cache-control": _LASTS})
