"""`jina-embeddings serve`: the HTTP server."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .model import ModelChoice, takes_model_of_index
from .terminal import ERROR, say

if TYPE_CHECKING:
    from ..apps.index import Index
    from ..embedder import JinaEmbeddings
    from ..server.media import UrlPolicy
    from ..server.values import Decode

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
    from ..errors import DependencyError, OptionError

    try:
        from ..server.app import make_app
        from ..server.decoders import Decoders
        from ..server.decoding import Form
        from ..server.gate import Gate, State
        from ..server.keys import Keys
        from ..server.ledger import Ledger
        from ..server.lifecycle import serve as run
        from ..server.limits import Budget, Limits
        from ..server.media import Media
        from ..server.metrics import Metrics
        from ..server.rates import Rates
        from ..server.request_log import RequestLog
        from ..server.service import Service
        from ..server.spans import Spans
    except ModuleNotFoundError as error:
        raise DependencyError(f"serve needs {error.name}: pip install 'jina-embeddings-vllm[server]'") from error

    keys = Keys(api_key_file)
    if not keys.needed and host not in ("127.0.0.1", "::1", "localhost"):
        raise OptionError(f"without keys only this machine is served: give --api-key-file, or leave out --host {host}")
    limits = Limits(max_body_bytes=max_body_mb * 2**20, max_inputs=max_inputs, max_pdf_pages=max_pdf_pages)
    urls = _urls(allow_urls, allow_urls_from)
    decode = _decode_of(token_ids)
    spans = Spans.exported() if traces else Spans()
    log = RequestLog(None if no_log_requests else 1)
    with (choice if index is None else choice.for_index(index)).loaded() as model:
        form = Form(model.image_config, as_stored=model.options.image_reading == "stored")
        media = Media(form, limits, urls, Decoders(decoders or min(4, os.cpu_count() or 1)))
        service = Service(
            model,
            media,
            decode=model.text_of if token_ids == "model" else decode,
            index=None if index is None else _opened(index, model),
        )
        gate = Gate(
            keys,
            Rates(requests_per_minute, tokens_per_minute),
            Budget(limits, model.info.max_length),
            State(),
            Ledger(Metrics(), log, spans),
            metrics_access="open" if open_metrics else "key",
        )
        say(f"{model.info.name} on http://{host}:{port}")
        try:
            well = run(make_app(service, gate), service, gate, host=host, port=port, drain_s=drain, deadline_s=deadline)
        finally:
            media.close()
        if not well:
            # Closing an engine that hangs may hang too.
            ended = threading.Timer(_CLOSE_S, os._exit, (ERROR,))
            ended.daemon = True
            ended.start()
    if not well:
        say("error [engine_dead]: the engine has ended")
        raise typer.Exit(ERROR)


def _urls(any_host: bool, hosts: list[str] | None) -> UrlPolicy:
    from ..server.media import UrlPolicy

    return UrlPolicy(None if any_host else frozenset(host.lower() for host in hosts or []))


def _decode_of(token_ids: str | None) -> Decode | None:
    """Returns the function that decodes token ids of an encoding of tiktoken, or None if none is wanted.

    Raises:
        OptionError: there is no such encoding, or it can't be loaded.
        DependencyError: tiktoken is not installed.
    """
    from ..errors import DependencyError, OptionError, suggest

    if token_ids is None or token_ids == "model":
        return None
    known = ("model", "cl100k_base", "o200k_base")
    if token_ids not in known:
        raise OptionError(f"unknown token ids {token_ids!r}{suggest(token_ids, known)}")
    try:
        import tiktoken
    except ImportError as error:
        raise DependencyError("--token-ids needs tiktoken: pip install tiktoken") from error
    from ..server.values import decode_with

    try:
        return decode_with(tiktoken.get_encoding(token_ids))
    except Exception as error:  # tiktoken downloads an encoding when it is first used
        raise OptionError(f"the encoding {token_ids} can't be loaded: {error}") from error


def _opened(index: str, model: JinaEmbeddings) -> Index:
    from ..apps.index import Index

    return Index.open(index, model)
