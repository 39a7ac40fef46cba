"""A vLLM engine that is killed, or stops, under load: everybody is answered, and the server ends for its restart."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dying import ended_under_load
from served import free_port, wait_until_ready

if TYPE_CHECKING:
    from conftest import CheckpointMaker

pytestmark = [pytest.mark.engine, pytest.mark.slow]

NUM_CLIENTS = 8
# As on a GPU: on a CPU one batch may take minutes, so that a hang is seen after minutes only.
HANG_S = 10.0
COMMAND = f"""
from jina_embeddings.cli import main
from jina_embeddings.engine.vllm.engine import VllmEngine
VllmEngine.hang_s = property(lambda self: {HANG_S}, lambda self, value: None)
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(("sent", "within_s"), [(signal.SIGKILL, 2.0), (signal.SIGSTOP, 15.0)])
def test_an_engine_that_ends_under_load_leaves_nobody_waiting(
    checkpoint: CheckpointMaker,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    sent: signal.Signals,
    within_s: float,
) -> None:
    script = tmp_path / "serve.py"
    script.write_text(COMMAND)
    address = f"http://127.0.0.1:{(port := free_port())}"
    options = [
        "serve",
        "--model",
        str(checkpoint(dtype="float32")),
        "--engine",
        "vllm",
        "--option",
        "max_model_len=512",
    ]
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, str(script), *options, "--port", str(port), "--no-log-requests"]
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    try:
        wait_until_ready(address, process, tmp_path / "log", within_s=480)
        (engine,) = engines = [one for one in psutil.Process(process.pid).children(recursive=True) if is_engine(one)]
        ended = ended_under_load(address, process, lambda: engine.send_signal(sent), NUM_CLIENTS)
        record_property("seconds_until_not_ready", round(ended.seconds, 2))
        record_property("statuses", dict(ended.statuses))
        assert ended.seconds < within_s
        assert process.returncode == 2, (tmp_path / "log").read_text()[-2000:]
        assert set(ended.statuses) == {200, 503}
        # Every client had a request waiting when the engine died.
        assert ended.statuses[503] >= NUM_CLIENTS
        assert ended.lost == 0
        assert psutil.wait_procs(engines, timeout=30)[1] == []
    finally:
        process.kill()
        process.wait()


def is_engine(process: psutil.Process) -> bool:
    return "EngineCore" in " ".join(process.cmdline())
