"""What training minimises; every function takes unit vectors or cuts them to unit vectors itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sizes import POCKET

SCALE = 20.0
"""Inverse temperature of contrastive losses, and of the teacher's similarities."""

SAME = 0.95
"""Two texts whose teacher vectors are closer than this are not taken for each other's negatives."""


def shortened(vectors: Tensor) -> list[Tensor]:
    """The vectors at each matryoshka size (Kusupati et al. 2022), the whole one last."""
    return [F.normalize(vectors[:, :dim], dim=-1) for dim in POCKET.matryoshka]


def cosine_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 - cosine over the rows that have a target; a row of zeros is none."""
    has = targets.abs().sum(-1) > 0
    cosines = (vectors * targets).sum(-1)
    return ((1 - cosines) * has).sum() / has.sum().clamp(min=1)


def contrastive(queries: Tensor, passages: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018) of row i with row i, over all matryoshka sizes."""
    target = torch.arange(len(queries), device=queries.device)
    total = queries.new_zeros(())
    for q, p in zip(shortened(queries), shortened(passages), strict=True):
        logits = (SCALE * q @ p.T).masked_fill(same, -1e4)
        total = total + F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
    return total / (2 * len(POCKET.matryoshka))


def similarities(queries: Tensor, passages: Tensor, teacher_queries: Tensor, teacher_passages: Tensor) -> Tensor:
    """`as_teacher` of the cosines, over all matryoshka sizes."""
    total = queries.new_zeros(())
    for q, p in zip(shortened(queries), shortened(passages), strict=True):
        total = total + as_teacher(SCALE * q @ p.T, teacher_queries, teacher_passages)
    return total / len(POCKET.matryoshka)


def as_teacher(logits: Tensor, teacher_queries: Tensor, teacher_passages: Tensor) -> Tensor:
    """KL divergence from the teacher's distribution over the batch to that of the logits (n, n)."""
    wanted = F.log_softmax(SCALE * teacher_queries @ teacher_passages.T, -1)
    return F.kl_div(F.log_softmax(logits, -1), wanted, log_target=True, reduction="batchmean")


def lookalikes(rows: Tensor, targets: Tensor) -> Tensor:
    """(n, n): pairs off the diagonal that are the same text, or all but the same for the teacher."""
    same = (rows[:, None] == rows) | (targets @ targets.T > SAME)
    return same.fill_diagonal_(False)


def maxsim(queries: Tensor, query_mask: Tensor, documents: Tensor, document_mask: Tensor) -> Tensor:
    """Late-interaction scores (queries, documents): mean over a query's tokens of the best document token.

    The product's score is the sum (Khattab and Zaharia 2020); a mean ranks one query's documents alike and
    keeps the temperature independent of the query's length.
    """
    best = torch.einsum("qid,pjd->qpij", queries, documents)
    best = best.masked_fill(~document_mask[None, :, None, :], -1e4).amax(-1)
    return (best * query_mask[:, None]).sum(-1) / query_mask.sum(-1)[:, None]
