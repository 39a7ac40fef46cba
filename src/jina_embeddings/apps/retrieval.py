"""Retrieval: an index of files, and the context for a language model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .documents import CutOptions, Files
from .index import Hit, Index, Summary

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

CountTokens = Callable[[Sequence[str]], list[int]]
KIND = "files"


def index_files(
    paths: Sequence[str | os.PathLike[str]],
    into: str | os.PathLike[str],
    model: JinaEmbeddings,
    *,
    task: str | None = None,
    dimension: int | None = None,
    options: CutOptions | None = None,
    advance: Callable[[], None] | None = None,
    **encode: Any,
) -> tuple[Index, Summary]:
    """Makes an index of files and folders, or brings one in step with them.

    Args:
        paths: text, Markdown, HTML, PDFs, pictures, .jsonl and .csv; folders stand for all files below them.
            What the index has from below these paths, and is no longer there, is removed.
        into: a folder, or an address such as `s3://bucket/path`.
        task, dimension: of a new index; see `Index.open`.
        options: how files are cut.
        advance: called after each passage.
        encode: `batch_size`, `max_length`, `max_pixels` of `JinaEmbeddings.stream`.

    Raises: as `Index.open` and `Index.update`. What can't be read is in the summary's `failures` instead.
    """
    files = Files([os.fspath(path) for path in paths], options, leave_out=[os.fspath(into)])
    index = Index.open(into, model, create=True, task=task, dimension=dimension, kind=KIND)
    return index, index.update(files.documents(), gone=files.gone, advance=advance, **encode)


def context(hits: Sequence[Hit], max_tokens: int, count_tokens: CountTokens) -> str:
    """Passages with their sources, numbered, for the prompt of a language model.

    Passages come in the order of the hits, whole; pictures and what doesn't fit are passed over. If even the
    first doesn't fit by itself, it is cut.

    Args:
        max_tokens: of the whole text. count_tokens: tokens of each of several texts, `JinaEmbeddings.count_tokens`
            or that of the language model.
    """
    chosen: list[str] = []
    hits = [hit for hit in hits if hit.passage.text]
    for hit in hits:
        entry = _entry(len(chosen) + 1, hit)
        if _fits([*chosen, entry], max_tokens, count_tokens):
            chosen.append(entry)
    if not chosen and hits:
        words = _entry(1, hits[0])
        low, high = 0, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _fits([words[:middle]], max_tokens, count_tokens) else (low, middle - 1)
        return words[:low].rstrip()
    return _joined(chosen)


def _entry(number: int, hit: Hit) -> str:
    passage = hit.passage
    title = f" ({passage.title})" if passage.title else ""
    return f"[{number}] {passage.source}{title}\n{passage.text}"


def _joined(entries: Sequence[str]) -> str:
    return "\n\n".join(entries)


def _fits(entries: Sequence[str], max_tokens: int, count_tokens: CountTokens) -> bool:
    return count_tokens([_joined(entries)])[0] <= max_tokens
