"""Reindexing: a new model fills beside the old one, is checked, switched to and back, while others search and write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fakes import photo
from lookalike.v1 import garment_pb2, product_service_pb2, search_service_pb2
from lookalike_service.errors import (
    ImageUnreadable,
    IndexUnavailable,
    ModelUnavailable,
    StartupError,
    StoreUnavailable,
)
from lookalike_service.images import Images
from lookalike_service.model import Product
from lookalike_service.reindex_command import Lines
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair, State
from support_faults import Died, Mortal, Steps
from support_full import let_grow, stop_growing
from support_gateway import Shop, eventually, open_shop, product, refusal
from support_versions import Log, Traffic, brought, filled, index_of, model, reindexer, second, states

MANY = 70


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop(versions_seconds=0.05, deadline_seconds=5) as opened:
        await opened.bring(product(f"p{number}", f"look {number}") for number in range(6))
        yield opened


async def noticed(shop: Shop, version: int, state: State) -> None:
    """The gateway knows, and reaches the version."""

    async def known() -> None:
        live = {live.record.version: live for live in shop.versions.now.live("default")}
        assert version in live
        assert live[version].record.state is state
        assert live[version].pair

    await eventually(known)


async def products(shop: Shop) -> dict[str, Product]:
    ids = [each.id for each in await shop.store.page("default", limit=1000)]
    return await shop.store.products("default", ids, views=True)


async def whole(shop: Shop, pair: Pair) -> None:
    """Every product has its views of the version in the database, and the index has the same and no more."""
    wanted = {}
    for each in (await products(shop)).values():
        own = [view for view in each.views if view.embedding_version == pair.version]
        assert len(own) == len(each.images), each.id
        wanted.update({view.id: (each.indexed_revision, view.embedding.tolist()) for view in own})
    shelf = index_of(pair).catalogs.get("default", {})
    has = {id: (entry.product.indexed_revision, entry.view.embedding.tolist()) for id, entry in shelf.items()}
    assert has == wanted


async def searched(shop: Shop, **fields: Any) -> search_service_pb2.SearchProductsResponse:  # noqa: ANN401
    request = search_service_pb2.SearchProductsRequest(image=photo({"look": "look 3"}), **fields)
    answer: search_service_pb2.SearchProductsResponse = await shop.search.SearchProducts(request)
    return answer


async def test_nobody_sees_a_mixed_answer_or_a_failed_request(shop: Shop) -> None:
    new, traffic = second(shop), Traffic(shop)
    async with traffic.running():
        await asyncio.sleep(0.1)
        done = await brought(reindexer(shop), new)
        await eventually(lambda: answered(traffic, 2))
        worker = reindexer(shop)
        async with worker.leased():
            assert await worker.previous() == 1
            await worker.switch(1, index_of(shop.pairs[1]))
        await eventually(lambda: answered(traffic, 1))
        async with worker.leased():
            await worker.switch(2, index_of(new))
        await eventually(lambda: answered(traffic, 2))
    order = [
        version for version, before in zip(traffic.answers, [0, *traffic.answers], strict=False) if version != before
    ]
    assert order == [1, 2, 1, 2]
    assert done.products >= 6
    assert await states(shop) == {1: State.KEPT, 2: State.SERVING}
    assert len(await products(shop)) == 6 + traffic.written
    for pair in shop.pairs.values():
        await whole(shop, pair)
    assert index_of(new).pointed == {"default": True}


async def answered(traffic: Traffic, version: int) -> None:
    assert traffic.answers[-1:] == [version]


async def test_calls_under_way_end_with_the_version_that_they_began_with(shop: Shop) -> None:
    new = second(shop)
    shop.finder.gate = gate = asyncio.Event()
    slow = asyncio.ensure_future(searched(shop, include_embedding=True))
    while not shop.finder.calls:
        await asyncio.sleep(0.01)
    worker = reindexer(shop)
    shop.finder.gate = None
    await brought(worker, new)
    await noticed(shop, 2, State.SERVING)
    fresh = await searched(shop, include_embedding=True)
    gate.set()
    assert (fresh.embedding_version, (await slow).embedding_version) == (2, 1)
    Traffic.check(await slow, "look 3")
    Traffic.check(fresh, "look 3")


async def test_tokens_hold_as_long_as_their_version_is_kept(shop: Shop) -> None:
    new = second(shop)
    old_token = (await searched(shop)).results[0].garment.garment_token
    await brought(reindexer(shop), new)
    await noticed(shop, 2, State.SERVING)
    new_token = (await searched(shop)).results[0].garment.garment_token

    async def tapped(*tokens: str, version: int = 0) -> search_service_pb2.SearchProductsResponse:
        garments = garment_pb2.GarmentTokens(tokens=tokens)
        request = search_service_pb2.SearchProductsRequest(garments=garments, embedding_version=version)
        answer: search_service_pb2.SearchProductsResponse = await shop.search.SearchProducts(request)
        return answer

    assert (await tapped(old_token)).embedding_version == 1
    assert (await tapped(old_token)).results[0].hits[0].score > 0.99
    assert (await tapped(new_token)).embedding_version == 2
    mixed = await refusal(tapped(old_token, new_token))
    assert (mixed.reason, "of version 1 and 2, and one search is of one" in mixed.message) == (
        "GARMENT_TOKEN_INVALID", True,
    )  # fmt: skip
    other = await refusal(tapped(old_token, version=2))
    assert (other.reason, "version 2 is asked for" in other.message) == ("GARMENT_TOKEN_INVALID", True)
    worker = reindexer(shop)
    async with worker.leased():
        await worker.drop(1, shop.index)
    late = await refusal(tapped(old_token))
    assert late.reason == "GARMENT_TOKEN_INVALID"
    assert late.message == (
        "the garment token holds a vector of version 1, served is 2; search with the photo again to get a new one"
    )
    assert (await tapped(new_token)).embedding_version == 2


async def test_a_list_keeps_its_version_from_page_to_page(shop: Shop) -> None:
    request = search_service_pb2.ListSimilarProductsRequest(name="catalogs/default/products/p3", page_size=2)
    first = await shop.search.ListSimilarProducts(request)
    await brought(reindexer(shop), second(shop))
    await noticed(shop, 2, State.SERVING)
    assert (await shop.search.ListSimilarProducts(request)).embedding_version == 2
    request.page_token = first.next_page_token
    assert (await shop.search.ListSimilarProducts(request)).embedding_version == 1
    request.embedding_version = 2
    assert "is of a list by embedding version 1" in (await refusal(shop.search.ListSimilarProducts(request))).message


async def test_writes_during_the_fill_reach_both(shop: Shop) -> None:
    new = second(shop)
    records = SqlVersions(shop.store)
    await records.lease("default", "me", seconds=60)
    assert await records.begin("default", 2, holder="me")
    await noticed(shop, 2, State.FILLING)
    await shop.bring([product("p1", "another look"), product("fresh", "fresh look")])
    for id in ("p1", "fresh"):
        stored = (await products(shop))[id]
        assert [view.embedding_version for view in stored.views] == [1, 2]
        assert len([entry for entry in index_of(new).catalogs["default"].values() if entry.product.id == id]) == 1
    [answer] = await shop.bring([product("fresh", "fresh look")])
    assert answer.outcome == product_service_pb2.IMPORT_OUTCOME_UNCHANGED
    calls = new.finder.calls  # type: ignore[attr-defined]
    [answer] = await shop.bring([product("p2", "look 2", brand="other")])
    assert (answer.embedded_views, answer.garment_views) == (0, 1)
    assert new.finder.calls == calls  # type: ignore[attr-defined]  # a changed price or brand waits for the fill
    await shop.products.DeleteProduct(product_service_pb2.DeleteProductRequest(name="catalogs/default/products/fresh"))
    assert "fresh" not in {entry.product.id for entry in index_of(new).catalogs["default"].values()}
    await filled(reindexer(shop, holder="me"), new)
    await whole(shop, new)


async def test_what_a_gateway_writes_that_knows_nothing_yet_is_found(shop: Shop) -> None:
    """A second one looks once an hour; the database refuses what it writes without a complete version."""
    new = second(shop)
    async with open_shop(folder=shop.folder, index=shop.index, pairs=shop.pairs, versions_seconds=60) as unaware:
        worker = reindexer(shop)
        async with worker.leased():
            done = await worker.fill(new, index_of(new))
            await unaware.bring([product("p1", "a new look"), product("late", "late look")])
            assert [view.embedding_version for view in (await products(shop))["late"].views] == [1]
            await worker.complete(new, index_of(new), done)
            await whole_but_deleted(shop, new)
            await unaware.bring([product("later", "later look"), product("p2", "changed look")])
            assert [view.embedding_version for view in (await products(shop))["later"].views] == [1, 2]
            assert not (await worker.check(index_of(new), 2)).faults
        await whole(shop, new)


async def whole_but_deleted(shop: Shop, pair: Pair) -> None:
    for each in (await products(shop)).values():
        assert {view.embedding_version for view in each.views} == {1, 2}, each.id


async def test_a_new_model_that_fails_harms_no_write(shop: Shop) -> None:
    new = second(shop)
    records = SqlVersions(shop.store)
    await records.lease("default", "me", seconds=60)
    await records.begin("default", 2, holder="me")
    await noticed(shop, 2, State.FILLING)
    new.finder.failure = ModelUnavailable("Triton cannot look at photos right now")  # type: ignore[attr-defined]
    await shop.bring([product("one", "look one")])
    new.finder.failure = None  # type: ignore[attr-defined]
    index_of(new).failure = IndexUnavailable("the index takes no more")
    await shop.bring([product("two", "look two")])
    assert (await searched(shop)).embedding_version == 1
    index_of(new).failure = None
    worker = reindexer(shop, holder="me")
    await filled(worker, new)
    await worker.check(index_of(new), 2)
    await whole(shop, new)


async def test_a_complete_version_whose_model_is_gone_is_said_with_the_remedy(shop: Shop) -> None:
    new = second(shop)
    await brought(reindexer(shop), new)
    await noticed(shop, 2, State.SERVING)
    shop.finder.failure = ModelUnavailable("Triton cannot look at photos right now")
    assert (await searched(shop)).embedding_version == 2
    [answer] = await shop.bring([product("p1", "look 1", brand="other")])  # needs no model
    assert answer.outcome == product_service_pb2.IMPORT_OUTCOME_UPDATED
    [answer] = await shop.bring([product("x", "x")], failing=True)
    assert answer.outcome == product_service_pb2.IMPORT_OUTCOME_FAILED
    worker = reindexer(shop)
    async with worker.leased():
        await worker.drop(1, shop.index)
    await shop.bring([product("x", "x")])


async def test_a_gateway_that_does_not_reach_the_new_version_serves_the_old_one(shop: Shop) -> None:
    new = model(2)  # known to the reindexer only
    await brought(reindexer(shop), new)
    await asyncio.sleep(0.2)
    assert (await searched(shop)).embedding_version == 1
    refused = await refusal(searched(shop, embedding_version=2))
    assert refused.message == "embedding version 2 is not reached by this server; 1 is"
    shop.pairs[2] = new
    await noticed(shop, 2, State.SERVING)
    assert (await searched(shop)).embedding_version == 2


async def test_it_goes_on_where_it_was_interrupted(shop: Shop) -> None:
    await shop.bring(product(f"q{number:03}", f"look q{number}") for number in range(MANY))
    new, log = second(shop), Log()
    failing = reindexer(shop, told=log, at_once=1)
    index_of(new).failure = None
    stop_at = 64

    async def slow_then_dead(*given: Any, **named: Any) -> Any:  # noqa: ANN401
        if new.finder.calls >= stop_at:  # type: ignore[attr-defined]
            raise Died("here")
        return await find(*given, **named)

    find, new.finder.find = new.finder.find, slow_then_dead  # type: ignore[method-assign]
    with pytest.raises(Died):
        async with failing.leased():
            await failing.fill(new, index_of(new))
    record = (await failing.versions())[2]
    assert (record.state, record.filled_to) == (State.FILLING, "q057")
    assert (await searched(shop)).embedding_version == 1
    new.finder.find = find  # type: ignore[method-assign]
    again = Log()
    done = await brought(reindexer(shop, told=again), new)
    assert again.lines == ["going on behind product q057: 64 of 76 are done"]
    assert done.products == MANY + 6 - 64
    assert again.steps[-1] == (76, 76)
    await whole(shop, new)


STEPS = ("add_views", "begin", "change", "save", "upsert", "point")


async def dies_at(shop: Shop, new: Pair, last: int | None) -> Steps:
    """Reindex in a process that dies at a step."""
    steps = Steps(last)
    store: Any = Mortal(shop.store, steps)
    records: Any = Mortal(SqlVersions(shop.store), steps, *STEPS)
    index: Any = Mortal(new.index, steps, *STEPS)
    index.scan = index_of(new).scan  # an iterator, nothing that can be awaited
    worker = reindexer(shop, store=store, records=records, holder="mortal")
    with contextlib.suppress(Died):
        async with worker.leased(seconds=0.05):
            mortal = Pair(new.finder, index)
            await worker.complete(mortal, index, await worker.fill(mortal, index))
            await worker.check(index, 2)
            await worker.switch(2, index)
    return steps


async def test_killed_at_every_step_the_next_run_finishes() -> None:
    async with open_shop(versions_seconds=60) as shop:
        await shop.bring(product(f"p{number}", f"look {number}") for number in range(3))
        count = len((await dies_at(shop, model(2), None)).names)
        assert count >= 14
    for last in range(count):
        async with open_shop(versions_seconds=60) as shop:
            await shop.bring(product(f"p{number}", f"look {number}") for number in range(3))
            new = model(2)
            assert (await dies_at(shop, new, last)).dead
            serving = [version for version, state in (await states(shop)).items() if state is State.SERVING]
            assert len(serving) == 1, "exactly one version serves whatever happens"
            if serving == [2]:
                await whole(shop, new)
            await asyncio.sleep(0.06)  # the lease of the dead ends
            await brought(reindexer(shop), new)
            assert await states(shop) == {1: State.KEPT, 2: State.SERVING}
            await whole(shop, new)
            assert index_of(new).pointed == {"default": True}


async def test_a_drop_that_was_killed_is_finished(shop: Shop) -> None:
    new = second(shop)
    await brought(reindexer(shop), new)
    for last in range(6):
        steps = Steps(last)
        records: Any = Mortal(SqlVersions(shop.store), steps, "change", "forget_views")
        worker = reindexer(shop, records=records, holder="mortal", call_seconds=0.0)
        with contextlib.suppress(Died, StartupError):
            async with worker.leased(seconds=0.05):
                await worker.drop(1, shop.index)
        await asyncio.sleep(0.06)
    assert await states(shop) in ({2: State.SERVING}, {1: State.DROPPING, 2: State.SERVING})
    worker = reindexer(shop, call_seconds=0.0)
    if 1 in await states(shop):
        async with worker.leased():
            await worker.drop(1, shop.index)
    assert await states(shop) == {2: State.SERVING}
    assert "default" not in shop.index.catalogs
    for each in (await products(shop)).values():
        assert {view.embedding_version for view in each.views} == {2}
    await whole(shop, new)


async def test_of_two_at_once_one_is_told(shop: Shop) -> None:
    first, other = reindexer(shop, holder="host-a:17"), reindexer(shop)
    async with first.leased(seconds=5):
        with pytest.raises(StartupError, match=r"being reindexed already, by host-a:17; .* lease\s+ends within 5 s"):
            async with other.leased(seconds=5):
                pass
    async with other.leased():
        pass


async def test_who_was_silent_for_too_long_ends(shop: Shop) -> None:
    new = second(shop)
    worker = reindexer(shop, holder="slow")
    with pytest.raises(StartupError, match="another process has taken over"):
        async with worker.leased(seconds=0.2):
            await asyncio.sleep(0)
            records = SqlVersions(shop.store)
            await records.release("default", "slow")
            await records.lease("default", "quick", seconds=60)
            await worker.fill(new, index_of(new))
    with pytest.raises(StartupError, match="another process has taken over"):
        await records.release("default", "quick")
        async with worker.leased(seconds=0.2):
            await records.release("default", "slow")
            await records.lease("default", "quick", seconds=60)
            await asyncio.sleep(5)


async def test_a_photograph_that_is_gone_is_named(shop: Shop) -> None:
    new = second(shop)
    gone = (await products(shop))["p2"].images[0].sha256

    class Lossy(Images):
        async def get(self, sha256: str) -> bytes | None:
            return None if sha256 == gone else await super().get(sha256)

    worker = reindexer(shop, images=Lossy(f"file://{shop.folder}/images"))
    async with worker.leased():
        done = await worker.fill(new, index_of(new))
        assert done.failures == {"p2": f"image {gone} is no longer stored; send its content"}
        assert (await worker.versions())[2].state is State.FILLING
        await shop.bring([product("p2", "look 2 again")])
        await worker.complete(new, index_of(new), await worker.fill(new, index_of(new)))
    await whole(shop, new)


async def test_a_photograph_that_the_new_model_refuses_is_named(shop: Shop) -> None:
    new = second(shop)
    find = new.finder.find

    async def picky(image: bytes, **options: Any) -> Any:  # noqa: ANN401
        if b"look 4" in image:
            raise ImageUnreadable("these bytes are no image")
        return await find(image, **options)

    new.finder.find = picky  # type: ignore[method-assign]
    worker = reindexer(shop)
    async with worker.leased():
        done = await worker.fill(new, index_of(new))
        assert done.failures == {"p4": "these bytes are no image"}
        assert done.products == 5
        await worker.complete(new, index_of(new), done)  # left out
    assert {view.embedding_version for view in (await products(shop))["p4"].views} == {1}


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda pair: setattr(pair.finder, "failure", ModelUnavailable("Triton is away")), ModelUnavailable),
        (lambda pair: setattr(pair.index, "failure", IndexUnavailable("it has no space left")), IndexUnavailable),
    ],
)
async def test_models_or_an_index_that_stay_away_end_it(
    shop: Shop, break_it: Callable[[Pair], None], error: type[Exception]
) -> None:
    new = second(shop)
    worker = reindexer(shop, photo_seconds=0.3)
    async with worker.leased():
        break_it(new)
        with pytest.raises(error):
            await worker.fill(new, index_of(new))
    assert (await searched(shop)).embedding_version == 1
    new.finder.failure = index_of(new).failure = None  # type: ignore[attr-defined]
    await brought(reindexer(shop), new)
    await whole(shop, new)


async def test_a_database_without_room_ends_it_and_serves_on(shop: Shop) -> None:
    new = second(shop)
    await shop.bring(product(f"q{number:03}", *(f"look q{number} {view}" for view in range(8))) for number in range(40))
    worker = reindexer(shop, photo_seconds=0.3)
    async with worker.leased():
        stop_growing(shop.store)
        try:
            with pytest.raises(StoreUnavailable, match="its disk is full"):
                await worker.fill(new, index_of(new))
        finally:
            let_grow(shop.store)
        assert (await searched(shop)).embedding_version == 1
    await brought(reindexer(shop), new)
    await whole(shop, new)


async def test_neighbors_are_compared(shop: Shop) -> None:
    await shop.bring(product(f"q{number}", f"look q{number}") for number in range(40))
    new = second(shop)
    worker = reindexer(shop)
    async with worker.leased():
        await filled(worker, new)
        same = await worker.compare(shop.pairs[1], shop.pairs[1], sample=20)
        assert (same.overlap, same.best_changed) == (1.0, 0.0)
        other = await worker.compare(shop.pairs[1], new, sample=20)
    assert 20 <= other.queries <= 24
    assert 0.05 < other.overlap < 0.5  # unrelated vectors: 10 of 45 by chance
    assert other.best_changed > 0.7
    assert other.sentence(1).startswith("overlap@10 with version 1: 0.")


async def test_what_cannot_be_dropped_is_said(shop: Shop) -> None:
    worker = reindexer(shop)
    async with worker.leased():
        with pytest.raises(StartupError, match="embedding version 1 serves catalog default; switch to another"):
            await worker.drop(1, shop.index)
        with pytest.raises(StartupError, match="has no embedding version 7"):
            await worker.drop(7, shop.index)
        with pytest.raises(StartupError, match="keeps no version that served before"):
            await worker.previous()


async def test_a_version_that_is_being_filled_is_given_up(shop: Shop) -> None:
    new = second(shop)
    worker = reindexer(shop)
    async with worker.leased():
        await worker.fill(new, index_of(new))
        await worker.drop(2, index_of(new))
    assert await states(shop) == {1: State.SERVING}
    assert all({view.embedding_version for view in each.views} == {1} for each in (await products(shop)).values())
    await shop.bring([product("p1", "look 1", brand="x")])
    assert (await searched(shop)).embedding_version == 1


def test_progress_says_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 101.0, 110.0, 400.0])
    monkeypatch.setattr("lookalike_service.reindex_command.time.monotonic", lambda: next(moments))
    lines: list[str] = []
    progress = Lines("default", lines.append)
    for done in (64, 128, 640, 4000):
        progress.went_on(done, 4000)
    assert lines == [
        "default: 64 of 4000 products (2%)",
        "default: 640 of 4000 products (16%), 57.6 products/s, 58 s left",
        "default: 4000 of 4000 products (100%), 13.1 products/s",
    ]
