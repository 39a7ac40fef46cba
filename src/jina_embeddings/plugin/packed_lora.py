"""The adapter of a pack: all its prompts have one task, so no token needs a mapping of its own.

vLLM's LoRA layers look up the adapter of every token. In eager mode two plain matrix products a layer do the same
for a whole pack; a compiled graph has vLLM's kernels in it, and there the mapping is set as vLLM sets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from vllm.lora.request import LoRARequest


class PackLora:
    """Applies one task's adapter to a whole pack on the model of one worker."""

    def __init__(self, model_runner: Any):
        self._runner = model_runner
        self._eager = model_runner.device.type == "cpu"
        self._slot: int | None = None
        if self._eager and model_runner.lora_config is not None:
            wrappers = {
                id(module.punica_wrapper): module.punica_wrapper
                for module in model_runner.get_model().modules()
                if hasattr(module, "punica_wrapper") and hasattr(module, "lora_a_stacked")
            }
            for wrapper in wrappers.values():
                self._take_over(wrapper)

    @contextmanager
    def applied(self, request: LoRARequest | None, num_prompts: int, num_tokens: int) -> Iterator[None]:
        """Within this context every token has the request's adapter; None where none is needed."""
        if request is None:
            yield
            return
        manager = self._runner.lora_manager
        if not self._eager:
            # vLLM compares this mapping with its own next one, so its own next step sets it anew.
            number = request.lora_int_id
            self._runner._set_active_loras((number,) * num_prompts, (number,) * num_tokens, {request})
            yield
            return
        manager.set_active_adapters({request}, None)
        self._slot = manager._adapter_manager.lora_index_to_id.index(request.lora_int_id)
        try:
            yield
        finally:
            self._slot = None

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
            first = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                # a: (slots, 1, r, in); b: (slots, 1, out, r).
                y[:, first : first + width].addmm_(x @ a[self._slot, 0].T, b[self._slot, 0].T, alpha=scale)
                first += width
            return None

        wrapper.add_lora_linear = add_lora_linear
