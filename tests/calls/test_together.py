"""Small calls of one event loop, prepared in one turn of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import EmptyInputError, TextTooLongError, UnknownTaskError
from jina_embeddings.inputs import processor as processors
from jina_embeddings.inputs import tokens


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of texts that the tokenizer was given, call by call."""
    sizes: list[int] = []
    tokenize = tokens.tokenize

    def counted(tokenizer: Any, texts: Sequence[str]) -> Any:
        sizes.append(len(texts))
        return tokenize(tokenizer, texts)

    monkeypatch.setattr(processors, "tokenize", counted)
    return sizes


def test_what_comes_in_one_turn_is_tokenised_in_one_call_and_has_the_vectors_it_has_alone(calls: list[int]) -> None:
    model = JinaEmbeddings("fake", engine="fake")
    asked: list[Any] = ["one", ["two", "three"], "one", [{"text": "four"}], "five"]
    options: list[Any] = [{}, {"task": "code"}, {"prompt_name": "passage"}, {"max_length": 3}, {"truncate_dim": 128}]

    async def main() -> Any:
        return await asyncio.gather(*(model.aencode(a, **o) for a, o in zip(asked, options, strict=True)))

    together = asyncio.run(main())
    assert calls == [6]
    for found, inputs, more in zip(together, asked, options, strict=True):
        assert np.array_equal(found, model.encode(inputs, **more))


def test_a_call_that_is_refused_leaves_the_others_alone(calls: list[int]) -> None:
    model = JinaEmbeddings("fake", engine="fake")

    async def main() -> Any:
        return await asyncio.gather(
            model.aencode_text("good"),
            model.aencode_text(""),
            model.aencode_text("good too", task="nothing"),
            model.aencode_text("far too long for two tokens", max_length=2, truncate=False),
            model.aencode_text(["good", ""], on_error="skip"),
            return_exceptions=True,
        )

    good, empty, unknown, long, skipped = asyncio.run(main())
    assert len(calls) == 1
    assert np.array_equal(good, model.encode_text("good"))
    assert isinstance(empty, EmptyInputError)
    assert isinstance(unknown, UnknownTaskError)
    assert isinstance(long, TextTooLongError)
    assert skipped.kept == [0]


def test_a_caller_who_goes_away_is_not_prepared(calls: list[int]) -> None:
    model = JinaEmbeddings("fake", engine="fake")

    async def main() -> Any:
        staying, leaving = (asyncio.ensure_future(model.aencode_text(text)) for text in ("stays", "leaves"))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    asyncio.run(main())
    assert calls == [1]


def test_the_event_loop_is_held_for_a_few_milliseconds_at_a_time(calls: list[int]) -> None:
    model = JinaEmbeddings("fake", engine="fake")
    texts = [f"{number} " + "word " * 600 for number in range(64)]

    async def main() -> None:
        await asyncio.gather(*(model.aencode_text(text) for text in texts))

    asyncio.run(main())
    assert sum(calls) == 64
    assert max(calls) <= 6, "about 16,384 characters"


def test_two_event_loops_at_a_time_keep_apart() -> None:
    model = JinaEmbeddings("fake", engine="fake")

    async def several(name: str) -> list[Any]:
        return await asyncio.gather(*(model.aencode_text(f"{name} {number}") for number in range(20)))

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, several(name)) for name in ("a", "b")))

    began = time.monotonic()
    for name, vectors in zip("ab", asyncio.run(main()), strict=True):
        assert np.array_equal(vectors, model.encode_text([f"{name} {number}" for number in range(20)]))
    assert time.monotonic() - began < 30


def test_a_tokenizer_that_fails_is_an_error_for_everybody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = JinaEmbeddings("fake", engine="fake")

    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(model._preparer, "tokenize", fail)

    async def main() -> Any:
        calls = asyncio.gather(*(model.aencode_text(text) for text in ("one", "two")), return_exceptions=True)
        return await asyncio.wait_for(calls, 60)

    assert [type(end) for end in asyncio.run(main())] == [MemoryError, MemoryError]
