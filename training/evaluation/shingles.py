"""Which of many texts share a run of words with a few: hashes of runs, so that 100 million words take a minute."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONG, SHORT, SHORTEST = 13, 8, 4
"""Texts of 13 words and more are looked for by runs of 13, those of 8 and more by runs of 8, shorter ones whole;
what has fewer than 4 words is a term or a heading, which nobody can keep out."""

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """The words of many texts end to end, as hashes; `rows[i]` is the text that word i is in."""

    hashes: Hashes
    rows: Rows
    lengths: Rows

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        """Words in lower case without punctuation; of Chinese, Japanese and Korean every character is one."""
        split = [_WORD.findall(text.casefold()) for text in texts]
        lengths = np.array([len(words) for words in split], dtype=np.int64)
        values = (hash(word) & 0xFFFFFFFFFFFFFFFF for words in split for word in words)
        hashes = np.fromiter(values, dtype=np.uint64, count=int(lengths.sum()))
        return cls(hashes, np.repeat(np.arange(len(texts)), lengths), lengths)

    def runs(self, size: int) -> tuple[Hashes, Rows]:
        """Hashes of all runs of `size` words inside one text, and the text of each."""
        count = len(self.hashes) - size + 1
        if count <= 0:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        mixed = np.zeros(count, dtype=np.uint64)
        for offset in range(size):
            mixed = mixed * _BASE + self.hashes[offset : offset + count]
        inside = self.rows[:count] == self.rows[size - 1 :]
        return mixed[inside], self.rows[:count][inside]

    def wholes(self, size: int) -> tuple[Hashes, Rows]:
        """The same of texts that have just `size` words."""
        hashes, rows = self.runs(size)
        alone = self.lengths[rows] == size
        return hashes[alone], rows[alone]


class Index:
    """The texts that must not be seen; remembers which of them were."""

    def __init__(self, texts: Sequence[str]):
        words = Words.of(texts)
        self.num_texts = len(texts)
        self.seen = np.zeros(len(texts), dtype=bool)
        self._runs = {
            LONG: _sorted(*_of_length(words, *words.runs(LONG), LONG, None)),
            SHORT: _sorted(*_of_length(words, *words.runs(SHORT), SHORT, LONG)),
        }
        self._wholes = {size: _sorted(*words.wholes(size)) for size in range(SHORTEST, SHORT)}

    def hits(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these texts (n,) share a run with one of the index, or are one of its short ones."""
        words = Words.of(texts)
        hit = np.zeros(len(texts), dtype=bool)
        for known, found in ((self._runs, words.runs), (self._wholes, words.wholes)):
            for size, (keys, owners) in known.items():
                if not len(keys):
                    continue
                hashes, rows = found(size)
                place = np.searchsorted(keys, hashes).clip(max=len(keys) - 1)
                matches = keys[place] == hashes
                hit[rows[matches]] = True
                self.seen[owners[np.isin(keys, hashes[matches])]] = True
        return hit


def _of_length(words: Words, hashes: Hashes, rows: Rows, least: int, below: int | None) -> tuple[Hashes, Rows]:
    lengths = words.lengths[rows]
    keep = (lengths >= least) & ((lengths < below) if below else True)
    return hashes[keep], rows[keep]


def _sorted(hashes: Hashes, rows: Rows) -> tuple[Hashes, Rows]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order]
