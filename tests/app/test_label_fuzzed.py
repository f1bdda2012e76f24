"""Whatever is sent to the labelling server, it answers in words, and the set stays readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from label_sets import client_of, open_project

from trigpoint.app.project import Project
from trigpoint.app.state import Row, State
from trigpoint.data.table import read_table

schemathesis = pytest.importorskip("schemathesis", reason="of the development group")


@pytest.fixture
def project(photos: Path) -> Project:
    project = open_project(photos, "tip,root")
    project.save(0, State(rows=[Row(marks={"tip": (1, 2, 2), "root": "absent"})]), 0)
    return project


def try_all(project: Project, examples: int) -> dict[str, set[int]]:
    """So many requests to each address; the statuses that came."""
    client = client_of(project)
    app: Any = client.app
    schema = schemathesis.openapi.from_dict(app.app.openapi())
    seen: dict[str, set[int]] = {}
    how = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for operation in (one.ok() for one in schema.get_all_operations()):

        @how
        @given(case=operation.as_strategy())
        def attempt(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://testserver")
            kept = {key: sent[key] for key in ("method", "url", "params", "json", "data", "headers") if key in sent}
            answer = client.request(**kept)
            seen.setdefault(f"{case.method} {case.path}", set()).add(answer.status_code)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400 and answer.status_code not in (404, 405):
                assert answer.json()["error"]

        attempt()
    read_table(project.opened.folder, unlabelled=True)
    return seen


def test_answers_are_words_and_the_set_stays_readable(project: Project) -> None:
    seen = try_all(project, examples=6)
    assert len(seen) > 15
    assert 422 in seen["PUT /api/images/{number}"]
    assert {200, 422} & seen["PUT /api/landmarks"]


@pytest.mark.soak
def test_many_answers_are_words(project: Project) -> None:
    seen = try_all(project, examples=300)
    assert {200, 422} <= seen["PUT /api/landmarks"]
