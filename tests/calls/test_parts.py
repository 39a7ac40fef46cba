"""Large calls are made in parts, and nobody can tell but by the time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls import run as parts
from jina_embeddings.errors import EmptyInputError

TEXTS = [f"text {number}" for number in range(50)]


@pytest.fixture
def in_parts(fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch) -> JinaEmbeddings:
    fake_model._engine.calls_at_once = 3
    monkeypatch.setattr(parts, "_TEXTS", 7)
    return fake_model


@pytest.mark.parametrize(
    "options",
    [{}, {"return_multivector": True}, {"embedding_type": "base64"}, {"return_numpy": False}, {"truncate_dim": 128}],
)
def test_the_result_is_that_of_one_part(in_parts: JinaEmbeddings, options: dict[str, object]) -> None:
    expected = JinaEmbeddings(engine="fake").encode_text(TEXTS, **options)  # type: ignore[arg-type]
    found = in_parts.encode_text(TEXTS, **options)  # type: ignore[arg-type]
    assert type(found) is type(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_bad_inputs_have_their_index_in_the_call(in_parts: JinaEmbeddings) -> None:
    texts = [*TEXTS[:20], "", *TEXTS[20:], " "]
    result = in_parts.encode_text(texts, on_error="skip")
    assert [skipped.index for skipped in result.skipped] == [20, 51]
    assert result.kept == [index for index in range(52) if index not in (20, 51)]
    np.testing.assert_array_equal(result.embeddings, in_parts.encode_text(TEXTS))
    with pytest.raises(EmptyInputError, match="input 20: "):
        in_parts.encode_text(texts)


def test_each_part_tells_the_engine_how_large_the_whole_call_is(
    in_parts: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = set()
    run = in_parts._engine.run

    def listen(batch: Any, *, call_size: int | None = None, **options: Any) -> Any:
        told.add(call_size)
        return run(batch, **options)

    monkeypatch.setattr(in_parts._engine, "run", listen)
    in_parts.encode_text(TEXTS)
    assert told == {len(TEXTS)}
    told.clear()
    in_parts.encode_text(TEXTS[:20], late_chunking=True)
    assert told == {None}


@pytest.mark.parametrize(("num_inputs", "size"), [(1, 1), (7, 64), (1000, 64), (1001, 2048), (9, 8)])
def test_parts_grow_and_leave_nothing_out(num_inputs: int, size: int) -> None:
    bounds = list(parts.part_bounds(num_inputs, size))
    assert [index for first, stop in bounds for index in range(first, stop)] == list(range(num_inputs))
    widths = [stop - first for first, stop in bounds]
    assert max(widths) <= size
    assert widths[:-1] == sorted(widths[:-1])


def test_parts_after_an_error_are_not_begun() -> None:
    begun: list[int] = []
    first_has_failed = threading.Event()

    def encode(first: int, part: object) -> object:
        begun.append(first)
        if first == 0:
            first_has_failed.set()
            raise ValueError("no")
        first_has_failed.wait(10)
        threading.Event().wait(0.05)
        return []

    with pytest.raises(ValueError, match="no"):
        parts.run_in_parts(range(1000), 1, encode, 3)
    assert len(begun) < 100
