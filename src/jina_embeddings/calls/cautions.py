"""What the caller of a model is warned of: once each, at the caller's own line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

from ..errors import CautionWarning, TextCutWarning
from ..types import ModelInfo
from .run import Result

_PACKAGE = __name__.partition(".")[0]


class Cautions:
    """Warns of results, in the thread that asked for them: no other knows whose line it is."""

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
        """The result, after warning of texts that were cut though nobody asked for a length, and of pictures that the
        checkpoint is weak at.

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
    """The `stacklevel` at which `_warn` meets a frame that isn't this package's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level
