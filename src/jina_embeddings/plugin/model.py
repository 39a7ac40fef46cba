"""The architecture that vLLM runs: its Qwen2.5-VL with our weight names, adapters and pooler."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn.functional import pad

from ..checkpoint import Checkpoint, open_checkpoint
from ..checkpoint.adapters import merged
from ..checkpoint.tensors import PROJECTOR, canonical
from ..inputs.prompts import resolve_task
from ..inputs.sources import load_image
from ..types import Task
from . import SETTINGS
from .compat import fits, imported
from .kernels.norms import fused_norms
from .pooler import EmbeddingPooler

if TYPE_CHECKING:
    from vllm.config import VllmConfig


Qwen: Any = imported("model", "Qwen2_5_VLForConditionalGeneration")
QwenProcessingInfo: Any = imported("model", "Qwen2_5_VLProcessingInfo")
QwenImageParser: Any = imported("model", "Qwen2VLMultiModalDataParser")


class ImageParser(QwenImageParser):  # type: ignore[misc]
    """Decodes images sent to a plain `vllm serve` as `encode_image` does.

    It decodes their original bytes again, since vLLM's decoding turns 16-bit greyscale to white.
    """

    def _parse_image_data(self, data: Any) -> Any:
        several = isinstance(data, list)
        items = [_decoded(item) for item in (data if several else [data])]
        return super()._parse_image_data(items if several else items[0])


class ProcessingInfo(QwenProcessingInfo):  # type: ignore[misc]
    """vLLM's processing info with `ImageParser` as its parser."""

    def get_data_parser(self) -> ImageParser:
        theirs = super().get_data_parser()
        theirs.__class__ = ImageParser
        return theirs  # type: ignore[no-any-return]


def _decoded(item: Any) -> Any:
    data = getattr(item, "original_bytes", None)
    return load_image(data) if isinstance(data, bytes) else item


@imported("model", "MULTIMODAL_REGISTRY").register_processor(
    imported("model", "Qwen2_5_VLMultiModalProcessor"),
    # Older releases of vLLM have no such method to override; they decode images themselves.
    info=ProcessingInfo if fits("image parser", QwenProcessingInfo) else QwenProcessingInfo,
    dummy_inputs=imported("model", "Qwen2_5_VLDummyInputsBuilder"),
)
class JinaEmbeddingsV4ForVllm(Qwen):  # type: ignore[misc]
    """Qwen2.5-VL with an embedding pooler.

    With LoRA, the base weights are loaded as they are, and each request names its adapter. Without LoRA, the adapter of
    one task is merged into the weights while they load: retrieval, or the one of
    `--additional-config '{"jina_embeddings": {"task": "code"}}'`.
    """

    is_pooling_model: ClassVar[bool] = True
    # With this type vLLM enables neither chunked prefill nor prefix caching by itself: a mean needs every token.
    default_seq_pooling_type: ClassVar[str] = "MEAN"
    # Patches of our requests are normalised already; vLLM must not normalise them again on the device.
    supports_mm_device_do_normalize: ClassVar[bool] = False

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        model_config = vllm_config.model_config
        vision = model_config.hf_config.vision_config
        vision.intermediate_size = padded_mlp_width(vision.intermediate_size)
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
        """Loads the base weights, named as in Transformers 4 or 5, with one task's adapter merged unless LoRA is on."""
        model, revision = self._source
        checkpoint = open_checkpoint(model, revision=revision, task=self._task() if not self._has_lora else None)
        # Weights that are quantised while they load are on the meta device until then.
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
            yield name, padded_mlp_tensor(name, tensor, self._vision_width)

    def embed_input_ids(self, input_ids: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """Token embeddings of a step. Keeps the mask of image tokens for the pooler, as only this call gets it."""
        self.pooler.image_rows = named.get("is_multimodal")
        embedded: torch.Tensor = super().embed_input_ids(input_ids, *arguments, **named)
        return embedded

    def embed_multimodal(self, **inputs: object) -> Any:
        """Features of the images of scheduled requests, computed with `fused_norms`."""
        compiled = self._vllm_config.compilation_config.compile_mm_encoder
        with fused_norms(self.visual.device, compiled=compiled):
            return super().embed_multimodal(**inputs)


# MLP widths are padded to a multiple of this many values: half a tile of a GPU's matrix product, and aligned to the 16
# bytes of its loads.
_WIDTH_MULTIPLE = 64
_MLP_TENSOR = re.compile(r"model\.visual\.blocks\.\d+\.mlp\.(gate_proj|up_proj|down_proj)\.(weight|bias)")


def padded_mlp_width(width: int) -> int:
    """The padded width of an MLP. v4's 3,420 is no multiple of 8, which makes every kernel slow; it becomes 3,456."""
    return -(-width // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE


def padded_mlp_tensor(name: str, tensor: torch.Tensor, width: int) -> torch.Tensor:
    """Pads a tensor of the vision tower's MLPs with zeros to the width; other tensors are returned as they are.

    The result of the MLP doesn't change: the added activations are silu(0) * 0, and the down projection multiplies them
    with zeros.
    """
    match = _MLP_TENSOR.fullmatch(name)
    if match is None or match.groups() == ("down_proj", "bias"):
        return tensor
    if match[1] == "down_proj":
        return pad(tensor, (0, width - tensor.shape[1]))
    return pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, width - tensor.shape[0]))
