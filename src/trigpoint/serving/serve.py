"""``trigpoint serve``: a model is loaded, tried and served until the process is asked to stop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trigpoint.errors import PATIENCE, ConfigError, counted
from trigpoint.serving.asgi import LOCAL
from trigpoint.serving.limits import Limits
from trigpoint.serving.listening import address, bound, impatient, moved

if TYPE_CHECKING:
    from trigpoint.serving.api import Service

PORT = 8766
_MARGIN = 3.0  # seconds before ``PATIENCE`` ends, in which the process ends in order


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; ``port`` None: the usual one, or any other that is free."""

    model: Path
    host: str = "127.0.0.1"
    port: int | None = None
    token: str | None = None
    limits: Limits = field(default_factory=Limits)
    batch: int = 16
    device: str = "auto"
    version: str | None = None


def serve(wanted: Wanted, tell: Callable[[str], None]) -> None:
    """Serve a model until SIGTERM or Ctrl-C; what is accepted is finished then, for some seconds.

    ``tell`` is told the address and what is worth knowing. Raises ConfigError where a package is missing, the port is
    taken, or other machines could reach it without a token, and RunError for a model that cannot be used.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ConfigError(f'serve needs {error.name}, which is missing; pip install "trigpoint[serve]"') from None
    if wanted.host not in LOCAL and not wanted.token:
        got = f"got --host {wanted.host} alone"
        fix = "give --token, or set TRIGPOINT_TOKEN"
        raise ConfigError(f"--token: expected one where other machines can reach the service, {got}; {fix}")
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        got = "got none; mount one, such as docker run --tmpfs /tmp"
        raise ConfigError(f"expected a folder for the sockets of the decoders, {got}") from None
    from trigpoint.serving.decoding import prepare

    prepare()
    with bound(wanted.host, wanted.port, PORT) as listening:
        if (note := moved(listening, wanted.port, PORT)) is not None:
            tell(note)
        service = load_service(wanted)
        model = service.model
        tell(f"{wanted.model}: {counted(len(service.predictor.landmarks), 'landmark')}, version {model.version}")
        if service.predictor.untaught:
            tell(f"never found, as no training image annotated it: {', '.join(service.predictor.untaught)}")
        if service.predictor.cannot_tell:
            tell(f"note: this model cannot tell {service.predictor.cannot_tell}")
        tell(f"ready  {address(wanted.host, listening.getsockname()[1])}predict  (stop with Ctrl-C)")
        config = uvicorn.Config(
            service.app,
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="on",
            server_header=False,
            http=impatient(wanted.limits.seconds),
            limit_concurrency=wanted.limits.connections,
            timeout_graceful_shutdown=round(min(wanted.limits.seconds, PATIENCE - _MARGIN)),
        )

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: object) -> None:
                service.app.leaving = True
                super().handle_exit(sig, frame)  # type: ignore[arg-type]

        Server(config).run(sockets=[listening])


def load_service(wanted: Wanted) -> Service:
    """The service of a model that has predicted once, so that the first request does not wait and a fault shows now."""
    from trigpoint.prediction import load_predictor
    from trigpoint.prediction.exported import threads as usable_threads
    from trigpoint.serving.answers import identity
    from trigpoint.serving.api import Service

    predictor = load_predictor(wanted.model, wanted.device)
    predictor.predict(np.zeros((64, 64), np.uint8))
    return Service(
        predictor,
        identity(wanted.model, predictor, wanted.version),
        wanted.limits,
        batch=wanted.batch,
        threads=usable_threads(),
        token=wanted.token,
        host=wanted.host,
    )
