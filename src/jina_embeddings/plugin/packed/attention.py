"""Attention over a pack: many prompts end to end in one row of tokens, each causal within itself, no KV cache.

The row has what several prompts begin with once; keys and values are laid out with it in front of every prompt.
vLLM's layers stay as they are. Each attention layer's `impl` gets a subclass of its own class, whose `forward`
recognises our metadata in the forward context and otherwise is its parent's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..packs import starts_of
from .transfer import to_device

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PackMetadata:
    """Where the prompts of a pack lie, in the row of tokens that runs and among whole prompts end to end.

    cu_rows, cu_seqlens: int32 (num_prompts + 1,) on the device, their boundaries in the one and the other.
    max_rows, max_seqlen: tokens of the longest.
    source: integers on the device, for every token of whole prompts the one that runs for it; None if each runs itself.
    alike: on a CPU, the prompts of each length: int64 (prompts, length), which tokens run for theirs; None if they are
        to be found by the boundaries.
    """

    cu_rows: torch.Tensor
    cu_seqlens: torch.Tensor
    max_rows: int
    max_seqlen: int
    source: torch.Tensor | None
    alike: tuple[torch.Tensor, ...] | None

    @classmethod
    def of_prompts(cls, lengths: NDArray[np.int32], shared: NDArray[np.int32], device: torch.device) -> PackMetadata:
        """lengths: int32 (num_prompts,) of whole prompts; shared: of these, those that the prompt before has too."""
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
        """(tokens of whole prompts, ...) from what the tokens that ran have, (num_tokens, ...)."""
        return rows if self.source is None else rows.index_select(0, self.source)


def sources(lengths: NDArray[np.int32], shared: NDArray[np.int32]) -> NDArray[np.int64]:
    """For every token of whole prompts end to end the one that runs for it: its own, or one of a prompt before."""
    source = np.empty(int(lengths.sum()), dtype=np.int64)
    kept = kept_tokens(lengths, shared)
    source[kept] = np.arange(len(kept))
    starts = starts_of(lengths).tolist()
    for before, start, count in zip(starts, starts[1:], shared[1:].tolist(), strict=False):
        source[start : start + count] = source[before : before + count]
    return source


def kept_tokens(lengths: NDArray[np.int32], shared: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which tokens of whole prompts end to end run: those that don't belong to a shared beginning."""
    return np.flatnonzero(places_in_prompts(lengths) >= np.repeat(shared, lengths))


def places_in_prompts(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """For every token of whole prompts end to end which of its prompt it is."""
    return np.arange(int(lengths.sum())) - np.repeat(starts_of(lengths), lengths)


def _alike(bounds: NDArray[np.int32], source: NDArray[Any] | None) -> tuple[torch.Tensor, ...]:
    """`PackMetadata.alike` of prompts with those boundaries; empty ones have no rows.

    source: for every token of whole prompts the one that runs for it; None if each runs itself.
    """
    lengths, alike = np.diff(bounds), []
    for length in np.unique(lengths[lengths > 0]):
        places = bounds[:-1][lengths == length][:, None] + np.arange(length)
        alike.append(torch.from_numpy(places if source is None else source[places].astype(np.int64)))
    return tuple(alike)


def bounds_of(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """Where each of several rows begins that lie end to end, and where the last ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def install(layers: dict[str, Any]) -> list[str]:
    """Prepares the attention layers among vLLM's layers by name; returns their names. May run twice.

    Raises:
        RuntimeError: there are none: vLLM keeps them elsewhere now, and packed prefill can't work.
    """
    names = [name for name, layer in layers.items() if hasattr(layer, "impl") and hasattr(layer, "kv_cache")]
    if not names:
        raise RuntimeError("no attention layers in vLLM's forward context: packed prefill doesn't fit this vLLM")
    for name in names:
        impl = layers[name].impl
        if not hasattr(impl, "runs_packs"):
            impl.__class__ = _with_packs(type(impl))  # type: ignore[arg-type]
    return names


@cache
def _with_packs(parent: Any) -> Any:
    """A subclass of vLLM's implementation; one base only, or Python refuses to assign it to `__class__`."""

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
    """Attention of every prompt within itself, into `output`, which is returned.

    impl: vLLM's implementation of the layer's attention, which knows the scale and the version of FlashAttention.
    query, output: (tokens, heads, head size); key, value: (tokens, heads of keys, head size).
    """
    if query.is_cuda:
        return _on_cuda(impl, query, key, value, pack, output)
    return _on_cpu(impl.scale, query, key, value, pack, output)


def _on_cuda(
    impl: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackMetadata, output: torch.Tensor
) -> torch.Tensor:
    from vllm.v1.attention.backends.fa_utils import flash_attn_varlen_func

    # Where a prompt has fewer queries than keys, causal means that the last query sees the last key.
    flash_attn_varlen_func(
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
    """Prompts of equal length are one batched call; what several begin with comes out the same for each."""
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
