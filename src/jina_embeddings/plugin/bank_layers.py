"""One layer of a weight bank: its adapter merged, quantised as vLLM has quantised the layer, and swapped in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..checkpoint.tensors import load_tensors

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint

# What vLLM's fused layers are made of, in order.
_PARTS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


@dataclass
class BankEntry:
    """Tensors of one layer that are not in use: the bank's, or the bare ones while the bank's are.

    weight, scale: stand in for the data of the layer's parameters of these names; scale only where quantised.
    linear: vLLM's own product on a CPU, which has the weight packed inside.
    """

    layer: Any
    weight: torch.Tensor
    scale: torch.Tensor | None = None
    linear: Any = None

    def swap(self) -> None:
        """Exchanges what is kept here with what the layer has."""
        layer = self.layer
        if self.linear is not None:
            layer.cpu_linear, self.linear = self.linear, layer.cpu_linear
            return
        layer.weight.data, self.weight = self.weight, layer.weight.data
        if self.scale is not None:
            layer.weight_scale.data, self.scale = self.scale, layer.weight_scale.data


def adapted_layers(model: Any) -> list[tuple[Any, Any]]:
    """(linear layer, its LoRA wrapper) of everything that vLLM has wrapped and the adapters change."""
    return [
        (module.base_layer, module)
        for name, module in model.named_modules()
        if ".layers." in name and "visual" not in name and isinstance(getattr(module, "lora_a_stacked", None), tuple)
    ]


def bank_bytes(layers: list[tuple[Any, Any]]) -> int:
    """Bytes of one task's copy of the layers' weights on this device."""
    return sum(
        layer.weight.dtype.itemsize * sum(b.shape[2] for b in lora.lora_b_stacked) * lora.lora_a_stacked[0].shape[3]
        for layer, lora in layers
    )


def needs_stored(layer: Any) -> bool:
    """Whether vLLM has quantised the layer's weights, or packed them for a CPU and let go of the original."""
    return bool(layer.weight.dtype.itemsize == 1 or layer.weight.numel() == 0)


def merged_entry(layer: Any, lora: Any, slot: int, checkpoint: Checkpoint | None) -> BankEntry:
    """The layer's weights with the adapter in that slot merged; summed in float32, then rounded.

    checkpoint: where the weights are read again if `needs_stored`; quantising twice would cost accuracy.
    """
    like = lora.lora_a_stacked[0]
    weight = layer.weight if checkpoint is None else _stored_weight(layer.prefix, checkpoint).to(like)
    merged = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
    first = 0
    for a, b in zip(lora.lora_a_stacked, lora.lora_b_stacked, strict=True):
        # a: (slots, 1, r, in); b: (slots, 1, out, r).
        rows = slice(first, first + b.shape[2])
        merged[rows] = torch.addmm(weight[rows].float(), b[slot, 0].float(), a[slot, 0].float())
        first = rows.stop
    if layer.weight.dtype.itemsize == 1:
        return _quantized(layer, merged)
    linear = getattr(layer, "cpu_linear", None)
    if linear is not None:
        linear = lambda x, _, bias: torch.nn.functional.linear(x, merged, bias)  # noqa: E731
    return BankEntry(layer, merged, linear=linear)


def _stored_weight(prefix: str, checkpoint: Checkpoint) -> torch.Tensor:
    """The weight (out, in) of the layer that vLLM calls by that name, as the checkpoint has it."""
    # language_model.model.layers.* to vLLM, model.language_model.layers.* in a checkpoint.
    parent, _, kind = prefix.rpartition(".")
    parent = parent.replace("language_model.model.", "model.language_model.", 1)
    names = [f"{parent}.{part}.weight" for part in _PARTS.get(kind, (kind,))]
    tensors = dict(load_tensors({name: checkpoint.weights.entries[name] for name in names}))
    return torch.cat([tensors[name] for name in names])


def _quantized(layer: Any, merged: torch.Tensor) -> BankEntry:
    from vllm import _custom_ops as ops

    values, scale = ops.scaled_fp8_quant(merged, scale=None)
    weight = layer.weight
    # Kernels want the weight transposed, some also padded: it gets the very layout of the one it stands in for.
    if weight.stride(0) == 1:
        values = values.t()
    laid_out = torch.empty_strided(weight.shape, weight.stride(), dtype=weight.dtype, device=weight.device)
    laid_out.view(torch.uint8).zero_()
    laid_out[: values.shape[0], : values.shape[1]].copy_(values)
    return BankEntry(layer, laid_out, scale=scale.reshape(layer.weight_scale.shape).to(layer.weight_scale.dtype))
