"""Which model runs a command: the options that say it, and the model they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

_PANEL = "Model"

ModelName = Annotated[str, typer.Option(help="A folder, a hub id, or a bundled model's name.", rich_help_panel=_PANEL)]
EngineName = Annotated[str, typer.Option(help="auto, vllm, transformers, or fake (for tests).", rich_help_panel=_PANEL)]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.", rich_help_panel=_PANEL)]
LocalFilesOnly = Annotated[bool, typer.Option("--local-files-only", help="Download nothing.", rich_help_panel=_PANEL)]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float32, bfloat16 or float16; if left out, bfloat16 on a GPU, else float32.", rich_help_panel=_PANEL
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps (engine transformers).", rich_help_panel=_PANEL)
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option", metavar="NAME=VALUE", help="Any other option of the model; repeatable.", rich_help_panel=_PANEL
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What those options say; `options` are those of `JinaEmbeddings`."""

    model: str
    engine: str
    revision: str | None
    local_files_only: bool
    options: dict[str, Any]
    debug: bool

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
    ) -> ModelChoice:
        """Raises OptionError for an engine or an option that doesn't exist."""
        from .arguments import check_engine, engine_options

        check_engine(engine)
        options = engine_options(option or [], dtype=dtype, device=device)
        return cls(model, engine, revision, local_files_only, options, debug)

    @contextmanager
    def loaded(self, task: str | None = None) -> Iterator[JinaEmbeddings]:
        """The model, for as long as it is needed; Ctrl-C and SIGTERM close it."""
        from ..checkpoint.resolve import resolve
        from ..embedder import JinaEmbeddings
        from .console import say, to_terminal
        from .interrupt import stops_on_signals
        from .noise import Noise

        source: dict[str, Any] = {"revision": self.revision, "local_files_only": self.local_files_only}
        if to_terminal():
            say(f"loading {self.model}")
        with Noise(wanted=self.debug) as noise:
            if self.engine != "fake":
                # A download has a progress bar of its own, and takes long enough to need it.
                resolve(self.model, **source)
            with noise.kept_away():
                model = JinaEmbeddings(self.model, engine=self.engine, task=task, **source, **self.options)
            with model, stops_on_signals(model.close):
                yield model
