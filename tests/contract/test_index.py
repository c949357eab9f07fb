"""What every Index must do; run on the fake, on Milvus Lite and 2.3.5, or on the server that MILVUS_URI names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient

from fakes import DIMENSION, vector
from lookalike_service.errors import DeadlineExceeded, StartupError
from lookalike_service.filter import parse
from lookalike_service.milvus import MilvusIndex, MilvusOptions, alias_of, collection_of
from lookalike_service.milvus_versions import INDEX_KINDS, abilities_of
from lookalike_service.model import Attribute, Box, Entry, Money, Product, View
from lookalike_service.ports import Index
from support_gateway import eventually

LOOKS = [f"look {number}" for number in range(30)]
VIEWS = 4


def entry(
    catalog: str,
    look: str,
    number: int = 0,
    *,
    category: str = "top/t-shirt",
    brand: str = "acme",
    price: int | None = 1999,
    available: bool = True,
    colors: tuple[str, ...] = ("red", "white"),
    attributes: dict[str, Attribute] | None = None,
    revision: int = 1,
) -> Entry:
    """One of several near-identical views of the product with this look."""
    product_id = look.replace(" ", "-")
    money = None if price is None else Money(price, "EUR")
    product = Product(
        catalog,
        product_id,
        brand=brand,
        price=money,
        available=available,
        attributes=attributes or {},
        indexed_revision=revision,
    )
    view = View(
        id=f"{product_id}/{number}",
        image_sha256=f"{number:064x}",
        box=Box(0.125, 0.25, 0.75, 1.0),
        category=category,
        colours=colors,
        pattern="solid",
        embedding_version=1,
        embedding=vector(look, variation=str(number)).astype(np.float16),
    )
    return Entry(product, view)


async def found(index: Index, catalog: str, look: str = LOOKS[0], *, filter: str = "", limit: int = 100) -> list[str]:
    """The ids of the products that a search finds, best first."""
    [ranking] = await index.search(catalog, vector(look)[None], limit=limit, filter=parse(filter))
    return [match.product_id for match in ranking.matches]


async def fill(index: Index, catalog: str, entries: Sequence[Entry]) -> None:
    """Write entries and wait until all of their products can be found."""
    await index.upsert(catalog, entries)
    wanted = {each.product.id for each in entries}

    async def all_there() -> None:
        assert wanted <= set(await found(index, catalog, limit=1000))

    await eventually(all_there)


async def test_an_empty_catalog_finds_nothing(index: Index, catalog: str) -> None:
    [ranking] = await index.search(catalog, vector("anything")[None], limit=10)
    assert ranking.matches == ()
    assert ranking.complete


async def test_one_product_once_and_as_many_as_asked_for(index: Index, catalog: str) -> None:
    """Near-identical views crowd the nearest rows; still every page holds exactly as many products as exist."""
    await fill(index, catalog, [entry(catalog, look, view) for look in LOOKS for view in range(VIEWS)])
    for limit in (1, 2, 5, 10, 29, 30, 50):
        [ranking] = await index.search(catalog, vector(LOOKS[3])[None], limit=limit)
        ids = [match.product_id for match in ranking.matches]
        assert len(ids) == len(set(ids)) == min(limit, len(LOOKS))
        assert ids[0] == "look-3"
        assert ranking.complete or limit <= len(LOOKS)


async def test_a_match_is_the_best_view(index: Index, catalog: str) -> None:
    await fill(index, catalog, [entry(catalog, LOOKS[0], view, revision=7) for view in range(VIEWS)])
    for view in range(VIEWS):
        query = vector(LOOKS[0], variation=str(view))
        [ranking] = await index.search(catalog, query[None], limit=3)
        [match] = ranking.matches
        assert match.view_id == entry(catalog, LOOKS[0], view).view.id
        assert match.score == pytest.approx(1.0, abs=2e-3)
        assert match.score <= 1
        assert match.revision == 7


async def test_matches_come_best_first(index: Index, catalog: str) -> None:
    await fill(index, catalog, [entry(catalog, look, view) for look in LOOKS for view in range(2)])
    [ranking] = await index.search(catalog, vector(LOOKS[5])[None], limit=20)
    scores = [match.score for match in ranking.matches]
    assert scores == sorted(scores, reverse=True)


async def test_several_vectors_in_one_call(index: Index, catalog: str) -> None:
    await fill(index, catalog, [entry(catalog, look, view) for look in LOOKS for view in range(VIEWS)])
    queries = [2, 17, 4, 4]
    rankings = await index.search(catalog, np.stack([vector(LOOKS[number]) for number in queries]), limit=5)
    assert [ranking.matches[0].product_id for ranking in rankings] == ["look-2", "look-17", "look-4", "look-4"]
    assert {len(ranking.matches) for ranking in rankings} == {5}


async def test_upsert_replaces(index: Index, catalog: str) -> None:
    await fill(index, catalog, [entry(catalog, LOOKS[0], brand="old")])
    await index.upsert(catalog, [entry(catalog, LOOKS[0], brand="new", revision=2)])

    async def replaced() -> None:
        assert await found(index, catalog, filter='brand = "new"') == ["look-0"]
        assert await found(index, catalog, filter='brand = "old"') == []
        [ranking] = await index.search(catalog, vector(LOOKS[0])[None], limit=10)
        assert [match.revision for match in ranking.matches] == [2]

    await eventually(replaced)


async def test_delete_takes_single_views_and_what_is_gone(index: Index, catalog: str) -> None:
    await fill(index, catalog, [entry(catalog, LOOKS[0], view) for view in range(3)] + [entry(catalog, LOOKS[1])])
    await index.delete(catalog, ["look-0/0", "look-0/1", "never/was"])

    async def first_views_gone() -> None:
        [ranking] = await index.search(catalog, vector(LOOKS[0], variation="0")[None], limit=10)
        best = {match.product_id: match.view_id for match in ranking.matches}
        assert best == {"look-0": "look-0/2", "look-1": "look-1/0"}

    await eventually(first_views_gone)
    await index.delete(catalog, ["look-0/2"])

    async def product_gone() -> None:
        assert await found(index, catalog) == ["look-1"]

    await eventually(product_gone)


async def test_catalogs_do_not_see_each_other(index: Index, catalog: str) -> None:
    other = f"{catalog}_1"
    await index.prepare(other)
    await fill(index, catalog, [entry(catalog, LOOKS[0])])
    await fill(index, other, [entry(other, LOOKS[1])])
    assert await found(index, catalog) == ["look-0"]
    assert await found(index, other) == ["look-1"]


async def test_preparing_again_keeps_everything(index: Index, catalog: str) -> None:
    await fill(index, catalog, [entry(catalog, LOOKS[0])])
    await index.prepare(catalog)
    assert await found(index, catalog) == ["look-0"]


SHELF: list[dict[str, object]] = [
    {"category": "top", "brand": "a", "price": 500, "attributes": {"size": "M", "stock": 3, "sale": True}},
    {"category": "top/t-shirt", "brand": "b", "price": 1000, "available": False, "attributes": {"size": "L"}},
    {"category": "topper", "brand": "we\"ird \\ ' or 1 == 1", "price": None, "attributes": {"stock": 10.5}},
    {"category": "dress", "brand": "日本 😀", "price": 0, "colors": ("blue",), "attributes": {"stock": "many"}},
    {"category": "dress/gown", "brand": "", "price": 2**40, "colors": (), "attributes": {"sale": False, "stock": -1}},
]
CASES = {
    "": {0, 1, 2, 3, 4},
    'category = "top"': {0, 1},
    'category = "top/t-shirt"': {1},
    'category != "top"': {2, 3, 4},
    'NOT category = "dress" AND NOT category = "top"': {2},
    "price < 1000": {0, 3},
    "price <= 1000 AND price > 0": {0, 1},
    "price = 0": {3},
    "price = -1": set(),
    "price != 500": {1, 2, 3, 4},
    "NOT price < 1000": {1, 4},
    "price >= 1099511627776": {4},
    "available": {0, 2, 3, 4},
    "NOT available": {1},
    "available = false": {1},
    'colors : "red"': {0, 1, 2},
    'NOT colors : "red"': {3, 4},
    'colors : "blue" OR colors : "white"': {0, 1, 2, 3},
    'pattern = "solid" AND brand = "b"': {1},
    """brand = "we\\"ird \\\\ ' or 1 == 1" """: {2},
    "brand = '日本 😀'": {3},
    'brand = ""': {4},
    'brand = "\\" or category != \\""': set(),
    'attributes.size = "M"': {0},
    'attributes.size != "M"': {1, 2, 3, 4},
    'NOT attributes.size = "M"': {1, 2, 3, 4},
    "attributes.stock = 3": {0},
    "attributes.stock = 3.0": {0},
    "attributes.stock < 5": {0, 4},
    "NOT attributes.stock < 5": {2},
    "attributes.stock > 10": {2},
    "attributes.stock != 3": {1, 2, 3, 4},
    'attributes.stock = "many"': {3},
    "attributes.sale": {0},
    "NOT attributes.sale": {1, 2, 3, 4},
    "attributes.sale = false": {4},
    "attributes.unheard_of = 1": set(),
    'category = "dress" AND price < 10000 AND (brand = "日本 😀" OR brand = "x") AND available': {3},
    'NOT (category = "top" OR attributes.sale = false)': {2, 3},
}


async def test_filters(index: Index, catalog: str) -> None:
    """One table for all engines: the differences between them are the adapters' business."""
    await fill(index, catalog, [entry(catalog, f"item {n}", **row) for n, row in enumerate(SHELF)])  # type: ignore[arg-type]
    for text, wanted in CASES.items():
        ids = await found(index, catalog, filter=text)
        assert {int(product_id.removeprefix("item-")) for product_id in ids} == wanted, text


async def test_a_filter_that_leaves_few_of_many_still_fills_the_page(index: Index, catalog: str) -> None:
    looks = [f"many {number}" for number in range(200)]
    entries = [
        entry(catalog, look, view, brand="rare" if number % 20 == 0 else "common")
        for number, look in enumerate(looks)
        for view in range(VIEWS)
    ]
    await fill(index, catalog, entries)
    for limit in (1, 5, 10):
        assert len(await found(index, catalog, looks[1], filter='brand = "rare"', limit=limit)) == limit
    assert len(await found(index, catalog, looks[1], filter='brand = "rare"', limit=50)) == 10


async def test_a_selective_filter_finds_all_that_passes_among_indexed_rows(
    milvus_options: MilvusOptions, catalog: str
) -> None:
    """Lite's HNSW drops what a filter does not pass from the few that it has found, and has none left."""
    index = await MilvusIndex.connect(milvus_options, embedding_version=1, dimension=DIMENSION)
    await index.prepare(catalog)
    brands = ["rare" if number % 100 == 0 else "common" for number in range(2000)]
    await index.upsert(catalog, [entry(catalog, f"one {n}", brand=brand) for n, brand in enumerate(brands)])
    client = MilvusClient(milvus_options.uri, token=milvus_options.token, timeout=60, dedicated=True)
    for step in (client.flush, client.release_collection, client.load_collection):
        await asyncio.to_thread(step, collection_of(catalog, 1))
    client.close()

    async def all_there() -> None:
        assert len(await found(index, catalog, "one 1", filter='brand = "rare"', limit=30)) == 20

    # Until a server has built the index it looks through a coarse one, which misses some.
    await eventually(all_there, seconds=60)
    await index.close()


async def test_a_write_does_not_hold_up_the_event_loop(index: Index, catalog: str) -> None:
    """Searches of others go on while thousands of rows are turned into messages and sent."""
    if not isinstance(index, MilvusIndex):
        pytest.skip("the fake holds up nothing for long")
    entries = [entry(catalog, f"bulk {number}") for number in range(2000)]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    begin = time.thread_time()
    await index.upsert(catalog, entries)
    busy = time.thread_time() - begin
    ticking.cancel()
    assert busy < 0.1
    assert ticks > 10


async def test_no_time_left_is_said(index: Index, catalog: str) -> None:
    if not isinstance(index, MilvusIndex):
        pytest.skip("the fake takes no time")
    with pytest.raises(DeadlineExceeded):
        await index.search(catalog, vector("x")[None], limit=1, timeout=0.0)


async def test_a_scan_comes_by_every_view(index: Index, catalog: str) -> None:
    entries = [entry(catalog, f"item {number}", view, revision=number + 1) for number in range(510) for view in (0, 1)]
    await fill(index, catalog, entries)

    async def all_seen() -> None:
        rows = [row async for batch in index.scan(catalog) for row in batch]
        wanted = {(each.view.id, each.product.id, each.product.indexed_revision) for each in entries}
        assert {(row.id, row.product_id, row.revision) for row in rows} == wanted
        assert len(rows) == len(entries)

    await eventually(all_seen)


async def test_a_scan_of_nothing(index: Index, catalog: str) -> None:
    assert [rows async for rows in index.scan(catalog)] == []


async def test_revisions_know_every_acknowledged_write(index: Index, catalog: str) -> None:
    """At once, without the fraction of a second that a search may lag behind."""
    entries = [entry(catalog, f"item {number}") for number in range(1010)]
    await index.upsert(catalog, entries)
    ids = [each.view.id for each in entries]
    assert await index.revisions(catalog, [*ids, "never/was"]) == dict.fromkeys(ids, 1)
    await index.upsert(catalog, [entry(catalog, "item 7", revision=2)])
    await index.delete(catalog, ["item-8/0"])
    assert await index.revisions(catalog, ["item-7/0", "item-8/0", "item-9/0"]) == {"item-7/0": 2, "item-9/0": 1}
    assert await index.revisions(catalog, []) == {}


async def test_another_vector_size_is_refused(milvus_options: MilvusOptions, catalog: str) -> None:
    first = await MilvusIndex.connect(milvus_options, embedding_version=1, dimension=DIMENSION)
    second = await MilvusIndex.connect(milvus_options, embedding_version=1, dimension=DIMENSION * 2)
    await first.prepare(catalog)
    with pytest.raises(StartupError, match="needs a new embedding version"):
        await second.prepare(catalog)
    await first.close()
    await second.close()


async def test_versions_stand_side_by_side(milvus_options: MilvusOptions, catalog: str) -> None:
    """The alias stays with the version that had it first; each version searches its own collection."""
    old = await MilvusIndex.connect(milvus_options, embedding_version=1, dimension=DIMENSION)
    new = await MilvusIndex.connect(milvus_options, embedding_version=2, dimension=DIMENSION * 2)
    await old.prepare(catalog)
    await new.prepare(catalog)
    await fill(old, catalog, [entry(catalog, LOOKS[0])])
    [ranking] = await new.search(catalog, np.ones((1, DIMENSION * 2), np.float32), limit=3)
    assert ranking.matches == ()
    assert await found(old, catalog) == ["look-0"]
    await old.close()
    await new.close()


@pytest.mark.parametrize("kind", sorted(INDEX_KINDS))
async def test_kinds_of_index(milvus_options: MilvusOptions, catalog: str, kind: str) -> None:
    """Each that a server builds finds what is there; each other one is refused with those that there are."""
    options = replace(milvus_options, index_kind=kind, lists=16, probes=16)
    client = MilvusClient(options.uri, token=options.token, timeout=10, dedicated=True)
    able = kind in abilities_of(client.get_server_version(timeout=10)).kinds
    client.close()
    if not able:
        with pytest.raises(StartupError, match=rf"no {kind} index; set LOOKALIKE_INDEX_KIND to one of AUTOINDEX, FLAT"):
            await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION)
        return
    index = await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION)
    await index.prepare(catalog)
    await fill(index, catalog, [entry(catalog, look, view) for look in LOOKS for view in range(VIEWS)])
    for look in LOOKS[:5]:
        assert (await found(index, catalog, look, limit=10))[0] == look.replace(" ", "-")
    await index.close()


async def test_a_collection_keeps_its_kind_of_index(milvus_options: MilvusOptions, catalog: str) -> None:
    """A changed setting is for new collections; those that are there are searched as they were built."""
    first = await MilvusIndex.connect(milvus_options, embedding_version=1, dimension=DIMENSION)
    await first.prepare(catalog)
    await fill(first, catalog, [entry(catalog, look) for look in LOOKS])
    changed = replace(milvus_options, index_kind="IVF_FLAT")
    second = await MilvusIndex.connect(changed, embedding_version=1, dimension=DIMENSION)
    await second.prepare(catalog)
    assert len(await found(second, catalog, limit=30)) == 30
    await first.close()
    await second.close()


def test_names_never_meet() -> None:
    catalogs = ["a", "a_1", "a__1", "a.1", "a-1", "a_x2e1", "a~", "A", "_", "__", "1", "x" * 128, "." * 128]
    names = [name for catalog in catalogs for name in (alias_of(catalog), collection_of(catalog, 1))]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() and len(name) < 256 for name in names)
    assert alias_of("default") == "garments_default"
    assert collection_of("default", 3) == "garments_default_3"
