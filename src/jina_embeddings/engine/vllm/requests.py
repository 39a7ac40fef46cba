"""Turns a `Prepared` into a request of vLLM that contains token ids and patches, so that vLLM processes neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...inputs.patches import ImageConfig, patchify, resized
from ...types import Both, Prepared, PreparedImage

if TYPE_CHECKING:
    from vllm import PoolingParams
    from vllm.multimodal.inputs import MultiModalKwargsItems

# vLLM takes seconds to import, so it is imported where a request is made, by an engine that has imported it before.


class InputMaker:
    """Makes vLLM's engine inputs, with the same patches as for the other engines."""

    def __init__(self, image_config: ImageConfig):
        self._image_config = image_config

    def make(self, prepared: Prepared) -> tuple[dict[str, Any], PoolingParams]:
        """The engine input and the pooling parameters of one request."""
        from vllm import PoolingParams
        from vllm.multimodal.inputs import PlaceholderRange

        from ...plugin.pooler import request_fields

        params = PoolingParams(task="embed", use_activation=False, extra_kwargs=request_fields(prepared))
        ids = prepared.token_ids.tolist()
        if prepared.image is None:
            return {"type": "token", "prompt_token_ids": ids}, params
        image = prepared.image
        return {
            "type": "multimodal",
            "prompt_token_ids": ids,
            "mm_kwargs": self._image_items(image),
            "mm_hashes": {"image": [image.digest]},
            "mm_placeholders": {"image": [PlaceholderRange(offset=image.offset, length=image.num_tokens)]},
        }, params

    def _image_items(self, image: PreparedImage) -> MultiModalKwargsItems:
        from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems

        patches = torch.from_numpy(patchify(resized(image.pixels, image.grid, self._image_config), self._image_config))
        fields = {
            "pixel_values": MultiModalFieldConfig.flat_from_sizes("image", torch.tensor([len(patches)])),
            "image_grid_thw": MultiModalFieldConfig.batched("image"),
        }
        inputs = {"pixel_values": patches, "image_grid_thw": torch.tensor([image.grid])}
        return MultiModalKwargsItems.from_hf_inputs(inputs, fields)


def split_flat(vectors: Any, prepared: Prepared, hidden_size: int) -> Both:
    """The dense vectors and the multi-vector that `EmbeddingPooler` has joined to one row, float32 (1, numbers)."""
    end = len(prepared.spans) * hidden_size
    return Both(vectors[0, :end].reshape(-1, hidden_size), vectors[0, end:].reshape(prepared.num_tokens, -1))
