"""The language model. Attention is causal, so padding behind a prompt doesn't change it and needs no mask."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..checkpoint.config import ModelConfig
from .layers import Embedding, GatedMLP, Linear, RMSNorm, inverse_frequencies, rotate


class LanguageModel(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self._head_dim = config.head_dim
        self._theta = config.rope_theta
        self._sections = list(config.mrope_section)

    def forward(self, embeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Last hidden states after the final norm, (batch, tokens, hidden).

        embeds: (batch, tokens, hidden); positions: int64 (3, batch, tokens), of time, row and column.
        """
        cos, sin = self._rotary_angles(positions)
        x = embeds
        for layer in self.layers:
            x = layer(x, cos, sin)
        result: torch.Tensor = self.norm(x)
        return result

    def _rotary_angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The cosines and sines of the rotary angles, (batch, 1, tokens, head size / 2).

        The frequencies are cut into sections, which rotate by the time, row and column position in turn
        (Wang et al. 2024, section 2.1: M-RoPE).
        """
        angles = positions[..., None] * inverse_frequencies(self._head_dim // 2, self._theta, positions.device)
        sections = torch.split(angles, self._sections, -1)
        angle = torch.cat([section[at % 3] for at, section in enumerate(sections)], -1)[:, None]
        return angle.cos(), angle.sin()


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = CausalAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = GatedMLP(config.hidden_size, config.intermediate_size, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        result: torch.Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class CausalAttention(nn.Module):
    """Causal grouped-query attention: several query heads share a key and value head (Ainslie et al. 2023)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self._size = config.head_dim
        self._sharing = config.num_heads // config.num_kv_heads
        width, shared = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = Linear(config.hidden_size, width)
        self.k_proj = Linear(config.hidden_size, shared)
        self.v_proj = Linear(config.hidden_size, shared)
        self.o_proj = Linear(width, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            projection(x).view(batch, length, -1, self._size).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        # Keys and values are repeated, as torch has no fused kernel for grouped queries in float32 on CUDA.
        k, v = (shared.repeat_interleave(self._sharing, 1) for shared in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: torch.Tensor = self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))
        return result
