"""Which optimiser trains what: Muon (Jordan et al. 2024) the matrices between hidden states, AdamW all the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

DECAY = 0.01


def matrices(module: nn.Module) -> list[Tensor]:
    """Weights of the linear layers in a module; embeddings, norms, biases, filters and LoRA factors are none."""
    return [part.weight for part in module.modules() if isinstance(part, nn.Linear)]


def optimisers(
    parameters: list[nn.Parameter], hidden: Iterable[Tensor], rate: float, hidden_rate: float
) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for those of the parameters that are in `hidden`."""
    chosen = {id(weight) for weight in hidden}
    others = [weight for weight in parameters if id(weight) not in chosen]
    muon = [weight for weight in parameters if id(weight) in chosen]
    found: list[torch.optim.Optimizer] = []
    if others:
        fused = others[0].is_cuda
        found.append(torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=DECAY, fused=fused))
    if muon:
        found.append(torch.optim.Muon(muon, lr=hidden_rate, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"))
    return found
