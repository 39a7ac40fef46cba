"""The protocol of an engine: it gets `Prepared` inputs and returns vectors; it knows neither prompts nor files."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..fill import Fill
from ..types import Prepared

if TYPE_CHECKING:
    from ..types import Vectors

T = TypeVar("T")


class Engine(Protocol):
    """Runs the model on prepared inputs. All methods may be called from any thread.

    `run` and `arun` return the vectors of each input, float32, in order:

    dense, for inputs with spans: (num_spans, hidden_size), pooled and not normalised;
    multi-vector, for inputs with `multivector`: (num_tokens, multivector_dim), each row L2-normalised;
    a `Both` of these for inputs with spans and `multivector`.

    If the engine dies during a call, the call raises EngineDeadError, whose `done` is that list with None for the
    inputs that were not embedded.

    max_length: tokens at which texts are truncated.
    calls_at_once: how many concurrent calls keep the device busy; 1 if calls run one after another anyway.
    chunk_size: how many inputs of a stream make one call.
    hang_s: if calls wait and none was answered for this many seconds, the engine is taken to hang.
    pack_fill: of its packs or padded batches so far; of no pack for an engine that makes none.
    """

    name: str
    max_length: int
    calls_at_once: int
    chunk_size: int
    hang_s: float

    @property
    def pack_fill(self) -> Fill: ...

    @property
    def alive(self) -> bool:
        """Whether the engine can answer calls: it hasn't been closed and hasn't died."""
        ...

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> Sequence[Vectors]:
        """Embeds the batch, and blocks until all of it is done.

        batch_size: the largest number of inputs in one forward; None for no limit.
        call_size: the number of inputs of the user's call if the batch is one of its parts; None if it is the whole.
        """
        ...

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> Sequence[Vectors]:
        """Does the same as `run` without blocking the event loop."""
        ...

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end: in the engine's event loop if it has one, where calls need no other thread."""
        ...

    def close(self) -> None:
        """Frees the model; calls in progress fail with EngineClosedError. Closing twice does nothing."""
        ...
