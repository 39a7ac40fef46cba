"""How much of a long test is run, and its result in `benchmarks/results/serving_long.json`."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

from results import RESULTS, circumstances

SHARE = float(os.environ.get("JINA_EMBEDDINGS_LONG_SHARE", "1"))


def share(whole: int) -> int:
    return max(1, round(whole * SHARE))


def keep(name: str, **found: Any) -> None:
    """The result of one test, beside those of the others."""
    file = RESULTS / "serving_long.json"
    with (RESULTS / ".serving_long.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(file.read_text()) if file.exists() else {}
        about = {key: value for key, value in circumstances().items() if key in ("commit", "date", "device")}
        known[name] = {**found, "share": SHARE, "load": round(os.getloadavg()[0], 1), **about}
        file.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    (RESULTS / ".serving_long.lock").unlink()
