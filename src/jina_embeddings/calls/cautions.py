"""Warnings about results, each given once by a model: texts were cut, or the checkpoint is weak at images.

A warning names the caller's own line.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

from ..errors import CautionWarning, TextCutWarning
from ..types import ModelInfo
from .run import Result

_PACKAGE = __name__.partition(".")[0]


class Cautions:
    """The warnings of one model. `told` has to run in the caller's thread, whose stack has the line to name."""

    def __init__(self, info: ModelInfo, max_length: int):
        self._info, self._max_length = info, max_length
        self._warned: set[type[Warning]] = set()

    def told(
        self,
        result: Result,
        max_length: int | None,
        on_cut: Callable[[int], None] | None = None,
        first: int = 0,
    ) -> Result:
        """Returns the result, after the warnings that it gives cause for.

        max_length: of the call; if it isn't None, the caller wants texts cut, and isn't warned about that.
        on_cut: called with the index of each text that was cut, counted from `first`.
        """
        if on_cut is not None:
            for index in result.cut:
                on_cut(first + index)
        if result.cut and max_length is None:
            number = f"{len(result.cut):,} texts were" if len(result.cut) > 1 else "a text was"
            message = (
                f"{number} cut at {self._max_length:,} tokens, and what comes after is not in the vector: split long "
                "texts, or give max_length to say that it is meant (reported once)"
            )
            self._warn(message, TextCutWarning)
        if result.usage.num_image_tokens and "image" in self._info.cautions:
            self._warn(f"{self._info.name}: {self._info.cautions['image']}", CautionWarning)
        return result

    def _warn(self, message: str, kind: type[Warning]) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, kind, stacklevel=_frames_of_ours())


def _frames_of_ours() -> int:
    """Returns the `stacklevel` of the innermost frame outside this package, as seen from `_warn`."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level
