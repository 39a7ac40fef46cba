"""Errors name what the client sent, by the name that it has in its dialect; warnings are not for the server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

EMBED, TOKENS, RERANK, COHERE = "/v1/embeddings", "/v1/multi-vector", "/v1/rerank", "/v2/embed"
LONG = "word " * 40_000
NO_IMAGE, NO_PDF = {"image": "AAAA"}, {"pdf": "AAAA"}
SEARCH = {"input_type": "search_query"}


@pytest.mark.parametrize(
    ("path", "body", "field", "says"),
    [
        (EMBED, {"input": "a", "dimensions": 3}, "dimensions", "3 is not one that fake was trained for: choose"),
        (EMBED, {"input": "a", "dimensions": "3"}, "dimensions", "Expected `int | null`, got `str`"),
        (TOKENS, {"input": "a", "dimensions": 128}, "dimensions", "multi-vectors can't be truncated: leave it out"),
        (EMBED, {"input": "a", "task": "retrival.query"}, "task", "did you mean 'retrieval.query'?"),
        (EMBED, {"input": "a", "embedding_type": "binry"}, "embedding_type", "choose one of 'base64', 'binary', "),
        (EMBED, {"input": "a", "embedding_type": []}, "embedding_type", "Expected `array` of length >= 1"),
        (EMBED, {"input": "a", "embedding_type": ["no"]}, "embedding_type[0]", "choose one of 'base64', "),
        (EMBED, {"input": "a", "normalized": False}, "normalized", "leave it out"),
        (EMBED, {"input": []}, "input", "the list is empty"),
        (EMBED, {"input": ""}, "input", "a text is empty: leave it out"),
        (EMBED, {"input": ["a", ""]}, "input[1]", "a text is empty: leave it out"),
        (EMBED, {"input": ["a", LONG]}, "input[1]", "shorten it, or have it truncated"),
        (EMBED, {"input": ["a", 1]}, "input[1]", 'expected a text, {"text": ...}, {"image": '),
        (EMBED, {"input": ["a", [1, 2]]}, "input[1]", "have `token_ids` set"),
        (EMBED, {"input": ["a", NO_IMAGE]}, "input[1]", "an image is none of "),
        (EMBED, {"input": ["a", "b", {"image": "é"}]}, "input[2]", "neither base64 nor a data URL"),
        (EMBED, {"input": NO_PDF}, "input", "a PDF begins with %PDF-"),
        (EMBED, {"input": ["a", ""], "late_chunking": True}, "input[1]", "a text is empty"),
        (EMBED, {"input": ["a", NO_IMAGE], "late_chunking": True}, "late_chunking", "takes texts alone"),
        (TOKENS, {"input": ["a"], "late_chunking": True}, "late_chunking", "gives no multi-vectors"),
        (RERANK, {"query": "", "documents": ["a"]}, "query", "a text is empty"),
        (RERANK, {"query": NO_IMAGE, "documents": ["a"]}, "query", "an image is none of "),
        (RERANK, {"query": NO_PDF, "documents": ["a"]}, "query", "send its pages as images"),
        (RERANK, {"query": ["a"], "documents": ["a"]}, "query", "expected a text"),
        (RERANK, {"query": [1], "documents": ["a"]}, "query", "send a text"),
        (RERANK, {"query": "a", "documents": []}, "documents", "the list is empty"),
        (RERANK, {"query": "a", "documents": ["a", ""]}, "documents[1]", "a text is empty"),
        (RERANK, {"query": "a", "documents": ["a", NO_IMAGE]}, "documents[1]", "an image is none of "),
        (RERANK, {"query": "a", "documents": [LONG], "truncate": False}, "documents", "have it truncated"),
        (RERANK, {"query": "a", "documents": ["a"], "top_n": 0}, "top_n", "Expected `int` >= 1"),
        (COHERE, SEARCH | {"texts": ["a"], "output_dimension": 3}, "output_dimension", "3 is not one that"),
        (COHERE, SEARCH | {"texts": ["a", ""]}, "texts[1]", "a text is empty"),
        (COHERE, SEARCH | {"texts": []}, "texts", "the list is empty"),
        (COHERE, SEARCH | {"texts": [LONG], "truncate": "NONE"}, "texts", "have it truncated"),
        (COHERE, SEARCH | {"texts": ["a"], "truncate": "START"}, "truncate", "texts are cut at their end"),
        (COHERE, SEARCH | {"images": ["AAAA"]}, "images", "an image is none of "),
        (COHERE, {"texts": ["a"], "input_type": "query"}, "input_type", "choose one of 'classification', "),
    ],
)  # fmt: skip
def test_errors_name_the_field_of_the_dialect(
    client: TestClient, path: str, body: dict[str, Any], field: str, says: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    error = answer.json()
    message = error["message"] if path == COHERE else error["detail"]
    assert message.startswith(f"{field}: ")
    assert says in message
    # Words of the library, in which nobody has called it here.
    assert not [word for word in ("truncate_dim", "on_error", "max_length", "=True", "call with") if word in message]
    if "error" in error:
        assert (error["error"]["param"], error["error"]["message"]) == (field, message)


@pytest.mark.parametrize("word", ["x" * 8_000_000, "retrieval.query" * 500_000, "é" * 4_000_000], ids="xré")
def test_errors_do_not_repeat_megabytes_nor_compare_them(client: TestClient, word: str) -> None:
    began = time.process_time()
    answer = client.post(EMBED, json={"input": "a", "task": word})
    assert answer.status_code == 422
    assert len(answer.content) < 10_000
    assert "choose one of 'retrieval', " in answer.json()["detail"]
    assert time.process_time() - began < 1
    for field in ("dimensions", "embedding_type"):
        assert len(client.post(EMBED, json={"input": "a", field: word}).content) < 10_000


def test_texts_that_clients_have_cut_are_no_warning_to_the_server(
    client: TestClient, recwarn: pytest.WarningsRecorder
) -> None:
    assert client.post(EMBED, json={"input": LONG, "truncate": True}).status_code == 200
    assert [str(warning.message) for warning in recwarn] == []
