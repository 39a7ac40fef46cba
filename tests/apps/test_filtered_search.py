"""Filters come before ranking: every passage that passes one can be found, however little of an index is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jina_embeddings.apps.index import Passage, approximate
from jina_embeddings.apps.index.filters import to_sql
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.store import Store
from jina_embeddings.errors import OptionError
from jina_embeddings.vectors.similarity import normalize

DIM, NUM, OF_A_PATH = 32, 4000, 10
_FORMAT = {"multivector": "float16", "multivector_dim": DIM}


def vectors(num: int, seed: int) -> NDArray[np.float32]:
    return normalize(np.random.default_rng(seed).standard_normal((num, DIM), dtype=np.float32))


def placed(matrix: NDArray[np.float32]) -> Iterator[Placed]:
    for number, vector in enumerate(matrix):
        path, position = f"{number // OF_A_PATH}.md", number % OF_A_PATH
        metadata = {"half": str(number % 2)}
        passage = Passage(path, "text", f"common {number}", metadata=metadata)
        yield Placed(passage, path, position, OF_A_PATH, vector, vector[None])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An index of many partitions, of which a search reads one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximate, "_PARTITION_ROWS", 64)
        patch.setattr(approximate, "READ_NUMBERS", 64 * DIM)
        made_with = Fingerprint("made up", None, "retrieval", DIM, "files", [1.0], **_FORMAT)  # type: ignore[arg-type]
        made = Store.create(str(tmp_path_factory.mktemp("full") / "index"), made_with)
        made.write(list(placed(vectors(NUM, 0))), new=True)
        made.tidy(ann_numbers=1)
        assert made.is_approximate
        assert approximate.num_probes(DIM) == 1
        yield made


@pytest.mark.parametrize("compared_exactly", [approximate.ANN_NUMBERS, 0])
def test_every_passage_of_a_path_is_found(full: Store, compared_exactly: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_embeddings.apps.index.store.ANN_NUMBERS", compared_exactly)
    for number, vector in enumerate(vectors(20, 1)):
        hits = full.search(vector, OF_A_PATH, f"path = '{number}.md'")
        assert [hit.passage.path for hit in hits] == [f"{number}.md"] * OF_A_PATH


def test_a_selective_filter_finds_the_nearest_that_pass_it(full: Store) -> None:
    matrix = vectors(NUM, 0)
    for vector in vectors(20, 2):
        passing = [row for row in range(500) if row % 2]
        best = max(passing, key=lambda row: float(matrix[row] @ vector))
        paths = ", ".join(f"'{row // OF_A_PATH}.md'" for row in passing)
        (hit,) = full.search(vector, 1, f"path IN ({paths}) AND array_has(metadata, 'half=1')")
        assert hit.passage.text == f"common {best}"


def test_a_filter_comes_before_the_limit_in_every_search(full: Store) -> None:
    (vector,) = vectors(1, 3)
    nearest = full.search(vector, 200, exact=True)
    # Neither among the nearest nor among the first rows, so that a filter after them would leave nothing.
    path = next(
        f"{n}.md" for n in reversed(range(NUM // OF_A_PATH)) if f"{n}.md" not in {hit.passage.path for hit in nearest}
    )
    where = f"path = '{path}'"
    for hits in (
        full.search(vector, 5, where, exact=True),
        full.search(vector, 5, where),
        full.search_words("common", vector, 5, where),
        full.search_multivectors(vector[None], vector, 5, where),
    ):
        assert [hit.passage.path for hit in hits] == [path] * 5


@pytest.mark.parametrize("name", ["half", "title", "path", "kind"])
def test_filters_have_as_many_values_as_lancedb_bears(full: Store, name: str) -> None:
    """With a hundred thousand it ended the process."""
    values = ["text"] if name == "kind" else ["*a*"]
    query = normalize(np.ones(DIM, np.float32))
    assert len(full.search(query, 1, to_sql({name: values * 1000}))) == (name == "kind")
    with pytest.raises(OptionError, match="filters have more than 1,000 values"):
        to_sql({name: values * 1001})


@pytest.mark.parametrize("name", ["half", "title", "path"])
def test_values_of_filters_are_no_longer_than_any_that_there_are(full: Store, name: str) -> None:
    """LanceDB refuses a pattern that is much longer."""
    assert full.search(normalize(np.ones(DIM, np.float32)), 1, to_sql({name: "*a" * 2048})) == []
    with pytest.raises(OptionError, match="a value of more than 4,096 characters"):
        to_sql({name: "*a" * 2049})


def test_names_of_filters_count_too(full: Store) -> None:
    many: dict[str, Any] = {f"name{number}": "a" for number in range(1001)}
    with pytest.raises(OptionError, match="filters have more than 1,000 values"):
        to_sql(many)
    del many["name0"]
    assert full.search(normalize(np.ones(DIM, np.float32)), 1, to_sql(many)) == []
