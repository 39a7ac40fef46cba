"""Forks the processes of vLLM's engines on a CPU, as vLLM does on GPUs, where its CPU build spawns them.

A spawned process imports torch and vLLM again, which takes most of the time that a small engine needs to load. Engines
that tests start through a command or another program are spawned as ever.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any


@cache
def fork_engines() -> None:
    """Makes this process fork the engines that it starts from now on; without vLLM's CPU build, does nothing."""
    try:
        from vllm.platforms.cpu import CpuPlatform
    except ImportError:
        return
    configure = CpuPlatform.check_and_update_config

    def configure_and_fork(vllm_config: Any) -> None:
        configure(vllm_config)
        _mend_llvmlite()
        # `configure` has set it to spawn, since OpenMP binds its threads to cores as it is loaded; here it binds none.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = staticmethod(configure_and_fork)


def _mend_llvmlite() -> None:
    """vLLM's workers on a CPU look into all objects of all modules, and numba's answers any name with a function."""
    if (module := sys.modules.get("llvmlite.binding.ffi")) is not None:
        module.lib._fntab["__dict__"] = {}
