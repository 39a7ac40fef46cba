"""`jina-embeddings browse` as a process, for tests of its page."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from served import free_port, is_listening

COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()"]
WAIT_S = 180


@contextmanager
def browsing(documents: Path, into: Path, model: Sequence[str]) -> Iterator[int]:
    """The port of a page over an index of a folder, until the block ends. model: options that choose the model."""
    subprocess.run([*COMMAND, "index", str(documents), "--into", str(into), *model], check=True)
    port = free_port()
    # NiceGUI behaves differently under pytest, which it knows by this variable.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
    command = [*COMMAND, "browse", str(into), *model, "--port", str(port), "--no-open"]
    with subprocess.Popen(command, env=environment) as server:
        try:
            deadline = time.monotonic() + WAIT_S
            while not is_listening(port):
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)
            yield port
        finally:
            server.terminate()
            server.wait(30)
