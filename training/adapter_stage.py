"""Third stage: the multi-vector head, then one LoRA for each task on the frozen base."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batches import Data
from losses import as_teacher, contrastive, cosine_loss, lookalikes, maxsim
from packed import Packer
from page_batches import PageBatch
from pair_batches import PairBatch, corpus_batch, dense_loss, made_batch
from peers import ALONE, Peers
from schedule import Schedule
from sizes import POCKET
from student import Student, pool
from synthesis import MadeBatch
from vision_stage import Template, image_states, image_vectors

SHARES = {
    "retrieval": {"passage": 0.75, "text": 0.1, "translation": 0.1, "code": 0.05},
    "text-matching": {"translation": 0.55, "text": 0.4, "passage": 0.05},
    "code": {"code": 0.75, "passage": 0.25},
}
COSINE_WEIGHT = {
    "retrieval": {"passage": 0.5, "text": 5.0, "translation": 5.0, "code": 0.5, "made": 2.0},
    "text-matching": {"translation": 8.0, "text": 10.0, "passage": 5.0, "made": 10.0},
    "code": {"code": 0.5, "passage": 1.0},
}
MADE_SHARE = {"retrieval": 0.3, "text-matching": 0.4, "code": 0.0}
"""Of steps on texts that are made up: questions and crops for retrieval, translations for matching."""
PAGE_SHARE = {"retrieval": 0.15, "text-matching": 0.08, "code": 0.08}
LEARNING_RATE = 2e-3
TOKENS_A_BATCH = 24_576
LARGEST = 160
"""Most pairs where every token meets every token."""
MOST_MEETINGS = 300_000_000
"""Of tokens with tokens in a batch; made-up translations are long on both sides."""
LARGEST_DENSE = 2048
MULTIVECTOR_SHARE = 0.45
MULTIVECTOR_SCALE = 30.0


def states_of(student: Student, ids: Tensor) -> Tensor:
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
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


def pair_loss(student: Student, vectors: Packer, batch: PairBatch, weight: float, tokens: bool) -> Tensor:
    """Dense losses of a batch, or with `tokens` those of its multi-vectors beside them; texts alone have none."""
    if tokens and batch.kind != "text":
        return token_loss(student, few_enough(batch), weight)
    return dense_loss(*vectors(batch), batch, weight)


def few_enough(batch: PairBatch) -> PairBatch:
    """As many of the first pairs as memory holds where every token meets every token."""
    meetings = batch.query.shape[1] * batch.passage.shape[1]
    return batch.first(min(LARGEST, max(2, int((MOST_MEETINGS / meetings) ** 0.5))))


def page_loss(student: Student, batch: PageBatch, template: Template) -> Tensor:
    """Pages against the text on them, dense and by tokens; texts ask as queries do, with their first tokens."""
    states, tokens = image_states(student, batch.pixels, template)
    vectors = image_vectors(states, tokens, template)
    text_states = states_of(student, batch.ids)
    targets = pool(text_states, batch.lengths)
    same = lookalikes(torch.arange(len(vectors), device=vectors.device), targets.detach())
    loss = contrastive(vectors, targets, same) + 5 * cosine_loss(vectors, targets.detach())
    few = slice(0, 64)
    length = min(48, batch.ids.shape[1])
    mask = torch.arange(length, device=batch.ids.device) < batch.lengths[few, None]
    everything = torch.ones(states[few].shape[:2], dtype=torch.bool, device=mask.device)
    scores = maxsim(
        token_vectors(student, text_states[few, :length]), mask, token_vectors(student, states[few]), everything
    )
    return loss + multivector_loss(scores, same[few, few])


def train_task(
    student: Student,
    data: Data,
    targets: Tensor,
    teacher: nn.Module,
    made: Iterator[MadeBatch],
    pages: Iterator[PageBatch] | None,
    template: Template,
    task: str,
    parameters: list[nn.Parameter],
    seconds: float,
    seed: int,
    log: list[dict],
    peers: Peers = ALONE,
) -> None:
    """Trains the given parameters on a task's mixture for so many seconds."""
    rng = np.random.default_rng(seed)
    student.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    sources, weights = data.sampler(SHARES[task])
    vectors = Packer(student)
    schedule = Schedule(parameters, LEARNING_RATE, seconds, peers=peers)
    head_only = len(parameters) == 2
    while schedule.running():
        if pages is not None and rng.random() < PAGE_SHARE[task]:
            schedule.step(page_loss(student, next(pages).to(str(targets.device)), template), task, "pages", log)
            continue
        tokens = head_only or rng.random() < MULTIVECTOR_SHARE
        if rng.random() < MADE_SHARE[task]:
            chosen = next(batch for batch in made if batch.translated == (task == "text-matching"))
            batch = made_batch(teacher, chosen.to(str(targets.device)))
        else:
            source = sources[rng.choice(len(sources), p=weights)]
            if head_only and source.kind == "text":
                continue
            size = (TOKENS_A_BATCH, LARGEST) if tokens else (2 * TOKENS_A_BATCH, LARGEST_DENSE)
            batch = corpus_batch(data, targets, source, rng, *size)
        schedule.step(
            pair_loss(student, vectors, batch, COSINE_WEIGHT[task][batch.kind], tokens), task, batch.kind, log
        )


def train_head(student: Student, *, seconds: float, **rest: object) -> None:
    """The multi-vector projector itself, which all tasks share."""
    train_task(student, parameters=list(student.multi_vector_projector.parameters()), seconds=seconds, **rest)  # type: ignore[arg-type]


def train_adapter(student: Student, *, task: str, seconds: float, **rest: object) -> dict[str, Tensor]:
    """One task's LoRA, under the checkpoint's names; the student carries it until `remove_adapter`."""
    parameters: list[nn.Parameter] = []
    for _, layer in student.adapters():
        layer.adapt(POCKET.lora_rank)
        parameters += [layer.lora_a, layer.lora_b]  # type: ignore[list-item]
    train_task(student, task=task, parameters=parameters, seconds=seconds, **rest)  # type: ignore[arg-type]
    return adapter_tensors(student, task)


def adapter_tensors(student: Student, task: str) -> dict[str, Tensor]:
    """The LoRA that the student carries, under the checkpoint's names."""
    tensors = {}
    for name, layer in student.adapters():
        place = name.replace("model.layers", "model.language_model.layers")
        for part in ("a", "b"):
            tensor = getattr(layer, f"lora_{part}").detach().half().contiguous().cpu()
            tensors[f"base_model.model.{place}.lora_{part.upper()}.{task}.weight"] = tensor
    return tensors


def remove_adapter(student: Student) -> None:
    """Takes the LoRA out."""
    for _, layer in student.adapters():
        layer.lora_a = layer.lora_b = None
