"""`index_files`: makes an index of files, or updates it to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from ...pipeline.manifest import is_run
from ..documents import CutOptions, Files
from ..index import Index, Summary
from ..index.paths import root_of
from ..index.update import Item
from .runs import RunDocuments

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
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_empty: bool = False,
    advance: Callable[[], None] | None = None,
    reading: Callable[[Iterator[Item]], Iterator[Item]] = iter,
    **encode: Any,
) -> tuple[Index, Summary]:
    """Makes an index of files and folders, or updates it to them.

    Args:
        paths: text, Markdown, HTML, PDF, image, record, office, message and notebook files, and folders of them. The
            folder of a bulk run (`embed --into`) gives its rows with the vectors that they have; that of an exported
            index gives the index again.
            Documents of the index below these paths that no longer exist are removed, except below a path that is
            missing or can't be read.
        into: a folder, or an address such as `s3://bucket/path`. Documents below the folder that it stands in are named
            by their paths there, all others by absolute ones.
        task, dimension, multivector, token_pooling: settings of a new index; see `Index.open`. Left out, they are those
            of the first run among the paths.
        options: how files are cut.
        include, exclude: patterns as in .gitignore, of paths in the given folders.
        allow_empty: whether a given folder without files removes the documents below it from the index.
        advance: called after each passage.
        reading: gets the documents and returns an iterator over them, to count them as they are read.
        encode: `batch_size`, `max_length`, `max_pixels` of `JinaEmbeddings.stream`.

    Raises as `Index.open` and `Index.update` do. Files that can't be read are in the summary's `failures`.
    """
    address = os.fspath(into)
    names = [os.fspath(path) for path in paths]
    runs = [RunDocuments.of(name) for name in names if is_run(name)]
    files = Files(
        [name for name in names if not is_run(name)],
        options,
        [address],
        root=root_of(address),
        include=include,
        exclude=exclude,
        policy=model.source_policy,
        allow_empty=allow_empty,
    )
    made_by = _made_by(runs)
    index = Index.open(
        into,
        model,
        create=True,
        task=task or made_by.get("task"),
        dimension=dimension or made_by.get("dimension"),
        kind=made_by.get("kind", KIND),
        multivector=multivector or made_by.get("multivector"),
        token_pooling=token_pooling or made_by.get("token_pooling"),
    )
    documents = reading(chain(files.documents(), *(run.documents(index) for run in runs)))
    return index, index.update(documents, gone=files.gone, missing=files.missing, advance=advance, **encode)


def _made_by(runs: Sequence[RunDocuments]) -> dict[str, Any]:
    """Settings of an index that the vectors of runs fit into."""
    if not runs:
        return {}
    first = runs[0]
    made = {"task": first.manifest.made_by["task"], "dimension": first.manifest.made_by["dimension"]}
    return {**made, "multivector": first.multivector, **(first.index or {})}
