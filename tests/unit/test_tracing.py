"""Traces: one from the client through the gateway to finder, index and database; sampled; telling no secrets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from fakes import FakeFinder, photo
from lookalike import Client, LookalikeError, SyncClient
from lookalike.v1 import search_service_pb2
from lookalike_service.model import Found
from lookalike_service.telemetry import asking
from lookalike_service.tracing import trace_headers, traced
from support_gateway import Shop, open_shop, product, refusal
from support_telemetry import Collector, kept_spans, parent_of

SEARCH = "lookalike.v1.SearchService/SearchProducts"
DRESS = photo({"look": "red dress"})


class AskingFinder(FakeFinder):
    """Asks a server as TritonFinder does, and keeps the headers that it would send there."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[dict[str, str]] = []

    async def find(self, image: bytes, **options: Any) -> Found:  # noqa: ANN401 - as FakeFinder
        with asking("triton", "infer", model="garments_1"):
            self.headers.append(trace_headers())
            return await super().find(image, **options)


@pytest.fixture
def finder() -> AskingFinder:
    return AskingFinder()


@pytest.fixture
async def shop(finder: AskingFinder) -> AsyncIterator[Shop]:
    async with open_shop(finder=finder) as opened:
        yield opened


@pytest.fixture
def application() -> Iterator[trace.Tracer]:
    """The tracer of a program that uses the client."""
    spans = TracerProvider(shutdown_on_exit=False)
    yield spans.get_tracer("shop")
    spans.shutdown()


def identity(span: trace.Span) -> tuple[int, int]:
    context = span.get_span_context()
    return context.trace_id, context.span_id


def trace_ids(spans: tuple[ReadableSpan, ...]) -> set[int]:
    return {span.context.trace_id for span in spans if span.context}


async def test_one_trace_from_the_client_to_finder_index_and_database(
    shop: Shop, finder: AskingFinder, application: trace.Tracer
) -> None:
    await shop.bring([product("p", "red dress")])
    with kept_spans(share=0.0) as kept:
        async with Client(f"127.0.0.1:{shop.gateway.port}", metadata=(("x-request-id", "r1"),)) as client:
            with application.start_as_current_span("page") as page:
                await client.search(DRESS, filter='brand != "Secret Brand"')
    spans = kept.get_finished_spans()
    assert trace_ids(spans) == {identity(page)[0]}
    tree = {span.name: parent_of(span, spans) for span in spans}
    assert tree == {
        SEARCH: "",
        "queue": SEARCH,
        "inference": SEARCH,
        "triton infer": "inference",
        "search": SEARCH,
        "database read": SEARCH,
    }
    (call,) = [span for span in spans if span.name == SEARCH]
    assert call.parent is not None
    assert (call.parent.trace_id, call.parent.span_id) == identity(page)
    assert call.kind is trace.SpanKind.SERVER
    assert dict(call.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "lookalike.v1.SearchService",
        "rpc.method": "SearchProducts",
        "rpc.grpc.status_code": 0,
        "lookalike.request_id": "r1",
    }
    (asked,) = [span for span in spans if span.name == "triton infer"]
    assert asked.context is not None
    version, *ids, flags = finder.headers[-1]["traceparent"].split("-")
    assert version == "00"
    assert ids == [f"{asked.context.trace_id:032x}", f"{asked.context.span_id:016x}"]
    assert int(flags, 16) & trace.TraceFlags.SAMPLED
    assert "Secret" not in "".join(span.to_json() for span in spans)


async def test_the_blocking_client_hands_the_trace_on_too(shop: Shop, application: trace.Tracer) -> None:
    def search() -> tuple[int, int]:
        address = f"127.0.0.1:{shop.gateway.port}"
        with SyncClient(address) as client, application.start_as_current_span("page") as page:
            client.search(DRESS)
        return identity(page)

    with kept_spans(share=0.0) as kept:
        trace_id, _ = await asyncio.to_thread(search)
    assert trace_ids(kept.get_finished_spans()) == {trace_id}


async def test_an_import_joins_the_trace(shop: Shop, finder: AskingFinder, application: trace.Tracer) -> None:
    with kept_spans(share=0.0) as kept:
        async with Client(f"127.0.0.1:{shop.gateway.port}") as client:
            with application.start_as_current_span("nightly") as nightly:
                assert [answer.position async for answer in client.import_products([product("a"), product("b")])]
    spans = kept.get_finished_spans()
    assert trace_ids(spans) == {identity(nightly)[0]}
    assert sum(span.name == "triton infer" for span in spans) == 2
    assert {"database read", "database write"} <= {span.name for span in spans}


async def test_a_caller_that_says_no_is_not_traced(shop: Shop, finder: AskingFinder) -> None:
    with kept_spans(share=1.0) as kept:
        await shop.search.SearchProducts(
            search_service_pb2.SearchProductsRequest(image=DRESS),
            metadata=(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),),
        )
    assert kept.get_finished_spans() == ()
    assert finder.headers == [{}]


async def test_the_share_decides_for_callers_that_say_nothing(shop: Shop, finder: AskingFinder) -> None:
    for share, traces in ((1.0, 3), (0.0, 0)):
        with kept_spans(share=share) as kept:
            for _ in range(3):
                await shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=DRESS))
        assert len(trace_ids(kept.get_finished_spans())) == traces


async def test_a_call_does_not_inherit_the_trace_of_whoever_started_the_server(application: trace.Tracer) -> None:
    with kept_spans(share=1.0) as kept, application.start_as_current_span("start") as start:
        async with open_shop() as shop:
            await shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=DRESS))
    calls = tuple(span for span in kept.get_finished_spans() if span.name == SEARCH)
    assert len(calls) == 1
    assert trace_ids(calls) != {identity(start)[0]}


async def test_an_error_is_on_the_spans_without_its_words(shop: Shop) -> None:
    with kept_spans() as kept:
        await refusal(shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=b"secret bytes")))
    spans = {span.name: span for span in kept.get_finished_spans()}
    for name in (SEARCH, "inference", "triton infer"):
        assert spans[name].status.status_code is trace.StatusCode.ERROR
        assert spans[name].status.description == "IMAGE_UNREADABLE"
        assert spans[name].events == ()
    assert (spans[SEARCH].attributes or {})["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not any("no image" in span.to_json() for span in spans.values())


async def test_without_a_trace_nothing_is_sent_along(shop: Shop, finder: AskingFinder) -> None:
    await shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=DRESS))
    assert finder.headers == [{}]


async def test_what_the_callers_metadata_say_is_not_overwritten(shop: Shop, application: trace.Tracer) -> None:
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with kept_spans(share=0.0) as kept, application.start_as_current_span("page"):
        async with Client(f"127.0.0.1:{shop.gateway.port}", metadata=(("traceparent", own),)) as client:
            with pytest.raises(LookalikeError):
                await client.get_product("nothing")
    assert trace_ids(kept.get_finished_spans()) == {int("0af7651916cd43dd8448eb211c80319c", 16)}


async def test_spans_reach_a_collector_before_the_end(shop: Shop) -> None:
    with Collector() as collector:
        async with traced(collector.url, share=1.0):
            await shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=DRESS))
    resources = [
        resource
        for body in collector.received
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
    ]
    names = {span.name for resource in resources for scope in resource.scope_spans for span in scope.spans}
    assert {SEARCH, "inference", "triton infer"} <= names
    service = {each.key: each.value.string_value for each in resources[0].resource.attributes}
    assert service["service.name"] == "lookalike"


async def test_a_collector_that_is_away_fails_no_call_and_holds_up_no_end(shop: Shop) -> None:
    loop = asyncio.get_running_loop()
    async with traced("http://127.0.0.1:1/v1/traces", share=1.0):
        await shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=DRESS))
        begin = loop.time()
    assert loop.time() - begin < 15


def test_the_client_does_without_opentelemetry() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
import lookalike
from lookalike.propagation import with_trace
assert with_trace((("a", "b"),)) == (("a", "b"),)
assert not [name for name in sys.modules if name.startswith("opentelemetry.")]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
