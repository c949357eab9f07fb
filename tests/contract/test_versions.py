"""Embedding versions in every database and on every Milvus: states, leases, refused writes, a switch under load."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymilvus import MilvusClient

from fakes import DIMENSION, FakeFinder, by, vector
from lookalike_service.errors import StartupError, VersionsOutdated
from lookalike_service.filter import parse
from lookalike_service.milvus import MilvusIndex, MilvusOptions, alias_of, collection_of
from lookalike_service.model import Box, Product, ProductImage, View
from lookalike_service.ports import Store
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair, State
from support_gateway import MEMORY, Shop, eventually, open_shop, product
from support_versions import Traffic, reindexer

ME = "host:1"


def view(product_id: str, version: int) -> View:
    seen = vector(product_id + by(version)).astype(np.float16)
    return View(f"{product_id}/1", "a" * 64, Box(0, 0, 1, 1), "top", ("red",), "", version, seen)


def stored(catalog: str, id: str = "p", *versions: int, revision: int = 1) -> Product:
    return Product(
        catalog,
        id,
        images=(ProductImage("a" * 64),),
        revision=revision,
        indexed_revision=revision,
        views=tuple(view(id, version) for version in versions),
    )


@pytest.fixture
async def records(store: Store, catalog: str) -> SqlVersions:
    assert isinstance(store, SqlStore)
    found = SqlVersions(store)
    await found.adopt([catalog], 1)
    assert (await found.lease(catalog, ME, seconds=60)).holder == ME
    return found


async def test_states_change_for_the_holder_alone(records: SqlVersions, catalog: str) -> None:
    await records.adopt([catalog], 7)
    assert [(each.version, each.state) for each in (await records.all())[catalog]] == [(1, State.SERVING)]
    assert not await records.begin(catalog, 2, holder="somebody")
    assert await records.begin(catalog, 2, holder=ME)
    assert await records.begin(catalog, 2, holder=ME)
    assert await records.save(catalog, 2, filled_to="p7", holder=ME)
    assert not await records.save(catalog, 2, filled_to="p9", holder="somebody")
    assert not await records.change(catalog, {2: State.SERVING}, holder="somebody")
    assert await records.change(catalog, {1: State.KEPT, 2: State.SERVING}, holder=ME)
    found = {each.version: each for each in (await records.all())[catalog]}
    assert {number: each.state for number, each in found.items()} == {1: State.KEPT, 2: State.SERVING}
    assert found[2].filled_to == "p7"
    assert found[2].changed > 1.7e15
    assert await records.change(catalog, {1: None}, holder=ME)
    assert [each.version for each in (await records.all())[catalog]] == [2]


async def test_a_lease_has_one_holder_until_it_ends(records: SqlVersions, catalog: str) -> None:
    assert (await records.lease(catalog, "other", seconds=60)).holder == ME
    await records.release(catalog, "other")
    assert (await records.lease(catalog, "other", seconds=60)).holder == ME
    await records.release(catalog, ME)
    holders = await asyncio.gather(*(records.lease(catalog, f"h{number}", seconds=0.3) for number in range(8)))
    assert len({each.holder for each in holders}) == 1
    await asyncio.sleep(0.4)
    assert (await records.lease(catalog, ME, seconds=60)).holder == ME


async def test_a_write_without_a_complete_version_is_refused(
    records: SqlVersions, store: SqlStore, catalog: str
) -> None:
    await store.write(stored(catalog, "p", 1), expected_revision=0, pending=False)
    await records.begin(catalog, 2, holder=ME)
    await store.write(stored(catalog, "q", 1), expected_revision=0, pending=False)
    await store.write(stored(catalog, "r", 1, 2), expected_revision=0, pending=False)
    await records.change(catalog, {2: State.FILLED}, holder=ME)
    for versions in ((1,), (2,), (1, 2, 3)):
        with pytest.raises(VersionsOutdated, match=r"its catalog has \[1, 2\] by now"):
            await store.write(stored(catalog, "s", *versions), expected_revision=0, pending=True)
        with pytest.raises(VersionsOutdated, match="product s came with"):
            await store.insert([stored(catalog, "t", 1, 2), stored(catalog, "s", *versions)])
    assert await store.products(catalog, ["s", "t"]) == {}
    assert await store.pending(limit=9, catalog=catalog) == []
    inserted = await store.insert([stored(catalog, "t", 1, 2), stored(catalog, "u", 1, 2)])
    assert await store.pending(limit=9, catalog=catalog) == inserted
    assert await store.pending(limit=1, catalog=f"{catalog}-other") == []
    await store.write(stored(catalog, "s", 1, 2), expected_revision=0, pending=False)
    await records.change(catalog, {2: State.DROPPING}, holder=ME)
    with pytest.raises(VersionsOutdated):
        await store.write(stored(catalog, "s", 1, 2, revision=2), expected_revision=1, pending=False)
    await store.write(stored(catalog, "s", 1, revision=2), expected_revision=1, pending=False)
    await store.delete(catalog, "p", expected_revision=1)


async def test_no_write_slips_past_the_moment_of_completion(records: SqlVersions, store: Store, catalog: str) -> None:
    """Whatever was written without the version before it was called complete is found; nothing is after."""
    await records.begin(catalog, 2, holder=ME)
    refused = 0

    async def write(first: int) -> None:
        nonlocal refused
        for number in range(first, first + 15):
            try:
                await store.write(stored(catalog, f"p{number}", 1), expected_revision=0, pending=False)
            except VersionsOutdated:
                refused += 1

    writing = [asyncio.create_task(write(first)) for first in range(0, 120, 15)]
    await asyncio.sleep(0.05)
    await records.change(catalog, {2: State.FILLED}, holder=ME)
    lacking = await records.lacking(catalog, 2, limit=1000)
    await asyncio.gather(*writing)
    assert len(lacking) + refused == 120
    assert await records.lacking(catalog, 2, limit=1000) == lacking


async def test_views_are_added_unless_the_product_changed(records: SqlVersions, store: Store, catalog: str) -> None:
    before = {id: stored(catalog, id, 1) for id in ("a", "b", "c")}
    for each in before.values():
        await store.write(each, expected_revision=0, pending=False)
    await records.begin(catalog, 2, holder=ME)
    assert await records.lacking(catalog, 2, limit=2) == ["a", "b"]
    assert await records.lacking(catalog, 2, after="b", limit=2) == ["c"]
    await store.write(stored(catalog, "b", 1, revision=2), expected_revision=1, pending=False)
    await store.delete(catalog, "c", expected_revision=1)
    for _ in range(2):
        await records.add_views([(each, [view(each.id, 2)]) for each in before.values()], 2)
    found = await store.products(catalog, ["a", "b", "c"], views=True)
    assert {id: [each.embedding_version for each in found[id].views] for id in found} == {"a": [1, 2], "b": [1]}
    assert await records.lacking(catalog, 2, limit=10) == ["b"]
    assert (await records.count(catalog), await records.count(catalog, until="a")) == (2, 1)
    assert await records.forget_views(catalog, 2) == 1
    assert await records.forget_views(catalog, 2) == 0
    assert (await store.products(catalog, ["a"], views=True))["a"].views == before["a"].views


async def test_filters_of_lists_look_at_one_version(records: SqlVersions, store: Store, catalog: str) -> None:
    seen = stored(catalog, "p", 1, 2)
    seen = replace(seen, views=(seen.views[0], replace(seen.views[1], category="dress")))
    await records.begin(catalog, 2, holder=ME)
    await store.write(seen, expected_revision=0, pending=False)
    for version, wanted in ((0, 1), (1, 0), (2, 1)):
        found = await store.page(catalog, filter=parse('category = "dress"'), embedding_version=version)
        assert len(found) == wanted


@pytest.fixture
async def shop(milvus_options: MilvusOptions, catalog: str) -> AsyncIterator[Shop]:
    """A gateway over every Milvus in turn, with two versions that can be reached."""
    pairs = {}
    for version in (1, 2):
        index = await MilvusIndex.connect(milvus_options, embedding_version=version, dimension=DIMENSION, timeout=20)
        pairs[version] = Pair(FakeFinder(version), index)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        async with open_shop(
            pairs=pairs, folder=Path(folder), catalogs=catalog, versions_seconds=0.1, deadline_seconds=10
        ) as opened:
            yield opened
    if 2 not in opened.versions.now.pairs:
        await pairs[2].index.close()


async def test_a_switch_under_load(shop: Shop, milvus_options: MilvusOptions, catalog: str) -> None:
    """On the real thing: no request fails, none is answered by two versions, the alias follows, the old one goes."""
    await shop.bring(product(f"p{number}", f"look {number}", catalog=catalog) for number in range(6))
    old, new = (shop.pairs[version].index for version in (1, 2))
    assert isinstance(old, MilvusIndex)
    assert isinstance(new, MilvusIndex)
    traffic, worker = Traffic(shop, catalog=catalog), reindexer(shop, catalog=catalog, pause=1.0, call_seconds=1.0)

    async def found() -> None:
        await traffic.search()

    await eventually(found)
    async with traffic.running(), worker.leased():
        done = await worker.fill(shop.pairs[2], new)
        assert not done.failures
        await worker.complete(shop.pairs[2], new, done)
        report = await worker.check(new, 2)
        assert not report.faults, report.examples
        await worker.switch(2, new)
        await eventually(lambda: answered(traffic, 2), seconds=20)
        await worker.switch(1, old)
        await eventually(lambda: answered(traffic, 1), seconds=20)
        await worker.switch(2, new)
        await eventually(lambda: answered(traffic, 2), seconds=20)
    order = [each for each, before in zip(traffic.answers, [0, *traffic.answers], strict=False) if each != before]
    assert order == [1, 2, 1, 2]
    client = MilvusClient(milvus_options.uri, token=milvus_options.token, timeout=20, dedicated=True)
    assert client.list_aliases(collection_of(catalog, 2), timeout=20)["aliases"] == [alias_of(catalog)]
    with pytest.raises(StartupError, match="still names"):
        await new.drop(catalog)
    async with worker.leased():
        await worker.drop(1, old)
    assert not client.has_collection(collection_of(catalog, 1), timeout=20)
    client.close()
    traffic.tokens.clear()
    assert await traffic.search() == 2


async def answered(traffic: Traffic, version: int) -> None:
    assert traffic.answers[-1:] == [version]


async def test_what_the_new_collection_lost_is_mended_before_the_switch(shop: Shop, catalog: str) -> None:
    await shop.bring(product(f"p{number}", f"look {number}", catalog=catalog) for number in range(3))
    worker, new = reindexer(shop, catalog=catalog, pause=1.0), shop.pairs[2].index
    assert isinstance(new, MilvusIndex)
    async with worker.leased():
        done = await worker.fill(shop.pairs[2], new)
        page = await shop.store.page(catalog, views=True)
        await new.delete(catalog, [view.id for view in page[0].views])
        await worker.complete(shop.pairs[2], new, done)
        report = await worker.check(new, 2)
    assert not report.faults
    assert len(await new.revisions(catalog, [view.id for each in page for view in each.views])) == 3
