"""The options of `JinaEmbeddings`, one frozen record for every engine.

An option that has no effect on an engine is accepted and logged, so that development and production may differ in the
engine alone. An unknown option is an error.
"""

from __future__ import annotations

import dataclasses
import logging
import operator
from dataclasses import dataclass
from typing import Any, Literal

from .errors import OptionError, suggest

logger = logging.getLogger(__name__)

ENGINES = ("auto", "vllm", "torch", "transformers", "fake")
DType = Literal["auto", "float32", "bfloat16", "float16"]
Path = Literal["auto", "packed", "scheduled"]
PATHS = ("auto", "packed", "scheduled")
DTYPES = ("auto", "float32", "bfloat16", "float16")
VARIABLES: dict[str, tuple[str, str]] = {
    "JINA_EMBEDDINGS_LOG": (
        "every engine, the command line",
        "`debug`, `info`, `warning` or `error`: shows the package's log on stderr, and is passed on to vLLM. "
        "See [debug mode](troubleshooting.md#debug-mode)",
    ),
    "JINA_EMBEDDINGS_API_KEYS": (
        "`serve`",
        "keys that are let in, separated by commas, beside those of `api_key_file`",
    ),
    "JINA_EMBEDDINGS_MODEL, JINA_EMBEDDINGS_ENGINE": (
        "the command line",
        "the model and the engine where a command names none; see "
        "[defaults of your own](command_line.md#defaults-of-your-own)",
    ),
    "JINA_EMBEDDINGS_CONFIG": (
        "the command line",
        "the file with further defaults",
    ),
    "JINA_EMBEDDINGS_CACHE": (
        "the vLLM engine",
        "where each task's adapter is put as a folder of its own, under `adapters`; if not set, "
        "`~/.cache/jina-embeddings`",
    ),
    "XDG_CACHE_HOME": (
        "the vLLM engine",
        "used instead of `~/.cache`",
    ),
    "HF_HOME, HF_HUB_CACHE": (
        "huggingface_hub",
        "where hub models are kept",
    ),
    "HF_HUB_OFFLINE": (
        "huggingface_hub",
        "`1`: never use the network",
    ),
    "HF_TOKEN": (
        "huggingface_hub",
        "for private models",
    ),
    "VLLM_PLUGINS": (
        "vLLM",
        "the only plugins that vLLM loads. If it is set, it has to name `jina_embeddings` and "
        "`jina_embeddings_companions`",
    ),
    "VLLM_LOGGING_LEVEL": (
        "vLLM",
        "wins over `JINA_EMBEDDINGS_LOG`; `ERROR` if neither is set",
    ),
    "CUDA_VISIBLE_DEVICES": (
        "torch, vLLM",
        "GPUs that may be used; their memory is checked before vLLM starts",
    ),
    "PYTHONWARNINGS, TRANSFORMERS_VERBOSITY, HF_HUB_DISABLE_PROGRESS_BARS, LANCE_LOG, LANCEDB_LOG": (
        "the command line's libraries",
        "set by the command line to keep them quiet, unless they are set already",
    ),
}
"""Environment variables that are read or set: by what, and what they mean, in Markdown for the reference."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set; `docs/api_reference.md` has it as a table, made of this.

    pooling_type: `mean`, `max`, `first`, `last`, a registered name, or `package.module:function`.
    normalize: divide dense vectors by their L2 norm; multi-vectors always are.
    dtype: of weights and activations: `float32`, `bfloat16`, `float16`; `auto` is bfloat16 on CUDA, else float32.
    max_model_len: longest prompt in tokens; texts are cut there. If left out, `model.info.max_length`.
    min_pixels: least area of an image after resizing; if left out, the checkpoint's.
    max_pixels: largest area of an image after resizing; if left out, the checkpoint's.
    image_reading: `shown`: as viewers show an image, on white where it is transparent and turned by its EXIF
        orientation; `stored`: both left out, as the published model's own code does.
    image_paths: whether what names an image may be a path or file URL.
    image_urls: whether it may be an http(s) URL.
    image_private_addresses: whether the host of such a URL may be in a private network.
    merge_adapter: load one task, with its adapter merged into the weights; other tasks are refused.

    torch and transformers:
    device: `cpu`, `cuda`, `cuda:1`, `mps`; if left out, the best there is.
    max_batch_tokens: tokens of one forward, padding included; if left out, 32,768 on CUDA, else 8,192.
    cpu_threads: threads of a forward on a CPU: `all` that torch has (`OMP_NUM_THREADS`), or `free`, fewer of them while
        other processes use the cores. `free` changes torch's number in all of the process; the command line takes it.

    vLLM:
    gpu_memory_utilization: share of the device's memory that vLLM takes, above 0 and at most 1; if left out, vLLM's
        default.
    tensor_parallel_size: GPUs that share each layer.
    pipeline_parallel_size: GPUs that hold a run of layers each.
    data_parallel_size: engines, each with a copy of the model on devices of its own. Bulk work goes to whichever has
        the least to do; if one dies, the others do its work.
    max_num_batched_tokens: tokens of one scheduling step, and of one pack.
    max_num_seqs: inputs of one scheduling step.
    enforce_eager: no torch.compile and no CUDA graphs: starts sooner, runs slower. Always so on a CPU.
    cache_dtype: of the KV cache, such as `fp8`.
    quantization: of the weights while they load, such as `fp8`.
    path: `scheduled`: vLLM's continuous batching. `packed`: around its scheduler, for bulk work. `auto`: packed; where
        small packs have no CUDA graphs, only when 16 inputs wait together, on a CPU always.
    bulk_weights: packs run on a copy of the weights with the adapter of their task `merged`, or on `lora`. `auto`
        merges on a GPU where memory allows; the log says what was chosen and why.
    image_resize: where packed images are resized, to the same bytes: by Pillow on the `host`, or on the `device`, which
        spares the host's processor and sends more between processes. Images of more than four times the area that they
        are resized to stay with the host. `auto`: on a GPU for calls of one image, which are answered sooner then.
    graph_tokens: tokens of the largest pack that runs as a CUDA graph, 0 for none; the log says how many graphs there
        are, or why there are none.
    multivector_dtype: how packed multi-vectors travel from the worker, `float16` or `float32`; they are returned as
        float32.

    Accepted without effect:
    trust_remote_code: accepted with a warning: code from a checkpoint is never run.
    swap_space: accepted with a warning: vLLM no longer swaps the KV cache to host memory.
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
    cpu_threads: Literal["all", "free"] = "all"
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
    graph_tokens: int = 4096
    bulk_weights: Literal["auto", "merged", "lora"] = "auto"
    image_resize: Literal["auto", "host", "device"] = "auto"
    multivector_dtype: Literal["float16", "float32"] = "float16"
    swap_space: float | None = None


ONLY_PADDED = frozenset({"device", "max_batch_tokens", "cpu_threads"})
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
    "auto": frozenset[str](),
}
OBSOLETE = {
    "trust_remote_code": "this package never runs code from a checkpoint; the option does nothing",
    "swap_space": "vLLM no longer swaps the KV cache to host memory; the option does nothing",
}


class Unasked(str):
    """The value of an option that no user has given, so that nobody is told where it has no effect."""


def make_options(given: dict[str, Any], engine: str) -> Options:
    """Checks names and values, and says in the log which of them the engine does not use.

    Raises:
        OptionError: an unknown name, or a value out of range.
    """
    names = [option.name for option in dataclasses.fields(Options)]
    for name in given:
        if name not in names:
            raise OptionError(f"unknown option {name!r}{suggest(name, names)}")
    # Plain integers: options travel to other processes, as JSON too.
    counts = {name: whole_number(given[name]) for name in (*_COUNTS, "graph_tokens") if name in given}
    options = Options(**{**given, **{name: count for name, count in counts.items() if count is not None}})
    _check(options)
    for name, reason in OBSOLETE.items():
        if given.get(name):
            logger.warning("%s=%r: %s", name, given[name], reason)
    for name in sorted(_UNUSED[engine] & given.keys()):
        if not isinstance(given[name], Unasked):
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
    "cpu_threads": ("all", "free"),
    "path": PATHS,
    "bulk_weights": ("auto", "merged", "lora"),
    "image_resize": ("auto", "host", "device"),
    "image_reading": ("shown", "stored"),
    "multivector_dtype": ("float16", "float32"),
}


def whole_number(value: object) -> int | None:
    """A whole number of any type, numpy's too, as an int; None for everything else, True and False among it."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


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
        if (value is None and optional) or (whole_number(value) or 0) > 0:
            continue
        raise OptionError(f"{name} must be a whole number above 0, not {value!r}")
    tokens = whole_number(options.graph_tokens)
    if tokens is None or tokens < 0:
        raise OptionError(f"graph_tokens must be a whole number, 0 for no graphs, not {options.graph_tokens!r}")
    share = options.gpu_memory_utilization
    if share is not None and not (isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share <= 1):
        raise OptionError(f"gpu_memory_utilization is a share of the memory, above 0 and at most 1, not {share!r}")
    if options.path == "packed" and options.pipeline_parallel_size > 1:
        raise OptionError("path='packed' runs the whole model at once: it needs pipeline_parallel_size=1")
    if options.min_pixels and options.max_pixels and options.min_pixels > options.max_pixels:
        raise OptionError(f"min_pixels={options.min_pixels} is above max_pixels={options.max_pixels}")
