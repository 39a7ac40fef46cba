"""The data of one request, for its line in the log, the metrics and its span."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..calls.run import Times
from ..types import Usage
from .statuses import Dialect

STAGES = ("parse", "wait", "tokenise", "run", "write")
"""parse: the body is received and decoded. wait: images are fetched and decoded, including the wait for a decoder.
tokenise: prompts and token ids are made. run: the engine, including its queue. write: the answer's JSON is made."""


@dataclass(slots=True)
class Record:
    """
    route: the route of the server, rather than the path that the client wrote.
    began: start in seconds of time.perf_counter; began_ns: start in nanoseconds since 1970.
    key: the name of the key whose rates count; None before its key is checked, and where there is nothing to count.
    fields: the client's names of arguments, as `statuses.refusal` takes them.
    stages: seconds of each stage that was reached.
    num_pixels: pixels of the images before they were resized.
    """

    route: str
    dialect: Dialect
    request_id: str = field(default_factory=lambda: f"{random.getrandbits(128):032x}")
    began: float = field(default_factory=time.perf_counter)
    began_ns: int = field(default_factory=time.time_ns)
    status: int = 0
    code: str = ""
    seconds: float = 0.0
    key: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    num_inputs: int = 0
    num_tokens: int = 0
    num_image_tokens: int = 0
    num_pixels: int = 0

    def add(self, stage: str, seconds: float) -> None:
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def add_usage(self, usage: Usage) -> None:
        self.num_tokens += usage.num_tokens
        self.num_image_tokens += usage.num_image_tokens

    def add_result(self, usage: Usage, times: Times) -> None:
        """Adds the tokens and the times of a call of the model."""
        self.add_usage(usage)
        self.add("tokenise", times.prepare_s)
        self.add("run", times.run_s)
        self.add("write", times.finish_s)

    def finish(self, status: int) -> None:
        self.status = status
        self.seconds = time.perf_counter() - self.began

    def line(self) -> dict[str, Any]:
        """The fields of a line in the log, as plain types and without anything that the client sent."""
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
