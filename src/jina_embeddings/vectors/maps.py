"""Where in an image each word of a query is found: multi-vectors, patch by patch. Pure numpy."""

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
    """How like each patch of an image is to each word of a query.

    words: of the query, in order.
    maps: float32 (words, rows, columns): the cosine of a patch and the word, the largest over its tokens. Rows and
        columns divide the image evenly.
    """

    words: tuple[str, ...]
    maps: FloatArray


def words_of(query: str) -> list[tuple[str, int]]:
    """The words of a query and where each ends, in characters. Raises EmptyInputError if there are none."""
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
    """The map of a query and an image that an engine has run.

    query_vectors, image_vectors: (tokens, dim), rows normalised, of the whole prompts. count_tokens: of the prompt
    with so much of the query. A word that was cut off with the end of the prompt has no vectors, and is left out.
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
