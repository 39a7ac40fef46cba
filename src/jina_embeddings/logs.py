"""Logging of the package and of vLLM, by environment variable or by `--debug`.

`JINA_EMBEDDINGS_LOG` is a level (`debug`, `info`, `warning`, `error`). With it, the package logs to stderr, and vLLM
gets the same level unless `VLLM_LOGGING_LEVEL` is set. Without it, the package logs like any library, to the handlers
that the application has set up, and vLLM logs errors only.
"""

from __future__ import annotations

import logging
import os

from .errors import OptionError

VARIABLE = "JINA_EMBEDDINGS_LOG"
_LEVELS = ("debug", "info", "warning", "error")
_VLLM_VARIABLE = "VLLM_LOGGING_LEVEL"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: str | None = None) -> None:
    """Applies a level, by default the environment's. Call it before vLLM is imported, which reads its level once.

    Raises:
        OptionError: there is no such level.
    """
    level = (level or os.environ.get(VARIABLE) or "").lower()
    if level and level not in _LEVELS:
        raise OptionError(f"{VARIABLE} is one of {', '.join(_LEVELS)}, not {level!r}")
    if not level:
        if _VLLM_VARIABLE not in os.environ:
            _pass_on("ERROR")
        return
    _pass_on(level.upper())
    logger = logging.getLogger("jina_embeddings")
    logger.setLevel(level.upper())
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
        logger.propagate = False


def _pass_on(level: str) -> None:
    """Sets vLLM's level in the environment, unless the user has; a later call replaces what an earlier one set."""
    global _passed_on
    if os.environ.get(_VLLM_VARIABLE) in (None, _passed_on):
        os.environ[_VLLM_VARIABLE] = _passed_on = level


_passed_on: str | None = None
