"""The command line, `jina-embeddings`. Nothing heavy is imported before a command runs."""

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
    help="Jina Embeddings v4: texts and images to vectors.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Its tracebacks print every local variable, and with that whole documents.
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
            help="Defaults of options, in TOML; if left out, config.toml in the user's folder for settings.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if context.resilient_parsing:  # completing a line
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


def main() -> None:
    """The console script."""
    open_streams()
    app(prog_name=app.info.name)
