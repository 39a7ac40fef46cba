"""Files of the throughput benchmark's inputs, and a bulk run over them with a model that is loaded already."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jina_embeddings.pipeline import Form
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.sources import survey

if TYPE_CHECKING:
    from jina_embeddings import JinaEmbeddings

# As of the command.
_SHARD_ROWS = 10_000


def write_files(folder: Path, inputs: Sequence[Any]) -> Path:
    """Texts become one Parquet file, PDFs, given as `{"image": bytes}`, a file each."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if isinstance(inputs[0], str):
        pq.write_table(pa.table({"text": inputs}), folder / "texts.parquet", row_group_size=_SHARD_ROWS)
    else:
        for number, page in enumerate(inputs):
            (folder / f"{number:05}.pdf").write_bytes(page["image"])
    return folder


def run(model: JinaEmbeddings, files: Path, into: Path) -> int:
    """Embeds the files into a folder of shards; returns the number of rows. Raises ValueError if one was rejected."""
    plan = Plan(survey([str(files)]).sources, _SHARD_ROWS)
    rejected = 0

    def report(name: str, *values: Any) -> None:
        nonlocal rejected
        if name == "committed":
            rejected += values[0].rejected

    Job(Folder.at(into), plan, Form(task="retrieval", prompt_name="passage")).work(model, report)
    if rejected:
        raise ValueError(f"{rejected} rows were rejected")
    return plan.num_rows
