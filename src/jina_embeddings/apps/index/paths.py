"""How an index names files: by their paths in the folder that it stands in, so that both can be moved together."""

from __future__ import annotations

import os
import re


def root_of(address: str) -> str | None:
    """The folder that an index stands in, which paths of documents are relative to; None in an object store."""
    return None if "://" in address else os.path.dirname(os.path.abspath(address))


def path_in(path: str, root: str | None) -> str:
    """A path as an index names it: what it is in the folder `root`, with `/`; elsewhere, or without one, absolute."""
    path = os.path.abspath(path)
    if root is None or not path.startswith(root.rstrip(os.sep) + os.sep):
        return path
    return os.path.relpath(path, root).replace(os.sep, "/")


def renamed(path: str, before: str | None, root: str | None) -> str:
    """What an index in the folder `root` calls the file that one in `before` calls `path`.

    Documents that are no files keep their names.
    """
    if before == root or before is None or os.path.isabs(path) or not os.path.exists(os.path.join(before, path)):
        return path
    return path_in(os.path.join(before, path), root)


def without_place(source: str) -> str:
    """The path in what a result shows, such as `notes.md:12-20` or `paper.pdf#page=3`."""
    return re.sub(r"(:\d+(-\d+)?|#page=\d+)$", "", source)
