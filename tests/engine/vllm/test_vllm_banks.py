"""Packs on weight banks give the vectors of LoRA, and vLLM's scheduled steps still use the base weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

import parity
from inputs import COSINE, few_of_each_kind
from jina_embeddings import TASKS, JinaEmbeddings
from loaded import vllm_loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

    from jina_embeddings.engine.vllm.engine import VllmEngine

pytestmark = pytest.mark.engine


Merged: TypeAlias = "tuple[JinaEmbeddings, VllmEngine]"


@pytest.fixture(scope="module")
def merged(checkpoint: CheckpointMaker) -> Iterator[Merged]:
    """A model with weight banks, which `auto` wouldn't make on a CPU, and its engine; adapters' scaling is not 1."""
    folder = checkpoint(dtype="float32", lora_alpha=16)
    with vllm_loaded(folder, bulk_weights="merged", path="packed") as loaded:
        yield loaded


def test_merged_packs_and_the_scheduler_take_turns(merged: Merged, checkpoint: CheckpointMaker) -> None:
    model, engine = merged
    inputs = few_of_each_kind()
    with JinaEmbeddings(checkpoint(dtype="float32", lora_alpha=16), engine="torch") as reference:
        expected = {task: reference.encode(inputs, task=task, prompt_name="passage") for task in TASKS}
        for task in (*TASKS, *TASKS[::-1]):
            for path in ("packed", "scheduled", "packed"):
                engine.path = path
                vectors = model.encode(inputs, task=task, prompt_name="passage")
                assert parity.cosines(vectors, expected[task]).min() >= COSINE, (task, path)


def test_tasks_have_banks_of_their_own(merged: Merged) -> None:
    model, engine = merged
    engine.path = "packed"
    vectors = [model.encode_text("one text", task=task, prompt_name="query") for task in TASKS]
    assert np.inner(vectors, vectors)[np.triu_indices(3, 1)].max() < 0.999
