"""What every Store must do; run on SQLite and PostgreSQL, or on the server that DATABASE_URL names."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from fakes import vector
from lookalike_service.errors import RevisionOutdated
from lookalike_service.filter import parse
from lookalike_service.model import Attribute, Box, Hint, Money, Product, ProductImage, View
from lookalike_service.ports import Store

NOW = datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC)


def view(product_id: str, number: int = 0, *, category: str = "top", colors: tuple[str, ...] = ("red",)) -> View:
    return View(
        id=f"{product_id}/{number}",
        image_sha256=f"{number:064x}",
        box=Box(0.1, 0.2, 0.3, 0.4),
        category=category,
        colours=colors,
        pattern="striped",
        embedding_version=1,
        embedding=vector(product_id, variation=str(number)).astype(np.float16),
    )


def product(catalog: str, id: str = "p", *, views: int = 1, revision: int = 10, category: str = "top") -> Product:
    return Product(
        catalog=catalog,
        id=id,
        title=f"Title of {id} 日本 😀",
        brand="acme",
        category=category,
        price=Money(1999, "EUR"),
        available=True,
        uri="https://shop.example/p?a=1",
        attributes={"size": "M", "stock": 3, "weight": 0.25, "sale": True},
        images=(ProductImage("a" * 64, Hint(box=Box(0.25, 0.5, 0.75, 1.0))), ProductImage("b" * 64, Hint(None, "top"))),
        revision=revision,
        indexed_revision=revision,
        create_time=NOW,
        update_time=NOW,
        views=tuple(view(id, number, category=category) for number in range(views)),
    )


async def written(store: Store, *products: Product) -> None:
    for each in products:
        await store.write(each, expected_revision=0, pending=False)


async def test_what_is_written_is_read(store: Store, catalog: str) -> None:
    whole = product(catalog, views=2)
    await written(store, whole)
    found = await store.products(catalog, ["p", "unknown"], views=True)
    assert found == {"p": whole}
    assert [each.embedding.tolist() for each in found["p"].views] == [each.embedding.tolist() for each in whole.views]
    kinds = {key: type(value) for key, value in found["p"].attributes.items()}
    assert kinds == {"size": str, "stock": int, "weight": float, "sale": bool}


async def test_views_are_read_only_when_asked_for(store: Store, catalog: str) -> None:
    await written(store, product(catalog))
    assert (await store.products(catalog, ["p"]))["p"].views == ()


async def test_views_that_are_shown_come_by_id_without_their_vectors(store: Store, catalog: str) -> None:
    p, q = product(catalog, views=2), product(catalog, "q", views=2)
    await written(store, p, q)
    shown = {p.views[1].id: "p", q.views[0].id: "q", "p/no such view": "p", "r/0": "r"}
    for _ in range(2):
        found = await store.shown(catalog, shown, embedding_version=1)
        assert found == {
            p.views[1].id: (replace(p, views=()), p.views[1]),
            q.views[0].id: (replace(q, views=()), q.views[0]),
        }
        assert {view.embedding.size for _, view in found.values()} == {0}
    assert await store.shown(catalog, shown, embedding_version=2) == {}


async def test_what_is_shown_is_what_was_written_last(store: Store, catalog: str) -> None:
    await written(store, product(catalog), product(catalog, "q"))
    shown = {"p/0": "p", "q/0": "q"}
    await store.shown(catalog, shown, embedding_version=1)
    await store.write(replace(product(catalog, revision=11), title="new"), expected_revision=10, pending=False)
    await store.delete(catalog, "q", expected_revision=10)
    found = await store.shown(catalog, shown, embedding_version=1)
    assert [(each.title, each.revision) for each, _ in found.values()] == [("new", 11)]
    assert await store.shown(catalog, {}, embedding_version=1) == {}


async def test_nothing_of_another_catalog(store: Store, catalog: str) -> None:
    await written(store, product(catalog))
    assert await store.products(f"{catalog}2", ["p"]) == {}
    assert await store.page(f"{catalog}2") == []


async def test_replacing_forgets_images_and_views(store: Store, catalog: str) -> None:
    await written(store, product(catalog, views=3))
    newer = replace(
        product(catalog, views=1, revision=11),
        images=(ProductImage("c" * 64),),
        price=None,
        attributes={},
        available=False,
    )
    await store.write(newer, expected_revision=10, pending=False)
    assert await store.products(catalog, ["p"], views=True) == {"p": newer}


async def test_a_write_that_expected_another_revision_changes_nothing(store: Store, catalog: str) -> None:
    await written(store, product(catalog))
    for expected in (0, 9, 11):
        with pytest.raises(RevisionOutdated):
            await store.write(product(catalog, revision=12), expected_revision=expected, pending=True)
    with pytest.raises(RevisionOutdated):
        await store.delete(catalog, "p", expected_revision=9)
    with pytest.raises(RevisionOutdated):
        await store.delete(catalog, "unknown", expected_revision=1)
    assert (await store.products(catalog, ["p"]))["p"].revision == 10
    assert not [entry for entry in await store.pending(limit=1000) if entry.catalog == catalog]


async def test_the_outbox_keeps_changes_in_order_with_the_views_before(store: Store, catalog: str) -> None:
    first = await store.write(product(catalog, views=2), expected_revision=0, pending=True)
    second = await store.write(product(catalog, revision=11), expected_revision=10, pending=True)
    third = await store.delete(catalog, "p", expected_revision=11)
    entries = [entry for entry in await store.pending(limit=1000) if entry.catalog == catalog]
    assert entries == [first, second, third]
    assert [entry.stale_views for entry in entries] == [(), ("p/0", "p/1"), ("p/0",)]
    await store.settle(entries[:2])
    assert [entry for entry in await store.pending(limit=1000) if entry.catalog == catalog] == [third]
    await store.settle([third])


async def test_a_deleted_product_is_gone_whole(store: Store, catalog: str) -> None:
    await written(store, product(catalog))
    await store.settle([await store.delete(catalog, "p", expected_revision=10)])
    assert await store.products(catalog, ["p"], views=True) == {}
    assert await store.page(catalog) == []


async def test_a_deleted_product_leaves_its_revision(store: Store, catalog: str) -> None:
    """Whoever makes it anew must know, so that an older write never brings it back."""
    await written(store, product(catalog, views=2))
    await store.settle([await store.delete(catalog, "p", expected_revision=10, revision=15)])
    left = (await store.products(catalog, ["p"], views=True, deleted=True))["p"]
    assert (left.deleted, left.revision, left.images, left.views, left.title) == (True, 15, (), (), "")
    with pytest.raises(RevisionOutdated):
        await written(store, product(catalog))
    again = product(catalog, revision=16)
    with pytest.raises(RevisionOutdated):
        await store.write(again, expected_revision=15, pending=False)
    await store.write(again, expected_revision=15, expected_deleted=True, pending=False)
    assert await store.products(catalog, ["p"], views=True) == {"p": again}


async def test_pages_cover_everything_once(store: Store, catalog: str) -> None:
    ids = sorted(f"p{number}" for number in range(25))
    await written(store, *(product(catalog, id) for id in ids))
    seen: list[str] = []
    while page := await store.page(catalog, after=seen[-1] if seen else "", limit=7):
        seen.extend(each.id for each in page)
    assert seen == ids
    assert len((await store.page(catalog, limit=1))[0].images) == 2


async def test_a_page_ends_where_it_is_told_to(store: Store, catalog: str) -> None:
    await written(store, *(product(catalog, f"p{number}") for number in range(9)))
    assert await store.stretch(catalog, after="p1", rows=3) == "p4"
    assert await store.stretch(catalog, after="p4", rows=5) is None
    assert [each.id for each in await store.page(catalog, after="p1", until="p4")] == ["p2", "p3", "p4"]


async def test_many_ids_at_once(store: Store, catalog: str) -> None:
    ids = [f"p{number}" for number in range(1100)]
    await written(store, *(replace(product(catalog, id), images=(), views=()) for id in ids[::100]))
    assert sorted(await store.products(catalog, ids, views=True)) == sorted(ids[::100])


async def test_of_two_writers_one_wins(store: Store, catalog: str) -> None:
    await written(store, product(catalog))
    writes = [
        store.write(product(catalog, revision=revision), expected_revision=10, pending=False)
        for revision in range(11, 19)
    ]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType"] + ["RevisionOutdated"] * 7


SHELF: list[tuple[str, str, int | None, bool, tuple[str, ...], dict[str, Attribute]]] = [
    ("top", "a", 500, True, ("red", "white"), {"size": "M", "stock": 3, "sale": True}),
    ("top/t-shirt", "b", 1000, False, ("red",), {"size": "L"}),
    ("Top/t-shirt", "100%_", None, True, ("red",), {"stock": 10.5}),
    ("dress", "日本 😀", 0, True, ("blue",), {"stock": "many"}),
    ("dress/gown", "", 2**40, True, (), {"sale": False, "stock": -1}),
]
CASES = {
    'category = "top"': {0, 1},
    'category != "top"': {2, 3, 4},
    "price < 1000": {0, 3},
    "price = 0": {3},
    "price != 500": {1, 2, 3, 4},
    "NOT price < 1000": {1, 4},
    "available": {0, 2, 3, 4},
    "NOT available": {1},
    'colors : "red"': {0, 1, 2},
    'NOT colors : "red"': {3, 4},
    'colors : "re"': set(),
    'colors : "white" OR colors : "blue"': {0, 3},
    'pattern = "striped" AND brand = "b"': {1},
    'brand = "100%_"': {2},
    'brand = "日本 😀"': {3},
    'brand = ""': {4},
    'attributes.size = "M"': {0},
    'attributes.size != "M"': {1, 2, 3, 4},
    "attributes.stock = 3": {0},
    "attributes.stock < 5": {0, 4},
    "NOT attributes.stock < 5": {2},
    "attributes.stock > 10": {2},
    "attributes.stock != 3": {1, 2, 3, 4},
    'attributes.stock = "many"': {3},
    "attributes.sale": {0},
    "NOT attributes.sale": {1, 2, 3, 4},
    "attributes.sale = false": {4},
    "attributes.unheard_of = 1": set(),
    'brand = "\' OR 1=1 --"': set(),
}


async def test_lists_filter_as_searches_do(store: Store, catalog: str) -> None:
    for number, (category, brand, price, available, colors, attributes) in enumerate(SHELF):
        money = None if price is None else Money(price, "EUR")
        whole = replace(
            product(catalog, str(number)), brand=brand, price=money, available=available, attributes=attributes
        )
        await written(store, replace(whole, views=(view(str(number), category=category, colors=colors),)))
    for text, wanted in CASES.items():
        page = await store.page(catalog, filter=parse(text))
        assert {int(each.id) for each in page} == wanted, text
