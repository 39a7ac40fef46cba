"""What a call returns when its engine dies: which inputs were done, and their vectors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings, Partial
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EngineDeadError

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared


class DiesAfter(FakeEngine):
    """An engine that answers for a number of inputs and then dies."""

    calls_at_once = 3

    def __init__(self, num_inputs: int):
        super().__init__()
        self._left = num_inputs
        self._lock = threading.Lock()

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        with self._lock:
            answered = batch[: self._left]
            self._left -= len(answered)
        outputs: list[Any] = [*super().run(answered), *[None] * (len(batch) - len(answered))]
        if len(answered) < len(batch):
            raise EngineDeadError("gone", range(len(answered), len(batch)), outputs)
        return outputs


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("num_done", [0, 3, 11, 48])
@pytest.mark.parametrize("multivector", [False, True])
def test_an_engine_that_dies_names_the_inputs_not_done_and_leaves_the_vectors_of_the_others(
    fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch, on_error: Any, num_done: int, multivector: bool
) -> None:
    monkeypatch.setattr("jina_embeddings.calls.run.PART_TEXTS", 7)
    texts = [f"text {number % 45}" for number in range(50)]
    expected = fake_model.encode_text(texts, return_multivector=multivector)
    if on_error == "skip":
        texts[13] = ""
    with pytest.raises(EngineDeadError, match="inputs not done: ") as caught:
        JinaEmbeddings(engine=DiesAfter(num_done)).encode_text(texts, on_error=on_error, return_multivector=multivector)
    error = caught.value
    done: Any = error.done or Partial([], [], [])
    skipped = [skipped.index for skipped in done.skipped]
    assert sorted([*error.not_done, *done.kept, *skipped]) == list(range(50))
    assert len(error.not_done) >= 1
    assert len(done.kept) >= num_done - 6
    for index, vector in zip(done.kept, done.embeddings, strict=True):
        np.testing.assert_array_equal(vector, expected[index])


def test_a_stream_on_an_engine_that_dies_names_the_inputs_from_the_first_without_a_result() -> None:
    stream = JinaEmbeddings(engine=DiesAfter(30)).stream([f"text {number}" for number in range(50)], chunk_size=10)
    results: list[Any] = []
    with pytest.raises(EngineDeadError) as caught:
        results.extend(stream)
    assert caught.value.not_done[0] == len(results)
    assert 0 < len(results) <= 30
