"""Kernels of our own are tried on a device before their first use: all that may depend on them is speed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

logger = logging.getLogger(__name__)

# Of a kernel's results, relative: a last step of bfloat16 is 0.4 %, one of float8 a few per cent of one value.
_TOLERANCE = 0.01
# So that a row of zeros has an error.
_SMALLEST_LENGTH = 1e-6


def checked(module: str, name: str, errors: Callable[[Any], list[float]]) -> Any:
    """That kernel of a module beside this one, if it gives what it should; otherwise None, and the reason is logged.

    errors: tries a kernel, and gives relative errors. Where sizes specialise a kernel, those that it will have are to
    be tried: what is compiled then is kept.
    """
    try:
        # Where there is no Triton, this fails.
        kernel = getattr(import_module(f".{module}", __package__), name)
        wrong = [error for error in errors(kernel) if not error < _TOLERANCE]
    except Exception as problem:
        logger.warning("packs run without the kernel %s.%s: %s: %s", module, name, type(problem).__name__, problem)
        return None
    if wrong:
        logger.warning(
            "packs run without the kernel %s.%s: its results are wrong by %.1e on this device", module, name, wrong[0]
        )
        return None
    return kernel


def multiplies_halves(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the GPU has what our products are made of, from Hopper on, and values of that type are its halves."""
    return dtype in (torch.bfloat16, torch.float16) and torch.cuda.get_device_capability(device) >= (9, 0)


def random_rows(device: torch.device, dtype: torch.dtype, rows: int, columns: int) -> torch.Tensor:
    """Normal values, the same at each call; torch's own random numbers aren't touched."""
    generator = torch.Generator(device).manual_seed(rows + columns)
    return torch.randn(rows, columns, device=device, dtype=dtype, generator=generator)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the worst row, relative to the row; rows are the last dimension."""
    lengths = expected.float().norm(dim=-1).clamp(min=_SMALLEST_LENGTH)
    return float(((found.float() - expected.float()).norm(dim=-1) / lengths).max())
