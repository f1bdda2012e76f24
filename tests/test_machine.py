"""Cores and memory that a container or a job leaves to a process, by both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trigpoint.machine import free_memory, usable_cores

MANY = 64


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MANY)), raising=False)
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # docker run --cpus 1.5
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, MANY),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),  # a slice around the job
        (
            "3:cpu,cpuacct:/job\n0::/\n",
            {"cpu/job/cpu.cfs_quota_us": "400000", "cpu/job/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("3:cpu:/job\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, MANY),
        ("3:cpuset:/job\n", {"cpu/job/cpu.cfs_quota_us": "100000", "cpu/job/cpu.cfs_period_us": "100000"}, MANY),
        ("", {}, MANY),
    ],
)
def test_cores(place: Path, group: str, files: dict[str, str], cores: int) -> None:
    write(place / "cgroup", group)
    for name, text in files.items():
        write(place / "groups" / name, text)
    assert usable_cores(place / "cgroup", place / "groups") == cores


def test_where_there_are_no_control_groups(place: Path) -> None:
    assert usable_cores(place / "none", place / "none") == MANY
    assert free_memory(place / "none", place / "none") > 0


@pytest.mark.parametrize(
    ("group", "files", "free"),
    [
        ("0::/\n", {"memory.max": "5000000\n", "memory.current": "2000000\n"}, 3_000_000),
        ("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "70", "memory/job/memory.usage_in_bytes": "90"}, 0),
    ],
)
def test_memory(place: Path, group: str, files: dict[str, str], free: float) -> None:
    write(place / "cgroup", group)
    for name, text in files.items():
        write(place / "groups" / name, text)
    assert free_memory(place / "cgroup", place / "groups") == free


def test_memory_without_a_bound_is_the_machines(place: Path) -> None:
    write(place / "cgroup", "0::/\n")
    write(place / "groups" / "memory.max", "max\n")
    bounded = free_memory(place / "cgroup", place / "groups")
    assert bounded > 10_000_000
