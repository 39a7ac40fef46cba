"""An index survives SIGKILL; `tools/kill_indexing.py` tests the same for longer, on a real model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "kill_indexing.py"


def test_an_index_that_was_killed_ends_like_one_made_in_one_go() -> None:
    options = ["--engine", "fake", "--kills", "4", "--files", "60", "--max-wait", "0.5", "--write-passages", "10"]
    done = subprocess.run([sys.executable, TOOL, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["num_kills"] == 4
    assert result["rounds"][-1]["passages"] > 60
