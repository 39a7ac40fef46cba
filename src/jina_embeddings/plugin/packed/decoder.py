"""The language model over a pack: runs the decoder layers that vLLM has loaded with fewer and larger kernels."""

from __future__ import annotations

from typing import Any

import torch

from ..compat import fits
from ..kernels.causal import causal_attention
from ..kernels.fp8 import has_fp8_weight, runs_on
from ..kernels.products import has_plain_weight
from ..kernels.rotary import multimodal_table, rotate
from .attention import attend
from .layout import PackMetadata
from .residual import Fp8Residual, PlainResidual, Residual


class PackDecoder:
    """Qwen2's decoder layers, with the weights of vLLM's.

    vLLM's own forward writes gate and up to memory and reads them again for SiLU; here SiLU is in the epilogue of the
    product. Which kernels add to the residual and compute norms depends on the weights: see `residual`.
    """

    def __init__(self, layers: list[Any], norm: Any):
        self._layers = layers
        self._norm = norm
        self._linear = [
            tuple(
                getattr(layer, "base_layer", layer)
                for layer in (
                    block.self_attn.qkv_proj,
                    block.self_attn.o_proj,
                    block.mlp.gate_up_proj,
                    block.mlp.down_proj,
                )
            )
            for block in layers
        ]
        self._residual_type: type[Residual] = PlainResidual

    @classmethod
    def of(cls, model: Any) -> PackDecoder | None:
        """A decoder for the language model of `model`, or None where its weights are neither unquantised nor float8.

        Float8 weights need a device that its kernels run on. Also None where vLLM's layers have other parts.
        """
        inner = model.language_model.model
        if not all(fits("decoder layers", layer) for layer in inner.layers):
            return None
        decoder = cls(list(inner.layers), inner.norm)
        linear = [layer for layers in decoder._linear for layer in layers]
        if all(has_plain_weight(layer) for layer in linear):
            return decoder
        weight = inner.norm.weight
        if runs_on(weight.device, weight.dtype) and all(has_fp8_weight(layer) for layer in linear):
            decoder._residual_type = Fp8Residual
            return decoder
        return None

    def __str__(self) -> str:
        return f"decoder layers of our own, {self._residual_type.weights}"

    def __call__(self, embeds: torch.Tensor, positions: torch.Tensor, pack: PackMetadata) -> torch.Tensor:
        """Last hidden states after the final norm, (tokens, hidden).

        embeds: (tokens, hidden), overwritten.
        positions: int64 (3, tokens).
        """
        residual = self._residual_type(embeds)
        table = multimodal_table(self._layers[0].self_attn.rotary_emb, positions, embeds.dtype)
        for block, (qkv_proj, o_proj, gate_up_proj, down_proj) in zip(self._layers, self._linear, strict=True):
            attention = block.self_attn.attn
            groups, queries = attention.num_kv_heads, attention.num_heads
            heads = residual.product(qkv_proj, residual.normed(block.input_layernorm))
            heads = heads.view(len(embeds), queries + 2 * groups, -1)
            attended = _attended(attention.impl, heads, table, pack, queries=queries, groups=groups)
            residual.add(o_proj, attended.flatten(1))
            normed = residual.normed(block.post_attention_layernorm)
            residual.add(down_proj, residual.gated_product(gate_up_proj, block.mlp.act_fn, normed))
        hidden: torch.Tensor = self._norm(residual.total())
        return hidden


def _attended(
    impl: Any, heads: torch.Tensor, table: torch.Tensor, pack: PackMetadata, *, queries: int, groups: int
) -> torch.Tensor:
    """Causal attention within each prompt, (tokens, queries, head size).

    impl: as of `attend`.
    heads: (tokens, queries + 2 * groups, head size): queries, keys and values before the rotation; may be overwritten.
    """
    if pack.reach is not None:
        attended = causal_attention(heads, table, *pack.reach, pack.source, queries=queries, scale=impl.scale)
        if attended is not None:
            return attended
    rotate(heads[:, : queries + groups], table)
    query, key, value = heads.split([queries, groups, groups], dim=1)
    return attend(impl, query, key, value, pack, torch.empty_like(query))
