"""Packs: planned, serialised, and their vectors split by input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_embeddings.engine.vllm.replicas import plan_packs
from jina_embeddings.inputs.patches import ImageConfig
from jina_embeddings.plugin.packs import Pack, by_prefix, make_pack, shared_prefix, split_vectors
from jina_embeddings.types import Prepared, PreparedImage

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=60)


def prepared(num_tokens: int, **fields: Any) -> Prepared:
    ids = np.arange(num_tokens, dtype=np.int32)
    return Prepared(**{"token_ids": ids, "task": "code", "spans": ((0, num_tokens),), **fields})


def picture(offset: int = 2, digest: str = "a") -> PreparedImage:
    pixels = np.full((56, 28, 3), 7, dtype=np.uint8)
    return PreparedImage(pixels=pixels, grid=(1, 4, 2), offset=offset, num_tokens=2, digest=digest)


@settings(deadline=None)
@given(lengths, st.integers(50, 200))
def test_every_input_is_in_one_pack_of_at_most_max_tokens(sizes: list[int], budget: int) -> None:
    inputs = [prepared(size) for size in sizes]
    packs = list(plan_packs(inputs, budget))
    assert sorted(index for pack in packs for index in pack) == list(range(len(inputs)))
    assert all(sum(sizes[index] for index in pack) <= budget for pack in packs)
    flat = [sizes[index].bit_length() for pack in packs for index in pack]
    assert flat == sorted(flat, reverse=True)


def test_a_pack_has_one_task_kind_and_pooling() -> None:
    inputs = [prepared(3), prepared(3, task="retrieval"), prepared(3, multivector=True), prepared(3, pooling="max")]
    inputs = [*inputs, prepared(3, multivector=True, spans=())] * 2
    packs = list(plan_packs(inputs, 100))
    assert sorted(map(sorted, packs)) == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]


def test_spans_and_images_are_offset_by_their_prompts_start() -> None:
    inputs = [prepared(6, spans=((1, 3), (3, 6))), prepared(8, image=picture())]
    pack = make_pack(inputs, ImageConfig(), half=False)
    assert pack.spans.tolist() == [[1, 3], [3, 6], [6, 14]]
    assert [image.start for image in pack.images] == [8]
    assert pack.lengths.tolist() == [6, 8]
    assert pack.num_tokens == 14


def test_a_prefix_shared_with_the_prompt_before_is_stored_once() -> None:
    rows = [[5, 6, 7, 8], [5, 6, 9, 1], [5, 6, 9, 2], [5, 3, 9, 2], [5, 3]]
    pack = make_pack([prepared_of(row) for row in rows], ImageConfig(), half=False)
    assert pack.shared.tolist() == [0, 2, 3, 1, 0]  # the last is half as long
    assert pack.token_ids.tolist() == [5, 6, 7, 8, 9, 1, 2, 3, 9, 2, 5, 3]
    assert pack.lengths.tolist() == [4, 4, 4, 4, 2]
    assert pack.spans.tolist() == [[0, 4], [4, 8], [8, 12], [12, 16], [16, 18]]


@pytest.mark.parametrize(
    ("before", "ids", "shared"),
    [
        ([1, 2, 3], [1, 2, 3], 2),
        ([1], [1], 0),
        ([1, 2], [3, 2], 0),
        ([1, 2, 3], [1, 4], 1),
        ([1, 2], [1, 2, 3], 2),
        ([1, 2, 3, 4], [1, 2, 3], 0),
    ],
)
def test_every_prompt_has_at_least_one_unshared_token(before: list[int], ids: list[int], shared: int) -> None:
    assert shared_prefix(prepared_of(before), prepared_of(ids)) == shared


def test_prompts_with_images_share_no_prefix() -> None:
    assert shared_prefix(prepared(8), prepared(8, image=picture())) == 0
    assert shared_prefix(prepared(8, image=picture()), prepared(8)) == 0
    assert shared_prefix(None, prepared(8)) == 0


rows_of_tokens = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=40)


@settings(deadline=None)
@given(rows_of_tokens)
def test_sorted_prompts_of_one_length_store_every_prefix_once(rows: list[list[int]]) -> None:
    inputs = sorted(map(prepared_of, rows), key=by_prefix)
    pack = make_pack(inputs, ImageConfig(), half=False)
    # Each prompt's last token is always computed; every other token once for each distinct prefix up to it.
    beginnings = {(len(row).bit_length(), *row[: count + 1]) for row in rows for count in range(len(row))}
    again = sum(shared == length - 1 for shared, length in zip(pack.shared, pack.lengths, strict=True))
    assert pack.num_tokens <= len(beginnings) + again


@settings(deadline=None)
@given(rows_of_tokens)
def test_sources_map_every_token_to_the_one_computed_for_it(rows: list[list[int]]) -> None:
    pytest.importorskip("vllm")
    from jina_embeddings.plugin.packed.layout import sources

    inputs = sorted(map(prepared_of, rows), key=by_prefix)
    pack = make_pack(inputs, ImageConfig(), half=False)
    whole = np.concatenate([prepared.token_ids for prepared in inputs])
    np.testing.assert_array_equal(pack.token_ids[sources(pack.lengths, pack.shared)], whole)


def test_an_image_in_a_pack_with_shared_prefixes_has_its_pixels_and_positions_at_its_tokens() -> None:
    pytest.importorskip("vllm")
    from jina_embeddings.plugin.packed.layout import pack_positions

    inputs = [prepared(9), prepared(9), prepared(8, image=picture())]
    pack = make_pack(inputs, ImageConfig(), half=False)
    assert [image.start for image in pack.images] == [9 + 1 + 2]
    alone = pack_positions(make_pack(inputs[2:], ImageConfig(), half=False), 2)
    np.testing.assert_array_equal(pack_positions(pack, 2)[:, 10:], alone)
    assert pack_positions(pack, 2)[:, :10].tolist() == [[*range(9), 8]] * 3


def prepared_of(ids: list[int]) -> Prepared:
    return prepared(len(ids), token_ids=np.array(ids, dtype=np.int32))


@pytest.mark.parametrize("multivector", [False, True])
def test_a_pack_round_trips_through_its_wire_format(multivector: bool) -> None:
    config = ImageConfig(patch_size=14, mean=(0.1, 0.2, 0.3))
    inputs = [*[prepared(9, multivector=multivector)] * 2, prepared(9, image=picture(), multivector=multivector)]
    sent = make_pack(inputs, config, half=multivector)
    wire = [list(part) if isinstance(part, tuple) else part for part in sent.to_wire()]
    arrived = Pack.from_wire(wire)
    for name in ("token_ids", "lengths", "shared", "spans"):
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


def test_vectors_are_split_by_input() -> None:
    inputs = [prepared(4, spans=((0, 2), (2, 4))), prepared(3)]
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    first, second = split_vectors(vectors.tobytes(), inputs, hidden_size=4, multivector_dim=2, half=False)
    np.testing.assert_array_equal(first, vectors[:2])
    np.testing.assert_array_equal(second, vectors[2:])


def test_dense_vectors_come_before_the_multivectors_of_the_same_inputs() -> None:
    inputs = [prepared(4, spans=((0, 2), (2, 4)), multivector=True), prepared(3, multivector=True)]
    dense, tokens = np.arange(12, dtype=np.float32).reshape(3, 4), np.eye(7, dtype=np.float32)
    for half, sent in ((False, tokens), (True, tokens.astype(np.float16))):
        data = dense.tobytes() + sent.tobytes()
        first, second = split_vectors(data, inputs, hidden_size=4, multivector_dim=7, half=half)
        for both, rows, own in ((first, slice(0, 2), slice(0, 4)), (second, slice(2, 3), slice(4, 7))):
            np.testing.assert_array_equal(both.dense, dense[rows])
            np.testing.assert_array_equal(both.multivector, tokens[own])


def test_multivectors_are_writable() -> None:
    inputs = [prepared(3, multivector=True, spans=())]
    (rows,) = split_vectors(np.ones((3, 4), np.float32).tobytes(), inputs, hidden_size=8, multivector_dim=4, half=False)
    rows[0, 0] = 9


def test_float16_multivectors_are_normalised_again() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    inputs = [prepared(2, multivector=True, spans=()), prepared(3, multivector=True, spans=())]
    sent = rows.astype(np.float16).tobytes()
    result = np.concatenate(split_vectors(sent, inputs, hidden_size=8, multivector_dim=64, half=True))
    assert result.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(result, rows, atol=1e-3)
