"""Splits one adapter in several processes at the same time."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.checkpoint.adapters import AdapterSet, split_adapter

NUM_ROUNDS = 12


def adapters_of(folder: Path) -> AdapterSet:
    adapters = open_checkpoint(folder).adapters
    assert adapters is not None
    return adapters


def split_in_rounds(source: str, cache: str, barrier: Barrier, results: Any) -> None:
    """The work of each process: in every round, all split the adapter at the same moment."""
    torch.set_num_threads(1)
    adapters = adapters_of(Path(source))
    for number in range(NUM_ROUNDS):
        barrier.wait(60)
        try:
            folder = split_adapter(adapters, "code", Path(cache) / str(number))
            complete = len(load_file(folder / "adapter_model.safetensors")) == 3 * 7 * 2
            results.put((number, folder.name if complete else "incomplete"))
        except Exception as error:
            results.put((number, repr(error)))
