"""Similarity maps: how similar each patch of an image is to each word of a query, by multi-vectors. Pure numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EmptyInputError

if TYPE_CHECKING:
    from ..types import FloatArray, PreparedImage


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityMap:
    """The similarity of each patch of an image to each word of a query.

    words: the words of the query, in order.
    maps: float32 (words, rows, columns): the largest cosine between the patch and a token of the word. Rows and columns
        divide the image evenly.
    """

    words: tuple[str, ...]
    maps: FloatArray


def words_of(query: str) -> list[tuple[str, int]]:
    """The words of a query, each with the offset of its end in characters.

    Raises:
        EmptyInputError: the query has no words.
    """
    words = [(match[0], match.end()) for match in re.finditer(r"\S+", query)]
    if not words:
        raise EmptyInputError("the query has no words")
    return words


def make_map(
    query: str,
    query_vectors: FloatArray,
    image_vectors: FloatArray,
    image: PreparedImage,
    count_tokens: Callable[[Sequence[str]], list[int]],
) -> SimilarityMap:
    """The similarity map of a query and an image from their multi-vectors.

    query_vectors, image_vectors: float32 (tokens, dim) of the whole prompts, rows normalised.
    count_tokens: returns the number of tokens of the query's prompt for each of several beginnings of the query.

    A word without vectors, because the prompt was truncated before it, is left out.
    """
    words = words_of(query)
    ends = count_tokens([query[:end] for _, end in words])
    starts = [count_tokens([""])[0], *ends[:-1]]
    _, height, width = image.grid
    merge = round((height * width / image.num_tokens) ** 0.5)
    patches = image_vectors[image.offset : image.offset + image.num_tokens]
    cosines = np.asarray(query_vectors @ patches.T, dtype=np.float32)
    found = [
        (word, cosines[start:end].max(axis=0))
        for (word, _), start, end in zip(words, starts, ends, strict=True)
        if start < min(end, len(cosines))
    ]
    maps = np.stack([values for _, values in found]).reshape(len(found), height // merge, width // merge)
    return SimilarityMap(tuple(word for word, _ in found), maps)
