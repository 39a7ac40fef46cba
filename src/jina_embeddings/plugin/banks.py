"""Weight banks: each task's adapter merged into a copy of the weights, so that a bulk pack pays nothing for LoRA.

A bank holds the adapted linear layers of one task; embeddings, norms and the vision tower are shared. While a pack
is launched the layers' parameters point into its task's bank, and afterwards back at the bare weights, which vLLM's
own steps go on using with their LoRA kernels. W' = W + B A (Hu et al. 2021, section 4.1), where A and B are taken
from vLLM's LoRA slots: cut for this rank of a tensor-parallel group, and scaled, already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from ..checkpoint import open_checkpoint
from .bank_layers import BankEntry, adapted_layers, bank_bytes, merged_entry, needs_stored

logger = logging.getLogger(__name__)

# What is left free for activations, which grow with a pack.
_RESERVE = 3 * 1024**3


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a task's packs run on merged weights, and why."""

    merged: bool
    reason: str


class WeightBanks:
    """The banks of one worker, made when a task's first pack comes.

    wanted: `auto` merges where memory allows, on a GPU; `merged` on any device; `lora` never.
    """

    def __init__(self, model_runner: Any, wanted: str):
        self._runner = model_runner
        self._wanted = wanted
        self._device: torch.device = model_runner.device
        self._banks: dict[int, list[BankEntry]] = {}
        self._choices: dict[int, Choice] = {}

    def choose(self, number: int, slot: int) -> Choice:
        """Decides for the adapter of that number, once, and makes its bank; its LoRA must be in that slot."""
        if number not in self._choices:
            # Parameters can't point into what inference mode makes.
            with torch.inference_mode(False), torch.no_grad():
                self._choices[number] = self._choose(number, slot)
        return self._choices[number]

    @contextmanager
    def applied(self, number: int) -> Iterator[None]:
        """Within this context the layers have the weights of that adapter's bank."""
        bank = self._banks[number]
        for entry in bank:
            entry.swap()
        try:
            yield
        finally:
            for entry in bank:
                entry.swap()

    def _choose(self, number: int, slot: int) -> Choice:
        if self._wanted == "lora":
            return Choice(False, "bulk_weights='lora'")
        if self._wanted == "auto" and self._device.type != "cuda":
            return Choice(False, "on a CPU two small products a layer cost less than a copy of the weights")
        layers = adapted_layers(self._runner.get_model())
        stored = any(needs_stored(layer) for layer, _ in layers)
        if stored and self._runner.vllm_config.parallel_config.tensor_parallel_size > 1:
            return Choice(False, "quantised or packed weights are not merged in a tensor-parallel group")
        needed, free = bank_bytes(layers), self._free_bytes()
        if needed > free and self._wanted == "auto":
            return Choice(False, f"a copy takes {needed / 1e9:.1f} GB and {max(free, 0) / 1e9:.1f} are free")
        checkpoint = open_checkpoint(self._runner.vllm_config.model_config.model) if stored else None
        try:
            self._banks[number] = [merged_entry(layer, lora, slot, checkpoint) for layer, lora in layers]
        except torch.OutOfMemoryError:
            return Choice(False, f"a copy of {needed / 1e9:.1f} GB did not fit beside the rest")
        return Choice(True, f"a copy takes {needed / 1e9:.1f} GB of {free / 1e9:.1f} free")

    def _free_bytes(self) -> int:
        if self._device.type != "cuda":
            return int(psutil.virtual_memory().available) - _RESERVE
        free, _ = torch.cuda.mem_get_info(self._device)
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return free + unused - _RESERVE
