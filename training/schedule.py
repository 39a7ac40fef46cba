"""Optimisers whose learning rates follow the clock: a short rise, then a cosine down to nothing at the end of the budget.

Where one stage is trained in several runs, `span` is the part of it that a run does, such as (0, 0.5) and (0.5, 1): the
cosine goes on where the last run stopped, after a rise of its own while the optimiser gathers its moments anew.

Peers start from the weights of the first, and stop at the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from torch import Tensor, nn

from optimisers import optimisers
from peers import ALONE, EVERY, Peers

WARM_UP = 0.03
CLIP = 1.0
LOG_EVERY = 50


class Schedule:
    """Optimisers with a budget of seconds; Muon trains the matrices in `hidden`, at `hidden_rate` if that differs."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        seconds: float,
        span: tuple[float, float] = (0.0, 1.0),
        hidden: Iterable[Tensor] = (),
        hidden_rate: float | None = None,
        peers: Peers = ALONE,
    ):
        self.peers, self.stopped = peers, False
        self.parameters = [p for p in parameters if p.requires_grad]
        self.seconds, self.span = seconds, span
        self.optimisers = optimisers(self.parameters, hidden, learning_rate, hidden_rate or learning_rate)
        self.groups = [group for optimiser in self.optimisers for group in optimiser.param_groups]
        self.rates = [group["lr"] for group in self.groups]
        peers.start_alike(self.parameters)
        peers.meet()
        self.start = time.monotonic()
        self.steps = 0

    def running(self) -> bool:
        """Whether time is left, which is looked at where peers meet; also sets the learning rate for it."""
        done = (time.monotonic() - self.start) / self.seconds
        share = max(min(done / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * self.place())), 1e-3)
        for group, rate in zip(self.groups, self.rates, strict=True):
            group["lr"] = rate * share
        return not self.stopped

    def place(self) -> float:
        """How much of the stage is done, 0 to 1."""
        first, last = self.span
        return first + (last - first) * min((time.monotonic() - self.start) / self.seconds, 1)

    def step(self, loss: Tensor, stage: str, kind: str, log: list[dict], **parts: Tensor) -> None:
        """One update; every so often the loss, and the parts it is made of, go into the log."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        for optimiser in self.optimisers:
            optimiser.step()
        self.steps += 1
        if self.steps % EVERY == 0:
            self.peers.average(self.parameters)
            self.stopped = self.peers.any(time.monotonic() - self.start >= self.seconds)
        if self.steps % LOG_EVERY == 0:
            seconds = round(time.monotonic() - self.start, 1)
            losses = {name: value.item() for name, value in {"loss": loss, **parts}.items()}
            log.append({"stage": stage, "step": self.steps, "seconds": seconds, "kind": kind, **losses})
