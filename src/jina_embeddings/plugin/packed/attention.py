"""Causal attention over a pack: many prompts concatenated along the token dimension, without a KV cache.

A prefix that neighbouring prompts share is computed once, so there are fewer queries than prompt tokens; its keys and
values are gathered in front of every prompt that begins with it. vLLM's layers stay as they are: the `impl` of each
attention layer gets a subclass of its class, whose `forward` handles a `PackMetadata` and passes everything else on to
its parent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..compat import MovedError, imported
from ..packs import starts_of
from .transfer import to_device

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PackMetadata:
    """The layout of a pack: its computed tokens, and its whole prompts with shared prefixes repeated.

    cu_rows, cu_seqlens: int32 (num_prompts + 1,) on the device: the cumulative lengths of the prompts without their
        shared prefixes (queries), and of whole prompts (keys and values).
    max_rows, max_seqlen: the largest of these lengths.
    source: (tokens of whole prompts,) integers on the device: the index of the computed token that each token of the
        whole prompts stands for; None if no prefix is shared.
    alike: on a CPU, one int64 (prompts, length) for each length that occurs: `source` of the prompts of that length;
        None if it has to be derived from cu_seqlens and source.
    """

    cu_rows: torch.Tensor
    cu_seqlens: torch.Tensor
    max_rows: int
    max_seqlen: int
    source: torch.Tensor | None
    alike: tuple[torch.Tensor, ...] | None

    @classmethod
    def of_prompts(cls, lengths: NDArray[np.int32], shared: NDArray[np.int32], device: torch.device) -> PackMetadata:
        """The layout of prompts with these lengths.

        lengths: int32 (num_prompts,), tokens of whole prompts.
        shared: int32 (num_prompts,), how many of its first tokens each prompt shares with the one before.
        """
        rows, bounds = lengths - shared, bounds_of(lengths)
        source = sources(lengths, shared)
        return cls(
            to_device(bounds_of(rows), device),
            to_device(bounds, device),
            int(rows.max()),
            int(lengths.max()),
            to_device(source, device) if shared.any() else None,
            _alike(bounds, source) if device.type == "cpu" else None,
        )

    def whole(self, rows: torch.Tensor) -> torch.Tensor:
        """Repeats shared prefixes: (computed tokens, ...) becomes (tokens of whole prompts, ...)."""
        return rows if self.source is None else rows.index_select(0, self.source)


def sources(lengths: NDArray[np.int32], shared: NDArray[np.int32]) -> NDArray[np.int64]:
    """`PackMetadata.source`: the computed token of each token of whole prompts, its own or an earlier prompt's."""
    source = np.empty(int(lengths.sum()), dtype=np.int64)
    kept = kept_tokens(lengths, shared)
    source[kept] = np.arange(len(kept))
    starts = starts_of(lengths).tolist()
    for before, start, count in zip(starts, starts[1:], shared[1:].tolist(), strict=False):
        source[start : start + count] = source[before : before + count]
    return source


def kept_tokens(lengths: NDArray[np.int32], shared: NDArray[np.int32]) -> NDArray[np.int64]:
    """The indices of the tokens that are computed, among those of whole prompts: all but those of shared prefixes."""
    return np.flatnonzero(positions_in_prompts(lengths) >= np.repeat(shared, lengths))


def positions_in_prompts(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """The position of each token within its prompt, (tokens of whole prompts,)."""
    return np.arange(int(lengths.sum())) - np.repeat(starts_of(lengths), lengths)


def _alike(bounds: NDArray[np.int32], source: NDArray[Any] | None) -> tuple[torch.Tensor, ...]:
    """`PackMetadata.alike` for the boundaries (cu_seqlens) and the source of a pack; empty prompts are left out."""
    lengths, alike = np.diff(bounds), []
    for length in np.unique(lengths[lengths > 0]):
        places = bounds[:-1][lengths == length][:, None] + np.arange(length)
        alike.append(torch.from_numpy(places if source is None else source[places].astype(np.int64)))
    return tuple(alike)


def bounds_of(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """cu_seqlens: 0, then the cumulative sums of the lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


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
    return _on_cpu(impl.scale, query, key, value, pack, output)


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
        fa_version=impl.vllm_flash_attn_version,
    )
    return output


def _on_cpu(
    scale: float, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackMetadata, output: torch.Tensor
) -> torch.Tensor:
    """Runs the prompts of each length as one batch. A shared prefix is computed for each prompt, to the same values."""
    alike = pack.alike
    if alike is None:
        alike = _alike(pack.cu_seqlens.numpy(), None if pack.source is None else pack.source.numpy())
    for places in alike:
        q, k, v = (tensor[places].transpose(1, 2) for tensor in (query, key, value))
        attended = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=True
        )
        output[places] = attended.transpose(1, 2)
    return output
