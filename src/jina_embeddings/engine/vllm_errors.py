"""What vLLM's start-up failures mean, in words that say what to change."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..errors import EngineError, JinaEmbeddingsError, OutOfMemoryError
from ..options import Options
from .memory import GIB

_MEMORY_SIGNS = (
    "out of memory",
    "free memory on device",
    "no available memory for the cache blocks",
    "larger than the available kv cache memory",
    "larger than the maximum number of tokens",
    "gpu memory utilization",
)


def explain_start(error: Exception, checkpoint: Checkpoint, options: Options) -> Exception:
    """An error of our tree for one that came while vLLM started; ours pass through."""
    if isinstance(error, JinaEmbeddingsError):
        return error
    text = str(error)
    if any(sign in text.lower() for sign in _MEMORY_SIGNS):
        return OutOfMemoryError(
            f"vLLM needs memory for {checkpoint.weights.num_bytes / GIB:.1f} GiB of weights and for prompts of "
            f"{options.max_model_len or checkpoint.config.max_length} tokens, and did not get it: "
            f"lower max_model_len or max_num_batched_tokens, change gpu_memory_utilization, or free the device ({text})"
        )
    return EngineError(f"vLLM did not start: {text} (JINA_EMBEDDINGS_LOG=debug shows its own log)")
