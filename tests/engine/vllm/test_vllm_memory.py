"""The memory that vLLM would need, checked before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine.memory import GIB
from jina_embeddings.engine.vllm.launch import explain_start
from jina_embeddings.engine.vllm.memory import Demand, check_memory, demand, log_room, require_host_memory
from jina_embeddings.errors import EngineError, OutOfMemoryError
from jina_embeddings.options import make_options

if TYPE_CHECKING:
    from conftest import CheckpointMaker

NEEDED = Demand(weights=int(7.6 * GIB), kv_cache=int(1.2 * GIB))


def test_a_model_that_fits_is_let_through() -> None:
    check_memory(NEEDED, total=80 * GIB, free=79 * GIB, utilization=0.9, max_model_len=32768)


def test_too_little_free_memory_is_refused_with_the_utilization_that_would_fit() -> None:
    with pytest.raises(OutOfMemoryError, match=r"72\.0, and 40\.0 are free: set gpu_memory_utilization=0\.5"):
        check_memory(NEEDED, total=80 * GIB, free=40 * GIB, utilization=0.9, max_model_len=32768)


def test_too_little_free_memory_for_the_model_asks_to_free_the_device() -> None:
    with pytest.raises(OutOfMemoryError, match=r"5\.0 are free: free the device"):
        check_memory(NEEDED, total=80 * GIB, free=5 * GIB, utilization=0.9, max_model_len=32768)


def test_a_utilization_too_small_for_the_model_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"needs 9\.8 GiB \(7\.6 for weights, 1\.2 to read 32768 tokens\).*8\.0 of"
    ):
        check_memory(NEEDED, total=80 * GIB, free=79 * GIB, utilization=0.1, max_model_len=32768)


def test_demand_depends_on_dtype_adapters_devices_and_length(checkpoint: CheckpointMaker) -> None:
    folder = open_checkpoint(checkpoint(dtype="float32"))
    weights, adapters = folder.weights.num_bytes, folder.adapters.num_bytes if folder.adapters else 0
    half = demand(folder, make_options({}, "vllm"), 4096)
    assert half.weights == (weights + adapters) // 2
    assert half.kv_cache == 2 * 3 * 2 * 32 * 2 * 4096
    full = demand(folder, make_options({"dtype": "float32", "merge_adapter": "code"}, "vllm"), 4096)
    assert full.weights == weights
    assert full.kv_cache == 2 * half.kv_cache
    split = demand(folder, make_options({"tensor_parallel_size": 2}, "vllm"), 4096)
    assert split.weights == half.weights // 2


def test_demand_counts_merged_weights_of_all_tasks_and_graphs(checkpoint: CheckpointMaker) -> None:
    folder = open_checkpoint(checkpoint(dtype="float32"))
    plain = demand(folder, make_options({"bulk_weights": "lora", "graph_tokens": 0}, "vllm"), 4096)
    assert (plain.banks, plain.graphs) == (0, 0)
    merged = demand(folder, make_options({"graph_tokens": 4096}, "vllm"), 4096)
    names = [name for name in folder.weights.entries if ".layers." in name and "proj.weight" in name]
    values = sum(int(np.prod(folder.weights.entries[name].shape)) for name in names if "visual" not in name)
    assert merged.banks == 3 * 2 * values
    assert merged.graphs > 0


def test_merged_weights_without_room_are_announced(caplog: pytest.LogCaptureFixture) -> None:
    needed = Demand(int(7.6 * GIB), int(1.2 * GIB), banks=16 * GIB, graphs=GIB)
    with caplog.at_level("WARNING", "jina_embeddings"):
        log_room(needed, 31 * GIB)
        assert not caplog.messages
        log_room(needed, 24 * GIB)
    (message,) = caplog.messages
    assert "16.0 GiB and CUDA graphs 1.0, and 11.2 are free" in message


def test_start_up_failures_say_what_to_change(checkpoint: CheckpointMaker) -> None:
    folder, options = open_checkpoint(checkpoint(dtype="float32")), make_options({}, "vllm")
    memory = explain_start(ValueError("No available memory for the cache blocks."), folder, options)
    assert isinstance(memory, OutOfMemoryError)
    assert "lower max_model_len" in str(memory)
    other = explain_start(RuntimeError("something else"), folder, options)
    assert isinstance(other, EngineError)
    assert not isinstance(other, OutOfMemoryError)
    assert "something else" in str(other)


def test_a_host_without_the_memory_is_refused_with_the_numbers(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_checkpoint(checkpoint(dtype="float32"))
    monkeypatch.setattr("jina_embeddings.engine.memory.free_bytes", lambda device: GIB // 2)
    with pytest.raises(OutOfMemoryError, match=r"needs 1\.0 GiB on cpu, 0\.5 are free: lower max_model_len"):
        require_host_memory(folder, make_options({}, "vllm"), 4096)
