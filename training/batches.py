"""The training data on the device, and random batches of one source whose texts have about the same length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

TOKENS_A_BATCH = 65_536
SMALLEST, LARGEST = 64, 2048


@dataclass
class Ragged:
    """Texts end to end: `flat` token ids, and where each text starts and how long it is."""

    flat: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, column: object, device: str) -> Ragged:
        """From a chunked Arrow column of lists."""
        array = column.combine_chunks()  # type: ignore[attr-defined]
        flat = torch.from_numpy(array.flatten().to_numpy().astype(np.int32)).to(device)
        lengths = torch.from_numpy(pc.list_value_length(array).to_numpy().astype(np.int64)).to(device)
        return cls(flat, lengths.cumsum(0) - lengths, lengths)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (n, longest), padded with 0 at the end, and lengths (n,)."""
        lengths = self.lengths[rows]
        columns = torch.arange(int(lengths.max()), device=rows.device)
        places = (self.starts[rows, None] + columns).clamp(max=len(self.flat) - 1)
        return self.flat[places].long() * (columns < lengths[:, None]), lengths


@dataclass
class Source:
    """Pairs of one source, by the length of their passages."""

    name: str
    kind: str
    query: Tensor
    passage: Tensor
    length: np.ndarray

    def batch(self, rng: np.random.Generator, tokens: int = TOKENS_A_BATCH, largest: int = LARGEST) -> Tensor:
        """Numbers of random pairs with similar lengths, as many as fit the token budget."""
        total = len(self.length)
        start = int(rng.integers(total))
        size = int(np.clip(tokens // self.length[start], SMALLEST, largest))
        low = max(0, min(start, total - 4 * size))
        window = np.arange(low, min(total, low + 4 * size))
        size = int(np.clip(tokens // self.length[window[-1]], SMALLEST, largest))
        return torch.from_numpy(rng.permutation(window)[:size])


class Data:
    """Everything that `prepare.py` wrote, on the device."""

    def __init__(self, folder: Path, device: str):
        table = pq.read_table(folder / "texts.parquet")
        self.student = Ragged.of(table["student"], device)
        self.teacher = Ragged.of(table["teacher"], device)
        pairs = pq.read_table(folder / "pairs.parquet")
        query = torch.from_numpy(pairs["query"].to_numpy().astype(np.int64)).to(device)
        passage = torch.from_numpy(pairs["passage"].to_numpy().astype(np.int64)).to(device)
        kinds = np.array(pairs["kind"].to_pylist())
        names = np.array(pairs["source"].to_pylist())
        self.sources = []
        for name in sorted(set(names)):
            rows = np.flatnonzero(names == name)
            self.sources.append(self._source(name, str(kinds[rows[0]]), query[rows], passage[rows]))
        english = torch.nonzero(self.teacher.lengths > 0).squeeze(1)
        self.sources.append(self._source("texts", "text", english, english))

    def _source(self, name: str, kind: str, query: Tensor, passage: Tensor) -> Source:
        length = self.student.lengths[query] + (self.student.lengths[passage] if kind != "text" else 0)
        order = length.argsort()
        return Source(name, kind, query[order], passage[order], length[order].cpu().numpy())

    def sampler(self, shares: dict[str, float], power: float = 0.5) -> tuple[list[Source], np.ndarray]:
        """Sources of the kinds that have a share, and the probability of each: within a kind by size ** power."""
        chosen = [s for s in self.sources if shares.get(s.kind, 0) > 0 and len(s.length) >= SMALLEST]
        weights = np.array([len(s.length) ** power for s in chosen])
        for kind, share in shares.items():
            of_kind = np.array([s.kind == kind for s in chosen])
            if of_kind.any():
                weights[of_kind] *= share / weights[of_kind].sum()
        return chosen, weights / weights.sum()
