"""What waits for a pack: inputs of all calls under way, so that the end of one call shares a pack with the next."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ...plugin.packs import by_beginning, shared_beginning
from ...types import Prepared
from ..batching import Kind, by_kind

# Tokens of whole prompts in a pack, by its budget: what they begin with runs once, but is laid out for each.
_MOST_WHOLE = 1.5
# Packs that may go before a kind, or a large call of one, that waits.
_PATIENCE = 4


class Reply(Protocol):
    """Where a call waits: a future of asyncio, of a thread, or of another event loop."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(eq=False)
class Call:
    """One call's inputs, and the places for their results; `done` is set when the last is there, or fails."""

    results: list[Any]
    batch: Sequence[Prepared]
    num_left: int
    done: Reply

    def place(self, index: int, result: Any) -> None:
        self.results[index] = result
        self.num_left -= 1
        if not self.num_left:
            self.succeed()

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False)
class _Share:
    """What waits of one call and kind, by beginning. passed: packs of the kind that took nothing of it."""

    number: int
    call: Call
    indices: deque[int]
    num_tokens: int
    passed: int = 0


@dataclass(eq=False)
class _Line:
    """What waits of one kind. passed: packs of other kinds that went first."""

    shares: list[_Share] = field(default_factory=list)
    passed: int = 0

    @property
    def num_tokens(self) -> int:
        return sum(share.num_tokens for share in self.shares)


class _Filling:
    """A pack while it is filled, which counts what neighbours of one share begin with once.

    Sorted together with other shares a prompt has no less in common with the one before it.
    """

    def __init__(self, max_tokens: int):
        self._max_tokens = max_tokens
        self._rows = self._whole = 0

    def takes(self, prepared: Prepared, before: Prepared | None) -> bool:
        """Counts the input, which comes after another one of its share, if it fits."""
        rows = self._rows + prepared.num_tokens - shared_beginning(before, prepared)
        whole = self._whole + prepared.num_tokens
        # The first is always taken, though the budget may be small for a while.
        if self._whole and (rows > self._max_tokens or whole > _MOST_WHOLE * self._max_tokens):
            return False
        self._rows, self._whole = rows, whole
        return True


Pick: TypeAlias = "tuple[Call, int]"


class PackQueue:
    """Inputs by kind: task, dense or multi-vector, and pooling. A pack has one kind.

    max_tokens: that a pack runs; no input may have more. What several of its prompts begin with counts once.
    """

    def __init__(self, max_tokens: int):
        self._max_tokens = max_tokens
        self._numbers = itertools.count()
        self._lines: dict[Kind, _Line] = defaultdict(_Line)
        self._num_waiting = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, call: Call, chosen: Sequence[int]) -> None:
        """The chosen inputs of the call, by index."""
        self._num_waiting += len(chosen)
        inputs = [call.batch[index] for index in chosen]
        for kind, places in by_kind(inputs, by_beginning):
            num_tokens = sum(inputs[place].num_tokens for place in places)
            share = _Share(next(self._numbers), call, deque(chosen[place] for place in places), num_tokens)
            self._lines[kind].shares.append(share)

    def __len__(self) -> int:
        """Inputs that wait."""
        return self._num_waiting

    def drop(self, call: Call) -> None:
        """Forgets what still waits of the call."""
        for kind, line in list(self._lines.items()):
            self._num_waiting -= sum(len(share.indices) for share in line.shares if share.call is call)
            line.shares = [share for share in line.shares if share.call is not call]
            if not line.shares:
                del self._lines[kind]

    def take(self, max_tokens: int | None = None) -> list[Pick]:
        """The next pack as (call, index), in the order of `by_beginning`; empty if nothing waits.

        max_tokens: of this pack, if fewer; an input that has more goes alone.

        Full packs go before others, which wait for at most a few. Of one kind, what fits in one pack goes before
        larger shares, which wait for at most a few packs: a small call doesn't wait for a large one, and the end of a
        part goes with the start of the next.
        """
        if not self._lines:
            return []
        kind, line = max(self._lines.items(), key=self._urgency)
        for other in self._lines.values():
            other.passed += other is not line
        line.passed = 0
        picks: list[Pick] = []
        filling = _Filling(max_tokens or self._max_tokens)
        for share in sorted(line.shares, key=self._turn):
            batch, last = share.call.batch, None
            while share.indices and filling.takes(batch[share.indices[0]], last):
                last = batch[share.indices[0]]
                share.num_tokens -= last.num_tokens
                picks.append((share.call, share.indices.popleft()))
            share.passed = share.passed + 1 if last is None else 0
        line.shares = [share for share in line.shares if share.indices]
        if not line.shares:
            del self._lines[kind]
        self._num_waiting -= len(picks)
        return sorted(picks, key=lambda pick: by_beginning(pick[0].batch[pick[1]]))

    def _turn(self, share: _Share) -> tuple[bool, bool, int]:
        return share.passed < _PATIENCE, share.num_tokens > self._max_tokens, share.number

    def _urgency(self, item: tuple[Kind, _Line]) -> tuple[bool, bool, int]:
        line = item[1]
        oldest = min(share.number for share in line.shares)
        return line.passed >= _PATIENCE, line.num_tokens >= self._max_tokens, -oldest
