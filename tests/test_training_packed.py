"""Texts end to end are what they are in padded batches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

import packed
from packed import Packer, Size, pack
from pair_batches import PairBatch
from student import Student, text_vectors

GRAIN = 64


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    student = Student()
    with torch.no_grad():
        student.model.embed_tokens.weight.normal_()
    return student


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "GRAIN", GRAIN)
    monkeypatch.setattr(packed, "TEXTS", (16, 32))
    monkeypatch.setattr(packed, "LONGEST", (16, 48))


def side(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Drawn ids (n, longest), padded with 0 at the end, and lengths."""
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(1, 20_000, (length,))
    return ids, torch.tensor(lengths)


def batch_of(kind: str, query: list[int], passage: list[int]) -> PairBatch:
    nothing = torch.zeros(0)
    tokens = sum(passage) + (sum(query) if kind != "text" else 0)
    return PairBatch(kind, *side(query), *side(passage), nothing, nothing, nothing, tokens)


@pytest.mark.parametrize("passage", [[20, 3, 47], [1, 1, 1], [14, 15, 19]])
def test_vectors_and_gradients_are_those_of_padded_batches(student: Student, passage: list[int]) -> None:
    batch = batch_of("made", [5, 1, 9], passage)
    found = Packer(student)(batch)
    padded = [
        text_vectors(student, batch.query, batch.query_lengths),
        text_vectors(student, batch.passage, batch.passage_lengths),
    ]
    weights = list(student.model.parameters())
    toward = torch.randn(3, 384)
    gradients = [
        torch.autograd.grad(sum((vectors * toward).sum() for vectors in both), weights) for both in (found, padded)
    ]
    for vectors, wanted in zip(found, padded, strict=True):
        torch.testing.assert_close(vectors, wanted, atol=1e-6, rtol=0)
    for gradient, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)


def test_texts_alone_are_read_once(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(sides: list[tuple[Tensor, Tensor]], size: Size) -> tuple[Tensor, ...]:
        seen.append(len(sides))
        return pack(sides, size)

    monkeypatch.setattr(packed, "pack", counted)
    q, p = Packer(student)(batch_of("text", [4, 7], [4, 7]))
    assert seen == [1]
    assert q.equal(p)
    assert q.shape == (2, 384)


def test_tokens_left_over_are_texts_of_their_own_no_longer_than_others() -> None:
    size = Size.of(70, texts=6, longest=16)
    assert size == Size(2 * GRAIN, 16, 16)
    ids, positions, texts, spans = pack([side([12, 12, 11]), side([16, 16, 3])], size)
    assert len(ids) == len(positions) == len(texts) == int(spans[-1]) == 2 * GRAIN
    assert positions.max() == 15
    lengths = spans.diff()
    assert lengths[:6].tolist() == [12, 12, 11, 16, 16, 3]
    assert lengths[6:16].eq(0).all()
    assert lengths[16:].tolist() == [16, 16, 16, 10]
    assert ids[70:].eq(0).all()


def test_a_batch_larger_than_every_size_has_one_of_its_own() -> None:
    assert Size.of(GRAIN, texts=40, longest=100) == Size(GRAIN, 40, 100)
