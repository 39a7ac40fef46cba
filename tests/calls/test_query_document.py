"""`encode_query` and `encode_document` are `encode` with the prompt of each, on every way."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings

TEXTS = ["how is bread made", "what is white"]


@pytest.mark.parametrize("task", [None, "retrieval", "code", "text-matching"])
@pytest.mark.parametrize("options", [{}, {"truncate_dim": 128}, {"return_multivector": True}])
def test_they_are_the_two_prompts(fake_model: JinaEmbeddings, task: str | None, options: dict[str, Any]) -> None:
    if task is not None:
        options = {**options, "task": task}
    for named, anamed, prompt_name in (
        (fake_model.encode_query, fake_model.aencode_query, "query"),
        (fake_model.encode_document, fake_model.aencode_document, "passage"),
    ):
        expected = fake_model.encode_text(TEXTS, prompt_name=prompt_name, **options)
        for found in (named(TEXTS, **options), asyncio.run(anamed(TEXTS, **options))):
            assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_question_is_no_document_and_one_input_gives_one_vector(fake_model: JinaEmbeddings) -> None:
    query, document = fake_model.encode_query(TEXTS[0]), fake_model.encode_document(TEXTS[0])
    assert query.shape == document.shape == (fake_model.info.hidden_size,)
    assert not np.array_equal(query, document)


def test_documents_may_be_pictures(fake_model: JinaEmbeddings) -> None:
    image = Image.new("RGB", (56, 56), "red")
    found = fake_model.encode_document([TEXTS[0], image])
    assert np.array_equal(found[1], fake_model.encode_image(image))
