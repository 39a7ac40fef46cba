"""Small packs in the buffers of graphs, compared with each prompt alone, in float64; replays run on the CPU."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fake_decoder import HIDDEN, fake_model, prompt_alone
from jina_embeddings.inputs.patches import ImageConfig
from jina_embeddings.plugin.kernels.causal import attended
from jina_embeddings.plugin.packs import MIN_SHARING_TOKENS, Pack, make_pack
from jina_embeddings.types import Prepared, PreparedImage
from replays import run_again

pytest.importorskip("vllm")

from jina_embeddings.plugin.packed.graphs import PackGraphs, Shape, States, shapes_up_to
from jina_embeddings.plugin.packed.layout import PackMetadata, pack_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

VOCABULARY = 50
# Small versions of the real sizes; the last two share prefixes.
SHAPES = [Shape(4, 2, 4), Shape(8, 8, 8), Shape(12, 3, 18), Shape(20, 10, 30)]


class Model:
    """The small decoder with its graphs, and the states of each prompt alone."""

    def __init__(self, shapes: Sequence[Shape] = SHAPES):
        from jina_embeddings.plugin.packed.decoder import PackDecoder

        self.fake = fake_model()
        decoder = PackDecoder.of(self.fake)
        assert decoder is not None
        self.decoder = decoder
        torch.manual_seed(2)
        self.table = torch.randn(VOCABULARY, HIDDEN, dtype=torch.float64)
        self.graphs = PackGraphs(
            decoder,
            lambda ids: torch.nn.functional.embedding(ids, self.table),
            merge_size=2,
            device=torch.device("cpu"),
            shapes=shapes,
            record=run_again,
        )

    def alone(self, prompts: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
        return torch.cat([prompt_alone(self.fake, self.table[torch.from_numpy(ids).long()]) for ids in prompts])

    def spoil(self) -> None:
        """Fills the buffers with arbitrary values, as an earlier pack may have left any."""
        self.graphs.integers.fill_(VOCABULARY - 1)
        self.graphs.embeds.fill_(torch.nan)

    def run(self, pack: Pack) -> States | None:
        return self.graphs.run("code", pack)


def prompts_of(lengths: Sequence[int]) -> list[np.ndarray[Any, Any]]:
    """Prompts whose neighbours share prefixes."""
    rng = np.random.default_rng(sum(lengths))
    made = [rng.integers(0, VOCABULARY, length).astype(np.int32) for length in lengths]
    for before, ids in itertools.pairwise(made):
        count = min(len(before), len(ids) - 1, 2)
        ids[:count] = before[:count]
    return made


def pack_of(prompts: Sequence[np.ndarray[Any, Any]], *, share: bool) -> Pack:
    batch = [Prepared(ids, "code", ((0, len(ids)),)) for ids in prompts]
    return make_pack(batch, ImageConfig(), half=False, small=not share, for_graph=True)


def check(states: States, expected: torch.Tensor, lengths: Sequence[int]) -> None:
    """Against the hidden states that the prompts have alone."""
    torch.testing.assert_close(states.hidden, expected, atol=1e-10, rtol=0)
    means = torch.stack([rows.mean(0) for rows in torch.split(expected, list(lengths))])
    torch.testing.assert_close(states.means, means.float(), atol=1e-6, rtol=1e-5)


def fills(shape: Shape) -> list[list[int]]:
    """Packs that fill a shape by tokens or by prompts, and packs that leave some or nearly all of it empty."""
    some = [shape.tokens // 3, shape.tokens - shape.tokens // 3]
    return [[shape.tokens], [shape.tokens - 1], some, [2] * (min(shape.prompts, shape.tokens // 2)), [3, 1], [1]]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.tokens))
@pytest.mark.parametrize("share", [False, True])
def test_every_size_gives_the_states_of_each_prompt_alone_at_every_fill(shape: Shape, share: bool) -> None:
    model = Model([shape])
    assert model.graphs.record("code") == shape.tokens
    for lengths in fills(shape):
        prompts = prompts_of(lengths)
        pack = pack_of(prompts, share=share and shape.shares)
        model.spoil()
        states = model.run(pack)
        assert states is not None
        check(states, model.alone(prompts), lengths)


def test_prompts_that_share_more_than_a_graph_has_room_for_share_a_part_of_it() -> None:
    model = Model([SHAPES[-1]])
    model.graphs.record("code")
    prompts = [np.array([5, 6, 7, 8, 9, number], np.int32) for number in range(5)]
    pack = pack_of(prompts, share=True)
    assert (pack.num_tokens, pack.shared.tolist()) == (20, [0, 5, 5, 0, 0])
    model.spoil()
    states = model.run(pack)
    assert states is not None
    check(states, model.alone(prompts), [6] * 5)


def test_packs_follow_each_other_in_the_same_buffers() -> None:
    model = Model()
    model.graphs.record("code")
    for lengths in ([20], [1], [4, 4, 4, 4], [3], [8], [2, 2, 2, 2, 2, 2]):
        prompts = prompts_of(lengths)
        states = model.run(pack_of(prompts, share=sum(lengths) > 8))
        assert states is not None
        check(states, model.alone(prompts), lengths)


def test_attention_writes_every_row_so_that_what_memory_held_before_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda tensor: empty_like(tensor).fill_(torch.nan))
    for share in (False, True):
        model = Model([SHAPES[-1]])
        model.graphs.record("code")
        pack = pack_of(prompts_of([5, 3, 4]), share=share)
        assert model.run(pack) is not None
        ((_, recorded),) = model.graphs._graphs.values()
        assert bool(recorded.hidden.isfinite().all())


def test_the_features_of_an_image_take_their_places_and_its_tokens_the_positions_of_the_image() -> None:
    """The image shares a pack with a text; its positions are those of a pack without a graph."""
    model = Model([SHAPES[-1]])
    model.graphs.record("code")
    pixels = np.zeros((56, 84, 3), np.uint8)
    image = PreparedImage(pixels, (1, 4, 6), offset=2, num_tokens=6, digest="a")
    ids = np.arange(10, dtype=np.int32)
    batch = [Prepared(ids[:5], "code", ((0, 5),)), Prepared(ids, "code", ((0, 10),), image=image)]
    pack = make_pack(batch, ImageConfig(), half=False, small=True)
    features = torch.randn(6, HIDDEN, dtype=torch.float64)
    embeds = model.table[torch.from_numpy(pack.token_ids).long()]
    embeds[7:13] = features
    layout = PackMetadata.of_prompts(pack.lengths, pack.shared, torch.device("cpu"))
    expected = model.decoder(embeds, torch.from_numpy(pack_positions(pack, 2)), layout)
    model.spoil()
    states = model.graphs.run("code", pack, [features])
    assert states is not None
    check(states, expected, [5, 10])


@pytest.mark.parametrize(("lengths", "shared"), [([5, 3, 4], [0, 0, 0]), ([5, 4, 6], [0, 2, 2])])
def test_each_token_reaches_from_the_first_of_its_prompt_to_itself(lengths: list[int], shared: list[int]) -> None:
    """The padding, one more prompt, too: attention must write all of its rows."""
    shape = SHAPES[-1]
    prompts = [np.arange(length, dtype=np.int32) for length in lengths]
    kept = np.concatenate([ids[count:] for ids, count in zip(prompts, shared, strict=True)])
    pack = replace(pack_of(prompts, share=False), token_ids=kept, shared=np.array(shared, np.int32))
    integers = np.zeros(shape.num_integers, np.int32)
    shape.lay_out(pack, 2, integers)
    found = [part.tolist() for part in shape.parts(integers)[2].reshape(2, -1)]
    whole = [*lengths, shape.tokens - sum(lengths) + sum(shared)]
    assert found == [part.tolist() for part in attended(whole, [*shared, 0])]


def test_packs_that_no_graph_holds_are_not_replayed() -> None:
    model = Model()
    model.graphs.record("code")
    assert model.run(pack_of(prompts_of([21]), share=False)) is None
    assert model.run(pack_of(prompts_of([1] * 11), share=False)) is None
    assert model.graphs.run("retrieval", pack_of(prompts_of([3]), share=False)) is None


def test_a_pack_of_many_short_prompts_goes_into_a_larger_graph() -> None:
    model = Model([Shape(4, 2, 4), Shape(20, 10, 30)])
    model.graphs.record("code")
    prompts = prompts_of([1, 1, 1])
    states = model.run(pack_of(prompts, share=False))
    assert states is not None
    check(states, model.alone(prompts), [1, 1, 1])


def test_sizes_without_memory_are_left_out_and_the_next_larger_one_runs() -> None:
    model = Model()
    assert model.graphs.record("code", lambda shape: shape.tokens not in (4, 20)) == 12
    assert model.graphs.num_graphs == 2
    assert model.run(pack_of(prompts_of([3]), share=False)) is not None
    assert model.run(pack_of(prompts_of([13]), share=False)) is None


@pytest.mark.parametrize("largest", [1, 32, 100, 512, 4096, 6000, 16_384])
def test_the_largest_size_is_the_one_asked_for(largest: int) -> None:
    sizes = [shape.tokens for shape in shapes_up_to(largest)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == largest
    # Except for the smallest graphs, less than half of a graph is padding.
    assert all(after <= 2 * before for before, after in itertools.pairwise(sizes))


def test_zero_tokens_give_no_graphs() -> None:
    assert shapes_up_to(0) == []


def test_graphs_share_prefixes_from_the_size_at_which_packs_do() -> None:
    assert {shape.tokens > MIN_SHARING_TOKENS for shape in shapes_up_to(4096) if shape.shares} == {True}
    assert all(shape.shares for shape in shapes_up_to(4096) if shape.tokens > MIN_SHARING_TOKENS)
