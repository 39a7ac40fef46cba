"""The Transformers engine: transformers' own model classes, which the other engines are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModel, Qwen2_5_VLConfig
from transformers.initialization import no_init_weights

from ..checkpoint import Checkpoint
from ..checkpoint.adapters import merged
from ..types import Task
from .padded import PaddedEngine


class TransformersEngine(PaddedEngine):
    """transformers' own Qwen2.5-VL classes, with our loader, adapters, batching and pooling."""

    name = "transformers"

    def load(self, checkpoint: Checkpoint, merge_adapter: Task | None) -> TransformersModel:
        config = Qwen2_5_VLConfig.from_pretrained(checkpoint.folder)
        with no_init_weights(), torch.device(self.device):
            model = AutoModel.from_config(config, dtype=self.dtype, attn_implementation="sdpa")
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in merged(checkpoint.weights.load(), checkpoint.adapters, merge_adapter):
                parameter = parameters.get(name.removeprefix("model."))
                if parameter is not None:
                    parameter.copy_(tensor)
        return TransformersModel(model.eval().requires_grad_(False))


class TransformersModel:
    """Adapts a `Qwen2_5_VLModel` to the protocol `padded.Model`."""

    def __init__(self, module: Any):
        self.module = module

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = self.module.get_input_embeddings()(ids)
        return embeds

    def image_features(self, patches: torch.Tensor, grids: Sequence[tuple[int, int, int]]) -> Sequence[torch.Tensor]:
        found = self.module.get_image_features(patches, torch.tensor(grids, device=patches.device), return_dict=True)
        features: Sequence[torch.Tensor] = found.pooler_output
        return features

    def hidden_states(self, embeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        states = self.module.language_model(inputs_embeds=embeds, position_ids=positions, use_cache=False)
        hidden: torch.Tensor = states.last_hidden_state
        return hidden
