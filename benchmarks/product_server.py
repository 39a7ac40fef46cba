"""The product's server in front of a given model, for benchmarks that put an engine of their own behind it."""

from __future__ import annotations

from starlette.types import ASGIApp

from jina_embeddings import JinaEmbeddings
from jina_embeddings.server.app import make_app
from jina_embeddings.server.decoders import Decoders
from jina_embeddings.server.decoding import Form
from jina_embeddings.server.gate import Gate, State
from jina_embeddings.server.keys import Keys
from jina_embeddings.server.ledger import Ledger
from jina_embeddings.server.limits import Budget, Limits
from jina_embeddings.server.media import Media, UrlPolicy
from jina_embeddings.server.metrics import Metrics
from jina_embeddings.server.rates import Rates
from jina_embeddings.server.request_log import RequestLog
from jina_embeddings.server.service import Service
from jina_embeddings.server.spans import Spans


def product_server(model: JinaEmbeddings) -> tuple[ASGIApp, Service, Gate]:
    """What `jina-embeddings serve` makes of its defaults, without keys."""
    limits = Limits()
    service = Service(model, Media(Form(model.image_config), limits, UrlPolicy(), Decoders(1)))
    budget = Budget(limits, model.info.max_length)
    gate = Gate(Keys(), Rates(), budget, State(), Ledger(Metrics(), RequestLog(1), Spans()))
    return make_app(service, gate), service, gate
