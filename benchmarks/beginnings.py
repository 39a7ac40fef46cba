"""How many tokens of packs are computed once because prompts share a prefix.

    python benchmarks/beginnings.py

The texts of `throughput.py` and whole docstrings, by the tokenizer of `pocket`, in parts as a large call is packed.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from from_tools import write_result
from input_sets import make_texts
from jina_embeddings.calls.run import PART_TEXTS
from jina_embeddings.checkpoint.resolve import resolve
from jina_embeddings.plugin.packs import by_prefix, shared_prefix
from jina_embeddings.types import Prepared
from systems import PREFIX
from texts import docstrings


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    file = Path(resolve("pocket")) / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    sets = make_texts(file, {"short": 16_384, "passages": 4096}, PREFIX) | {"docstrings": docstrings(8000)}
    print(write_result("beginnings", {"sets": {name: measured(tokenizer, texts) for name, texts in sets.items()}}))


def measured(tokenizer: Tokenizer, texts: list[str]) -> dict[str, Any]:
    """The mean number of tokens of a prompt, and the shares of them that are its prompt prefix, and that are shared."""
    encoded = tokenizer.encode_batch([PREFIX + text for text in texts], add_special_tokens=False)
    prompts = [Prepared(np.array(one.ids, np.int32), "retrieval", ((0, len(one.ids)),)) for one in encoded]
    size, total = PART_TEXTS, sum(prompt.num_tokens for prompt in prompts)
    shared = 0
    for first in range(0, len(prompts), size):
        part = sorted(prompts[first : first + size], key=by_prefix)
        shared += sum(shared_prefix(*pair) for pair in pairwise(part))
    prefix = (
        len(tokenizer.encode(PREFIX, add_special_tokens=False).ids) - 1
    )  # the space at its end becomes part of the first word's token
    return {
        "num_texts": len(texts),
        "tokens": round(total / len(prompts), 2),
        "prefix": round(prefix * len(prompts) / total, 4),
        "runs_once": round(shared / total, 4),
    }


if __name__ == "__main__":
    main()
