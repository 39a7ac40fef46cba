"""Which model a command works with."""

from __future__ import annotations

from pathlib import Path

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Index
from jina_embeddings.cli.model import ModelChoice


def test_an_index_is_searched_with_the_model_that_made_it(tmp_path: Path) -> None:
    address = str(tmp_path / "index")
    with JinaEmbeddings("some/model", engine="fake") as model:
        Index.open(address, model, create=True)
        made_by = model.info.name
    assert ModelChoice.of(model=None, engine="fake").for_index(address).model == made_by  # type: ignore[arg-type]
    assert ModelChoice.of(model="another", engine="fake").for_index(address).model == "another"
