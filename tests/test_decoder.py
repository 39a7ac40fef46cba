"""Decoder layers over a pack, in float64, beside the same layers over one prompt at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from jina_embeddings.plugin.packed_attention import PackMetadata, kept_tokens, places_in_prompts

HIDDEN, HEADS, GROUPS, SIZE, WIDTH = 24, 3, 1, 8, 40
LENGTHS, SHARED = np.array([7, 4, 4, 5], np.int32), 2

pytest.importorskip("vllm")


def fake_layer(rows: int, columns: int, *, bias: bool = False, **more: Any) -> SimpleNamespace:
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod

    class Method(UnquantizedLinearMethod):
        def __init__(self) -> None: ...

        def apply(self, layer: Any, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            return linear(x, layer.weight, bias)

    weight = torch.randn(rows, columns, dtype=torch.float64) * columns**-0.5
    offset = torch.randn(rows, dtype=torch.float64) if bias else None
    return SimpleNamespace(quant_method=Method(), weight=weight, bias=offset, **more)


def fake_norm() -> Any:
    weight = torch.rand(HIDDEN, dtype=torch.float64) + 0.5
    return lambda x: rms_norm(x, (HIDDEN,), weight, 1e-6)


@pytest.fixture
def model() -> SimpleNamespace:
    torch.manual_seed(0)
    angles = torch.arange(32, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.01], dtype=torch.float64)
    rotary = SimpleNamespace(cos_sin_cache=torch.cat([angles.cos(), angles.sin()], dim=-1), mrope_section=[2, 1, 1])
    attention = SimpleNamespace(num_heads=HEADS, num_kv_heads=GROUPS, impl=SimpleNamespace(scale=SIZE**-0.5))
    layers = [
        SimpleNamespace(
            self_attn=SimpleNamespace(
                # vLLM's LoRA wraps layers; what it wraps has the weights.
                qkv_proj=SimpleNamespace(base_layer=fake_layer((HEADS + 2 * GROUPS) * SIZE, HIDDEN, bias=True)),
                o_proj=fake_layer(HIDDEN, HEADS * SIZE),
                rotary_emb=rotary,
                attn=attention,
            ),
            mlp=SimpleNamespace(
                gate_up_proj=fake_layer(2 * WIDTH, HIDDEN), down_proj=fake_layer(HIDDEN, WIDTH), act_fn=swiglu
            ),
            input_layernorm=fake_norm(),
            post_attention_layernorm=fake_norm(),
        )
        for _ in range(2)
    ]
    return SimpleNamespace(language_model=SimpleNamespace(model=SimpleNamespace(layers=layers, norm=fake_norm())))


def swiglu(both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, dim=-1)
    return silu(gate) * up


def prompt_alone(model: SimpleNamespace, x: torch.Tensor) -> torch.Tensor:
    inner = model.language_model.model
    for layer in inner.layers:
        qkv = layer.self_attn.qkv_proj.base_layer
        heads = linear(layer.input_layernorm(x), qkv.weight, qkv.bias).view(len(x), -1, SIZE).transpose(0, 1)
        query, key, value = heads.split([HEADS, GROUPS, GROUPS])
        cos, sin = layer.self_attn.rotary_emb.cos_sin_cache[: len(x)].chunk(2, dim=-1)
        query, key = (
            torch.cat([h[..., :4] * cos - h[..., 4:] * sin, h[..., 4:] * cos + h[..., :4] * sin], dim=-1)
            for h in (query, key)
        )
        attended = scaled_dot_product_attention(query, key.expand_as(query), value.expand_as(query), is_causal=True)
        x = x + linear(attended.transpose(0, 1).flatten(1), layer.self_attn.o_proj.weight)
        gated = swiglu(linear(layer.post_attention_layernorm(x), layer.mlp.gate_up_proj.weight))
        x = x + linear(gated, layer.mlp.down_proj.weight)
    return inner.norm(x)


def test_a_pack_has_the_states_of_each_prompt_alone(model: SimpleNamespace) -> None:
    from jina_embeddings.plugin.decoder import PackDecoder

    embeds = torch.randn(int(LENGTHS.sum()), HIDDEN, dtype=torch.float64)
    places = torch.from_numpy(places_in_prompts(LENGTHS))
    embeds[places < SHARED] = embeds[:SHARED].repeat(len(LENGTHS), 1)
    prompts = embeds.split(LENGTHS.tolist())
    kept = torch.from_numpy(kept_tokens(LENGTHS, SHARED))
    pack = PackMetadata.of_lengths(LENGTHS, SHARED, torch.device("cpu"))
    decoder = PackDecoder.of(model)
    assert decoder is not None
    states = pack.whole(decoder(embeds[kept], places[kept].expand(3, -1), pack))
    assert torch.allclose(states, torch.cat([prompt_alone(model, prompt) for prompt in prompts]), atol=1e-10)


@pytest.mark.parametrize("change", [{"tp_size": 2}, {"quant_method": object()}])
def test_layers_that_are_split_or_quantised_are_left_to_vllm(model: SimpleNamespace, change: dict[str, Any]) -> None:
    from jina_embeddings.plugin.decoder import PackDecoder

    vars(model.language_model.model.layers[1].mlp.down_proj).update(change)
    assert PackDecoder.of(model) is None
