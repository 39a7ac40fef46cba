"""Packs: planned within a budget, sent as bytes, and what comes back put in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_embeddings.engine.batching import plan_packs
from jina_embeddings.images import ImageConfig
from jina_embeddings.packs import Pack, common_beginning, make_pack, split_vectors
from jina_embeddings.types import Prepared, PreparedImage

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=60)


def prepared(num_tokens: int, **fields: Any) -> Prepared:
    ids = np.arange(num_tokens, dtype=np.int32)
    return Prepared(**{"token_ids": ids, "task": "code", "spans": ((0, num_tokens),), **fields})


def picture(offset: int = 2, digest: str = "a") -> PreparedImage:
    pixels = np.full((56, 28, 3), 7, dtype=np.uint8)
    return PreparedImage(pixels=pixels, grid=(1, 4, 2), offset=offset, num_tokens=2, digest=digest)


@given(lengths, st.integers(50, 200))
def test_every_input_is_in_one_pack_within_the_budget(sizes: list[int], budget: int) -> None:
    inputs = [prepared(size) for size in sizes]
    packs = list(plan_packs(inputs, budget))
    assert sorted(index for pack in packs for index in pack) == list(range(len(inputs)))
    assert all(sum(sizes[index] for index in pack) <= budget for pack in packs)
    flat = [sizes[index] for pack in packs for index in pack]
    assert flat == sorted(flat, reverse=True)


def test_tasks_kinds_and_poolings_are_packed_apart() -> None:
    inputs = [prepared(3), prepared(3, task="retrieval"), prepared(3, multivector=True), prepared(3, pooling="max")] * 2
    packs = list(plan_packs(inputs, 100))
    assert sorted(map(sorted, packs)) == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_spans_and_images_are_shifted_to_their_place_in_the_pack() -> None:
    inputs = [prepared(6, spans=((1, 3), (3, 6))), prepared(8, image=picture())]
    pack = make_pack(inputs, ImageConfig(), half=False)
    assert pack.spans.tolist() == [[1, 3], [3, 6], [6, 14]]
    assert [image.start for image in pack.images] == [8]
    assert pack.lengths.tolist() == [6, 8]
    assert pack.num_tokens == 14


def test_what_all_prompts_begin_with_is_there_once() -> None:
    rows = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7]]
    pack = make_pack([prepared_of(row) for row in rows], ImageConfig(), half=False)
    assert pack.shared == 2
    assert pack.token_ids.tolist() == [5, 6, 7, 8, 9, 7]
    assert pack.lengths.tolist() == [4, 3, 3]
    assert pack.spans.tolist() == [[0, 4], [4, 7], [7, 10]]


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        ([[1, 2, 3]], 0),
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[1], [1, 2]], 0),
        ([[1, 2], [3, 2]], 0),
        ([[1, 2, 3], [1, 4]], 1),
    ],
)
def test_every_prompt_keeps_a_token_of_its_own(rows: list[list[int]], shared: int) -> None:
    assert common_beginning([prepared_of(row) for row in rows]) == shared


def test_prompts_beside_a_picture_share_nothing() -> None:
    assert common_beginning([prepared(8), prepared(8, image=picture()), prepared(8)]) == 0


def prepared_of(ids: list[int]) -> Prepared:
    return prepared(len(ids), token_ids=np.array(ids, dtype=np.int32))


@pytest.mark.parametrize("multivector", [False, True])
def test_a_pack_survives_its_journey(multivector: bool) -> None:
    config = ImageConfig(patch_size=14, mean=(0.1, 0.2, 0.3))
    inputs = [prepared(5, multivector=multivector), prepared(9, image=picture(), multivector=multivector)]
    sent = make_pack(inputs, config, half=multivector)
    wire = [list(part) if isinstance(part, tuple) else part for part in sent.to_wire()]
    arrived = Pack.from_wire(wire)
    assert arrived.shared == sent.shared
    for name in ("token_ids", "lengths", "spans"):
        np.testing.assert_array_equal(getattr(arrived, name), getattr(sent, name))
    assert (arrived.task, arrived.multivector, arrived.pooling, arrived.half) == (
        "code",
        multivector,
        "mean",
        multivector,
    )
    (image,) = arrived.images
    np.testing.assert_array_equal(image.pixels, sent.images[0].pixels)
    assert (image.config, image.grid, image.digest) == (config, (1, 4, 2), "a")


def test_vectors_come_back_to_their_inputs() -> None:
    inputs = [prepared(4, spans=((0, 2), (2, 4))), prepared(3)]
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    first, second = split_vectors(vectors.tobytes(), inputs, 4, half=False)
    np.testing.assert_array_equal(first, vectors[:2])
    np.testing.assert_array_equal(second, vectors[2:])


def test_multivectors_are_the_callers_to_change() -> None:
    (rows,) = split_vectors(np.ones((3, 4), np.float32).tobytes(), [prepared(3, multivector=True)], 4, half=False)
    rows[0, 0] = 9


def test_rounded_multivectors_are_made_unit_length_again() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    inputs = [prepared(2, multivector=True), prepared(3, multivector=True)]
    result = np.concatenate(split_vectors(rows.astype(np.float16).tobytes(), inputs, 64, half=True))
    assert result.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(result, rows, atol=1e-3)
