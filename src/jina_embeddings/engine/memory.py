"""How much memory there is, and a clear error before too little of it becomes a crash."""

from __future__ import annotations

from ..errors import OutOfMemoryError

GIB = 1024**3


def free_bytes(device: str) -> int | None:
    """Free bytes of a torch device; None where that can't be known."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if device == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    return None


def require_memory(needed: int, device: str, remedy: str) -> None:
    """Raises OutOfMemoryError, with both numbers and the remedy, if `needed` bytes are not free."""
    free = free_bytes(device)
    if free is not None and needed > free:
        raise OutOfMemoryError(
            f"the model needs {needed / GIB:.1f} GiB on {device}, {free / GIB:.1f} are free: {remedy}"
        )
