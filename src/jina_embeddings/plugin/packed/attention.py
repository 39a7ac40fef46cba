"""Causal attention over a pack: many prompts concatenated along the token dimension, without a KV cache.

A prefix that neighbouring prompts share is computed once, so there are fewer queries than prompt tokens; its keys and
values are gathered in front of every prompt that begins with it. vLLM's layers stay as they are: the `impl` of each
attention layer gets a subclass of its class, whose `forward` handles a `PackMetadata` and passes everything else on to
its parent.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from ..compat import MovedError, imported
from .layout import PackMetadata, prompts_by_length


def install(layers: dict[str, Any]) -> list[str]:
    """Lets vLLM's attention layers accept `PackMetadata`; returns their names. Calling it again changes nothing.

    layers: vLLM's `static_forward_context`, layers by name.

    Raises:
        MovedError: the layers contain no attention layer, so packs can't run on this version of vLLM.
    """
    names = [name for name, layer in layers.items() if hasattr(layer, "impl") and hasattr(layer, "kv_cache")]
    if not names:
        raise MovedError("forward context", "attention layers in static_forward_context")
    for name in names:
        impl = layers[name].impl
        if not hasattr(impl, "runs_packs"):
            impl.__class__ = _with_packs(type(impl))  # type: ignore[arg-type]
    return names


@cache
def _with_packs(parent: Any) -> Any:
    """A subclass of vLLM's implementation, its only base: Python refuses to assign a class with two to `__class__`."""

    class WithPacks(parent):  # type: ignore[misc,valid-type]
        runs_packs = True

        def forward(
            self,
            layer: Any,
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            kv_cache: torch.Tensor,
            attn_metadata: Any,
            output: torch.Tensor,
            *args: Any,
            **kwargs: Any,
        ) -> torch.Tensor:
            if not isinstance(attn_metadata, PackMetadata):
                result: torch.Tensor = super().forward(
                    layer, query, key, value, kv_cache, attn_metadata, output, *args, **kwargs
                )
                return result
            return attend(self, query, key, value, attn_metadata, output)

    WithPacks.__name__ = f"{parent.__name__}WithPacks"
    return WithPacks


def attend(
    impl: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackMetadata, output: torch.Tensor
) -> torch.Tensor:
    """Causal attention within each prompt, written to `output`, which is returned.

    impl: vLLM's attention implementation of the layer; its scale and FlashAttention version are used.
    query, output: (computed tokens, heads, head size); key, value: (computed tokens, KV heads, head size).
    """
    if query.is_cuda:
        return _on_cuda(impl, query, key, value, pack, output)
    return attention_on_cpu(impl.scale, query, key, value, pack, output)


def _on_cuda(
    impl: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackMetadata, output: torch.Tensor
) -> torch.Tensor:
    # With fewer queries than keys, FlashAttention aligns the causal mask at the last query and the last key.
    imported("attention", "flash_attn_varlen_func")(
        q=query,
        k=pack.whole(key),
        v=pack.whole(value),
        out=output,
        cu_seqlens_q=pack.cu_rows,
        cu_seqlens_k=pack.cu_seqlens,
        max_seqlen_q=pack.max_rows,
        max_seqlen_k=pack.max_seqlen,
        softmax_scale=impl.scale,
        causal=True,
        # Otherwise FlashAttention chooses the number of splits at each launch, which a CUDA graph can't record.
        num_splits=1,
        fa_version=impl.vllm_flash_attn_version,
    )
    return output


def attention_on_cpu(
    scale: float, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackMetadata, output: torch.Tensor
) -> torch.Tensor:
    """Runs the prompts of each length as one batch. A shared prefix is computed for each prompt, to the same values."""
    alike = pack.alike
    if alike is None:
        alike = prompts_by_length(pack.cu_seqlens.numpy(), None if pack.source is None else pack.source.numpy())
    for places in alike:
        q, k, v = (tensor[places].transpose(1, 2) for tensor in (query, key, value))
        attended = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=True
        )
        output[places] = attended.transpose(1, 2)
    return output
