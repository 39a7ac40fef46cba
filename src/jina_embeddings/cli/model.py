"""The options of a command that choose and load a model."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from ..checkpoint.resolve import DEFAULT_MODEL
from ..options import Unasked
from .settings import ENGINE, MODEL
from .terminal import command, say, to_terminal

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings


_PANEL = "Model"
_MODEL = "A folder, a hub id, or a bundled model's name"

BatchSize = Annotated[
    int | None, typer.Option(min=1, help="The most inputs of one forward (not for vLLM).", rich_help_panel=_PANEL)
]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The values of the options. model: None, where that is allowed, stands for the model that made an index."""

    model: str | None
    engine: str
    source: dict[str, Any]
    options: dict[str, Any]
    debug: bool

    @classmethod
    def of(
        cls,
        model: Annotated[str, typer.Option(help=f"{_MODEL}.", envvar=MODEL, rich_help_panel=_PANEL)] = DEFAULT_MODEL,
        engine: Annotated[
            str,
            typer.Option(
                help="auto (vLLM where a CUDA GPU and vLLM are there, else torch), vllm, torch, transformers, or fake "
                "(for tests).",
                envvar=ENGINE,
                rich_help_panel=_PANEL,
            ),
        ] = "auto",
        revision: Annotated[
            str | None, typer.Option(help="Branch, tag or commit of a hub model.", rich_help_panel=_PANEL)
        ] = None,
        local_files_only: Annotated[
            bool, typer.Option("--local-files-only", help="Download nothing.", rich_help_panel=_PANEL)
        ] = False,
        dtype: Annotated[
            str | None,
            typer.Option(
                help="float32, bfloat16 or float16; if left out, bfloat16 on a GPU, else float32.",
                rich_help_panel=_PANEL,
            ),
        ] = None,
        device: Annotated[
            str | None,
            typer.Option(help="cpu, cuda, cuda:1, mps (not for vLLM).", rich_help_panel=_PANEL),
        ] = None,
        option: Annotated[
            list[str] | None,
            typer.Option(
                "--option",
                metavar="NAME=VALUE",
                help="Any other option of JinaEmbeddings, such as max_model_len=8192; repeatable.",
                rich_help_panel=_PANEL,
            ),
        ] = None,
        debug: Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")] = False,
    ) -> Self:
        """Makes a choice from the options of the command line. Raises OptionError for a bad engine or option."""
        from .arguments import check_engine, engine_options

        check_engine(engine)
        source = {"revision": revision, "local_files_only": local_files_only}
        return cls(model, engine, source, engine_options(option or [], dtype=dtype, device=device), debug)

    def for_index(self, address: str, paths: Sequence[str] = ()) -> ModelChoice:
        """Returns the choice with the model for an index, as `model_of` says.

        paths: what the index is made of, which may be bulk runs.
        """
        return replace(self, model=model_of(address, self.model, paths))

    @property
    def name(self) -> str:
        """The model; the default if none is given."""
        return self.model or _default_model()

    def loader(self, task: str | None = None) -> Loader:
        """`loaded`, for other processes."""
        return Loader(self, task)

    def arguments(self, task: str | None = None) -> dict[str, Any]:
        """What `JinaEmbeddings` is given, by name."""
        # The process is the command's own, so torch may have another number of threads in all of it.
        options = {"cpu_threads": Unasked("free"), **self.options}
        return {"model": self.name, "engine": self.engine, "task": task, **self.source, **options}

    @contextmanager
    def loaded(self, task: str | None = None) -> Iterator[JinaEmbeddings]:
        """Loads the model, and closes it when the block ends or a signal comes. Raises as `JinaEmbeddings` does."""
        from ..checkpoint import fetch_checkpoint
        from ..embedder import JinaEmbeddings
        from .process import EngineOutput, stops_on_signals

        model = self.name
        if to_terminal():
            say(f"loading {model}")
        # Downloaded here, outside `redirected`, which would hide the progress bar.
        fetch_checkpoint(model, engine=self.engine, **self.source)
        with EngineOutput(shown=self.debug) as output:
            with output.redirected():
                loaded = JinaEmbeddings(**self.arguments(task))
            with loaded, stops_on_signals(loaded.close):
                yield loaded


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the model of a choice, and tells which it is without loading it."""

    choice: ModelChoice
    task: str | None

    def __call__(self) -> AbstractContextManager[JinaEmbeddings]:
        return self.choice.loaded(self.task)

    @property
    def arguments(self) -> dict[str, Any]:
        return self.choice.arguments(self.task)


Body = Callable[..., None]


def takes_model(body: Body, model: inspect.Parameter | None = None) -> Body:
    """Makes a command of a body: adds the options of `ModelChoice.of`, whose values the body gets as `choice`.

    Errors of the body become a line on stderr and an exit status.
    """
    shared = dict(inspect.signature(ModelChoice.of, eval_str=True).parameters)
    if model is not None:
        shared["model"] = model
    signature = inspect.signature(body, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "choice"]

    @wraps(body)
    def run(**arguments: Any) -> None:
        with command(arguments["debug"]):
            choice = ModelChoice.of(**{name: arguments.pop(name) for name in shared})
            body(**arguments, choice=choice)

    run.__signature__ = signature.replace(parameters=[*own, *shared.values()])  # type: ignore[attr-defined]
    return run


takes_model_of_index = partial(
    takes_model,
    model=inspect.Parameter(
        "model",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option(help=f"{_MODEL}; if left out, the one that made the index.", rich_help_panel=_PANEL),
        ],
    ),
)


def model_of(address: str, given: str | None, paths: Sequence[str] = ()) -> str:
    """Returns the name of the model that was given, else of the one that made the index or a bulk run among the paths,
    else the default.
    """
    from ..apps.index.store import Store
    from ..pipeline.manifest import is_run
    from ..pipeline.reading import manifest_of

    if given is not None:
        # The index stores this name, and a relative path would be wrong in other working directories.
        return os.path.abspath(given) if os.path.isdir(given) else given
    if Store.exists(address):
        return Store.open(address).fingerprint.model
    for path in paths:
        if is_run(path):
            return str(manifest_of(path).made_by["model"])
    return _default_model()


def _default_model() -> str:
    return os.environ.get(MODEL) or DEFAULT_MODEL
