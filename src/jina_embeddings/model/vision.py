"""The vision tower: from patches of pixels to one vector for each token, which is a square of patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ..checkpoint.config import VisionConfig
from .layers import GatedMLP, Linear, RMSNorm, inverse_frequencies, rotate
from .windows import Layout

# Epsilon of the norms and base of the rotary frequencies; constants of the architecture, not in config.json.
_EPS = 1e-6
_THETA = 10_000.0


class VisionTower(nn.Module):
    """Most blocks attend within windows, some to the whole image (Bai et al. 2025, "Qwen2.5-VL", section 2.1.1)."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self._config = config
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = Merger(config)

    def forward(self, patches: torch.Tensor, grids: Sequence[tuple[int, int, int]]) -> torch.Tensor:
        """The features of all images' tokens, (tokens, hidden size of the language model).

        patches: (patches of all images, patch_dim); the patches of a token follow each other.
        grids: (frames, rows, columns) of each image, in patches.
        """
        config, device = self._config, patches.device
        layout = Layout.of(grids, config.spatial_merge_size, config.window_size // config.patch_size)
        cos, sin = self._rotary_angles(torch.from_numpy(layout.places).to(device))
        images, windows = (
            [torch.from_numpy(group).to(device) for group in groups] for groups in (layout.images, layout.windows)
        )
        x = self.patch_embed(patches)
        for number, block in enumerate(self.blocks):
            x = block(x, cos, sin, images if number in config.full_attention_blocks else windows)
        result: torch.Tensor = self.merger(x)
        return result

    def _rotary_angles(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The cosines and sines of the rotary angles, (patches, 1, head size / 2).

        The first half of the pairs rotates by the row of the patch, the second half by its column.

        places: (patches, 2), row and column.
        """
        pairs = self._config.hidden_size // self._config.num_heads // 2
        angles = (places[..., None] * inverse_frequencies(pairs // 2, _THETA, places.device)).flatten(1)[:, None]
        return angles.cos(), angles.sin()


class PatchEmbed(nn.Module):
    """A convolution whose stride equals its kernel size, computed as one matrix product."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.proj = Filters(config)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        weight = self.proj.weight.flatten(1)
        return F.linear(patches.to(weight.dtype), weight)


class Filters(nn.Module):
    """The convolution's weight, (hidden, channels, frames, rows, columns)."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        sides = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.weight = nn.Parameter(torch.empty(config.hidden_size, config.in_channels, *sides))


class VisionBlock(nn.Module):
    def __init__(self, config: VisionConfig):
        super().__init__()
        self.norm1 = RMSNorm(config.hidden_size, _EPS)
        self.attn = VisionAttention(config)
        self.norm2 = RMSNorm(config.hidden_size, _EPS)
        self.mlp = GatedMLP(config.hidden_size, config.intermediate_size, bias=True)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, groups: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        x = x + self.attn(self.norm1(x), cos, sin, groups)
        result: torch.Tensor = x + self.mlp(self.norm2(x))
        return result


class VisionAttention(nn.Module):
    """Attention within groups of patches; the groups of one size are one batch."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self._heads = config.num_heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, groups: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        q, k, v = self.qkv(x).view(len(x), 3, self._heads, -1).unbind(1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attended = torch.empty_like(v)
        for patches in groups:
            some_q, some_k, some_v = (tensor[patches].transpose(1, 2) for tensor in (q, k, v))
            attended[patches] = F.scaled_dot_product_attention(some_q, some_k, some_v).transpose(1, 2)
        result: torch.Tensor = self.proj(attended.flatten(1))
        return result


class Merger(nn.Module):
    """Concatenates the patches of each token and projects them to one vector."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        width = config.hidden_size * config.spatial_merge_size**2
        self._width = width
        self.ln_q = RMSNorm(config.hidden_size, _EPS)
        self.mlp = nn.Sequential(Linear(width, width), nn.GELU(), Linear(width, config.out_hidden_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.mlp(self.ln_q(x).view(-1, self._width))
        return result
