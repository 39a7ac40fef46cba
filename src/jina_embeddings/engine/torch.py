"""The torch engine: our own model in plain PyTorch, which starts without the seconds of importing transformers."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..model import Network, load_model
from ..types import Task
from .padded import PaddedEngine


class TorchEngine(PaddedEngine):
    """Runs on CPUs, Apple's GPUs (MPS), and on CUDA where vLLM isn't installed."""

    name = "torch"

    def load(self, checkpoint: Checkpoint, merge_adapter: Task | None) -> Network:
        return load_model(checkpoint, self.device, self.dtype, merge_adapter)
