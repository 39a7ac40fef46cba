"""`load_model`: makes the network of a checkpoint and loads its weights."""

from __future__ import annotations

import torch
from torch import nn

from ..checkpoint import Checkpoint
from ..checkpoint.adapters import merged
from ..checkpoint.config import ModelConfig
from ..errors import EngineUnavailableError
from ..types import Task
from .network import Network

_ROPE_TYPES = ("default", "mrope")


def load_model(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, merge_adapter: Task | None = None
) -> Network:
    """The network of a checkpoint, for inference.

    merge_adapter: the task whose adapter is merged into the weights; None for the base weights.

    Raises:
        EngineUnavailableError: config.json asks for something that this implementation doesn't have.
    """
    _require_known(checkpoint.config)
    with torch.device("meta"):
        network = Network(checkpoint.config)
    names = dict(network.named_parameters())
    for stored, tensor in merged(checkpoint.weights.load(), checkpoint.adapters, merge_adapter):
        name = stored.removeprefix("model.")
        if name not in names:
            continue
        owner, _, leaf = name.rpartition(".")
        # Copied, since the tensor is a memory map of the file and would change with it.
        weight = nn.Parameter(tensor.to(device, dtype, copy=True), requires_grad=False)
        setattr(network.get_submodule(owner), leaf, weight)
    return network.eval()


def _require_known(config: ModelConfig) -> None:
    """Raises for settings that aren't implemented: ignoring them would give vectors that look right and are wrong."""
    unknown = {
        f"rope_type {config.rope_type!r}": config.rope_type not in _ROPE_TYPES,
        f"hidden_act {config.activation!r}": config.activation != "silu",
        f"hidden_act {config.vision.activation!r} in its vision tower": config.vision.activation != "silu",
        "use_sliding_window": config.sliding_window,
    }
    for name in [name for name, is_unknown in unknown.items() if is_unknown]:
        raise EngineUnavailableError(f"the torch engine has no {name}: choose engine='transformers'")
