"""The engines without vLLM against the independent reference, in every layout and for every task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import parity
from inputs import COSINE, TEXTS, picture
from jina_embeddings import TASKS, JinaEmbeddings
from reference import Reference

if TYPE_CHECKING:
    from conftest import CheckpointMaker


@pytest.fixture(scope="module", params=["torch", "transformers"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def model(checkpoint: CheckpointMaker, engine: str) -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine=engine) as loaded:
        yield loaded


@pytest.fixture(params=TASKS)
def reference(request: pytest.FixtureRequest, references: dict[str, Reference]) -> Reference:
    return references[request.param]


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_text_vectors_are_those_of_the_reference(model: JinaEmbeddings, reference: Reference, prompt_name: str) -> None:
    parity.check_texts(model, reference, prompt_name)


def test_text_multivectors_are_those_of_the_reference(model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_text_multivectors(model, reference)


@pytest.mark.long
def test_images_are_those_of_the_reference(model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_images(model, reference)


def test_late_chunks_are_those_of_the_reference(model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_late_chunks(model, reference)


@pytest.mark.long
def test_the_rest_of_a_batch_does_not_change_a_vector(model: JinaEmbeddings) -> None:
    parity.check_company_does_not_matter(model)


def test_truncated_vectors_are_the_first_numbers_normalised_again(model: JinaEmbeddings) -> None:
    parity.check_matryoshka(model)


LAYOUTS = [
    {"layout": layout, "names": names, "shards": shards, "dtype": dtype}
    for layout in ("multi-task", "merged")
    for names, shards, dtype in [
        ("legacy", 1, "float32"),
        ("legacy", 3, "bfloat16"),
        ("current", 1, "float16"),
        ("current", 2, "bfloat16"),
    ]
]


@pytest.mark.parametrize("arguments", LAYOUTS, ids=lambda arguments: "-".join(map(str, arguments.values())))
def test_every_layout_gives_the_vectors_of_the_reference(
    checkpoint: CheckpointMaker, engine: str, arguments: dict[str, Any]
) -> None:
    folder = checkpoint(**arguments, **({"task": "code"} if arguments["layout"] == "merged" else {}))
    reference = Reference(folder, "code")
    image = picture(200, 100)
    with JinaEmbeddings(folder, engine=engine, dtype="float32", task="code") as loaded:
        for text in (TEXTS["latin"], TEXTS["middling"]):
            assert parity.cosines(loaded.encode_text(text), reference.text(text)) >= COSINE
        assert parity.cosines(loaded.encode_image(image), reference.image(image)) >= COSINE


def test_an_adapter_whose_scaling_is_not_one_is_scaled(checkpoint: CheckpointMaker, engine: str) -> None:
    folder = checkpoint(dtype="float32", lora_alpha=20)
    reference = Reference(folder, "retrieval")
    with JinaEmbeddings(folder, engine=engine) as loaded:
        vector = loaded.encode_text(TEXTS["latin"])
        tokens = loaded.encode_text(TEXTS["latin"], return_multivector=True)
    assert parity.cosines(vector, reference.text(TEXTS["latin"])) >= COSINE
    assert parity.cosines(tokens, reference.text_multivector(TEXTS["latin"])).min() >= COSINE


@pytest.mark.parametrize("task", TASKS)
def test_a_merged_adapter_gives_the_vectors_of_the_switched_one(
    checkpoint: CheckpointMaker, engine: str, model: JinaEmbeddings, task: str
) -> None:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine=engine, merge_adapter=task) as loaded:
        merged = loaded.encode_text(TEXTS["latin"])
        tokens = loaded.encode_text(TEXTS["latin"], return_multivector=True)
    expected = model.encode_text(TEXTS["latin"], task=task)
    assert parity.cosines(merged, expected) >= COSINE
    rows = model.encode_text(TEXTS["latin"], task=task, return_multivector=True)
    assert parity.cosines(tokens, rows).min() >= COSINE


@pytest.mark.parametrize("how", ["max", "first", "last"])
def test_other_poolings_are_those_of_the_reference(checkpoint: CheckpointMaker, engine: str, how: str) -> None:
    folder = checkpoint(dtype="float32")
    reference = Reference(folder, "retrieval")
    with JinaEmbeddings(folder, engine=engine, pooling_type=how) as loaded:
        vectors = loaded.encode_text([TEXTS["latin"], TEXTS["middling"]])
    assert parity.cosines(vectors[0], reference.text_pooled(TEXTS["latin"], how)) >= COSINE
    assert parity.cosines(vectors[1], reference.text_pooled(TEXTS["middling"], how)) >= COSINE


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.999), ("float16", 0.9999)])
def test_half_precision_stays_near_the_reference(
    checkpoint: CheckpointMaker, engine: str, dtype: str, least: float
) -> None:
    folder = checkpoint(dtype="float32")
    reference = Reference(folder, "retrieval")
    with JinaEmbeddings(folder, engine=engine, dtype=dtype) as loaded:
        vector = loaded.encode_text(TEXTS["middling"])
    assert parity.cosines(vector, reference.text(TEXTS["middling"])) >= least
