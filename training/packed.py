"""Texts end to end, in few sizes, so that a GPU runs the text model from CUDA graphs and the host hardly takes part.

On padded batches of ever new shapes a step takes 58 ms on an H100, which is busy for 32 of them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pair_batches import PairBatch
from student import MAX_TOKENS, Spans, Student, TextModel

GRAIN = 8192
"""Tokens by which sizes differ."""
TEXTS = 1024, 4096
"""Texts of a batch, both sides together; and tokens of a text: attention takes its time for empty ones too."""
LONGEST = 128, MAX_TOKENS


@dataclass(frozen=True)
class Size:
    """What a batch is filled up to."""

    tokens: int
    texts: int
    longest: int

    @classmethod
    def of(cls, tokens: int, texts: int, longest: int) -> Size:
        """The smallest one for so many tokens and texts, none longer than that."""
        return cls(
            -(-tokens // GRAIN) * GRAIN,
            min((size for size in TEXTS if size >= texts), default=texts),
            min((size for size in LONGEST if size >= longest), default=longest),
        )


Sides = list[tuple[Tensor, Tensor]]
"""Padded ids (n, longest) and lengths (n,) of what a batch reads."""


class Packer:
    """The texts of a batch in one run of the text model, whose trained weights stay the same ones."""

    def __init__(self, student: Student):
        self.model, self.weights = student.model, [p for p in student.model.parameters() if p.requires_grad]
        self.graphs: dict[tuple[Callable[..., Tensor], Size], Callable[..., Tensor]] = {}
        # One pool for all graphs, no two of which are ever under way at once, and one stream, whose memory is used again.
        on_gpu = self.model.embed_tokens.weight.is_cuda
        self.place = (torch.cuda.graph_pool_handle(), torch.cuda.Stream()) if on_gpu else None

    def __call__(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, hidden) of queries and passages, which are the same for texts alone."""
        sides = [(batch.query, batch.query_lengths), (batch.passage, batch.passage_lengths)]
        if batch.kind == "text":
            del sides[0]
        size = size_of(batch, sides)
        vectors = F.normalize(self.run(sums_of_states, size, *pack(sides, size)), dim=-1)
        count = sum(len(ids) for ids, _ in sides)
        return vectors[: len(batch.query)], vectors[count - len(batch.passage) : count]

    def states(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Last hidden states (n, longest, hidden) of queries and passages; behind a text's end stand those of others."""
        sides = [(batch.query, batch.query_lengths), (batch.passage, batch.passage_lengths)]
        size = size_of(batch, sides)
        ids, positions, _, spans = pack(sides, size)
        states = self.run(states_end_to_end, size, ids, positions, spans)
        count = len(batch.query)
        return padded(states, spans[:count], batch.query), padded(states, spans[count : 2 * count], batch.passage)

    def run(self, function: Callable[..., Tensor], size: Size, *inputs: Tensor) -> Tensor:
        """What the function gives for the model and these inputs of that size, from a CUDA graph on a GPU."""

        def call(*inputs: Tensor) -> Tensor:
            return function(self.model, *inputs, size.longest)

        if self.place is None or not self.weights:
            return call(*inputs)
        key = function, size
        if key not in self.graphs:
            self.graphs[key] = graphed(call, inputs, self.weights, *self.place)
        return self.graphs[key](*inputs)


def states_end_to_end(model: TextModel, ids: Tensor, positions: Tensor, spans: Tensor, longest: int) -> Tensor:
    """What `pack` gives to the last hidden states (tokens, hidden) in float32."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda, cache_enabled=False):
        return model(model.embed_tokens(ids)[None], positions.expand(3, -1), Spans(spans, longest))[0].float()


def sums_of_states(
    model: TextModel, ids: Tensor, positions: Tensor, texts: Tensor, spans: Tensor, longest: int
) -> Tensor:
    """What `pack` gives to the sum (rows, hidden) over each text of its last hidden states, in float32."""
    states = states_end_to_end(model, ids, positions, spans, longest)
    return torch.zeros(len(spans) - 1, states.shape[-1], device=ids.device).index_add(0, texts, states)


def padded(states: Tensor, starts: Tensor, ids: Tensor) -> Tensor:
    """States (tokens, hidden) of texts that start there as (n, longest, hidden), as their ids (n, longest) lie."""
    columns = torch.arange(ids.shape[1], device=ids.device)
    places = (starts[:, None] + columns).clamp(max=len(states) - 1)
    return states.index_select(0, places.flatten()).view(*ids.shape, -1)


def size_of(batch: PairBatch, sides: Sides) -> Size:
    """What a batch is filled up to where these sides of it are read."""
    return Size.of(int(batch.counts.sum()), sum(len(ids) for ids, _ in sides), max(ids.shape[1] for ids, _ in sides))


def pack(sides: Sides, size: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Padded ids (n, longest) and lengths (n,) end to end, without waiting for the device.

    Token ids, positions and numbers of the text, each (tokens,), and where texts start (rows + 1,). Tokens that are left
    over are texts of their own behind the others, none longer than a text may be.
    """
    device, tokens = sides[0][0].device, size.tokens
    lengths = torch.cat([lengths for _, lengths in sides])
    left = tokens - lengths.sum() - size.longest * torch.arange(-(-GRAIN // size.longest), device=device)
    empty = torch.zeros(size.texts - len(lengths), dtype=lengths.dtype, device=device)
    lengths = torch.cat([lengths, empty, left.clamp(0, size.longest)])
    spans = F.pad(lengths.cumsum(0), (1, 0))
    rows = torch.arange(len(lengths), device=device)
    text = torch.repeat_interleave(rows, lengths, output_size=tokens)
    positions = torch.arange(tokens, device=device) - spans[text]
    flat = torch.zeros(tokens + 1, dtype=torch.long, device=device)
    at = 0
    for ids, length in sides:
        columns = torch.arange(ids.shape[1], device=device)
        places = (spans[at : at + len(ids), None] + columns).masked_fill(columns >= length[:, None], tokens)
        flat.scatter_(0, places.flatten(), ids.flatten())
        at += len(ids)
    return flat[:-1], positions, text, spans.int()


def graphed(
    run: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    weights: list[torch.nn.Parameter],
    pool: tuple[int, int],
    stream: torch.cuda.Stream,
) -> Callable[..., Tensor]:
    """`run` as a CUDA graph for inputs of these shapes, and another one for the gradients of the weights.

    What it returns is overwritten by the next call, the gradients too. `torch.cuda.make_graphed_callables` does this too, but
    fails when another thread pins memory meanwhile.
    """
    # A graph of autograd that still lives has its gradients' ends on another stream, which can't be captured.
    gc.collect()
    held = [tensor.clone() for tensor in inputs]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            out = run(*held)
            torch.autograd.grad(out, weights, torch.zeros_like(out))
    torch.cuda.current_stream().wait_stream(stream)
    forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(forward, pool=pool, stream=stream, capture_error_mode="thread_local"):
        out = run(*held)
    wanted = torch.empty_like(out)
    with torch.cuda.graph(backward, pool=pool, stream=stream, capture_error_mode="thread_local"):
        gradients = torch.autograd.grad(out, weights, wanted)
    sums = out.detach()

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, *_: Tensor) -> Tensor:
            forward.replay()
            return sums.view_as(sums)

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, ...]:
            wanted.copy_(gradient)
            backward.replay()
            return tuple(gradient.detach() for gradient in gradients)

    def call(*inputs: Tensor) -> Tensor:
        for target, source in zip(held, inputs, strict=True):
            target.copy_(source)
        result: Tensor = Replay.apply(*weights)
        return result

    return call
