"""vLLM's fused norm kernels for layers that run outside its compiled graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def fused_norms(device: torch.device, *, compiled: bool = False) -> Iterator[None]:
    """Within this context each RMS norm of vLLM is one kernel, unless the layers are `compiled`.

    When vLLM compiles the language model it switches to norms written in PyTorch everywhere, for the compiler to fuse.
    Layers that run eagerly would launch eight float32 kernels for each norm: a quarter of the time of a page.
    """
    from vllm import ir

    with ExitStack() as stack:
        if device.type == "cuda" and not compiled:
            for operation in (ir.ops.rms_norm, ir.ops.fused_add_rms_norm):
                stack.enter_context(operation.set_priority(["vllm_c", "native"]))
        yield
