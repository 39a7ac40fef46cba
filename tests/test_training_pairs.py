"""Batches of pairs, and the losses on them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from torch.nn import functional as F

import adapter_stage
import losses
import teacher
import text_stage
import token_losses
from batches import Ragged, Source, end_to_end
from losses import similarities
from pair_batches import PairBatch, corpus_batch, dense_loss
from prepare import english_words

HIDDEN = 384


def unit(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed)), dim=-1)


def a_batch(kind: str, count: int = 8) -> PairBatch:
    ids = torch.arange(3 * count).view(count, 3)
    lengths = torch.full((count,), 3)
    same = torch.zeros(count, count, dtype=torch.bool)
    return PairBatch(kind, ids, lengths, ids + 100, lengths, unit(count, 1), unit(count, 2), same, tokens=6 * count)


@pytest.fixture
def corpus() -> SimpleNamespace:
    rows = [np.arange(1, 2 + number, dtype=np.uint16) for number in range(12)]
    return SimpleNamespace(student=Ragged.of(*end_to_end(rows), "cpu"))


def source(kind: str) -> Source:
    return Source("s", kind, np.arange(6), np.arange(6, 12), np.full(6, 10))


@pytest.mark.parametrize("kind", ["translation", "code", "passage"])
def test_both_sides_of_a_translation_want_the_vector_of_the_english_one(corpus, kind):
    targets = unit(12, 0)
    batch = corpus_batch(corpus, targets, source(kind), np.random.default_rng(0))
    rows = batch.passage_lengths - 1  # text n has n + 1 tokens
    assert batch.wanted.equal(targets[rows])
    assert batch.asked.equal(batch.wanted) == (kind == "translation")
    if kind != "translation":
        assert batch.asked.equal(targets[batch.query_lengths - 1])


def test_pairs_stay_together_in_a_batch(corpus):
    batch = corpus_batch(corpus, unit(12, 0), source("code"), np.random.default_rng(0))
    assert (batch.passage_lengths - batch.query_lengths == 6).all()
    assert batch.passage.shape[1] == int(batch.passage_lengths.max())


@pytest.mark.parametrize(("kind", "sides"), [("code", 2), ("text", 1)])
def test_a_batch_knows_how_many_tokens_are_read(corpus, kind, sides):
    batch = corpus_batch(corpus, unit(12, 0), source(kind), np.random.default_rng(0))
    lengths = [batch.passage_lengths, batch.query_lengths][:sides]
    assert batch.tokens == sum(int(length.sum()) for length in lengths)


def test_the_first_pairs_are_cut_from_everything():
    batch = a_batch("made")
    few = batch.first(3)
    for name in ("query", "query_lengths", "passage", "passage_lengths", "asked", "wanted"):
        assert getattr(few, name).equal(getattr(batch, name)[:3])
    assert few.same.shape == (3, 3)


@pytest.mark.parametrize(("meetings", "pairs"), [(10**9, 6), (4 * 9, 2), (9 * 9, 3), (1, 2)])
def test_no_more_tokens_meet_than_memory_holds(meetings, pairs, monkeypatch):
    monkeypatch.setattr(token_losses, "LARGEST", 6)
    monkeypatch.setattr(token_losses, "MOST_MEETINGS", meetings)
    assert len(token_losses.few_enough(a_batch("made")).query) == pairs


def test_multivectors_are_trained_on_no_more_pairs_than_that(monkeypatch):
    monkeypatch.setattr(token_losses, "LARGEST", 3)
    monkeypatch.setattr(token_losses, "token_loss", lambda _, batch, __: len(batch.query))
    assert token_losses.pair_loss(None, None, a_batch("made"), 1.0, tokens=True) == 3


def test_padded_texts_run_by_layers_that_are_not_compiled():
    compiled = []

    def remember(graph, _):
        compiled.append(graph)
        return graph.forward

    class Twice(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    layer = Twice()
    layer.compile(backend=remember)
    student = SimpleNamespace(states=lambda ids: layer(ids.float()))
    assert token_losses.states_of(student, torch.ones(2, 4)).shape == (2, 4)
    assert compiled == []
    layer(torch.ones(2, 4))
    assert len(compiled) == 1


def test_texts_that_have_the_teachers_vectors_cost_nothing():
    batch = a_batch("text")
    batch.asked = batch.wanted
    assert dense_loss(batch.wanted, batch.wanted, batch, 10.0).item() < 0.5
    assert dense_loss(unit(8, 5), unit(8, 5), batch, 10.0).item() > 5


@pytest.mark.parametrize(("kind", "follows"), [("passage", True), ("made", True), ("code", False)])
def test_multivectors_learn_the_teachers_similarities_but_not_on_code(monkeypatch, kind, follows):
    batch = a_batch(kind)
    as_taught = losses.SCALE * batch.asked @ batch.wanted.T / token_losses.MULTIVECTOR_SCALE
    monkeypatch.setattr(token_losses, "states_of", lambda _, ids: torch.zeros(*ids.shape, HIDDEN))
    monkeypatch.setattr(token_losses, "token_vectors", lambda _, states: states)
    monkeypatch.setattr(token_losses, "dense_loss", lambda *_: torch.zeros(()))
    monkeypatch.setattr(token_losses, "multivector_loss", lambda *_: torch.zeros(()))

    def loss(scores):
        monkeypatch.setattr(token_losses, "maxsim", lambda *_: scores)
        return token_losses.token_loss(None, batch, 1.0).item()

    assert loss(as_taught) == pytest.approx(0, abs=1e-5)
    assert (loss(as_taught.flip(1)) > 0.01) == follows


def test_code_doesnt_follow_the_teachers_similarities():
    q, p = unit(8, 3), unit(8, 4)
    code, passage = (dense_loss(q, p, a_batch(kind), 1.0) for kind in ("code", "passage"))
    batch = a_batch("passage")
    torch.testing.assert_close(passage - code, similarities(q, p, batch.asked, batch.wanted))


def test_the_teacher_doesnt_read_the_padding():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    small = {"hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 6, "intermediate_size": 64}
    read = BertModel(BertConfig(vocab_size=50, **small), add_pooling_layer=False).eval()
    ids, lengths = torch.randint(1, 50, (3, 9)), torch.tensor([3, 9, 5])
    alone = [teacher.teach_padded(read, ids[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths)]
    torch.testing.assert_close(teacher.teach_padded(read, ids, lengths), torch.cat(alone))


def test_the_teacher_never_reads_more_texts_at_once_than_the_device_takes(monkeypatch):
    monkeypatch.setattr(teacher, "MOST_ROWS", 4)
    seen = []

    def read(input_ids, attention_mask):
        seen.append(len(input_ids))
        return SimpleNamespace(last_hidden_state=torch.ones(*input_ids.shape, HIDDEN))

    texts = Ragged.of(*end_to_end([np.ones(2, np.uint16)] * 10), "cpu")
    vectors = teacher.teach(read, texts.flat, texts.starts, texts.lengths)
    assert seen == [4, 4, 2]
    assert vectors.shape == (10, HIDDEN)
    assert (vectors != 0).all()


@pytest.mark.parametrize(("task", "translated"), [("retrieval", False), ("text-matching", True)])
def test_an_adapter_sees_the_made_texts_of_its_task(monkeypatch, task, translated):
    seen: list[bool] = []

    class Five:
        def __init__(self, *_: object, **__: object):
            pass

        def running(self) -> bool:
            return len(seen) < 5

        def step(self, *_: object) -> None:
            pass

    def remember(_: object, made: SimpleNamespace) -> PairBatch:
        seen.append(made.translated)
        return a_batch("made")

    monkeypatch.setitem(adapter_stage.MADE_SHARE, task, 1.0)
    monkeypatch.setattr(adapter_stage, "Schedule", Five)
    monkeypatch.setattr(adapter_stage, "made_batch", remember)
    monkeypatch.setattr(adapter_stage, "pair_loss", lambda *_: None)
    made = [SimpleNamespace(translated=number % 2 == 0, to=lambda _: None) for number in range(20)]
    for batch in made:
        batch.to = lambda _, batch=batch: batch
    data = SimpleNamespace(sampler=lambda _: ([], []))
    common = {"data": data, "targets": unit(2, 0), "teacher": None, "made": iter(made), "pages": None, "template": None}
    monkeypatch.setattr(adapter_stage, "Packer", lambda _: None)
    adapter_stage.train_task(torch.nn.Linear(1, 1), **common, task=task, parameters=[], seconds=1, seed=0, log=[])
    assert seen == [translated] * 5


@pytest.mark.parametrize(
    ("kind", "share", "tokens", "size"),
    [("passage", 1.0, True, (24_576, 160)), ("text", 1.0, True, ()), ("passage", 0.0, False, ())],
)
def test_the_text_stage_trains_multivectors_on_small_batches(monkeypatch, kind, share, tokens, size):
    seen: list[tuple[bool, tuple[int, ...]]] = []
    sizes: list[tuple[int, ...]] = []

    class Three:
        def __init__(self, parameters: list[torch.nn.Parameter], *_: object, **__: object):
            assert any(parameter is student.multi_vector_projector.weight for parameter in parameters)

        def running(self) -> bool:
            return len(seen) < 3

        def step(self, *_: object) -> None:
            pass

    def draw(_data: object, _targets: object, _source: object, _rng: object, *size: int) -> PairBatch:
        sizes.append(size)
        return a_batch("passage")

    student = torch.nn.Module()
    student.model, student.multi_vector_projector = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    monkeypatch.setattr(text_stage, "MULTIVECTOR_SHARE", share)
    monkeypatch.setattr(text_stage, "MADE_SHARE", 0.0)
    monkeypatch.setattr(text_stage, "Schedule", Three)
    monkeypatch.setattr(text_stage, "Packer", lambda _: None)
    monkeypatch.setattr(text_stage, "corpus_batch", draw)
    monkeypatch.setattr(text_stage, "pair_loss", lambda *arguments: seen.append((arguments[-1], sizes[-1])))
    data = SimpleNamespace(sampler=lambda _: ([SimpleNamespace(kind=kind)], [1.0]))
    text_stage.train_text(student, None, data, iter(()), unit(2, 0), 1, (0, 1), 0, [])
    assert seen == [(tokens, size)] * 3


def test_words_to_make_texts_of_are_those_of_the_corpus_the_teacher_and_the_names(tmp_path):
    Tokenizer(WordPiece({"[UNK]": 0, "harbour": 1, "##s": 2}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    words = english_words([*["Kidney, kidney"] * 4, "rare"], ["moby dick"], tmp_path)
    assert words == ["harbour", "kidney", "moby dick"]
