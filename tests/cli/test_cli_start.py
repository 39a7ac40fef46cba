"""The command line starts quickly, and says its version."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from typer.testing import CliRunner

import jina_embeddings
import jina_embeddings.engine.choice
from jina_embeddings.cli import app, main

MAX_HELP_S = 1.5
HEAVY = ("torch", "transformers", "vllm", "numpy", "pyarrow", "huggingface_hub")


@pytest.mark.long
def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))\n"
        "from jina_embeddings.cli import main\nmain()"
    )
    times = []
    for arguments in (["--help"], ["embed", "--help"], ["doctor", "--help"]):
        # Processor time, which depends little on how busy the machine is.
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
        assert "Usage" in done.stdout
        assert done.stderr.strip() == ""
    assert min(times) < MAX_HELP_S


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"jina-embeddings {jina_embeddings.__version__}\n")


def test_the_console_script_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="jina-embeddings")
    assert script.load() is main
