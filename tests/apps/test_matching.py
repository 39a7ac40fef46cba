"""Text matching over vectors, compared with brute force; and over texts, on the fake engine."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.matching import (
    Matcher,
    deduplicate,
    deduplicate_to_rate,
    inputs,
    mine_bitext,
    mine_paraphrases,
)
from jina_embeddings.apps.matching.inputs import count_inputs
from jina_embeddings.apps.matching.neighbours import BLOCK, nearest
from jina_embeddings.errors import DimensionError, InputError, OptionError
from jina_embeddings.pipeline.readers import Reader
from jina_embeddings.vectors.similarity import normalize

MIN_RECALL = 0.95


def random_vectors(num_vectors: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).standard_normal((num_vectors, dim), dtype=np.float32))


def near(vectors: np.ndarray, cosine: float, seed: int = 1) -> np.ndarray:
    """Vectors that each have this cosine with the original."""
    rows, dim = vectors.shape
    noise = random_vectors(rows, dim, seed)
    across = normalize(noise - np.einsum("ij,ij->i", noise, vectors)[:, None] * vectors)
    return np.asarray(cosine * vectors + np.sqrt(1 - cosine**2) * across)


def deduplicated_by_hand(vectors: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    representatives = []
    for row, vector in enumerate(vectors):
        scores = [float(vector @ vectors[other]) for other in kept]
        if scores and max(scores) >= threshold:
            representatives.append(kept[int(np.argmax(scores))])
        else:
            kept.append(row)
            representatives.append(row)
    return representatives


# Neighbours


def test_nearest_is_what_sorting_all_scores_gives() -> None:
    queries, vectors = random_vectors(50), random_vectors(300, seed=1)
    scores, rows = nearest(queries, vectors, 7)
    everything = queries @ vectors.T
    assert np.array_equal(rows, np.argsort(-everything, axis=1)[:, :7])
    assert np.allclose(scores, -np.sort(-everything, axis=1)[:, :7], atol=1e-6)


def test_nearest_over_several_blocks_and_without_normalised_rows() -> None:
    vectors = random_vectors(20 * BLOCK, 8)
    queries = vectors[[0, 17 * BLOCK, 20 * BLOCK - 1]] * 3
    _, rows = nearest(queries, vectors * 2, 1)
    assert rows[:, 0].tolist() == [0, 17 * BLOCK, 20 * BLOCK - 1]


def test_nearest_has_as_many_columns_as_there_are_vectors() -> None:
    assert nearest(random_vectors(3), random_vectors(2), 9)[0].shape == (3, 2)
    assert nearest(random_vectors(3), random_vectors(0), 9)[0].shape == (3, 0)


def test_vectors_of_two_sizes_are_refused() -> None:
    with pytest.raises(DimensionError, match="16 and 8 numbers"):
        nearest(random_vectors(3), random_vectors(3, 8), 1)
    with pytest.raises(DimensionError, match=r"\(n, dim\)"):
        deduplicate(np.zeros(4, dtype=np.float32))


# Duplicates


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.2, 0.95))
def test_duplicates_are_those_found_by_hand(seed: int, num_vectors: int, threshold: float) -> None:
    vectors = random_vectors(num_vectors, 4, seed)
    found = deduplicate(vectors, threshold)
    # Scores within float32's rounding of the threshold may fall on either side.
    scores = vectors @ vectors.T
    if (np.abs(scores - threshold) > 1e-4).all():
        assert found.representatives.tolist() == deduplicated_by_hand(vectors, threshold)


def test_duplicates_across_blocks_join_the_row_before_them() -> None:
    originals = random_vectors(BLOCK + 100, 64)
    vectors = np.concatenate([originals, near(originals[:200], 0.97)])
    found = deduplicate(vectors, 0.95)
    assert found.representatives.tolist() == [*range(len(originals)), *range(200)]
    assert np.allclose(found.scores[-200:], 0.97, atol=1e-4)
    assert [group.rows for group in found.groups()] == [(row, len(originals) + row) for row in range(200)]
    assert found.rate == pytest.approx(200 / len(vectors))


def test_kept_rows_are_no_duplicates_and_each_row_reaches_the_threshold_with_its_representative() -> None:
    vectors = normalize(random_vectors(4000, 6) + np.float32(1.5))
    found = deduplicate(vectors, 0.98)
    assert 0.2 < found.rate < 0.999
    kept = vectors[found.kept]
    assert (np.triu(kept @ kept.T, 1) < 0.98 + 1e-4).all()
    assert (np.einsum("ij,ij->i", vectors, vectors[found.representatives]) > 0.98 - 1e-4).all()
    assert (found.representatives <= np.arange(len(vectors))).all()


@pytest.mark.long
def test_approximate_deduplication_finds_nearly_all_duplicates_and_no_others() -> None:
    originals = random_vectors(20_000, 64)
    vectors = np.concatenate([originals, near(originals[:2000], 0.93)])
    found = deduplicate(vectors, 0.9, exact=False)
    removed = found.representatives != np.arange(len(vectors))
    assert removed[len(originals) :].mean() >= MIN_RECALL
    exact = deduplicate(vectors, 0.9)
    assert not (removed & (exact.representatives == np.arange(len(vectors)))).any()
    joined = np.flatnonzero(removed)
    cosines = np.einsum("ij,ij->i", vectors[joined], vectors[found.representatives[joined]])
    assert np.allclose(found.scores[joined], cosines, atol=1e-5)


@pytest.mark.long
def test_a_huge_group_takes_no_memory_for_its_pairs() -> None:
    one = random_vectors(1, 32)
    vectors = near(np.repeat(one, 60_000, axis=0), 0.999)
    tracemalloc.start()
    found = deduplicate(vectors, 0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.kept) == 1
    (group,) = found.groups()
    assert len(group.rows) == 60_000
    # All pairs would be 1.8 billion.
    assert peak < 200 * 2**20


def test_equal_rows_are_duplicates_at_every_threshold() -> None:
    vectors = np.tile(random_vectors(500, 300), (3, 1))
    found = deduplicate(vectors, 1.0)
    assert found.kept.tolist() == list(range(500))
    assert float(found.scores.max()) <= 1


def test_no_rows_and_one_row() -> None:
    assert list(deduplicate(random_vectors(0)).groups()) == []
    assert deduplicate(random_vectors(0)).rate == 0
    assert deduplicate(random_vectors(1)).kept.tolist() == [0]
    assert deduplicate_to_rate(random_vectors(1), 0.5).kept.tolist() == [0]


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.6])
def test_a_rate_is_reached(rate: float) -> None:
    found = deduplicate_to_rate(random_vectors(3000, 8), rate)
    assert found.rate == pytest.approx(rate, abs=0.005)
    assert found.rate == deduplicate(random_vectors(3000, 8), found.threshold).rate


def test_a_rate_that_equal_rows_make_impossible_is_reported() -> None:
    found = deduplicate_to_rate(np.tile(random_vectors(200, 64), (2, 1)), 0.1)
    assert found.rate == 0.5


@pytest.mark.parametrize("threshold", [0, -0.5, 1.5, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(OptionError, match="out of range"):
        deduplicate(random_vectors(3), threshold)


@pytest.mark.parametrize("rate", [0, 1, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(OptionError, match="out of range"):
        deduplicate_to_rate(random_vectors(3), rate)


def test_a_mapped_file_is_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", random_vectors(5000))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert np.array_equal(deduplicate(mapped, 0.8).representatives, deduplicate(np.array(mapped), 0.8).representatives)


# Paraphrases


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(1, 30))
def test_the_best_pairs_are_those_of_all_pairs(seed: int, num_vectors: int, limit: int) -> None:
    vectors = random_vectors(num_vectors, 5, seed)
    found = mine_paraphrases(vectors, limit=limit, min_score=-1)
    left, right = np.triu_indices(num_vectors, 1)
    scores = np.sort((vectors @ vectors.T)[left, right])[::-1][:limit]
    assert np.allclose([pair.score for pair in found], scores, atol=1e-5)
    assert len({(pair.left, pair.right) for pair in found}) == len(found)
    assert all(pair.left < pair.right for pair in found)


def test_the_best_pairs_over_several_blocks() -> None:
    originals = random_vectors(2 * BLOCK, 32)
    vectors = np.concatenate([originals, near(originals[:50], 0.99)])
    found = mine_paraphrases(vectors, limit=50)
    assert {(pair.left, pair.right) for pair in found} == {(row, 2 * BLOCK + row) for row in range(50)}


def test_pairs_below_the_least_score_are_left_out() -> None:
    assert mine_paraphrases(np.eye(4, dtype=np.float32), min_score=0.1) == []


def test_recall_of_approximate_paraphrases_against_all_pairs() -> None:
    originals = random_vectors(10_000, 64)
    vectors = np.concatenate([originals, near(originals[:1000], 0.9)])
    exact, approximate = (
        {(pair.left, pair.right) for pair in mine_paraphrases(vectors, limit=1000, exact=exact)}
        for exact in (True, False)
    )
    assert len(exact & approximate) / len(exact) >= MIN_RECALL


# Translations


def margins_by_hand(source: np.ndarray, target: np.ndarray, neighbours: int) -> np.ndarray:
    cosines = source @ target.T
    around_source = -np.sort(-cosines, axis=1)[:, :neighbours].mean(axis=1)
    around_target = -np.sort(-cosines, axis=0)[:neighbours].mean(axis=0)
    return np.asarray(cosines / ((around_source[:, None] + around_target[None]) / 2))


def test_translations_are_found_and_scored_as_in_the_paper() -> None:
    source = normalize(random_vectors(300, 24) + np.float32(0.2))
    order = np.random.default_rng(2).permutation(300)
    target = near(source, 0.8)[order]
    found = mine_bitext(source, target, neighbours=4)
    right = [order[pair.right] == pair.left for pair in found]
    assert len(found) > 250
    assert np.mean(right) > 0.95
    margins = margins_by_hand(source, target, 4)
    for pair in found:
        assert pair.score == pytest.approx(margins[pair.left, pair.right], abs=1e-4)
        assert pair.cosine == pytest.approx(source[pair.left] @ target[pair.right], abs=1e-5)
    assert [pair.score for pair in found] == sorted((pair.score for pair in found), reverse=True)


def test_the_margin_tells_a_sentence_near_everything_from_a_translation() -> None:
    """A sentence that is near everything: by cosine it is nearest to every source, by margin to its own only."""
    axes = np.eye(12, dtype=np.float32)
    source = normalize(axes[:6] + 0.4 * axes[:6].sum(axis=0))
    hub = normalize(source.sum(axis=0))
    target = np.concatenate([0.8 * source[:5] + 0.6 * axes[6:11], hub[None]])
    cosines = source @ target.T
    assert (cosines[:5].argmax(axis=1) == 5).all()
    found = {(pair.left, pair.right) for pair in mine_bitext(source, target, neighbours=3, min_margin=0)}
    assert {(row, row) for row in range(5)} <= found


def test_each_row_is_in_one_pair_at_most() -> None:
    found = mine_bitext(random_vectors(100, 4), random_vectors(60, 4, seed=1), min_margin=0)
    assert len({pair.left for pair in found}) == len({pair.right for pair in found}) == len(found)


def test_bitext_of_empty_lists_is_empty() -> None:
    assert mine_bitext(random_vectors(0), random_vectors(3)) == []
    with pytest.raises(OptionError, match="neighbours"):
        mine_bitext(random_vectors(2), random_vectors(3), neighbours=0)


# Texts


@pytest.fixture
def matcher(fake_model: JinaEmbeddings) -> Matcher:
    return Matcher(fake_model, truncate_dim=256)


def test_scores_and_matrix_are_the_models_own_cosines(matcher: Matcher, fake_model: JinaEmbeddings) -> None:
    left, right = ["one two three", "four five"], ["one two four", "six"]
    a, b = (fake_model.encode_text(texts, task="text-matching", truncate_dim=256) for texts in (left, right))
    matrix = fake_model.similarity(a, b)
    assert np.allclose(matcher.matrix(left, right), matrix, atol=1e-6)
    assert np.allclose(matcher.scores(left, right), np.diag(matrix), atol=1e-6)
    assert np.allclose(np.diag(matcher.matrix(left)), 1, atol=1e-6)


def test_every_method_of_matcher_takes_texts(matcher: Matcher) -> None:
    texts = ["the cat sat here", "a dog ran away", "the cat sat here today", "the cat sat here"]
    groups = [group.rows for group in matcher.duplicates(texts, threshold=0.8).groups()]
    assert groups == [(0, 2, 3)]
    assert matcher.duplicates(texts, rate=0.25).kept.tolist() == [0, 1, 2]
    assert (matcher.paraphrases(texts, limit=1)[0].left, matcher.paraphrases(texts, limit=1)[0].right) == (0, 3)
    shuffled = [texts[1], texts[2]]
    pairs = {(pair.left, pair.right) for pair in matcher.bitext(texts[:3], shuffled, neighbours=2, min_margin=0)}
    assert {(1, 0), (2, 1)} <= pairs


def test_no_texts(matcher: Matcher) -> None:
    assert matcher.paraphrases([]) == []
    assert matcher.matrix([]).shape == (0, 0)
    assert matcher.scores([], []).shape == (0,)


def test_lists_that_can_not_be_paired_are_refused(matcher: Matcher) -> None:
    with pytest.raises(InputError, match="left \\(1\\) as on the right \\(2\\)"):
        matcher.scores(["a"], ["b", "c"])
    with pytest.raises(InputError, match="two lists"):
        matcher.scores("a", "b")
    with pytest.raises(OptionError, match="not both"):
        matcher.duplicates(["a"], threshold=0.5, rate=0.5)


def test_importing_it_loads_neither_faiss_nor_torch() -> None:
    code = "import sys, jina_embeddings.apps.matching; print(sorted({'faiss', 'torch', 'lancedb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("exact", [True, False])
def test_all_rows_that_are_compared_are_counted(exact: bool) -> None:
    vectors, counts = random_vectors(5000), list[int]()
    deduplicate(vectors, exact=exact, advance=counts.append)
    assert sum(counts) == len(vectors)
    deduplicate_to_rate(vectors, 0.1, exact=exact, advance=counts.append)
    assert sum(counts) == 2 * len(vectors)
    mine_paraphrases(vectors, exact=exact, advance=counts.append)
    assert sum(counts) == 3 * len(vectors)
    mine_bitext(vectors, vectors[:3000], exact=exact, advance=counts.append)
    assert sum(counts) == 4 * len(vectors) + 3000


def test_a_file_that_can_not_be_read_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"one\ntwo\n" * 9000)[:-20])
    (tmp_path / "two.txt").write_text("one\n\ntwo\n")
    paths = [str(tmp_path / "cut.txt.gz"), str(tmp_path / "two.txt")]
    assert list(count_inputs(paths, Reader())) == [0, 2]
    # A file that is removed after its kind was looked at, and before its lines are counted.
    monkeypatch.setattr(inputs, "is_lines", lambda path: True)
    assert list(count_inputs([str(tmp_path / "gone.txt"), paths[1]], Reader())) == [0, 2]
