"""A language model of two layers in float64, in fakes of vLLM's classes, and a simple implementation of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN, HEADS, GROUPS, SIZE, WIDTH = 48, 4, 2, 8, 80
FLOAT8 = torch.float8_e4m3fn


def fake_layer(rows: int, columns: int, *, bias: bool = False, **more: Any) -> SimpleNamespace:
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod

    class Method(UnquantizedLinearMethod):  # type: ignore[misc]
        def __init__(self) -> None: ...

        def apply(self, layer: Any, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            return linear(x, layer.weight, bias)

    weight = torch.randn(rows, columns, dtype=torch.float64) * columns**-0.5
    offset = torch.randn(rows, dtype=torch.float64) if bias else None
    return SimpleNamespace(quant_method=Method(), weight=weight, bias=offset, **more)


class FakeNorm:
    variance_epsilon = 1e-6

    def __init__(self) -> None:
        self.weight = torch.rand(HIDDEN, dtype=torch.float64) + 0.5

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, (HIDDEN,), self.weight, self.variance_epsilon)


def fake_model() -> SimpleNamespace:
    """A fake of vLLM's linear layer with an unquantised weight."""
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
            input_layernorm=FakeNorm(),
            post_attention_layernorm=FakeNorm(),
        )
        for _ in range(2)
    ]
    return SimpleNamespace(language_model=SimpleNamespace(model=SimpleNamespace(layers=layers, norm=FakeNorm())))


def swiglu(both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, dim=-1)
    return silu(gate) * up


def fake_fp8_model(*, per_channel: bool = False) -> SimpleNamespace:
    """A fake of vLLM's linear layer with `quantization="fp8"`."""
    model = fake_model()
    for layer in linear_layers(model):
        outputs, inputs = layer.weight.shape
        largest = layer.weight.abs().amax(dim=1, keepdim=True) if per_channel else layer.weight.abs().max().view(1)
        layer.weight_scale = largest / 448
        layer.weight = (layer.weight / layer.weight_scale).to(FLOAT8).t()
        layer.input_size_per_partition, layer.output_size_per_partition = inputs, outputs
        layer.quant_method, layer.input_scale = object(), None
    return model


def linear_layers(model: SimpleNamespace) -> list[SimpleNamespace]:
    """The linear layers, those of the last decoder layer first."""
    return [
        getattr(layer, "base_layer", layer)
        for block in reversed(model.language_model.model.layers)
        for layer in (
            block.self_attn.qkv_proj,
            block.self_attn.o_proj,
            block.mlp.gate_up_proj,
            block.mlp.down_proj,
        )
    ]


def weight_of(layer: SimpleNamespace) -> torch.Tensor:
    """(out, in), dequantised."""
    if layer.weight.dtype != FLOAT8:
        return torch.as_tensor(layer.weight)
    return torch.as_tensor(layer.weight.t().double() * layer.weight_scale)


def rounded_to_fp8(x: torch.Tensor) -> torch.Tensor:
    """Quantises and dequantises each row with its own scale, in which its largest value is 448."""
    scale = x.abs().amax(dim=-1, keepdim=True) / 448
    return (x / scale).to(FLOAT8).double() * scale


def prompt_alone(
    model: SimpleNamespace, x: torch.Tensor, read: Callable[[torch.Tensor], torch.Tensor] = lambda x: x
) -> torch.Tensor:
    """The last hidden states of one prompt. read: applied to the input of every product."""
    inner = model.language_model.model
    for block in inner.layers:
        qkv, mlp = block.self_attn.qkv_proj.base_layer, block.mlp
        heads = linear(read(block.input_layernorm(x)), weight_of(qkv), qkv.bias).view(len(x), -1, SIZE).transpose(0, 1)
        query, key, value = torch.split(heads, [HEADS, GROUPS, GROUPS])
        cos, sin = block.self_attn.rotary_emb.cos_sin_cache[: len(x)].chunk(2, dim=-1)
        query, key = (
            torch.cat([h[..., :4] * cos - h[..., 4:] * sin, h[..., 4:] * cos + h[..., :4] * sin], dim=-1)
            for h in (query, key)
        )
        key, value = (h.repeat_interleave(HEADS // GROUPS, dim=0) for h in (key, value))
        attended = scaled_dot_product_attention(query, key, value, is_causal=True).transpose(0, 1).flatten(1)
        x = x + linear(read(attended), weight_of(block.self_attn.o_proj))
        gated = swiglu(linear(read(block.post_attention_layernorm(x)), weight_of(mlp.gate_up_proj)))
        x = x + linear(read(gated), weight_of(mlp.down_proj))
    return torch.as_tensor(inner.norm(x))
