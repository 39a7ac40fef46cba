"""The whole network: language model and vision tower, from token ids and image patches to hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..checkpoint.config import ModelConfig
from .decoder import LanguageModel
from .vision import VisionTower


class Network(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.language_model = LanguageModel(config)
        self.visual = VisionTower(config.vision)
        self._unit = config.vision.spatial_merge_size**2

    @property
    def module(self) -> nn.Module:
        """The module whose layers adapters are attached to: this network. `PaddedEngine` asks for it."""
        return self

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """The embeddings (batch, tokens, hidden) of token ids (batch, tokens)."""
        embeds: torch.Tensor = self.language_model.embed_tokens(ids)
        return embeds

    def image_features(self, patches: torch.Tensor, grids: Sequence[tuple[int, int, int]]) -> Sequence[torch.Tensor]:
        """(tokens, hidden) of each image; arguments as of `VisionTower.forward`."""
        counts = [frames * rows * columns // self._unit for frames, rows, columns in grids]
        return torch.split(self.visual(patches, grids), counts)

    def hidden_states(self, embeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Last hidden states (batch, tokens, hidden); arguments as of `LanguageModel.forward`."""
        hidden: torch.Tensor = self.language_model(embeds, positions)
        return hidden
