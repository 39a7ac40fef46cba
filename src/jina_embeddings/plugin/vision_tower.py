"""What makes vLLM's vision tower fast outside of compiled graphs; the numbers that it computes stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.functional import pad

# Rows of half a tile of a GPU's matrix product, and a multiple of the 16 bytes that its loads take.
_MULTIPLE = 64
_WIDE = re.compile(r"model\.visual\.blocks\.\d+\.mlp\.(gate_proj|up_proj|down_proj)\.(weight|bias)")


def even_width(width: int) -> int:
    """The width that an MLP of so many values gets: v4's 3,420 are no multiple of eight, which slows every kernel."""
    return -(-width // _MULTIPLE) * _MULTIPLE


def widened(name: str, tensor: torch.Tensor, width: int) -> torch.Tensor:
    """A tensor of the checkpoint, by its newer name, as the tower with that MLP width has it: zeros are added.

    What is added between gate and down is silu(0) * 0, which the down projection multiplies with zeros.
    """
    match = _WIDE.fullmatch(name)
    if match is None or match.groups() == ("down_proj", "bias"):
        return tensor
    if match[1] == "down_proj":
        return pad(tensor, (0, width - tensor.shape[1]))
    return pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, width - tensor.shape[0]))


@contextmanager
def fused_norms(config: Any, device: torch.device) -> Iterator[None]:
    """Within it norms that are in no compiled graph are one kernel each.

    Where vLLM compiles the language model, it leaves norms to the compiler everywhere. The tower isn't compiled unless
    `compile_mm_encoder` says so, and there each norm would be eight kernels in float32: a quarter of a page's time.
    """
    from vllm import ir

    with ExitStack() as stack:
        if device.type == "cuda" and not config.compilation_config.compile_mm_encoder:
            for operation in (ir.ops.rms_norm, ir.ops.fused_add_rms_norm):
                stack.enter_context(operation.set_priority(["vllm_c", "native"]))
        yield
