"""What goes wrong where a run is stored is an error of the run, whatever raises it, and no row is suspected of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import JinaEmbeddingsError, RunError
from ..logs import shown
from .folder import Folder


@contextmanager
def storing(what: str, folder: Folder) -> Iterator[None]:
    """For a block that writes to the folder. Raises RunError with the reason and what to do."""
    try:
        yield
    except JinaEmbeddingsError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else reason_of(error)
        raise RunError(_message(what, reason, folder.remedy(error))) from error
    except Exception as error:  # Arrow, Lance and the packages of stores have trees of their own
        advice = "convert the column that it names, or look after the store"
        raise RunError(_message(what, reason_of(error), advice)) from error


def reason_of(error: Exception) -> str:
    """An exception of another package in one line."""
    return shown(" ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split()))


def _message(what: str, reason: str, advice: str) -> str:
    return (
        f"{what} can't be written: {reason}. {advice[0].upper()}{advice[1:]}, and begin the same run again: it goes on"
    )
