"""Compares a kernel of ours with plain PyTorch on the device before its first use; a wrong one is never used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

logger = logging.getLogger(__name__)

# Largest relative error of a row. Rounding a value to bfloat16 changes it by up to 0.4 %.
_MAX_RELATIVE_ERROR = 0.01
# Row norms are clamped to this, so that the error of a row of zeros isn't 0 / 0.
_MIN_NORM = 1e-6


def checked(name: str, load: Callable[[], Any], errors: Callable[[Any], list[float]]) -> Any:
    """The kernel that `load` imports, or None with the reason logged if it fails or is wrong.

    name: of the kernel, with its module, for the log.
    errors: runs the kernel it is given and returns the relative errors of its results. Where Triton specialises the
        kernel on sizes, use the sizes of the model: the compiled kernel is cached.
    """
    try:
        # Importing fails where Triton or QuACK is missing.
        kernel = load()
        wrong = [error for error in errors(kernel) if not error < _MAX_RELATIVE_ERROR]
    except Exception as problem:
        logger.warning("packs run without the kernel %s: %s: %s", name, type(problem).__name__, problem)
        return None
    if wrong:
        logger.warning("packs run without the kernel %s: its results are wrong by %.1e on this device", name, wrong[0])
        return None
    return kernel


def is_hopper_with_half_precision(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the GPU is of the Hopper generation or newer, and the dtype is bfloat16 or float16."""
    return dtype in (torch.bfloat16, torch.float16) and torch.cuda.get_device_capability(device) >= (9, 0)


def random_rows(device: torch.device, dtype: torch.dtype, rows: int, columns: int) -> torch.Tensor:
    """Normally distributed values, the same at each call; torch's global random state isn't touched."""
    generator = torch.Generator(device).manual_seed(rows + columns)
    return torch.randn(rows, columns, device=device, dtype=dtype, generator=generator)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest error of a row, as the norm of the difference over the norm of the expected row.

    found, expected: (..., width); rows are the last dimension.
    """
    lengths = expected.float().norm(dim=-1).clamp(min=_MIN_NORM)
    return float(((found.float() - expected.float()).norm(dim=-1) / lengths).max())
