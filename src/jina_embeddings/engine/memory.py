"""Checks the free memory of a device before a model is loaded, for an error that says what to change."""

from __future__ import annotations

from ..errors import OutOfMemoryError

GIB = 1024**3


def free_bytes(device: str) -> int | None:
    """The free bytes of a torch device; None for devices whose memory can't be asked for."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if device == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    return None


def require_memory(needed: int, device: str, remedy: str) -> None:
    """Raises OutOfMemoryError, with the needed and the free memory and the remedy, if `needed` bytes are not free."""
    free = free_bytes(device)
    if free is not None and needed > free:
        raise OutOfMemoryError(
            f"the model needs {needed / GIB:.1f} GiB on {device}, {free / GIB:.1f} are free: {remedy}"
        )
