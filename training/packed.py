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


class Packer:
    """Unit vectors of the texts of a batch, in one run of the text model, whose trained weights stay the same ones."""

    def __init__(self, student: Student):
        self.model, self.weights = student.model, [p for p in student.model.parameters() if p.requires_grad]
        self.graphs: dict[Size, Callable[..., Tensor]] = {}
        # One pool for all graphs, no two of which are ever under way at once, and one stream, whose memory is used again.
        on_gpu = self.model.embed_tokens.weight.is_cuda
        self.place = (torch.cuda.graph_pool_handle(), torch.cuda.Stream()) if on_gpu else None

    def __call__(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Vectors (n, hidden) of queries and passages, which are the same for texts alone."""
        sides = [(batch.query, batch.query_lengths), (batch.passage, batch.passage_lengths)]
        if batch.kind == "text":
            del sides[0]
        count = sum(len(ids) for ids, _ in sides)
        size = Size.of(batch.tokens, count, max(ids.shape[1] for ids, _ in sides))
        vectors = F.normalize(self.sums(size, pack(sides, size))[:count], dim=-1)
        return vectors[: len(batch.query)], vectors[-len(batch.passage) :]

    def sums(self, size: Size, packed: tuple[Tensor, ...]) -> Tensor:
        """The sum over each text of its last hidden states."""

        def run(*inputs: Tensor) -> Tensor:
            return sums_of_states(self.model, *inputs, size.longest)

        if self.place is None:
            return run(*packed)
        if size not in self.graphs:
            self.graphs[size] = graphed(run, packed, self.weights, *self.place)
        return self.graphs[size](*packed)


def sums_of_states(
    model: TextModel, ids: Tensor, positions: Tensor, texts: Tensor, spans: Tensor, longest: int
) -> Tensor:
    """What `pack` gives to the sum (rows, hidden) over each text of its last hidden states, in float32."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda, cache_enabled=False):
        states = model(model.embed_tokens(ids)[None], positions.expand(3, -1), Spans(spans, longest))[0]
    return torch.zeros(len(spans) - 1, states.shape[-1], device=ids.device).index_add(0, texts, states.float())


def pack(sides: list[tuple[Tensor, Tensor]], size: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
