"""The inputs that wait for a pack, of all calls: the end of one call shares a pack with the start of the next."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ...plugin.packs import Room, by_prefix, shared_prefix
from ...types import Prepared
from ..batching import Kind, by_kind

# How often the tokens of one pack are counted; each time there is less to gain.
_MAX_COUNTS = 2
# Most packs that may go before a waiting kind, or before a waiting large call of the same kind.
_MAX_PASSED_PACKS = 4


class Reply(Protocol):
    """What a call waits for: an asyncio future, a concurrent one, or one of another event loop."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(eq=False)
class Call:
    """One call: its inputs, a list for their results, and a future that is done when all are there or one failed.

    num_left: how many results are missing.
    """

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
    """The waiting inputs of one call and one kind.

    number: counts shares, so that older ones go first.
    indices: of the inputs in the call, in the order of `by_prefix`.
    num_tokens: of the inputs.
    passed: how many packs of the kind have taken none of these inputs.
    """

    number: int
    call: Call
    indices: deque[int]
    num_tokens: int
    passed: int = 0


@dataclass(eq=False)
class _Line:
    """The waiting inputs of one kind. passed: how many packs of other kinds went first."""

    shares: list[_Share] = field(default_factory=list)
    passed: int = 0

    @property
    def num_tokens(self) -> int:
        return sum(share.num_tokens for share in self.shares)


class _Filling:
    """A pack that is being filled: counts its tokens, with prefixes that neighbours of one share have in common once.

    The count is an upper bound: sorted together with other shares, neighbours share at least as much. When the bound
    leaves no more room, the tokens are counted as they are then.
    """

    def __init__(self, room: Room):
        self._room = room
        self._inputs: list[Prepared] = []
        self._rows = self._whole = 0
        self._num_counts = 0

    def takes(self, prepared: Prepared, before: Prepared | None) -> bool:
        """Adds the input to the pack if it fits; returns whether it does. before: the one before it in its share."""
        rows = self._rows + prepared.num_tokens - shared_prefix(before, prepared)
        whole = self._whole + prepared.num_tokens
        # The first input is always taken, though there may be less room for a while.
        if self._inputs:
            if whole > self._room.whole or len(self._inputs) == self._room.prompts:
                return False
            if rows > self._room.tokens and self._num_counts < _MAX_COUNTS:
                self._num_counts += 1
                rows = _num_rows([*self._inputs, prepared])
            if rows > self._room.tokens:
                return False
        self._inputs.append(prepared)
        self._rows, self._whole = rows, whole
        return True


def _num_rows(inputs: Sequence[Prepared]) -> int:
    """The tokens that a pack of these inputs computes."""
    ordered = sorted(inputs, key=by_prefix)
    neighbours = zip([None, *ordered], ordered, strict=False)
    return sum(prepared.num_tokens - shared_prefix(before, prepared) for before, prepared in neighbours)


Pick: TypeAlias = "tuple[Call, int]"


class PackQueue:
    """The waiting inputs of all calls by kind; a pack has one kind.

    room: what a pack may have at most; no input may have more tokens.
    """

    def __init__(self, room: Room):
        self._room = room
        self._numbers = itertools.count()
        self._lines: dict[Kind, _Line] = defaultdict(_Line)
        self._num_waiting = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, call: Call, chosen: Sequence[int]) -> None:
        """Adds inputs of a call. chosen: their indices."""
        self._num_waiting += len(chosen)
        inputs = [call.batch[index] for index in chosen]
        for kind, places in by_kind(inputs, by_prefix):
            num_tokens = sum(inputs[place].num_tokens for place in places)
            share = _Share(next(self._numbers), call, deque(chosen[place] for place in places), num_tokens)
            self._lines[kind].shares.append(share)

    def __len__(self) -> int:
        """The number of waiting inputs."""
        return self._num_waiting

    @property
    def num_tokens(self) -> int:
        """The tokens of the waiting inputs."""
        return sum(line.num_tokens for line in self._lines.values())

    def has_full_pack(self, room: Room | None = None) -> bool:
        """Whether the inputs of one kind fill a pack, whatever prefixes they share. room: as of `take`."""
        whole = (room or self._room).whole
        return any(line.num_tokens >= whole for line in self._lines.values())

    def drop(self, call: Call) -> None:
        """Removes the inputs of the call that still wait."""
        for kind, line in list(self._lines.items()):
            self._num_waiting -= sum(len(share.indices) for share in line.shares if share.call is call)
            line.shares = [share for share in line.shares if share.call is not call]
            if not line.shares:
                del self._lines[kind]

    def take(self, room: Room | None = None) -> list[Pick]:
        """Takes the inputs of the next pack: (call, index) in the order of `by_prefix`; empty if nothing waits.

        room: less room for this pack; an input with more tokens is a pack alone.

        A kind that fills a pack goes before others, but before each at most `_MAX_PASSED_PACKS` times. Within a kind,
        shares that fit into one pack go before larger ones, with the same limit. So a small call doesn't wait for a
        large one, and the end of a part shares a pack with the start of the next.
        """
        if not self._lines:
            return []
        kind, line = max(self._lines.items(), key=self._urgency)
        for other in self._lines.values():
            other.passed += other is not line
        line.passed = 0
        picks: list[Pick] = []
        filling = _Filling(room or self._room)
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
        return sorted(picks, key=lambda pick: by_prefix(pick[0].batch[pick[1]]))

    def _turn(self, share: _Share) -> tuple[bool, bool, int]:
        return share.passed < _MAX_PASSED_PACKS, share.num_tokens > self._room.tokens, share.number

    def _urgency(self, item: tuple[Kind, _Line]) -> tuple[bool, bool, int]:
        line = item[1]
        oldest = min(share.number for share in line.shares)
        return line.passed >= _MAX_PASSED_PACKS, line.num_tokens >= self._room.tokens, -oldest
