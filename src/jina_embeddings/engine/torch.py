"""The engine of our own model in plain PyTorch: without the seconds that importing transformers takes."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..model import Network, load_model
from ..types import Task
from .padded import PaddedEngine


class TorchEngine(PaddedEngine):
    """For CPUs, Apple's GPUs, and CUDA where there is no vLLM."""

    name = "torch"

    def load(self, checkpoint: Checkpoint, merge_adapter: Task | None) -> Network:
        return load_model(checkpoint, self.device, self.dtype, merge_adapter)
