"""Kernels of packs beside what they replace: gate and up of few tokens, attention in small packs, the vision tower's.

    python benchmarks/pack_kernels.py          # a GPU of compute capability 9.0; vLLM and QuACK

Microseconds of one call, captured ten times in a CUDA graph, so that launching isn't measured. Weights take turns, as
one alone would stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import linear

from from_tools import write_result
from jina_embeddings.plugin.kernels import causal, fp8, norms, rotary, windows
from jina_embeddings.plugin.kernels.products_quack import gated_product

HIDDEN, WIDTH = 2048, 11_008
TOKENS = (64, 128, 256, 384, 512, 768, 1024)
# Windows of 20 pages of 64 x 46 patches; those at the edges are smaller.
WINDOWS = ([64] * 40 + [48] * 8) * 20
OPTIONS: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16}
REPEATS = 10


def main() -> None:
    import vllm._custom_ops  # noqa: F401

    found = {
        "gate and up, bfloat16": {tokens: plain(tokens) for tokens in TOKENS},
        "gate and up, fp8": {tokens: quantised(tokens) for tokens in TOKENS},
        "attention of prompts of 27 tokens": {tokens: attention(tokens) for tokens in TOKENS},
        "vision tower": tower(),
    }
    write_result("pack_kernels", {"found": found})


def microseconds(run: Callable[[int], object]) -> float:
    """Of one call; run: gets the number of the call."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        run(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for number in range(REPEATS):
            run(number)
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    took = []
    for _ in range(4):
        start.record()
        graph.replay()
        stop.record()
        torch.cuda.synchronize()
        took.append(start.elapsed_time(stop))
    return round(1000 * float(min(took[1:])) / REPEATS, 2)


def activation(both: torch.Tensor) -> torch.Tensor:
    gated = both.new_empty(len(both), both.shape[1] // 2)
    torch.ops._C.silu_and_mul(gated, both)
    return gated


def plain(tokens: int) -> dict[str, float]:
    weights = [torch.randn(2 * WIDTH, HIDDEN, **OPTIONS) / 45 for _ in range(4)]
    x = torch.randn(tokens, HIDDEN, **OPTIONS)
    return {
        "fused": microseconds(lambda number: gated_product(x, weights[number % 4], None)),
        "product, then SiLU": microseconds(lambda number: activation(linear(x, weights[number % 4]))),
    }


def fp8_layer(outputs: int, inputs: int, bias: torch.Tensor | None = None) -> Any:
    weight = (torch.randn(outputs, inputs, device="cuda") / 45).to(fp8.FLOAT8)
    return SimpleNamespace(weight=weight.t(), weight_scale=torch.full((1,), 0.05, device="cuda"), bias=bias)


def quantised(tokens: int, width: int = WIDTH, hidden: int = HIDDEN, *, biased: bool = False) -> dict[str, float]:
    bias = torch.randn(2 * width, **OPTIONS) if biased else None
    layers = [fp8_layer(2 * width, hidden, bias) for _ in range(4)]
    x = fp8.quantized(torch.randn(tokens, hidden, **OPTIONS))

    def way(most_separate: int) -> float:
        fp8.MAX_SEPARATE_TOKENS = most_separate
        return microseconds(lambda number: fp8.gated_product(layers[number % 4], activation, x, torch.bfloat16))

    return {"fused": way(0), "product, then SiLU and quantising": way(tokens)}


def attention(tokens: int) -> dict[str, float]:
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    lengths = [27] * (tokens // 27) + [tokens % 27] * (tokens % 27 > 0)
    first, last = (part.int().cuda() for part in causal.attended(lengths, [0] * len(lengths)))
    bounds = torch.tensor([0, *lengths], device="cuda").cumsum(0).int()
    heads, table = torch.randn(tokens, 20, 128, **OPTIONS), torch.randn(tokens, 128, **OPTIONS)

    def flash(number: int) -> None:
        rotary.rotate(heads[:, :18], table)
        query, key, value = heads.split([16, 2, 2], dim=1)  # type: ignore[no-untyped-call]
        longest = {"max_seqlen_q": tokens, "max_seqlen_k": tokens, "causal": True, "fa_version": 3, "num_splits": 1}
        flash_attn_varlen_func(q=query, k=key, v=value, cu_seqlens_q=bounds, cu_seqlens_k=bounds, **longest)

    def ours(number: int) -> object:
        return causal.causal_attention(heads, table, first, last, None, queries=16, scale=128**-0.5)

    return {"ours, with the rotation": microseconds(ours), "rotation, then FlashAttention": microseconds(flash)}


def tower() -> dict[str, float]:
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    tokens, width, half = sum(WINDOWS), 1280, 40
    bounds = torch.tensor([0, *WINDOWS], device="cuda").cumsum(0).int()
    heads, angles = torch.randn(tokens, 48, 2 * half, **OPTIONS), torch.randn(tokens, half, device="cuda")
    table = torch.cat([angles.cos(), angles.sin()], dim=-1).bfloat16()

    def flash(number: int) -> None:
        rotary.rotate(heads[:, :32], table)
        query, key, value = heads.chunk(3, dim=1)
        longest = {"max_seqlen_q": 64, "max_seqlen_k": 64, "causal": False, "fa_version": 3}
        flash_attn_varlen_func(q=query, k=key, v=value, cu_seqlens_q=bounds, cu_seqlens_k=bounds, **longest)

    x, residual = torch.randn(tokens, width, **OPTIONS), torch.randn(tokens, width, **OPTIONS)
    offset, norm = torch.randn(width, device="cuda"), SimpleNamespace(weight=torch.ones(width, **OPTIONS))
    norm.variance_epsilon = 1e-6
    both = torch.randn(tokens, 6912, **OPTIONS)
    return {
        "tokens": tokens,
        "windows, with the rotation": microseconds(
            lambda number: windows.window_attention(heads, table, bounds, 64, (2 * half) ** -0.5)
        ),
        "rotation, then FlashAttention": microseconds(flash),
        "norm with biases": microseconds(lambda number: norms.offset_norm(norm, x, offset)),
        "addition and norm": microseconds(
            lambda number: torch.ops._C.fused_add_rms_norm(x, residual, norm.weight, 1e-6)
        ),
        **{
            f"fp8 gate and up with biases, {way}": took
            for way, took in quantised(tokens, 3456, width, biased=True).items()
        },
        "fp8: SiLU and quantising": microseconds(lambda number: fp8.gate_quantized(both, activation)),
        "fp8: SiLU, then quantising": microseconds(lambda number: fp8.quantized(activation(both))),
    }


if __name__ == "__main__":
    main()
