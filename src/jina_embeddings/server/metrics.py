"""The metrics of the server, for Prometheus."""

from __future__ import annotations

import os
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ..fill import TENTHS, Fill
from .records import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .limits import Budget
    from .records import Record

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that prometheus_client reads when it is imported: the folder in which processes that share a
port count together."""

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "jina_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._refused = Counter("jina_errors", "Refused and failed requests by code.", ["code"], registry=registry)
        self._seconds = Histogram(
            "jina_request_seconds", "From headers to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._stages = Histogram(
            "jina_stage_seconds", "Of answered requests, by stage.", ["stage"], buckets=_SECONDS, registry=registry
        )
        self._inputs = Counter("jina_inputs", "Texts, images and PDFs of answered requests.", registry=registry)
        self._tokens = Counter("jina_tokens", "Tokens of answered requests, images' included.", registry=registry)
        self._image_tokens = Counter("jina_image_tokens", "Image tokens of answered requests.", registry=registry)
        self._pixels = Counter("jina_pixels", "Pixels of images, before they were resized.", registry=registry)
        # Of processes that count together, those that live are added up.
        gauge = partial(Gauge, multiprocess_mode="livesum", registry=registry)
        self._under_way = {
            "num_tokens": gauge("jina_tokens_under_way", "Tokens that wait or run, at most."),
            "num_pixels": gauge("jina_pixels_under_way", "Pixels that wait or are decoded."),
            "num_bytes": gauge("jina_bytes_under_way", "Bytes of bodies under way."),
            "num_requests": gauge("jina_requests_under_way", "Requests under way."),
        }
        self._packs = _Packs()
        registry.register(self._packs)
        # Kept, since looking a label up takes longer than counting.
        self._stage = {stage: self._stages.labels(stage) for stage in STAGES}
        self._of: dict[tuple[str, int], tuple[Any, Any]] = {}

    def count(self, records: Sequence[Record]) -> None:
        """Counts requests that were answered or refused."""
        answered = [record for record in records if not record.code]
        for record in records:
            key = record.route, record.status
            if key not in self._of:
                self._of[key] = (
                    self._requests.labels(record.route, str(record.status)),
                    self._seconds.labels(record.route),
                )
            requests, seconds = self._of[key]
            requests.inc()
            seconds.observe(record.seconds)
            if record.code:
                self._refused.labels(record.code).inc()
        for record in answered:
            for stage, took in record.stages.items():
                self._stage[stage].observe(took)
        self._inputs.inc(sum(record.num_inputs for record in answered))
        self._tokens.inc(sum(record.num_tokens for record in answered))
        self._image_tokens.inc(sum(record.num_image_tokens for record in answered))
        self._pixels.inc(sum(record.num_pixels for record in answered))

    def measure(self, budget: Budget) -> None:
        """Takes over what is under way."""
        for name, gauge in self._under_way.items():
            gauge.set(getattr(budget, name))

    def render(self, fill: Fill) -> bytes:
        """All metrics in Prometheus' text format; of all processes, if several count together."""
        self._packs.fill = fill
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            registry.register(self._packs)
        return generate_latest(registry)


class _Packs(Collector):
    """What the engine counts itself."""

    fill = Fill()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        bounds = [str(tenth / TENTHS) for tenth in range(1, TENTHS + 1)]
        counts = list(accumulate(self.fill.counts))
        buckets = [*zip(bounds, counts, strict=True), ("+Inf", counts[-1])]
        yield HistogramMetricFamily(
            "jina_pack_fill", "Tokens of packs as a share of the most.", buckets=buckets, sum_value=self.fill.total
        )
