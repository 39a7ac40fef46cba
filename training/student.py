"""The student: Qwen2.5-VL's language model and vision tower in plain PyTorch, under the checkpoint's own names.

Batches are dense: texts of one batch are padded at the end, which a causal model doesn't see, and the images of one
batch have one size. That is all that training needs, and it is several times as fast as the general classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sizes import POCKET, ROPE_THETA

EPS = 1e-6
MAX_TOKENS = 384
"""Of a text in training."""
HEAD = POCKET.hidden // POCKET.heads
PATCH = 3 * 2 * 14 * 14


class Linear(nn.Linear):
    """A linear layer that may carry a LoRA: W x + B A x, of scaling 1."""

    lora_a: nn.Parameter | None
    lora_b: nn.Parameter | None

    def __init__(self, num_in: int, num_out: int, bias: bool = True):
        super().__init__(num_in, num_out, bias)
        self.register_parameter("lora_a", None)
        self.register_parameter("lora_b", None)

    def adapt(self, rank: int) -> None:
        """Puts a fresh LoRA in, whose output is zero."""
        a = torch.randn(rank, self.in_features, device=self.weight.device) / self.in_features**0.5
        self.lora_a = nn.Parameter(a)
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank, device=self.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.lora_a is None:
            return y
        return y + F.linear(F.linear(x, self.lora_a), self.lora_b)


class Norm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), EPS)


class MLP(nn.Module):
    def __init__(self, width: int, inner: int, bias: bool):
        super().__init__()
        self.gate_proj = Linear(width, inner, bias)
        self.up_proj = Linear(width, inner, bias)
        self.down_proj = Linear(inner, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (..., tokens, head): halves are the two coordinates (Su et al. 2021)."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Spans(NamedTuple):
    """Where texts start that lie end to end (texts + 1,), as int32, and how many tokens the longest may have."""

    starts: Tensor
    longest: int


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = POCKET.kv_heads * HEAD
        self.q_proj = Linear(POCKET.hidden, POCKET.hidden)
        self.k_proj = Linear(POCKET.hidden, width)
        self.v_proj = Linear(POCKET.hidden, width)
        self.o_proj = Linear(POCKET.hidden, POCKET.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, spans: Spans | None = None) -> Tensor:
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, -1, HEAD).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, -1, HEAD).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, -1, HEAD).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if spans is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            y = attend_within(q, k, v, spans)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


def attend_within(q: Tensor, k: Tensor, v: Tensor, spans: Spans) -> Tensor:
    """Causal attention of (1, heads, tokens, head) within each text, in one kernel on a GPU."""
    starts, longest = spans
    if not q.is_cuda:
        texts = torch.bucketize(torch.arange(q.shape[2], device=q.device), starts, right=True)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=(texts[:, None] == texts).tril(), enable_gqa=True)
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (q, k, v))
    flash = torch.ops.aten._flash_attention_forward
    return flash(q, k, v, starts, starts, longest, longest, 0.0, True, False)[0].transpose(0, 1)[None]


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = Norm(POCKET.hidden)
        self.self_attn = Attention()
        self.post_attention_layernorm = Norm(POCKET.hidden)
        self.mlp = MLP(POCKET.hidden, POCKET.mlp, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, spans: Spans | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, spans)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(POCKET.vocabulary, POCKET.hidden)
        self.layers = nn.ModuleList(Layer() for _ in range(POCKET.layers))
        self.norm = Norm(POCKET.hidden)

    def forward(self, embeds: Tensor, positions: Tensor, spans: Spans | None = None) -> Tensor:
        """(batch, tokens, hidden) and M-RoPE positions (3, tokens) to the last hidden states.

        With `spans` a batch of one holds many texts.
        """
        power = torch.arange(0, HEAD, 2, device=embeds.device, dtype=torch.float32) / HEAD
        angles = positions.float()[..., None] * ROPE_THETA**-power
        parts = angles.split(list(POCKET.mrope_section), -1)
        angle = torch.cat([part[axis] for axis, part in enumerate(parts)], -1).repeat(1, 2)
        dtype = torch.get_autocast_dtype(embeds.device.type) if torch.is_autocast_enabled() else embeds.dtype
        cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
        x = embeds
        for layer in self.layers:
            x = layer(x, cos, sin, spans)
        return self.norm(x)


class VisionAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(POCKET.vision_hidden, 3 * POCKET.vision_hidden)
        self.proj = nn.Linear(POCKET.vision_hidden, POCKET.vision_hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, POCKET.vision_heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class VisionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = Norm(POCKET.vision_hidden)
        self.attn = VisionAttention()
        self.norm2 = Norm(POCKET.vision_hidden)
        self.mlp = MLP(POCKET.vision_hidden, POCKET.vision_mlp, bias=True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = 4 * POCKET.vision_hidden
        self.ln_q = Norm(POCKET.vision_hidden)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, POCKET.hidden))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.ln_q(x).reshape(x.shape[0], x.shape[1] // 4, -1))


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, POCKET.vision_hidden, (2, 14, 14), stride=(2, 14, 14), bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches, self.proj.weight.view(POCKET.vision_hidden, PATCH))


class VisionTower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.blocks = nn.ModuleList(VisionBlock() for _ in range(POCKET.vision_depth))
        self.merger = Merger()

    def forward(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """Patches (batch, rows * columns, 1176), those of one token together, to (batch, tokens, hidden)."""
        height = torch.arange(rows, device=patches.device)[:, None].expand(rows, columns)
        width = torch.arange(columns, device=patches.device).expand(rows, columns)
        places = torch.stack([height, width], -1).view(rows // 2, 2, columns // 2, 2, 2).transpose(1, 2).reshape(-1, 2)
        half = POCKET.vision_hidden // POCKET.vision_heads // 2
        power = torch.arange(0, half, 2, device=patches.device, dtype=torch.float32) / half
        angle = (places[..., None] * 10_000.0**-power).flatten(1).repeat(1, 2)
        x = self.patch_embed(patches)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.merger(x)


class Student(nn.Module):
    """Text model, vision tower and multi-vector head."""

    def __init__(self) -> None:
        super().__init__()
        self.model = TextModel()
        self.visual = VisionTower()
        self.multi_vector_projector = Linear(POCKET.hidden, POCKET.projector)
        self.apply(initialise)

    def states(self, ids: Tensor) -> Tensor:
        """Last hidden states (batch, tokens, hidden) of token ids (batch, tokens)."""
        positions = torch.arange(ids.shape[1], device=ids.device).expand(3, -1)
        return self.model(self.model.embed_tokens(ids), positions)

    def image_states(self, patches: Tensor, rows: int, columns: int, before: Tensor, after: Tensor) -> Tensor:
        """Last hidden states of image prompts; `before` and `after` are the template's ids around the pads."""
        tokens = self.visual(patches, rows, columns)
        head = self.model.embed_tokens(before).expand(len(tokens), -1, -1)
        tail = self.model.embed_tokens(after).expand(len(tokens), -1, -1)
        positions = image_positions(len(before), rows // 2, columns // 2, len(after)).to(patches.device)
        return self.model(torch.cat([head.to(tokens.dtype), tokens, tail.to(tokens.dtype)], 1), positions)

    def adapters(self) -> Iterator[tuple[str, Linear]]:
        """The layers that a task's LoRA adapts: those of the text model and the projector."""
        for name, module in self.named_modules():
            if isinstance(module, Linear) and not name.startswith("visual"):
                yield name, module


def image_positions(before: int, rows: int, columns: int, after: int) -> Tensor:
    """M-RoPE positions (3, tokens) of an image prompt (Wang et al. 2024, section 2.1)."""
    head = torch.arange(before).expand(3, -1)
    grid = torch.stack(
        [torch.zeros(rows, columns), *torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")]
    )
    tail = torch.arange(after).expand(3, -1) + before + max(rows, columns)
    return torch.cat([head, grid.long().view(3, -1) + before, tail], 1)


def pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Unit means (batch, hidden) in float32 of the first `lengths` states."""
    mask = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    total = torch.bmm(mask[:, None].to(states.dtype), states).squeeze(1).float()
    return F.normalize(total, dim=-1)


def text_vectors(student: Student, ids: Tensor, lengths: Tensor) -> Tensor:
    """Unit vectors (n, hidden) of padded ids."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        states = student.states(ids)
    return pool(states.float(), lengths)


def initialise(module: nn.Module) -> None:
    """Draws one module's weights anew, for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5 / 2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv3d):
        nn.init.normal_(module.weight, std=0.04)
        with torch.no_grad():  # blind to plain paper, which outweighs everything that is on it
            module.weight.sub_(module.weight.mean((1, 2, 3, 4), keepdim=True))
