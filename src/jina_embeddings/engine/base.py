"""What an engine is. It sees `Prepared` and returns vectors; it knows no prompts and no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..types import Prepared

if TYPE_CHECKING:
    from ..types import FloatArray


class Engine(Protocol):
    """Thread-safe. Both calls return, for each input in order, a float32 array:

    dense: (num_spans, hidden_size), pooled and not normalised;
    multi-vector: (num_tokens, multivector_dim), each row L2-normalised.

    An engine that dies in mid-call raises EngineDeadError, whose `done` is that list with None for inputs not done.

    calls_at_once: how many calls keep the device busy; 1 where they would wait for each other.
    chunk_size: inputs of a stream that are given together.
    """

    name: str
    max_length: int
    calls_at_once: int
    chunk_size: int

    @property
    def alive(self) -> bool:
        """Whether it can answer calls: it was not closed, and has not died."""
        ...

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        """Blocks until all are done.

        batch_size: most inputs of one forward.
        call_size: inputs of the whole call, of which the batch is a part; None where it is all of it.
        """
        ...

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        """The same without blocking the event loop."""
        ...

    def close(self) -> None:
        """Frees the model; calls in progress fail with EngineClosedError. May be called twice."""
        ...
