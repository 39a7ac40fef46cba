"""Paths of files in an index: relative to the folder that the index is in, so that both can be moved together."""

from __future__ import annotations

import os
import re


def root_of(address: str) -> str | None:
    """Returns the folder that an index is in, None for one in an object store."""
    return None if "://" in address else os.path.dirname(os.path.abspath(address))


def path_in(path: str, root: str | None) -> str:
    """Returns a path as an index has it: relative to `root`, with `/`, for a file below it, else absolute."""
    path = os.path.abspath(path)
    if root is None or not path.startswith(root.rstrip(os.sep) + os.sep):
        return path
    return os.path.relpath(path, root).replace(os.sep, "/")


def renamed(path: str, before: str | None, root: str | None) -> str:
    """Converts a path of an index in the folder `before` to the same file's path in an index in `root`.

    The name of a document that is not a file stays as it is.
    """
    if before == root or before is None or os.path.isabs(path) or not os.path.exists(os.path.join(before, path)):
        return path
    return path_in(os.path.join(before, path), root)


def without_place(source: str) -> str:
    """Removes lines or page from a source such as `notes.md:12-20` or `paper.pdf#page=3`."""
    return re.sub(r"(:\d+(-\d+)?|#page=\d+)$", "", source)
