"""What callers meet while a server behind the gateway is away, and what is not done for those who have left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import grpc
import pytest

import lookalike
from fakes import FakeFinder, MemoryIndex, photo
from lookalike import Client
from lookalike.v1 import product_service_pb2
from lookalike.v1.search_service_pb2 import AnalyzeImageRequest, SearchProductsRequest
from lookalike_service.admission import Deadline
from lookalike_service.catalog import Catalog
from lookalike_service.drafts import Draft, NewImage
from lookalike_service.errors import IndexUnavailable, ModelUnavailable
from lookalike_service.model import Entry, Product
from lookalike_service.projection import Projection, only
from lookalike_service.tokens import Tokens
from support_gateway import eventually, open_shop, product, refusal, taken_apart

UNCHANGED, FAILED = 3, 4


def looks(number: int) -> bytes:
    return photo({"look": f"look {number}"})


async def test_a_slow_index_does_not_keep_photos_from_the_models() -> None:
    """Two photos at most are with the models; four searches hang in the index, and photos are still looked at."""
    index = MemoryIndex()
    index.gate = asyncio.Event()
    async with open_shop(index=index, photo_permits=2) as shop:
        hanging = [
            shop.search.SearchProducts(SearchProductsRequest(image=looks(number)), timeout=20) for number in range(4)
        ]

        async def hang() -> None:
            assert index.searches == 4

        await eventually(hang)
        answer = await shop.search.AnalyzeImage(AnalyzeImageRequest(image=looks(9)), timeout=5)
        assert len(answer.garments) == 1
        index.gate.set()
        assert [len((await each).results) for each in hanging] == [1] * 4


async def test_a_write_is_acknowledged_only_once_it_can_be_found() -> None:
    async with open_shop() as shop:
        shop.index.failure = IndexUnavailable("away")
        [answer] = await shop.bring([product("p", revision=5)], failing=True)
        failed = taken_apart(answer.error)
        assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_UNAVAILABLE")
        [answer] = await shop.bring([product("p", revision=5)], failing=True)
        assert answer.outcome == FAILED  # it is of record by now, and still not acknowledged
        request = SearchProductsRequest(image=photo({"look": "p"}))
        refused = await refusal(shop.search.SearchProducts(request))
        assert (refused.reason, refused.retry_seconds) == ("INDEX_UNAVAILABLE", 1.0)
        shop.index.failure = None
        [answer] = await shop.bring([product("p", revision=5)])
        assert answer.outcome == UNCHANGED
        [result] = (await shop.search.SearchProducts(request)).results
        assert [hit.product.name for hit in result.hits] == ["catalogs/default/products/p"]


@pytest.mark.parametrize("kind", ["models", "index"])
async def test_the_client_hides_an_outage_that_is_shorter_than_its_patience(kind: str) -> None:
    async with open_shop() as shop:
        await shop.bring([product("p")])
        away: Exception = ModelUnavailable("away") if kind == "models" else IndexUnavailable("away")
        failing: FakeFinder | MemoryIndex = shop.finder if kind == "models" else shop.index
        failing.failure = away

        def back() -> None:
            failing.failure = None

        attempts: list[int] = []
        async with Client(
            f"127.0.0.1:{shop.gateway.port}", timeout=15, on_call=lambda call: attempts.append(call.attempts)
        ) as client:
            asyncio.get_running_loop().call_later(0.3, back)
            answer = await client.search(photo({"look": "p"}))
        assert len(answer.results[0].hits) == 1
        assert attempts[0] >= 2


async def test_the_client_gives_up_in_time_when_the_outage_is_longer() -> None:
    async with open_shop() as shop:
        shop.finder.failure = ModelUnavailable("away")
        async with Client(f"127.0.0.1:{shop.gateway.port}", timeout=1.5) as client:
            begin = time.monotonic()
            with pytest.raises(lookalike.Unavailable):
                await client.analyze(photo({"look": "p"}))
            assert time.monotonic() - begin < 3


async def test_nothing_is_done_for_a_caller_who_left_the_queue() -> None:
    finder = FakeFinder()
    finder.gate = asyncio.Event()
    async with open_shop(finder=finder, photo_permits=1) as shop:
        begun = finder.calls
        first = shop.search.AnalyzeImage(AnalyzeImageRequest(image=looks(1)), timeout=20)

        async def busy() -> None:
            assert finder.calls == begun + 1

        await eventually(busy)
        gone = shop.search.AnalyzeImage(AnalyzeImageRequest(image=looks(2)), timeout=20)
        late = shop.search.AnalyzeImage(AnalyzeImageRequest(image=looks(3)), timeout=0.3)
        stays = shop.search.AnalyzeImage(AnalyzeImageRequest(image=looks(4)), timeout=20)
        await asyncio.sleep(0.1)
        gone.cancel()
        for left in (gone, late):
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
                await left
        await asyncio.sleep(0.1)
        finder.gate.set()
        await first
        await stays
        assert finder.calls == begun + 2


async def test_products_are_read_while_models_and_index_are_away() -> None:
    async with open_shop() as shop:
        await shop.bring([product("p")])
        shop.finder.failure, shop.index.failure = ModelUnavailable("away"), IndexUnavailable("away")
        request = product_service_pb2.GetProductRequest(name="catalogs/default/products/p")
        assert (await shop.products.GetProduct(request, timeout=5)).product.name == request.name


class Unsure(MemoryIndex):
    """Carries out a write and says that it has failed, while `unsure` is set."""

    unsure = False

    async def upsert(self, catalog: str, entries: Sequence[Entry], *, timeout: float | None = None) -> None:
        await super().upsert(catalog, entries, timeout=timeout)
        if self.unsure:
            raise IndexUnavailable("who knows")


async def test_a_write_that_failed_but_reached_the_index_leaves_nothing_there() -> None:
    """Another gateway has replaced the product meanwhile, and knows nothing of the views that came too late."""
    index = Unsure()
    async with open_shop(index=index) as shop:
        await shop.bring([product("p", "first", revision=1)])
        index.unsure = True
        await shop.bring([product("p", "second", revision=2)], failing=True)
        late = {id: entry for id, entry in index.catalogs["default"].items() if entry.product.indexed_revision == 2}
        assert len(late) == 1
        other = Projection(shelves=only(1, index), store=shop.store)
        index.unsure = False
        await other.start()
        try:
            gateway = Catalog(
                shop.settings,
                versions=shop.versions,
                store=shop.store,
                images=shop.images,
                projection=other,
                tokens=Tokens(lifetime=60),
            )
            image = NewImage(photo({"look": "third"}))
            await gateway.put(Draft(Product("default", "p", revision=3), (image,)), deadline=Deadline(10))
            index.catalogs["default"].update(late)

            async def settled() -> None:
                assert {entry.product.indexed_revision for entry in index.catalogs["default"].values()} == {3}

            await eventually(settled)
        finally:
            await other.stop()
