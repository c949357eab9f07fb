"""What tests of metrics, logs and traces share: figures as Prometheus would read them, and spans that stay here."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lookalike_service.metrics import REGISTRY
from lookalike_service.tracing import provider, use

__all__ = ["Collector", "Counted", "kept_spans", "parent_of"]


class Counted:
    """What a sample of the registry has grown by since this was made; the registry is the process'."""

    def __init__(self) -> None:
        self._before = _samples()

    def __call__(self, name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return _samples().get(key, 0.0) - self._before.get(key, 0.0)


def _samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
    }


@contextmanager
def kept_spans(*, share: float = 1.0) -> Iterator[InMemorySpanExporter]:
    """Trace this share of the calls during a block, and keep the spans."""
    exporter, spans = InMemorySpanExporter(), provider(share)
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        with use(spans):
            yield exporter
    finally:
        spans.shutdown()


def parent_of(span: ReadableSpan, spans: tuple[ReadableSpan, ...]) -> str:
    """The name of a span's parent among `spans`; empty when it has none there."""
    by_id = {each.context.span_id: each.name for each in spans}
    return by_id.get(span.parent.span_id, "") if span.parent else ""


class Collector:
    """Takes OTLP over HTTP during a `with` block and keeps the bodies: protobuf of ours, JSON of Triton's."""

    def __init__(self) -> None:
        received: list[bytes] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.received = received
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
