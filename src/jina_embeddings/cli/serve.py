"""`jina-embeddings serve`: the HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .model import ModelChoice, takes_model
from .terminal import ERROR, say

_SERVER = "Server"


@takes_model
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_SERVER)] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=_SERVER)] = 8080,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="Keys that are let in, one a line; read again on SIGHUP. Also JINA_EMBEDDINGS_API_KEYS.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    max_inputs: Annotated[
        int, typer.Option(min=1, help="Texts and images of a request, at most.", rich_help_panel=_SERVER)
    ] = 2048,
    max_body_mb: Annotated[
        int, typer.Option(min=1, help="Size of a request's body, at most.", rich_help_panel=_SERVER)
    ] = 32,
    drain: Annotated[
        float,
        typer.Option(min=0, help="Seconds between SIGTERM and the end of listening.", rich_help_panel=_SERVER),
    ] = 5.0,
    deadline: Annotated[
        float, typer.Option(min=1, help="Seconds for the requests then under way.", rich_help_panel=_SERVER)
    ] = 30.0,
    *,
    choice: ModelChoice,
) -> None:
    """Serve the APIs of Jina, OpenAI and Cohere from one model.

    Exit status: 0 ended by a signal, with every accepted request answered; 2 an error, or the engine has died.
    """
    from ..errors import DependencyError, OptionError

    try:
        from ..server.app import State, make_app
        from ..server.keys import Keys
        from ..server.lifecycle import serve as run
        from ..server.limits import Budget, Limits
        from ..server.metrics import Metrics
        from ..server.service import Service
    except ModuleNotFoundError as error:
        raise DependencyError(f"serve needs {error.name}: pip install 'jina-embeddings-vllm[server]'") from error

    keys = Keys(api_key_file)
    if not keys.needed and host not in ("127.0.0.1", "::1", "localhost"):
        raise OptionError(f"without keys only this machine is served: give --api-key-file, or leave out --host {host}")
    limits = Limits(max_body_bytes=max_body_mb * 2**20, max_inputs=max_inputs)
    state = State()
    with choice.loaded() as model:
        app = make_app(Service(model, Budget(limits, model.info.max_length)), keys, limits, state, Metrics())
        say(f"{model.info.name} on http://{host}:{port}")
        well = run(app, model, keys, state, host=host, port=port, drain_s=drain, deadline_s=deadline)
    if not well:
        say("error [engine_dead]: the engine has ended")
        raise typer.Exit(ERROR)
