"""Verifying: every way in which the index can differ from the record is found, named and repaired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lookalike_service.model import Entry
from lookalike_service.projection import Projection, only
from lookalike_service.verify import Fault, Report, Verifier
from support_gateway import Shop, open_shop, product


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        await opened.bring(product(f"p{number}", f"look {number}", f"back {number}") for number in range(6))
        yield opened


async def verified(shop: Shop, *, repair: bool = False) -> Report:
    projection = Projection(shelves=only(1, shop.index), store=shop.store)
    verifier = Verifier(index=shop.index, store=shop.store, projection=projection, embedding_version=1, pause=0.05)
    return await verifier.verify("default", repair=repair)


def view_of(shop: Shop, product_id: str) -> str:
    return min(id for id, entry in shop.index.catalogs["default"].items() if entry.product.id == product_id)


async def test_nothing_is_wrong(shop: Shop) -> None:
    report = await verified(shop)
    assert (report.products, report.views, report.indexed, report.faults) == (6, 12, 12, {})
    assert report.sentence() == "default: 6 products with 12 views, 12 in the index; 0 missing, 0 surplus, 0 outdated"


async def test_every_fault_is_found_named_and_repaired(shop: Shop) -> None:
    shelf = shop.index.catalogs["default"]
    before = dict(shelf)
    lost, old = view_of(shop, "p1"), view_of(shop, "p2")
    del shelf[lost]
    shelf[old] = Entry(replace(shelf[old].product, indexed_revision=1), shelf[old].view)
    ghost = shelf[view_of(shop, "p3")]
    shelf["gone/1"] = Entry(replace(ghost.product, id="gone"), replace(ghost.view, id="gone/1"))
    shelf["p3/former"] = replace(ghost, view=replace(ghost.view, id="p3/former"))
    report = await verified(shop)
    assert report.faults == {Fault.MISSING: 1, Fault.OUTDATED: 1, Fault.SURPLUS: 2}
    assert sorted(report.examples) == sorted(
        [f"missing {lost}", f"outdated {old}", "surplus gone/1", "surplus p3/former"]
    )
    assert shelf != before  # a look changes nothing
    repaired = await verified(shop, repair=True)
    assert repaired.faults == report.faults
    assert repaired.sentence().endswith("1 missing, 2 surplus, 1 outdated (repaired)")
    assert {id: entry.product.indexed_revision for id, entry in shelf.items()} == {
        id: entry.product.indexed_revision for id, entry in before.items()
    }
    assert not (await verified(shop)).faults


async def test_a_lost_index_is_filled_again_without_models(shop: Shop) -> None:
    calls = shop.finder.calls
    shop.index.catalogs["default"].clear()
    assert (await verified(shop, repair=True)).faults == {Fault.MISSING: 12}
    assert not (await verified(shop)).faults
    assert shop.finder.calls == calls


async def test_a_lost_database_empties_the_index(shop: Shop) -> None:
    for number in range(6):
        stored = (await shop.store.products("default", [f"p{number}"]))[f"p{number}"]
        await shop.store.delete("default", stored.id, expected_revision=stored.revision)
    assert (await verified(shop, repair=True)).faults == {Fault.SURPLUS: 12}
    assert shop.index.catalogs["default"] == {}


async def test_writes_under_way_are_no_faults(shop: Shop) -> None:
    writing = True

    async def write() -> None:
        round = 0
        while writing:
            round += 1
            await shop.bring(product(f"p{number}", f"look {number}", brand=f"b{round}") for number in range(6))

    task = asyncio.create_task(write())
    reports = [await verified(shop, repair=repair) for repair in (False, True, False)]
    writing = False
    await task
    assert sum(report.faults[Fault.SURPLUS] for report in reports) == 0
    assert not (await verified(shop)).faults
