"""Traces: one span per call, one per phase of it and per call to a server beside us, sent to a collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lookalike_service.errors import LookalikeError

__all__ = ["Attributes", "begin_call", "end_call", "provider", "span", "trace_headers", "traced", "use"]

# A collector that is away shall not hold up the end of the process for longer.
_EXPORT_SECONDS: Final = 5.0
_PROPAGATOR: Final = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | int | float | bool]

_tracer: trace.Tracer | None = None


def provider(share: float) -> TracerProvider:
    """Makes spans of this share of the calls, and of all whose caller traces them; sends them nowhere yet."""
    resource = Resource.create({SERVICE_NAME: "lookalike", SERVICE_VERSION: version("lookalike")})
    # The end is `traced`'s business, in order with everything else's.
    return TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(share)), shutdown_on_exit=False)


@contextmanager
def use(spans: TracerProvider) -> Iterator[None]:
    """Trace calls during a block; without one nothing is traced."""
    global _tracer
    before, _tracer = _tracer, spans.get_tracer("lookalike_service")
    try:
        yield
    finally:
        _tracer = before


@asynccontextmanager
async def traced(url: str, *, share: float) -> AsyncIterator[None]:
    """Send the spans of a block to a collector that speaks OTLP over HTTP; an empty URL means no traces."""
    if not url:
        yield
        return
    spans = provider(share)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=_EXPORT_SECONDS)))
    try:
        with use(spans):
            yield
    finally:
        await asyncio.to_thread(spans.shutdown)


def begin_call(method: str, metadata: Iterable[tuple[str, str | bytes]], *, request_id: str) -> Span:
    """Begin the span of a call that we answer, a child of the caller's span when the metadata name one.

    It is the current span for the rest of the task, which must be the call's own; `end_call` ends it.
    """
    if _tracer is None:
        return trace.INVALID_SPAN
    parent = _PROPAGATOR.extract({key: value for key, value in metadata if isinstance(value, str)}, context=Context())
    service, _, name = method.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "lookalike.request_id": request_id}
    begun = _tracer.start_span(method, context=parent, kind=SpanKind.SERVER, attributes=attributes)
    # Never detached: a stream that its caller has left may be closed in another task, where the token means nothing.
    attach(trace.set_span_in_context(begun, parent))
    return begun


def end_call(begun: Span, *, code: int, reason: str) -> None:
    """End what `begin_call` began; `code` is gRPC's number, `reason` is empty when it went well."""
    begun.set_attribute("rpc.grpc.status_code", code)
    if reason:
        begun.set_status(Status(StatusCode.ERROR, reason))
    begun.end()


@contextmanager
def span(name: str, attributes: Attributes | None = None, *, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[Span]:
    """A part of the call that is traced; costs next to nothing when none is."""
    if _tracer is None or not trace.get_current_span().is_recording():
        yield trace.INVALID_SPAN
        return
    # The SDK would put an exception's text on the span, and that may quote a filter or a product.
    with _tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as begun:
        try:
            yield begun
        except BaseException as error:
            reason = error.reason if isinstance(error, LookalikeError) else type(error).__name__
            begun.set_status(Status(StatusCode.ERROR, reason))
            raise


def trace_headers() -> dict[str, str]:
    """`traceparent` for a server that joins the trace of this call; empty when it is not sampled."""
    headers: dict[str, str] = {}
    # Triton traces whatever names a parent, sampled or not.
    if trace.get_current_span().get_span_context().trace_flags.sampled:
        _PROPAGATOR.inject(headers)
    return headers
