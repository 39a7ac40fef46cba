"""The model in plain PyTorch: Qwen2.5-VL as far as embeddings need it, with no cache and no head.

Modules are named as in checkpoints, so that weights and adapters find their places by name.
"""

from .loading import load_model
from .network import Network

__all__ = ["Network", "load_model"]
