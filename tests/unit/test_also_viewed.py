"""'Others also viewed' over gRPC: what is listed and why, and what is refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike_service import tables
from lookalike_service.errors import IndexUnavailable
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.server import build
from support_gateway import Shop, open_shop, open_store, product, refusal
from support_sessions import messages, view
from support_telemetry import Counted

WRONG, BUSY, MISSING = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.NOT_FOUND,
)
TOGETHER, SIMILAR = (
    search_service_pb2.AlsoViewedProduct.ORIGIN_VIEWED_TOGETHER,
    search_service_pb2.AlsoViewedProduct.ORIGIN_SIMILAR,
)
DAY = 24 * 3600


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """Coats look alike, and so do boots; every list is counted when it is asked for."""
    async with open_shop(also_viewed_seconds=0) as opened:
        await opened.bring(
            [
                *(product(f"coat{number}", {"look": "coat", "variation": str(number)}) for number in range(4)),
                *(
                    product(f"boot{number}", {"look": "boot", "variation": str(number)}, brand=f"brand{number}")
                    for number in range(4)
                ),
            ]
        )
        yield opened


def now() -> int:
    return int(time.time())


async def looked(shop: Shop, *sessions: Sequence[str], ago: int = 0) -> product_service_pb2.RecordViewsResponse:
    """Each of the sessions looks at its products."""
    views = [
        view(each, f"visit {number}", seconds=now() - ago) for number, seen in enumerate(sessions) for each in seen
    ]
    return await recorded(shop, views)


async def recorded(
    shop: Shop, views: Sequence[product_service_pb2.ProductPageView]
) -> product_service_pb2.RecordViewsResponse:
    answer: product_service_pb2.RecordViewsResponse = await shop.products.RecordViews(iter(messages(views)))
    return answer


def asking(
    id: str = "coat0",
    **fields: Any,  # noqa: ANN401 - any field
) -> search_service_pb2.ListAlsoViewedProductsRequest:
    return search_service_pb2.ListAlsoViewedProductsRequest(name=f"catalogs/default/products/{id}", **fields)


async def listed(
    shop: Shop,
    id: str = "coat0",
    **fields: Any,  # noqa: ANN401 - any field
) -> list[tuple[str, int]]:
    answer = await shop.search.ListAlsoViewedProducts(asking(id, **fields))
    scores = [each.score for each in answer.products]
    assert scores == sorted(scores, reverse=True)
    return [(each.product.name.rpartition("/")[2], each.origin) for each in answer.products]


async def test_what_the_same_sessions_looked_at_comes_first_and_lookalikes_fill_the_list(shop: Shop) -> None:
    answer = await looked(shop, ["coat0", "boot0", "boot1"], ["coat0", "boot0"], ["coat0", "boot0", "boot1"])
    assert answer == product_service_pb2.RecordViewsResponse(accepted=8)
    found = await listed(shop, page_size=5)
    assert found[:2] == [("boot0", TOGETHER), ("boot1", TOGETHER)]
    assert {id for id, _ in found[2:]} == {"coat1", "coat2", "coat3"}
    assert {origin for _, origin in found[2:]} == {SIMILAR}


async def test_without_views_there_are_lookalikes(shop: Shop) -> None:
    found = await listed(shop, page_size=3)
    assert sorted(found) == [("coat1", SIMILAR), ("coat2", SIMILAR), ("coat3", SIMILAR)]


async def test_a_single_session_tells_nothing(shop: Shop) -> None:
    """Neither that products belong together, nor what somebody looked at."""
    await looked(shop, ["coat0", "boot0"])
    assert all(origin == SIMILAR for _, origin in await listed(shop))


async def test_lists_of_views_alone_need_no_index(shop: Shop) -> None:
    await looked(shop, ["coat0", "boot0", "boot1"], ["coat0", "boot0", "boot1"])
    shop.index.failure = IndexUnavailable("the index does not answer")
    call = shop.search.ListAlsoViewedProducts(asking(page_size=1))
    assert [each.product.name for each in (await call).products] == ["catalogs/default/products/boot0"]
    assert (await call).embedding_version == 0
    trailing = dict(await call.trailing_metadata())
    assert "server-timing" in trailing
    assert "lookalike-embedding-version" not in trailing
    assert (await refusal(shop.search.ListAlsoViewedProducts(asking()))).reason == "INDEX_UNAVAILABLE"


async def test_a_mixture_of_views_and_looks(shop: Shop) -> None:
    await looked(shop, *[["coat0", "boot0"]] * 6, *[["coat0", "coat1"]] * 3)
    assert (await listed(shop, page_size=2))[0] == ("boot0", TOGETHER)
    found = await listed(shop, page_size=8, similarity_share=0.6)
    assert found[0] == ("coat1", TOGETHER)
    assert dict(found)["coat2"] == SIMILAR
    assert [id for id, _ in (await listed(shop, page_size=3, similarity_share=1.0))] != [id for id, _ in found[:3]]
    answer = await shop.search.ListAlsoViewedProducts(asking(similarity_share=1.0))
    assert answer.embedding_version == 1


async def test_filters_hold_for_both(shop: Shop) -> None:
    await looked(shop, *[["coat0", "boot0", "boot1", "coat1"]] * 2)
    found = await listed(shop, filter='brand = "brand1" OR brand = "brand2"')
    assert found == [("boot1", TOGETHER), ("boot2", SIMILAR)]


@pytest.mark.parametrize("share", [0.0, 0.5])
async def test_pages_are_those_of_one_list(shop: Shop, share: float) -> None:
    await looked(shop, *[["coat0", "boot0", "boot1", "coat1"]] * 2)
    whole = await listed(shop, page_size=100, similarity_share=share)
    assert len(whole) == 7
    paged, token = [], ""
    while True:
        answer = await shop.search.ListAlsoViewedProducts(asking(page_size=2, page_token=token, similarity_share=share))
        paged += [(each.product.name.rpartition("/")[2], each.origin) for each in answer.products]
        token = answer.next_page_token
        if not token:
            break
    assert paged == whole


async def test_a_deleted_product_is_listed_no_more(shop: Shop) -> None:
    await looked(shop, *[["coat0", "boot0"]] * 2)
    assert ("boot0", TOGETHER) in await listed(shop)
    await shop.products.DeleteProduct(product_service_pb2.DeleteProductRequest(name="catalogs/default/products/boot0"))
    assert "boot0" not in dict(await listed(shop))


async def test_a_count_is_kept_for_a_moment() -> None:
    async with open_shop(also_viewed_seconds=3600) as shop:
        await shop.bring([product("coat0"), product("boot0")])
        assert await listed(shop) == [("boot0", SIMILAR)]
        await looked(shop, *[["coat0", "boot0"]] * 2)
        assert await listed(shop) == [("boot0", SIMILAR)]
        assert await listed(shop, "boot0") == [("coat0", TOGETHER)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"similarity_share": 1.1}, "similarity_share"),
        ({"similarity_share": float("nan")}, "similarity_share"),
        ({"filter": "price <"}, "filter"),
        ({"page_token": "forged"}, "page_token"),
        ({"product_view": 9}, "product_view"),
    ],
)
async def test_what_does_not_hold_is_named(shop: Shop, fields: dict[str, Any], field: str) -> None:
    refused = await refusal(shop.search.ListAlsoViewedProducts(asking(**fields)))
    assert (refused.code, refused.field) == (WRONG, field)


async def test_a_page_token_is_of_one_list(shop: Shop) -> None:
    token = (await shop.search.ListAlsoViewedProducts(asking(page_size=1))).next_page_token
    for other in (asking("boot0", page_token=token), asking(page_token=token, similarity_share=0.5)):
        assert (await refusal(shop.search.ListAlsoViewedProducts(other))).reason == "PAGE_TOKEN_INVALID"


async def test_what_is_not_there(shop: Shop) -> None:
    refused = await refusal(shop.search.ListAlsoViewedProducts(asking("nobody")))
    assert (refused.code, refused.reason) == (MISSING, "PRODUCT_NOT_FOUND")
    elsewhere = search_service_pb2.ListAlsoViewedProductsRequest(name="catalogs/nowhere/products/coat0")
    assert (await refusal(shop.search.ListAlsoViewedProducts(elsewhere))).reason == "CATALOG_NOT_FOUND"
    views = iter(messages([view("coat0", "visit", catalog="nowhere")]))
    assert (await refusal(shop.products.RecordViews(views))).reason == "CATALOG_NOT_FOUND"
    forgetting = product_service_pb2.DeleteSessionViewsRequest(parent="catalogs/nowhere", session="visit")
    assert (await refusal(shop.products.DeleteSessionViews(forgetting))).reason == "CATALOG_NOT_FOUND"


async def test_views_that_do_not_count_are_told(shop: Shop) -> None:
    counted, times = Counted(), [now() + 3600, now() - 365 * DAY, now() - 30 * DAY - 1, 0, 253402300799]
    views = [view("coat0", "visit", seconds=seconds) for seconds in times]
    views += [view("unknown", "visit", seconds=now()), view("coat0", "visit", seconds=now() + 60)]
    answer = await recorded(shop, views)
    assert answer == product_service_pb2.RecordViewsResponse(accepted=1, unknown_products=1, out_of_window=5)
    assert counted("lookalike_page_views_total", catalog="default", outcome="out_of_window") == 5
    assert counted("lookalike_page_views_total", catalog="default", outcome="unknown_product") == 1
    # What is a little ahead counts as of today.
    rows = await shop.store.read(lambda here: here.execute(select(tables.page_views.c.day)).scalars().all())
    assert rows == [now() // DAY]


async def test_a_robot_is_capped(shop: Shop) -> None:
    """A session of 100,000 views: those of its first products count, once each."""
    await shop.bring(product(f"many{number}") for number in range(150))
    views = [view(f"many{number % 150}", "robot", seconds=now()) for number in range(4000)]
    most = shop.settings.page_views_per_session
    answer = await recorded(shop, views)
    assert answer.accepted + answer.over_session_limit == 4000
    assert answer.over_session_limit == sum(number % 150 >= most for number in range(4000))
    counted = await shop.store.read(lambda here: here.execute(select(tables.page_views)).all())
    assert len(counted) == most


async def test_a_flood_is_refused_with_the_time_to_wait() -> None:
    async with open_shop(page_views_per_second=1, permit_wait_seconds=0) as shop:
        await shop.bring([product("coat0")])
        views = [view("coat0", f"visit {number}", seconds=now()) for number in range(1001)]
        refused = await refusal(shop.products.RecordViews(iter(messages(views))))
        assert (refused.code, refused.reason) == (BUSY, "OVERLOADED")
        assert refused.message.startswith("more than 1 views of products a second have come")
        assert refused.retry_seconds is not None
        assert 500 < refused.retry_seconds <= 1000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"product": ""}, "views[1].product"),
        ({"product": "coat0"}, "views[1].product"),
        ({"product": "catalogs/default/products/a b"}, "views[1].product"),
        ({"session": ""}, "views[1].session"),
        ({"session": "x" * 257}, "views[1].session"),
        ({"view_time": None}, "views[1].view_time"),
    ],
)
async def test_a_malformed_view_is_named(shop: Shop, change: dict[str, Any], field: str) -> None:
    wrong: Any = view("coat0", "visit", seconds=now())
    for name, value in change.items():
        wrong.ClearField(name)
        if value is not None:
            setattr(wrong, name, value)
    refused = await refusal(recorded(shop, [view("coat0", "visit", seconds=now()), wrong]))
    assert (refused.code, refused.reason, refused.field) == (WRONG, "REQUEST_INVALID", field)


async def test_too_many_views_in_a_message(shop: Shop) -> None:
    views = [view("coat0", f"visit {number}", seconds=now()) for number in range(1001)]
    refused = await refusal(shop.products.RecordViews(iter(messages(views, size=1001))))
    assert (refused.code, refused.field) == (WRONG, "views")
    assert "1,001 views in one message; 1,000 at most" in refused.message


async def test_an_empty_stream_records_nothing(shop: Shop) -> None:
    assert await recorded(shop, []) == product_service_pb2.RecordViewsResponse()


async def test_a_session_is_forgotten_when_it_asks(shop: Shop) -> None:
    await looked(shop, ["coat0", "boot0"], ["coat0", "boot0"])
    assert ("boot0", TOGETHER) in await listed(shop)
    request = product_service_pb2.DeleteSessionViewsRequest(session="visit 1")
    assert (await shop.products.DeleteSessionViews(request)).deleted_views == 2
    assert (await shop.products.DeleteSessionViews(request)).deleted_views == 0
    assert ("boot0", SIMILAR) in await listed(shop)
    for wrong in ("", "x" * 257):
        refused = await refusal(
            shop.products.DeleteSessionViews(product_service_pb2.DeleteSessionViewsRequest(session=wrong))
        )
        assert (refused.code, refused.field) == (WRONG, "session")


async def test_nothing_of_a_visitor_but_a_keyed_hash_is_kept() -> None:
    sessions: list[bytes] = []
    for key in ("one secret of sixteen", "another one of them"):
        async with open_shop(session_key=key) as shop:
            await shop.bring([product("coat0"), product("coat0", catalog="other")])
            views = [view("coat0", "visit of Ada", seconds=now(), catalog=each) for each in ("default", "other")]
            await recorded(shop, views)
            rows = await shop.store.read(lambda here: here.execute(select(tables.page_views)).all())
            assert {row.day for row in rows} == {now() // DAY}
            sessions += [row.session for row in rows]
    assert len(set(sessions)) == 4
    assert {len(each) for each in sessions} == {16}


async def test_a_restart_loses_no_acknowledged_view() -> None:
    """Views lie in the database before they are acknowledged: whoever opens it anew finds them, without a farewell."""
    async with open_shop(session_key="a secret of sixteen") as shop:
        await shop.bring([product("coat0"), product("boot0")])
        await looked(shop, *[["coat0", "boot0"]] * 5)
        store = await open_store(Path(str(shop.store.engine.url.database)).parent)
        gateway = await build(
            shop.settings,
            versions=shop.versions,
            store=store,
            page_views=SqlPageViews(store),
            images=shop.images,
        )
        await gateway.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            shop.channel = channel
            assert await listed(shop) == [("boot0", TOGETHER)]
        await gateway.stop(grace=0)
        await store.close()
