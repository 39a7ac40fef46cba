"""The architecture that vLLM runs: its own Qwen2.5-VL, our weights' names, adapters and pooler."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn.functional import pad
from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from ..checkpoint import Checkpoint, open_checkpoint
from ..checkpoint.adapters import merged
from ..checkpoint.tensors import PROJECTOR, canonical
from ..inputs.prompts import resolve_task
from ..types import Task
from . import SETTINGS
from .kernels.norms import fused_norms
from .pooler import EmbeddingPooler
from .reading import ProcessingInfo

if TYPE_CHECKING:
    from vllm.config import VllmConfig


@MULTIMODAL_REGISTRY.register_processor(
    Qwen2_5_VLMultiModalProcessor,
    # Older releases make the parser elsewhere: images are then decoded by vLLM alone.
    info=ProcessingInfo if hasattr(Qwen2_5_VLProcessingInfo, "get_data_parser") else Qwen2_5_VLProcessingInfo,
    dummy_inputs=Qwen2_5_VLDummyInputsBuilder,
)
class JinaEmbeddingsV4ForVllm(Qwen2_5_VLForConditionalGeneration):  # type: ignore[misc]
    """Qwen2.5-VL with an embedding pooler.

    With LoRA enabled the base weights stay bare, and each request names its adapter. Without it one
    task's adapter is merged while loading: `--additional-config '{"jina_embeddings": {"task": "code"}}'`,
    retrieval if nothing is said.
    """

    is_pooling_model: ClassVar[bool] = True
    # Keeps vLLM from splitting prompts and reusing prefixes by itself: a mean needs every token.
    default_seq_pooling_type: ClassVar[str] = "MEAN"
    # Our patches arrive normalised; vLLM must not normalise them again on the device.
    supports_mm_device_do_normalize: ClassVar[bool] = False

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        model_config = vllm_config.model_config
        vision = model_config.hf_config.vision_config
        vision.intermediate_size = even_width(vision.intermediate_size)
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._vllm_config = vllm_config
        self._source = (model_config.model, model_config.revision)
        self._settings: dict[str, Any] = (vllm_config.additional_config or {}).get(SETTINGS, {})
        self._has_lora = vllm_config.lora_config is not None
        if self._has_lora and not self._settings.get("adapters"):
            raise ValueError(
                "plain `vllm serve` answers for one task: leave --enable-lora out, and choose the task with "
                f'--additional-config \'{{"{SETTINGS}": {{"task": "code"}}}}\''
            )
        config = model_config.hf_config
        self._vision_width: int = vision.intermediate_size
        self.pooler = EmbeddingPooler(
            default_task=self._task(),
            vision_start=config.vision_start_token_id,
            vision_end=config.vision_end_token_id,
            image_pad=config.image_token_id,
        )

    def _task(self) -> Task:
        return resolve_task(self._settings.get("task") or "retrieval")[0]

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Base weights of either generation of names, with one adapter merged in unless LoRA is on."""
        model, revision = self._source
        checkpoint = open_checkpoint(model, revision=revision, task=self._task() if not self._has_lora else None)
        # Weights that are quantised while they load have no device yet.
        device = next(parameter.device for parameter in self.parameters() if not parameter.is_meta)
        if checkpoint.has_projector:
            for task in checkpoint.tasks:
                weight, bias = checkpoint.projector(task)
                self.pooler.projectors[task] = weight.to(device), bias.to(device)
        loaded: set[str] = super().load_weights(self._adapted(weights, checkpoint))
        return loaded

    def _adapted(
        self, weights: Iterable[tuple[str, torch.Tensor]], checkpoint: Checkpoint
    ) -> Iterator[tuple[str, torch.Tensor]]:
        named = ((canonical(name), tensor) for name, tensor in weights)
        base = ((name, tensor) for name, tensor in named if not name.startswith(PROJECTOR))
        for name, tensor in merged(base, checkpoint.adapters, None if self._has_lora else self._task()):
            yield name, widened(name, tensor, self._vision_width)

    def embed_input_ids(self, input_ids: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """Token embeddings of a step; which of them are an image's only this call says, for the pooler."""
        self.pooler.image_rows = named.get("is_multimodal")
        embedded: torch.Tensor = super().embed_input_ids(input_ids, *arguments, **named)
        return embedded

    def embed_multimodal(self, **inputs: object) -> Any:
        """Images of the scheduled path; see `fused_norms`."""
        compiled = self._vllm_config.compilation_config.compile_mm_encoder
        with fused_norms(self.visual.device, compiled=compiled):
            return super().embed_multimodal(**inputs)


# Rows of half a tile of a GPU's matrix product, and a multiple of the 16 bytes that its loads take.
_MULTIPLE = 64
_WIDE = re.compile(r"model\.visual\.blocks\.\d+\.mlp\.(gate_proj|up_proj|down_proj)\.(weight|bias)")


def even_width(width: int) -> int:
    """The width that an MLP of so many values gets: v4's 3,420 are no multiple of eight, which slows every kernel."""
    return -(-width // _MULTIPLE) * _MULTIPLE


def widened(name: str, tensor: torch.Tensor, width: int) -> torch.Tensor:
    """A tensor of the checkpoint, by its newer name, as the tower with that MLP width has it: zeros are added.

    What is added between gate and down is silu(0) * 0, which the down projection multiplies with zeros.
    """
    match = _WIDE.fullmatch(name)
    if match is None or match.groups() == ("down_proj", "bias"):
        return tensor
    if match[1] == "down_proj":
        return pad(tensor, (0, width - tensor.shape[1]))
    return pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, width - tensor.shape[0]))
