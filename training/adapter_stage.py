"""Third stage: the multi-vector head, then one LoRA for each task on the frozen base."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from batches import Data
from losses import contrastive, cosine_loss, lookalikes, maxsim
from packed import Packer
from page_batches import PageBatch
from pair_batches import corpus_batch, made_batch
from peers import ALONE, Peers
from schedule import Schedule
from sizes import POCKET
from student import Student, pool
from synthesis import MadeBatch
from token_losses import LARGEST, TOKENS_A_BATCH, multivector_loss, pair_loss, states_of, token_vectors
from vision_stage import Template, image_states, image_vectors

SHARES = {
    "retrieval": {"passage": 0.9, "translation": 0.05, "code": 0.05},
    "text-matching": {"translation": 0.55, "text": 0.4, "passage": 0.05},
    "code": {"code": 0.75, "passage": 0.25},
}
COSINE_WEIGHT = {
    "retrieval": {"passage": 0.5, "translation": 0.5, "code": 0.5, "made": 0.5},
    "text-matching": {"translation": 8.0, "text": 10.0, "passage": 5.0, "made": 10.0},
    "code": {"code": 0.5, "passage": 1.0},
}
MADE_SHARE = {"retrieval": 0.15, "text-matching": 0.4, "code": 0.0}
"""Of steps on texts that are made up: questions and crops for retrieval, translations for matching."""
PAGE_SHARE = {"retrieval": 0.15, "text-matching": 0.08, "code": 0.08}
LEARNING_RATE = 2e-3
LARGEST_DENSE = 2048
MULTIVECTOR_SHARE = 0.5


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
