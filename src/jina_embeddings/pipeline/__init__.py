"""Bulk work: rows are read, embedded and written as a stream, with a bounded number of them in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .manifest import Share
    from .provenance import Form
    from .ray import Cluster
    from .reading import read_run
    from .records import Fields
    from .run import Run, Status, Summary, status

__all__ = ["Cluster", "Fields", "Form", "Run", "Share", "Status", "Summary", "read_run", "status"]

_HOMES = {"Cluster": "ray", "Fields": "records", "Form": "provenance", "Share": "manifest", "read_run": "reading"}


def __getattr__(name: str) -> Any:
    """Loaded when first asked for: pyarrow is not needed by all who use this folder."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES.get(name, 'run')}", __name__), name)
