"""Packs on weight banks give the vectors of LoRA, and vLLM's scheduled steps still use the base weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import parity
from inputs import COSINE, few_of_each_kind
from jina_embeddings import TASKS, JinaEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def merged_model(checkpoint: CheckpointMaker) -> Iterator[JinaEmbeddings]:
    """An engine with weight banks, which `auto` wouldn't make on a CPU; the adapters' scaling is not 1."""
    folder = checkpoint(dtype="float32", lora_alpha=16)
    with JinaEmbeddings(folder, engine="vllm", bulk_weights="merged", path="packed") as model:
        yield model


def test_merged_packs_and_the_scheduler_take_turns(merged_model: JinaEmbeddings, checkpoint: CheckpointMaker) -> None:
    engine = merged_model._engine
    inputs = few_of_each_kind()
    with JinaEmbeddings(checkpoint(dtype="float32", lora_alpha=16), engine="torch") as reference:
        expected = {task: reference.encode(inputs, task=task, prompt_name="passage") for task in TASKS}
        for task in (*TASKS, *TASKS[::-1]):
            for path in ("packed", "scheduled", "packed"):
                engine.path = path  # type: ignore[attr-defined]
                vectors = merged_model.encode(inputs, task=task, prompt_name="passage")
                assert parity.cosines(vectors, expected[task]).min() >= COSINE, (task, path)


def test_tasks_have_banks_of_their_own(merged_model: JinaEmbeddings) -> None:
    merged_model._engine.path = "packed"  # type: ignore[attr-defined]
    vectors = [merged_model.encode_text("one text", task=task, prompt_name="query") for task in TASKS]
    assert np.inner(vectors, vectors)[np.triu_indices(3, 1)].max() < 0.999
