"""CUDA graphs of packs compared with the same packs launched kernel by kernel, and both with float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import cosine_similarity, linear, rms_norm, scaled_dot_product_attention, silu

from jina_embeddings.plugin.kernels.norms import fused_norms
from jina_embeddings.plugin.kernels.rotary import multimodal_table, rotate_in_torch
from jina_embeddings.plugin.packed.layout import pack_positions
from jina_embeddings.plugin.packs import Pack


@torch.inference_mode()
def check(runner: Any) -> dict[str, Any]:
    """Compares every graph of one task's weights, at several fills, with arbitrary values in its buffers before.

    Cosines are those of prompts' means to float32, where replayed and launched packs are to be alike up to chance;
    in fp8 those of replayed to launched ones. Also the milliseconds of a replay of each size.
    """
    graphs = runner._graphs
    if graphs is None:
        return {"graphs": 0}
    rng = np.random.default_rng(0)
    weights = min(key[0] for key in graphs._graphs)
    request = next((one for one in runner.recorded if one and one.lora_int_id == weights), None)
    has_float32 = runner._decoder._linear[0][0].weight.dtype != torch.float8_e4m3fn
    same = dict.fromkeys(("replayed_twice", "launched_twice", "launched_of_its_size", "launched"), 0)
    times, count, wrong_means, rows = {}, 0, 0, []
    for shape in sorted((key[1] for key in graphs._graphs if key[0] == weights), key=lambda shape: shape.tokens):
        for lengths in _fills(shape, rng):
            pack = _pack(lengths, rng)
            graphs.integers.fill_(1)
            graphs.embeds.fill_(torch.nan)
            states = graphs.run(weights, pack)
            replayed, means = states.hidden.float().clone(), states.means.clone()
            again = graphs.run(weights, pack).hidden.float().clone()
            with runner.lora.applied(request, pack.num_tokens) as whole:
                launched, second = (runner._hidden_states(pack, whole).float() for _ in range(2))
                graphs._fill(shape, pack, ())
                with fused_norms(runner.device):
                    own = graphs._forward(shape).hidden[: pack.num_tokens].float()
                exact = _means(_float32_states(runner, pack), lengths) if has_float32 else None
            same["replayed_twice"] += bool(torch.equal(replayed, again))
            same["launched_twice"] += bool(torch.equal(launched, second))
            same["launched_of_its_size"] += bool(torch.equal(replayed, own))
            same["launched"] += bool(torch.equal(replayed, launched))
            wrong_means += not torch.allclose(means, _means(replayed, lengths), rtol=1e-4, atol=1e-5)
            count += 1
            pair = (
                [cosine_similarity(_means(found, lengths), exact, dim=-1) for found in (replayed, launched)]
                if (exact is not None)
                else [cosine_similarity(means, _means(launched, lengths), dim=-1)]
            )
            rows.append([float(value) for cosines in pair for value in (cosines.min(), cosines.mean())])
        times[shape.tokens] = round(_milliseconds(graphs._graphs[weights, shape][0]), 3)
    table = np.array(rows)
    names = ("replayed", "launched") if has_float32 else ("replayed_to_launched",)
    cosines = {
        name: {"least": float(table[:, 2 * at].min()), "mean": float(table[:, 2 * at + 1].mean())}
        for at, name in enumerate(names)
    }
    return {
        "compared": count,
        "equal": same,
        "wrong_means": wrong_means,
        "cosine_to_float32" if has_float32 else "cosine": cosines,
        "replay_ms": times,
    }


def _pack(lengths: Any, rng: Any) -> Pack:
    ids = rng.integers(0, 100_000, int(lengths.sum())).astype(np.int32)
    return Pack(ids, lengths, np.zeros_like(lengths), np.zeros((0, 2), np.int32), "", False, "mean", False, ())


def _means(hidden: torch.Tensor, lengths: Any) -> torch.Tensor:
    return torch.stack([rows.mean(0) for rows in hidden.split(lengths.tolist())])  # type: ignore[no-untyped-call]


def _fills(shape: Any, rng: Any) -> list[Any]:
    """Lengths of prompts that fill a shape's tokens, its prompts, nearly all of it, half of it, and little of it."""
    most = min(shape.prompts, shape.tokens // 4)
    several = rng.multinomial(shape.tokens - 4 * most, np.full(most, 1 / most)) + 4
    fills = [[shape.tokens], several, several[: most // 2 + 1], [shape.tokens - 1], [5], [shape.tokens // 2, 3]]
    return [np.array(lengths, np.int32) for lengths in fills]


def _float32_states(runner: Any, pack: Pack) -> torch.Tensor:
    """The last hidden states in float32, of the weights in force; pack: without shared prefixes."""
    decoder, device = runner._decoder, runner.device
    x = runner._model.embed_input_ids(torch.from_numpy(pack.token_ids).to(device)).float()
    positions = torch.from_numpy(pack_positions(pack, 2)).to(device)
    table = multimodal_table(decoder._layers[0].self_attn.rotary_emb, positions, torch.float32)
    for block, (qkv, out, gate_up, down) in zip(decoder._layers, decoder._linear, strict=True):
        attention = block.self_attn.attn
        groups, queries = attention.num_kv_heads, attention.num_heads
        heads = linear(_normed(block.input_layernorm, x), qkv.weight.float(), qkv.bias.float())
        heads = heads.view(len(x), queries + 2 * groups, -1)
        rotate_in_torch(heads[:, : queries + groups], table)
        attended = []
        for prompt in heads.split(pack.lengths.tolist()):  # type: ignore[no-untyped-call]
            query, key, value = (part.transpose(0, 1) for part in prompt.split([queries, groups, groups], dim=1))
            key, value = (part.repeat_interleave(queries // groups, dim=0) for part in (key, value))
            attended.append(scaled_dot_product_attention(query, key, value, is_causal=True).transpose(0, 1))
        x = x + linear(torch.cat(attended).flatten(1), out.weight.float())
        gate, up = linear(_normed(block.post_attention_layernorm, x), gate_up.weight.float()).chunk(2, dim=-1)
        x = x + linear(silu(gate) * up, down.weight.float())
    return _normed(decoder._norm, x)


def _normed(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return rms_norm(x, (x.shape[1],), norm.weight.float(), norm.variance_epsilon)


def _milliseconds(run: Any, times: int = 20) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    run()
    start.record()
    for _ in range(times):
        run()
    stop.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(stop)) / times
