"""Copies values of the checkpoint's config.json to the names under which vLLM looks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .compat import imported

if TYPE_CHECKING:
    from vllm.config import ModelConfig


VerifyAndUpdateConfig: Any = imported("model", "VerifyAndUpdateConfig")


class EmbeddingConfig(VerifyAndUpdateConfig):  # type: ignore[misc]
    """Sets `matryoshka_dimensions`, so that requests to a plain `vllm serve` may ask for one of them."""

    @classmethod
    def verify_and_update_model_config(cls, model_config: ModelConfig) -> None:
        config = model_config.hf_config
        if getattr(config, "matryoshka_dimensions", None) is None:
            config.matryoshka_dimensions = list(getattr(config, "matryoshka_dims", None) or [])
