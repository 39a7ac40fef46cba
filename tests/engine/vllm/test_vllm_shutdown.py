"""Shutting vLLM down, with a stand-in for it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from jina_embeddings.engine.loop_thread import LoopThread
from jina_embeddings.engine.vllm.launch import shut_down


def test_vllms_output_handler_is_cancelled_when_its_process_is_asked_to_end() -> None:
    """It would log the end of the process as an engine that died."""
    loop = LoopThread("test-close")

    async def handle() -> asyncio.Task[Any]:
        return asyncio.ensure_future(asyncio.sleep(600))

    handler = loop.run(handle())
    cancelled: list[bool] = []

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + 2
        while not handler.cancelled() and time.monotonic() < deadline:
            time.sleep(0.001)
        cancelled.append(handler.cancelled())

    try:
        shut_down(SimpleNamespace(output_handler=handler, shutdown=shutdown), loop)
    finally:
        loop.stop()
    assert cancelled == [True]
