"""The engines without vLLM: batches, devices, dtypes, tasks and closing."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from close import assert_close
from inputs import SCRIPTS, long_text, picture
from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.checkpoint import Checkpoint, open_checkpoint
from jina_embeddings.engine import padded as module
from jina_embeddings.engine.padded import Model, PaddedEngine
from jina_embeddings.engine.torch import TorchEngine
from jina_embeddings.errors import EngineClosedError, EngineUnavailableError, OptionError, TaskUnavailableError
from jina_embeddings.inputs.processor import Processor
from jina_embeddings.model.network import Network
from jina_embeddings.options import make_options

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings.types import FloatArray, Prepared, Task


class Engine(TorchEngine):
    """The torch engine with a weak reference to the network that it has loaded."""

    def load(self, checkpoint: Checkpoint, merge_adapter: Task | None) -> Network:
        network = super().load(checkpoint, merge_adapter)
        self.network = weakref.ref(network)
        return network


def engine_on(folder: Path, **options: Any) -> Engine:
    return Engine(open_checkpoint(folder), make_options(options, "torch"))


@pytest.fixture(scope="module")
def engine(checkpoint: CheckpointMaker) -> Iterator[Engine]:
    engine = engine_on(checkpoint(dtype="float32"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def processor(checkpoint: CheckpointMaker) -> Processor:
    return Processor.from_checkpoint(open_checkpoint(checkpoint(dtype="float32")), max_length=2000)


# One call with everything in it


def prepare(processor: Processor, multivector: bool, task: Task) -> list[Prepared]:
    texts = processor.texts([SCRIPTS["latin"], "a", long_text(60)], task, "passage")
    chunks = processor.chunks([SCRIPTS["greek"], "b", SCRIPTS["thai"]], task, "passage")
    images = processor.images([picture(90, 60), picture(28, 28)], task)
    items: list[Any] = [*texts, chunks, *images]
    form = {"multivector": True, "spans": ()} if multivector else {}
    return [replace(item, **form, pooling=how) for item in items for how in ("mean", "last")]


def test_one_call_may_mix_tasks_kinds_and_poolings(engine: Engine, processor: Processor) -> None:
    batch = [item for task in TASKS for multivector in (False, True) for item in prepare(processor, multivector, task)]
    together = engine.run(batch)
    assert len(together) == len(batch)
    for index in range(0, len(batch), 5):
        item, output = batch[index], together[index]
        assert output.dtype == np.float32
        expected_shape = (item.num_tokens, 32) if item.multivector else (len(item.spans), 128)
        assert output.shape == expected_shape
        assert_close(output, engine.run([item])[0])


def test_one_thread_loads_the_model_and_runs_batches(checkpoint: CheckpointMaker) -> None:
    """Two threads that compute have a pool of threads each, which takes twice as long where cores are few."""
    threads: list[str] = []

    class Seen(TorchEngine):
        def load(self, checkpoint: Checkpoint, merge_adapter: Task | None) -> Network:
            threads.append(threading.current_thread().name)
            return super().load(checkpoint, merge_adapter)

        def _forward(self, batch: Any) -> Any:
            threads.append(threading.current_thread().name)
            return super()._forward(batch)

    folder = checkpoint(dtype="float32")
    seen = Seen(open_checkpoint(folder), make_options({}, "torch"))
    try:
        with JinaEmbeddings(folder, engine=seen) as model:
            model.encode_text(["one", "two"])
            asyncio.run(model.aencode_text("three"))
    finally:
        seen.close()
    assert len(threads) >= 3
    assert len(set(threads)) == 1
    assert threading.current_thread().name not in threads


def test_an_empty_batch_runs_no_forward(engine: Engine, batches: list[list[int]]) -> None:
    assert engine.run([]) == []
    assert batches == []


# Batches


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Records the lengths of the inputs of each forward."""
    seen: list[list[int]] = []
    original = PaddedEngine._run_batch

    def record(self: PaddedEngine, model: Model, batch: Sequence[Prepared]) -> list[FloatArray]:
        seen.append([item.num_tokens for item in batch])
        return original(self, model, batch)

    monkeypatch.setattr(PaddedEngine, "_run_batch", record)
    return seen


def test_forwards_stay_within_their_bounds(checkpoint: CheckpointMaker, batches: list[list[int]]) -> None:
    texts = [long_text(number) for number in (1, 2, 3, 30, 31, 60, 5, 8)]
    with JinaEmbeddings(checkpoint(dtype="float32"), engine="torch", max_batch_tokens=200) as model:
        model.encode_text(texts)
        assert all(len(lengths) * max(lengths) <= 200 or len(lengths) == 1 for lengths in batches)
        assert sum(map(len, batches)) == len(texts)
        assert sum(model.pack_fill.counts) == len(batches)
        assert model.pack_fill.total == pytest.approx(sum(min(200, sum(lengths)) for lengths in batches) / 200)
        batches.clear()
        model.encode_text(texts, batch_size=2)
        assert max(map(len, batches)) == 2
        batches.clear()
        model.encode_text(texts, batch_size=1)
        assert [len(lengths) for lengths in batches] == [1] * len(texts)


def test_a_text_over_the_models_length_is_cut(checkpoint: CheckpointMaker, batches: list[list[int]]) -> None:
    text = long_text(100)
    folder = checkpoint(dtype="float32")
    engine = engine_on(folder, max_model_len=40)
    assert engine.max_length == 40
    with JinaEmbeddings(folder, engine=engine, max_model_len=40) as short:
        vector = short.encode_text(text)
        assert short.encode_text(text, return_multivector=True).shape == (40, 32)
        assert short.encode_text(text, return_multivector=True, max_length=1000).shape == (40, 32)
    assert batches == [[40]] * 3
    with JinaEmbeddings(folder, engine="torch") as model:
        assert_close(vector, model.encode_text(text, max_length=40))
        assert len(model.encode_text(text, return_multivector=True)) > 100


def test_a_length_that_the_model_has_no_positions_for_is_refused(checkpoint: CheckpointMaker) -> None:
    with pytest.raises(OptionError, match=r"max_model_len.*128000"):
        JinaEmbeddings(checkpoint(), engine="torch", max_model_len=128_001)


# Devices and dtypes


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "xpu"])
def test_a_missing_device_is_engine_unavailable(checkpoint: CheckpointMaker, device: str) -> None:
    with pytest.raises((OptionError, EngineUnavailableError), match=device):
        JinaEmbeddings(checkpoint(), engine="torch", device=device)


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_best_device_is_chosen(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert module._best_device() == best


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda", torch.bfloat16),
        ("auto", "mps", torch.float32),
        ("bfloat16", "cpu", torch.bfloat16),
        ("float16", "cuda", torch.float16),
        ("float32", "cuda", torch.float32),
    ],
)
def test_dtype_is_the_option_or_the_devices_default(name: str, device: str, dtype: torch.dtype) -> None:
    assert module._dtype(name, torch.device(device)) == dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_held_in_the_dtype_and_vectors_come_in_float32(checkpoint: CheckpointMaker, dtype: str) -> None:
    engine = engine_on(checkpoint(), dtype=dtype, device="cpu")
    with JinaEmbeddings(checkpoint(), engine=engine) as model:
        network = engine.network()
        assert network is not None
        parameters = list(network.parameters())
        assert {str(parameter.dtype) for parameter in parameters} == {f"torch.{dtype}"}
        assert not any(parameter.requires_grad for parameter in parameters)
        assert model.encode_text("a").dtype == np.float32
        assert model.encode_text("a", return_multivector=True).dtype == np.float32
        assert model.encode_image(picture(28, 28)).dtype == np.float32


# Tasks


def test_threads_with_different_tasks_get_their_own_vectors(torch_model: JinaEmbeddings) -> None:
    texts = [SCRIPTS["latin"], SCRIPTS["han"], long_text(30)]
    calls: list[dict[str, Any]] = [
        {"task": task, "return_multivector": multivector, "batch_size": 1}
        for task in TASKS
        for multivector in (False, True)
    ]
    expected = [torch_model.encode_text(texts, **options) for options in calls]
    assert all(np.abs(one - other).max() > 0.01 for one, other in itertools.combinations(expected[::2], 2))
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda options: torch_model.encode_text(texts, **options), calls * 4))
    for found, wanted in zip(results, expected * 4, strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other)


def test_asyncio_tasks_share_the_engine(torch_model: JinaEmbeddings) -> None:
    async def main() -> list[Any]:
        calls = [torch_model.aencode_text(SCRIPTS["latin"], task=task) for task in TASKS * 3]
        return list(await asyncio.gather(*calls))

    expected = [torch_model.encode_text(SCRIPTS["latin"], task=task) for task in TASKS] * 3
    assert_close(asyncio.run(main()), expected)


@pytest.mark.parametrize("merged", TASKS)
def test_a_merged_adapter_answers_for_its_own_task_only(checkpoint: CheckpointMaker, merged: str) -> None:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine="torch", merge_adapter=merged) as model:
        assert model.info.tasks == (merged,)
        assert model.task == merged
        assert model.encode_text("a").shape == (128,)
        for other in set(TASKS) - {merged}:
            with pytest.raises(TaskUnavailableError, match=f"{merged}, not '{other}'"):
                model.encode_text("a", task=other)
            with pytest.raises(TaskUnavailableError, match=f"{merged}, not '{other}'"):
                model.encode_image(picture(28, 28), task=other)


def test_a_task_that_the_checkpoint_lacks_can_not_be_merged(checkpoint: CheckpointMaker) -> None:
    with pytest.raises(TaskUnavailableError, match="retrieval, code, not 'text-matching'"):
        JinaEmbeddings(checkpoint(tasks=("retrieval", "code")), engine="torch", merge_adapter="text-matching")


def test_adapters_of_some_tasks_go_to_the_right_calls(checkpoint: CheckpointMaker, torch_model: JinaEmbeddings) -> None:
    """With one task fewer, the other tasks have other indices among the loaded adapters."""
    folder = checkpoint(dtype="float32", tasks=("text-matching", "code"))
    with JinaEmbeddings(folder, engine="torch") as model:
        assert model.task == "text-matching"
        for task in ("text-matching", "code"):
            assert_close(model.encode_text("a text", task=task), torch_model.encode_text("a text", task=task))
        with pytest.raises(TaskUnavailableError, match="retrieval"):
            model.encode_text("a text", task="retrieval")


# The end


def test_closing_frees_the_model(checkpoint: CheckpointMaker) -> None:
    engine = engine_on(checkpoint())
    model = JinaEmbeddings(checkpoint(), engine=engine)
    model.encode_text("a")
    network = engine.network()
    assert network is not None
    weights = weakref.ref(next(network.parameters()))
    del network
    model.close()
    model.close()
    gc.collect()
    assert weights() is None
    calls: tuple[Callable[[], Any], ...] = (
        lambda: model.encode_text("a"),
        lambda: asyncio.run(model.aencode_text("a")),
    )
    for call in calls:
        with pytest.raises(EngineClosedError, match="make a new JinaEmbeddings"):
            call()


def test_a_call_in_progress_fails_when_the_engine_is_closed(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = JinaEmbeddings(checkpoint(), engine="torch")
    num_forwards, running = 0, threading.Event()
    original = PaddedEngine._run_batch

    def count(self: PaddedEngine, loaded: Model, batch: Sequence[Prepared]) -> list[FloatArray]:
        nonlocal num_forwards
        num_forwards += 1
        running.set()
        return original(self, loaded, batch)

    monkeypatch.setattr(PaddedEngine, "_run_batch", count)
    texts = [f"text {number}" for number in range(400)]
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(model.encode_text, texts, batch_size=1)
        assert running.wait(10)
        model.close()
        with pytest.raises(EngineClosedError):
            call.result(10)
    assert num_forwards < len(texts)


def test_garbage_collection_is_enabled_again_after_loading(checkpoint: CheckpointMaker) -> None:
    assert gc.isenabled()
    with JinaEmbeddings(checkpoint(), engine="torch"):
        assert gc.isenabled()
