"""A run as a folder: what is left of it is embedded, shard by shard, and each is committed once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import EngineDeadError, RunError, TooManyRejectedError
from .drafts import remove_abandoned
from .embed import Embedded
from .manifest import NAME, Manifest, Share
from .plan import Plan
from .positions import COLUMNAR
from .provenance import Form, made_by
from .rows import Failure, Row
from .shards import Done, ShardWriter, embedding_type, read_done

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

CHUNK_ROWS = 256
"""Rows that the model is given together."""
_DEPTH = 2
Report = Callable[..., None]
Results: TypeAlias = "Generator[Embedded | Failure, None, None]"


@dataclass(frozen=True, slots=True)
class Caution:
    """What is known of rows that ended a worker.

    poison: rows that are rejected unseen. suspect: one of these rows (first, last + 1) ended the last worker.
    until: shards before this one are embedded chunk by chunk, so that it is known where a worker ended.
    """

    poison: frozenset[int] = frozenset()
    suspect: tuple[int, int] | None = None
    until: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for. paths are in `plan`.

    max_rejected: more rejected rows than this end the run; None for no limit.
    """

    folder: Path
    plan: Plan
    form: Form
    share: Share = field(default_factory=Share)
    max_rejected: int | None = None
    batch_size: int | None = None

    def check(self) -> Manifest | None:
        """The manifest that the folder has. Raises RunMismatchError if it is another run's."""
        self.form.check()
        manifest = Manifest.read(self.folder)
        if manifest is not None:
            manifest.check_inputs(self.plan, self.form, self.folder)
        return manifest

    def done(self, manifest: Manifest) -> dict[int, Done]:
        """Of this share, what is committed."""
        run = manifest.run
        shards = filter(self.share.has, range(self.plan.num_shards))
        found = {shard: read_done(self.folder, shard, run) for shard in shards}
        return {shard: done for shard, done in found.items() if done is not None}

    def remaining(self, manifest: Manifest) -> list[int]:
        done = self.done(manifest)
        return [shard for shard in range(self.plan.num_shards) if self.share.has(shard) and shard not in done]

    def work(self, model: JinaEmbeddings, report: Report, caution: Caution | None = None) -> None:
        """Embeds and commits all that is left.

        report: called with `rows` as rows are done, `begun` with a shard, `committed` with a `Done`, and, of what is
            embedded with caution, `trying` with the first row and the first after it.

        Raises:
            RunMismatchError: the folder's run was made with another model.
            TooManyRejectedError: see `max_rejected`.
        """
        caution = caution or Caution()
        made = made_by(model, self.form)
        remove_abandoned(self.folder / NAME)
        manifest = Manifest.read(self.folder) or Manifest(self.plan, self.form, made).write(self.folder)
        manifest.check_inputs(self.plan, self.form, self.folder)
        manifest.check_model(made, self.folder)
        done = self.done(manifest)
        rejected = sum(shard.rejected for shard in done.values())
        shards = [shard for shard in range(self.plan.num_shards) if self.share.has(shard) and shard not in done]
        self._check_rejected(rejected)
        caution = self._confine(model, caution, report)
        careful = [shard for shard in shards if shard < caution.until]
        for found, part in (
            (self._carefully(model, careful, caution, report), careful),
            (self._stream(model, shards[len(careful) :], report), shards[len(careful) :]),
        ):
            # The stream runs on into the next shard while this one is written.
            with closing(found):
                for shard in part:
                    committed = self._write(manifest, shard, found, report)
                    rejected += committed.rejected
                    report("committed", committed)
                    self._check_rejected(rejected)

    def _write(self, manifest: Manifest, shard: int, items: Iterator[Embedded | Failure], report: Report) -> Done:
        start, stop = self.plan.span(shard)
        with self._writer(manifest, shard) as writer:
            for _ in range(start, stop):
                writer.write(next(items))
                report("rows", 1)
        return Done(manifest.run, shard, stop - start, writer.rejected)

    def _check_rejected(self, rejected: int) -> None:
        if self.max_rejected is not None and rejected > self.max_rejected:
            raise TooManyRejectedError(
                f"{rejected:,} of {self.plan.num_rows:,} rows were rejected, {self.max_rejected:,} are allowed: "
                f"see {self.folder / 'rejects'}"
            )

    def _writer(self, manifest: Manifest, shard: int) -> ShardWriter:
        form, dimension = self.form, manifest.made_by["dimension"]
        types = {
            name: embedding_type(kind, dimension, multivector=form.multivector) for name, kind in form.forms.items()
        }
        start, _ = self.plan.span(shard)
        return ShardWriter(self.folder, manifest.run, shard, start, form.forms, types, kept_types(self.plan))

    def _options(self) -> dict[str, Any]:
        form = self.form
        return {
            "task": form.task,
            "prompt_name": form.prompt,
            "batch_size": self.batch_size,
            "max_length": form.max_length,
            "truncate_dim": form.truncate_dim,
            "return_multivector": form.multivector,
            "embedding_type": "float" if form.also or form.embedding_type == "float16" else form.embedding_type,
        }

    def _chunks(self, shards: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Cut at the same rows whenever a shard is embedded: what runs together decides the last bits of a vector."""
        for shard in shards:
            start, stop = self.plan.span(shard)
            for first in range(start, stop, CHUNK_ROWS):
                yield first, min(first + CHUNK_ROWS, stop)

    def _stream(self, model: JinaEmbeddings, shards: Sequence[int], report: Report) -> Results:
        """One chunk is read and prepared while another runs."""
        pending: deque[Future[list[Embedded | Failure]]] = deque()
        executor = ThreadPoolExecutor(_DEPTH, thread_name_prefix="jina-embeddings-bulk")
        try:
            for start, stop in self._chunks(shards):
                if start % self.plan.shard_rows == 0:
                    report("begun", start // self.plan.shard_rows)
                items = list(self.plan.read(start, stop))
                pending.append(executor.submit(self._embed, model, items))
                if len(pending) == _DEPTH:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _embed(self, model: JinaEmbeddings, items: Sequence[Row | Failure]) -> list[Embedded | Failure]:
        rows = [item for item in items if isinstance(item, Row)]
        if not rows:
            return [item for item in items if isinstance(item, Failure)]
        partial = model.encode([row.input for row in rows], on_error="skip", **self._options())
        vectors = dict(zip(partial.kept, partial.embeddings, strict=True))
        errors = {skipped.index: skipped.error for skipped in partial.skipped}
        found: list[Embedded | Failure] = []
        place = 0
        for item in items:
            if isinstance(item, Failure):
                found.append(item)
                continue
            if place in vectors:
                found.append(Embedded(item, vectors[place]))
            else:
                found.append(Failure(item.id, errors[place], item.kept))
            place += 1
        return found

    def _carefully(self, model: JinaEmbeddings, shards: Sequence[int], caution: Caution, report: Report) -> Results:
        for start, stop in self._chunks(shards):
            yield from self._chunk(model, start, stop, caution, report)

    def _chunk(
        self, model: JinaEmbeddings, start: int, stop: int, caution: Caution, report: Report
    ) -> list[Embedded | Failure]:
        """Rows one after the other, nothing else under way."""
        report("trying", start, stop)
        error = EngineDeadError("this row ended the process that embedded it, whenever it was tried")
        items: list[Row | Failure] = [
            Failure(item.id, error, item.kept) if row in caution.poison else item
            for row, item in enumerate(self.plan.read(start, stop), start)
        ]
        return self._embed(model, items)

    def _confine(self, model: JinaEmbeddings, caution: Caution, report: Report) -> Caution:
        """Halves what is suspected until one row is left, which ends this worker too, or is cleared."""
        while caution.suspect is not None:
            start, stop = caution.suspect
            middle = start + max(1, (stop - start) // 2)
            self._chunk(model, start, middle, caution, report)
            rest = (middle, stop) if middle < stop else None
            caution = Caution(caution.poison, rest, caution.until)
        return caution


def kept_types(plan: Plan) -> list[tuple[str, Any]]:
    """Name and Arrow type of each column kept: the files' own where they agree, else strings."""
    found: dict[str, set[Any]] = {name: set() for name in plan.fields.keep}
    for source in plan.sources:
        schema = _schema(source.path, source.kind) if source.kind in COLUMNAR and found else None
        for name, types in found.items():
            if schema is None and source.kind in ("jsonl", "csv"):
                types.add(pa.string())
            elif schema is not None and name in schema.names:
                types.add(schema.field(name).type)
    for name, types in found.items():
        if not types:
            raise RunError(f"no file has a field {name!r} to keep")
    return [(name, types.pop() if len(types) == 1 else pa.string()) for name, types in found.items()]


def _schema(path: str, kind: str) -> Any:
    if kind == "parquet":
        return pq.read_schema(path)
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).schema
