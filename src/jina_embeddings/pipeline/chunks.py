"""Rows become vectors, a chunk at a time: the next ones are read and prepared while others run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..calls.request import Request
from ..errors import EngineDeadError, JinaEmbeddingsError
from ..types import Both, Partial
from ..vectors.quantization import quantize
from .busy import BusyTime
from .caution import Caution, Span
from .plan import Plan, PlanReader
from .provenance import Column, Form
from .rows import Failure, Row
from .storing import reason_of
from .stretch import Stretch

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

Report = Callable[..., None]

_CHUNK_BYTES = 64 * 2**20
"""The most bytes of encoded images in a chunk, since chunks are read before their turn."""
_MIN_CHUNKS_AT_ONCE = 2
"""One that the engine runs, and one that is prepared or finished."""
_CHUNKS_READ_AHEAD = 1
_CHUNKS_OF_A_SHARD = 4
"""At least so many, since what is under way for the next shard is lost with this one when the process is killed."""


@dataclass(slots=True)
class Chunk:
    """Rows that are embedded together.

    rows: those that the model rejected too as errors.
    vectors: of each column, for the rows that were not: an array (rows, numbers), or a list. Empty if all were.
    cut: how many texts were cut.
    ran: when the engine got the rows and when it had done them, on the clock of `time.perf_counter`.
    """

    start: int
    rows: Stretch
    vectors: dict[str, Any]
    cut: int = 0
    ran: tuple[float, float] = (0.0, 0.0)

    @property
    def span(self) -> Span:
        return self.start, self.start + len(self.rows)


class Chunks:
    """Embeds the rows of a plan.

    report: called from several threads with `begun` and the rows before they are read, and with `ended`, the rows, and
        the seconds that the engine has worked since the last ones, when their vectors are there. The rows of a shard
        that come together may be fewer than was said when they began.
    """

    def __init__(self, model: JinaEmbeddings, plan: Plan, form: Form, batch_size: int | None, report: Report):
        self._model, self._plan, self._form, self._report = model, plan, form, report
        multivector = {column.multivector for column in form.columns.values()}
        self._options: dict[str, Any] = {
            "task": form.task,
            "prompt_name": form.prompt,
            "batch_size": batch_size,
            "max_length": form.max_length,
            "truncate_dim": form.truncate_dim,
            "return_multivector": multivector == {True},
            "return_both": multivector == {True, False},
            "on_error": "skip",
        }

    def stream(self, shards: Sequence[int], caution: Caution) -> Generator[Chunk, None, None]:
        """Chunks in order; none reaches from one shard into the next."""
        source = self._read(shards, caution)
        busy = BusyTime()
        pending: deque[Future[Chunk | None]] = deque()
        at_once = max(_MIN_CHUNKS_AT_ONCE, self._model.calls_at_once)
        with (
            ThreadPoolExecutor(1, thread_name_prefix="jina-embeddings-reader") as reader,
            ThreadPoolExecutor(at_once, thread_name_prefix="jina-embeddings-bulk") as workers,
        ):
            try:
                while True:
                    while len(pending) < at_once + _CHUNKS_READ_AHEAD:
                        pending.append(workers.submit(self._embed_read, reader.submit(next, source, None)))
                    chunk = pending.popleft().result()
                    if chunk is None:
                        return
                    self._report("ended", *chunk.span, busy.add(*chunk.ran))
                    yield chunk
            finally:
                for future in pending:
                    future.cancel()
                workers.shutdown(wait=True, cancel_futures=True)
                reader.submit(source.close)

    def try_alone(self, span: Span, poison: frozenset[int]) -> None:
        """Embeds rows for nothing: whether they end this process."""
        reader = PlanReader(self._plan)
        self._embed(span[0], self._stretch(reader, *span, poison))
        reader.close()

    def _read(self, shards: Sequence[int], caution: Caution) -> Generator[tuple[int, Stretch], None, None]:
        """Cut at the same rows whenever a shard is embedded: what runs together decides the last bits of a vector."""
        reader = PlanReader(self._plan)
        most = max(1, self._plan.shard_rows // _CHUNKS_OF_A_SHARD)
        try:
            for shard in shards:
                start, stop = self._plan.span(shard)
                while start < stop:
                    last = min(start + min(most, caution.most_rows(start)), stop)
                    self._report("begun", start, last)
                    rows = self._stretch(reader, start, last, caution.poison)
                    yield start, rows
                    start += len(rows)
        finally:
            reader.close()

    def _stretch(self, reader: PlanReader, start: int, stop: int, poison: frozenset[int]) -> Stretch:
        rows = reader.texts(start, stop)
        if rows is None:
            rows = Stretch.of(list(_bounded(reader.read(start, stop))), self._plan.fields.keep)
        for row in poison.intersection(range(start, start + len(rows))):
            rows.reject(row - start, EngineDeadError("this row ended the process that embedded it, alone too"))
        return rows

    def _embed_read(self, reading: Future[tuple[int, Stretch] | None]) -> Chunk | None:
        read = reading.result()
        return None if read is None else self._embed(*read)

    def _embed(self, start: int, rows: Stretch) -> Chunk:
        """Embeds the rows, and rejects those that can't be."""
        good = rows.good
        if not good:
            return Chunk(start, rows, {})
        inputs = [rows.inputs[place] for place in good] if rows.errors else rows.inputs
        began = time.perf_counter()
        try:
            result = self._model.embed(Request.mixed(inputs, self._options))
        except (JinaEmbeddingsError, OSError):
            raise
        except Exception as error:
            # Of one row, maybe: it is looked for like one that ends the process.
            raise EngineDeadError(reason_of(error)) from error
        ended = time.perf_counter()
        before, after = result.times.prepare_s, result.times.finish_s
        # The parts of a large call overlap, and so do their times: the engine has work all along.
        ran = (began + before, ended - after) if before + after < ended - began else (began, ended)
        partial: Partial = result.embeddings
        for skipped in partial.skipped:
            rows.reject(good[skipped.index], skipped.error)
        vectors = {}
        for name, column in self._form.columns.items() if partial.kept else ():
            found = partial.embeddings
            if isinstance(found, Both):
                found = found.multivector if column.multivector else found.dense
            vectors[name] = _in_form(found, column)
        return Chunk(start, rows, vectors, len(result.cut), ran)


def _in_form(vectors: Any, column: Column) -> Any:
    def convert(array: Any) -> Any:
        return array.astype(np.float16) if column.numbers == "float16" else quantize(array, column.numbers)

    return [convert(array) for array in vectors] if column.multivector else convert(vectors)


def _bounded(items: Iterator[Row | Failure]) -> Iterator[Row | Failure]:
    """Yields items until their images have `_CHUNK_BYTES`."""
    num_bytes = 0
    for item in items:
        yield item
        if isinstance(item, Row) and isinstance(image := item.input.get("image"), bytes):
            num_bytes += len(image)
            if num_bytes >= _CHUNK_BYTES:
                return
