"""The options of a command that say which model it works with, and loading it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from .console import say, to_terminal

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

PANEL = "Model"

Model = Annotated[str, typer.Option(help="A folder, a hub id, or a bundled model's name.", rich_help_panel=PANEL)]
IndexModel = Annotated[
    str | None,
    typer.Option(
        help="A folder, a hub id, or a bundled model's name; if left out, the one that made the index.",
        rich_help_panel=PANEL,
    ),
]
EngineName = Annotated[str, typer.Option(help="auto, vllm, transformers, or fake (for tests).", rich_help_panel=PANEL)]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.", rich_help_panel=PANEL)]
LocalFilesOnly = Annotated[bool, typer.Option("--local-files-only", help="Download nothing.", rich_help_panel=PANEL)]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float32, bfloat16 or float16; if left out, bfloat16 on a GPU, else float32.", rich_help_panel=PANEL
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps (engine transformers).", rich_help_panel=PANEL)
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option", metavar="NAME=VALUE", help="Any other option of the model; repeatable.", rich_help_panel=PANEL
    ),
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Most inputs in one forward (transformers).", rich_help_panel=PANEL)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What those options say; `options` are those of `JinaEmbeddings`."""

    model: str
    engine: str
    source: dict[str, Any]
    options: dict[str, Any]
    debug: bool = False

    @classmethod
    def of(
        cls,
        model: str,
        engine: str,
        revision: str | None,
        local_files_only: bool,
        dtype: str | None,
        device: str | None,
        option: list[str] | None,
        debug: bool,
    ) -> Self:
        """Raises OptionError for a wrong engine or option."""
        from .arguments import check_engine, engine_options

        check_engine(engine)
        source = {"revision": revision, "local_files_only": local_files_only}
        return cls(model, engine, source, engine_options(option or [], dtype=dtype, device=device), debug)

    @contextmanager
    def loaded(self, task: str | None = None) -> Iterator[JinaEmbeddings]:
        """The model, until the block ends; a signal closes it. Raises as `JinaEmbeddings` does."""
        from ..checkpoint.resolve import resolve
        from ..embedder import JinaEmbeddings
        from .interrupt import stops_on_signals
        from .noise import Noise

        if to_terminal():
            say(f"loading {self.model}")
        if self.engine != "fake":
            # A download has a progress bar of its own, and takes long enough to need it.
            resolve(self.model, **self.source)
        with Noise(wanted=self.debug) as noise:
            with noise.kept_away():
                loaded = JinaEmbeddings(self.model, engine=self.engine, task=task, **self.source, **self.options)
            with loaded, stops_on_signals(loaded.close):
                yield loaded
