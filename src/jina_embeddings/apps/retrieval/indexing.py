"""An index of files: made, or brought in step with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..documents import CutOptions, Files
from ..index import Index, Summary

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...types import MultivectorFormat


KIND = "files"


def index_files(
    paths: Sequence[str | os.PathLike[str]],
    into: str | os.PathLike[str],
    model: JinaEmbeddings,
    *,
    task: str | None = None,
    dimension: int | None = None,
    multivector: MultivectorFormat | None = None,
    token_pooling: int | None = None,
    options: CutOptions | None = None,
    allow_empty: bool = False,
    advance: Callable[[], None] | None = None,
    **encode: Any,
) -> tuple[Index, Summary]:
    """Makes an index of files and folders, or brings one in step with them.

    Args:
        paths: text, Markdown, HTML, PDFs, pictures, .jsonl and .csv; folders stand for all files below them.
            What the index has from below these paths, and is no longer there, is removed; nothing below a path
            that is missing or can't be read.
        into: a folder, or an address such as `s3://bucket/path`.
        task, dimension, multivector, token_pooling: of a new index; see `Index.open`.
        options: how files are cut.
        allow_empty: remove what the index has from below a given folder that has no files in it.
        advance: called after each passage.
        encode: `batch_size`, `max_length`, `max_pixels` of `JinaEmbeddings.stream`.

    Raises: as `Index.open` and `Index.update`. What can't be read is in the summary's `failures` instead.
    """
    files = Files([os.fspath(path) for path in paths], options, [os.fspath(into)], allow_empty=allow_empty)
    index = Index.open(
        into,
        model,
        create=True,
        task=task,
        dimension=dimension,
        kind=KIND,
        multivector=multivector,
        token_pooling=token_pooling,
    )
    return index, index.update(files.documents(), gone=files.gone, advance=advance, **encode)
