"""Pages rendered while training: worker processes draw them, the device gets pixels and what stands where.

Every square of 28 x 28 pixels becomes one token of the language model, so the best hint for the vision tower is which
words stand in which square: the token embeddings of the words in it, weighted by how much of it they fill. Before it can
read words it has to read letters: for those, which characters stand in which patch of 14 x 14.

Reading begins with a few words an image, many images a batch; they grow to pages as the stage goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from page_style import CELL, HEIGHTS, WIDTHS, piece_style, random_size
from pages import WordBox, random_style, render_page

PATCH = 14
CHARACTERS = 256
"""Code points are told apart modulo this: all letters of one script are."""

PREFIX = "Passage: "
MAX_TOKENS = 384
PAGES_A_BATCH = 96
PIECES_A_BATCH = 384
CELLS_A_BATCH = 96 * 16 * 14
GROWN_AT = 0.5
"""Of the stage: from then on all images are pages."""

SMALL_PRINT, SMALL_PRINT_SHARE = (9, 13), 0.25
"""A4 pages of a scanner come down to print this small."""


class Progress(Protocol):
    """A number from 0 to 1, seen by the processes that draw: how much of the vision stage is done."""

    value: float


def progress_at(value: float) -> Progress:
    progress: Progress = RawValue("d", value)
    return progress


@dataclass
class PageBatch:
    """Pages of one size.

    pixels: uint8 (pages, height, width, 3).
    ids, lengths: the text on each page, with its prompt, padded with 0.
    cells, tokens, weights: (entries,): token `tokens` fills `weights` of cell `cells`; cells count through all pages.
    patches, letters, shares: (entries,): character `letters` fills `shares` of patch `patches`; four patches a cell.
    """

    pixels: Tensor
    ids: Tensor
    lengths: Tensor
    cells: Tensor
    tokens: Tensor
    weights: Tensor
    patches: Tensor
    letters: Tensor
    shares: Tensor

    @property
    def num_cells(self) -> int:
        pages, height, width, _ = self.pixels.shape
        return pages * (height // CELL) * (width // CELL)

    def pin_memory(self) -> PageBatch:
        return PageBatch(*(getattr(self, name).pin_memory() for name in self.__dataclass_fields__))

    def to(self, device: str) -> PageBatch:
        return PageBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


class Pages(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of pages of passages; every worker has its own random stream."""

    def __init__(
        self,
        passages: list[str],
        fonts: list[Path],
        tokenizer: Path,
        seed: int,
        size: int = PAGES_A_BATCH,
        progress: Progress | None = None,
    ):
        self.passages, self.fonts, self.tokenizer, self.seed, self.size = passages, fonts, tokenizer, seed, size
        self.progress = progress_at(1.0) if progress is None else progress

    def __iter__(self) -> Iterator[PageBatch]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        tokenizer = Tokenizer.from_file(str(self.tokenizer))
        while True:
            yield self._batch(rng, tokenizer)

    def _batch(self, rng: np.random.Generator, tokenizer: Tokenizer) -> PageBatch:
        grown = min(1.0, self.progress.value / GROWN_AT)
        width, height = random_size(rng, grown)
        whole = width in WIDTHS and height in HEIGHTS
        size = self.size if whole else min(PIECES_A_BATCH, max(self.size, CELLS_A_BATCH * CELL**2 // (width * height)))
        pixels, ids, words, letters = [], [], [], []
        while len(pixels) < size:
            text = self.passages[int(rng.integers(len(self.passages)))]
            if whole:
                style = random_style(rng, self.fonts, (width, height))
                if rng.random() < SMALL_PRINT_SHARE * grown:
                    style = replace(style, size=int(rng.integers(*SMALL_PRINT)))
            else:
                style = piece_style(rng, self.fonts, (width, height))
                text = text[text.find(" ", int(rng.integers(len(text)))) + 1 :]
            page = render_page(text, style)
            if not page.boxes:
                continue
            encoding = tokenizer.encode(PREFIX + text[: page.num_characters], add_special_tokens=False)
            words.append(cells_of(encoding, page.boxes, width, height, len(pixels)))
            letters.append(letters_of(text, page.boxes, width, height, len(pixels)))
            ids.append(encoding.ids[:MAX_TOKENS])
            pixels.append(np.asarray(page.image.convert("RGB")))
        lengths = torch.tensor([len(row) for row in ids])
        padded = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
        for row, values in zip(padded, ids, strict=True):
            row[: len(values)] = torch.tensor(values)
        entries = (
            torch.from_numpy(np.concatenate(part)) for part in (*zip(*words, strict=True), *zip(*letters, strict=True))
        )
        return PageBatch(torch.from_numpy(np.stack(pixels)), padded, lengths, *entries)


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


def letters_of(
    text: str, boxes: list[WordBox], width: int, height: int, page: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which character fills how much of which patch, as if all characters of a word were equally wide.

    Patches count as the vision tower has them: the four of a cell together.
    """
    columns, rows = width // PATCH, height // PATCH
    table = np.array(boxes)
    starts = table[:, 0].astype(np.int64)
    counts = table[:, 1].astype(np.int64) - starts
    box = np.repeat(np.arange(len(table)), counts)
    place = np.arange(len(box)) - np.repeat(np.cumsum(counts) - counts, counts)
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)[starts[box] + place] % CHARACTERS
    wide = ((table[:, 4] - table[:, 2]) / counts)[box]
    left = table[box, 2] + wide * place
    right, top, bottom = left + wide, table[box, 3], table[box, 5]
    patches, letters, shares = [], [], []
    for across in range(int((wide.max() + PATCH) // PATCH) + 1):
        column = left.astype(np.int64) // PATCH + across
        covered = np.minimum(right, (column + 1) * PATCH) - np.maximum(left, column * PATCH)
        for down in range(int(((bottom - top).max() + PATCH) // PATCH) + 1):
            row = top.astype(np.int64) // PATCH + down
            tall = np.minimum(bottom, (row + 1) * PATCH) - np.maximum(top, row * PATCH)
            inside = (covered > 0) & (tall > 0) & (column < columns) & (row < rows)
            cell = (page * (rows // 2) + row // 2) * (columns // 2) + column // 2
            patches.append((4 * cell + row % 2 * 2 + column % 2)[inside])
            letters.append(characters[inside])
            shares.append((covered * tall)[inside].astype(np.float32))
    return np.concatenate(patches), np.concatenate(letters), np.concatenate(shares)


def loader(batches: IterableDataset, workers: int) -> Iterator:  # type: ignore[type-arg]
    """Endless batches from worker processes, a few ahead, from where a GPU copies them while it works."""
    if not workers:
        return iter(batches)
    made = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context="fork",
        pin_memory=torch.cuda.is_available(),
    )
    return iter(made)
