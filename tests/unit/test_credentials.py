"""Who gets in, and how far: API keys, rights, catalogs and quotas, as a caller meets them."""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fakes import photo
from lookalike.v1 import garment_pb2, product_pb2, product_service_pb2, search_service_pb2
from lookalike_service.access import rights_for
from lookalike_service.callers import Right
from lookalike_service.logs import TextFormatter
from support_gateway import Shop, open_shop, product, refusal, taken_apart
from support_keys import KeyFile
from support_telemetry import Counted

PHOTO = photo({"look": "red dress", "category": "dress"})
UNKNOWN, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED
CALLS_REFUSED = Path(__file__).parents[2] / "docs/runbooks/CallsRefused.md"
BOTH = '["default", "other"]'


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path)


@asynccontextmanager
async def opened(keys: KeyFile, **changes: Any) -> AsyncIterator[Shop]:  # noqa: ANN401 - any setting
    async with open_shop(keys_file=str(keys.path), **changes) as shop:
        yield shop


def of(key: str) -> tuple[tuple[str, str], ...]:
    return (("x-api-key", key),)


def searching(**fields: Any) -> search_service_pb2.SearchProductsRequest:  # noqa: ANN401
    return search_service_pb2.SearchProductsRequest(**({"image": PHOTO} | fields))


async def bring(shop: Shop, key: str, *products: product_pb2.Product) -> list[Any]:
    requests = (product_service_pb2.ImportProductsRequest(product=each) for each in products)
    return [answer async for answer in shop.products.ImportProducts(requests, metadata=of(key))]


async def test_without_a_key_nobody_gets_in(keys: KeyFile) -> None:
    keys.add("web")
    counted = Counted()
    async with opened(keys) as shop:
        refused = await refusal(shop.search.SearchProducts(searching()))
        assert (refused.code, refused.reason) == (UNKNOWN, "CREDENTIALS_INVALID")
        assert "x-api-key" in refused.message
        refused = await refusal(shop.search.SearchProducts(searching(), metadata=of("lookalike_web_guess")))
        assert (refused.code, refused.reason) == (UNKNOWN, "CREDENTIALS_INVALID")
        assert "guess" not in refused.message
        assert shop.finder.calls == 0
    method = "lookalike.v1.SearchService/SearchProducts"
    assert counted("lookalike_call_errors_total", method=method, reason="CREDENTIALS_INVALID") == 2


async def test_streams_are_asked_too(keys: KeyFile) -> None:
    async with opened(keys) as shop:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await bring(shop, "none", product("p"))
        assert refused.value.code() is UNKNOWN
        refusal_of_views = await refusal(shop.products.RecordViews(iter([])))
        assert refusal_of_views.reason == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer "])
async def test_a_key_may_come_as_authorization(keys: KeyFile, scheme: str) -> None:
    key = keys.add("web")
    async with opened(keys) as shop:
        await shop.search.AnalyzeImage(
            search_service_pb2.AnalyzeImageRequest(image=PHOTO), metadata=(("authorization", scheme + key),)
        )


async def test_a_stranger_is_turned_away_before_his_photo_is_read(keys: KeyFile) -> None:
    """His message is as long as gRPC lets through, and none of it has to arrive for the answer."""
    async with opened(keys) as shop:
        call: Any = shop.channel.stream_unary("/lookalike.v1.SearchService/SearchProducts")(metadata=of("stranger"))
        refused = await refusal(call)  # nothing was sent
        assert refused.reason == "CREDENTIALS_INVALID"
        big = searching(image=bytes(20 * 1024 * 1024))
        assert (await refusal(shop.search.SearchProducts(big, metadata=of("stranger")))).code is UNKNOWN


def test_every_method_needs_the_right_that_it_should() -> None:
    needed = {
        f"{service.full_name}/{method.name}": rights_for(f"{service.full_name}/{method.name}")
        for module in (search_service_pb2, product_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    search, manage = {Right.SEARCH}, {Right.MANAGE}
    for name, rights in needed.items():
        if name.startswith("lookalike.v1.SearchService/"):
            assert rights == search, name
        elif name.endswith(("/GetProduct", "/ListProducts")):
            assert rights == search | manage, name
        else:
            assert rights == manage, name
    assert rights_for("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo") == set()


async def test_a_key_does_no_more_than_it_is_for(keys: KeyFile) -> None:
    finds = keys.add("finds", rights='["search"]')
    keeps = keys.add("keeps", rights='["manage"]')
    name = product_service_pb2.GetProductRequest(name="catalogs/default/products/p")
    async with opened(keys) as shop:
        assert (await bring(shop, keeps, product("p")))[0].garment_views == 1
        for key in (finds, keeps):
            await shop.products.GetProduct(name, metadata=of(key))
        await shop.search.SearchProducts(searching(), metadata=of(finds))
        refused = await refusal(shop.search.SearchProducts(searching(), metadata=of(keeps)))
        assert (refused.code, refused.reason) == (DENIED, "PERMISSION_DENIED")
        assert "keeps lacks the right to search, which SearchProducts needs" in refused.message
        delete = product_service_pb2.DeleteProductRequest(name="catalogs/default/products/p")
        assert (await refusal(shop.products.DeleteProduct(delete, metadata=of(finds)))).code is DENIED
        with pytest.raises(grpc.aio.AioRpcError) as refused_import:
            await bring(shop, finds, product("q"))
        assert refused_import.value.code() is DENIED


async def test_catalogs_are_closed_to_each_other(keys: KeyFile) -> None:
    """Neither products nor tokens of one are good for the key of the other."""
    ours, theirs = keys.add("ours"), keys.add("theirs", catalogs='["other"]')
    async with opened(keys) as shop:
        await bring(shop, ours, product("dress", "red dress"))
        await bring(shop, theirs, product("gown", "red dress", catalog="other"))
        answer = await shop.search.SearchProducts(searching(page_size=1), metadata=of(ours))
        assert [hit.product.name for hit in answer.results[0].hits] == ["catalogs/default/products/dress"]
        token = answer.results[0].garment.garment_token
        tokens = garment_pb2.GarmentTokens(tokens=[token])

        async def denied(call: Any) -> None:  # noqa: ANN401
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (DENIED, "PERMISSION_DENIED")
            assert "has no access to the catalog" in refused.message

        search, products = shop.search, shop.products
        await denied(search.SearchProducts(searching(), metadata=of(theirs)))
        request = search_service_pb2.SearchProductsRequest(garments=tokens)
        await denied(search.SearchProducts(request, metadata=of(theirs)))
        request.catalog = "catalogs/other"
        taken = await refusal(search.SearchProducts(request, metadata=of(theirs)))
        assert taken.reason == "GARMENT_TOKEN_INVALID"
        analyze = search_service_pb2.AnalyzeImageRequest(image=PHOTO)
        await denied(search.AnalyzeImage(analyze, metadata=of(theirs)))
        name = "catalogs/default/products/dress"
        for method, message in (
            (search.ListSimilarProducts, search_service_pb2.ListSimilarProductsRequest(name=name)),
            (products.GetProduct, product_service_pb2.GetProductRequest(name=name)),
            (products.ListProducts, product_service_pb2.ListProductsRequest(parent="catalogs/default")),
            (products.DeleteProduct, product_service_pb2.DeleteProductRequest(name=name)),
            (
                products.UpdateProduct,
                product_service_pb2.UpdateProductRequest(product=product_pb2.Product(name=name, title="mine")),
            ),
            (
                products.CreateProduct,
                product_service_pb2.CreateProductRequest(
                    parent="catalogs/default", product_id="x", product=product("x")
                ),
            ),
        ):
            await denied(method(message, metadata=of(theirs)))
        [imported] = await bring(shop, theirs, product("stolen"))
        assert taken_apart(imported.error).reason == "PERMISSION_DENIED"
        listed = await products.ListProducts(
            product_service_pb2.ListProductsRequest(parent="catalogs/default"), metadata=of(ours)
        )
        assert [each.name for each in listed.products] == [name]


async def test_a_page_token_opens_no_other_catalog(keys: KeyFile) -> None:
    both, theirs = keys.add("both", catalogs=BOTH), keys.add("theirs", catalogs='["other"]')
    async with opened(keys) as shop:
        await bring(shop, both, product("a"), product("b"), product("c", catalog="other"))
        request = product_service_pb2.ListProductsRequest(parent="catalogs/default", page_size=1)
        page = (await shop.products.ListProducts(request, metadata=of(both))).next_page_token
        assert page
        elsewhere = product_service_pb2.ListProductsRequest(parent="catalogs/other", page_size=1, page_token=page)
        refused = await refusal(shop.products.ListProducts(elsewhere, metadata=of(theirs)))
        assert refused.reason == "PAGE_TOKEN_INVALID"


async def test_whether_a_strange_catalog_exists_is_not_said(keys: KeyFile) -> None:
    key = keys.add("web")
    async with opened(keys) as shop:
        said = [
            await refusal(shop.search.SearchProducts(searching(catalog=f"catalogs/{name}"), metadata=of(key)))
            for name in ("other", "nowhere")
        ]
    assert {(each.code, each.message.replace("nowhere", "other")) for each in said} == {
        (DENIED, "the caller 'web' has no access to the catalog 'other'")
    }


async def test_health_is_open_and_reflection_is_not(keys: KeyFile) -> None:
    key = keys.add("web", rights='["search"]')
    async with opened(keys) as shop:
        health: Any = health_pb2_grpc.HealthStub(shop.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(shop.channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(reflection.ServerReflectionInfo(iter([question]))))
        assert refused.value.code() is UNKNOWN
        answer = await anext(aiter(reflection.ServerReflectionInfo(iter([question]), metadata=of(key))))
        assert answer.list_services_response.service


async def test_requests_beyond_the_quota_are_refused_with_the_time_to_wait(keys: KeyFile) -> None:
    key, other = keys.add("web", requests_per_second=0.1), keys.add("other")
    async with opened(keys) as shop:
        await shop.search.SearchProducts(searching(), metadata=of(key))
        refused = await refusal(shop.search.SearchProducts(searching(), metadata=of(key)))
        assert (refused.code, refused.reason) == (BUSY, "QUOTA_EXCEEDED")
        assert refused.retry_seconds == pytest.approx(10, abs=2)
        await shop.search.SearchProducts(searching(), metadata=of(other))


async def test_photos_beyond_the_quota_are_refused(keys: KeyFile) -> None:
    key, other = keys.add("web", photos_at_once=2), keys.add("other")
    async with opened(keys, recent_mebibytes=0) as shop:
        shop.finder.gate = asyncio.Event()
        under_way = [asyncio.ensure_future(shop.search.SearchProducts(searching(), metadata=of(key))) for _ in range(2)]
        while shop.finder.calls < 2:
            await asyncio.sleep(0.001)
        refused = await refusal(shop.search.SearchProducts(searching(), metadata=of(key)))
        assert (refused.code, refused.reason) == (BUSY, "QUOTA_EXCEEDED")
        assert refused.retry_seconds
        shop.finder.gate.set()
        await shop.search.SearchProducts(searching(), metadata=of(other))
        await asyncio.gather(*under_way)
        await shop.search.SearchProducts(searching(), metadata=of(key))


async def test_one_key_does_not_have_all_imports(keys: KeyFile) -> None:
    key, other = keys.add("web"), keys.add("other")
    async with opened(keys, import_streams=2) as shop:
        going = asyncio.Event()

        async def slow() -> AsyncIterator[product_service_pb2.ImportProductsRequest]:
            yield product_service_pb2.ImportProductsRequest(product=product("p"))
            await going.wait()

        first = aiter(shop.products.ImportProducts(slow(), metadata=of(key)))
        assert (await anext(first)).position == 0
        refused = await refusal(anext(aiter(shop.products.ImportProducts(slow(), metadata=of(key)))))
        assert refused.reason == "QUOTA_EXCEEDED"
        assert len(await bring(shop, other, product("q"))) == 1
        going.set()


async def test_everybody_without_a_key_shares_the_default_quota() -> None:
    async with open_shop(requests_per_second=0.1) as shop:
        await shop.search.SearchProducts(searching())
        refused = await refusal(shop.search.SearchProducts(searching()))
        assert refused.reason == "QUOTA_EXCEEDED"


async def test_the_bytes_of_waiting_photos_are_bounded() -> None:
    mebibyte = 1024 * 1024
    async with open_shop(bytes_in_flight=32 * mebibyte) as shop:
        shop.finder.gate = asyncio.Event()
        big = PHOTO + b" " * (18 * mebibyte)
        first = asyncio.ensure_future(shop.search.SearchProducts(searching(image=big)))
        while shop.finder.calls < 1:
            await asyncio.sleep(0.001)
        refused = await refusal(shop.search.SearchProducts(searching(image=big + b" ")))
        assert (refused.code, refused.reason) == (BUSY, "OVERLOADED")
        assert "memory" in refused.message
        shop.finder.gate.set()
        await first
        await shop.search.SearchProducts(searching(image=big + b" "))


@pytest.mark.parametrize("method", ["SearchService/SearchProducts", "ProductService/ImportProducts"])
async def test_a_message_that_is_no_protobuf_is_a_bad_request(method: str) -> None:
    async with open_shop() as shop:
        path = f"/lookalike.v1.{method}"
        if method.endswith("ImportProducts"):
            stream: Any = shop.channel.stream_stream(path)
            call = anext(aiter(stream(iter([b"\xff\xff"]))))
        else:
            unary: Any = shop.channel.unary_unary(path)
            call = unary(b"\xff\xff")
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
        assert "no protobuf" in refused.message


async def test_the_log_names_the_caller_and_never_his_key(keys: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    key = keys.add("web", requests_per_second=0.01)
    with caplog.at_level(logging.DEBUG):
        async with opened(keys) as shop:
            await shop.search.SearchProducts(searching(), metadata=of(key))
            await refusal(shop.search.SearchProducts(searching(), metadata=of(key)))
            await refusal(shop.search.SearchProducts(searching(), metadata=of(key + "x")))
    lines = [record.getMessage() for record in caplog.records if record.name == "lookalike_service.observing"]
    assert any("SearchProducts OK" in line and line.endswith("for web") for line in lines)
    assert any("QUOTA_EXCEEDED" in line and line.endswith("for web") for line in lines)
    assert any("CREDENTIALS_INVALID" in line and line.endswith(" ms") for line in lines)
    assert key not in caplog.text


async def test_the_runbooks_command_counts_calls_by_key(keys: KeyFile) -> None:
    (pattern,) = re.findall(r"gateway \| grep -o '([^']+)'", CALLS_REFUSED.read_text())
    printed = io.StringIO()
    handler, service = logging.StreamHandler(printed), logging.getLogger("lookalike_service")
    # As a container prints them: the request's id stands behind the caller.
    handler.setFormatter(TextFormatter())
    key, level = keys.add("web"), service.level
    service.addHandler(handler)
    service.setLevel(logging.INFO)
    try:
        async with opened(keys) as shop:
            for _ in range(2):
                await shop.search.SearchProducts(searching(), metadata=of(key))
    finally:
        service.removeHandler(handler)
        service.setLevel(level)
    assert re.findall(pattern, printed.getvalue()) == [" ms for web"] * 2
