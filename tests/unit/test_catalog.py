"""Writes: what is embedded and what is not, revisions, hints, and the outbox when things fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes import FakeFinder, photo
from lookalike.v1 import garment_pb2, product_pb2, product_service_pb2, search_service_pb2
from lookalike_service.errors import IndexUnavailable
from lookalike_service.garments import chosen
from lookalike_service.model import Hint
from lookalike_service.projection import Projection, only
from support_gateway import Shop, eventually, open_shop, product, taken_apart

CREATED, UPDATED, UNCHANGED, FAILED = 1, 2, 3, 4


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        yield opened


async def put(shop: Shop, message: product_pb2.Product) -> product_service_pb2.ImportProductsResponse:
    [answer] = await shop.bring([message], failing=True)
    return answer


async def views(shop: Shop, id: str = "p") -> list[str]:
    """The ids of the views of a product that the index has."""
    entries = shop.index.catalogs.get("default", {}).values()
    return sorted(entry.view.id for entry in entries if entry.product.id == id)


async def test_an_unchanged_product_costs_nothing(shop: Shop) -> None:
    first = await put(shop, product("p", "one", "two", title="t"))
    upserted, calls = shop.index.upserted, shop.finder.calls
    again = await put(shop, product("p", "one", "two", title="t"))
    assert (first.outcome, again.outcome) == (CREATED, UNCHANGED)
    assert again.revision == first.revision
    assert (again.garment_views, again.embedded_views) == (2, 0)
    assert (shop.index.upserted, shop.finder.calls) == (upserted, calls)


async def test_a_title_never_touches_the_index(shop: Shop) -> None:
    await put(shop, product("p", title="old"))
    upserted = shop.index.upserted
    answer = await put(shop, product("p", title="new"))
    assert (answer.outcome, answer.embedded_views, shop.index.upserted) == (UPDATED, 0, upserted)
    request = search_service_pb2.SearchProductsRequest(image=photo({"look": "p"}))
    [hit] = (await shop.search.SearchProducts(request)).results[0].hits
    assert hit.product.title == "new"


async def test_a_price_never_embeds(shop: Shop) -> None:
    await put(shop, product("p", price=product_pb2.Money(amount_minor=5, currency_code="EUR")))
    answer = await put(shop, product("p", price=product_pb2.Money(amount_minor=6, currency_code="EUR")))
    assert (answer.outcome, answer.embedded_views) == (UPDATED, 0)
    [entry] = shop.index.catalogs["default"].values()
    assert entry.product.price is not None
    assert entry.product.price.amount_minor == 6
    assert entry.product.indexed_revision == answer.revision


async def test_true_and_one_are_different(shop: Shop) -> None:
    await put(shop, product("p", attributes={"a": {"bool_value": True}}))
    assert (await put(shop, product("p", attributes={"a": {"number_value": 1}}))).outcome == UPDATED


async def test_only_a_new_image_is_embedded_and_a_lost_one_loses_its_view(shop: Shop) -> None:
    await put(shop, product("p", "one", "two"))
    before = await views(shop)
    answer = await put(shop, product("p", "two", "three"))
    assert (answer.garment_views, answer.embedded_views) == (2, 1)
    assert len(await views(shop)) == 2
    assert len(set(before) & set(await views(shop))) == 1


async def test_an_image_stays_by_its_id(shop: Shop) -> None:
    await put(shop, product("p", "one", "two"))
    stored = (await shop.store.products("default", ["p"]))["p"]
    kept = product_pb2.Product(name="catalogs/default/products/p")
    kept.images.add(id=stored.images[1].sha256)
    answer = await put(shop, kept)
    assert (answer.garment_views, answer.embedded_views) == (1, 0)
    kept.images[0].hint.category = "dress"
    assert (await put(shop, kept)).embedded_views == 1  # from the stored bytes


async def test_the_same_image_twice_is_one_view(shop: Shop) -> None:
    answer = await put(shop, product("p", "one", "one"))
    assert (answer.garment_views, answer.embedded_views) == (1, 1)


async def test_one_photo_may_show_two_products_by_hints(shop: Shop) -> None:
    worn = photo(
        {"look": "dress", "category": "dress"}, {"look": "shoe", "category": "shoes", "box": [0.4, 0.9, 0.6, 1]}
    )
    for id, hint in (
        ("dress", product_pb2.GarmentHint()),
        ("shoe", product_pb2.GarmentHint(category="Shoes")),
        ("box", product_pb2.GarmentHint(box=garment_pb2.Box(x0=0.25, y0=0.5, x1=0.75, y1=1))),
    ):
        message = product_pb2.Product(name=f"catalogs/default/products/{id}")
        message.images.add(content=worn, hint=hint)
        await put(shop, message)
    found = await shop.store.products("default", ["dress", "shoe", "box"], views=True)
    assert {id: each.views[0].category for id, each in found.items()} == {
        "dress": "dress",
        "shoe": "shoes",
        "box": "dress",
    }
    assert found["box"].views[0].box.x0 == 0.25


async def test_which_garment_is_the_product() -> None:
    worn: list[dict[str, Any]] = [
        {"look": "small and central", "category": "belt", "box": [0.45, 0.45, 0.55, 0.55]},
        {"look": "large and central", "category": "top", "box": [0.2, 0.1, 0.8, 0.6]},
        {"look": "large at the edge", "category": "outer", "box": [0.0, 0.0, 0.3, 1.0]},
        {"look": "central, less sure", "category": "top", "box": [0.2, 0.1, 0.8, 0.6], "score": 0.3},
    ]
    garments = (await FakeFinder().find(photo(*worn))).garments
    assert chosen(garments, None, "") is garments[1]
    assert chosen(garments, None, "outer/coat") is garments[2]
    assert chosen(garments, Hint(category="belt"), "outer") is garments[0]
    assert chosen(garments, None, "hat") is garments[1]


async def test_revisions(shop: Shop) -> None:
    first = await put(shop, product("p", title="a", revision=100))
    assert first.revision == 100
    older = taken_apart((await put(shop, product("p", title="b", revision=99))).error)
    assert (older.reason, older.metadata) == ("REVISION_OUTDATED", {"stored_revision": "100"})
    other = taken_apart((await put(shop, product("p", title="b", revision=100))).error)
    assert "with other content" in other.message
    assert (await put(shop, product("p", title="a", revision=100))).outcome == UNCHANGED
    newer = await put(shop, product("p", title="a", revision=101))
    assert (newer.outcome, newer.revision) == (UNCHANGED, 101)
    counted = await put(shop, product("p", title="c"))
    assert counted.revision > 101
    assert (await put(shop, product("p", title="d"))).revision > counted.revision


async def test_an_older_delete_is_refused(shop: Shop) -> None:
    await put(shop, product("p", revision=100))
    request = product_service_pb2.DeleteProductRequest(name="catalogs/default/products/p", revision=99)
    with pytest.raises(Exception, match="older than the stored 100"):
        await shop.products.DeleteProduct(request)
    request.revision = 100
    await shop.products.DeleteProduct(request)
    assert await views(shop) == []


async def test_writers_of_one_product_take_turns() -> None:
    async with open_shop(import_streams=20) as shop:
        answers = await asyncio.gather(*(put(shop, product("p", title=f"t{number}")) for number in range(20)))
        assert sorted(answer.outcome for answer in answers) == [CREATED] + [UPDATED] * 19
        assert len({answer.revision for answer in answers}) == 20
        assert len(await views(shop)) == 1


async def test_when_the_index_is_away_nothing_is_acknowledged_and_nothing_lost(shop: Shop) -> None:
    shop.index.failure = IndexUnavailable("the index does not answer")
    assert taken_apart((await put(shop, product("p"))).error).reason == "INDEX_UNAVAILABLE"
    assert taken_apart((await put(shop, product("p"))).error).reason == "INDEX_UNAVAILABLE"  # nor when sent again
    assert len(await shop.store.pending(limit=10)) == 1
    shop.index.failure = None
    assert (await put(shop, product("p"))).outcome == UNCHANGED
    assert len(await views(shop)) == 1

    async def settled() -> None:
        assert await shop.store.pending(limit=10) == []

    await eventually(settled)


async def test_the_index_catches_up_by_itself(shop: Shop) -> None:
    await put(shop, product("gone"))
    shop.index.failure = IndexUnavailable("the index does not answer")
    await put(shop, product("p"))
    with pytest.raises(Exception, match="does not answer"):
        await shop.products.DeleteProduct(
            product_service_pb2.DeleteProductRequest(name="catalogs/default/products/gone")
        )
    shop.index.failure = None

    async def caught_up() -> None:
        assert len(await views(shop)) == 1
        assert await views(shop, "gone") == []
        assert await shop.store.pending(limit=10) == []

    await eventually(caught_up)


async def test_after_several_writes_while_the_index_was_away_no_former_view_is_left(shop: Shop) -> None:
    """Each entry of the outbox alone knows which views its own write has made stale."""
    await put(shop, product("p", "one"))
    shop.index.failure = IndexUnavailable("the index does not answer")
    await put(shop, product("p", "two"))
    await put(shop, product("p", "three"))
    shop.index.failure = None

    async def caught_up() -> None:
        stored = (await shop.store.products("default", ["p"], views=True))["p"]
        assert await views(shop) == [view.id for view in stored.views]
        assert await shop.store.pending(limit=10) == []

    await eventually(caught_up)


async def test_a_later_process_replays_what_an_earlier_one_left(shop: Shop) -> None:
    await put(shop, product("kept", "one", "two"))
    await put(shop, product("gone"))
    shop.index.failure = IndexUnavailable("the index does not answer")
    await put(shop, product("kept", "two"))
    stored = (await shop.store.products("default", ["gone"]))["gone"]
    await shop.store.delete("default", "gone", expected_revision=stored.revision)
    await shop.gateway.stop(grace=0)
    shop.index.failure = None
    later = Projection(shelves=only(1, shop.index), store=shop.store)
    assert await later.replay() == 2
    assert len(await views(shop, "kept")) == 1
    assert await views(shop, "gone") == []
    assert await later.replay() == 0


async def test_of_two_processes_the_last_one_leaves_the_newest(shop: Shop) -> None:
    """A projection that was slow must not bring back what another process has replaced meanwhile."""
    await put(shop, product("p", "one", title="a"))
    old = (await shop.store.products("default", ["p"], views=True))["p"]
    entries = list(shop.index.catalogs["default"].values())
    pending = await shop.store.delete("default", "p", expected_revision=old.revision)
    upsert = shop.index.upsert

    slow = Projection(shelves=only(1, shop.index), store=shop.store)
    assert await slow.replay() == 1
    assert await views(shop) == []
    await upsert("default", entries)  # as a slower process would
    await shop.store.write(old, expected_revision=old.revision, expected_deleted=True, pending=False)
    again = await shop.store.delete("default", "p", expected_revision=old.revision)
    assert again.sequence > pending.sequence
    assert await slow.replay() == 1
    assert await views(shop) == []
