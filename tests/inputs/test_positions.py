"""M-RoPE positions are those of transformers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from inputs import SCRIPTS, long_text, picture
from jina_embeddings.checkpoint import Checkpoint
from jina_embeddings.inputs.positions import positions
from jina_embeddings.inputs.processor import Processor
from jina_embeddings.types import Prepared
from prepared import SIZES, one_image, one_text

if TYPE_CHECKING:
    pass


@pytest.fixture(scope="module")
def qwen(opened: Checkpoint) -> Any:
    """transformers' model class, whose method computes positions; it has no weights."""
    from transformers import AutoModel, Qwen2_5_VLConfig

    with torch.device("meta"):
        return AutoModel.from_config(Qwen2_5_VLConfig.from_pretrained(opened.folder))


def positions_of_transformers(qwen: Any, prepared: Prepared) -> np.ndarray:
    ids = torch.from_numpy(prepared.token_ids.astype(np.int64))[None]
    options: dict[str, Any] = {"attention_mask": torch.ones_like(ids)}
    if prepared.image is not None:
        options["image_grid_thw"] = torch.tensor([prepared.image.grid])
    if "mm_token_type_ids" in inspect.signature(qwen.get_rope_index).parameters:
        options["mm_token_type_ids"] = (ids == qwen.config.image_token_id).int()
    places, _ = qwen.get_rope_index(ids, **options)
    return np.asarray(places[:, 0])


@pytest.mark.parametrize("text", ["a", SCRIPTS["latin"], long_text(50)])
def test_positions_of_a_text_are_those_of_transformers(processor: Processor, qwen: Any, text: str) -> None:
    prepared = one_text(processor, text)
    assert np.array_equal(positions(prepared, 2), positions_of_transformers(qwen, prepared))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_positions_of_an_image_are_those_of_transformers(
    processor: Processor, qwen: Any, width: int, height: int
) -> None:
    prepared = one_image(processor, picture(width, height))
    places = positions(prepared, 2)
    assert places.shape == (3, prepared.num_tokens)
    assert np.array_equal(places, positions_of_transformers(qwen, prepared))
