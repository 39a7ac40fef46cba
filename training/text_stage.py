"""First stage: the text model learns from the teacher, from translations, and from pairs that belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from batches import Data
from optimisers import matrices
from packed import Packer
from pair_batches import corpus_batch, made_batch
from peers import ALONE, Peers
from schedule import Schedule
from student import Student
from synthesis import MadeBatch
from token_losses import LARGEST, TOKENS_A_BATCH, pair_loss

SHARES = {"text": 0.15, "passage": 0.25, "translation": 0.3, "code": 0.3}
MADE_SHARE = 0.6
"""Of steps on texts that synthesis.py makes; the rest is divided as above."""
MULTIVECTOR_SHARE = 0.15
"""Of steps that train multi-vectors too. Adapters are too small to teach tokens what a mean of them doesn't need."""
LEARNING_RATE = 2e-3
COSINE_WEIGHT = {"text": 10.0, "passage": 5.0, "translation": 10.0, "code": 2.0, "made": 10.0}
"""Of the distance to the teacher's vectors, beside the other losses; least for code, which the teacher barely reads."""


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
    peers: Peers = ALONE,
) -> None:
    """Trains the text model and the multi-vector head for so many seconds, which are that span of the stage."""
    rng = np.random.default_rng([seed, round(1000 * span[0])])
    sources, weights = data.sampler(SHARES)
    parameters = [*student.model.parameters(), *student.multi_vector_projector.parameters()]
    schedule = Schedule(parameters, LEARNING_RATE, seconds, span, matrices(student.model), peers=peers)
    vectors = Packer(student)
    while schedule.running():
        tokens = rng.random() < MULTIVECTOR_SHARE
        if rng.random() < MADE_SHARE:
            batch = made_batch(teacher, next(made).to(str(targets.device)))
        else:
            source = sources[rng.choice(len(sources), p=weights)]
            size = (TOKENS_A_BATCH, LARGEST) if tokens and source.kind != "text" else ()
            batch = corpus_batch(data, targets, source, rng, *size)
        # The loss gets no name: a graph of autograd that lives until the next batch keeps that from being captured.
        schedule.step(pair_loss(student, vectors, batch, COSINE_WEIGHT[batch.kind], tokens), "text", batch.kind, log)


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
