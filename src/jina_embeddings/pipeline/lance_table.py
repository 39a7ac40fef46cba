"""A Lance dataset of all rows of a run: its fragments are written with the shards, and become it in one commit."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from ..errors import DependencyError, OptionError
from .drafts import sync_folder
from .folder import Folder, LocalFolder
from .stores import is_address
from .temporary import temporary_files

TABLE = "vectors.lance"
"""As LanceDB names a table `vectors` of a database that is the run's folder."""


def has_type(type_: Any) -> bool:
    """Whether a column of a Lance dataset can have an Arrow type."""
    _lance()
    from lance.schema import LanceSchema

    try:
        LanceSchema.from_pyarrow(pa.schema([("column", type_)]))
    except ValueError:
        return False
    return True


def check_address(address: str | os.PathLike[str]) -> None:
    """Raises OptionError for a folder in which Lance can't store anything, because of its path's characters."""
    path = os.fspath(address)
    whole = path if is_address(path) else os.path.abspath(path)
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", whole):
        raise OptionError(
            f"Lance can't store anything in {whole!r}: give a path in UTF-8 without line breaks and control characters"
        )


def check_names(names: Iterable[str]) -> None:
    """Raises OptionError for a name that no column of a Lance dataset can have."""
    lance = _lance()
    for name in names:
        with temporary_files(), tempfile.TemporaryDirectory(prefix="jina-embeddings-") as folder:
            try:
                # What Lance writes under some names it can't read.
                lance.write_dataset(pa.table({name: pa.nulls(1, pa.string())}), folder).to_table()
            except (ValueError, OSError) as error:
                reason = str(error).partition(", /")[0]
                raise OptionError(f"{name!r} can't be kept in a Lance dataset: {reason}: rename it") from None


def write_fragments(folder: Folder, table: Any) -> list[str]:
    """Descriptions of fragments whose files are on the disk; nobody sees their rows until `commit`."""
    lance = _lance()
    fragments = lance.fragment.write_fragments(table, _address(folder), mode="append")
    if isinstance(folder, LocalFolder):
        data = folder.path / TABLE / "data"
        for fragment in fragments:
            for file in fragment.files:
                with (data / file.path).open("rb") as written:
                    os.fsync(written.fileno())
        for path in (data, data.parent, data.parent.parent):
            sync_folder(path)
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def commit(folder: Folder, fragments: list[str], schema: Any) -> int:
    """Makes these fragments the dataset, whatever it was; doing it again changes nothing. Returns its rows."""
    lance = _lance()
    found = [lance.FragmentMetadata.from_json(text) for text in fragments]
    wanted = [file.path for fragment in found for file in fragment.files]
    try:
        dataset = lance.dataset(_address(folder))
    except ValueError:
        dataset = None
    if dataset is None or [f.path for part in dataset.get_fragments() for f in part.data_files()] != wanted:
        operation = lance.LanceOperation.Overwrite(schema, found)
        dataset = lance.LanceDataset.commit(_address(folder), operation)
    return int(dataset.count_rows())


def read_table(folder: Folder, start: int, stop: int, column: str) -> Any:
    """Reads one column of the rows `start` to `stop - 1`."""
    return _lance().dataset(_address(folder)).to_table(columns=[column], offset=start, limit=stop - start)


def _address(folder: Folder) -> str:
    return f"{folder}/{TABLE}"


def _lance() -> Any:
    try:
        import lance
        import lance.fragment
    except ImportError:
        raise DependencyError("a Lance dataset needs Lance: pip install 'jina-embeddings-vllm[lance]'") from None
    return lance
