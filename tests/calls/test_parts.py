"""Large calls run in parts, with the same results as in one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from inputs import picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls import run as parts
from jina_embeddings.calls.request import Request
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EmptyInputError, EngineDeadError
from jina_embeddings.types import Prepared

TEXTS = [f"text {number}" for number in range(50)]


class Listening(FakeEngine):
    """An engine that records the size of each batch and the `call_size` that it got with it."""

    def __init__(self, calls_at_once: int):
        super().__init__()
        self.calls_at_once = calls_at_once
        self.sizes: list[int] = []
        self.told: set[int | None] = set()

    def run(self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None) -> Any:
        self.sizes.append(len(batch))
        self.told.add(call_size)
        return super().run(batch)

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> Any:
        return await asyncio.to_thread(self.run, batch, call_size=call_size)


@pytest.fixture(params=[1, 3], ids=["one at a time", "three at a time"])
def in_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[JinaEmbeddings, Listening]:
    monkeypatch.setattr(parts, "PART_TEXTS", 7)
    monkeypatch.setattr(parts, "PART_IMAGES", 3)
    engine = Listening(request.param)
    return JinaEmbeddings(engine=engine), engine


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"return_multivector": True}, {"embedding_type": "base64"}, {"return_numpy": False}, {"truncate_dim": 128}],
)
def test_a_call_in_parts_has_the_result_of_a_call_in_one(
    in_parts: tuple[JinaEmbeddings, Listening], options: Any, asynchronous: bool
) -> None:
    model, engine = in_parts
    expected = JinaEmbeddings(engine=FakeEngine()).encode_text(TEXTS[:7], **options)
    if asynchronous:
        found = asyncio.run(model.aencode_text(TEXTS, **options))
    else:
        found = model.encode_text(TEXTS, **options)
    assert max(engine.sizes) <= 7
    assert type(found) is type(expected)
    assert len(found) == len(TEXTS)
    for one, other in zip(found, expected, strict=False):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_few_images_are_prepared_at_a_time(in_parts: tuple[JinaEmbeddings, Listening], asynchronous: bool) -> None:
    model, engine = in_parts
    images = [picture(28, 28, number) for number in range(10)]
    found = asyncio.run(model.aencode_image(images)) if asynchronous else model.encode_image(images)
    np.testing.assert_array_equal(found, [model.encode_image(image) for image in images])
    assert max(engine.sizes) <= 3


def test_bad_inputs_have_their_index_in_the_call(in_parts: tuple[JinaEmbeddings, Listening]) -> None:
    model, _ = in_parts
    texts = [*TEXTS[:20], "", *TEXTS[20:], ""]
    for result in (model.encode_text(texts, on_error="skip"), asyncio.run(model.aencode_text(texts, on_error="skip"))):
        assert [skipped.index for skipped in result.skipped] == [20, 51]
        assert result.kept == [index for index in range(52) if index not in (20, 51)]
        np.testing.assert_array_equal(result.embeddings, model.encode_text(TEXTS))
    with pytest.raises(EmptyInputError, match="input 20: "):
        model.encode_text(texts)
    with pytest.raises(EmptyInputError, match="input 20: "):
        asyncio.run(model.aencode_text(texts))


def test_each_part_passes_the_size_of_the_whole_call_to_the_engine(in_parts: tuple[JinaEmbeddings, Listening]) -> None:
    model, engine = in_parts
    model.encode_text(TEXTS)
    assert engine.told == {len(TEXTS)}
    engine.told.clear()
    model.encode_text(TEXTS[:20], late_chunking=True)
    assert engine.told == {None}


def test_tokens_of_all_parts_are_counted(in_parts: tuple[JinaEmbeddings, Listening]) -> None:
    model, _ = in_parts
    texts = [*TEXTS, TEXTS[0]]
    expected = sum(model.count_tokens([f"Query: {text}" for text in texts]))
    for max_length, cut in ((None, 0), (2, len(texts))):
        request = Request.texts(texts, {"max_length": max_length})
        for result in (model.embed(request), asyncio.run(model.aembed(request))):
            assert result.usage.num_cut == cut
            assert result.usage.num_tokens == (expected if not cut else 2 * len(texts))


@pytest.mark.parametrize(("num_inputs", "size"), [(1, 1), (7, 64), (1000, 64), (1001, 2048), (9, 8)])
@pytest.mark.parametrize("at_once", [1, 3])
def test_parts_grow_and_cover_all_inputs(
    num_inputs: int, size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_TEXTS", size)
    bounds = parts.part_bounds(Request.texts(["a"] * num_inputs, {}), at_once)
    assert [index for first, stop in bounds for index in range(first, stop)] == list(range(num_inputs))
    widths = [stop - first for first, stop in bounds]
    assert max(widths) <= size
    assert widths[:-1] == sorted(widths[:-1])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_parts_after_an_error_are_not_begun(monkeypatch: pytest.MonkeyPatch, asynchronous: bool) -> None:
    monkeypatch.setattr(parts, "PART_TEXTS", 1)
    engine = Listening(3)
    model = JinaEmbeddings(engine=engine)
    texts = ["", *(f"text {number}" for number in range(999))]
    threading.Event().wait(0.01)
    with pytest.raises(EmptyInputError):
        asyncio.run(model.aencode_text(texts)) if asynchronous else model.encode_text(texts)
    # The threads may have begun some before the error is seen; far from all.
    assert len(engine.sizes) < 500


class Dying(Listening):
    """An engine that dies in its third batch, after its first input."""

    def run(self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None) -> Any:
        done = super().run(batch)
        if len(self.sizes) == 3:
            raise EngineDeadError("it has ended", range(1, len(batch)), [done[0], *[None] * (len(batch) - 1)])
        if len(self.sizes) > 3:
            raise EngineDeadError("it has ended", range(len(batch)), [None] * len(batch))
        return done


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_dead_engine_names_what_was_not_done_where_inputs_repeat_or_were_skipped(
    monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    monkeypatch.setattr(parts, "PART_TEXTS", 4)
    model = JinaEmbeddings(engine=Dying(1))
    # Parts of four; in the third, inputs 8 and 10 are equal and done, 9 is bad, 11 isn't done.
    texts = [*TEXTS[:8], "same", "", "same", "other", *TEXTS[8:14]]
    options: Any = {"on_error": "skip"}
    with pytest.raises(EngineDeadError) as caught:
        asyncio.run(model.aencode_text(texts, **options)) if asynchronous else model.encode_text(texts, **options)
    assert list(caught.value.not_done) == [11, *range(12, 18)]
    assert caught.value.done.kept == [*range(9), 10]
    assert [skipped.index for skipped in caught.value.done.skipped] == [9]
    np.testing.assert_array_equal(caught.value.done.embeddings[8], caught.value.done.embeddings[9])
