"""The model in plain PyTorch: the part of Qwen2.5-VL that embeddings need, without KV cache and language model head.

Modules are named as in checkpoints, so that weights and adapters are loaded by name.
"""

from .loading import load_model
from .network import Network

__all__ = ["Network", "load_model"]
