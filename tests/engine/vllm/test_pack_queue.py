"""Which inputs of several waiting calls share a pack, and in which order."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_embeddings.engine.vllm.queue import Call, PackQueue, Pick
from jina_embeddings.engine.vllm.sender import PackSender
from jina_embeddings.inputs.patches import ImageConfig
from jina_embeddings.plugin.packed.graphs import shapes_up_to
from jina_embeddings.plugin.packs import Pack, Room, by_prefix, make_pack
from jina_embeddings.types import Prepared, Task

BUDGET = 20
NUMBERS = itertools.count(1)


def call_of(sizes: list[int], task: Task = "retrieval", *, alike: bool = False) -> Call:
    """A call of prompts that share no prefix, or that are all zeros if `alike`."""
    ids = [np.full(size, 0 if alike else next(NUMBERS), dtype=np.int32) for size in sizes]
    batch = [Prepared(row, task, ((0, len(row)),)) for row in ids]
    done: Any = asyncio.Future(loop=asyncio.new_event_loop())
    return Call([None] * len(sizes), batch, len(sizes), done)


def queue_of(*calls: Call) -> PackQueue:
    queue = PackQueue(Room.of_pack(BUDGET))
    for call in calls:
        queue.add(call, range(len(call.batch)))
    return queue


def sizes_of(queue: PackQueue) -> list[int]:
    return [call.batch[index].num_tokens for call, index in queue.take()]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, BUDGET), min_size=1, max_size=12), max_size=5), st.booleans())
def test_every_input_is_taken_once_within_max_tokens(calls: list[list[int]], alike: bool) -> None:
    made = [call_of(sizes, "code" if number % 2 else "retrieval", alike=alike) for number, sizes in enumerate(calls)]
    queue = queue_of(*made)
    taken: Counter[tuple[int, int]] = Counter()
    while picks := queue.take():
        inputs = [call.batch[index] for call, index in picks]
        sizes = [prepared.num_tokens for prepared in inputs]
        assert make_pack(inputs, ImageConfig(), half=False).num_tokens <= BUDGET
        assert sum(sizes) <= BUDGET * (1.5 if alike else 1)
        assert inputs == sorted(inputs, key=by_prefix)
        assert len({call.batch[index].task for call, index in picks}) == 1
        taken.update((made.index(call), index) for call, index in picks)
    assert not queue
    assert taken == Counter((number, index) for number, sizes in enumerate(calls) for index in range(len(sizes)))


def call_with(prompts: list[list[int]]) -> Call:
    """A call of prompts with these tokens."""
    batch = [Prepared(np.array(ids, np.int32), "code", ((0, len(ids)),)) for ids in prompts]
    done: Any = asyncio.Future(loop=asyncio.new_event_loop())
    return Call([None] * len(batch), batch, len(batch), done)


PROMPTS = st.lists(st.integers(0, 1), min_size=1, max_size=BUDGET)


@settings(deadline=None)
@given(st.lists(st.lists(PROMPTS, min_size=1, max_size=6), max_size=6))
def test_a_pack_is_never_larger_than_was_counted_whatever_prompts_share(calls: list[list[list[int]]]) -> None:
    queue = queue_of(*(call_with(prompts) for prompts in calls))
    while picks := queue.take():
        inputs = [call.batch[index] for call, index in picks]
        assert make_pack(inputs, ImageConfig(), half=False).num_tokens <= BUDGET


def test_what_prompts_of_several_calls_share_leaves_room_for_more() -> None:
    queue = queue_of(*(call_with([[7, 7, 7, number]]) for number in range(12)))
    # 4 tokens of the first and 1 of each other would be 15; whole prompts may have 30.
    assert len(queue.take()) == 7


GRAPH_TOKENS = (64, 512, 640, 4096)


@settings(deadline=None)
@given(st.randoms(), st.sampled_from(GRAPH_TOKENS), st.booleans())
def test_a_graph_holds_every_pack_whatever_its_prompts_share_and_however_short_they_are(
    random: Any, most: int, small_first: bool
) -> None:
    room = Room.of_graph(most)
    queue = PackQueue(room)
    for _ in range(random.randrange(1, 40)):
        prefix, longest = random.randrange(0, most // 2), random.choice([1, 4, 30, most // 2])
        rows = [[1] * prefix + [random.randrange(3)] * random.randint(1, longest) for _ in range(random.randrange(40))]
        call = call_with([*rows, [0]])
        queue.add(call, range(len(call.batch)))
    if small_first:
        picks = queue.take(replace(room, whole=room.whole // 2))
        check_held(picks, most)
    while picks := queue.take():
        check_held(picks, most)


def check_held(picks: list[Pick], most: int) -> None:
    inputs = [call.batch[index] for call, index in picks]
    pack = make_pack(inputs, ImageConfig(), half=False, small=True, for_graph=True)
    assert any(shape.holds(pack) for shape in shapes_up_to(most)), (pack.num_tokens, len(pack.lengths))
    prompts = np.split(np.concatenate([prepared.token_ids for prepared in inputs]), np.cumsum(pack.lengths)[:-1])
    for before, ids, count in zip([None, *prompts], prompts, pack.shared.tolist(), strict=False):
        assert before is None or ids[:count].tolist() == before[:count].tolist()


@pytest.mark.parametrize(("graphs", "small", "shared"), [(True, True, 400), (True, False, 950), (False, True, 950)])
def test_only_packs_that_graphs_run_share_no_more_than_those_have_room_for(
    graphs: bool, small: bool, shared: int
) -> None:
    call = call_with([[7] * 50 + [number] * 10 for number in range(20)])

    async def main() -> None:
        sizes: Any = {"hidden_size": 4, "multivector_dim": None, "half": False, "graphs": graphs}
        sender = PackSender(None, {}, ImageConfig(), **sizes)  # type: ignore[arg-type]
        message = await sender.message([(call, index) for index in range(20)], 4096, small=small)
        pack = Pack.from_wire(message.wire)
        assert (pack.num_tokens, int(pack.shared.sum())) == (1200 - shared, shared)

    asyncio.run(main())


def test_the_end_of_one_call_shares_a_pack_with_the_next() -> None:
    queue = queue_of(call_of([8, 8, 8]), call_of([8, 8, 8, 4]))
    # Without sharing packs, there would be four: [8, 8], [8], [8, 8], [8, 4].
    assert [sizes_of(queue) for _ in range(4)] == [[8, 8], [8, 8], [8, 8, 4], []]


def test_shared_prefixes_count_once_up_to_a_limit_of_whole_tokens() -> None:
    # 8 tokens, and one more for each further prompt, until whole prompts have one and a half times max_tokens.
    assert sizes_of(queue_of(call_of([8, 8, 8], alike=True))) == [8, 8, 8]
    assert sizes_of(queue_of(call_of([8, 8, 8, 8], alike=True))) == [8, 8, 8]
    assert sizes_of(queue_of(call_of([16, 2, 2, 2, 2], alike=True))) == [16, 2, 2, 2]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, BUDGET), min_size=1, max_size=12), min_size=1, max_size=4), st.randoms())
def test_packs_of_several_calls_with_shared_prefixes_stay_within_max_tokens(
    calls: list[list[int]], random: Any
) -> None:
    made = []
    for sizes in calls:
        call = call_of(sizes)
        call.batch = [
            replace(prepared, token_ids=np.array([random.randrange(2) for _ in prepared.token_ids], np.int32))
            for prepared in call.batch
        ]
        made.append(call)
    queue = queue_of(*made)
    while picks := queue.take():
        inputs = [call.batch[index] for call, index in picks]
        assert make_pack(inputs, ImageConfig(), half=False).num_tokens <= BUDGET


def test_a_small_call_does_not_wait_for_a_large_one() -> None:
    large, small = call_of([10] * 10), call_of([3])
    queue = queue_of(large)
    queue.take()
    queue.add(small, [0])
    assert small in [call for call, _ in queue.take()]


def test_full_packs_go_first_but_others_are_not_passed_for_ever() -> None:
    few, many = call_of([5], "code"), call_of([10] * 40)
    queue = queue_of(few, many)
    order = [call is few for _ in range(6) for call, _ in queue.take()[:1]]
    assert order == [False, False, False, False, True, False]


def test_a_large_call_is_not_passed_for_ever_by_small_ones() -> None:
    large = call_of([15] * 10)
    queue = queue_of(large)
    order = []
    for _ in range(12):
        queue.add(call_of([10, 10]), [0, 1])
        order.append(large in [call for call, _ in queue.take()])
    assert order == [False, False, False, False, True] * 2 + [False, False]


def test_a_dropped_call_leaves_no_inputs_in_the_queue() -> None:
    first, second = call_of([5, 5]), call_of([4])
    queue = queue_of(first, second)
    queue.drop(first)
    assert sizes_of(queue) == [4]
    assert not queue
