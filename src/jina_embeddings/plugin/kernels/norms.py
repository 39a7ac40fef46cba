"""vLLM's fused norm kernels for layers that run outside its compiled graph."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch

from ..compat import MovedError, imported

logger = logging.getLogger(__name__)


@contextmanager
def fused_norms(device: torch.device, *, compiled: bool = False) -> Iterator[None]:
    """Within this context each RMS norm of vLLM is one kernel, unless the layers are `compiled`.

    When vLLM compiles the language model it switches to norms written in PyTorch everywhere, for the compiler to fuse.
    Layers that run eagerly would launch eight float32 kernels for each norm: a quarter of the time of a page.
    """
    with ExitStack() as stack:
        if device.type == "cuda" and not compiled:
            for operation in _operations():
                stack.enter_context(operation.set_priority(["vllm_c", "native"]))
        yield


@cache
def _operations() -> tuple[Any, ...]:
    """vLLM's norms whose kernels can be chosen; none where it chooses for itself."""
    try:
        return imported("norms", "rms_norm"), imported("norms", "fused_add_rms_norm")
    except MovedError as error:
        logger.warning("%s", error)
        return ()
