"""Multi-vectors in an index: their formats, searches that use them, and what is embedded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Document, Index, Passage, SearchOptions
from jina_embeddings.apps.index.multivectors import FORMATS, from_column, score, to_column
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import IndexMismatchError, OptionError
from jina_embeddings.vectors.similarity import maxsim, normalize
from jina_embeddings.vectors.token_pooling import pool_tokens

DIM = 128
TEXTS = ["red apple", "green pear", "blue sky over the sea", "a cat sleeps"]


def document(path: str, *texts: str) -> Document:
    return Document(path, "|".join(texts), lambda: [Passage(path, "text", text) for text in texts])


def make(folder: Path, model: JinaEmbeddings, **options: Any) -> Index:
    return Index.open(folder / "index", model, create=True, dimension=DIM, **options)


def placed(model: JinaEmbeddings, path: str, text: str) -> list[Placed]:
    both = model.encode([text], prompt_name="passage", truncate_dim=DIM, return_both=True)
    return [Placed(Passage(path, "text", text), path, 0, 1, both.dense[0], both.multivector[0])]


def tokens(*lengths: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [normalize(rng.standard_normal((length, DIM), dtype=np.float32)) for length in lengths]


@pytest.mark.parametrize("number_format", FORMATS)
def test_what_is_read_is_written_the_same_again(number_format: str) -> None:
    column = to_column(tokens(3, 1, 700), number_format)
    read = from_column(column)
    assert [len(rows) for rows in read] == [3, 1, 700]
    assert to_column(read, number_format).equals(column)
    # A slice of an Arrow column shares the values of the whole column, with an offset.
    assert np.array_equal(from_column(column[1:])[0], read[1])


@pytest.mark.parametrize(("number_format", "tolerance"), [("float16", 2e-3), ("int8", 0.03), ("binary", 1e-4)])
def test_scores_of_stored_multivectors_are_maxsim(number_format: str, tolerance: float) -> None:
    made, query = tokens(5, 2, 5000), tokens(7)[0]
    if number_format == "binary":
        expected = maxsim(query, [np.where(rows > 0, 1, -1).astype(np.float32) / np.sqrt(DIM) for rows in made])
    else:
        expected = maxsim(query, made)
    assert score(query, to_column(made, number_format)) == pytest.approx(expected, abs=tolerance)


def test_scoring_takes_one_thread() -> None:
    """Threads of BLAS libraries that wait for each other took ten times as long as the products."""
    code = f"""
import time
import numpy as np
from jina_embeddings.apps.index.multivectors import FORMATS, score, to_column
random = np.random.default_rng(0).standard_normal
queries = [random((num, {DIM}), dtype=np.float32) for num in (16, 40)]
for column in [to_column([random((37_500, {DIM}), dtype=np.float32)], name) for name in FORMATS]:
    score(queries[0], column)
    time.sleep(0.3)
    for query in queries:
        all_threads, this_thread = time.process_time(), time.thread_time()
        score(query, column)
        print(time.process_time() - all_threads, time.thread_time() - this_thread)
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    times = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(times) == 2 * len(FORMATS)
    for all_threads, this_thread in times:
        assert all_threads < 1.2 * this_thread + 1e-3


def test_every_float16_is_decoded_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, DIM)
    column = to_column([finite.astype(np.float32)], "float16")
    assert from_column(column)[0].tobytes() == finite.astype(np.float32).tobytes()


def test_pooled_tokens_are_means_of_similar_tokens() -> None:
    rows = tokens(4)[0]
    doubled = normalize(np.concatenate([rows, rows + 0.01 * tokens(4, 4)[1]]))
    pooled = pool_tokens(doubled, 2)
    assert pooled.shape == (4, DIM)
    assert np.einsum("ij,ij->i", pooled, rows) == pytest.approx(np.ones(4), abs=1e-2)
    assert pool_tokens(rows[:1], 4).shape == (1, DIM)


def test_reranking_embeds_only_the_question(
    tmp_path: Path, fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(tmp_path, fake_model, multivector="float16")
    index.update([document("a", *TEXTS)])
    embedded: list[Any] = []
    encode = fake_model.encode

    def watched(inputs: Any, **options: Any) -> Any:
        embedded.append(inputs)
        return encode(inputs, **options)

    monkeypatch.setattr(fake_model, "encode", watched)
    hits = index.search("green apple", rerank=True)
    assert embedded == ["green apple"] * 2
    query = fake_model.encode_text("green apple", return_multivector=True)
    for hit in hits:
        made = fake_model.encode_text(hit.passage.text, prompt_name="passage", return_multivector=True)
        assert hit.score == pytest.approx(float(maxsim(query, made)), abs=2e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_merge_between_both_stages_loses_no_score(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    index = make(tmp_path, fake_model, multivector="float16")
    for number, text in enumerate(TEXTS):
        index.store.write(placed(fake_model, f"d{number}", text))
    query = fake_model.encode_text("green apple", return_multivector=True)
    hits = index.store.search(index.embed_query("green apple"), len(TEXTS))
    before = index.store.maxsim(query, hits)
    assert set(before) == {hit.id for hit in hits}
    assert len(before) == len(TEXTS)
    index.store.tidy()
    assert not len(index.store._table.take_row_ids([hit.row_id for hit in hits]).to_arrow())
    assert index.store.maxsim(query, hits) == before


def test_the_first_stage_by_multivectors_is_maxsim_over_all(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    index = make(tmp_path, fake_model, multivector="float16")
    index.update([document("a", *TEXTS)])
    hits = index.search("sky and sea", first_stage="multivector", limit=2, candidates=2)
    query = fake_model.encode_text("sky and sea", return_multivector=True)
    made = fake_model.encode_text(TEXTS, prompt_name="passage", return_multivector=True)
    best = np.argsort(-maxsim(query, made))[:2]
    assert [hit.passage.text for hit in hits] == [TEXTS[place] for place in best]


@pytest.mark.parametrize("number_format", FORMATS)
def test_the_first_stage_takes_every_format_and_filters(
    tmp_path: Path, fake_model: JinaEmbeddings, number_format: str
) -> None:
    index = make(tmp_path, fake_model, multivector=number_format)
    index.update([document("a", *TEXTS), document("b", "the sky and the sea")])
    assert index.search("sky and sea", first_stage="multivector", candidates=1)[0].passage.path == "b"
    found = index.search("sky and sea", first_stage="multivector", filters={"path": "a"})
    assert len(found) == len(TEXTS)
    assert found[0].passage.text == "blue sky over the sea"


def test_a_first_stage_by_multivectors_needs_them(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    index = make(tmp_path, fake_model)
    index.update([document("a", *TEXTS)])
    with pytest.raises(IndexMismatchError, match="keeps no multi-vectors"):
        index.search("x", first_stage="multivector")


@pytest.mark.parametrize("number_format", FORMATS)
def test_multivectors_move_with_their_passages(tmp_path: Path, fake_model: JinaEmbeddings, number_format: str) -> None:
    index = make(tmp_path, fake_model, multivector=number_format, token_pooling=2)
    index.update([document("a", *TEXTS)])
    before = {hit.passage.text: hit.score for hit in index.search("green apple", rerank=True)}
    summary = index.update([document("b", *TEXTS)], gone=lambda path: True)
    assert (summary.embedded, summary.reused, len(index)) == (0, 4, 4)
    after = {hit.passage.text: hit.score for hit in index.search("green apple", rerank=True)}
    assert after == before


def test_other_multivectors_than_an_index_has_are_refused(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    make(tmp_path, fake_model, multivector="int8", token_pooling=2)
    assert make(tmp_path, fake_model).store.fingerprint.multivector == "int8"
    with pytest.raises(IndexMismatchError, match="multivector int8, not float16"):
        make(tmp_path, fake_model, multivector="float16")
    with pytest.raises(IndexMismatchError, match="token_pooling 2, not 3"):
        make(tmp_path, fake_model, token_pooling=3)
    with pytest.raises(OptionError, match="unknown format"):
        make(tmp_path / "other", fake_model, multivector="float8")


async def _asearch(index: Index, question: str, options: SearchOptions) -> Any:
    return await index.asearch(question, options)


def test_several_questions_and_the_event_loop_have_what_single_searches_have(
    tmp_path: Path, fake_model: JinaEmbeddings
) -> None:
    import asyncio

    index = make(tmp_path, fake_model, multivector="float16")
    index.update([document("a", *TEXTS)])
    options = SearchOptions(limit=2, rerank=True)
    questions = ["green apple", "a sleeping cat"]
    single = [index.search(question, limit=2, rerank=True) for question in questions]
    many = index.search_many(questions, options)
    awaited = [asyncio.run(_asearch(index, question, options)) for question in questions]
    for found in (many, awaited):
        assert [[hit.id for hit in hits] for hits in found] == [[hit.id for hit in hits] for hits in single]
    with pytest.raises(OptionError, match="search_many"):
        index.search(questions)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="a list of questions"):
        index.search_many("green apple")


def test_the_model_runs_once_for_vectors_and_multivectors(
    tmp_path: Path, fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    run = FakeEngine.run

    def counted(self: FakeEngine, batch: Any, **options: Any) -> Any:
        ran.extend(batch)
        return run(self, batch, **options)

    monkeypatch.setattr(FakeEngine, "run", counted)
    index = make(tmp_path, fake_model, multivector="float16")
    before = len(ran)
    index.update([document("a", *TEXTS)])
    assert len(ran) - before == len(TEXTS)
