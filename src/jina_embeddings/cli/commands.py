"""All commands, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import OptionError
from .bitext import bitext
from .browse import browse
from .code import code
from .dedup import dedup
from .doctor.command import doctor
from .embed import embed
from .index_group import index
from .paraphrases import paraphrases
from .search import search
from .serve import serve
from .settings import CONFIG, read_settings
from .similar import similar
from .status import status
from .streams import open_streams
from .terminal import fail

app = typer.Typer(
    name="jina-embeddings",
    help="Jina Embeddings v4: vectors of texts and images, and what can be done with them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Typer's tracebacks print local variables, which may be whole documents.
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"jina-embeddings {__version__}")
        raise typer.Exit


@app.callback()
def top_level(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar=CONFIG,
            help="A TOML file with defaults of options; if left out, config.toml in the user's folder for settings.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if context.resilient_parsing:  # the shell completes a command line
        return
    try:
        read_settings(context, config)
    except OptionError as error:
        fail(error.code, error)


app.command()(embed)
app.command()(status)
app.add_typer(index, name="index")
app.command()(search)
app.command()(browse)
app.command()(serve)
app.command()(similar)
app.command()(dedup)
app.command()(paraphrases)
app.command()(bitext)
app.add_typer(code, name="code")
app.command()(doctor)


def run() -> None:
    """Runs the command that the arguments of this process name, and exits."""
    open_streams()
    app(prog_name=app.info.name)
