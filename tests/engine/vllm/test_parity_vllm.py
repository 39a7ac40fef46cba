"""The vLLM engine against the independent reference: all tasks by request from one engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import parity
from inputs import COSINE, TEXTS, picture
from jina_embeddings import TASKS, JinaEmbeddings
from reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jina_embeddings.engine.vllm.engine import VllmEngine

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("path")]


@pytest.fixture(scope="module", params=["scheduled", "packed"])
def path(request: pytest.FixtureRequest, vllm_engine: VllmEngine) -> Iterator[str]:
    """The engine on the packed and on the scheduled path; every test here runs on both."""
    vllm_engine.path = request.param
    yield request.param
    vllm_engine.path = "auto"


@pytest.fixture(params=TASKS)
def reference(request: pytest.FixtureRequest, references: dict[str, Reference]) -> Reference:
    return references[request.param]


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_text_vectors_are_those_of_the_reference(
    vllm_model: JinaEmbeddings, reference: Reference, prompt_name: str
) -> None:
    parity.check_texts(vllm_model, reference, prompt_name)


def test_text_multivectors_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_text_multivectors(vllm_model, reference)


def test_texts_that_begin_alike_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_texts_that_begin_alike(vllm_model, reference)


def test_images_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_images(vllm_model, reference)


def test_late_chunks_are_those_of_the_reference(vllm_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_late_chunks(vllm_model, reference)


def test_the_rest_of_a_batch_does_not_change_a_vector(vllm_model: JinaEmbeddings) -> None:
    parity.check_company_does_not_matter(vllm_model)


def test_truncated_vectors_are_the_first_numbers_normalised_again(vllm_model: JinaEmbeddings) -> None:
    parity.check_matryoshka(vllm_model)


def test_tasks_and_kinds_mixed_at_the_same_time_stay_apart(
    vllm_model: JinaEmbeddings, torch_model: JinaEmbeddings
) -> None:
    """Threads send all tasks, dense and multi-vectors, texts and images, so that scheduling steps mix them."""
    calls: list[dict[str, Any]] = [
        {"task": task, "return_multivector": multivector, "prompt_name": "passage"}
        for task in TASKS
        for multivector in (False, True)
    ] * 2
    inputs: list[Any] = [TEXTS["latin"], TEXTS["middling"], picture(150, 90), TEXTS["one letter"]]
    with ThreadPoolExecutor(len(calls)) as threads:
        results = list(threads.map(lambda options: vllm_model.encode(inputs, **options), calls))
    for options, result in zip(calls, results, strict=True):
        expected = torch_model.encode(inputs, **options)
        for vector, wanted in zip(result, expected, strict=True):
            assert parity.cosines(vector, wanted).min() >= COSINE, options


def test_vectors_arrive_as_float32_arrays(vllm_model: JinaEmbeddings) -> None:
    vectors = vllm_model.encode_text(["one", "two"])
    assert isinstance(vectors, np.ndarray)
    assert vectors.dtype == np.float32
