"""The service keeps what its OpenAPI schema promises, whatever is sent: requests that schemathesis makes of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_models import Told, png, service

from trigpoint.serving.limits import Limits

schemathesis = pytest.importorskip("schemathesis", reason="of the development group")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
GOOD = png()


@pytest.fixture(scope="module", params=[False, True], ids=["one", "several"])
def schema(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The schema of a service on a port of its own."""
    made = service(Told(multi=request.param), Limits(bytes=1 << 16, pixels=5000, seconds=20.0, queue=8))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(made.app, log_level="warning", lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        end = time.monotonic() + 60
        while not server.started and time.monotonic() < end:
            time.sleep(0.02)
        assert server.started
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json")
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def try_all(schema: Any, examples: int) -> set[int]:
    """So many requests to each address, checked against the schema; given are the statuses that came."""
    seen: set[int] = set()
    how = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for operation in (one.ok() for one in schema.get_all_operations()):

        @how
        @given(case=operation.as_strategy(), good=st.booleans())
        def attempt(case: Any, good: bool) -> None:
            untold: list[Any] = []
            if case.method == "POST":  # no schema says what an image is, and what is made of it never is one
                untold = [checks.negative_data_rejection if good else checks.positive_data_acceptance]
                if good:
                    case.body, case.media_type = GOOD, "image/png"
            response = case.call()
            seen.add(response.status_code)
            case.validate_response(response, excluded_checks=untold)

        attempt()
    return seen


def test_answers_are_those_of_the_schema(schema: Any) -> None:
    assert {200} < try_all(schema, examples=12) <= {200, 400, 413, 422, 429}


@pytest.mark.soak
def test_many_answers_are_those_of_the_schema(schema: Any) -> None:
    assert {200, 400, 422} <= try_all(schema, examples=1000) <= {200, 400, 413, 422, 429}
