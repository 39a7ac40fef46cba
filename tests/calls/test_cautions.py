"""What a caller is warned of: once a model, at the caller's own line, whichever way the call goes."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Document, Index, Passage
from jina_embeddings.errors import TextCutWarning

LONG = "word " * 60
TEXTS = ["short", LONG, "other", LONG]


@pytest.fixture
def model() -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(engine="fake", max_model_len=30) as made:
        yield made


def line(_done: object) -> int:
    """The number of the line that calls this; its argument is the call of the model in that line."""
    frame: FrameType | None = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def by_encode_text(model: JinaEmbeddings) -> int:
    return line(model.encode_text(TEXTS))


def by_encode(model: JinaEmbeddings) -> int:
    return line(model.encode(TEXTS, on_error="skip"))


def by_many(model: JinaEmbeddings) -> int:
    """In parts, which other threads prepare."""
    return line(model.encode_text([f"{LONG} {number}" for number in range(5000)]))


def by_stream(model: JinaEmbeddings) -> int:
    return line(list(model.stream(TEXTS)))


def by_aencode(model: JinaEmbeddings) -> int:
    async def call() -> int:
        return line(await model.aencode_text(TEXTS))

    return asyncio.run(call())


def by_astream(model: JinaEmbeddings) -> int:
    async def texts() -> Any:
        for text in TEXTS:
            yield text

    async def call() -> int:
        return line([one async for one in model.astream(texts())])

    return asyncio.run(call())


WAYS = [by_encode_text, by_encode, by_many, by_stream, by_aencode, by_astream]


@pytest.mark.parametrize("call", WAYS)
def test_texts_that_were_cut_are_told_of_once_at_the_callers_line(
    model: JinaEmbeddings, call: Callable[[JinaEmbeddings], int]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        at = call(model)
        call(model)
    assert [(w.category, w.filename, w.lineno) for w in caught] == [(TextCutWarning, __file__, at)]
    assert "cut at 30 tokens" in str(caught[0].message)


@pytest.mark.filterwarnings("error")
def test_a_length_that_was_asked_for_is_no_surprise(model: JinaEmbeddings) -> None:
    model.encode_text(TEXTS, max_length=20)
    list(model.stream(TEXTS, max_length=20))


@pytest.mark.filterwarnings("ignore::jina_embeddings.errors.TextCutWarning")
def test_a_stream_names_the_texts_that_it_cut_before_it_gives_them(model: JinaEmbeddings) -> None:
    cut: list[int] = []
    inputs = [LONG if number % 7 == 3 else "short" for number in range(100)]
    for index, _ in enumerate(model.stream(inputs, on_cut=cut.append)):
        assert (index in cut) == (index % 7 == 3)
    assert cut == list(range(3, 100, 7))


def test_an_index_warns_and_names_the_passages(model: JinaEmbeddings, tmp_path: Path) -> None:
    passages = [Passage("a", "text", text, line=number, end_line=number) for number, text in enumerate(TEXTS[:3], 1)]
    index = Index.open(tmp_path / "index", model, create=True, dimension=128)
    with pytest.warns(TextCutWarning):
        summary = index.update([Document("a", "digest", lambda: passages)])
    assert summary.cut == ["a:2"]
