"""A checkpoint through the product's public methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint.resolve import resolve
from jina_embeddings.similarity import normalize

from .measures import Scores
from .pages import PageSet
from .sets import Pairs, Pictures, Task, Words

NUM_CHECKED = 4
CUT_TOLERANCE = 1e-3


class Product:
    """Scores (queries, documents) of a loaded checkpoint; vectors that were made once are kept."""

    def __init__(self, model: str | Path, engine: str = "auto", **options: Any):
        self.folder = resolve(model)
        self.name = self.folder.name
        self._model = JinaEmbeddings(model, engine=engine, **options)
        self._kept: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.close()

    @property
    def dims(self) -> tuple[int, ...]:
        return self._model.info.matryoshka_dims

    @property
    def tasks(self) -> tuple[str, ...]:
        return self._model.info.tasks

    def texts(self, texts: Sequence[str], task: str, role: str, dim: int | None = None, multi: bool = False) -> Any:
        """Vectors (n, dim) of texts under the task's prompt for the role, or a list of multi-vectors."""
        key = (tuple(texts), task, role, multi)
        if key not in self._kept:
            self._kept[key] = self._encode(texts, task, role, multi=multi)
        return self._kept[key] if dim is None else self._short(self._kept[key], texts, task, role, dim)

    def _encode(self, texts: Sequence[str], task: str, role: str, dim: int | None = None, multi: bool = False) -> Any:
        return self._model.encode_text(
            list(texts), task=task, prompt_name=role, truncate_dim=dim, return_multivector=multi
        )

    def _short(self, vectors: Any, texts: Sequence[str], task: str, role: str, dim: int) -> Any:
        """Cut here, to save a second pass over all texts; the product has to cut the first few the same way."""
        short = normalize(vectors[:, :dim])
        few = self._encode(texts[:NUM_CHECKED], task, role, dim)
        if np.abs(few - short[:NUM_CHECKED]).max() > CUT_TOLERANCE:
            raise RuntimeError(f"truncate_dim={dim} gives other vectors than the first {dim} numbers of whole ones")
        return short

    def images(self, name: str, images: Sequence[Any], task: str = "retrieval", multi: bool = False) -> Any:
        """Vectors of images, or a list of multi-vectors; `name` is unique to these images."""
        key = (name, task, multi)
        if key not in self._kept:
            self._kept[key] = self._model.encode_image(list(images), task=task, return_multivector=multi)
        return self._kept[key]

    def pairs(self, pairs: Pairs, task: Task | None = None, dim: int | None = None, multi: bool = False) -> Scores:
        """With the set's own task, or another one's adapter and prompts."""
        task = task or pairs.task
        queries = self.texts(pairs.queries, task, "query", dim, multi)
        return self._scores(queries, self.texts(pairs.documents, task, "passage", dim, multi), multi)

    def words(self, words: Words, task: Task = "text-matching") -> Scores:
        first, second = (self.texts(side, task, "query") for side in (words.first, words.second))
        return np.asarray((first * second).sum(axis=1))

    def page_to_text(self, pages: PageSet, multi: bool = False) -> Scores:
        texts = self.texts(pages.texts, "retrieval", "passage", None, multi)
        return self._scores(self.images(pages.name, pages.images, multi=multi), texts, multi)

    def text_to_picture(self, pages: PageSet | Pictures, multi: bool = False) -> Scores:
        texts = self.texts(pages.texts, "retrieval", "query", None, multi)
        return self._scores(texts, self.images(pages.name, pages.images, multi=multi), multi)

    def _scores(self, queries: Any, documents: Any, multi: bool) -> Scores:
        if not multi:
            return self._model.similarity(queries, documents)
        return np.stack([self._model.maxsim(query, documents) for query in queries])
