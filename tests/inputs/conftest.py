"""One checkpoint, its processor, and transformers' tokenizer of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jina_embeddings.checkpoint import Checkpoint, open_checkpoint
from jina_embeddings.inputs.processor import Processor
from prepared import MAX_LENGTH

if TYPE_CHECKING:
    from conftest import CheckpointMaker


@pytest.fixture(scope="module")
def opened(checkpoint: CheckpointMaker) -> Checkpoint:
    return open_checkpoint(checkpoint(dtype="float32"))


@pytest.fixture(scope="module")
def processor(opened: Checkpoint) -> Processor:
    return Processor.from_checkpoint(opened, max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def auto_tokenizer(opened: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(opened.folder)
