"""The training data on the device, and random batches of one source whose texts have about the same length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from peers import ALONE, Peers
from student import MAX_TOKENS
from teacher import MAX_LENGTH as TEACHER_TOKENS

TOKENS_A_BATCH = 65_536
SMALLEST, LARGEST = 64, 2048
PROMPTS = {True: "Query: ", False: "Passage: "}
"""By whether a text is a query: what the product puts in front of it."""
TEXTS_AT_A_TIME = 50_000


@dataclass
class Ragged:
    """Texts end to end: `flat` token ids, and where each text starts and how long it is.

    The host knows the lengths too, so that it needn't wait for the device to make a batch.
    """

    flat: Tensor
    starts: Tensor
    lengths: Tensor
    host_lengths: np.ndarray

    @classmethod
    def of(cls, flat: np.ndarray, host_lengths: np.ndarray, device: str) -> Ragged:
        """From what `end_to_end` gives."""
        lengths = torch.from_numpy(host_lengths).to(device)
        return cls(
            torch.from_numpy(flat.astype(np.int32)).to(device), lengths.cumsum(0) - lengths, lengths, host_lengths
        )

    def take(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Token ids (n, longest), padded with 0 at the end, and lengths (n,)."""
        chosen = on_device(rows, self.flat.device)
        lengths = self.lengths[chosen]
        columns = torch.arange(int(self.host_lengths[rows].max()), device=self.flat.device)
        places = (self.starts[chosen, None] + columns).clamp(max=len(self.flat) - 1)
        return self.flat[places].long() * (columns < lengths[:, None]), lengths


def end_to_end(rows: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All token ids, and how many of them each text has, from one array a text."""
    kept = list(rows)
    return np.concatenate(kept), np.array([len(row) for row in kept])


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array there; a GPU copies it while it works, so that nobody waits for it."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@dataclass
class Source:
    """Pairs of one source, by their length: rows of the texts, and tokens."""

    name: str
    kind: str
    query: np.ndarray
    passage: np.ndarray
    length: np.ndarray

    def batch(
        self, rng: np.random.Generator, tokens: int = TOKENS_A_BATCH, largest: int = LARGEST
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries and passages of random pairs with similar lengths, as many as fit the token budget."""
        total = len(self.length)
        start = int(rng.integers(total))
        size = int(np.clip(tokens // self.length[start], SMALLEST, largest))
        low = max(0, min(start, total - 4 * size))
        window = np.arange(low, min(total, low + 4 * size))
        size = int(np.clip(tokens // self.length[window[-1]], SMALLEST, largest))
        chosen = rng.permutation(window)[:size]
        return self.query[chosen], self.passage[chosen]


class Tokenizers:
    """Token ids for both models, as uint16: both vocabularies are smaller than that."""

    def __init__(self, student: Path, teacher: Path):
        self.student = Tokenizer.from_file(str(student))
        self.teacher = Tokenizer.from_file(str(teacher / "tokenizer.json"))
        self.teacher.no_padding()
        self.teacher.enable_truncation(TEACHER_TOKENS)

    def for_student(self, prompted: list[str]) -> Iterator[np.ndarray]:
        """Ids of texts that have their prompt in front."""
        for encoding in encoded(self.student, prompted):
            yield np.array(encoding.ids[:MAX_TOKENS], dtype=np.uint16)

    def for_teacher(self, texts: list[str]) -> Iterator[np.ndarray]:
        """Ids of texts; none for an empty one."""
        for encoding, text in zip(encoded(self.teacher, texts), texts, strict=True):
            yield np.array(encoding.ids if text else [], dtype=np.uint16)


def encoded(tokenizer: Tokenizer, texts: list[str]) -> Iterator[Encoding]:
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        yield from tokenizer.encode_batch_fast(texts[start : start + TEXTS_AT_A_TIME])


class Data:
    """Everything that `prepare.py` wrote, on the device."""

    def __init__(self, folder: Path, tokenizers: Tokenizers, device: str, peers: Peers = ALONE):
        table = pq.read_table(folder / "texts.parquet")
        self.texts: list[str] = table["text"].to_pylist()
        self.english: list[bool] = table["english"].to_pylist()
        prompts = [PROMPTS[is_query] for is_query in table["is_query"].to_pylist()]
        prompted = [prompt + text for prompt, text in zip(prompts, self.texts, strict=True)]
        # Where the teacher reads nothing, vectors of the English side are the targets.
        readable = [text if english else "" for text, english in zip(self.texts, self.english, strict=True)]
        both = peers.each(
            [
                lambda: end_to_end(tokenizers.for_student(prompted)),
                lambda: end_to_end(tokenizers.for_teacher(readable)),
            ]
        )
        self.student, self.teacher = (Ragged.of(*ids, device) for ids in both)
        pairs = pq.read_table(folder / "pairs.parquet")
        query = pairs["query"].to_numpy().astype(np.int64)
        passage = pairs["passage"].to_numpy().astype(np.int64)
        kinds = np.array(pairs["kind"].to_pylist())
        names = np.array(pairs["source"].to_pylist())
        self.sources = []
        for name in sorted(set(names)):
            rows = np.flatnonzero(names == name)
            self.sources.append(self._source(name, str(kinds[rows[0]]), query[rows], passage[rows]))
        english = np.flatnonzero(self.teacher.host_lengths)
        self.sources.append(self._source("texts", "text", english, english))

    def _source(self, name: str, kind: str, query: np.ndarray, passage: np.ndarray) -> Source:
        lengths = self.student.host_lengths
        length = lengths[query] + (lengths[passage] if kind != "text" else 0)
        order = length.argsort(kind="stable")
        return Source(name, kind, query[order], passage[order], length[order])

    def sampler(self, shares: dict[str, float], power: float = 0.5) -> tuple[list[Source], np.ndarray]:
        """Sources of the kinds that have a share, and the probability of each: within a kind by size ** power."""
        chosen = [s for s in self.sources if shares.get(s.kind, 0) > 0 and len(s.length) >= SMALLEST]
        weights = np.array([len(s.length) ** power for s in chosen])
        for kind, share in shares.items():
            of_kind = np.array([s.kind == kind for s in chosen])
            if of_kind.any():
                weights[of_kind] *= share / weights[of_kind].sum()
        return chosen, weights / weights.sum()
