"""Which optimiser trains what: Muon (Jordan et al. 2024) the matrices between hidden states, AdamW all the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

DECAY = 0.01
MOMENTUM = 0.95
NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
"""Coefficients of Jordan's quintic iteration: singular values come near 1 in five steps, from anywhere below it."""


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
        found.append(StackedMuon(muon, hidden_rate))
    return found


class StackedMuon(torch.optim.Optimizer):
    """`torch.optim.Muon` with `match_rms_adamw`, all matrices of one shape at a time.

    One by one the iteration is a thousand kernels of a few microseconds for a model this small.
    """

    def __init__(self, parameters: list[nn.Parameter], rate: float):
        super().__init__(parameters, {"lr": rate})
        self.stacks: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            self.stacks[parameter.shape].append(parameter)
        self.momenta = {
            shape: torch.zeros(len(stack), *shape, device=stack[0].device) for shape, stack in self.stacks.items()
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; a parameter without a gradient counts as one whose gradient is zero."""
        rate = self.param_groups[0]["lr"]
        for shape, stack in self.stacks.items():
            gradients = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in stack])
            momentum = self.momenta[shape].lerp_(gradients, 1 - MOMENTUM)
            update = orthogonal(gradients.lerp(momentum, MOMENTUM)).to(momentum.dtype)
            torch._foreach_mul_(stack, 1 - rate * DECAY)
            torch._foreach_add_(stack, list(update.unbind()), alpha=-rate * 0.2 * max(shape) ** 0.5)


def orthogonal(stacked: Tensor) -> Tensor:
    """The nearest matrices (n, rows, columns) with singular values about 1, in bfloat16."""
    tall = stacked.shape[1] > stacked.shape[2]
    x = (stacked.mT if tall else stacked).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
