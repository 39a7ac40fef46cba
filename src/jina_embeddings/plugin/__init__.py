"""What runs inside vLLM. vLLM calls `register` in every process, so it is light and may run twice."""

from __future__ import annotations

ARCHITECTURE = "JinaEmbeddingsV4Model"
_MODEL = "jina_embeddings.plugin.model:JinaEmbeddingsV4ForVllm"


def register() -> None:
    """Tells vLLM which classes run and describe the architecture that the checkpoint's config.json names."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from .config import EmbeddingConfig
    from .parent import watch_parent

    watch_parent()
    MODELS_CONFIG_MAP[ARCHITECTURE] = EmbeddingConfig
    if ARCHITECTURE not in ModelRegistry.models or not _is_ours(ModelRegistry.models[ARCHITECTURE]):
        ModelRegistry.register_model(ARCHITECTURE, _MODEL)


def _is_ours(registered: object) -> bool:
    return getattr(registered, "module_name", "") == _MODEL.partition(":")[0]


SETTINGS = "jina_embeddings"
"""Key of the engine's own settings in vLLM's `additional_config`: {"task": ..., "adapters": ..., "bulk_weights": ...}.

task: whose adapter is merged where LoRA is off; retrieval if nothing is said.
adapters: this package's engine sends an adapter with each request.
bulk_weights: how packs get theirs, see `packed.banks.WeightBanks`.
"""
