"""AdamW whose learning rate follows the clock: a short rise, then a cosine down to nothing at the end of the budget.

Where one stage is trained in several runs, `span` is the part of it that a run does, such as (0, 0.5) and (0.5, 1): the
cosine goes on where the last run stopped, after a rise of its own while the optimiser gathers its moments anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

WARM_UP = 0.03
DECAY = 0.01
CLIP = 1.0
LOG_EVERY = 50


class Schedule:
    """An optimiser with a budget of seconds."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        seconds: float,
        span: tuple[float, float] = (0.0, 1.0),
    ):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.learning_rate = learning_rate
        self.seconds, self.span = seconds, span
        fused = self.parameters[0].is_cuda
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=DECAY, fused=fused
        )
        self.start = time.monotonic()
        self.steps = 0

    def running(self) -> bool:
        """Whether time is left; also sets the learning rate for it."""
        done = (time.monotonic() - self.start) / self.seconds
        first, last = self.span
        place = first + (last - first) * min(done, 1)
        rate = min(done / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * place))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * max(rate, 1e-3)
        return done < 1

    def step(self, loss: Tensor, stage: str, kind: str, log: list[dict]) -> None:
        """One update; every so often the loss goes into the log."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimiser.step()
        self.steps += 1
        if self.steps % LOG_EVERY == 0:
            seconds = round(time.monotonic() - self.start, 1)
            log.append({"stage": stage, "step": self.steps, "seconds": seconds, "kind": kind, "loss": loss.item()})
