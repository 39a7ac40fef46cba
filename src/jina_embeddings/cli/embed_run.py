"""One run of `jina-embeddings embed`: what was asked for, checked before the model loads, and done."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from .. import __version__
from ..embedder import JinaEmbeddings
from ..errors import DimensionError, EmptyInputError, OptionError
from ..inputs.prompts import resolve_task
from ..pipeline.embed import Embedded, embed_rows
from ..pipeline.readers import Reader
from ..pipeline.rows import Failure, Item, LeftOut, Row
from ..pipeline.writers import check_output, open_writer, output_files
from ..vectors.quantization import check_embedding_type
from .model import ModelChoice
from .terminal import Progress, say

DEFAULT_PROMPT = "passage"


@dataclass(frozen=True, slots=True)
class Run:
    """The arguments of the command, under their names there."""

    choice: ModelChoice
    output: Path
    overwrite: bool
    task: str | None
    prompt_name: str | None
    text_field: str
    image_field: str
    on_error: str
    batch_size: int | None
    max_length: int | None
    truncate_dim: int | None
    multivector: bool
    embedding_type: str

    def check(self, paths: Sequence[str]) -> None:
        """Raises for what could never work, before minutes are spent on loading a model."""
        check_output(self.output, paths, multivector=self.multivector, embedding_type=self.embedding_type)
        if self.output.exists() and not self.overwrite:
            raise OptionError(f"output {str(self.output)!r} exists: add --overwrite to replace it, or name another")
        check_embedding_type(self.embedding_type)
        if self.on_error not in ("skip", "raise"):
            raise OptionError(f"--on-error is skip or raise, not {self.on_error!r}")
        if self.multivector and self.truncate_dim is not None:
            raise DimensionError("multi-vectors can't be truncated: leave --truncate-dim out")
        resolve_task(self.task or "retrieval", self._prompt)

    def embed(self, paths: Sequence[str]) -> int:
        """Embeds and writes all rows; the number of inputs that failed."""
        reader = Reader(
            self.text_field, self.image_field, frozenset(os.path.abspath(path) for path in output_files(self.output))
        )
        with _Tally(strict=self.on_error == "raise") as tally:
            items = self._from_first_row(reader.read(paths), tally)
            with self.choice.loaded(self.task) as model:
                start = time.perf_counter()
                self._write(model, items, Progress(reader.counts(paths)), tally)
                took = time.perf_counter() - start
        say(tally.summary(took, self.output))
        return len(tally.failures)

    @property
    def _prompt(self) -> str | None:
        # retrieval.query and the like say it already.
        return self.prompt_name or (None if self.task and "." in self.task else DEFAULT_PROMPT)

    def _from_first_row(self, items: Iterator[Item], tally: _Tally) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Row):
                return chain([item], items)
            tally.add(item)
        raise EmptyInputError("there is nothing to embed in what was given")

    def _write(self, model: JinaEmbeddings, items: Iterator[Item], progress: Progress, tally: _Tally) -> None:
        results = embed_rows(
            model,
            items,
            task=self.task,
            prompt_name=self._prompt,
            batch_size=self.batch_size,
            max_length=self.max_length,
            truncate_dim=self.truncate_dim,
            return_multivector=self.multivector,
            embedding_type=self.embedding_type,
        )
        with open_writer(self.output, self._metadata(model)) as writer, progress:
            for result in results:
                progress.advance()
                tally.add(result)
                if isinstance(result, Embedded):
                    writer.write(result.row.id, result.row.kind, result.embedding)
            if not tally.num_rows:
                raise EmptyInputError("none of the inputs could be embedded")

    def _metadata(self, model: JinaEmbeddings) -> dict[str, Any]:
        task, prompt_name = resolve_task(self.task or model.task, self._prompt)
        info = model.info
        metadata = {
            "model": info.name,
            "revision": info.revision,
            "task": task,
            "prompt_name": prompt_name,
            "engine": model.engine,
            "dimension": info.multivector_dim if self.multivector else self.truncate_dim or info.dimension,
            "embedding_type": self.embedding_type,
            "multivector": self.multivector,
            "max_length": self.max_length,
            "options": self.choice.options or None,
            "version": __version__,
        }
        return {name: value for name, value in metadata.items() if value is not None}


@dataclass(slots=True)
class _Tally:
    """Counts what came of the inputs; on leaving, lists those that failed. strict: raises at the first of them."""

    strict: bool
    num_rows: int = 0
    num_left_out: int = 0
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> _Tally:
        return self

    def __exit__(self, *_: object) -> None:
        if self.failures:
            say(f"{_counted(len(self.failures), 'input')} failed:")
            for failure in self.failures:
                say(f"  {failure}")

    def add(self, item: Item | Embedded) -> None:
        if isinstance(item, Embedded):
            self.num_rows += 1
        elif isinstance(item, LeftOut):
            self.num_left_out += 1
        elif isinstance(item, Failure):
            if self.strict:
                raise type(item.error)(str(item)) from item.error
            self.failures.append(str(item))

    def summary(self, took_s: float, output: Path) -> str:
        rate = self.num_rows / max(took_s, 1e-9)
        done = f"{_counted(self.num_rows, 'row')} in {took_s:.1f} s ({rate:,.1f} rows/s) in {output}"
        if self.num_left_out:
            done += f"; left out {_counted(self.num_left_out, 'empty or binary file')}"
        return done


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
