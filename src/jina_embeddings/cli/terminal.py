"""What the commands share towards the terminal: quiet libraries, one-line errors, exit statuses."""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from ..errors import CautionWarning, JinaEmbeddingsError
from .streams import finish_output

PROBLEM = 1
ERROR = 2
SOME_FAILED = 3
INTERRUPTED = 130

# Read by the libraries when they are imported, here and in the processes that they start.
_QUIET = {
    "PYTHONWARNINGS": "ignore",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


_ARGUMENT = re.compile(r"`(\w+)`")


@contextmanager
def command(debug: bool) -> Iterator[None]:
    """Around the body of a command: sets up logging, and turns errors into a line on stderr and an exit status."""
    try:
        _set_up(debug)
        yield
        finish_output()
    except JinaEmbeddingsError as error:
        fail(error.code, error, debug)
    except BrokenPipeError:
        raise  # typer ends quietly when the reader of stdout has left
    except OSError as error:
        with suppress(OSError):
            finish_output()
        fail("os_error", error, debug)
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception:
        # A fault of ours. Python's own status for it, 1, is that of a search that found nothing.
        traceback.print_exc()
        raise typer.Exit(ERROR) from None


def say(message: str) -> None:
    """A line on stderr; a run goes on where nobody can read it.

    What errors of the library name as an argument, `text_field`, is the option --text-field.
    """
    with suppress(OSError):
        print(_ARGUMENT.sub(lambda name: f"--{name[1].replace('_', '-')}", message), file=sys.stderr, flush=True)


def to_terminal() -> bool:
    """Whether somebody is looking at stderr."""
    return sys.stderr.isatty()


def _set_up(debug: bool) -> None:
    from .. import logs

    if debug:
        logs.configure("debug")
        return
    if not os.environ.get(logs.VARIABLE):
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", CautionWarning)
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    if not to_terminal():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logs.configure()


def fail(code: str, error: Exception, debug: bool = False) -> None:
    """Ends the command with a line on stderr."""
    if debug:
        traceback.print_exc()
    say(f"error [{code}]: {' '.join(str(error).split())}")
    raise typer.Exit(ERROR) from None
