"""The vision tower over the images of a pack: runs the blocks that vLLM has loaded, with fused and in-place kernels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from ..compat import fits, set_forward_context
from ..kernels.norms import fused_norms
from ..kernels.products import gated_product, has_plain_weight, product
from ..kernels.rotary import rotate

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
        self._plain = (
            self._remembers
            and not self._compiled
            and all(fits("vision blocks", block) for block in visual.blocks)
            and all(
                has_plain_weight(layer)
                for block in visual.blocks
                for layer in (block.attn.qkv, block.attn.proj, block.mlp.gate_up_proj, block.mlp.down_proj)
            )
        )
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
        # Blocks that vLLM has compiled look up their graphs in the forward context.
        with set_forward_context(None, self._config), fused_norms(visual.device, compiled=self._compiled):
            if self._plain:
                whole = _blocks(visual, patches, layout)
            else:
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


def _blocks(visual: Any, patches: torch.Tensor, layout: dict[str, Any]) -> torch.Tensor:
    """The same as `visual(patches, ...)`: (tokens, hidden size of the language model)."""
    embedded = visual.patch_embed(patches)
    count = len(embedded)
    windows = embedded.view(count // visual.spatial_merge_unit, visual.spatial_merge_unit, -1)[layout["window_index"]]
    residual = windows.view(count, -1)
    table = torch.cat([layout["rotary_pos_emb_cos"], layout["rotary_pos_emb_sin"]], dim=-1).to(residual.dtype)
    update = None
    for number, block in enumerate(visual.blocks):
        whole = number in visual.fullatt_block_indexes
        if update is None:
            normed = block.norm1(residual)
        else:
            normed, residual = block.norm1(update, residual)
        attention = block.attn
        heads = product(attention.qkv, normed).view(count, 3 * attention.num_attention_heads_per_partition, -1)
        rotate(heads[:, : 2 * attention.num_attention_heads_per_partition], table)
        query, key, value = heads.chunk(3, dim=1)
        attended = attention.attn(
            query=query[None],
            key=key[None],
            value=value[None],
            cu_seqlens=layout["cu_seqlens" if whole else "cu_window_seqlens"],
            max_seqlen=layout["max_seqlen_full" if whole else "max_seqlen_window"],
            sequence_lengths=layout.get("sequence_lengths_full" if whole else "sequence_lengths_window"),
        )
        normed, residual = block.norm2(product(attention.proj, attended.reshape(count, -1)), residual)
        update = product(block.mlp.down_proj, gated_product(block.mlp.gate_up_proj, block.mlp.act_fn, normed))
    merged: torch.Tensor = visual.merger(residual + update)
    return merged[layout["reverse_indices"]]
