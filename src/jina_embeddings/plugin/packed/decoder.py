"""The language model over a pack: vLLM's loaded layers, without what only its scheduler needs."""

from __future__ import annotations

from typing import Any

import torch

from ..kernels.fp8 import has_fp8_weight, runs_on
from ..kernels.products import has_plain_weight
from ..kernels.rotary import multimodal_table, rotate
from .attention import PackMetadata, attend
from .residual import Fp8States, PlainStates, States


class PackDecoder:
    """Qwen2's decoder layers by their weights.

    vLLM's own graph writes gate and up to memory, and reads them for SiLU. Here SiLU is part of the product before it;
    where sums and norms are, `states` says.
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
        self._states: type[States] = PlainStates

    @classmethod
    def of(cls, model: Any) -> PackDecoder | None:
        """For the language model of `model`; None where its weights are neither plain matrices nor float8 ones.

        Float8 only where its kernels run.
        """
        inner = model.language_model.model
        decoder = cls(list(inner.layers), inner.norm)
        linear = [layer for layers in decoder._linear for layer in layers]
        if all(has_plain_weight(layer) for layer in linear):
            return decoder
        weight = inner.norm.weight
        if runs_on(weight.device, weight.dtype) and all(has_fp8_weight(layer) for layer in linear):
            decoder._states = Fp8States
            return decoder
        return None

    def __str__(self) -> str:
        return f"decoder layers of our own, {self._states.weights}"

    def __call__(self, embeds: torch.Tensor, positions: torch.Tensor, pack: PackMetadata) -> torch.Tensor:
        """Last hidden states after the final norm, (tokens, hidden).

        embeds: (tokens, hidden), overwritten.
        positions: int64 (3, tokens).
        """
        states = self._states(embeds)
        table = multimodal_table(self._layers[0].self_attn.rotary_emb, positions, embeds.dtype)
        for block, (qkv_proj, o_proj, gate_up_proj, down_proj) in zip(self._layers, self._linear, strict=True):
            attention = block.self_attn.attn
            groups, queries = attention.num_kv_heads, attention.num_heads
            heads = states.product(qkv_proj, states.normed(block.input_layernorm))
            heads = heads.view(len(embeds), queries + 2 * groups, -1)
            rotate(heads[:, : queries + groups], table)
            query, key, value = heads.split([queries, groups, groups], dim=1)
            attended = attend(attention.impl, query, key, value, pack, torch.empty_like(query))
            states.add(o_proj, attended.flatten(1))
            normed = states.normed(block.post_attention_layernorm)
            states.add(down_proj, states.gated_product(gate_up_proj, block.mlp.act_fn, normed))
        return states.last(self._norm)
