"""The engine's own settings on their way into vLLM's processes, in its `additional_config`.

    {"jina_embeddings": {"task": ..., "adapters": ..., "bulk_weights": ...}}

task: whose adapter is merged where LoRA is off; retrieval if nothing is said.
adapters: this package's engine sends an adapter with each request.
bulk_weights: how packs get theirs, see `banks.WeightBanks`.
"""

from __future__ import annotations

SETTINGS = "jina_embeddings"
