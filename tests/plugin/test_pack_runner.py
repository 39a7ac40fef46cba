"""Warm-up of a pack runner, and its cache of image features."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("vllm")


def test_warming_up_runs_the_layers_and_the_vision_tower() -> None:
    from jina_embeddings.plugin.packed.worker import PackRunner

    ran: list[str] = []
    runner = SimpleNamespace(
        _vision=SimpleNamespace(warm_up=lambda: ran.append("tower")),
        _decoder=lambda *_: ran.append("layers"),
        _model=SimpleNamespace(embed_input_ids=lambda ids: torch.zeros(len(ids), 8)),
        _positions=torch.zeros((3, 64), dtype=torch.int64),
        device=torch.device("cpu"),
    )
    PackRunner.warm_up(runner)  # type: ignore[arg-type]
    assert ran == ["tower", "layers"]


def test_warming_up_the_vision_tower_runs_one_small_image_and_caches_nothing() -> None:
    from jina_embeddings.plugin.packed import images

    ran: list[tuple[torch.Size, list[tuple[int, int, int]]]] = []
    weight = torch.zeros(16, 3, 2, 14, 14)
    cache: Any = images.VisionCache.__new__(images.VisionCache)
    cache._features, cache._num_bytes, cache.merge_size = OrderedDict(), 0, 2
    cache._model = SimpleNamespace(
        visual=SimpleNamespace(patch_embed=SimpleNamespace(proj=SimpleNamespace(weight=weight)))
    )
    cache._tower = lambda patches, grids: ran.append((patches.shape, grids))
    cache.warm_up()
    assert ran == [((16, 3 * 2 * 14 * 14), [(1, 4, 4)])]
    assert not cache._features


def test_the_image_cache_evicts_the_least_recently_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from jina_embeddings.plugin.packed import images

    monkeypatch.setattr(images, "_CACHE_BYTES", 3 * 32)
    cache: Any = images.VisionCache.__new__(images.VisionCache)
    cache._features, cache._num_bytes = OrderedDict(), 0
    for digest in ("a", "b", "c", "a", "d"):
        cache._keep(digest, torch.zeros(2, 4))
    assert list(cache._features) == ["c", "a", "d"]
    assert cache._num_bytes == 3 * 32
