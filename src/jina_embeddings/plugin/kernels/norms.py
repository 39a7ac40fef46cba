"""vLLM's norms where no compiled graph has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def fused_norms(device: torch.device, *, compiled: bool = False) -> Iterator[None]:
    """Within it norms are one kernel each; not where the layers are `compiled`, which is the compiler's affair.

    Where vLLM compiles the language model, it leaves norms to the compiler everywhere. Layers that run by themselves
    would have eight kernels in float32 for each: a quarter of a page's time.
    """
    from vllm import ir

    with ExitStack() as stack:
        if device.type == "cuda" and not compiled:
            for operation in (ir.ops.rms_norm, ir.ops.fused_add_rms_norm):
                stack.enter_context(operation.set_priority(["vllm_c", "native"]))
        yield
