"""The RPCs that the vLLM engine sends before it is ready, with a fake vLLM."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine.loop_thread import LoopThread
from jina_embeddings.engine.vllm.launch import launch
from jina_embeddings.options import make_options

if TYPE_CHECKING:
    from conftest import CheckpointMaker


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, ["jina_warm_up", 4096]),
        ({"graph_tokens": 0}, ["jina_warm_up", 0]),
        ({"path": "packed", "graph_tokens": 512}, ["jina_warm_up", 512]),
        ({"enforce_eager": True, "graph_tokens": 512}, ["jina_warm_up", 0]),
        ({"path": "scheduled"}, []),
        ({"pipeline_parallel_size": 2}, []),
    ],
)
def test_packs_are_warmed_up_where_there_may_be_any(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], calls: list[Any]
) -> None:
    """`calls` has the tokens of the largest CUDA graph in place of the RPC that records graphs."""
    asked: list[Any] = []

    async def collective_rpc(method: str, args: tuple[Any, ...] = ()) -> list[Any]:
        asked.append(args[1] if method == "jina_record_graphs" else method)
        return [{"reasons": {}, "count": 0}]

    async def add_lora(adapter: object) -> None: ...

    llm = SimpleNamespace(collective_rpc=collective_rpc, add_lora=add_lora)
    monkeypatch.setattr("vllm.v1.engine.async_llm.AsyncLLM.from_engine_args", lambda arguments: llm)
    loop = LoopThread("test-launch")
    try:
        launch(loop, open_checkpoint(checkpoint()), make_options(options, "vllm"), 512)
    finally:
        loop.stop()
    assert asked == calls


@pytest.mark.long
def test_nothing_keeps_vllm_when_its_engine_is_dropped(checkpoint: CheckpointMaker) -> None:
    """Modules of vLLM keep the frames that import them for good, so this needs a process that hasn't imported it."""
    code = f"""
import builtins, gc, sys, weakref
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine.vllm.launch import launch
from jina_embeddings.engine.loop_thread import LoopThread
from jina_embeddings.options import make_options

class Llm:
    async def add_lora(self, adapter): ...

def replacing(name, *arguments, **keywords):
    module = real_import(name, *arguments, **keywords)
    if (made := getattr(sys.modules.get("vllm.v1.engine.async_llm"), "AsyncLLM", None)) is not None:
        made.from_engine_args = lambda arguments: Llm()
    return module

real_import, builtins.__import__ = builtins.__import__, replacing
loop = LoopThread("test")
options = make_options({{"path": "scheduled"}}, "vllm")
llm = weakref.ref(launch(loop, open_checkpoint({str(checkpoint())!r}), options, 512).llm)
loop.stop()
gc.collect()
print(llm())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None"]
