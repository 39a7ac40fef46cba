"""The vision tower over the images of a pack: runs the blocks that vLLM has loaded, with fused and in-place kernels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ..compat import fits, set_forward_context
from ..kernels import fp8
from ..kernels.norms import fused_norms
from ..kernels.products import has_plain_weight
from ..kernels.rotary import rotate
from ..kernels.windows import window_attention
from .residual import Fp8Residual, PlainResidual, Residual
from .tower_graphs import TowerGraphs

# Layouts that are cached. Pages of one document have one size, so the same sizes come again in the next pack.
_MAX_LAYOUTS = 4


class Tower:
    """vLLM's vision tower with a cache of layouts: windows, rotary tables and cu_seqlens for given image sizes.

    Computing a layout takes the host milliseconds, and vLLM 0.26 then copies it from memory that isn't pinned, which
    waits until the device has finished the previous pack.
    """

    def __init__(self, model: Any, config: Any):
        self._model = model
        self._config = config
        visual = model.visual
        # Where vLLM shards the images over a group (data parallel), each rank computes the layout of its own images.
        split = getattr(model, "use_data_parallel", False)
        self._remembers = fits("vision tower", visual) and not split
        self._compiled = bool(config.compilation_config.compile_mm_encoder)
        # None: vLLM's own blocks run.
        self._residual_type = residual_type(visual) if self._remembers and not self._compiled else None
        # Set once graphs may be recorded.
        self.graphs: TowerGraphs | None = None
        self._layouts: OrderedDict[tuple[tuple[int, int, int], ...], Any] = OrderedDict()

    def __call__(self, patches: torch.Tensor, grids: Sequence[tuple[int, int, int]]) -> Sequence[torch.Tensor]:
        """(num_tokens, hidden) of each image.

        patches: (num_patches, patch_dim) of all images; grids: (frames, rows, columns) of each, in patches.
        """
        if not self._remembers:
            features: Sequence[torch.Tensor] = self._model.embed_multimodal(
                pixel_values=patches, image_grid_thw=torch.tensor(grids)
            )
            return features
        visual = self._model.visual
        layout = self._layout(tuple(grids))
        with fused_norms(visual.device, compiled=self._compiled):
            if self._residual_type is not None:
                run = partial(_blocks, visual, self._residual_type, layout)
                if self.graphs is not None and len(grids) == 1:
                    whole = self.graphs.features(run, patches, grids[0])
                else:
                    whole = run(patches)
            else:
                # Blocks that vLLM has compiled look up their graphs in the forward context.
                with set_forward_context(None, self._config):
                    whole = visual(patches, grid_thw=[list(grid) for grid in grids], encoder_metadata=layout)
        unit = visual.spatial_merge_size**2
        parts: Sequence[torch.Tensor] = whole.split(
            [frames * rows * columns // unit for frames, rows, columns in grids]
        )
        return parts

    def _layout(self, grids: tuple[tuple[int, int, int], ...]) -> Any:
        if grids not in self._layouts:
            self._layouts[grids] = self._model.visual.prepare_encoder_metadata([list(grid) for grid in grids])
            if len(self._layouts) > _MAX_LAYOUTS:
                self._layouts.popitem(last=False)
        self._layouts.move_to_end(grids)
        return self._layouts[grids]


def residual_type(visual: Any) -> type[Residual] | None:
    """The residual of vision blocks of our own; None where their weights or parts aren't as these need them."""
    if not all(fits("vision blocks", block) for block in visual.blocks):
        return None
    layers = [
        layer
        for block in visual.blocks
        for layer in (block.attn.qkv, block.attn.proj, block.mlp.gate_up_proj, block.mlp.down_proj)
    ]
    if all(has_plain_weight(layer) for layer in layers):
        return PlainResidual
    on_device = fp8.runs_on(visual.device, visual.dtype)
    return Fp8Residual if on_device and all(fp8.has_fp8_weight(layer) for layer in layers) else None


def _blocks(visual: Any, residual_type: type[Residual], layout: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
    """The same as `visual(patches, ...)`: (tokens, hidden size of the language model)."""
    embedded = visual.patch_embed(patches)
    count = len(embedded)
    windows = embedded.view(count // visual.spatial_merge_unit, visual.spatial_merge_unit, -1)[layout["window_index"]]
    residual = residual_type(windows.view(count, -1))
    table = torch.cat([layout["rotary_pos_emb_cos"], layout["rotary_pos_emb_sin"]], dim=-1).to(embedded.dtype)
    for number, block in enumerate(visual.blocks):
        attention = block.attn
        heads = residual.product(attention.qkv, residual.normed(block.norm1))
        heads = heads.view(count, 3 * attention.num_attention_heads_per_partition, -1)
        attended = _attended(attention, heads, table, layout, whole=number in visual.fullatt_block_indexes)
        residual.add(attention.proj, attended.reshape(count, -1))
        normed = residual.normed(block.norm2)
        residual.add(block.mlp.down_proj, residual.gated_product(block.mlp.gate_up_proj, block.mlp.act_fn, normed))
    merged: torch.Tensor = visual.merger(residual.total())
    return merged[layout["reverse_indices"]]


def _attended(
    attention: Any, heads: torch.Tensor, table: torch.Tensor, layout: dict[str, Any], *, whole: bool
) -> torch.Tensor:
    """Attention within each image (`whole`) or each window, (tokens, heads, head size).

    heads: (tokens, 3 * heads, head size): queries, keys and values before the rotation; may be overwritten.
    """
    bounds, longest = ("cu_seqlens", "max_seqlen_full") if whole else ("cu_window_seqlens", "max_seqlen_window")
    if not whole:
        scale = heads.shape[2] ** -0.5
        attended = window_attention(heads, table, layout[bounds], int(layout[longest]), scale)
        if attended is not None:
            return attended
    rotate(heads[:, : 2 * attention.num_attention_heads_per_partition], table)
    query, key, value = heads.chunk(3, dim=1)
    result: torch.Tensor = attention.attn(
        query=query[None],
        key=key[None],
        value=value[None],
        cu_seqlens=layout[bounds],
        max_seqlen=layout[longest],
        sequence_lengths=layout.get("sequence_lengths_full" if whole else "sequence_lengths_window"),
    )
    return result
