"""A file that appears under its name whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


class Draft:
    """An open file under a hidden name beside `target`, which `commit` gives it."""

    def __init__(self, target: Path):
        self._target = target
        self._path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        self.file = self._path.open("xb")

    def commit(self) -> None:
        """Replaces any file of that name; after this, `discard` does nothing."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self._path, self._target)

    def discard(self) -> None:
        try:
            self.file.close()
        finally:
            self._path.unlink(missing_ok=True)
