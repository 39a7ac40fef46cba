"""What `jina-embeddings doctor` finds in tests: an empty cache, and a GPU where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from jina_embeddings.cli.doctor.report import GIB


@pytest.fixture
def doctor_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setenv("JINA_EMBEDDINGS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Big GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (60 * GIB, 80 * GIB))
