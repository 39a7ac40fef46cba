"""Makes a span of OpenTelemetry for each request and each of its stages, if tracing is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DependencyError

if TYPE_CHECKING:
    from starlette.types import Scope

    from .records import Record


class Spans:
    """tracer: a tracer of OpenTelemetry; None for no spans."""

    def __init__(self, tracer: Any = None):
        self._tracer = tracer

    @classmethod
    def exported(cls) -> Spans:
        """Spans that are exported as the environment variables `OTEL_*` say.

        Raises DependencyError without OpenTelemetry's SDK and OTLP exporter.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise DependencyError(
                "traces need OpenTelemetry: pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
            ) from error
        # A service name from the environment takes precedence.
        provider = TracerProvider(resource=Resource({SERVICE_NAME: "jina-embeddings"}).merge(Resource.create()))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider.get_tracer("jina_embeddings.server"))

    def keep(self, record: Record, scope: Scope) -> None:
        """Makes the span of an answered request, as a child of the one that its `traceparent` header names."""
        if self._tracer is None:
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            f"{scope['method']} {record.route}",
            context=extract(carrier),
            kind=SpanKind.SERVER,
            start_time=record.began_ns,
            attributes={
                "http.request.method": scope["method"],
                "http.route": record.route,
                "http.response.status_code": record.status,
                "jina.request_id": record.request_id,
                "jina.inputs": record.num_inputs,
                "jina.tokens": record.num_tokens,
            },
        )
        if not span.is_recording():
            return
        if record.status >= 500:
            span.set_status(Status(StatusCode.ERROR, record.code))
        # Stages are shown one after the other. One that the parts of a large call went through repeatedly is added up.
        start = record.began_ns
        for stage, seconds in record.stages.items():
            stop = start + int(seconds * 1e9)
            child = self._tracer.start_span(stage, context=set_span_in_context(span), start_time=start)
            child.end(stop)
            start = stop
        span.end(record.began_ns + int(record.seconds * 1e9))
