"""The Transformers engine against the independent reference, in every layout and for every task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import parity
from inputs import COSINE, TEXTS, picture
from jina_embeddings import TASKS, JinaEmbeddings
from reference import Reference

if TYPE_CHECKING:
    from conftest import CheckpointMaker


@pytest.fixture(scope="module", params=TASKS)
def reference(request: pytest.FixtureRequest, checkpoint: CheckpointMaker) -> Reference:
    return Reference(checkpoint(dtype="float32"), request.param)


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_text_vectors_are_those_of_the_reference(
    transformers_model: JinaEmbeddings, reference: Reference, prompt_name: str
) -> None:
    parity.check_texts(transformers_model, reference, prompt_name)


def test_text_multivectors_are_those_of_the_reference(transformers_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_text_multivectors(transformers_model, reference)


def test_images_are_those_of_the_reference(transformers_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_images(transformers_model, reference)


def test_late_chunks_are_those_of_the_reference(transformers_model: JinaEmbeddings, reference: Reference) -> None:
    parity.check_late_chunks(transformers_model, reference)


def test_the_rest_of_a_batch_does_not_change_a_vector(transformers_model: JinaEmbeddings) -> None:
    parity.check_company_does_not_matter(transformers_model)


def test_truncated_vectors_are_the_first_numbers_normalised_again(transformers_model: JinaEmbeddings) -> None:
    parity.check_matryoshka(transformers_model)


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
def test_every_layout_gives_the_vectors_of_the_reference(checkpoint: CheckpointMaker, arguments: dict) -> None:
    folder = checkpoint(**arguments, **({"task": "code"} if arguments["layout"] == "merged" else {}))
    reference = Reference(folder, "code")
    image = picture(200, 100)
    with JinaEmbeddings(folder, engine="transformers", dtype="float32", task="code") as model:
        for text in (TEXTS["latin"], TEXTS["middling"]):
            assert parity.cosines(model.encode_text(text), reference.text(text)) >= COSINE
        assert parity.cosines(model.encode_image(image), reference.image(image)) >= COSINE


def test_an_adapter_whose_scaling_is_not_one_is_scaled(checkpoint: CheckpointMaker) -> None:
    folder = checkpoint(dtype="float32", lora_alpha=20)
    reference = Reference(folder, "retrieval")
    with JinaEmbeddings(folder, engine="transformers") as model:
        vector = model.encode_text(TEXTS["latin"])
        tokens = model.encode_text(TEXTS["latin"], return_multivector=True)
    assert parity.cosines(vector, reference.text(TEXTS["latin"])) >= COSINE
    assert parity.cosines(tokens, reference.text_multivector(TEXTS["latin"])).min() >= COSINE


@pytest.mark.parametrize("task", TASKS)
def test_a_merged_adapter_gives_the_vectors_of_the_switched_one(
    checkpoint: CheckpointMaker, transformers_model: JinaEmbeddings, task: str
) -> None:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine="transformers", merge_adapter=task) as model:
        merged = model.encode_text(TEXTS["latin"])
        tokens = model.encode_text(TEXTS["latin"], return_multivector=True)
    expected = transformers_model.encode_text(TEXTS["latin"], task=task)
    assert parity.cosines(merged, expected) >= COSINE
    rows = transformers_model.encode_text(TEXTS["latin"], task=task, return_multivector=True)
    assert parity.cosines(tokens, rows).min() >= COSINE


@pytest.mark.parametrize("how", ["max", "first", "last"])
def test_other_poolings_are_those_of_the_reference(checkpoint: CheckpointMaker, how: str) -> None:
    folder = checkpoint(dtype="float32")
    reference = Reference(folder, "retrieval")
    with JinaEmbeddings(folder, engine="transformers", pooling_type=how) as model:
        vectors = model.encode_text([TEXTS["latin"], TEXTS["middling"]])
    assert parity.cosines(vectors[0], reference.text_pooled(TEXTS["latin"], how)) >= COSINE
    assert parity.cosines(vectors[1], reference.text_pooled(TEXTS["middling"], how)) >= COSINE


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.999), ("float16", 0.9999)])
def test_half_precision_stays_near_the_reference(checkpoint: CheckpointMaker, dtype: str, least: float) -> None:
    folder = checkpoint(dtype="float32")
    reference = Reference(folder, "retrieval")
    with JinaEmbeddings(folder, engine="transformers", dtype=dtype) as model:
        vector = model.encode_text(TEXTS["middling"])
    assert parity.cosines(vector, reference.text(TEXTS["middling"])) >= least
