"""Chooses an engine by name or by what is installed, and starts it."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..checkpoint import Checkpoint
from ..errors import DependencyError, EngineUnavailableError, OptionError, suggest
from ..options import ENGINES, Options
from ..torch_companions import repair
from .base import Engine

logger = logging.getLogger(__name__)


def choose_engine(name: str) -> str:
    """The name itself; for `auto`, `vllm` if there are vLLM and a CUDA GPU, else `torch`.

    Raises:
        OptionError: there is no engine of that name.
    """
    if name not in ENGINES:
        raise OptionError(f"unknown engine {name!r}{suggest(name, ENGINES)}")
    if name != "auto":
        return name
    chosen = "vllm" if _installed("vllm") and _has_cuda() else "torch"
    logger.info("engine='auto' chose %s", chosen)
    return chosen


def most_resized_later(name: str, options: Options) -> int:
    """The most images of a call whose resizing is left to the device of this engine."""
    if name != "vllm" or options.image_resize == "host":
        return 0
    if options.image_resize == "device":
        return sys.maxsize
    return 1 if _has_cuda() else 0


def load_engine(name: str, checkpoint: Checkpoint, options: Options) -> Engine:
    """Starts an engine on a checkpoint.

    Raises:
        EngineUnavailableError: vLLM is not installed, or the device isn't there.
        DependencyError: another package that the engine needs is not installed.
    """
    try:
        with _no_collection():
            return _load(name, checkpoint, options)
    except ModuleNotFoundError as error:
        missing = f"{error.name}: pip install {error.name}" if error.name else str(error)
        raise DependencyError(f"the {name} engine needs {missing}") from error


def _load(name: str, checkpoint: Checkpoint, options: Options) -> Engine:
    if name == "fake":
        from .fake import FakeEngine

        return FakeEngine(options.max_model_len)
    if name == "torch":
        from .torch import TorchEngine

        return TorchEngine(checkpoint, options)
    repair()
    if name == "vllm":
        if not _installed("vllm"):
            raise EngineUnavailableError(
                "the vLLM engine needs vLLM: pip install 'jina-embeddings-vllm[vllm]' (GPU) or "
                "'jina-embeddings-vllm[cpu]', or choose engine='torch'"
            )
        return _load_vllm(checkpoint, options)
    from .transformers import TransformersEngine

    return TransformersEngine(checkpoint, options)


def _load_vllm(checkpoint: Checkpoint, options: Options) -> Engine:
    from .vllm.engine import VllmEngine

    if options.data_parallel_size == 1:
        return VllmEngine(checkpoint, options)
    from .vllm.arguments import devices_of_replicas
    from .vllm.replicas import Replicas, start_on_devices

    engines: Any = start_on_devices(lambda: VllmEngine(checkpoint, options), devices_of_replicas(options))
    return Replicas(engines, engines[0].pack_tokens)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pauses the garbage collector while an engine imports thousands of modules, which makes imports a sixth faster."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_cuda() -> bool:
    if not _installed("torch"):
        return False
    import torch

    # As vLLM does itself: otherwise torch asks CUDA, after which the process of vLLM's engine can't be forked.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    return bool(torch.cuda.is_available())
