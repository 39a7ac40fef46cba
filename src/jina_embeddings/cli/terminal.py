"""What all commands do with the terminal: silence libraries, print errors on one line, and set the exit status."""

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
from ..logs import shown
from .streams import finish_output

# Exit statuses.
PROBLEM = 1
ERROR = 2
SOME_FAILED = 3
INTERRUPTED = 130

# Environment variables that libraries read when they are imported, in this process and in those that they start.
_QUIET = {
    "PYTHONWARNINGS": "ignore",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "LANCE_LOG": "error",
    "LANCEDB_LOG": "error",
}


_ARGUMENT = re.compile(r"`(\w+)`")


@contextmanager
def command(debug: bool) -> Iterator[None]:
    """Runs the body of a command: sets up logging, and turns errors into a line on stderr and an exit status."""
    try:
        _set_up(debug)
        yield
        finish_output()
    except JinaEmbeddingsError as error:
        fail(error.code, error, debug)
    except BrokenPipeError:
        raise  # typer exits quietly if stdout was closed by its reader
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
        # A bug. Python would exit with status 1, which means that a search found nothing.
        traceback.print_exc()
        raise typer.Exit(ERROR) from None


def say(message: str) -> None:
    """Prints a line on stderr, with line breaks and control characters escaped; ignores it if stderr can't be written.

    An argument that a message of the library names, such as `text_field`, is printed as the option --text-field.
    """
    with suppress(OSError):
        text = _ARGUMENT.sub(lambda name: f"--{name[1].replace('_', '-')}", message)
        print(shown(text), file=sys.stderr, flush=True)


def to_terminal() -> bool:
    """Whether stderr is a terminal."""
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
    """Prints an error and exits."""
    if debug:
        traceback.print_exc()
    say(f"error [{code}]: {' '.join(str(error).split())}")
    raise typer.Exit(ERROR) from None
