"""Second stage: the vision tower learns to read pages and icons into the space of the frozen text model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from losses import contrastive, cosine_loss, lookalikes, similarities
from page_batches import PageBatch
from schedule import Schedule
from sizes import POCKET
from student import Student, pool

LEARNING_RATE = 1e-3
ICON_SHARE = 0.2
ICONS_A_BATCH = 384
WORDS_WEIGHT = 5.0
LETTERS_WEIGHT = 3.0
COSINE_WEIGHT = 10.0
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass
class Template:
    """Ids of the image prompt around the pads, and how many of them are pooled with the image."""

    before: Tensor
    after: Tensor


@dataclass
class Icons:
    """uint8 (n, side, side, 3), and the ids and lengths of their names."""

    pixels: Tensor
    ids: Tensor
    lengths: Tensor


def patches_of(pixels: Tensor) -> Tensor:
    """uint8 (n, height, width, 3) to (n, patches, 1176), in the order of the product's `patchify`."""
    count, height, width, _ = pixels.shape
    mean, std = (torch.tensor(values, device=pixels.device) for values in (MEAN, STD))
    x = ((pixels.float() / 255 - mean) / std).to(torch.bfloat16 if pixels.is_cuda else torch.float32)
    x = x.view(count, height // 28, 2, 14, width // 28, 2, 14, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    x = x.reshape(count, height * width // 196, 3, 1, 196).expand(-1, -1, -1, 2, -1)
    return x.reshape(count, height * width // 196, 1176)


def image_states(student: Student, pixels: Tensor, template: Template) -> tuple[Tensor, Tensor]:
    """Last hidden states (n, prompt, hidden) of images, and the vision tower's tokens (n, tokens, hidden)."""
    kept: list[Tensor] = []
    hook = student.visual.register_forward_hook(lambda _module, _args, output: kept.append(output))
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
        rows, columns = pixels.shape[1] // 14, pixels.shape[2] // 14
        states = student.image_states(patches_of(pixels), rows, columns, template.before, template.after)
    hook.remove()
    return states.float(), kept[0].float()


def image_vectors(states: Tensor, tokens: Tensor, template: Template) -> Tensor:
    """Unit vectors: the mean from vision start to vision end, both included."""
    start = len(template.before) - 1
    span = states[:, start : start + tokens.shape[1] + 2]
    return F.normalize(span.mean(1), dim=-1)


def words_loss(student: Student, tokens: Tensor, batch: PageBatch) -> Tensor:
    """Distance of the tower's tokens to the embeddings of the words that stand there, relative to their size."""
    flat = tokens.flatten(0, 1)
    with torch.no_grad():
        words = student.model.embed_tokens(batch.tokens) * batch.weights[:, None]
        total = torch.zeros_like(flat).index_add_(0, batch.cells, words)
        weight = torch.zeros(len(flat), device=flat.device).index_add_(0, batch.cells, batch.weights)
        filled = weight > 0
        target = total / weight.clamp(min=1e-6)[:, None]
        size = (target[filled] ** 2).mean()
    return (((flat - target) ** 2).mean(-1) * filled).sum() / filled.sum() / size


class Letters(torch.nn.Module):
    """A throw-away head: which characters stand in a square, as a distribution over bytes.

    Words are out of reach before letters are; without this the tower stays on the mean word for thousands of steps.
    """

    def __init__(self, spellings: list[bytes], width: int):
        super().__init__()
        self.head = torch.nn.Linear(width, 256)
        table = torch.zeros(len(spellings), 256)
        for token, spelling in enumerate(spellings):
            for byte in spelling:
                table[token, byte] += 1 / len(spelling)
        self.register_buffer("table", table)

    def loss(self, tokens: Tensor, batch: PageBatch) -> Tensor:
        """Cross-entropy over the squares that hold a word."""
        flat = tokens.flatten(0, 1)
        letters = torch.zeros(len(flat), 256, device=flat.device)
        letters.index_add_(0, batch.cells, self.table[batch.tokens] * batch.weights[:, None])
        total = letters.sum(-1, keepdim=True)
        wanted = letters / total.clamp(min=1e-6)
        each = -(wanted * F.log_softmax(self.head(flat), -1)).sum(-1)
        filled = total.squeeze(-1) > 0
        return (each * filled).sum() / filled.sum()


def image_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """Images against their texts' vectors."""
    rows = torch.arange(len(vectors), device=vectors.device)
    same = lookalikes(rows, targets)
    loss = contrastive(vectors, targets, same) + COSINE_WEIGHT * cosine_loss(vectors, targets)
    return loss + similarities(vectors, targets, targets, targets)


def text_vectors(student: Student, ids: Tensor, lengths: Tensor) -> Tensor:
    """Unit vectors of padded ids."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        states = student.states(ids)
    return pool(states.float(), lengths)


def train_vision(
    student: Student,
    pages: Iterator[PageBatch],
    icons: Icons | None,
    template: Template,
    spellings: list[bytes],
    device: str,
    seconds: float,
    span: tuple[float, float],
    seed: int,
    log: list[dict],
) -> None:
    """Trains the vision tower for so many seconds; the text model is frozen."""
    rng = np.random.default_rng([seed, round(1000 * span[0])])
    student.requires_grad_(False)
    student.visual.requires_grad_(True)
    letters = Letters(spellings, POCKET.hidden).to(device)
    schedule = Schedule([*student.visual.parameters(), *letters.parameters()], LEARNING_RATE, seconds, span)
    while schedule.running():
        if icons is not None and rng.random() < ICON_SHARE:
            rows = torch.from_numpy(rng.permutation(len(icons.pixels))[:ICONS_A_BATCH]).to(device)
            with torch.no_grad():
                targets = text_vectors(student, icons.ids[rows], icons.lengths[rows])
            states, tokens = image_states(student, icons.pixels[rows], template)
            schedule.step(image_loss(image_vectors(states, tokens, template), targets), "vision", "icons", log)
            continue
        batch = next(pages).to(device)
        with torch.no_grad():
            targets = text_vectors(student, batch.ids, batch.lengths)
        states, tokens = image_states(student, batch.pixels, template)
        loss = image_loss(image_vectors(states, tokens, template), targets)
        loss = loss + WORDS_WEIGHT * words_loss(student, tokens, batch) + LETTERS_WEIGHT * letters.loss(tokens, batch)
        schedule.step(loss, "vision", "pages", log)
