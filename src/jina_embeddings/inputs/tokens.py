"""Token ids of texts; of a long text no more is tokenised than its first tokens need."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Tokens: TypeAlias = "NDArray[np.int32]"

# Tokens before a cut that the characters behind it may change: those of a word or of white space that it splits. A
# merge depends on what is behind it only through a chain of ever more frequent merges: in trials three tokens changed.
_UNSETTLED = 256
# Of what is tokenised first. English has 4 to 5 in a token, other text fewer.
_CHARACTERS_A_TOKEN = 8
_GROWTH = 4
# Characters tokenised at a time: the tokenizer holds about 130 bytes for each until its ids are taken.
_MAX_CHARACTERS = 2**21


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Token ids of each text, int32; no special tokens are added."""
    return [
        np.array(encoding.ids, dtype=np.int32)
        for portion in _portions(texts)
        for encoding in tokenizer.encode_batch_fast(portion, add_special_tokens=False)
    ]


class First(NamedTuple):
    """The first tokens of a text. whole: they are all it has."""

    ids: Tokens
    whole: bool


def tokenize_first(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> dict[str, First]:
    """For each different text all of its tokens, or the first `limit + 1` of more."""
    found: dict[str, First] = {}
    left = list(dict.fromkeys(texts))
    size = _CHARACTERS_A_TOKEN * (limit + _UNSETTLED)
    while left:
        beginnings = [_beginning(text, size) for text in left]
        for text, beginning, ids in zip(left, beginnings, tokenize(tokenizer, beginnings), strict=True):
            if len(beginning) == len(text):
                found[text] = First(ids, whole=True)
            elif len(ids) > limit + _UNSETTLED:
                found[text] = First(ids[: limit + 1].copy(), whole=False)
        left = [text for text in left if text not in found]
        size *= _GROWTH
    return found


def _beginning(text: str, size: int) -> str:
    # A character's marks are normalised together.
    while size < len(text) and unicodedata.combining(text[size]):
        size += 1
    return text[:size]


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    """Lists of texts of a bounded number of characters, or of one text that has more."""
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
