"""Memory of the engines without vLLM: what is needed, and batches that don't fit."""

from __future__ import annotations

import itertools
import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from close import assert_close
from inputs import SCRIPTS
from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine import memory
from jina_embeddings.engine import padded as module
from jina_embeddings.engine import torch as torch_engine
from jina_embeddings.engine.memory import GIB, free_bytes, require_memory
from jina_embeddings.engine.padded import Model, PaddedEngine
from jina_embeddings.engine.torch import TorchEngine
from jina_embeddings.errors import OutOfMemoryError
from jina_embeddings.options import Options

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings.types import FloatArray, Prepared


def limit_memory(monkeypatch: pytest.MonkeyPatch, most_inputs: int) -> list[int]:
    """Makes forwards of more inputs than that run out of memory; returns the batch sizes that were tried."""
    tried: list[int] = []
    original = PaddedEngine._run_batch

    def run(self: PaddedEngine, model: Model, batch: Sequence[Prepared]) -> list[FloatArray]:
        tried.append(len(batch))
        if len(batch) > most_inputs:
            raise torch.OutOfMemoryError("tried to allocate 3 GiB")
        return original(self, model, batch)

    monkeypatch.setattr(PaddedEngine, "_run_batch", run)
    return tried


@pytest.mark.parametrize("most_inputs", [1, 2, 3, 12])
@pytest.mark.parametrize("multivector", [False, True])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    torch_model: JinaEmbeddings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    most_inputs: int,
    multivector: bool,
) -> None:
    texts = list(SCRIPTS.values())
    expected = torch_model.encode_text(texts, return_multivector=multivector)
    tried = limit_memory(monkeypatch, most_inputs)
    with caplog.at_level(logging.WARNING, "jina_embeddings"):
        found = torch_model.encode_text(texts, return_multivector=multivector)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)
    assert tried[0] == len(texts) == 12
    assert sum(size for size in tried if size <= most_inputs) == len(texts)
    halved = [size for size in tried if size > most_inputs]
    assert len(caplog.records) == len(halved)
    assert all("max_batch_tokens" in record.getMessage() for record in caplog.records)


def test_one_input_that_does_not_fit_is_an_error_with_its_length(
    torch_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_tokens = len(torch_model.encode_text("some text", return_multivector=True))
    limit_memory(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=rf"input of {num_tokens} tokens.*lower max_model_len.*3 GiB") as error:
        torch_model.encode_text(["some text", "a"])
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)
    monkeypatch.undo()
    assert torch_model.encode_text("and it goes on").shape == (128,)


def test_another_failure_is_not_reported_as_out_of_memory(
    torch_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(self: PaddedEngine, model: Model, batch: Sequence[Prepared]) -> list[FloatArray]:
        calls.append(len(batch))
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(PaddedEngine, "_run_batch", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        torch_model.encode_text(["a", "b"])
    assert calls == [2]


def test_too_little_memory_is_an_error_with_both_numbers_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3 * GIB)
    require_memory(3 * GIB, "cuda:1", "buy more")
    with pytest.raises(OutOfMemoryError, match=r"needs 7\.5 GiB on cuda:1, 3\.0 are free: buy more"):
        require_memory(15 * GIB // 2, "cuda:1", "buy more")


def test_unknown_free_memory_is_no_error() -> None:
    assert free_bytes("mps") is None
    require_memory(10**18, "mps", "")
    found = free_bytes("cpu")
    assert found is not None
    assert 0 < found < 10**15


def test_a_model_that_does_not_fit_is_not_loaded(checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(torch_engine, "load_model", lambda *_: pytest.fail("was loaded"))
    with pytest.raises(OutOfMemoryError, match=r"GiB on cpu, 0\.0 are free: .*torch\.float32"):
        JinaEmbeddings(checkpoint(), engine="torch")


@pytest.mark.parametrize("said", [True, False], ids=["config says the dtype", "config is silent"])
@pytest.mark.parametrize(
    ("stored", "wanted", "item_size"),
    [("float32", "float32", 4), ("float32", "bfloat16", 2), ("bfloat16", "float32", 4), ("bfloat16", "float16", 2)],
)
def test_needed_memory_is_computed_for_the_dtype_that_is_loaded(
    checkpoint: CheckpointMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: str,
    wanted: str,
    item_size: int,
    said: bool,
) -> None:
    folder = checkpoint(dtype=stored)
    if not said:
        folder = Path(shutil.copytree(folder, tmp_path / "silent"))
        text = re.sub(r'\s*"torch_dtype": "\w+",?', "", (folder / "config.json").read_text())
        (folder / "config.json").write_text(re.sub(r",(\s*})", r"\1", text))
        assert "dtype" not in json.dumps(json.loads((folder / "config.json").read_text()))
    asked: list[int] = []

    def note(needed: int, device: str, remedy: str) -> None:
        asked.append(needed)
        raise OutOfMemoryError(remedy)

    monkeypatch.setattr(module, "require_memory", note)
    opened = open_checkpoint(folder)
    assert opened.adapters is not None
    entries = [*opened.weights.entries.values(), *itertools.chain(*opened.adapters.pairs.values())]
    num_numbers = sum(int(np.prod(entry.shape)) for entry in entries)
    with pytest.raises(OutOfMemoryError):
        TorchEngine(opened, Options(dtype=wanted))  # type: ignore[arg-type]
    assert asked == [num_numbers * item_size]
