"""A checkpoint's tokenizer, and the tokens that stand for an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointInvalidError, CheckpointNotFoundError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VISION_START, IMAGE_PAD, VISION_END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json; it neither truncates nor pads."""
    from tokenizers import Tokenizer

    if not path.is_file():
        raise CheckpointNotFoundError(f"{path} is missing: the checkpoint is not whole")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing more precise
        raise CheckpointInvalidError(f"{path} is not a tokenizer: {error}") from error
    for token in (VISION_START, IMAGE_PAD, VISION_END):
        if tokenizer.token_to_id(token) is None:
            raise CheckpointInvalidError(f"{path} has no token {token!r}")
    # Cutting is done by the processor: settings in the tokenizer would be state that all calls share.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
