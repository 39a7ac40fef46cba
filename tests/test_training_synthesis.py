"""Texts that are made up while the student trains."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parents[1] / "training"))

from synthesis import LITTLE_WORDS, MadeTexts, Material, cropped, joined, joined_pairs, question

TEXTS = [f"Sentence number {i} speaks about harbours and lighthouses." for i in range(50)]
PAIRS = [(f"Satz {i}", f"Sentence {i}") for i in range(50)]


class Letters:
    """A tokenizer of both models: one id a character."""

    def for_student(self, texts):
        return (np.frombuffer(text.encode("latin-1"), np.uint8).astype(np.uint16) for text in texts)

    for_teacher = for_student


@pytest.fixture
def made():
    words = ["harbour", "lighthouse", "kidney", "dialysis"]
    near = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])
    return MadeTexts(Material(TEXTS, [PAIRS], words, near), Letters(), seed=0, tokens=2000)


def test_joined_texts_follow_each_other_and_end_at_the_length():
    text = joined(np.random.default_rng(0), TEXTS, 200)
    first = next(i for i, one in enumerate(TEXTS) if text.startswith(one))
    assert text == " ".join(TEXTS[first : first + 5])[:200].strip()


def test_joined_translations_stay_side_by_side():
    foreign, english = joined_pairs(np.random.default_rng(1), PAIRS, 60)
    assert [word for word in foreign.split() if word != "Satz"] == [
        word for word in english.split() if word != "Sentence"
    ]


def test_a_query_is_cropped_from_its_passage():
    rng = np.random.default_rng(2)
    for text in TEXTS:
        assert cropped(rng, text) in text


def test_a_question_has_an_opener_and_words_of_its_passage_in_small_letters():
    rng = np.random.default_rng(2)
    known = set(" ".join([*LITTLE_WORDS["openers"], *LITTLE_WORDS["links"], TEXTS[7].lower().rstrip(".")]).split())
    for _ in range(50):
        asked = question(rng, TEXTS[7])
        assert set(asked.split()) <= known
        assert asked.startswith(tuple(LITTLE_WORDS["openers"]))


def test_half_of_the_queries_are_questions(made):
    rng = np.random.default_rng(6)
    pairs = [made.pair(rng, "joined", 200) for _ in range(200)]
    assert 70 < sum(query in passage for query, passage in pairs) < 130


def test_the_same_word_is_exchanged_for_the_same_everywhere(made):
    for seed in range(20):
        first, second = made.swapped(np.random.default_rng(seed), "Harbours or Harbours").split(" or ")
        assert first == second


def test_swapping_brings_in_words_of_a_subject(made):
    rng = np.random.default_rng(3)
    swapped = " ".join(made.swapped(rng, TEXTS[0]) for _ in range(30)).lower()
    assert "kidney" in swapped
    assert "dialysis" in swapped


def test_english_batches_say_so(made, monkeypatch):
    monkeypatch.setattr("synthesis.TRANSLATED_SHARE", 0.0)
    assert not made.batch(np.random.default_rng(5)).translated


def test_batches_are_padded_and_hold_both_sides_for_both_models(made):
    rng = np.random.default_rng(4)
    for _ in range(6):
        batch = made.batch(rng)
        count = len(batch.query)
        for ids, lengths in (
            (batch.query, batch.query_lengths),
            (batch.passage, batch.passage_lengths),
            (batch.teacher_query, batch.teacher_query_lengths),
            (batch.teacher_passage, batch.teacher_passage_lengths),
        ):
            assert ids.shape == (count, int(lengths.max()))
            assert (ids[np.arange(count), lengths - 1] > 0).all()


def test_a_batch_knows_how_many_tokens_the_student_reads(made):
    batch = made.batch(np.random.default_rng(0))
    assert batch.tokens == int(batch.query_lengths.sum() + batch.passage_lengths.sum())


def test_of_a_translation_the_teacher_reads_the_english_side(made, monkeypatch):
    monkeypatch.setattr("synthesis.TRANSLATED_SHARE", 1.0)
    batch = made.batch(np.random.default_rng(5))
    assert batch.translated
    assert batch.teacher_query.equal(batch.teacher_passage)
    assert bytes(batch.teacher_query[0].to(int).tolist()).startswith(b"Sentence")
    assert bytes(batch.query[0].to(int).tolist()).startswith(b"Query: Satz")
