"""The options of `JinaEmbeddings`, one frozen record for every engine.

An option that has no effect on an engine is accepted and logged, so that development and production may differ in the
engine alone. An unknown option is an error.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any, Literal

from .errors import OptionError, suggest

logger = logging.getLogger(__name__)

ENGINES = ("auto", "vllm", "torch", "transformers", "fake")
DType = Literal["auto", "float32", "bfloat16", "float16"]
Path = Literal["auto", "packed", "scheduled"]
PATHS = ("auto", "packed", "scheduled")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Options:
    """
    pooling_type: `mean`, `max`, `first`, `last`, a registered name, or `package.module:function`.
    normalize: L2-normalise dense vectors.
    dtype: the dtype of weights and activations; `auto` is bfloat16 on CUDA, float32 elsewhere.
    max_model_len: the most tokens of a prompt; longer texts are truncated.
    min_pixels, max_pixels: bounds of an image's area after resizing; default: the checkpoint's.
    image_reading: `shown` reads an image as viewers show it: transparency on white, upright by its EXIF orientation;
        `stored` reads it as the published model's code does, which ignores both.
    image_paths, image_urls, image_private_addresses: whether an image may be given as a path or file URL, as an http(s)
        URL, and as a URL whose host is in a private network. Turn off what inputs of others must not access; pixels,
        bytes, data URLs and base64 are always accepted.
    merge_adapter: load one task with its adapter merged into the weights; other tasks are refused.

    torch and transformers:
    device: `cpu`, `cuda`, `cuda:1`, `mps`; default: CUDA or MPS if there is one, else the CPU.
    max_batch_tokens: the most tokens of one forward, padding included.

    vLLM:
    gpu_memory_utilization: the share of the device's memory that the engine takes.
    tensor_parallel_size, pipeline_parallel_size: the number of GPUs that one copy of the model is sharded over.
    data_parallel_size: the number of engines, each with a copy of the model on its own devices (times the two above).
    max_num_batched_tokens: the most tokens of a scheduling step, and of a pack.
    max_num_seqs: the most inputs of a scheduling step.
    enforce_eager: no torch.compile and no CUDA graphs: starts sooner, runs slower.
    cache_dtype: the dtype of the KV cache, such as `fp8`.
    quantization: how weights are quantised while they load, such as `fp8`.
    path: `scheduled` uses vLLM's scheduler (continuous batching), `packed` sends packs to the workers directly; `auto`
        packs where that is possible, and without CUDA graphs only if several inputs wait.
    graph_tokens: tokens of the largest pack that runs as a CUDA graph, 0 for none: small packs take a fraction of the
        time, for about 50 MB of device memory a graph. The log says how many there are, or why there are none.
    bulk_weights: packs run on a copy of the weights with their task's adapter `merged`, or on `lora`; `auto` merges
        on a GPU where memory allows. The log says what was chosen and why.
    image_resize: where packed images are resized, to the same pixels: the `host` sends less between processes, the
        `device` saves the host's CPU time.
    multivector_dtype: the dtype in which packed multi-vectors are sent from the worker; results are float32.
    trust_remote_code, swap_space: accepted without effect; a warning says why.
    """

    pooling_type: str = "mean"
    normalize: bool = True
    dtype: DType = "auto"
    max_model_len: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    image_reading: Literal["shown", "stored"] = "shown"
    image_paths: bool = True
    image_urls: bool = True
    image_private_addresses: bool = True
    merge_adapter: str | None = None
    trust_remote_code: bool = False
    device: str | None = None
    max_batch_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    enforce_eager: bool = False
    cache_dtype: str = "auto"
    quantization: str | None = None
    path: Path = "auto"
    graph_tokens: int = 0
    bulk_weights: Literal["auto", "merged", "lora"] = "auto"
    image_resize: Literal["host", "device"] = "host"
    multivector_dtype: Literal["float16", "float32"] = "float16"
    swap_space: float | None = None


ONLY_PADDED = frozenset({"device", "max_batch_tokens"})
ONLY_VLLM = frozenset(
    {
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "max_num_batched_tokens",
        "max_num_seqs",
        "enforce_eager",
        "cache_dtype",
        "quantization",
        "path",
        "graph_tokens",
        "bulk_weights",
        "image_resize",
        "multivector_dtype",
    }
)
_UNUSED = {
    "vllm": ONLY_PADDED,
    "torch": ONLY_VLLM,
    "transformers": ONLY_VLLM,
    "fake": ONLY_VLLM | ONLY_PADDED,
}
_OBSOLETE = {
    "trust_remote_code": "this package never runs code from a checkpoint; the option does nothing",
    "swap_space": "vLLM no longer swaps the KV cache to host memory; the option does nothing",
}


def make_options(given: dict[str, Any], engine: str) -> Options:
    """Checks names and values, and says in the log which of them the engine does not use.

    Raises:
        OptionError: an unknown name, or a value out of range.
    """
    names = [option.name for option in dataclasses.fields(Options)]
    for name in given:
        if name not in names:
            raise OptionError(f"unknown option {name!r}{suggest(name, names)}")
    options = Options(**given)
    _check(options)
    for name, reason in _OBSOLETE.items():
        if given.get(name):
            logger.warning("%s=%r: %s", name, given[name], reason)
    for name in sorted(_UNUSED[engine] & given.keys()):
        logger.info("%s has no effect on the %s engine", name, engine)
    return options


_COUNTS = (
    "max_model_len",
    "min_pixels",
    "max_pixels",
    "max_batch_tokens",
    "max_num_batched_tokens",
    "max_num_seqs",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
)
_SWITCHES = (
    "normalize",
    "trust_remote_code",
    "enforce_eager",
    "image_paths",
    "image_urls",
    "image_private_addresses",
)
_CHOICES = {
    "dtype": DTYPES,
    "path": PATHS,
    "bulk_weights": ("auto", "merged", "lora"),
    "image_resize": ("host", "device"),
    "image_reading": ("shown", "stored"),
    "multivector_dtype": ("float16", "float32"),
}


def _check(options: Options) -> None:
    for name, choices in _CHOICES.items():
        if (value := getattr(options, name)) not in choices:
            raise OptionError(f"unknown {name} {value!r}{suggest(value, choices)}")
    for name in _SWITCHES:
        if not isinstance(value := getattr(options, name), bool):
            raise OptionError(f"{name} is True or False, not {value!r}")
    for name in _COUNTS:
        value = getattr(options, name)
        optional = not name.endswith("_parallel_size")
        if (value is None and optional) or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            continue
        raise OptionError(f"{name} must be a whole number above 0, not {value!r}")
    tokens = options.graph_tokens
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise OptionError(f"graph_tokens must be a whole number, 0 for no graphs, not {tokens!r}")
    share = options.gpu_memory_utilization
    if share is not None and not (isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share <= 1):
        raise OptionError(f"gpu_memory_utilization is a share of the memory, above 0 and at most 1, not {share!r}")
    if options.path == "packed" and options.pipeline_parallel_size > 1:
        raise OptionError("path='packed' runs the whole model at once: it needs pipeline_parallel_size=1")
    if options.min_pixels and options.max_pixels and options.min_pixels > options.max_pixels:
        raise OptionError(f"min_pixels={options.min_pixels} is above max_pixels={options.max_pixels}")
