"""Metrics: every call is counted as it ended, the documented table is the registry, and Prometheus can read it."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes import photo
from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike_service import metrics
from lookalike_service.errors import IndexUnavailable, Overloaded, StartupError
from lookalike_service.metrics import REGISTRY, exposed
from support_gateway import Shop, eventually, open_shop, product, refusal
from support_telemetry import Counted

SEARCH = "lookalike.v1.SearchService/SearchProducts"
IMPORT = "lookalike.v1.ProductService/ImportProducts"
RECORD = "lookalike.v1.ProductService/RecordViews"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop(photo_permits=1, search_waiters=0) as opened:
        yield opened


def searching(*looks: str) -> search_service_pb2.SearchProductsRequest:
    return search_service_pb2.SearchProductsRequest(image=photo(*({"look": look} for look in looks)))


async def test_a_search_is_counted_with_its_phases_and_garments(shop: Shop) -> None:
    await shop.bring([product("p", "red dress")])
    counted = Counted()
    await shop.search.SearchProducts(searching("red dress", "blue hat"))
    assert counted("lookalike_calls_total", method=SEARCH, code="OK") == 1
    assert counted("lookalike_call_seconds_count", method=SEARCH) == 1
    assert counted("lookalike_garments_per_photo_sum") == 2
    assert counted("lookalike_garments_per_photo_count") == 1
    for phase in ("queue", "inference", "search", "own"):
        assert counted("lookalike_phase_seconds_count", phase=phase, version="1") == 1
    assert counted("lookalike_calls_under_way", method=SEARCH) == 0
    read = {"server": "database", "operation": "read", "outcome": "ok"}
    assert counted("lookalike_server_seconds_count", **read) >= 1


async def test_a_photo_without_garments_counts_as_one_with_none(shop: Shop) -> None:
    counted = Counted()
    await shop.search.AnalyzeImage(search_service_pb2.AnalyzeImageRequest(image=photo()))
    assert counted("lookalike_garments_per_photo_count") == 1
    assert counted("lookalike_garments_per_photo_sum") == 0


async def test_errors_are_counted_by_code_and_reason(shop: Shop) -> None:
    counted = Counted()
    await refusal(shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(image=b"no photo")))
    shop.index.failure = IndexUnavailable("the index does not answer")
    await refusal(shop.search.SearchProducts(searching("red dress")))
    shop.index.failure, shop.finder.failure = None, KeyError("nobody foresaw this")
    await refusal(shop.search.SearchProducts(searching("blue dress")))
    for code in ("INVALID_ARGUMENT", "UNAVAILABLE", "INTERNAL"):
        assert counted("lookalike_calls_total", method=SEARCH, code=code) == 1
    for reason in ("IMAGE_UNREADABLE", "INDEX_UNAVAILABLE", "INTERNAL"):
        assert counted("lookalike_call_errors_total", method=SEARCH, reason=reason) == 1
    assert counted("lookalike_calls_total", method=SEARCH, code="OK") == 0


async def test_permits_and_refusals_are_shown_while_they_last(shop: Shop) -> None:
    shop.finder.gate = asyncio.Event()
    counted = Counted()
    first = shop.search.SearchProducts(searching("red dress"))
    waiting = asyncio.ensure_future(first.code())

    async def check() -> None:
        assert counted("lookalike_permits_taken", work="photos") == 1
        assert counted("lookalike_calls_under_way", method=SEARCH) == 1

    await eventually(check)
    second = await refusal(shop.search.SearchProducts(searching("red dress")))
    assert second.reason == Overloaded.reason
    assert counted("lookalike_permits_refused_total", work="photos") == 1
    assert REGISTRY.get_sample_value("lookalike_permits", {"work": "photos"}) == 1
    shop.finder.gate.set()
    assert await waiting is grpc.StatusCode.OK
    assert counted("lookalike_permits_taken", work="photos") == 0
    assert counted("lookalike_permits_waiting", work="photos") == 0


async def test_a_cancelled_call_and_a_late_one_are_told_apart(shop: Shop) -> None:
    shop.finder.gate = asyncio.Event()
    counted = Counted()
    call = shop.search.SearchProducts(searching("red dress"))

    async def begun() -> None:
        assert counted("lookalike_calls_under_way", method=SEARCH) == 1

    await eventually(begun)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    async def cancelled() -> None:
        assert counted("lookalike_calls_total", method=SEARCH, code="CANCELLED") == 1
        assert counted("lookalike_calls_under_way", method=SEARCH) == 0

    await eventually(cancelled)
    late = await refusal_or_deadline(shop)
    assert late is grpc.StatusCode.DEADLINE_EXCEEDED

    async def counted_late() -> None:
        assert counted("lookalike_calls_total", method=SEARCH, code="DEADLINE_EXCEEDED") == 1

    await eventually(counted_late)


async def refusal_or_deadline(shop: Shop) -> grpc.StatusCode:
    try:
        await shop.search.SearchProducts(searching("red dress"), timeout=0.2)
    except grpc.aio.AioRpcError as error:
        return error.code()
    raise AssertionError("the call had no time and went well")


async def test_an_import_is_one_call_and_many_products(shop: Shop) -> None:
    counted = Counted()
    broken = product("broken")
    broken.images[0].content = b"no photo"
    unnamed = product("x")
    unnamed.name = "nothing"
    await shop.bring([product("a"), product("b", catalog="other"), broken, unnamed], failing=True)
    await shop.bring([product("a")])
    assert counted("lookalike_calls_total", method=IMPORT, code="OK") == 2
    for catalog, outcome in (("default", "created"), ("other", "created"), ("default", "failed"), ("", "failed")):
        assert counted("lookalike_imported_products_total", catalog=catalog, outcome=outcome) == 1, catalog
    assert counted("lookalike_imported_products_total", catalog="default", outcome="unchanged") == 1
    assert counted("lookalike_embedded_views_total", catalog="default") == 1


async def test_a_stream_that_its_caller_leaves_is_counted_as_cancelled(shop: Shop) -> None:
    shop.finder.gate = asyncio.Event()
    counted = Counted()
    call = shop.products.ImportProducts()
    await call.write(product_service_pb2.ImportProductsRequest(product=product("a")))

    async def begun() -> None:
        assert shop.finder.calls == 1

    await eventually(begun)
    call.cancel()

    async def cancelled() -> None:
        assert counted("lookalike_calls_total", method=IMPORT, code="CANCELLED") == 1
        assert counted("lookalike_calls_under_way", method=IMPORT) == 0
        assert counted("lookalike_permits_taken", work="imports") == 0

    await eventually(cancelled)


async def test_a_stream_that_its_caller_leaves_between_answers_is_counted_too(shop: Shop) -> None:
    counted = Counted()
    call = shop.products.ImportProducts()
    await call.write(product_service_pb2.ImportProductsRequest(product=product("a")))
    assert (await call.read()).position == 0
    call.cancel()

    async def cancelled() -> None:
        assert counted("lookalike_calls_total", method=IMPORT, code="CANCELLED") == 1

    await eventually(cancelled)


async def test_the_fourth_kind_of_call_is_counted_too(shop: Shop) -> None:
    counted = Counted()
    view = product_service_pb2.ProductPageView(product="catalogs/default/products/a")
    await refusal(shop.products.RecordViews(iter([product_service_pb2.RecordViewsRequest(views=[view])])))
    assert counted("lookalike_call_errors_total", method=RECORD, reason="REQUEST_INVALID") == 1


async def test_changes_that_the_index_has_not_got_are_shown(shop: Shop) -> None:
    assert REGISTRY.get_sample_value("lookalike_outbox_waiting") == 0
    shop.index.failure = IndexUnavailable("the index does not answer")
    await shop.bring([product("a")], failing=True)
    assert REGISTRY.get_sample_value("lookalike_outbox_waiting") == 1
    shop.index.failure = None

    async def caught_up() -> None:
        assert REGISTRY.get_sample_value("lookalike_outbox_waiting") == 0

    await eventually(caught_up)


async def test_the_documented_metrics_are_those_that_there_are(shop: Shop) -> None:
    await shop.bring([product("a")])
    await shop.search.SearchProducts(searching("a"))
    await refusal(shop.search.SearchProducts(search_service_pb2.SearchProductsRequest()))
    metrics.index_rows("default", "search", 1)
    metrics.permit_refused("photos")
    metrics.page_views("default", "accepted", 1)
    metrics.also_viewed(together=1, products=2)
    rows = re.findall(r"^\| `(lookalike_\w+)` \| (\w+) \|([\w, ]*)\|", OPERATIONS.read_text(), re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in rows}
    found = {}
    for metric in REGISTRY.collect():
        if not metric.name.startswith("process_"):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            assert metric.samples, f"{name} has no sample to compare labels with"
            found[name] = (metric.type, frozenset(metric.samples[0].labels) - {"le"})
    assert found == documented


async def test_prometheus_reads_what_is_counted(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    await shop.search.SearchProducts(searching("a"))
    with caplog.at_level("INFO"):
        async with exposed("127.0.0.1:0"):
            address = re.search(r"metrics on (http://\S+)", caplog.text)
            assert address is not None
            text = await asyncio.to_thread(_read, address[1])
    families = {family.name: family for family in text_string_to_metric_families(text)}
    calls = {sample.labels["method"] for sample in families["lookalike_calls"].samples}
    assert SEARCH in calls
    bounds = {s.labels["le"] for s in families["lookalike_call_seconds"].samples if s.name.endswith("_bucket")}
    assert {"0.001", "30.0", "+Inf"} <= bounds
    assert families["process_cpu_seconds"].samples[0].value > 0
    with pytest.raises(OSError):
        await asyncio.to_thread(_read, address[1])


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


async def test_a_taken_port_is_said_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartupError, match=r"port is taken.*LOOKALIKE_METRICS_ADDRESS.*port 0"):
            async with exposed(f"127.0.0.1:{taken.getsockname()[1]}"):
                pass


async def test_without_an_address_nothing_is_counted(shop: Shop) -> None:
    counted = Counted()
    try:
        async with exposed(""):
            await shop.search.SearchProducts(searching("a"))
    finally:
        metrics.record(True)
    assert counted("lookalike_calls_total", method=SEARCH, code="OK") == 0
    assert counted("lookalike_garments_per_photo_count") == 0
