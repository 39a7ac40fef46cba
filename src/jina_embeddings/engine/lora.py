"""LoRA layers for the engines without vLLM: the adapters of all tasks are in memory, and one of them is active."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..checkpoint.adapters import AdapterSet
from ..checkpoint.tensors import PROJECTOR
from ..types import Task


@dataclass
class ActiveTask:
    """The index of the task whose adapter is applied; one object shared by all layers."""

    index: int = 0


class LoraLinear(nn.Module):
    """y = W x + bias + B_t (A_t x), where t is the active task; B_t contains the scaling."""

    def __init__(self, base: nn.Linear, a: torch.Tensor, b: torch.Tensor, active: ActiveTask):
        super().__init__()
        self.base = base
        # Transposed once, so that both products read contiguous memory: (tasks, in, r), (tasks, r, out).
        self.a = nn.Parameter(a.transpose(1, 2).contiguous(), requires_grad=False)
        self.b = nn.Parameter(b.transpose(1, 2).contiguous(), requires_grad=False)
        self._active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        task = self._active.index
        y: torch.Tensor = self.base(x)
        # In place, which saves a copy; y was made by this call.
        return y.view(-1, y.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]) @ self.a[task], self.b[task]).view(y.shape)


def attach_adapters(model: nn.Module, adapters: AdapterSet, active: ActiveTask) -> tuple[Task, ...]:
    """Replaces every adapted linear layer of a `Qwen2_5_VLModel`; returns the tasks in index order."""
    loaded = [adapters.load(task) for task in adapters.tasks]
    for module in adapters.modules(adapters.tasks[0]):
        if module == PROJECTOR:
            continue
        parent_name, _, child = module.removeprefix("model.").rpartition(".")
        parent = model.get_submodule(parent_name)
        base: nn.Linear = getattr(parent, child)
        weight = base.weight
        a = torch.stack([task[module][0] for task in loaded]).to(weight)
        b = torch.stack([task[module][1].float() * adapters.scaling for task in loaded]).to(weight)
        setattr(parent, child, LoraLinear(base, a, b, active))
    return adapters.tasks
