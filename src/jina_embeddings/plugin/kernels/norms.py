"""RMS norms of layers that run outside vLLM's compiled graph: its fused kernels, and one of ours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch.nn.functional import rms_norm

from ..compat import MovedError, imported
from .checked import checked, random_rows, relative_error

logger = logging.getLogger(__name__)


@contextmanager
def fused_norms(device: torch.device, *, compiled: bool = False) -> Iterator[None]:
    """Within this context each RMS norm of vLLM is one kernel, unless the layers are `compiled`.

    When vLLM compiles the language model it switches to norms written in PyTorch everywhere, for the compiler to fuse.
    Layers that run eagerly would launch eight float32 kernels for each norm: a quarter of the time of a page.
    """
    if device.type != "cuda" or compiled:
        yield
        return
    with _priority:
        yield


class _Priority:
    """Sets vLLM's priority, which all threads share, while any thread is in the context."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stack = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                for operation in _operations():
                    self._stack.enter_context(operation.set_priority(["vllm_c", "native"]))
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._stack.close()


_priority = _Priority()


@cache
def _operations() -> tuple[Any, ...]:
    """vLLM's norms whose kernels can be chosen; none where it chooses for itself."""
    try:
        return imported("norms", "rms_norm"), imported("norms", "fused_add_rms_norm")
    except MovedError as error:
        logger.warning("%s", error)
        return ()


def offset_norm(norm: Any, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """The norm of x + offset, in the dtype of x.

    norm: vLLM's RMSNorm; x: (tokens, width); offset: float32 (width,).
    """
    kernel = norm_kernel(x.device, x.dtype, x.shape[1]) if x.is_cuda else None
    if kernel is None:
        result: torch.Tensor = norm((x + offset).to(x.dtype))
        return result
    out = torch.empty_like(x)
    kernel(x, offset, norm.weight, norm.variance_epsilon, out)
    return out


@cache
def norm_kernel(device: torch.device, dtype: torch.dtype, width: int) -> Any:
    """Our kernel, or None if it is wrong for rows of this width."""

    def errors(norm: Any) -> list[float]:
        x, weight = random_rows(device, dtype, 5, width), random_rows(device, dtype, 1, width)[0]
        offset, epsilon, out = random_rows(device, torch.float32, 2, width)[1], 1e-6, torch.empty_like(x)
        norm(x, offset, weight, epsilon, out)
        return [relative_error(out, rms_norm(x.float() + offset, (width,), weight.float(), epsilon))]

    def load() -> Any:
        from .norms_triton import norm

        return norm

    return checked("norms_triton.norm", load, errors)
