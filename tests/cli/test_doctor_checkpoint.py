"""`jina-embeddings doctor --model`: what is in a checkpoint, and whether it fits in memory."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
import torch
from safetensors import safe_open

from doctor_command import doctor, problem_of

if TYPE_CHECKING:
    from conftest import CheckpointMaker

pytestmark = pytest.mark.usefixtures("doctor_environment")


def test_a_checkpoint_is_described(checkpoint: CheckpointMaker) -> None:
    folder = checkpoint(dtype="bfloat16", shards=2)
    status, report = doctor("--model", str(folder))
    found = report["checkpoint"]
    assert status == 0
    assert (found["layout"], found["tasks"]) == ("multi-task", ["retrieval", "text-matching", "code"])
    assert (found["stored_as"], found["files"], found["folder"]) == (["BF16"], 2, str(folder))
    config = json.loads((folder / "config.json").read_text())
    assert found["multivector_dim"] == config["multi_vector_projector_dim"]
    assert (found["hidden_size"], found["layers"]) == (config["hidden_size"], config["num_hidden_layers"])
    weights, adapters = (_numbers(folder, pattern) for pattern in ("*.safetensors", "adapters/*.safetensors"))
    assert found["parameters"] == weights
    assert (found["weights_bytes"], found["adapters_bytes"]) == (2 * weights, 2 * adapters)
    needed = found["memory_for_weights"]
    assert needed == {"float32_bytes": 4 * (weights + adapters), "bfloat16_bytes": 2 * (weights + adapters)}


def _numbers(folder: Path, pattern: str) -> int:
    total = 0
    for path in folder.glob(pattern):
        with safe_open(path, framework="np") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def test_a_merged_checkpoint_is_described(checkpoint: CheckpointMaker) -> None:
    folder = str(checkpoint(layout="merged", task="code", dtype="float32"))
    status, report = doctor("--model", folder, "--task", "code.query")
    found = report["checkpoint"]
    assert status == 0
    assert (found["layout"], found["tasks"], found["multivector_dim"]) == ("merged", ["code"], None)
    assert found["adapters_bytes"] == 0


def test_a_merged_checkpoint_that_does_not_say_its_task(checkpoint: CheckpointMaker, tmp_path: Path) -> None:
    folder = _copy(checkpoint(layout="merged", task="code", dtype="float32"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "task_names": None}))
    assert "with --task" in problem_of("--model", str(folder))
    assert doctor("--model", str(folder), "--task", "code")[0] == 0


def _copy(folder: Path, tmp_path: Path) -> Path:
    """A checkpoint that may be damaged."""
    target = tmp_path / "copy"
    for path in folder.rglob("*.*"):
        (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        (target / path.relative_to(folder)).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("model.safetensors", 100_000, "download it again"),
        ("adapters/adapter_model.safetensors", 100_000, "cut short"),
        ("model.safetensors", None, "is it a checkpoint folder?"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("preprocessor_config.json", None, "preprocessor_config.json is missing"),
        ("config.json", 20, "can't be read as JSON"),
    ],
)
def test_a_checkpoint_that_is_not_whole(
    checkpoint: CheckpointMaker, tmp_path: Path, name: str, size: int | None, message: str
) -> None:
    path = _copy(checkpoint(dtype="float32"), tmp_path) / name
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    assert message in problem_of("--model", str(tmp_path / "copy"), "--parity", "--engine", "transformers")


def test_a_missing_checkpoint_is_a_problem() -> None:
    problem = problem_of("--model", "/no/such/folder")
    assert problem.endswith("| check the name or the path, or download it again")


def test_weights_that_do_not_fit(checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = str(checkpoint(dtype="float32"))
    needed = doctor("--model", folder)[1]["checkpoint"]["memory_for_weights"]
    for free, fits_in_half in ((needed["bfloat16_bytes"] + 1, True), (needed["bfloat16_bytes"] - 1, False)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(total=free, available=free))
        problem = problem_of("--model", folder)
        assert "in float32, and this host has" in problem
        assert ("use dtype bfloat16" in problem) == fits_in_half
