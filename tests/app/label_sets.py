"""Small folders of drawn images, and a server for one in this process with its client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import uvicorn
from fastapi.testclient import TestClient

from trigpoint.app.access import Access
from trigpoint.app.folder import open_folder
from trigpoint.app.project import Project
from trigpoint.app.server import make_app


def draw(file: Path, size: tuple[int, int] = (40, 60), seed: int = 0) -> Path:
    """An image (height, width) of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    PIL.Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(file)
    return file


def open_project(folder: Path, landmarks: str = "", **options: Any) -> Project:
    """A set as the command line opens it."""
    project = Project(open_folder(folder, landmarks.split(",") if landmarks else ()), **options)
    project.scan()
    return project


def client_of(project: Project) -> TestClient:
    """A client that has opened the page by its token."""
    access = Access(token="secret")
    client = TestClient(make_app(project, access), follow_redirects=True)
    assert client.get("/?token=secret").status_code == 200
    return client


def state(marks: dict[str, Any] | None = None, **about: Any) -> dict[str, Any]:
    """A state as the page sends it, of one object."""
    return {"rows": [{"instance": "", "marks": marks or {}}], **about}


def put(client: TestClient, number: int, new: dict[str, Any], base: int = 0, status: int = 200) -> dict[str, Any]:
    """Save a state; the answer."""
    answer = client.put(f"/api/images/{number}", json={"base": base, "state": new})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def served(project: Project, access: Access | None = None, port: int = 0, runs: Sequence[Path] = ()) -> Iterator[str]:
    """The address, with its token, of a server in a thread of this process."""
    access = access or Access(token="secret")
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(64)
        options: dict[str, Any] = {"log_level": "error", "ws": "websockets-sansio", "timeout_graceful_shutdown": 1}
        server = uvicorn.Server(uvicorn.Config(make_app(project, access, runs=runs), **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/?token={access.token}"
        finally:
            server.should_exit = True
            thread.join(5)
