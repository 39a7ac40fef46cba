"""Every engine gets the patches of the prepared pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from inputs import picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import Checkpoint
from jina_embeddings.inputs.patches import patchify
from jina_embeddings.inputs.processor import Processor, read_image_config
from jina_embeddings.model.network import Network
from prepared import one_image

if TYPE_CHECKING:
    pass


Grid = tuple[int, int, int]


def captured_patches(
    opened: Checkpoint, monkeypatch: pytest.MonkeyPatch, images: list[Image.Image]
) -> list[tuple[torch.Tensor, list[Grid]]]:
    """The patches that the torch engine passes to the model for each image."""
    features = Network.image_features
    seen: list[tuple[torch.Tensor, list[Grid]]] = []

    def record(network: Network, patches: torch.Tensor, grids: list[Grid]) -> Any:
        seen.append((patches.clone(), grids))
        return features(network, patches, grids)

    monkeypatch.setattr(Network, "image_features", record)
    with JinaEmbeddings(opened.folder, engine="torch") as model:
        for image in images:
            model.encode_image(image)
    return seen


def test_the_engine_gets_the_patches_of_the_prepared_pixels(
    opened: Checkpoint, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(28, 28), picture(120, 90), picture(90, 120)]
    seen = captured_patches(opened, monkeypatch, images)
    for image, (patches, grids) in zip(images, seen, strict=True):
        prepared = one_image(processor, image).image
        assert prepared is not None
        assert grids == [prepared.grid]
        assert np.array_equal(patches.numpy(), patchify(prepared.pixels, processor.image_config))


# Importing vLLM takes longer than all the rest of this file.
@pytest.mark.engine
def test_both_engines_get_the_same_patches(
    opened: Checkpoint, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vllm")
    from jina_embeddings.engine.vllm.requests import InputMaker

    images = [picture(28, 28), picture(400, 300), picture(4000, 3000)]
    seen = captured_patches(opened, monkeypatch, images)
    maker = InputMaker(read_image_config(opened))
    for image, (patches, grids) in zip(images, seen, strict=True):
        prepared = one_image(processor, image)
        assert prepared.image is not None
        prompt, _ = maker.make(prepared)
        (item,) = prompt["mm_kwargs"]["image"]
        assert torch.equal(item["pixel_values"].data, patches)
        assert item["image_grid_thw"].data.tolist() == list(grids[0])
        assert prompt["prompt_token_ids"] == prepared.token_ids.tolist()
        (place,) = prompt["mm_placeholders"]["image"]
        assert (place.offset, place.length) == (prepared.image.offset, prepared.image.num_tokens)
        assert prompt["mm_hashes"] == {"image": [prepared.image.digest]}
