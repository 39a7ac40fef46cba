"""Pages rendered while training: worker processes draw them, the device gets pixels and what stands where.

Every square of 28 x 28 pixels becomes one token of the language model, so the best hint for the vision tower is which
words stand in which square: the token embeddings of the words in it, weighted by how much of it they fill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pages import WordBox, random_style, render_page

CELL = 28
PREFIX = "Passage: "
MAX_TOKENS = 384
PAGES_A_BATCH = 96
SMALL_PRINT, SMALL_PRINT_SHARE = (9, 13), 0.25
"""A4 pages of a scanner come down to print this small."""


@dataclass
class PageBatch:
    """Pages of one size.

    pixels: uint8 (pages, height, width, 3).
    ids, lengths: the text on each page, with its prompt, padded with 0.
    cells, tokens, weights: (entries,): token `tokens` fills `weights` of cell `cells`; cells count through all pages.
    """

    pixels: Tensor
    ids: Tensor
    lengths: Tensor
    cells: Tensor
    tokens: Tensor
    weights: Tensor

    def to(self, device: str) -> PageBatch:
        return PageBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


class Pages(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of pages of passages; every worker has its own random stream."""

    def __init__(self, passages: list[str], fonts: list[Path], tokenizer: Path, seed: int, size: int = PAGES_A_BATCH):
        self.passages, self.fonts, self.tokenizer, self.seed, self.size = passages, fonts, tokenizer, seed, size

    def __iter__(self) -> Iterator[PageBatch]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        tokenizer = Tokenizer.from_file(str(self.tokenizer))
        while True:
            yield self._batch(rng, tokenizer)

    def _batch(self, rng: np.random.Generator, tokenizer: Tokenizer) -> PageBatch:
        shape: tuple[int, int] | None = None
        pixels, ids, entries = [], [], []
        while len(pixels) < self.size:
            text = self.passages[int(rng.integers(len(self.passages)))]
            style = random_style(rng, self.fonts, shape)
            shape = (style.width, style.height)
            size = int(rng.integers(*SMALL_PRINT)) if rng.random() < SMALL_PRINT_SHARE else style.size
            page = render_page(text, replace(style, size=size))
            encoding = tokenizer.encode(PREFIX + text[: page.num_characters], add_special_tokens=False)
            entries.append(cells_of(encoding, page.boxes, style.width, style.height, len(pixels)))
            ids.append(encoding.ids[:MAX_TOKENS])
            pixels.append(np.asarray(page.image.convert("RGB")))
        lengths = torch.tensor([len(row) for row in ids])
        padded = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
        for row, values in zip(padded, ids, strict=True):
            row[: len(values)] = torch.tensor(values)
        cells, tokens, weights = (np.concatenate(part) for part in zip(*entries, strict=True))
        return PageBatch(
            torch.from_numpy(np.stack(pixels)),
            padded,
            lengths,
            torch.from_numpy(cells),
            torch.from_numpy(tokens),
            torch.from_numpy(weights),
        )


def cells_of(
    encoding: object, boxes: list[WordBox], width: int, height: int, page: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which token fills how much of which cell: each token takes its share of its word's box by characters."""
    columns, rows = width // CELL, height // CELL
    offsets = np.array(encoding.offsets, dtype=np.int64) - len(PREFIX)  # type: ignore[attr-defined]
    token_ids = np.array(encoding.ids, dtype=np.int64)  # type: ignore[attr-defined]
    starts = np.array([box[0] for box in boxes])
    cells, tokens, weights = [], [], []
    for (start, stop), token in zip(offsets, token_ids, strict=True):
        if stop <= 0 or not len(starts):
            continue
        number = int(np.searchsorted(starts, stop, side="left")) - 1
        if number < 0:
            continue
        first, last, x0, y0, x1, y1 = boxes[number]
        left = x0 + (x1 - x0) * max(start - first, 0) / (last - first)
        right = x0 + (x1 - x0) * min(stop - first, last - first) / (last - first)
        if right <= left:
            continue
        for row in range(int(y0) // CELL, min(int(y1) // CELL, rows - 1) + 1):
            tall = min(y1, (row + 1) * CELL) - max(y0, row * CELL)
            for column in range(int(left) // CELL, min(int(right) // CELL, columns - 1) + 1):
                wide = min(right, (column + 1) * CELL) - max(left, column * CELL)
                if tall > 0 and wide > 0:
                    cells.append((page * rows + row) * columns + column)
                    tokens.append(token)
                    weights.append(tall * wide)
    return np.array(cells, np.int64), np.array(tokens, np.int64), np.array(weights, np.float32)


def loader(batches: IterableDataset, workers: int) -> Iterator:  # type: ignore[type-arg]
    """Endless batches from worker processes, a few ahead."""
    if not workers:
        return iter(batches)
    made = DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=4, multiprocessing_context="fork")
    return iter(made)
