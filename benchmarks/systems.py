"""The systems that the throughput benchmark compares, with one interface.

A system is loaded by its constructor. `rows` are what it is measured on, the most telling first: (name of the row,
input set, how). `run` embeds inputs and returns one L2-normalised vector each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine.choice import load_engine
from jina_embeddings.options import make_options
from measured_worker import EXTENSION

PREFIX = "Passage: "
IMAGE_PROMPT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"

Row = tuple[str, str, str]


class System(Protocol):
    rows: tuple[Row, ...]

    def run(self, inputs: list[Any], how: str) -> np.ndarray: ...

    def peak_bytes(self) -> int: ...

    def notes(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Ours:
    """This package's vLLM engine. how: `packed` or `scheduled`; `+tasks` mixes all three in one call, `+tokens` asks
    for multi-vectors, `+device` resizes images on the device, `+files` is a bulk run from files into shards."""

    rows: tuple[Row, ...] = (
        ("packed", "short", "packed"),
        ("packed", "passages", "packed"),
        ("packed, three tasks", "short", "packed+tasks"),
        ("packed", "pages", "packed"),
        ("packed", "media", "packed"),
        ("packed", "many", "packed"),
        ("bulk run, from Parquet", "many", "packed+files"),
        ("packed, from PDF", "pdf", "packed"),
        ("bulk run, from PDF", "pdf", "packed+files"),
        ("packed, multi-vector", "pages", "packed+tokens"),
        ("packed, resized on the device", "pages", "packed+device"),
        ("scheduled", "short", "scheduled"),
        ("scheduled", "passages", "scheduled"),
        ("scheduled, three tasks", "short", "scheduled+tasks"),
        ("packed", "long", "packed"),
        ("packed", "mixed", "packed"),
        ("packed, multi-vector", "short", "packed+tokens"),
        ("scheduled", "pages", "scheduled"),
    )

    def __init__(self, folder: Path, gpu: bool, **options: Any):
        if gpu:
            options = {"gpu_memory_utilization": 0.3, "max_model_len": 4096, **options}
        arguments: Any = import_module("jina_embeddings.engine.vllm.arguments")
        arguments.WORKER_EXTENSION = EXTENSION
        self._engine: Any = load_engine("vllm", open_checkpoint(folder), make_options(options, "vllm"))
        self._engines: list[Any] = getattr(self._engine, "engines", [self._engine])
        self._in_use = self._engine
        self._models: dict[tuple[int, str], JinaEmbeddings] = {}
        self._load = partial(JinaEmbeddings, folder, **options)

    def run(self, inputs: list[Any], how: str) -> np.ndarray:
        path, _, extra = how.partition("+")
        for engine in self._engines:
            engine.path = path
        if extra == "tasks":
            return self._mixed_tasks(inputs)
        tokens = extra == "tokens"
        model = self._model("device" if extra == "device" else "host")
        vectors: Any = model.encode(inputs, task="retrieval", prompt_name="passage", return_multivector=tokens)
        return np.stack([rows[0] for rows in vectors]) if tokens else vectors

    def run_files(self, files: Path, into: Path, how: str) -> int:
        """A bulk run over files into a folder; returns the number of rows."""
        from bulk_files import run

        return run(self._model(), files, into)

    def _model(self, image_resize: str = "host") -> JinaEmbeddings:
        """The model on the engine in use; several share it."""
        key = id(self._in_use), image_resize
        if key not in self._models:
            self._models[key] = self._load(engine=self._in_use, image_resize=image_resize)
        return self._models[key]

    def _mixed_tasks(self, inputs: list[str]) -> np.ndarray:
        """Gives neighbours different tasks, by concurrent calls, one for each task."""
        shares = [inputs[start :: len(TASKS)] for start in range(len(TASKS))]
        model = self._model()

        def encode(task: str, share: list[str]) -> np.ndarray:
            return model.encode(share, task=task, prompt_name="passage")

        with ThreadPoolExecutor(len(TASKS)) as pool:
            parts = list(pool.map(encode, TASKS, shares))
        vectors = np.empty((len(inputs), parts[0].shape[1]), dtype=np.float32)
        for start, part in enumerate(parts):
            vectors[start :: len(TASKS)] = part
        return vectors

    def on_workers(self, method: str) -> list[Any]:
        """Returns what each worker answers to a method of `MeasuredWorker`."""
        return [answer for engine in self._engines for answer in engine.run_async(engine.on_workers(method))]

    def peak_bytes(self) -> int:
        return int(max(self.on_workers("peak_memory")))

    def notes(self) -> dict[str, Any]:
        return {"weights": self._engines[0].weights}

    def close(self) -> None:
        self._engine.close()


class OursFp8(Ours):
    """The same with fp8 weights and activations; on a GPU only."""

    rows = tuple((f"{label}, fp8", set_name, how) for label, set_name, how in Ours.rows[:10])

    def __init__(self, folder: Path, gpu: bool):
        if not gpu:
            raise RuntimeError("fp8 is measured on a GPU only")
        super().__init__(folder, gpu, quantization="fp8")


class OursCompiled(Ours):
    """The same with the blocks of the vision tower compiled by vLLM, which it leaves as they are by default."""

    rows = (("packed, vision tower compiled", "pages", "packed"),)

    def __init__(self, folder: Path, gpu: bool):
        if not gpu:
            raise RuntimeError("nothing is compiled on a CPU")
        vllm: Any = import_module("jina_embeddings.engine.vllm.launch")
        plain = vllm.engine_arguments

        def compiled(*given: Any) -> dict[str, Any]:
            return dict(plain(*given)) | {"compilation_config": {"compile_mm_encoder": True}}

        vllm.engine_arguments = compiled
        super().__init__(folder, gpu)


class OursOnSeveral(Ours):
    """An engine on each of several GPUs. On a CPU they share it, which shows only that they work.

    how: `1:` gives only the first engine work, so that one load gives the rates of one engine and of all.
    """

    def __init__(self, folder: Path, gpu: bool, count: int):
        self.rows = tuple(
            row
            for label, set_name, how in Ours.rows[:9]
            for row in (
                *([(f"{label}, 1 engine of {count}", set_name, f"1:{how}")] if "+device" not in how else []),
                (f"{label}, {count} engines", set_name, how),
            )
        )
        super().__init__(folder, gpu, data_parallel_size=count)

    def run(self, inputs: list[Any], how: str) -> np.ndarray:
        with self._in_turn(how):
            return super().run(inputs, how.removeprefix("1:"))

    def run_files(self, files: Path, into: Path, how: str) -> int:
        with self._in_turn(how):
            return super().run_files(files, into, how)

    @contextmanager
    def _in_turn(self, how: str) -> Iterator[None]:
        if how.startswith("1:"):
            self._in_use = self._engines[0]
        try:
            yield
        finally:
            self._in_use = self._engine


class OursSplit(Ours):
    """One engine whose layers are split over several GPUs."""

    def __init__(self, folder: Path, gpu: bool, count: int):
        self.rows = tuple((f"{label}, layers on {count} GPUs", set_name, how) for label, set_name, how in Ours.rows[:2])
        super().__init__(folder, gpu, tensor_parallel_size=count)


class Stock:
    """vLLM without this package, on a checkpoint with one task merged.

    how: `all` fetches every token's hidden state and averages in Python, `mean` pools in vLLM.
    sets: what is measured; without pages the engine starts without images, for whose largest it would reserve memory.
    lora: neighbours in a call have different adapters, all three in turn.
    """

    def __init__(self, folder: Path, gpu: bool, how: str, sets: tuple[str, ...], *, lora: bool = False):
        from jina_embeddings.torch_companions import repair

        repair()
        from vllm import LLM
        from vllm.config import PoolerConfig

        label = f"stock vLLM, {how}" + (", three tasks by LoRA" if lora else "")
        self.rows: tuple[Row, ...] = tuple((label, set_name, how) for set_name in sets)
        pooler = PoolerConfig(task="token_embed", tok_pooling_type="ALL", use_activation=False)
        if how != "all":
            pooler = PoolerConfig(task="embed", seq_pooling_type="MEAN", use_activation=True)
        options: dict[str, Any] = {"gpu_memory_utilization": 0.15} if gpu else {"enforce_eager": True}
        self._adapters = []
        if lora:
            self._adapters = adapter_requests(folder.parent / "multi-task")
            options |= {"enable_lora": True, "max_loras": 3, "max_lora_rank": 32}
        self._llm = LLM(
            model=str(folder),
            runner="pooling",
            pooler_config=pooler,
            dtype="bfloat16" if gpu else "float32",
            max_model_len=4096,
            limit_mm_per_prompt={"image": int("pages" in sets), "video": 0},
            enable_prefix_caching=False,
            kv_cache_memory_bytes=2 * 1024**3 if gpu else 256 * 1024**2,
            # Only asked for its memory, at the end.
            worker_extension_cls=EXTENSION,
            disable_log_stats=True,
            **options,
        )

    def run(self, inputs: list[Any], how: str) -> np.ndarray:
        prompts = [
            PREFIX + value if isinstance(value, str) else {"prompt": IMAGE_PROMPT, "multi_modal_data": {"image": value}}
            for value in inputs
        ]
        task = "token_embed" if how == "all" else "embed"
        adapters = [self._adapters[i % 3] for i in range(len(prompts))] if self._adapters else None
        outputs = self._llm.encode(prompts, pooling_task=task, use_tqdm=False, lora_request=adapters)
        if how != "all":
            return np.stack([output.outputs.data.float().numpy() for output in outputs])
        vectors = np.stack([output.outputs.data.float().mean(dim=0).numpy() for output in outputs])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def peak_bytes(self) -> int:
        return int(max(self._llm.collective_rpc("peak_memory")))

    def notes(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._llm = None


def adapter_requests(folder: Path) -> list[Any]:
    """vLLM's requests for the adapters of a checkpoint."""
    from vllm.lora.request import LoRARequest

    from jina_embeddings.checkpoint import open_checkpoint
    from jina_embeddings.checkpoint.adapters import split_adapter

    adapters = open_checkpoint(folder).adapters
    assert adapters is not None
    return [LoRARequest(task, i, str(split_adapter(adapters, task))) for i, task in enumerate(TASKS, start=1)]


def peak_reserved() -> int:
    """Bytes that torch had reserved on this process's GPU at most; 0 on a CPU."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0


class Transformers:
    """This package's Transformers engine, batches sorted by length. How: inputs of a batch."""

    rows: tuple[Row, ...] = (
        ("Transformers, batch 128", "short", "128"),
        ("Transformers, batch 128", "passages", "128"),
        ("Transformers, batch 32", "short", "32"),
        ("Transformers, batch 32", "passages", "32"),
        ("Transformers, batch 8", "pages", "8"),
    )

    def __init__(self, folder: Path, gpu: bool, dtype: str = "auto"):
        from jina_embeddings import JinaEmbeddings

        self._model = JinaEmbeddings(
            folder, engine="transformers", merge_adapter="retrieval", dtype=dtype, max_batch_tokens=131_072
        )

    def run(self, inputs: list[Any], how: str) -> np.ndarray:
        vectors: np.ndarray = self._model.encode(inputs, prompt_name="passage", batch_size=int(how))
        return vectors

    def peak_bytes(self) -> int:
        return peak_reserved()

    def notes(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._model.close()


class TransformersPlain:
    """What a user writes with Transformers alone. How: inputs of a batch."""

    rows: tuple[Row, ...] = (
        ("plain Transformers, batch 128", "short", "128"),
        ("plain Transformers, batch 128", "passages", "128"),
        ("plain Transformers, batch 32", "short", "32"),
        ("plain Transformers, batch 32", "passages", "32"),
        ("plain Transformers, batch 8", "pages", "8"),
    )

    def __init__(self, folder: Path, gpu: bool):
        from plain_transformers import PlainTransformers

        self._model = PlainTransformers(folder, gpu)

    def run(self, inputs: list[Any], how: str) -> np.ndarray:
        if isinstance(inputs[0], str):
            return self._model.texts([PREFIX + text for text in inputs], int(how))
        # More than eight pages at a time would only grow the patches, of which each has 2,944.
        return self._model.pages(inputs, IMAGE_PROMPT, min(8, int(how)))

    def peak_bytes(self) -> int:
        return peak_reserved()

    def notes(self) -> dict[str, Any]:
        return dict(self._model.notes)

    def close(self) -> None:
        del self._model


class Reference(Transformers):
    """The same in float32: what vectors are compared with, not timed."""

    rows = ()

    def __init__(self, folder: Path, gpu: bool):
        super().__init__(folder, gpu, dtype="float32")


def stock(how: str, *sets: str, lora: bool = False) -> Callable[[Path, bool], Stock]:
    return lambda folder, gpu: Stock(folder, gpu, how, sets, lora=lora)


# Name: how it is loaded, which of the two checkpoints it reads, gigabytes of each GPU, most seconds for its rows.
SYSTEMS: dict[str, tuple[Callable[[Path, bool], Any], str, float, float]] = {
    "ours": (Ours, "multi-task", 34, 130),
    "stock-all": (stock("all", "short", "passages"), "merged", 12, 40),
    "ours-fp8": (OursFp8, "multi-task", 21, 70),
    "ours-compiled": (OursCompiled, "multi-task", 34, 40),
    "transformers": (Transformers, "multi-task", 13, 60),
    "stock-mean": (stock("mean", "short", "passages"), "merged", 12, 40),
    "stock-lora": (stock("mean", "short", "passages", lora=True), "merged", 12, 40),
    "stock-all-lora": (stock("all", "short", lora=True), "merged", 12, 30),
    "stock-pages": (stock("all", "pages"), "merged", 12, 30),
    "transformers-plain": (TransformersPlain, "merged", 12, 60),
    "reference": (Reference, "multi-task", 17, 30),
    **{f"ours-on-{count}": (partial(OursOnSeveral, count=count), "multi-task", 33, 130) for count in (2, 4, 8)},
    **{f"ours-in-{count}": (partial(OursSplit, count=count), "multi-task", 22 / count, 40) for count in (2, 4)},
}


def num_devices(name: str) -> int:
    """The number of GPUs that a system uses."""
    _, _, count = name.rpartition("-")
    return int(count) if count.isdigit() else 1


# Systems with other vectors: they apply adapters to merged weights, or include the prompt in means.
OTHER_VECTORS = ("stock-lora", "stock-all-lora", "stock-pages")
