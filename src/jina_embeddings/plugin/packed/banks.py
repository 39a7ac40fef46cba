"""Weight banks: copies of the weights with one task's adapter merged, so that a pack runs without LoRA products.

A bank holds the adapted linear layers of one task; embeddings, norms and the vision tower are shared. While a pack
is launched, the layers' parameters point to the tensors of its task's bank. Afterwards they point to the base weights
again, which vLLM's scheduled steps use with LoRA kernels. W' = W + B A (Hu et al. 2021, section 4.1); A and B come from
vLLM's LoRA slots, where they are sharded for this rank of a tensor-parallel group and scaled already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch

from ...checkpoint import open_checkpoint
from ...checkpoint.tensors import load_tensors
from ..compat import imported

if TYPE_CHECKING:
    from ...checkpoint import Checkpoint


logger = logging.getLogger(__name__)

# Memory that banks leave free for the activations of packs, which grow with their tokens.
_RESERVED_BYTES = 3 * 1024**3


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a task's packs run on merged weights, and why."""

    merged: bool
    reason: str


class WeightBanks:
    """The banks of one worker; each is made before the first pack of its task.

    wanted: the option `bulk_weights`: `auto` merges on a GPU where memory allows, `merged` always, `lora` never.
    """

    def __init__(self, model_runner: Any, wanted: str):
        self._runner = model_runner
        self._wanted = wanted
        self._device: torch.device = model_runner.device
        self._banks: dict[int, list[BankEntry]] = {}
        self._choices: dict[int, Choice] = {}

    def choose(self, number: int, slot: int) -> Choice:
        """Decides once whether an adapter is merged, and makes its bank if so.

        number: vLLM's id of the adapter; slot: index of the LoRA slot that it is loaded in.
        """
        if number not in self._choices:
            # A parameter's data can't be a tensor that was made in inference mode.
            with torch.inference_mode(False), torch.no_grad():
                self._choices[number] = self._choose(number, slot)
        return self._choices[number]

    @contextmanager
    def applied(self, number: int) -> Iterator[None]:
        """Within this context the layers use the bank of that adapter, which has to exist."""
        bank = self._banks[number]
        for entry in bank:
            entry.swap()
        try:
            yield
        finally:
            for entry in bank:
                entry.swap()

    def _choose(self, number: int, slot: int) -> Choice:
        if self._wanted == "lora":
            return Choice(False, "bulk_weights='lora'")
        if self._wanted == "auto" and self._device.type != "cuda":
            return Choice(False, "on a CPU two small products a layer cost less than a copy of the weights")
        layers = adapted_layers(self._runner.get_model())
        stored = any(needs_stored(layer) for layer, _ in layers)
        if stored and self._runner.vllm_config.parallel_config.tensor_parallel_size > 1:
            return Choice(False, "quantised or packed weights are not merged in a tensor-parallel group")
        needed, free = bank_bytes(layers), self._free_bytes()
        if needed > free and self._wanted == "auto":
            return Choice(False, f"a copy takes {needed / 1e9:.1f} GB and {max(free, 0) / 1e9:.1f} are free")
        checkpoint = open_checkpoint(self._runner.vllm_config.model_config.model) if stored else None
        try:
            self._banks[number] = [merged_entry(layer, lora, slot, checkpoint) for layer, lora in layers]
        except torch.OutOfMemoryError:
            return Choice(False, f"a copy of {needed / 1e9:.1f} GB did not fit beside the rest")
        return Choice(True, f"a copy takes {needed / 1e9:.1f} GB of {free / 1e9:.1f} free")

    def _free_bytes(self) -> int:
        if self._device.type != "cuda":
            return int(psutil.virtual_memory().available) - _RESERVED_BYTES
        free, _ = torch.cuda.mem_get_info(self._device)
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return free + unused - _RESERVED_BYTES


# The checkpoint's projections that vLLM concatenates to one layer, in order.
_FUSED_PROJECTIONS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


@dataclass
class BankEntry:
    """The tensors of one layer that it doesn't use at the moment: the merged ones, or the base ones while swapped.

    weight, scale: exchanged with the data of `layer.weight` and `layer.weight_scale`; scale only where quantised.
    linear: exchanged with `layer.cpu_linear` instead: vLLM's product on a CPU, a closure over the packed weight.
    """

    layer: Any
    weight: torch.Tensor
    scale: torch.Tensor | None = None
    linear: Any = None

    def swap(self) -> None:
        """Exchanges these tensors with the layer's."""
        layer = self.layer
        if self.linear is not None:
            layer.cpu_linear, self.linear = self.linear, layer.cpu_linear
            return
        layer.weight.data, self.weight = self.weight, layer.weight.data
        if self.scale is not None:
            layer.weight_scale.data, self.scale = self.scale, layer.weight_scale.data


def adapted_layers(model: Any) -> list[tuple[Any, Any]]:
    """(linear layer, its LoRA wrapper) of each layer of the language model that vLLM has wrapped for LoRA."""
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
    """Whether the original weights are no longer in memory: vLLM has quantised them, or packed them for a CPU."""
    return bool(layer.weight.dtype.itemsize == 1 or layer.weight.numel() == 0)


def merged_entry(layer: Any, lora: Any, slot: int, checkpoint: Checkpoint | None) -> BankEntry:
    """The layer's weights with the adapter of a LoRA slot merged; the sum is computed in float32, then rounded.

    checkpoint: the weights are read from it again if given, which is needed where `needs_stored` is true: merging into
        dequantised weights and quantising again would cost accuracy.
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
    """The weight (out, in) from the checkpoint of the layer with that name in vLLM."""
    # vLLM calls language_model.model.layers.* what checkpoints call model.language_model.layers.*
    parent, _, kind = prefix.rpartition(".")
    parent = parent.replace("language_model.model.", "model.language_model.", 1)
    names = [f"{parent}.{part}.weight" for part in _FUSED_PROJECTIONS.get(kind, (kind,))]
    tensors = dict(load_tensors({name: checkpoint.weights.entries[name] for name in names}))
    return torch.cat([tensors[name] for name in names])


def _quantized(layer: Any, merged: torch.Tensor) -> BankEntry:
    values, scale = imported("kernels", "scaled_fp8_quant")(merged, scale=None)
    weight = layer.weight
    # Some kernels need the weight transposed, some padded too: use the strides and the shape of the one it replaces.
    if weight.stride(0) == 1:
        values = values.t()
    laid_out = torch.empty_strided(weight.shape, weight.stride(), dtype=weight.dtype, device=weight.device)
    laid_out.view(torch.uint8).zero_()
    laid_out[: values.shape[0], : values.shape[1]].copy_(values)
    return BankEntry(layer, laid_out, scale=scale.reshape(layer.weight_scale.shape).to(layer.weight_scale.dtype))
