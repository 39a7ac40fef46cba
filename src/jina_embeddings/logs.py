"""Logging of the package and of vLLM, by environment variable or by `--debug`.

`JINA_EMBEDDINGS_LOG` is a level (`debug`, `info`, `warning`, `error`). With it, the package logs to stderr, and vLLM
gets the same level unless `VLLM_LOGGING_LEVEL` is set. Without it, the package logs like any library, to the handlers
that the application has set up, and vLLM logs errors only.
"""

from __future__ import annotations

import logging
import os
import re

from .errors import OptionError

VARIABLE = "JINA_EMBEDDINGS_LOG"
_LEVELS = ("debug", "info", "warning", "error")
_VLLM_VARIABLE = "VLLM_LOGGING_LEVEL"
# Control characters, separators of lines and paragraphs, and what turns the direction of writing.
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
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
        handler.setFormatter(OneLine(_FORMAT))
        logger.addHandler(handler)
        logger.propagate = False


def shown(text: object, keep: str = "") -> str:
    """A name or a text for a terminal or a log: one line, which can't move a cursor or change a direction of writing.

    keep: characters that are left as they are.
    """
    return _UNSHOWN.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], str(text))


class OneLine(logging.Formatter):
    """Formats messages by `shown`; a traceback has its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return shown(super().formatMessage(record))


def _pass_on(level: str) -> None:
    """Sets vLLM's level in the environment, unless the user has; a later call replaces what an earlier one set."""
    global _passed_on
    if os.environ.get(_VLLM_VARIABLE) in (None, _passed_on):
        os.environ[_VLLM_VARIABLE] = _passed_on = level


_passed_on: str | None = None
