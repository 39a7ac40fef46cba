"""Pseudo-random vectors of tokens; those that were met lie in one array, from which many are taken at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..types import FloatArray

_CAPACITY = 4096


class TokenVectors:
    """Thread-safe: places of a table are filled once, and a full table is left to those who read it for a new one.

    width: numbers of a vector.
    """

    def __init__(self, width: int):
        self._width = width
        self._filling = threading.Lock()
        self._known: tuple[dict[int, int], FloatArray] = ({}, np.empty((0, width), dtype=np.float32))

    def take(self, tokens: Sequence[int], out: FloatArray | None = None) -> FloatArray:
        """The vectors of tokens, (tokens, width)."""
        places, vectors = self._known
        try:
            chosen = [places[token] for token in tokens]
        except KeyError:
            places, vectors = self._filled(set(tokens))
            chosen = [places[token] for token in tokens]
        # With another mode than `raise`, numpy needs no copy of the result.
        return vectors.take(np.array(chosen, dtype=np.intp), axis=0, out=out, mode="clip")

    def _filled(self, tokens: set[int]) -> tuple[dict[int, int], FloatArray]:
        with self._filling:
            places, vectors = self._known
            new = tokens - places.keys()
            if len(places) + len(new) > len(vectors):
                new = tokens
                places, vectors = {}, np.empty((max(_CAPACITY, len(new)), self._width), dtype=np.float32)
            for token in new:
                vectors[len(places)] = _vector(token, self._width)
                places[token] = len(places)
            self._known = places, vectors
            return places, vectors


def _vector(token: int, width: int) -> Any:
    seed = [token & 0xFFFFFFFF, token >> 32]
    return np.random.default_rng(seed).standard_normal(width, dtype=np.float32)
