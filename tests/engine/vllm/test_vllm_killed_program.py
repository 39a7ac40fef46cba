"""After a program with vLLM engines is ended by a signal, no process and no shared memory of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine

PATIENCE_S = 60
PROGRAM = """
import sys, time
from forked import fork_engines
from jina_embeddings import JinaEmbeddings

if __name__ == "__main__":
    if sys.argv[3] == "forked":
        fork_engines()
    model = JinaEmbeddings(sys.argv[1], engine="vllm", data_parallel_size=int(sys.argv[2]), max_model_len=512)
    print(len(model.encode_text(["one", "two"])), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("sent", "num_engines", "started"), [(signal.SIGTERM, 1, "spawned"), (signal.SIGKILL, 2, "forked")]
)
def test_engines_end_with_their_program(
    checkpoint: CheckpointMaker, tmp_path: Path, sent: signal.Signals, num_engines: int, started: str
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command = [sys.executable, str(script), str(checkpoint(dtype="float32")), str(num_engines), started]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "2\n"
        children = psutil.Process(program.pid).children(recursive=True)
        assert sum("EngineCore" in " ".join(child.cmdline()) for child in children) >= num_engines
        shared = {Path(path) for process in [psutil.Process(program.pid), *children] for path in _shared(process)}
        assert shared
        program.send_signal(sent)
        left = psutil.wait_procs(children, timeout=PATIENCE_S)[1]
        for process in left:
            process.kill()
    assert left == []
    assert not [path for path in shared if path.exists()]


def _shared(process: psutil.Process) -> set[str]:
    """The shared memory that a process has mapped, by its path; other programs have theirs in the same folder."""
    return {region.path for region in process.memory_maps() if region.path.startswith("/dev/shm/")}
