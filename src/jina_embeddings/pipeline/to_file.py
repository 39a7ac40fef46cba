"""A run into one file: rows are read, embedded, and written as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EmptyInputError, OptionError
from ..vectors.quantization import check_embedding_type
from .embed import Embedded, embed_rows
from .provenance import Form, described
from .readers import Reader
from .rows import Failure, Item, LeftOut, Row
from .writers import check_output, open_writer, output_files

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings


@dataclass(slots=True)
class Tally:
    """Counts what became of the inputs.

    strict: the first that failed is raised.
    cut: ids of the texts that were cut. left_out: the files without anything to embed.
    """

    strict: bool = False
    num_rows: int = 0
    cut: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, item: Item | Embedded) -> None:
        if isinstance(item, Embedded):
            self.num_rows += 1
            if item.cut:
                self.cut.append(item.row.id)
        elif isinstance(item, LeftOut):
            self.left_out.append(item)
        elif isinstance(item, Failure):
            if self.strict:
                raise type(item.error)(str(item)) from item.error
            self.failures.append(item)


@dataclass(frozen=True, slots=True)
class FileRun:
    """The arguments of a run into one file.

    options: of the model, written beside its vectors.
    """

    output: Path
    form: Form
    overwrite: bool = False
    text_field: str = "text"
    image_field: str = "image"
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self, paths: Sequence[str]) -> None:
        """Raises for what could never work, before minutes are spent on loading a model."""
        form = self.form
        check_output(self.output, paths, multivector=form.multivector, embedding_type=form.embedding_type)
        if self.output.exists() and not self.overwrite:
            raise OptionError(f"output {str(self.output)!r} exists: set `overwrite` to replace it, or name another")
        # No file but a run's shards holds float16.
        check_embedding_type(form.embedding_type)
        form.check()

    @property
    def reader(self) -> Reader:
        """Reads whatever it is given but what this run writes."""
        written = frozenset(os.path.abspath(path) for path in output_files(self.output))
        return Reader(self.text_field, self.image_field, written)

    def read(self, paths: Sequence[str], tally: Tally) -> Iterator[Item]:
        """Items from the first row on; those before it are in the tally already.

        Raises:
            EmptyInputError: there is no row.
        """
        items = self.reader.read(paths)
        for item in items:
            if isinstance(item, Row):
                return chain([item], items)
            tally.add(item)
        raise EmptyInputError("there is nothing to embed in what was given")

    def write(self, model: JinaEmbeddings, items: Iterator[Item], tally: Tally, advance: Callable[[], None]) -> None:
        """Embeds the items and writes the file, which appears when all are done. advance: called for each.

        Raises:
            EmptyInputError: none of them could be embedded.
        """
        results = embed_rows(
            model,
            items,
            task=self.form.task,
            prompt_name=self.form.prompt,
            batch_size=self.batch_size,
            max_length=self.form.max_length,
            truncate_dim=self.form.truncate_dim,
            return_multivector=self.form.multivector,
            embedding_type=self.form.embedding_type,
        )
        with open_writer(self.output, self._metadata(model)) as writer:
            for result in results:
                advance()
                tally.add(result)
                if isinstance(result, Embedded):
                    writer.write(result.row.id, result.row.kind, result.embedding)
            if not tally.num_rows:
                raise EmptyInputError("none of the inputs could be embedded")

    def _metadata(self, model: JinaEmbeddings) -> dict[str, Any]:
        form = self.form
        metadata = {
            **described(model.opened, form),
            "engine": model.engine,
            "embedding_type": form.embedding_type,
            "multivector": form.multivector,
            "max_length": form.max_length,
            "options": dict(self.options) or None,
        }
        return {name: value for name, value in metadata.items() if value is not None}
