"""What is known of one request: for its line in the log, for the metrics and for its span."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from ..calls.run import Times
from ..types import Usage
from .statuses import Dialect

STAGES = ("parse", "wait", "tokenise", "run", "write")
"""Receiving and reading the body; fetching and decoding images, and waiting for that; prompts and token ids; the
engine, with what it has its inputs wait; the answer's JSON."""


@dataclass(slots=True)
class Record:
    """
    route: of the server, not what the client wrote.
    began: by time.perf_counter; began_ns: by the clock of the day.
    stages: seconds by stage, for those that were reached.
    num_pixels: of images before they were resized.
    """

    route: str
    dialect: Dialect
    request_id: str = field(default_factory=lambda: os.urandom(16).hex())
    began: float = field(default_factory=time.perf_counter)
    began_ns: int = field(default_factory=time.time_ns)
    status: int = 0
    code: str = ""
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    num_inputs: int = 0
    num_tokens: int = 0
    num_image_tokens: int = 0
    num_pixels: int = 0

    def add(self, stage: str, seconds: float) -> None:
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def add_result(self, usage: Usage, times: Times) -> None:
        """What a call of the model came to."""
        self.num_tokens += usage.num_tokens
        self.num_image_tokens += usage.num_image_tokens
        self.add("tokenise", times.prepare_s)
        self.add("run", times.run_s)
        self.add("write", times.finish_s)

    def finish(self, status: int) -> None:
        self.status = status
        self.seconds = time.perf_counter() - self.began

    def line(self) -> dict[str, Any]:
        """For a log: plain types; nothing of what the client sent."""
        return {
            "time": self.began_ns // 1_000_000 / 1000,
            "request_id": self.request_id,
            "route": self.route,
            "status": self.status,
            **({"code": self.code} if self.code else {}),
            "ms": round(self.seconds * 1000, 2),
            "inputs": self.num_inputs,
            "tokens": self.num_tokens,
            "image_tokens": self.num_image_tokens,
            **{f"{stage}_ms": round(seconds * 1000, 2) for stage, seconds in self.stages.items()},
        }
