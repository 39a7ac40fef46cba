"""Calls of every kind, and their results in a form that can be compared."""

from __future__ import annotations

import re
from typing import Any

from inputs import picture
from jina_embeddings import Partial

TEXTS = ["one text", "another one", "and a third, longer than the others"]
IMAGES = [picture(56, 28, 1), picture(28, 84, 2)]
DIM, TOKEN_DIM = 2048, 128


METHODS: dict[str, tuple[str, list[Any]]] = {
    "text": ("encode_text", TEXTS),
    "image": ("encode_image", IMAGES),
    "mixed": ("encode", [TEXTS[0], IMAGES[0], TEXTS[1]]),
}


CALLS: list[tuple[str, Any, dict[str, Any]]] = [
    ("encode_text", TEXTS, {}),
    ("encode_text", TEXTS[0], {"task": "code.passage", "truncate_dim": 256}),
    ("encode_text", TEXTS, {"late_chunking": True}),
    ("encode_text", TEXTS, {"max_length": 3, "return_multivector": True, "embedding_type": "int8"}),
    ("encode_image", IMAGES, {"embedding_type": "base64"}),
    ("encode_image", IMAGES[0], {"max_pixels": 784, "return_multivector": True}),
    ("encode", [TEXTS[0], IMAGES[0], "", 3], {"on_error": "skip", "prompt_name": "passage"}),
    ("encode", TEXTS, {"return_numpy": False}),
]


def name_of(value: Any) -> str:
    """The name of a test's argument, without addresses in memory: processes that share tests must agree on it."""
    return re.sub(" at 0x[0-9A-F]+", "", str(value))[:60]


def plain(result: Any) -> Any:
    """A result of any form as nested lists, for comparison."""
    if isinstance(result, Partial):
        return plain(result.embeddings), result.kept, [(skip.index, str(skip.error)) for skip in result.skipped]
    if isinstance(result, list):
        return [plain(part) for part in result]
    return result if isinstance(result, str) else result.tolist()
