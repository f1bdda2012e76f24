"""``trigpoint doctor``: what a bug report needs, and nothing that is secret."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from cli_entry import call

from trigpoint.runs import environment_text


def test_versions_devices_and_settings_are_there() -> None:
    text = call("doctor").stdout
    assert text.startswith(environment_text())
    for line in (
        rf"torch {re.escape(version('torch'))}",
        r"(cuda:0 .*|cuda not available.*)",
        r"precision auto means (32|bf16-mixed)",
        rf"threads {torch.get_num_threads()} within an operation, \d+ between them",
        r"float32 matrix products (highest|high|medium)",
        r"cudnn benchmark (on|off), TF32 (on|off)",
        r"deterministic algorithms off",
        r"largest image \d+ pixels .*",
        r"disk .* GiB free of .*",
    ):
        assert re.search(rf"^{line}$", text, re.MULTILINE), line


def test_it_says_whether_the_network_would_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert "network used only for weights that a recipe asks for" in call("doctor").stdout
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert "network used only for weights that a recipe asks for" in call("doctor").stdout
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = call("doctor").stdout
    assert "network not used for weights: HF_HUB_OFFLINE is set" in text
    assert "network used" not in text


def test_cache_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "torch" / "hub").mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    text = call("doctor").stdout
    assert f"cache of the Hugging Face hub {tmp_path / 'hf' / 'hub'}, not there" in text
    assert f"cache of the torch hub {tmp_path / 'torch' / 'hub'}, there" in text
    assert f"HF_HOME={tmp_path / 'hf'}" in text


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "secret-7f3a")
    assert "secret-7f3a" not in call("doctor").output
