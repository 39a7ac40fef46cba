"""Warm-up of a pack runner, and its cache of image features."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("vllm")


def test_warming_up_runs_the_layers_and_the_vision_tower() -> None:
    from jina_embeddings.plugin.packed.worker import PackRunner

    ran: list[str] = []
    runner = SimpleNamespace(
        _vision=SimpleNamespace(warm_up=lambda large: ran.append(f"tower {large}")),
        _decoder=lambda *_: ran.append("layers"),
        _model=SimpleNamespace(embed_input_ids=lambda ids: torch.zeros(len(ids), 8)),
        _positions=torch.zeros((3, 64), dtype=torch.int64),
        device=torch.device("cpu"),
    )
    PackRunner.warm_up(runner)  # type: ignore[arg-type]
    assert ran == ["tower False", "layers"]


@pytest.mark.parametrize(("large", "sides"), [(False, [4]), (True, [4, 32])])
def test_warming_up_the_vision_tower_runs_small_images_and_caches_nothing(large: bool, sides: list[int]) -> None:
    from jina_embeddings.plugin.kernels.fp8 import MAX_SEPARATE_TOKENS
    from jina_embeddings.plugin.packed import images

    ran: list[tuple[torch.Size, list[tuple[int, int, int]]]] = []
    weight = torch.zeros(16, 3, 2, 14, 14)
    model = SimpleNamespace(
        visual=SimpleNamespace(spatial_merge_size=2, patch_embed=SimpleNamespace(proj=SimpleNamespace(weight=weight)))
    )

    def tower(patches: torch.Tensor, grids: list[tuple[int, int, int]]) -> None:
        ran.append((patches.shape, grids))

    vision = images.VisionCache(model, tower, torch.device("cpu"))  # type: ignore[arg-type]
    vision.warm_up(large=large)
    assert ran == [((side * side, 3 * 2 * 14 * 14), [(1, side, side)]) for side in sides]
    assert not large or ran[-1][0][0] > MAX_SEPARATE_TOKENS
    assert vision.cache.digests == []


def test_the_image_cache_evicts_the_least_recently_used() -> None:
    from jina_embeddings.plugin.packed.images import FeatureCache

    cache = FeatureCache(max_bytes=3 * 32)
    for digest in ("a", "b", "c", "a", "d"):
        cache.keep(digest, torch.zeros(2, 4))
    assert cache.digests == ["c", "a", "d"]
    assert cache.get("b") is None


def test_the_image_cache_holds_no_more_than_an_images_own_features() -> None:
    from jina_embeddings.plugin.packed.images import FeatureCache

    cache, batch = FeatureCache(), torch.zeros(100, 4)
    cache.keep("a", batch[:2])
    kept = cache.get("a")
    assert kept is not None
    assert kept.untyped_storage().nbytes() == 2 * 4 * 4
