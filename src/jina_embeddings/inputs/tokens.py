"""Tokenises texts; of a text longer than the limit, only as much as its first tokens depend on."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Tokens: TypeAlias = "NDArray[np.int32]"

# If a text is cut, this many tokens before the cut may differ from those of the whole text, as the cut may split a word
# or white space. Byte-pair merges further away depend on the cut only through a chain of ever more frequent merges; in
# trials at most three tokens changed.
_UNSETTLED_TOKENS = 256
# The beginning that is tokenised first has this many characters for each token; English has 4 to 5, other text fewer.
_CHARACTERS_PER_TOKEN = 8
# If that is too short, it is tried again with this many times as many characters.
_GROWTH_FACTOR = 4
# Characters tokenised at a time; the tokenizer needs about 130 bytes for each until the ids are taken.
_MAX_CHARACTERS = 2**21


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """The token ids of each text, int32; no special tokens are added."""
    found: list[Tokens] = []
    for portion in _portions(texts):
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(portion, add_special_tokens=False)]
        # One array for all of them: to make one of a short list takes longer than to cut it out.
        joined = np.fromiter(chain.from_iterable(ids), dtype=np.int32)
        ends = [0, *accumulate(map(len, ids))]
        found += [joined[start:stop] for start, stop in pairwise(ends)]
    return found


class First(NamedTuple):
    """The first tokens of a text. whole: whether these are all of its tokens."""

    ids: Tokens
    whole: bool


def tokenize_first(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> dict[str, First]:
    """The tokens of each distinct text; of a text with more than `limit + 1`, the first `limit + 1`."""
    found: dict[str, First] = {}
    left = list(dict.fromkeys(texts))
    size = _CHARACTERS_PER_TOKEN * (limit + _UNSETTLED_TOKENS)
    while left:
        beginnings = [text if len(text) <= size else _beginning(text, size) for text in left]
        for text, beginning, ids in zip(left, beginnings, tokenize(tokenizer, beginnings), strict=True):
            if len(beginning) == len(text):
                found[text] = First(ids, whole=True)
            elif len(ids) > limit + _UNSETTLED_TOKENS:
                found[text] = First(ids[: limit + 1].copy(), whole=False)
        left = [text for text in left if text not in found]
        size *= _GROWTH_FACTOR
    return found


def _beginning(text: str, size: int) -> str:
    # Not between a character and its combining marks, which are normalised together.
    while size < len(text) and unicodedata.combining(text[size]):
        size += 1
    return text[:size]


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    """Splits texts into lists of at most `_MAX_CHARACTERS` characters; a longer text is a list alone."""
    portion: list[str] = []
    num_characters = 0
    for text in texts:
        if portion and num_characters + len(text) > _MAX_CHARACTERS:
            yield portion
            portion, num_characters = [], 0
        portion.append(text)
        num_characters += len(text)
    if portion:
        yield portion
