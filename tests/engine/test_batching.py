"""Properties of planned batches that hold for every list of inputs."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_embeddings import TASKS
from jina_embeddings.engine.batching import plan_batches
from jina_embeddings.types import Prepared

Kind = tuple[str, bool, str]


def prepared(length: int, kind: Kind) -> Prepared:
    task, multivector, pooling = kind
    return Prepared(np.zeros(length, np.int32), task, ((0, length),), multivector, pooling)  # type: ignore[arg-type]


def kind_of(item: Prepared) -> Kind:
    return item.task, item.multivector, item.pooling


KINDS = st.tuples(st.sampled_from(TASKS), st.booleans(), st.sampled_from(["mean", "max"]))
INPUTS = st.lists(st.builds(prepared, st.integers(1, 60), KINDS), max_size=40)
MAX_TOKENS = st.integers(1, 200)
BATCH_SIZE = st.none() | st.integers(1, 10)


@given(inputs=INPUTS, max_tokens=MAX_TOKENS, batch_size=BATCH_SIZE)
@settings(deadline=None)
def test_every_input_is_in_one_batch_within_the_limits(
    inputs: list[Prepared], max_tokens: int, batch_size: int | None
) -> None:
    batches = list(plan_batches(inputs, max_tokens=max_tokens, batch_size=batch_size))
    assert sorted(index for batch in batches for index in batch) == list(range(len(inputs))), "every index once"
    for batch in batches:
        lengths = [inputs[index].num_tokens for index in batch]
        assert len({kind_of(inputs[index]) for index in batch}) == 1, "one kind a batch"
        assert len(batch) * max(lengths) <= max_tokens or len(batch) == 1, "padding counts"
        assert batch_size is None or len(batch) <= batch_size
        assert lengths == sorted(lengths, reverse=True), "longest first"
    for kind in {kind_of(item) for item in inputs}:
        longest = [inputs[batch[0]].num_tokens for batch in batches if kind_of(inputs[batch[0]]) == kind]
        assert longest == sorted(longest, reverse=True), "among batches too"


@given(inputs=INPUTS, max_tokens=MAX_TOKENS, batch_size=BATCH_SIZE)
@settings(deadline=None)
def test_a_batch_ends_only_where_the_next_input_would_not_fit(
    inputs: list[Prepared], max_tokens: int, batch_size: int | None
) -> None:
    batches = list(plan_batches(inputs, max_tokens=max_tokens, batch_size=batch_size))
    for batch, following in itertools.pairwise(batches):
        if kind_of(inputs[batch[0]]) == kind_of(inputs[following[0]]):
            one_more = (len(batch) + 1) * inputs[batch[0]].num_tokens
            assert len(batch) == batch_size or one_more > max_tokens


def test_equal_lengths_keep_their_order() -> None:
    inputs = [prepared(5, ("code", False, "mean")) for _ in range(7)]
    assert list(plan_batches(inputs, max_tokens=15)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_no_inputs_make_no_batch() -> None:
    assert list(plan_batches([], max_tokens=10)) == []
