"""Second stage: the vision tower learns to read pages and icons into the space of the frozen text model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses import contrastive, cosine_loss, lookalikes, similarities
from optimisers import matrices
from page_batches import CHARACTERS, PageBatch, Progress
from peers import ALONE, Peers
from schedule import Schedule
from sizes import POCKET
from student import Student, initialise, text_vectors

LEARNING_RATE = 1e-3
MATRICES_RATE = 5e-3
ICON_SHARE = 0.05
ICONS_A_BATCH = 384
WORDS_WEIGHT = 5.0
LETTERS_WEIGHT = 3.0
LETTERS_BLOCK = 3
IMAGE_FROM, WHOLE_IMAGE_AT = 0.25, 0.6
"""The image loss undoes what was learnt of letters if it comes early; it grows in this part of the stage."""

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


def tower_tokens(student: Student, pixels: Tensor) -> Tensor:
    """The vision tower's tokens (n, tokens, hidden) alone."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
        return student.visual(patches_of(pixels), pixels.shape[1] // 14, pixels.shape[2] // 14).float()


def image_vectors(states: Tensor, tokens: Tensor, template: Template) -> Tensor:
    """Unit vectors: the mean from vision start to vision end, both included."""
    start = len(template.before) - 1
    span = states[:, start : start + tokens.shape[1] + 2]
    return F.normalize(span.mean(1), dim=-1)


@torch.no_grad()
def start_tower(student: Student, batch: PageBatch) -> None:
    """Draws the tower anew; its first guess is the mean word.

    Otherwise the first steps of the optimiser go all one way, to that mean, and leave all squares alike.
    """
    student.visual.apply(initialise)
    student.visual.merger.mlp[2].bias.data = student.model.embed_tokens(batch.tokens).mean(0)


@torch.no_grad()
def follow_words(student: Student, before: Tensor) -> None:
    """Takes the tower along to where training has moved the words: the nearest affine map, in its last product.

    before: the embeddings (vocabulary, hidden) that the tower was trained with.
    """
    with_ones = torch.cat([before, torch.ones_like(before[:, :1])], dim=1)
    moved = torch.linalg.lstsq(with_ones, student.model.embed_tokens.weight).solution
    last = student.visual.merger.mlp[2]
    last.weight.copy_(moved[:-1].T @ last.weight)
    last.bias.copy_(last.bias @ moved[:-1] + moved[-1])


def words_loss(student: Student, tokens: Tensor, batch: PageBatch) -> Tensor:
    """Distance of the tower's tokens to the embeddings of the words that stand there, relative to their size."""
    flat = tokens.flatten(0, 1)
    with torch.no_grad():
        words = student.model.embed_tokens(batch.tokens) * batch.weights[:, None]
        total = torch.zeros_like(flat).index_add_(0, batch.cells, words)
        weight = torch.zeros(len(flat), device=flat.device).index_add_(0, batch.cells, batch.weights)
        filled = weight > 0
        target = total / weight.clamp(min=1e-6)[:, None]
        size = ((target**2).mean(-1) * filled).sum() / filled.sum()
    return (((flat - target) ** 2).mean(-1) * filled).sum() / filled.sum() / size


class Letters(nn.Module):
    """A throw-away head on a block of the tower: which characters stand in each patch.

    Words are out of reach before letters are. What a patch itself shows can be learnt first, unlike the letters of the
    words that reach into a square: with those the tower stays on the mean word for thousands of steps.
    """

    def __init__(self, block: nn.Module):
        super().__init__()
        self.head = nn.Linear(POCKET.vision_hidden, CHARACTERS)
        nn.init.zeros_(self.head.weight)
        self.hook = block.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _args: object, output: Tensor) -> None:
        self.seen = output

    def wanted(self, batch: PageBatch, patches: int) -> tuple[Tensor, Tensor]:
        """A distribution over characters for each patch (patches, 256), and which patches have any."""
        table = torch.zeros(patches * CHARACTERS, device=batch.shares.device)
        table.index_add_(0, batch.patches * CHARACTERS + batch.letters, batch.shares)
        table = table.view(patches, CHARACTERS)
        total = table.sum(-1, keepdim=True)
        return table / total.clamp(min=1e-6), total.squeeze(-1) > 0

    @torch.no_grad()
    def start_at_mean(self, batch: PageBatch) -> None:
        """The head's first guess is how frequent each character is."""
        wanted, filled = self.wanted(batch, 4 * batch.num_cells)
        self.head.bias.copy_((wanted.sum(0) / filled.sum()).clamp(min=1e-5).log())

    def loss(self, batch: PageBatch) -> Tensor:
        """Cross-entropy over the patches that hold a character."""
        flat = F.rms_norm(self.seen.flatten(0, 1).float(), (POCKET.vision_hidden,))
        wanted, filled = self.wanted(batch, len(flat))
        each = -(wanted * F.log_softmax(self.head(flat), -1)).sum(-1)
        return (each * filled).sum() / filled.sum()


def image_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """Images against their texts' vectors."""
    rows = torch.arange(len(vectors), device=vectors.device)
    same = lookalikes(rows, targets)
    loss = contrastive(vectors, targets, same) + COSINE_WEIGHT * cosine_loss(vectors, targets)
    return loss + similarities(vectors, targets, targets, targets)


def train_vision(
    student: Student,
    pages: Iterator[PageBatch],
    icons: Icons | None,
    template: Template,
    progress: Progress,
    device: str,
    seconds: float,
    span: tuple[float, float],
    seed: int,
    log: list[dict],
    peers: Peers = ALONE,
) -> None:
    """Trains the vision tower for so many seconds; the text model is frozen."""
    rng = np.random.default_rng([seed, round(1000 * span[0])])
    student.requires_grad_(False)
    student.visual.requires_grad_(True)
    letters = Letters(student.visual.blocks[LETTERS_BLOCK]).to(device)
    progress.value = span[0]
    first = next(pages).to(device)
    letters.start_at_mean(first)
    if span[0] == 0:
        start_tower(student, first)
    trained = [*student.visual.parameters(), *letters.parameters()]
    schedule = Schedule(trained, LEARNING_RATE, seconds, span, matrices(student.visual), MATRICES_RATE, peers)
    while schedule.running():
        progress.value = place = schedule.place()
        weight = min(1.0, max(0.0, (place - IMAGE_FROM) / (WHOLE_IMAGE_AT - IMAGE_FROM)))
        if icons is not None and rng.random() < ICON_SHARE * weight:
            rows = torch.from_numpy(rng.permutation(len(icons.pixels))[:ICONS_A_BATCH]).to(device)
            with torch.no_grad():
                targets = text_vectors(student, icons.ids[rows], icons.lengths[rows])
            states, tokens = image_states(student, icons.pixels[rows], template)
            loss = image_loss(image_vectors(states, tokens, template), targets)
            schedule.step(loss, "vision", "icons", log)
            continue
        batch = next(pages).to(device)
        parts: dict[str, Tensor] = {}
        if weight:
            with torch.no_grad():
                targets = text_vectors(student, batch.ids, batch.lengths)
            states, tokens = image_states(student, batch.pixels, template)
            parts["image"] = image_loss(image_vectors(states, tokens, template), targets)
        else:
            tokens = tower_tokens(student, batch.pixels)
        parts |= {"words": words_loss(student, tokens, batch), "letters": letters.loss(batch)}
        weights = {"image": weight, "words": WORDS_WEIGHT, "letters": LETTERS_WEIGHT}
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        schedule.step(loss, "vision", "pages", log, **parts)
    letters.hook.remove()
    progress.value = span[1]
