"""Request ids and the lines of the log: one id from the caller to everything that is said of its call."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymilvus import MilvusException

from fakes import photo
from lookalike import Call, Client, IndexUnavailable, RetryPolicy
from lookalike.v1 import search_service_pb2
from lookalike_service import errors
from lookalike_service.logs import JsonFormatter, TextFormatter, configure_logging
from lookalike_service.milvus_clients import said
from support_gateway import Shop, open_shop, product
from support_telemetry import kept_spans

SEARCH = "lookalike.v1.SearchService/SearchProducts"
REQUEST = search_service_pb2.SearchProductsRequest(image=photo({"look": "red dress"}), filter='brand = "Secret Brand"')


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        yield opened


@contextmanager
def written(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """What the service logs during a block, as that formatter writes it."""
    stream, service = io.StringIO(), logging.getLogger("lookalike_service")
    handler, level = logging.StreamHandler(stream), service.level
    handler.setFormatter(formatter)
    service.addHandler(handler)
    service.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        service.removeHandler(handler)
        service.setLevel(level)


async def trailing(call: grpc.aio.Call) -> dict[str, str | bytes]:
    return {key: value for key, value in await call.trailing_metadata()}


async def test_the_callers_id_comes_back_with_the_timings(shop: Shop) -> None:
    call = shop.search.SearchProducts(REQUEST, metadata=(("x-request-id", "shop/4711"),))
    await call
    said = await trailing(call)
    assert said["x-request-id"] == "shop/4711"
    assert "inference;dur=" in str(said["server-timing"])
    assert said["lookalike-embedding-version"] == "1"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, 'quo"ted'])
async def test_an_id_that_does_not_belong_into_a_log_is_replaced(shop: Shop, sent: str) -> None:
    call = shop.search.SearchProducts(REQUEST, metadata=(("x-request-id", sent),))
    await call
    assert re.fullmatch(r"[0-9a-f]{32}", str((await trailing(call))["x-request-id"]))


async def test_every_call_gets_an_id_of_its_own(shop: Shop) -> None:
    ids = set()
    for _ in range(3):
        call = shop.search.SearchProducts(REQUEST)
        await call
        ids.add((await trailing(call))["x-request-id"])
    assert len(ids) == 3


async def test_a_call_ends_in_one_line_without_anything_of_the_callers(shop: Shop) -> None:
    with written(TextFormatter()) as log:
        await shop.search.SearchProducts(REQUEST, metadata=(("x-request-id", "r1"),))
    (line,) = log.getvalue().splitlines()
    assert re.search(rf"INFO lookalike_service.observing: {SEARCH} OK in \d+\.\d ms \[r1\]$", line)
    assert "Secret" not in log.getvalue()


async def test_what_nobody_foresaw_is_logged_with_the_id(shop: Shop) -> None:
    shop.finder.failure = KeyError("nobody foresaw this")
    with written(TextFormatter()) as log, pytest.raises(grpc.aio.AioRpcError) as failed:
        await shop.search.SearchProducts(REQUEST, metadata=(("x-request-id", "r2"),))
    assert dict(failed.value.trailing_metadata())["x-request-id"] == "r2"
    assert re.search(rf"{SEARCH} INTERNAL in .* \[r2\]$", log.getvalue(), re.MULTILINE)
    assert re.search(r"ERROR .*unexpected failure in .* \[r2\]$", log.getvalue(), re.MULTILINE)


async def test_lines_as_json_have_the_figures_the_request_and_the_trace(shop: Shop) -> None:
    shop.index.failure = errors.IndexUnavailable("the index does not answer")
    with kept_spans() as spans, written(JsonFormatter()) as log, pytest.raises(grpc.aio.AioRpcError):
        await shop.search.SearchProducts(REQUEST, metadata=(("x-request-id", "r3"),))
    (line,) = map(json.loads, log.getvalue().splitlines())
    (span,) = [span for span in spans.get_finished_spans() if span.name == SEARCH]
    assert span.context is not None
    assert (
        line.items()
        >= {
            "level": "INFO",
            "logger": "lookalike_service.observing",
            "method": SEARCH,
            "code": "UNAVAILABLE",
            "reason": "INDEX_UNAVAILABLE",
            "request_id": "r3",
            "trace_id": f"{span.context.trace_id:032x}",
            "span_id": f"{span.context.span_id:016x}",
        }.items()
    )
    assert 0 < line["seconds"] < 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_an_exception_stays_one_line_of_json() -> None:
    with written(JsonFormatter()) as log:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("lookalike_service").exception("it failed")
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["exception"].startswith("Traceback")
    assert "request_id" not in json.loads(line)


async def test_a_health_check_is_not_worth_a_line(shop: Shop) -> None:
    with written(TextFormatter()) as log:
        await health_pb2_grpc.HealthStub(shop.channel).Check(health_pb2.HealthCheckRequest())
    assert log.getvalue() == ""


def test_the_format_is_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        configure_logging("INFO", format="json")
        logging.getLogger("lookalike_service").info("hello %s", "you")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert json.loads(capsys.readouterr().err)["message"] == "hello you"


async def test_the_client_shows_the_id_on_its_errors_and_reports(shop: Shop) -> None:
    shop.index.failure = errors.IndexUnavailable("the index does not answer")
    reports: list[Call] = []
    async with Client(
        f"127.0.0.1:{shop.gateway.port}",
        retry=RetryPolicy(max_attempts=1),
        metadata=(("x-request-id", "r4"),),
        on_call=reports.append,
    ) as client:
        with pytest.raises(IndexUnavailable) as failed:
            await client.search(photo({"look": "red dress"}))
        shop.index.failure = None
        await client.search(photo({"look": "red dress"}))
    assert failed.value.request_id == "r4"
    assert [report.request_id for report in reports] == ["r4", "r4"]


async def test_an_error_without_a_server_has_no_id() -> None:
    async with Client("127.0.0.1:1", retry=RetryPolicy(max_attempts=1), timeout=5) as client:
        with pytest.raises(Exception, match="cannot reach a server") as failed:
            await client.get_product("a")
    assert getattr(failed.value, "request_id", None) == ""


async def test_the_image_of_an_import_is_in_no_log(shop: Shop) -> None:
    with written(TextFormatter()) as log:
        await shop.bring([product("a", "look of an image")])
    assert "ImportProducts OK" in log.getvalue()
    assert "look of an image" not in log.getvalue()


def test_a_filter_that_milvus_quotes_is_kept_out_of_the_log() -> None:
    error = MilvusException(message='cannot parse expression: brand == "Secret Brand", error: line 1:0')
    assert said(error) == "<MilvusException: (code=1, message=cannot parse expression ..."
    assert len(said(MilvusException(message="long " * 1000))) == 500


async def test_what_a_product_is_stays_out_of_the_databases_errors(shop: Shop) -> None:
    async with shop.store.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE views")
    with written(TextFormatter()) as log:
        answers = await shop.bring([product("a", title="Secret Title")], failing=True)
    assert answers[0].error.message == "the database does not answer, or cannot be written"
    assert "no such table" in log.getvalue()
    assert "Secret" not in log.getvalue()
