"""The services as a caller meets them: a real server on a free port, the real stubs, fakes behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from fakes import photo, vector
from lookalike.v1 import garment_pb2, product_pb2, product_service_pb2, search_service_pb2
from lookalike_service import catalog, errors
from lookalike_service.errors import StartupError
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.server import build
from support_gateway import Refusal, Shop, open_shop, product, refusal, taken_apart

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
BUSY, AWAY = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE
PHOTO = photo({"look": "red dress", "category": "dress"}, {"look": "blue jeans", "category": "pants"})
NAME = "catalogs/default/products/p"


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        yield opened


def searching(**fields: object) -> search_service_pb2.SearchProductsRequest:
    return search_service_pb2.SearchProductsRequest(**{"image": PHOTO, **fields})  # type: ignore[arg-type]


def analyzing(**fields: object) -> search_service_pb2.AnalyzeImageRequest:
    return search_service_pb2.AnalyzeImageRequest(**{"image": PHOTO, **fields})  # type: ignore[arg-type]


def region(*corners: float, id: str = "") -> garment_pb2.Region:
    return garment_pb2.Region(box=garment_pb2.Box(x0=corners[0], y0=corners[1], x1=corners[2], y1=corners[3]), id=id)


def tokens(*values: str) -> garment_pb2.GarmentTokens:
    return garment_pb2.GarmentTokens(tokens=values)


async def test_a_photo_finds_the_lookalikes_of_every_garment(shop: Shop) -> None:
    await shop.bring([product("dress", "red dress", title="A dress"), product("jeans", "blue jeans"), product("hat")])
    call = shop.search.SearchProducts(searching(page_size=2))
    answer = await call
    assert [result.garment.category for result in answer.results] == ["dress", "pants"]
    assert [result.hits[0].product.name.rpartition("/")[2] for result in answer.results] == ["dress", "jeans"]
    first = answer.results[0].hits[0]
    assert first.score == pytest.approx(1, abs=1e-3)
    assert first.product.title == "A dress"
    assert first.image_id == first.product.images[0].id
    assert first.box == garment_pb2.Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9)
    assert all(len(result.hits) == 2 and result.next_page_token for result in answer.results)
    assert answer.embedding_version == 1
    trailing = dict(await call.trailing_metadata())
    assert trailing["lookalike-embedding-version"] == "1"
    assert [part.split(";")[0] for part in trailing["server-timing"].split(", ")] == [
        "queue",
        "inference",
        "search",
        "own",
    ]
    assert shop.index.searches == 1  # one batched call for both garments


async def test_what_an_answer_says_of_a_garment(shop: Shop) -> None:
    answer = await shop.search.AnalyzeImage(
        analyzing(mask_format=garment_pb2.MASK_FORMAT_RUN_LENGTH, include_embedding=True)
    )
    garment = answer.garments[0]
    assert garment.source == garment_pb2.GARMENT_SOURCE_DETECTED
    assert [label.name for label in garment.categories] == ["dress"]
    assert [(color.name, color.share) for color in garment.colors] == [("red", 0.5)]
    assert [label.name for label in garment.patterns] == ["solid"]
    assert [mark.type for mark in garment.landmarks] == list(range(1, 9))
    assert list(garment.embedding.values) == pytest.approx(vector("red dress").tolist())
    runs = garment.mask.run_length
    assert (runs.width, runs.height, sum(runs.runs), sum(runs.runs[1::2])) == (8, 8, 64, 16)
    answer = await shop.search.AnalyzeImage(analyzing(mask_format=garment_pb2.MASK_FORMAT_POLYGON))
    [ring] = answer.garments[0].mask.polygon.rings
    assert all(0.3 - 1e-6 <= point.x <= 0.7 + 1e-6 for point in ring.points)
    assert not (await shop.search.AnalyzeImage(analyzing())).garments[0].HasField("mask")


async def test_a_photo_asked_for_again_needs_no_model(shop: Shop) -> None:
    await shop.bring([product("p1", "red dress")])
    calls = shop.finder.calls
    first = await shop.search.SearchProducts(searching())
    again = await shop.search.SearchProducts(searching(filter="price < 100000"))
    analyzed = await shop.search.AnalyzeImage(analyzing(image=searching().image))
    assert shop.finder.calls == calls + 1
    assert [result.garment.box for result in again.results] == [result.garment.box for result in first.results]
    assert [garment.box for garment in analyzed.garments] == [result.garment.box for result in first.results]
    await shop.search.SearchProducts(searching(max_garments=1))
    assert shop.finder.calls == calls + 2


async def test_regions_say_where(shop: Shop) -> None:
    regions = [region(0, 0, 0.5, 0.5, id="left"), region(0.5, 0.5, 1, 1, id="right")]
    answer = await shop.search.AnalyzeImage(analyzing(regions=regions))
    assert [(garment.region_id, garment.source) for garment in answer.garments] == [("left", 2), ("right", 2)]
    assert [garment.box for garment in answer.garments] == [each.box for each in regions]


async def test_without_a_garment_the_whole_photo_counts(shop: Shop) -> None:
    answer = await shop.search.SearchProducts(searching(image=photo()))
    assert [result.garment.source for result in answer.results] == [garment_pb2.GARMENT_SOURCE_WHOLE_IMAGE]


async def test_a_token_stands_for_its_garment(shop: Shop) -> None:
    """Tapping, filtering and paging never touch the models."""
    await shop.bring(product(f"p{number}", f"look {number}", price=money(number * 100)) for number in range(25))
    first = await shop.search.SearchProducts(searching(page_size=10))
    calls = shop.finder.calls
    token = first.results[1].garment.garment_token
    garments = search_service_pb2.SearchProductsRequest(garments=tokens(token), page_size=10)
    again = await shop.search.SearchProducts(garments)
    assert names(again.results[0]) == names(first.results[1])
    assert again.results[0].garment.category == "pants"
    assert again.results[0].garment.garment_token == token
    garments.filter = "price < 500"
    assert sorted(names((await shop.search.SearchProducts(garments)).results[0])) == ["p0", "p1", "p2", "p3", "p4"]
    garments.filter = ""
    seen = names(first.results[1])
    garments.page_token = first.results[1].next_page_token
    while garments.page_token:
        page = (await shop.search.SearchProducts(garments)).results[0]
        seen += names(page)
        garments.page_token = page.next_page_token
    assert len(seen) == len(set(seen)) == 25
    assert shop.finder.calls == calls


def names(result: search_service_pb2.GarmentHits) -> list[str]:
    return [hit.product.name.rpartition("/")[2] for hit in result.hits]


def money(amount: int, currency: str = "EUR") -> product_pb2.Money:
    return product_pb2.Money(amount_minor=amount, currency_code=currency)


async def test_similar_products_come_from_stored_vectors(shop: Shop) -> None:
    looks = [{"look": "red dress", "variation": str(number)} for number in range(3)]
    await shop.bring([product("a", *looks[:2]), product("b", looks[2]), product("c", "something else")])
    calls = shop.finder.calls
    request = search_service_pb2.ListSimilarProductsRequest(name="catalogs/default/products/a", page_size=1)
    first = await shop.search.ListSimilarProducts(request)
    assert [hit.product.name for hit in first.hits] == ["catalogs/default/products/b"]
    request.page_token = first.next_page_token
    second = await shop.search.ListSimilarProducts(request)
    assert [hit.product.name for hit in second.hits] == ["catalogs/default/products/c"]
    assert second.next_page_token == ""
    assert shop.finder.calls == calls


async def test_a_product_comes_back_as_it_was_sent(shop: Shop) -> None:
    sent = product("p", "look", title="日本 😀", brand="b", category="Dress", price=money(0), available=False, uri="/x")
    sent.attributes["size"].string_value = "M"
    sent.attributes["stock"].number_value = 3
    sent.attributes["sale"].bool_value = True
    sent.images[0].hint.category = "dress"
    [answer] = await shop.bring([sent])
    assert (answer.outcome, answer.garment_views, answer.embedded_views) == (1, 1, 1)
    found = (await shop.products.GetProduct(product_service_pb2.GetProductRequest(name=sent.name))).product
    assert (found.title, found.brand, found.category, found.uri) == ("日本 😀", "b", "dress", "/x")
    assert found.HasField("available")
    assert not found.available
    assert found.price == sent.price
    assert dict(found.attributes) == dict(sent.attributes)
    assert found.images[0].hint == sent.images[0].hint
    assert found.images[0].uri == f"/images/{found.images[0].id}"
    assert not found.images[0].content
    assert [view.category for view in found.images[0].garment_views] == ["dress"]
    assert found.revision == answer.revision > 0
    assert found.create_time == found.update_time


@pytest.mark.parametrize("view", product_pb2.ProductView.values())
async def test_views_of_a_product(shop: Shop, view: product_pb2.ProductView.ValueType) -> None:
    sent = product("p", "one", "two", title="t")
    sent.attributes["a"].bool_value = True
    await shop.bring([sent])
    request = product_service_pb2.ListProductsRequest(product_view=view)
    [found] = (await shop.products.ListProducts(request)).products
    named, full = view == product_pb2.PRODUCT_VIEW_NAME, view == product_pb2.PRODUCT_VIEW_FULL
    assert found.name == sent.name
    assert found.title == ("" if named else "t")
    assert len(found.images) == (0 if named else 2 if full else 1)
    assert bool(found.attributes) == full


async def test_lists_page_and_filter(shop: Shop) -> None:
    await shop.bring(product(f"p{number}", available=number % 2 == 0) for number in range(9))
    request = product_service_pb2.ListProductsRequest(page_size=2, filter="available")
    pages = []
    while True:
        answer = await shop.products.ListProducts(request)
        pages.append([found.name.rpartition("/")[2] for found in answer.products])
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert pages == [["p0", "p2"], ["p4", "p6"], ["p8"]]


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_a_filter_that_few_pass_never_waits_for_a_scan_of_everything(
    shop: Shop, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "SCAN_ROWS", 4)
    monkeypatch.setattr(catalog, "SCAN_SECONDS", seconds)
    await shop.bring(product(f"p{number:02d}", available=number in (1, 13, 14)) for number in range(18))
    request = product_service_pb2.ListProductsRequest(page_size=2, filter="available")
    pages = []
    while True:
        answer = await shop.products.ListProducts(request)
        pages.append([found.name.rpartition("/")[2] for found in answer.products])
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    patient = [["p01", "p13"], ["p14"]]
    assert pages == (patient if seconds else [["p01"], [], [], ["p13", "p14"], []])


async def test_a_page_token_of_a_list_holds_for_that_list_only(shop: Shop) -> None:
    await shop.bring(product(f"p{number}") for number in range(4))
    listed = await shop.products.ListProducts(product_service_pb2.ListProductsRequest(page_size=2))
    searched = (await shop.search.SearchProducts(searching(page_size=2))).results[0]
    good = listed.next_page_token
    wrong = [
        {"page_token": good, "filter": "available"},
        {"page_token": good, "parent": "catalogs/other"},
        {"page_token": good[:-2] + ("AA" if good[-2:] != "AA" else "BB")},
        {"page_token": searched.next_page_token},
        {"page_token": searched.garment.garment_token},
    ]
    for fields in wrong:
        refused = await refusal(shop.products.ListProducts(product_service_pb2.ListProductsRequest(**fields)))
        assert (refused.code, refused.reason, refused.field) == (INVALID, "PAGE_TOKEN_INVALID", "page_token")
    similar = search_service_pb2.ListSimilarProductsRequest(name="catalogs/default/products/p0", page_token=good)
    assert (await refusal(shop.search.ListSimilarProducts(similar))).reason == "PAGE_TOKEN_INVALID"


async def test_create_and_delete(shop: Shop) -> None:
    request = product_service_pb2.CreateProductRequest(product_id="p", product=product("ignored", "red dress"))
    assert (await shop.products.CreateProduct(request)).product.name == NAME
    again = await refusal(shop.products.CreateProduct(request))
    assert (again.code, again.reason) == (grpc.StatusCode.ALREADY_EXISTS, "PRODUCT_EXISTS")
    assert again.metadata == {"product": NAME}
    delete = product_service_pb2.DeleteProductRequest(name=NAME)
    await shop.products.DeleteProduct(delete)
    assert (await refusal(shop.products.DeleteProduct(delete))).reason == "PRODUCT_NOT_FOUND"
    delete.allow_missing = True
    await shop.products.DeleteProduct(delete)
    assert names((await shop.search.SearchProducts(searching())).results[0]) == []


async def test_imports_answer_in_order_and_report_failures_in_band(shop: Shop) -> None:
    requests = [product(f"p{number}") for number in range(20)]
    requests[3].images[0].content = b"no image"
    requests[5].images[0].content = b""
    requests[7].name = "nonsense"
    del requests[9].images[:]
    requests[11].name = "catalogs/nowhere/products/p"
    answers = await shop.bring(requests, failing=True)
    assert [answer.position for answer in answers] == list(range(20))
    assert [answer.name for answer in answers] == [request.name for request in requests]
    failures = {answer.position: taken_apart(answer.error) for answer in answers if answer.HasField("error")}
    assert {position: (each.reason, each.field) for position, each in failures.items()} == {
        3: ("IMAGE_UNREADABLE", "product.images[0].content"),
        5: ("IMAGE_UNREADABLE", "product.images[0].content"),
        7: ("REQUEST_INVALID", "product.name"),
        9: ("REQUEST_INVALID", "product.images"),
        11: ("CATALOG_NOT_FOUND", ""),
    }
    assert all(answers[position].outcome == product_service_pb2.IMPORT_OUTCOME_FAILED for position in failures)
    assert len((await shop.products.ListProducts(product_service_pb2.ListProductsRequest())).products) == 15


async def test_an_unforeseen_failure_of_one_product_keeps_its_text_to_itself(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.finder.failure = RuntimeError("secret path /etc")
    [answer] = await shop.bring([product("p")], failing=True)
    assert taken_apart(answer.error).message == "internal error"
    assert "secret path /etc" in caplog.text


BAD_SEARCHES = {
    "no query": (search_service_pb2.SearchProductsRequest(), INVALID, "REQUEST_INVALID", "image"),
    "empty image": (searching(image=b""), INVALID, "IMAGE_UNREADABLE", "image"),
    "text": (searching(image=b"hello"), INVALID, "IMAGE_UNREADABLE", "image"),
    "25 MB": (searching(image=bytes(25_000_000)), INVALID, "IMAGE_TOO_LARGE", "image"),
    "17 regions": (searching(regions=[region(0, 0, 1, 1)] * 17), INVALID, "REGION_INVALID", "regions"),
    "outside": (searching(regions=[region(0, 0, 1, 1.5)]), INVALID, "REGION_INVALID", "regions[0].box"),
    "no area": (
        searching(regions=[region(0, 0, 1, 1), region(0.5, 0, 0.5, 1)]),
        INVALID,
        "REGION_INVALID",
        "regions[1].box",
    ),
    "inside out": (searching(regions=[region(0.9, 0, 0.1, 1)]), INVALID, "REGION_INVALID", "regions[0].box"),
    "not a number": (searching(regions=[region(float("nan"), 0, 1, 1)]), INVALID, "REGION_INVALID", "regions[0].box"),
    "long region id": (
        searching(regions=[region(0, 0, 1, 1, id="x" * 129)]),
        INVALID,
        "REGION_INVALID",
        "regions[0].id",
    ),
    "filter": (searching(filter="price <"), INVALID, "FILTER_MALFORMED", "filter"),
    "page of a photo": (searching(page_token="x"), INVALID, "PAGE_TOKEN_INVALID", "page_token"),
    "garment token": (
        search_service_pb2.SearchProductsRequest(garments=tokens("forged")),
        INVALID,
        "GARMENT_TOKEN_INVALID",
        "garments.tokens",
    ),
    "no garment token": (
        search_service_pb2.SearchProductsRequest(garments=tokens()),
        INVALID,
        "GARMENT_TOKEN_INVALID",
        "garments.tokens",
    ),
    "page size": (searching(page_size=-1), INVALID, "REQUEST_INVALID", "page_size"),
    "min score": (searching(min_score=float("nan")), INVALID, "REQUEST_INVALID", "min_score"),
    "garment score": (searching(min_garment_score=2), INVALID, "REQUEST_INVALID", "min_garment_score"),
    "garments": (searching(max_garments=-3), INVALID, "REQUEST_INVALID", "max_garments"),
    "version": (searching(embedding_version=7), INVALID, "REQUEST_INVALID", "embedding_version"),
    "category mode": (searching(category_mode=99), INVALID, "REQUEST_INVALID", "category_mode"),
    "view": (searching(product_view=99), INVALID, "REQUEST_INVALID", "product_view"),
    "mask": (searching(mask_format=99), INVALID, "REQUEST_INVALID", "mask_format"),
    "catalog name": (searching(catalog="default"), INVALID, "REQUEST_INVALID", "catalog"),
    "catalog": (searching(catalog="catalogs/nowhere"), MISSING, "CATALOG_NOT_FOUND", ""),
    "color weight": (searching(reranking={"color_weight": 1.5}), INVALID, "REQUEST_INVALID", "reranking.color_weight"),
    "pattern weight": (
        searching(reranking={"pattern_weight": float("nan")}),
        INVALID,
        "REQUEST_INVALID",
        "reranking.pattern_weight",
    ),
}


@pytest.mark.parametrize("name", BAD_SEARCHES)
async def test_searches_that_are_refused(shop: Shop, name: str) -> None:
    request, code, reason, field = BAD_SEARCHES[name]
    refused = await refusal(shop.search.SearchProducts(request))
    assert (refused.code, refused.reason, refused.field, refused.domain) == (code, reason, field, "lookalike")
    assert (await shop.search.SearchProducts(searching())).results  # the server goes on


async def test_a_malformed_filter_says_where(shop: Shop) -> None:
    refused = await refusal(shop.search.SearchProducts(searching(filter='brand = "a" XOR price < 3')))
    assert refused.metadata == {"position": "12"}


async def test_a_page_token_holds_for_its_request_only(shop: Shop) -> None:
    await shop.bring(product(f"p{number}") for number in range(5))
    results = (await shop.search.SearchProducts(searching(page_size=2))).results
    seen = [result.garment.garment_token for result in results]

    def paging(**changes: object) -> search_service_pb2.SearchProductsRequest:
        fields = {"garments": tokens(seen[0]), "page_token": results[0].next_page_token, **changes}
        return search_service_pb2.SearchProductsRequest(**fields)

    wrong: list[dict[str, object]] = [
        {"filter": "available"},
        {"category_mode": 3},
        {"min_score": 0.5},
        {"reranking": {"color_weight": 0.5}},
        {"garments": tokens(seen[1])},
        {"garments": tokens(*seen)},
        {"page_token": _spoilt(results[0].next_page_token)},
    ]
    for changes in wrong:
        assert (await refusal(shop.search.SearchProducts(paging(**changes)))).reason == "PAGE_TOKEN_INVALID", changes
    other = paging(catalog="catalogs/other")
    assert (await refusal(shop.search.SearchProducts(other))).reason == "GARMENT_TOKEN_INVALID"
    assert len((await shop.search.SearchProducts(paging())).results[0].hits) == 5 - 2


def _spoilt(token: str) -> str:
    """Another letter in the middle; the last ones hold bits that nobody reads."""
    half = len(token) // 2
    return token[:half] + ("B" if token[half] == "A" else "A") + token[half + 1 :]


BAD_PRODUCTS = {
    "title": (product("p", title="x" * 65_536), "product.title"),
    "zero": (product("p", brand="a\0b"), "product.brand"),
    "category": (product("p", category="x" * 201), "product.category"),
    "negative price": (product("p", price=money(-1)), "product.price.amount_minor"),
    "currency": (product("p", price=money(1, "EURO")), "product.price.currency_code"),
    "no currency": (product("p", price=product_pb2.Money(amount_minor=1)), "product.price.currency_code"),
    "revision": (product("p", revision=-1), "product.revision"),
    "17 images": (product("p", *(f"look {number}" for number in range(17))), "product.images"),
    "unknown image": (
        product_pb2.Product(name=NAME, images=[product_pb2.ProductImage(id="a" * 64)]),
        "product.images[0].id",
    ),
    "hint": (
        product_pb2.Product(
            name=NAME,
            images=[
                product_pb2.ProductImage(content=PHOTO, hint=product_pb2.GarmentHint(box=garment_pb2.Box(x1=2, y1=1)))
            ],
        ),
        "product.images[0].hint.box",
    ),
    "attribute key": (product("p", attributes={"a b": {"bool_value": True}}), "product.attributes[a b]"),
    "attribute list": (product("p", attributes={"a": {"list_value": {}}}), "product.attributes[a]"),
    "attribute nan": (product("p", attributes={"a": {"number_value": float("nan")}}), "product.attributes[a]"),
    "attributes": (
        product("p", attributes={f"a{number}": {"bool_value": True} for number in range(65)}),
        "product.attributes",
    ),
    "attribute size": (
        product("p", attributes={key: {"string_value": "x" * 20_000} for key in "ab"}),
        "product.attributes",
    ),
}


@pytest.mark.parametrize("name", BAD_PRODUCTS)
async def test_products_that_are_refused(shop: Shop, name: str) -> None:
    wrong, field = BAD_PRODUCTS[name]
    request = product_service_pb2.CreateProductRequest(product_id="p", product=wrong)
    created = await refusal(shop.products.CreateProduct(request))
    assert (created.code, created.field) == (INVALID, field)
    [answer] = await shop.bring([wrong], failing=True)
    assert taken_apart(answer.error).field == field


@pytest.mark.parametrize("id", ["", "a b", "a/b", "ä", "x" * 129])
async def test_odd_ids_are_refused(shop: Shop, id: str) -> None:
    request = product_service_pb2.CreateProductRequest(product_id=id, product=product("p"))
    assert (await refusal(shop.products.CreateProduct(request))).field == "product_id"


async def test_what_is_not_there(shop: Shop) -> None:
    calls = [
        shop.products.GetProduct(product_service_pb2.GetProductRequest(name=NAME)),
        shop.products.DeleteProduct(product_service_pb2.DeleteProductRequest(name=NAME)),
        shop.search.ListSimilarProducts(search_service_pb2.ListSimilarProductsRequest(name=NAME)),
    ]
    for call in calls:
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (MISSING, "PRODUCT_NOT_FOUND")
    parent = product_service_pb2.ListProductsRequest(parent="catalogs/nowhere")
    assert (await refusal(shop.products.ListProducts(parent))).reason == "CATALOG_NOT_FOUND"
    name = product_service_pb2.GetProductRequest(name="products/p")
    assert (await refusal(shop.products.GetProduct(name))).reason == "REQUEST_INVALID"
    size = product_service_pb2.ListProductsRequest(page_size=-1)
    assert (await refusal(shop.products.ListProducts(size))).field == "page_size"
    token = product_service_pb2.ListProductsRequest(page_token="forged")
    assert (await refusal(shop.products.ListProducts(token))).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("failure", "code", "retry"),
    [
        (errors.Overloaded("Triton's queue is full"), BUSY, 0.2),
        (errors.ModelUnavailable("Triton is away"), AWAY, 1.0),
        (errors.DeadlineExceeded("too late"), grpc.StatusCode.DEADLINE_EXCEEDED, None),
    ],
)
async def test_failures_of_the_models(
    shop: Shop, failure: errors.LookalikeError, code: grpc.StatusCode, retry: float | None
) -> None:
    shop.finder.failure = failure
    for call in (shop.search.SearchProducts(searching()), shop.search.AnalyzeImage(analyzing())):
        refused = await refusal(call)
        assert refused == Refusal(code, failure.message, failure.reason, "lookalike", {}, "", retry)


async def test_without_the_index_photos_are_still_analyzed(shop: Shop) -> None:
    shop.index.failure = errors.IndexUnavailable("the index does not answer")
    refused = await refusal(shop.search.SearchProducts(searching()))
    assert (refused.code, refused.reason, refused.retry_seconds) == (AWAY, "INDEX_UNAVAILABLE", 1.0)
    assert (await shop.search.AnalyzeImage(analyzing())).garments


async def test_a_database_that_is_gone(shop: Shop) -> None:
    await shop.bring([product("p")])
    (Path(str(shop.store.engine.url.database))).unlink()
    await shop.store.close()
    refused = await refusal(shop.products.GetProduct(product_service_pb2.GetProductRequest(name=NAME)))
    assert (refused.code, refused.reason, refused.retry_seconds) == (AWAY, "STORE_UNAVAILABLE", 1.0)


async def test_the_unexpected_keeps_its_text_to_itself(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.finder.failure = RuntimeError("secret path /etc")
    refused = await refusal(shop.search.SearchProducts(searching()))
    assert refused == Refusal(grpc.StatusCode.INTERNAL, "internal error", "INTERNAL", "lookalike", {}, "", None)
    assert caplog.text.count("secret path /etc") == 1


async def test_a_long_sentence_still_fits_the_metadata(shop: Shop) -> None:
    refused = await refusal(shop.search.SearchProducts(searching(filter="ä" * 8000)))
    assert refused.reason == "FILTER_MALFORMED"
    assert len(refused.message) <= 600


async def test_no_permit_within_the_bound() -> None:
    async with open_shop(photo_permits=1, search_waiters=1, permit_wait_seconds=0.2) as shop:
        shop.finder.gate = asyncio.Event()
        working = asyncio.ensure_future(shop.search.AnalyzeImage(analyzing()))
        while not shop.finder.calls:
            await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(refusal(shop.search.AnalyzeImage(analyzing())))
        await asyncio.sleep(0.05)
        at_once = await refusal(shop.search.SearchProducts(searching()))
        for refused in (at_once, await waiting):
            assert (refused.code, refused.reason, refused.retry_seconds) == (BUSY, "OVERLOADED", 0.2)
        assert shop.finder.calls == 1  # refused before working
        shop.finder.gate.set()
        assert (await working).garments


async def test_tokens_and_similar_products_need_permits_of_the_index() -> None:
    async with open_shop(search_permits=1, search_waiters=0, permit_wait_seconds=0.2) as shop:
        await shop.bring([product("p")])
        token = (await shop.search.SearchProducts(searching())).results[0].garment.garment_token
        by_token = search_service_pb2.SearchProductsRequest(garments=tokens(token))
        shop.index.gate, before = asyncio.Event(), shop.index.searches
        working = asyncio.ensure_future(shop.search.SearchProducts(by_token))
        while shop.index.searches == before:
            await asyncio.sleep(0.01)
        for call in (
            shop.search.SearchProducts(by_token),
            shop.search.ListSimilarProducts(search_service_pb2.ListSimilarProductsRequest(name=NAME)),
        ):
            refused = await refusal(call)
            assert (refused.code, refused.reason, refused.retry_seconds) == (BUSY, "OVERLOADED", 0.2)
        assert (await shop.search.AnalyzeImage(analyzing())).garments  # photos have permits of their own
        shop.index.gate.set()
        assert (await working).results[0].hits


async def test_too_many_imports() -> None:
    async with open_shop(import_streams=1) as shop:
        first = shop.products.ImportProducts()
        await first.write(product_service_pb2.ImportProductsRequest(product=product("p")))
        await first.read()
        second = shop.products.ImportProducts()
        assert (await refusal(second.read())).reason == "OVERLOADED"
        await first.done_writing()
        assert await first.read() is grpc.aio.EOF


async def test_an_import_holds_its_sender_back() -> None:
    async with open_shop(import_in_flight=3) as shop:
        shop.finder.gate = asyncio.Event()
        stream = shop.products.ImportProducts(
            product_service_pb2.ImportProductsRequest(product=product(f"p{number}")) for number in range(20)
        )
        await asyncio.sleep(0.3)
        assert shop.finder.calls == 3
        shop.finder.gate.set()
        assert [answer.position async for answer in stream] == list(range(20))


async def test_an_import_waits_for_busy_models(shop: Shop) -> None:
    shop.finder.failure = errors.Overloaded("Triton's queue is full")
    bringing = asyncio.ensure_future(shop.bring([product("p")]))
    while shop.finder.calls < 2:
        await asyncio.sleep(0.01)
    shop.finder.failure = None
    [answer] = await bringing
    assert answer.outcome == product_service_pb2.IMPORT_OUTCOME_CREATED


async def test_a_cut_import_is_resumed_by_sending_again(shop: Shop) -> None:
    stream = shop.products.ImportProducts()
    for number in range(5):
        await stream.write(product_service_pb2.ImportProductsRequest(product=product(f"p{number}")))
    await stream.read()
    stream.cancel()
    await shop.bring(product(f"p{number}") for number in range(10))
    answers = await shop.bring(product(f"p{number}") for number in range(10))
    assert {answer.outcome for answer in answers} == {product_service_pb2.IMPORT_OUTCOME_UNCHANGED}
    assert len((await shop.products.ListProducts(product_service_pb2.ListProductsRequest())).products) == 10


async def test_the_callers_deadline(shop: Shop) -> None:
    shop.finder.gate = asyncio.Event()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.search.SearchProducts(searching(), timeout=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_servers_deadline_for_callers_who_have_none() -> None:
    async with open_shop(deadline_seconds=0.2) as shop:
        shop.finder.gate = asyncio.Event()
        refused = await refusal(shop.search.SearchProducts(searching()))
        assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


async def test_a_message_over_the_transport_limit(shop: Shop) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.search.AnalyzeImage(analyzing(image=bytes(33 * 1024 * 1024)))
    assert caught.value.code() == BUSY


async def test_an_unknown_method(shop: Shop) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = shop.channel.unary_unary(
        "/lookalike.v1.SearchService/Nothing"
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_health_tells_each_service(shop: Shop) -> None:
    stub = health_pb2_grpc.HealthStub(shop.channel)
    for service in ("", "lookalike.v1.SearchService", "lookalike.v1.ProductService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() == MISSING


async def test_reflection_lists_the_services(shop: Shop) -> None:
    def services() -> set[str]:
        with grpc.insecure_channel(f"127.0.0.1:{shop.gateway.port}") as channel:
            return set(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert {"lookalike.v1.SearchService", "lookalike.v1.ProductService"} <= await asyncio.to_thread(services)


async def test_a_taken_port_is_named(shop: Shop) -> None:
    settings = shop.settings.model_copy(update={"address": f"127.0.0.1:{shop.gateway.port}"})
    with pytest.raises(StartupError, match="LOOKALIKE_ADDRESS"):
        await build(
            settings,
            versions=shop.versions,
            store=shop.store,
            page_views=SqlPageViews(shop.store),
            images=shop.images,
        )


async def test_stopping_lets_calls_finish(shop: Shop) -> None:
    shop.finder.gate = asyncio.Event()
    working = asyncio.ensure_future(shop.search.AnalyzeImage(analyzing()))
    while not shop.finder.calls:
        await asyncio.sleep(0.01)
    stopping = asyncio.ensure_future(shop.gateway.stop(grace=5))
    await asyncio.sleep(0.1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.search.AnalyzeImage(analyzing())
    assert caught.value.code() == AWAY
    shop.finder.gate.set()
    assert (await working).garments
    await stopping


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOOKALIKE_INDEX_KIND", "TREE"),
        ("LOOKALIKE_DATABASE_URL", "nonsense"),
        ("LOOKALIKE_TRITON_ADDRESS", "127.0.0.1:9"),
    ],
)
async def test_a_process_that_cannot_start_says_why(variable: str, value: str, tmp_path: Path) -> None:
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/a.db",
        "LOOKALIKE_IMAGES_URL": f"file://{tmp_path}/images",
        "LOOKALIKE_STARTUP_SECONDS": "0.5",
        variable: value,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lookalike_service", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    last = said.decode().strip().splitlines()[-1]
    assert last.startswith("lookalike: ")
    assert variable in last or value in last


async def test_a_process_that_is_told_to_end_while_it_starts(tmp_path: Path) -> None:
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/a.db",
        "LOOKALIKE_IMAGES_URL": f"file://{tmp_path}/images",
        "LOOKALIKE_TRITON_ADDRESS": "127.0.0.1:9",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lookalike_service", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    while not (tmp_path / "a.db").exists():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
