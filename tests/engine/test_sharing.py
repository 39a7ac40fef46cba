"""Concurrent calls share batches: which are joined, in which order they run, and how cancelled calls are dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from jina_embeddings.engine.sharing import SharedBatches
from jina_embeddings.errors import EngineClosedError
from jina_embeddings.types import Prepared, Task

PATIENCE_S = 20


class Forward:
    """A forward that records batches as lists of first token ids, and blocks each until it is released."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, batch: Sequence[Prepared]) -> list[np.ndarray]:
        ids = [int(prepared.token_ids[0]) for prepared in batch]
        self.batches.append(ids)
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        if 13 in ids:
            raise ValueError("thirteen")
        return [np.full((1, 2), number, np.float32) for number in ids]

    def step(self, num_batches: int = 1) -> None:
        """Releases the running batch, and waits until the next one has begun."""
        for _ in range(num_batches):
            self.go.release()
            assert self.begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def forward() -> Forward:
    return Forward()


@pytest.fixture
def batches(forward: Forward) -> Iterator[SharedBatches]:
    shared = SharedBatches(forward, max_tokens=40, forward_tokens=8, name="test")
    yield shared
    for _ in range(100):
        forward.go.release()
    shared.close()


def item(number: int, length: int = 10, task: Task = "retrieval") -> Prepared:
    return Prepared(np.full(length, number, np.int32), task, ((0, length),))


def begin(batches: SharedBatches, forward: Forward, number: int = 0) -> Future[list[np.ndarray]]:
    """Starts a batch that blocks, so that calls submitted after it wait."""
    future = batches.submit([item(number)], None)
    assert forward.begun.acquire(timeout=PATIENCE_S)
    return future


def numbers(future: Future[list[np.ndarray]]) -> list[float]:
    return [float(vector[0, 0]) for vector in future.result(PATIENCE_S)]


def test_waiting_calls_share_a_batch_and_get_their_own_vectors(forward: Forward, batches: SharedBatches) -> None:
    begin(batches, forward)
    futures = [batches.submit([item(number)], None) for number in (1, 2, 3)]
    forward.step()
    forward.go.release()
    assert [numbers(future) for future in futures] == [[1], [2], [3]]
    assert forward.batches == [[0], [1, 2, 3]]


def test_a_shared_batch_respects_max_tokens_and_each_calls_batch_size(forward: Forward, batches: SharedBatches) -> None:
    begin(batches, forward)
    for number in range(1, 6):
        batches.submit([item(number)], None)
    batches.submit([item(6)], 1)
    forward.step(3)
    assert forward.batches == [[0], [1, 2, 3, 4], [5], [6]]


def test_calls_are_not_joined_across_tasks_or_where_padding_costs_more_than_a_forward(
    forward: Forward, batches: SharedBatches
) -> None:
    begin(batches, forward)
    for number, (length, task) in enumerate([(2, "retrieval"), (4, "code"), (11, "retrieval"), (4, "retrieval")], 1):
        batches.submit([item(number, length, task)], None)  # type: ignore[arg-type]
    forward.step(3)
    assert forward.batches == [[0], [1, 4], [2], [3]]


def test_a_small_call_waits_for_one_batch_of_large_calls(forward: Forward, batches: SharedBatches) -> None:
    begin(batches, forward)
    large = [batches.submit([item(number + i, 40) for i in range(3)], None) for number in (10, 20, 30)]
    forward.step(4)  # Each has had its first batch, and the second of the first one runs.
    small = batches.submit([item(1, 40)], None)
    forward.step()
    assert forward.batches[-1] == [1]
    forward.step()
    assert numbers(small) == [1]
    forward.step(4)
    forward.go.release()
    assert [numbers(future) for future in large] == [[10, 11, 12], [20, 21, 22], [30, 31, 32]]
    assert [batch[0] for batch in forward.batches] == [0, 10, 20, 30, 11, 1, 21, 31, 12, 22, 32]


def test_a_large_call_gets_its_turn_however_many_small_ones_arrive(forward: Forward, batches: SharedBatches) -> None:
    begin(batches, forward)
    batches.submit([item(10 + i, 40) for i in range(3)], None)
    forward.step()
    for number in range(1, 7):
        batches.submit([item(number, 40)], None)
        forward.step()
    assert [batch[0] for batch in forward.batches][:5] == [0, 10, 1, 11, 2]


def test_a_cancelled_call_leaves_no_work_behind(forward: Forward, batches: SharedBatches) -> None:
    begin(batches, forward)
    gone = [batches.submit([item(number, 40)], None) for number in range(1, 41)]
    large = batches.submit([item(50 + i, 40) for i in range(3)], None)
    stays = batches.submit([item(99, 40)], None)
    for future in gone:
        assert future.cancel()
    forward.step()
    assert large.cancel()
    forward.step()
    forward.go.release()
    assert numbers(stays) == [99]
    assert forward.batches == [[0], [50], [99]]


def test_an_input_that_fails_fails_its_own_call_only(forward: Forward, batches: SharedBatches) -> None:
    begin(batches, forward)
    good, bad, other = (batches.submit([item(number)], None) for number in (1, 13, 2))
    for _ in range(5):
        forward.go.release()
    assert numbers(good) == [1]
    assert numbers(other) == [2]
    with pytest.raises(ValueError, match="thirteen"):
        bad.result(PATIENCE_S)


def test_closing_fails_waiting_calls_and_waits_for_the_running_batch(forward: Forward, batches: SharedBatches) -> None:
    running = begin(batches, forward)
    waiting = batches.submit([item(1)], None)
    closer = threading.Thread(target=batches.close)
    closer.start()
    for future in (running, waiting):
        with pytest.raises(EngineClosedError):
            future.result(PATIENCE_S)
    assert closer.is_alive()
    forward.go.release()
    closer.join(PATIENCE_S)
    assert not closer.is_alive()
    assert forward.batches == [[0]]
    with pytest.raises(EngineClosedError):
        batches.submit([item(2)], None)


def test_a_call_without_inputs_is_done_at_once(batches: SharedBatches) -> None:
    assert batches.submit([], None).result(PATIENCE_S) == []
