"""The adapter of a pack: all its prompts have one task, so no token needs a mapping of its own.

Three ways, the first that can be had: a weight bank with the adapter merged; in eager mode, two plain matrix
products a layer; in a compiled graph, which has vLLM's LoRA kernels in it, those kernels with one mapping for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from vllm.lora.request import LoRARequest

from .banks import Choice, WeightBanks


class PackLora:
    """Applies one task's adapter to a whole pack on the model of one worker.

    bulk_weights: see `WeightBanks`.
    """

    def __init__(self, model_runner: Any, bulk_weights: str):
        self._runner = model_runner
        self._eager = model_runner.device.type == "cpu"
        # In eager mode: the slot whose adapter every token gets, -1 for none; None leaves it to vLLM.
        self._slot: int | None = None
        self._banks = WeightBanks(model_runner, bulk_weights)
        self._wrappers: list[Any] = []
        if model_runner.lora_config is not None:
            wrappers = {
                id(module.punica_wrapper): module.punica_wrapper
                for module in model_runner.get_model().modules()
                if hasattr(module, "punica_wrapper") and hasattr(module, "lora_a_stacked")
            }
            self._wrappers = list(wrappers.values())
            if self._eager:
                for wrapper in self._wrappers:
                    self._take_over(wrapper)

    def choose(self, request: LoRARequest) -> Choice:
        """How packs with this adapter run; a bank is made now."""
        return self._banks.choose(request.lora_int_id, self._activate(request))

    @contextmanager
    def applied(self, request: LoRARequest | None, num_tokens: int) -> Iterator[bool]:
        """Within this context every token has the request's adapter; None where none is needed.

        True if the weights have it, so that nothing else is to be added to their products.
        """
        if request is None:
            yield True
            return
        slot = self._activate(request)
        if self._banks.choose(request.lora_int_id, slot).merged:
            with self._banks.applied(request.lora_int_id), self._mapped(-1, num_tokens):
                yield True
        else:
            with self._mapped(slot, num_tokens):
                yield False

    def _activate(self, request: LoRARequest) -> int:
        """The slot in which the request's adapter lies."""
        manager = self._runner.lora_manager
        manager.set_active_adapters({request}, None)
        return int(manager._adapter_manager.lora_index_to_id.index(request.lora_int_id))

    @contextmanager
    def _mapped(self, slot: int, num_tokens: int) -> Iterator[None]:
        """Every token has the adapter in that slot; -1 is none."""
        if self._eager:
            self._slot = slot
            try:
                yield
            finally:
                self._slot = None
            return
        for wrapper in self._wrappers:
            _map_all(wrapper.token_mapping_meta, slot, num_tokens)
        # vLLM leaves the mapping as it is while its own requests stay the same, so it must forget what it set.
        manager = self._runner.lora_manager._adapter_manager
        manager._last_mapping = manager._last_slot_layout = None
        yield

    def _take_over(self, wrapper: Any) -> None:
        original = wrapper.add_lora_linear

        def add_lora_linear(
            y: torch.Tensor,
            x: torch.Tensor,
            lora_a_stacked: tuple[torch.Tensor, ...],
            lora_b_stacked: tuple[torch.Tensor, ...],
            scale: float,
            output_slices: tuple[int, ...],
            **kwargs: Any,
        ) -> Any:
            if self._slot is None:
                return original(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, **kwargs)
            if self._slot < 0:
                return None
            first = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                # a: (slots, 1, r, in); b: (slots, 1, out, r).
                y[:, first : first + width].addmm_(x @ a[self._slot, 0].T, b[self._slot, 0].T, alpha=scale)
                first += width
            return None

        wrapper.add_lora_linear = add_lora_linear


def _map_all(meta: Any, slot: int, num_tokens: int) -> None:
    """What vLLM's `LoRAKernelMeta.prepare_tensors` leaves for one adapter on all tokens, without its device syncs."""
    meta.no_lora_flag_cpu.fill_(slot < 0)
    if slot < 0:
        return
    meta.token_lora_mapping[:num_tokens].fill_(slot)
    torch.arange(num_tokens, out=meta.token_indices_sorted_by_lora_ids[:num_tokens])
    for tensor, rest, first in (
        (meta.active_lora_ids, -1, slot),
        (meta.num_tokens_per_lora, 0, num_tokens),
        (meta.lora_token_start_loc[1:], 0, num_tokens),
    ):
        tensor.fill_(rest)
        tensor[:1].fill_(first)
    meta.lora_token_start_loc[:1].fill_(0)
    meta.num_active_loras_cpu.fill_(1)
