"""A run as a folder: what is left of it is embedded, shard by shard, and each is committed once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import RunError, TooManyRejectedError
from .caution import Caution, pieces
from .chunks import Chunk, Chunks, Report
from .folder import Folder
from .kept import kept_types
from .lance_table import commit as commit_lance
from .layouts import types_of, widths_of
from .manifest import Manifest, Share
from .plan import Plan
from .provenance import Form, made_by
from .shard_writer import ShardWriter, shard_schema
from .shards import Done, read_done, shard_name
from .sources import Source
from .storing import storing
from .unchanged import check_shard

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

_MAX_FOOTER_THREADS = 16


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of a run into a folder.

    max_rejected: more rejected rows than this end the run; None for no limit.
    """

    folder: Folder
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

    @property
    def shards(self) -> list[int]:
        """Of this share."""
        return [shard for shard in range(self.plan.num_shards) if self.share.has(shard)]

    @property
    def sources(self) -> list[Source]:
        """Whose rows are in this share."""
        found = {source.path: source for shard in self.shards for source in self.plan.sources_of(shard)}
        return list(found.values())

    def done(self, manifest: Manifest | None) -> dict[int, Done]:
        """Of this share, what is committed."""
        if manifest is None:
            return {}
        run, there = manifest.run, set(self.folder.names())
        shards = [shard for shard in self.shards if shard_name(shard) in there]
        with ThreadPoolExecutor(_MAX_FOOTER_THREADS, thread_name_prefix="jina-embeddings-footers") as pool:
            found = pool.map(lambda shard: read_done(self.folder, shard, run), shards)
            return {done.shard: done for done in found if done is not None}

    def begin(self, model: JinaEmbeddings) -> Manifest:
        """Writes the manifest, if there is none. Raises RunMismatchError if the folder's run is another model's."""
        made = made_by(model, self.form)
        with storing("the manifest", self.folder):
            self.folder.tidy()
            manifest = Manifest.read(self.folder) or Manifest(self.plan, self.form, made).write(self.folder)
        manifest.check_inputs(self.plan, self.form, self.folder)
        manifest.check_model(made, self.folder)
        return manifest

    def work(self, model: JinaEmbeddings, report: Report, caution: Caution | None = None) -> None:
        """Embeds and commits all that is left of the share.

        report: called as `embed_shards` says.

        Raises:
            RunMismatchError: the folder's run was made with another model.
            TooManyRejectedError: see `max_rejected`.
        """
        manifest = self.begin(model)
        done = self.done(manifest)
        rejected = sum(shard.rejected for shard in done.values())
        self.check_rejected(rejected)
        left = [shard for shard in self.shards if shard not in done]

        def committed(name: str, *values: Any) -> None:
            nonlocal rejected
            report(name, *values)
            if name == "committed":
                rejected += values[0].rejected
                self.check_rejected(rejected)

        self.embed_shards(model, manifest, left, committed, caution or Caution())
        self.finish(manifest)

    def embed_shards(
        self, model: JinaEmbeddings, manifest: Manifest, shards: Sequence[int], report: Report, caution: Caution
    ) -> None:
        """Tries the suspected rows, then embeds shards and commits each.

        report: called with `begun` and `ended` and the rows of a chunk (see `Chunks`), with `trying` and `cleared` and
            the rows of a suspected piece, with `committed` and a `Done`; from several threads.
        """
        chunks = Chunks(model, self.plan, self.form, self.batch_size, report)
        for suspect in caution.suspects:
            for piece in pieces(suspect):
                report("trying", *piece)
                chunks.try_alone(piece, caution.poison)
                report("cleared", *piece)
        # The stream runs on into the next shard while this one is written.
        with closing(chunks.stream(shards, caution)) as stream:
            for shard in shards:
                report("committed", self._write(manifest, shard, stream))

    def finish(self, manifest: Manifest) -> None:
        """What is done once when all shards are there, whoever made them; may be done again."""
        if self.form.layout == "lance":
            self.commit_dataset(manifest, kept_types(self.plan, self.form.layout))

    def commit_dataset(self, manifest: Manifest, kept: list[tuple[str, Any]]) -> None:
        """Makes the fragments of all shards one Lance dataset, if all are there. kept: see `ShardWriter`."""
        done = Job(self.folder, self.plan, self.form).done(manifest)
        if len(done) < self.plan.num_shards:
            return
        fragments = [text for shard in sorted(done) for text in done[shard].fragments]
        schema = shard_schema(kept, types_of(self.form, widths_of_run(manifest)))
        with storing("the Lance dataset", self.folder):
            num_rows = commit_lance(self.folder, fragments, schema)
        if num_rows != self.plan.num_rows:
            raise RunError(
                f"the Lance dataset of {self.folder} has {num_rows:,} rows instead of {self.plan.num_rows:,}"
            )

    def check_rejected(self, rejected: int) -> None:
        """Raises TooManyRejectedError."""
        if self.max_rejected is not None and rejected > self.max_rejected:
            raise TooManyRejectedError(
                f"{rejected:,} of {self.plan.num_rows:,} rows were rejected, {self.max_rejected:,} are allowed: "
                f"see {self.folder}/_rejects"
            )

    def _write(self, manifest: Manifest, shard: int, stream: Any) -> Done:
        start, stop = span = self.plan.span(shard)
        kept = kept_types(self.plan, self.form.layout)
        widths, what = widths_of_run(manifest), shard_name(shard)
        with ExitStack() as stack:
            with storing(what, self.folder):
                writer = ShardWriter(self.folder, manifest.run, shard, span, self.form, widths, kept)
                stack.enter_context(writer)
            while start < stop:
                chunk: Chunk = next(stream)
                with storing(what, self.folder):
                    writer.write(chunk)
                start += len(chunk.rows)
            check_shard(self.plan.sources_of(shard))
            with storing(what, self.folder):
                return writer.commit()


def widths_of_run(manifest: Manifest) -> dict[str, int]:
    """Numbers of a vector in each column; see `widths_of`."""
    made = manifest.made_by
    return widths_of(manifest.form, made["dimension"], made["multivector_dim"] or 0)
