"""What multi-vectors are trained on: every token of one text meets every token of the others, so batches are small."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from losses import as_teacher, maxsim
from packed import Packer
from pair_batches import PairBatch, dense_loss
from student import Student, pool

TOKENS_A_BATCH, LARGEST = 24_576, 160
"""As in batches.py."""
MOST_MEETINGS = 300_000_000
"""Of tokens with tokens in a batch; made-up translations are long on both sides."""
MULTIVECTOR_SCALE = 30.0


def pair_loss(student: Student, vectors: Packer, batch: PairBatch, weight: float, tokens: bool) -> Tensor:
    """Dense losses of a batch, or with `tokens` those of its multi-vectors beside them; texts alone have none."""
    if tokens and batch.kind != "text":
        return token_loss(student, few_enough(batch), weight)
    return dense_loss(*vectors(batch), batch, weight)


def few_enough(batch: PairBatch) -> PairBatch:
    """As many of the first pairs as memory holds where every token meets every token."""
    meetings = batch.query.shape[1] * batch.passage.shape[1]
    return batch.first(min(LARGEST, max(2, int((MOST_MEETINGS / meetings) ** 0.5))))


def states_of(student: Student, ids: Tensor) -> Tensor:
    """Last hidden states (n, tokens, hidden) of padded ids, by layers that aren't compiled: every batch has new shapes."""
    eager = torch.compiler.set_stance("force_eager")
    with eager, torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        return student.states(ids).float()


def token_vectors(student: Student, states: Tensor) -> Tensor:
    """Unit vectors (n, tokens, projector) in bfloat16 on a GPU."""
    with torch.autocast(states.device.type, torch.bfloat16, enabled=states.is_cuda):
        return F.normalize(student.multi_vector_projector(states).float(), dim=-1).to(
            torch.bfloat16 if states.is_cuda else torch.float32
        )


def multivector_loss(scores: Tensor, same: Tensor) -> Tensor:
    """InfoNCE over MaxSim scores (n, n), both ways."""
    logits = (MULTIVECTOR_SCALE * scores.float()).masked_fill(same, -1e4)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def token_loss(student: Student, batch: PairBatch, weight: float) -> Tensor:
    """Dense losses of a batch of pairs, and those of its multi-vectors.

    These learn the teacher's similarities too (Santhanam et al. 2022), but not on code, which it barely reads.
    """
    passage_states, query_states = states_of(student, batch.passage), states_of(student, batch.query)
    p, q = pool(passage_states, batch.passage_lengths), pool(query_states, batch.query_lengths)
    query_mask, passage_mask = (
        torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        for states, lengths in ((query_states, batch.query_lengths), (passage_states, batch.passage_lengths))
    )
    scores = maxsim(
        token_vectors(student, query_states), query_mask, token_vectors(student, passage_states), passage_mask
    )
    loss = dense_loss(q, p, batch, weight) + multivector_loss(scores, batch.same)
    if batch.kind == "code":
        return loss
    return loss + as_teacher(MULTIVECTOR_SCALE * scores.float(), batch.asked, batch.wanted)
