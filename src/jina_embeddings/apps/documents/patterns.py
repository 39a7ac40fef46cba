"""`Patterns`: selects files of a folder by patterns as in .gitignore."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ...errors import DependencyError, OptionError


class Patterns:
    """Selects the files that match one of `include`, if any are given, and none of `exclude`.

    Raises OptionError for an invalid pattern, DependencyError without pathspec.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()):
        self._include = _spec(include) if include else None
        self._exclude = _spec(exclude) if exclude else None

    def fit(self, path: str) -> bool:
        """Whether a file is selected. path: relative to the folder that was given."""
        name = path.replace(os.sep, "/")
        if self._exclude is not None and self._exclude.match_file(name):
            return False
        return self._include is None or bool(self._include.match_file(name))


def _spec(patterns: Sequence[str]) -> Any:
    try:
        from pathspec import GitIgnoreSpec
    except ImportError:
        raise DependencyError("patterns need pathspec: pip install 'jina-embeddings-vllm[apps]'") from None
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise OptionError(f"{', '.join(patterns)}: not patterns as in .gitignore: {error}") from None
