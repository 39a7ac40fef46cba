"""The vLLM engine against the independent reference: all tasks by request from one engine."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import parity
import psutil
import pytest
from inputs import COSINE, TEXTS, picture
from reference import Reference

from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.errors import EngineDeadError, TaskUnavailableError

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
    with JinaEmbeddings(folder, engine="transformers", task="code", dtype="float32", pooling_type=OWN) as model:
        expected = model.encode_text(texts)
    assert merged_model.info.tasks == ("code",)
    assert parity.cosines(merged_model.encode_text(texts), expected).min() >= COSINE


@pytest.fixture
def one_task_model(checkpoint: CheckpointMaker) -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(
        checkpoint(dtype="float32", lora_alpha=20), engine="vllm", dtype="float32", merge_adapter="text-matching"
    ) as model:
        yield model


def test_a_merged_adapter_works_until_its_process_is_killed(
    one_task_model: JinaEmbeddings, checkpoint: CheckpointMaker
) -> None:
    model = one_task_model
    reference = Reference(checkpoint(dtype="float32", lora_alpha=20), "text-matching")
    assert parity.cosines(model.encode_text(TEXTS["latin"]), reference.text(TEXTS["latin"])) >= COSINE
    tokens = model.encode_text(TEXTS["latin"], return_multivector=True)
    assert parity.cosines(tokens, reference.text_multivector(TEXTS["latin"])).min() >= COSINE
    image = picture(90, 90)
    assert parity.cosines(model.encode_image(image), reference.image(image)) >= COSINE
    with pytest.raises(TaskUnavailableError):
        model.encode_text("x", task="code")

    killer = threading.Timer(1.0, _kill_engine)
    killer.start()
    started = time.monotonic()
    with pytest.raises(EngineDeadError):
        model.encode_text([f"{i} {TEXTS['middling']}" for i in range(20_000)])
    assert time.monotonic() - started < 60, "a dead engine must not keep its callers waiting"
    with pytest.raises(EngineDeadError):
        model.encode_text("x")


def _kill_engine() -> None:
    """Ends the newest engine process of this test run, as the system does when memory runs out."""
    children = psutil.Process().children(recursive=True)
    engines = [child for child in children if "EngineCore" in " ".join(child.cmdline()) or "EngineCore" in child.name()]
    max(engines, key=lambda child: child.create_time()).kill()
