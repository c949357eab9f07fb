"""'Others also viewed' of a catalog with two embedding versions: lookalikes and filters are of one of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fakes import FakeFinder, MemoryIndex
from lookalike.client import Client
from lookalike.v1 import search_service_pb2
from lookalike_service.model import Found, Label
from lookalike_service.versions import Pair
from support_gateway import Shop, eventually, open_shop, product, refusal
from support_sessions import messages, view
from support_versions import brought, filled, reindexer

TOGETHER = search_service_pb2.AlsoViewedProduct.ORIGIN_VIEWED_TOGETHER


class Stripes(FakeFinder):
    """Sees stripes on every garment."""

    async def find(self, image: bytes, **options: Any) -> Found:  # noqa: ANN401 - what FakeFinder takes
        found = await super().find(image, **options)
        stripes = (Label("striped", 0.9),)
        return replace(found, garments=tuple(replace(each, patterns=stripes) for each in found.garments))


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """Version 1 serves; of version 2, which gets half of the traffic, Triton has the model."""
    async with open_shop(
        versions_seconds=0.05, deadline_seconds=5, version_shares="2:0.5", also_viewed_seconds=0
    ) as opened:
        opened.pairs[2] = Pair(Stripes(2), MemoryIndex())
        await opened.bring(product(f"p{number}", f"look {number}") for number in range(6))
        yield opened


async def listed(
    shop: Shop,
    **fields: Any,  # noqa: ANN401 - any field
) -> search_service_pb2.ListAlsoViewedProductsResponse:
    request = search_service_pb2.ListAlsoViewedProductsRequest(name="catalogs/default/products/p3", **fields)
    answer: search_service_pb2.ListAlsoViewedProductsResponse = await shop.search.ListAlsoViewedProducts(request)
    return answer


async def test_a_list_keeps_its_version_from_page_to_page(shop: Shop) -> None:
    first = await listed(shop, page_size=2)
    assert first.embedding_version == 1
    await brought(reindexer(shop), shop.pairs[2])

    async def noticed() -> None:
        assert (await listed(shop)).embedding_version == 2

    await eventually(noticed)
    rest = await listed(shop, page_size=2, page_token=first.next_page_token)
    assert rest.embedding_version == 1
    assert not {each.product.name for each in first.products} & {each.product.name for each in rest.products}
    worker = reindexer(shop)
    async with worker.leased():
        await worker.drop(1, shop.index)
    refused = await refusal(listed(shop, page_size=2, page_token=first.next_page_token))
    assert (refused.reason, refused.field) == ("PAGE_TOKEN_INVALID", "page_token")
    assert "is of a list by embedding version 1" in refused.message


async def test_a_caller_sticks_to_a_version_and_its_filters_see_what_that_saw(shop: Shop) -> None:
    views = [view(id, f"visit {n}", seconds=int(time.time())) for n in range(2) for id in ("p3", "p1")]
    await shop.products.RecordViews(iter(messages(views)))
    worker = reindexer(shop)
    async with worker.leased():
        await filled(worker, shop.pairs[2])

    async def noticed() -> None:
        assert set(shop.versions.now.dimensions("default")) == {1, 2}

    await eventually(noticed)
    found: dict[int, list[tuple[str, int]]] = {}
    async with Client(f"127.0.0.1:{shop.gateway.port}") as client:
        for key in "abcdef":
            version = (await client.similar("p3", sticky_key=key)).embedding_version
            answer = await client.also_viewed("p3", sticky_key=key, filter='pattern = "striped"', page_size=1)
            assert answer.embedding_version == version
            found[version] = [(each.product.name, each.origin) for each in answer.products]
    assert found == {1: [], 2: [("catalogs/default/products/p1", TOGETHER)]}
