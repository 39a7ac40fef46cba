"""The vLLM engine against the independent reference: all tasks by request from one engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import parity
import pytest
from inputs import COSINE, TEXTS, picture
from reference import Reference

from jina_embeddings import TASKS, JinaEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine

OWN = "own_pooling:largest_norm"


@pytest.fixture(scope="module", params=TASKS)
def reference(request: pytest.FixtureRequest, checkpoint: CheckpointMaker) -> Reference:
    return Reference(checkpoint(dtype="float32"), request.param)


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_text_vectors_are_those_of_the_reference(
    vllm_model: JinaEmbeddings, reference: Reference, prompt_name: str
) -> None:
    parity.check_texts(vllm_model, reference, prompt_name)


def test_text_multivectors_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_text_multivectors(vllm_model, reference)


def test_images_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_images(vllm_model, reference)


def test_late_chunks_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_late_chunks(vllm_model, reference)


def test_the_rest_of_a_batch_does_not_change_a_vector(vllm_model: JinaEmbeddings) -> None:
    parity.check_company_does_not_matter(vllm_model)


def test_truncated_vectors_are_the_first_numbers_normalised_again(vllm_model: JinaEmbeddings) -> None:
    parity.check_matryoshka(vllm_model)


def test_tasks_and_kinds_mixed_at_the_same_time_stay_apart(
    vllm_model: JinaEmbeddings, transformers_model: JinaEmbeddings
) -> None:
    """Threads send all tasks, dense and multi-vector, texts and pictures, so that steps hold a mixture."""
    calls = [
        {"task": task, "return_multivector": multivector, "prompt_name": "passage"}
        for task in TASKS
        for multivector in (False, True)
    ] * 2
    inputs = [TEXTS["latin"], TEXTS["middling"], picture(150, 90), TEXTS["one letter"]]
    with ThreadPoolExecutor(len(calls)) as threads:
        results = list(threads.map(lambda options: vllm_model.encode(inputs, **options), calls))
    for options, result in zip(calls, results, strict=True):
        expected = transformers_model.encode(inputs, **options)
        for vector, wanted in zip(result, expected, strict=True):
            assert parity.cosines(vector, wanted).min() >= COSINE, options


def test_vectors_arrive_as_float32_arrays(vllm_model: JinaEmbeddings) -> None:
    vectors = vllm_model.encode_text(["one", "two"])
    assert isinstance(vectors, np.ndarray)
    assert vectors.dtype == np.float32


@pytest.fixture(scope="module")
def merged_model(checkpoint: CheckpointMaker) -> Iterator[JinaEmbeddings]:
    """One task merged, two shards, legacy names, and a pooling function of the tests' own."""
    folder = checkpoint(layout="merged", task="code", names="legacy", shards=2, dtype="bfloat16")
    with JinaEmbeddings(folder, engine="vllm", task="code", dtype="float32", pooling_type=OWN) as model:
        yield model


def test_a_merged_checkpoint_and_a_pooling_of_ones_own_run_in_the_worker(
    merged_model: JinaEmbeddings, checkpoint: CheckpointMaker
) -> None:
    folder = checkpoint(layout="merged", task="code", names="legacy", shards=2, dtype="bfloat16")
    texts = [TEXTS["latin"], TEXTS["han"], TEXTS["2,000 tokens"]]
    with JinaEmbeddings(
        folder, engine="transformers", task="code", dtype="float32", pooling_type=OWN
    ) as model:
        expected = model.encode_text(texts)
    assert merged_model.info.tasks == ("code",)
    assert parity.cosines(merged_model.encode_text(texts), expected).min() >= COSINE


def test_merge_adapter_loads_one_task_without_lora(checkpoint: CheckpointMaker) -> None:
    folder = checkpoint(dtype="float32", lora_alpha=20)
    reference = Reference(folder, "text-matching")
    with JinaEmbeddings(folder, engine="vllm", dtype="float32", merge_adapter="text-matching") as model:
        vector = model.encode_text(TEXTS["latin"])
        tokens = model.encode_text(TEXTS["latin"], return_multivector=True)
        image = model.encode_image(picture(90, 90))
    assert parity.cosines(vector, reference.text(TEXTS["latin"])) >= COSINE
    assert parity.cosines(tokens, reference.text_multivector(TEXTS["latin"])).min() >= COSINE
    assert parity.cosines(image, reference.image(picture(90, 90))) >= COSINE
