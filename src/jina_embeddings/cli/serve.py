"""`jina-embeddings serve`: the HTTP server."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import ending
from .model import ModelChoice, takes_model_of_index
from .terminal import ERROR, say

if TYPE_CHECKING:
    from ..server.media import UrlPolicy

_SERVER, _LIMITS, _INPUTS, _OBSERVED = "Server", "Limits", "Inputs", "Observability"
_CLOSE_S = 60.0


@takes_model_of_index
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_SERVER)] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=_SERVER)] = 8080,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="A file of accepted keys, one a line; read again on SIGHUP. Also JINA_EMBEDDINGS_API_KEYS.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(min=0, help="Seconds between SIGTERM and the end of listening.", rich_help_panel=_SERVER),
    ] = 5.0,
    deadline: Annotated[
        float,
        typer.Option(
            min=1, help="Seconds after that for requests in progress to be answered.", rich_help_panel=_SERVER
        ),
    ] = 30.0,
    max_inputs: Annotated[
        int, typer.Option(min=1, help="The most texts and images of a request.", rich_help_panel=_LIMITS)
    ] = 2048,
    max_body_mb: Annotated[
        int, typer.Option(min=1, help="The most megabytes of a request's body.", rich_help_panel=_LIMITS)
    ] = 32,
    max_pdf_pages: Annotated[int, typer.Option(min=1, help="The most pages of a PDF.", rich_help_panel=_LIMITS)] = 32,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="The most requests of a key in a minute.", rich_help_panel=_LIMITS)
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of a key in a minute.", rich_help_panel=_LIMITS)
    ] = None,
    allow_urls: Annotated[
        bool,
        typer.Option("--allow-urls", help="Fetch images and PDFs from any public address.", rich_help_panel=_INPUTS),
    ] = False,
    allow_urls_from: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Fetch them from this host; repeatable.", rich_help_panel=_INPUTS),
    ] = None,
    token_ids: Annotated[
        str | None,
        typer.Option(
            help="Accept token ids too: of the model's tokenizer (model), or of an encoding of tiktoken, as LangChain "
            "sends them (cl100k_base, o200k_base).",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    decoders: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that decode images; if left out, one for each core, at most 4.",
            rich_help_panel=_INPUTS,
        ),
    ] = None,
    front_ends: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that share the port, in front of the one with the engine: for a GPU that embeds more than "
            "3,000 texts a second, sent one by one.",
            rich_help_panel=_SERVER,
        ),
    ] = 1,
    index: Annotated[
        str | None, typer.Option(help="The index that POST /v1/search searches.", rich_help_panel=_SERVER)
    ] = None,
    no_log_requests: Annotated[
        bool,
        typer.Option(
            "--no-log-requests", help="Don't log each request as a line of JSON on stdout.", rich_help_panel=_OBSERVED
        ),
    ] = False,
    open_metrics: Annotated[
        bool, typer.Option("--open-metrics", help="Serve /metrics without a key.", rich_help_panel=_OBSERVED)
    ] = False,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces",
            help="Send OpenTelemetry spans, configured by the environment variables OTEL_*.",
            rich_help_panel=_OBSERVED,
        ),
    ] = False,
    *,
    choice: ModelChoice,
) -> None:
    """Serve one model by HTTP, with the APIs of Jina, OpenAI and Cohere.

    Exit status: 0 ended by a signal, with every accepted request answered; 2 an error, or the engine has died.
    """
    ending.with_processes()
    from ..errors import DependencyError, OptionError

    try:
        from ..server.assembly import Settings, decode_of, serve_model
        from ..server.front_ends import ModelArguments, serve_from_front_ends
        from ..server.keys import Keys
        from ..server.limits import Limits
        from ..server.listening import require_free_port, url_of
    except ModuleNotFoundError as error:
        raise DependencyError(f"serve needs {error.name}: pip install 'jina-embeddings-vllm[server]'") from error

    settings = Settings(
        host=host,
        port=port,
        api_key_file=api_key_file,
        drain_s=drain,
        deadline_s=deadline,
        limits=Limits(max_body_bytes=max_body_mb * 2**20, max_inputs=max_inputs, max_pdf_pages=max_pdf_pages),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        urls=_urls(allow_urls, allow_urls_from),
        token_ids=token_ids,
        decoders=decoders,
        index=index,
        log_requests=not no_log_requests,
        open_metrics=open_metrics,
        traces=traces,
        front_ends=front_ends,
    )
    if not Keys(api_key_file).needed and host not in ("127.0.0.1", "::1", "localhost"):
        raise OptionError(f"without keys only this machine is served: give --api-key-file, or leave out --host {host}")
    if front_ends > 1 and (requests_per_minute or tokens_per_minute):
        raise OptionError("requests and tokens a minute are counted in one process: leave out --front-ends")
    # Checked before a model is loaded, which takes long.
    decode_of(token_ids)
    require_free_port(host, port)
    if index is not None:
        from ..apps.index.store import Store

        Store.open(index)
        choice = choice.for_index(index)
    with choice.loaded() as model:
        begun = partial(say, f"{model.info.name} on {url_of(host, port)}")
        if front_ends == 1:
            well = serve_model(model, settings, begun)
        else:
            begun()
            arguments = ModelArguments(choice.name, {**choice.source, **choice.options})
            well = serve_from_front_ends(model, settings, arguments)
        failed = "a front end has ended" if model.alive else "the engine has ended"
        if not well:
            ending.set_status(ERROR)
            # Closing an engine that hangs may hang too.
            ended = threading.Timer(_CLOSE_S, os._exit, (ERROR,))
            ended.daemon = True
            ended.start()
    if not well:
        say(f"error [engine_dead]: {failed}")
        raise typer.Exit(ERROR)


def _urls(any_host: bool, hosts: list[str] | None) -> UrlPolicy:
    from ..server.media import UrlPolicy

    return UrlPolicy(None if any_host else frozenset(host.lower() for host in hosts or []))
