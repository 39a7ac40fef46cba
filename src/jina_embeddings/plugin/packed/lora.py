"""Applies the adapter of a pack's task; all prompts of a pack have one task, so tokens need no mapping to adapters.

There are three ways: on a weight bank, the adapter is merged already. Otherwise, on a CPU, two matrix products a layer
replace vLLM's LoRA kernels; on a GPU, where those kernels are part of the compiled graph, they get a mapping that
assigns every token to the same adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from vllm.lora.request import LoRARequest

from ..compat import require
from .banks import Choice, WeightBanks


class PackLora:
    """Applies one task's adapter to a whole pack on the model of one worker.

    bulk_weights: see `WeightBanks`.
    """

    def __init__(self, model_runner: Any, bulk_weights: str):
        require("worker", model_runner)
        self._runner = model_runner
        self._eager = model_runner.device.type == "cpu"
        # On a CPU: the LoRA slot applied to every token, -1 for none. None: vLLM's own mapping is in force.
        self._slot: int | None = None
        self._banks = WeightBanks(model_runner, bulk_weights)
        self._wrappers: list[Any] = []
        if model_runner.lora_config is not None:
            require("adapters", model_runner.lora_manager)
            wrappers = {
                id(module.punica_wrapper): module.punica_wrapper
                for module in model_runner.get_model().modules()
                if hasattr(module, "punica_wrapper") and hasattr(module, "lora_a_stacked")
            }
            self._wrappers = list(wrappers.values())
            for wrapper in self._wrappers:
                require("LoRA on a CPU" if self._eager else "LoRA on a GPU", wrapper)
                if self._eager:
                    self._take_over(wrapper)

    def choose(self, request: LoRARequest) -> Choice:
        """Decides whether packs with this adapter run on a weight bank, and makes the bank if so."""
        return self._banks.choose(request.lora_int_id, self._activate(request))

    @contextmanager
    def applied(self, request: LoRARequest | None, num_tokens: int) -> Iterator[bool]:
        """Within this context the adapter applies to every token; None where the weights have it merged already.

        Yields whether the weights contain the adapter, so that no LoRA product has to be added.
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
        """Loads the adapter if it isn't loaded, and returns the index of its LoRA slot."""
        manager = self._runner.lora_manager
        manager.set_active_adapters({request}, None)
        return int(manager._adapter_manager.lora_index_to_id.index(request.lora_int_id))

    @contextmanager
    def _mapped(self, slot: int, num_tokens: int) -> Iterator[None]:
        """Within this context the adapter of a LoRA slot applies to every token; -1 for no adapter."""
        if self._eager:
            self._slot = slot
            try:
                yield
            finally:
                self._slot = None
            return
        for wrapper in self._wrappers:
            _map_all(wrapper.token_mapping_meta, slot, num_tokens)
        # vLLM sets its mapping again only if it differs from the last one it set, so that memory has to be cleared.
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
    """Does what vLLM's `LoRAKernelMeta.prepare_tensors` does for one adapter on all tokens, without device syncs."""
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
