"""Checkpoints: finding one, and reading its configuration, weights and adapters."""

from __future__ import annotations

from .checkpoint import Checkpoint, fetch_checkpoint, open_checkpoint
from .resolve import DEFAULT_MODEL

__all__ = ["DEFAULT_MODEL", "Checkpoint", "fetch_checkpoint", "open_checkpoint"]
