"""Our code inside vLLM's processes. vLLM calls `register` in each of them, possibly twice, so it imports little."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

from ..types import ARCHITECTURE

# Our entry points in vLLM's groups of plugins.
PLUGINS = {"vllm.general_plugins": "jina_embeddings", "vllm.platform_plugins": "jina_embeddings_companions"}
_MODEL = "jina_embeddings.plugin.model:JinaEmbeddingsV4ForVllm"


def register() -> None:
    """Registers the model class and the config class for the architecture that the checkpoint's config.json names.

    It also starts the thread that ends this process when its parent has ended.
    """
    from .compat import imported
    from .config import EmbeddingConfig
    from .parent import watch_parent

    watch_parent()
    imported("registration", "MODELS_CONFIG_MAP")[ARCHITECTURE] = EmbeddingConfig
    registry = imported("registration", "ModelRegistry")
    if ARCHITECTURE not in registry.models or not _is_ours(registry.models[ARCHITECTURE]):
        registry.register_model(ARCHITECTURE, _MODEL)


def _is_ours(registered: object) -> bool:
    return getattr(registered, "module_name", "") == _MODEL.partition(":")[0]


def why_not_loaded() -> str | None:
    """Why vLLM would start without our plugins, and what to do about it; None if it will load them."""
    if any(not entry_points(group=group, name=name) for group, name in PLUGINS.items()):
        return (
            "vLLM can't find this package's plugin: install the package (pip install jina-embeddings-vllm) instead "
            "of only putting it on PYTHONPATH"
        )
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and (left_out := set(PLUGINS.values()) - set(allowed.split(","))):
        return f"VLLM_PLUGINS={allowed!r} leaves our plugins out: add {','.join(sorted(left_out))}"
    return None


SETTINGS = "jina_embeddings"
"""Key of our settings in vLLM's `additional_config`: {"task": ..., "adapters": ..., "bulk_weights": ...}.

task: the task whose adapter is merged into the weights if LoRA is off; retrieval by default.
adapters: whether each request names its adapter, as the requests of this package's engine do.
bulk_weights: whether packs run on merged weights, see `packed.banks.WeightBanks`.
"""
