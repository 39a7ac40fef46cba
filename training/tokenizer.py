"""Trains the byte-level BPE of `pocket` on the corpus:  python training/tokenizer.py

No source may take more than its share, so that 12 languages and code get words of their own beside English.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))

from corpus import BUILD, every_text
from make_tokenizer import ADDED_TOKENS, SPECIAL_TOKENS, train_tokenizer
from sizes import POCKET

CHARACTERS_A_SOURCE = 12_000_000
CHARACTERS_A_LANGUAGE = 3_000_000
SEED = 0


def sample() -> Iterator[str]:
    """Texts of every source, at most so many characters of each, in random order within a source."""
    rng = random.Random(SEED)
    for name, texts in every_text():
        budget = CHARACTERS_A_LANGUAGE if "translation" in name or "multi" in name else CHARACTERS_A_SOURCE
        rng.shuffle(texts)
        for text in texts:
            budget -= len(text)
            if budget < 0:
                break
            yield text


def main() -> None:
    num_tokens = POCKET.vocabulary - len(SPECIAL_TOKENS) - len(ADDED_TOKENS)
    tokenizer = train_tokenizer(sample(), num_tokens, min_frequency=4)
    if tokenizer.get_vocab_size() != POCKET.vocabulary:
        raise SystemExit(f"{tokenizer.get_vocab_size()} tokens instead of {POCKET.vocabulary}: the corpus is too small")
    tokenizer.save(str(BUILD / "tokenizer.json"))


if __name__ == "__main__":
    main()
