"""First stage: the text model learns from the teacher, from translations, and from pairs that belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from batches import Data, Source
from losses import contrastive, cosine_loss, lookalikes, similarities
from optimisers import matrices
from schedule import Schedule
from student import Student, text_vectors
from synthesis import MadeBatch
from teacher import teach_padded

SHARES = {"text": 0.2, "passage": 0.2, "translation": 0.2, "code": 0.2}
MADE_SHARE = 0.35
"""Of steps on texts that synthesis.py makes; the rest is divided as above."""
LEARNING_RATE = 2e-3
COSINE_WEIGHT = {"text": 10.0, "passage": 5.0, "translation": 10.0, "code": 2.0}
"""Of the distance to the teacher's vectors, beside the other losses; least for code, which the teacher barely reads."""


def embed(student: Student, data: Data, rows: Tensor) -> Tensor:
    """Unit vectors (n, hidden) of texts."""
    return text_vectors(student, *data.student.take(rows))


def text_loss(student: Student, data: Data, targets: Tensor, source: Source, rng: np.random.Generator) -> Tensor:
    """The loss of one batch of one source."""
    chosen = source.batch(rng).to(targets.device)
    query, passage = source.query[chosen], source.passage[chosen]
    wanted = targets[passage].float()
    if source.kind == "text":
        vectors = embed(student, data, passage)
        return COSINE_WEIGHT["text"] * cosine_loss(vectors, wanted) + similarities(vectors, vectors, wanted, wanted)
    q, p = embed(student, data, query), embed(student, data, passage)
    asked = wanted if source.kind == "translation" else targets[query].float()
    loss = contrastive(q, p, lookalikes(passage, wanted))
    loss = loss + COSINE_WEIGHT[source.kind] * (cosine_loss(q, asked) + cosine_loss(p, wanted)) / 2
    if source.kind != "code":
        loss = loss + similarities(q, p, asked, wanted)
    return loss


def made_loss(student: Student, teacher: nn.Module, batch: MadeBatch) -> Tensor:
    """The loss of a batch of texts that were made up, whose targets the teacher gives now."""
    asked = teach_padded(teacher, batch.teacher_query, batch.teacher_query_lengths)
    wanted = teach_padded(teacher, batch.teacher_passage, batch.teacher_passage_lengths)
    q = text_vectors(student, batch.query.long(), batch.query_lengths)
    p = text_vectors(student, batch.passage.long(), batch.passage_lengths)
    rows = torch.arange(len(p), device=p.device)
    loss = contrastive(q, p, lookalikes(rows, wanted)) + similarities(q, p, asked, wanted)
    return loss + COSINE_WEIGHT["text"] * (cosine_loss(q, asked) + cosine_loss(p, wanted)) / 2


def train_text(
    student: Student,
    teacher: nn.Module,
    data: Data,
    made: Iterator[MadeBatch],
    targets: Tensor,
    seconds: float,
    span: tuple[float, float],
    seed: int,
    log: list[dict],
) -> None:
    """Trains the text model's own weights for so many seconds, which are that span of the stage."""
    rng = np.random.default_rng([seed, round(1000 * span[0])])
    sources, weights = data.sampler(SHARES)
    schedule = Schedule(student.model.parameters(), LEARNING_RATE, seconds, span, matrices(student.model))
    while schedule.running():
        if rng.random() < MADE_SHARE:
            loss = made_loss(student, teacher, next(made).to(str(targets.device)))
            schedule.step(loss, "text", "made", log)
            continue
        source = sources[rng.choice(len(sources), p=weights)]
        loss = text_loss(student, data, targets, source, rng)
        schedule.step(loss, "text", source.kind, log)


@torch.no_grad()
def start_from_teacher(student: Student, teacher: nn.Module, pieces: list[list[int]]) -> None:
    """Token embeddings: the mean of the teacher's for the word pieces of each token, at unit variance."""
    words = teacher.get_input_embeddings().weight.float()
    words = (words - words.mean(0)) / words.std()
    embeddings = student.model.embed_tokens.weight
    for token, ids in enumerate(pieces):
        if ids:
            embeddings[token] = words[ids].mean(0)
        else:
            embeddings[token].normal_(std=0.3)
