"""Puts a server together by its settings, in front of a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from starlette.types import ASGIApp

from ..errors import DependencyError, OptionError, suggest
from .app import make_app
from .decoders import Decoders
from .decoding import Form
from .gate import Gate, State
from .keys import Keys
from .ledger import Ledger
from .lifecycle import serve
from .limits import Budget, Limits
from .media import Media, UrlPolicy
from .metrics import Metrics
from .rates import Rates
from .request_log import RequestLog
from .service import Service
from .spans import Spans
from .values import Decode, decode_with

if TYPE_CHECKING:
    from ..apps.index import Index
    from ..embedder import JinaEmbeddings

_MAX_DECODERS = 4
_TOKEN_IDS = ("model", "cl100k_base", "o200k_base")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `jina-embeddings serve`, by whose names they go.

    front_ends: how many processes share the port, this one included.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_key_file: Path | None = None
    drain_s: float = 5.0
    deadline_s: float = 30.0
    limits: Limits = field(default_factory=Limits)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    urls: UrlPolicy = field(default_factory=UrlPolicy)
    token_ids: str | None = None
    decoders: int | None = None
    index: str | None = None
    log_requests: bool = True
    open_metrics: bool = False
    traces: bool = False
    front_ends: int = 1

    @property
    def share(self) -> Self:
        """The settings of one front end: its share of what all have together."""
        decoders = self.decoders or min(_MAX_DECODERS, os.cpu_count() or 1)
        limits = replace(self.limits, shares=self.front_ends)
        return replace(self, limits=limits, decoders=max(1, decoders // self.front_ends))


class Assembly(NamedTuple):
    """The application, and what it stands on."""

    app: ASGIApp
    service: Service
    gate: Gate


@contextmanager
def assembled(model: JinaEmbeddings, settings: Settings) -> Iterator[Assembly]:
    """The server's parts, until the block ends. Raises as `decode_of` does."""
    form = Form(model.image_config, as_stored=model.options.image_reading == "stored")
    decoders = Decoders(settings.decoders or min(_MAX_DECODERS, os.cpu_count() or 1))
    media = Media(form, settings.limits, settings.urls, decoders)
    service = Service(
        model,
        media,
        decode=model.text_of if settings.token_ids == "model" else decode_of(settings.token_ids),
        index=None if settings.index is None else _opened(settings.index, model),
    )
    budget = Budget(settings.limits, model.info.max_length)
    log = RequestLog(1 if settings.log_requests else None)
    spans = Spans.exported() if settings.traces else Spans()
    gate = Gate(
        Keys(settings.api_key_file),
        Rates(settings.requests_per_minute, settings.tokens_per_minute),
        budget,
        State(),
        Ledger(budget, Metrics(), log, spans),
        metrics_access="open" if settings.open_metrics else "key",
    )
    try:
        yield Assembly(make_app(service, gate), service, gate)
    finally:
        media.close()


def serve_model(model: JinaEmbeddings, settings: Settings, begun: Callable[[], None] = lambda: None) -> bool:
    """Serves until a signal arrives or the engine dies; returns whether the engine was alive to the end.

    begun: called when the server takes requests.
    """
    with assembled(model, settings) as parts:
        return serve(
            *parts,
            host=settings.host,
            port=settings.port,
            drain_s=settings.drain_s,
            deadline_s=settings.deadline_s,
            shares_port=settings.front_ends > 1,
            begun=begun,
        )


def decode_of(token_ids: str | None) -> Decode | None:
    """The function that decodes token ids of an encoding of tiktoken; None if none is wanted, or the model's own.

    Raises:
        OptionError: there is no such encoding, or it can't be loaded.
        DependencyError: tiktoken is not installed.
    """
    if token_ids is None or token_ids == "model":
        return None
    if token_ids not in _TOKEN_IDS:
        raise OptionError(f"unknown token ids {token_ids!r}{suggest(token_ids, _TOKEN_IDS)}")
    try:
        import tiktoken
    except ImportError as error:
        raise DependencyError("token ids of an encoding need tiktoken: pip install tiktoken") from error
    try:
        return decode_with(tiktoken.get_encoding(token_ids))
    except Exception as error:  # tiktoken downloads an encoding when it is first used
        raise OptionError(f"the encoding {token_ids} can't be loaded: {error}") from error


def _opened(index: str, model: JinaEmbeddings) -> Index:
    from ..apps.index import Index

    return Index.open(index, model)
