"""Pairs of texts as both stages of text train on them, from the corpus or made up, and the dense losses on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from batches import LARGEST, TOKENS_A_BATCH, Data, Source, on_device
from losses import contrastive, cosine_loss, lookalikes, similarities
from synthesis import MadeBatch
from teacher import teach_padded


@dataclass
class PairBatch:
    """Padded token ids (n, longest) and lengths (n,) of both sides, and what is wanted of them.

    asked, wanted: the teacher's vectors (n, hidden) of queries and passages; zeros where it reads nothing.
    same: (n, n), pairs off the diagonal that are no negatives.
    tokens: of both sides together, before it was cut; of the passages, where texts are alone.
    """

    kind: str
    query: Tensor
    query_lengths: Tensor
    passage: Tensor
    passage_lengths: Tensor
    asked: Tensor
    wanted: Tensor
    same: Tensor
    tokens: int

    def first(self, count: int) -> PairBatch:
        """The first pairs alone."""
        few = slice(count)
        query, passage = self.query[few], self.passage[few]
        lengths = self.query_lengths[few], self.passage_lengths[few]
        targets = self.asked[few], self.wanted[few]
        return PairBatch(self.kind, query, lengths[0], passage, lengths[1], *targets, self.same[few, few], self.tokens)


def corpus_batch(
    data: Data,
    targets: Tensor,
    source: Source,
    rng: np.random.Generator,
    tokens: int = TOKENS_A_BATCH,
    largest: int = LARGEST,
) -> PairBatch:
    """A random batch of a source. Both sides of a translation shall have the vector of the English one."""
    query, passage = source.batch(rng, tokens, largest)
    rows = on_device(passage, targets.device)
    wanted = targets[rows].float()
    asked = wanted
    if source.kind not in ("translation", "text"):
        asked = targets[on_device(query, targets.device)].float()
    sides = *data.student.take(query), *data.student.take(passage)
    read = passage if source.kind == "text" else np.concatenate([query, passage])
    count = int(data.student.host_lengths[read].sum())
    return PairBatch(source.kind, *sides, asked, wanted, lookalikes(rows, wanted), count)


def made_batch(teacher: nn.Module, made: MadeBatch) -> PairBatch:
    """Texts that were made up, whose targets the teacher gives now."""
    asked = teach_padded(teacher, made.teacher_query, made.teacher_query_lengths)
    wanted = teach_padded(teacher, made.teacher_passage, made.teacher_passage_lengths)
    rows = torch.arange(len(wanted), device=wanted.device)
    sides = made.query.long(), made.query_lengths, made.passage.long(), made.passage_lengths
    return PairBatch("made", *sides, asked, wanted, lookalikes(rows, wanted), made.tokens)


def dense_loss(q: Tensor, p: Tensor, batch: PairBatch, weight: float) -> Tensor:
    """Of unit vectors (n, hidden): pairs against the others, and `weight` times the distance to the teacher's vectors.

    The teacher's similarities count too, but not on code, which it barely reads; texts alone have no pairs.
    """
    near = weight * (cosine_loss(q, batch.asked) + cosine_loss(p, batch.wanted)) / 2
    if batch.kind == "text":
        return near + similarities(q, p, batch.asked, batch.wanted)
    loss = near + contrastive(q, p, batch.same)
    return loss if batch.kind == "code" else loss + similarities(q, p, batch.asked, batch.wanted)
