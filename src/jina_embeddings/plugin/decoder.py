"""The language model over a pack: vLLM's loaded layers, without what only its scheduler needs."""

from __future__ import annotations

from typing import Any

import torch

from .packed_attention import PackMetadata, attend
from .products import add_product, gated_product, has_plain_weight, product
from .rotary import multimodal_table, rotate


class PackDecoder:
    """Qwen2's decoder layers by their weights.

    vLLM's own graph writes gate and up to memory, reads them for SiLU, and carries the residual through the norms. Here
    SiLU is part of the product before it, and the products after it add to the residual themselves.
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

    @classmethod
    def of(cls, model: Any) -> PackDecoder | None:
        """For the language model of `model`; None where it has weights that aren't plain matrices."""
        inner = model.language_model.model
        decoder = cls(list(inner.layers), inner.norm)
        plain = all(has_plain_weight(layer) for layers in decoder._linear for layer in layers)
        return decoder if plain else None

    def __call__(self, embeds: torch.Tensor, positions: torch.Tensor, pack: PackMetadata) -> torch.Tensor:
        """Last hidden states after the final norm, (tokens, hidden).

        embeds: (tokens, hidden), overwritten.
        positions: int64 (3, tokens).
        """
        hidden = embeds
        table = multimodal_table(self._layers[0].self_attn.rotary_emb, positions, hidden.dtype)
        for block, (qkv_proj, o_proj, gate_up_proj, down_proj) in zip(self._layers, self._linear, strict=True):
            attention = block.self_attn.attn
            groups, queries = attention.num_kv_heads, attention.num_heads
            heads = product(qkv_proj, block.input_layernorm(hidden)).view(len(hidden), queries + 2 * groups, -1)
            rotate(heads[:, : queries + groups], table)
            query, key, value = heads.split([queries, groups, groups], dim=1)
            attended = attend(attention.impl, query, key, value, pack, torch.empty_like(query))
            add_product(hidden, o_proj, attended.flatten(1))
            gated = gated_product(gate_up_proj, block.mlp.act_fn, block.post_attention_layernorm(hidden))
            add_product(hidden, down_proj, gated)
        result: torch.Tensor = self._norm(hidden)
        return result
