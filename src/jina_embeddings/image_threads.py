"""The threads that images are decoded and resized in, the same for all calls of a process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

# Cores left to the engine where there are many: a thread that launches kernels and has to wait for a core keeps the
# device waiting.
_SPARED, _MANY = 2, 4


@cache
def image_threads() -> ThreadPoolExecutor:
    """As many as there are cores to use. Shared, so that calls under way together don't crowd each other out."""
    return ThreadPoolExecutor(num_threads(_num_cores()), "jina-embeddings-images")


def num_threads(num_cores: int) -> int:
    return num_cores - _SPARED if num_cores > _MANY else num_cores


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    # A forked process has the pool, and none of its threads.
    os.register_at_fork(after_in_child=image_threads.cache_clear)
