"""What every PageViewStore must do, against a plain recount; run on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping

import pytest
from sqlalchemy import select

from lookalike_service import tables
from lookalike_service.companions import Decay
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.filter import parse
from lookalike_service.model import Product
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.page_views import Fate, SessionView
from lookalike_service.store import SqlStore

PRODUCTS = [f"p{number}" for number in range(8)]
DECAY = Decay(100, 129, 7.0)
MOST = 5


class Recount:
    """The same in plain Python: what every session has looked at, and the latest day of it."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, bytes], dict[str, int]] = defaultdict(dict)

    def add(self, catalog: str, views: list[SessionView]) -> list[Fate]:
        fates = []
        for view in views:
            days = self.seen[catalog, view.session]
            if view.product_id not in PRODUCTS:
                fates.append(Fate.UNKNOWN_PRODUCT)
            elif view.product_id not in days and len(days) >= MOST:
                fates.append(Fate.OVER_SESSION_LIMIT)
            else:
                days[view.product_id] = max(view.day, days.get(view.product_id, 0))
                fates.append(Fate.ACCEPTED)
        return fates

    def forget(self, catalog: str, session: bytes) -> int:
        return len(self.seen.pop((catalog, session), {}))

    def prune(self, before: int) -> int:
        old = [(days, id) for days in self.seen.values() for id, day in days.items() if day < before]
        for days, id in old:
            del days[id]
        return len(old)

    def rows(self) -> list[tuple[str, bytes, str, int]]:
        return sorted((*key, id, day) for key, days in self.seen.items() for id, day in days.items())

    def counts(self) -> list[tuple[str, str, int, int]]:
        counted = Counter((catalog, id, day) for catalog, _, id, day in self.rows())
        return sorted((*key, number) for key, number in counted.items())

    def together(self, catalog: str, product_id: str) -> dict[str, tuple[int, float]]:
        found: dict[str, tuple[int, float]] = {}
        for (where, _), days in self.seen.items():
            if where != catalog or not DECAY.first <= days.get(product_id, 0) <= DECAY.last:
                continue
            for other, day in days.items():
                if other != product_id and DECAY.first <= day <= DECAY.last:
                    number, roots = found.get(other, (0, 0.0))
                    root = math.sqrt(DECAY.weight(days[product_id]) * DECAY.weight(day))
                    found[other] = (number + 1, roots + root)
        return found


@pytest.fixture
async def stores(database: DatabaseOptions) -> AsyncIterator[list[SqlStore]]:
    """Two gateways' stores on one database, with some products in two catalogs."""
    opened = [SqlStore(await open_database(database, timeout=20)) for _ in range(2)]
    for catalog in ("default", "other"):
        for id in PRODUCTS:
            await opened[0].write(Product(catalog, id, brand=id, revision=1), expected_revision=0, pending=False)
    yield opened
    for store in opened:
        await store.close()


async def rows_of(store: SqlStore) -> list[tuple[str, bytes, str, int]]:
    rows = await store.read(lambda here: here.execute(select(tables.page_views)).all())
    return sorted((row.catalog, bytes(row.session), row.product_id, row.day) for row in rows)


async def counts_of(store: SqlStore) -> list[tuple[str, str, int, int]]:
    rows = await store.read(lambda here: here.execute(select(tables.page_view_counts)).all())
    return sorted((row.catalog, row.product_id, row.day, row.sessions) for row in rows)


def rounded(together: Mapping[str, tuple[int, float]]) -> dict[str, tuple[int, float]]:
    return {id: (number, round(roots, 6)) for id, (number, roots) in together.items()}


def some_views(rng: random.Random, *, sessions: int = 12) -> list[SessionView]:
    """Repeated, out of order, of unknown products, of robots, and some older than the window."""
    return [
        SessionView(
            f"session {rng.randrange(sessions)}".encode(), rng.choice([*PRODUCTS, "unknown"]), rng.randrange(90, 130)
        )
        for _ in range(rng.randrange(40))
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_counts_are_those_of_a_plain_recount(stores: list[SqlStore], seed: int) -> None:
    """Whatever comes in whatever order: added, added again, forgotten, pruned."""
    rng, recount = random.Random(seed), Recount()
    views = [SqlPageViews(store) for store in stores]
    sent: list[SessionView] = []
    for _ in range(25):
        each, catalog = rng.choice(views), rng.choice(["default", "default", "other"])
        match rng.randrange(10):
            case 0:
                session = f"session {rng.randrange(12)}".encode()
                assert await each.forget(catalog, session) == recount.forget(catalog, session)
            case 1:
                before = rng.randrange(90, 110)
                assert await each.prune(before=before) == recount.prune(before)
            case _:
                batch = some_views(rng) + rng.sample(sent, min(5, len(sent)))
                sent += batch
                assert await each.add(catalog, batch, most=MOST) == recount.add(catalog, batch)
    assert await rows_of(stores[0]) == recount.rows()
    assert await counts_of(stores[0]) == recount.counts()
    for product_id in PRODUCTS:
        shared = await views[0].shared("default", product_id, decay=DECAY, sessions=1000, least=1, limit=100)
        wanted = recount.together("default", product_id)
        assert rounded(shared.together) == rounded(wanted)
        for id, total in shared.totals.items():
            days = [day for catalog, _, other, day in recount.rows() if (catalog, other) == ("default", id)]
            assert total == pytest.approx(sum(DECAY.weight(day) for day in days if day >= DECAY.first))
        assert shared.whole == pytest.approx(shared.weight)


async def test_the_order_in_which_views_come_does_not_matter(stores: list[SqlStore]) -> None:
    """Below the limit of a session, that is: of a robot those count that came first."""
    rng, views = random.Random(5), [SqlPageViews(store) for store in stores]
    made = [view for _ in range(10) for view in some_views(rng)]
    for catalog in ("default", "other"):
        rng.shuffle(made)
        for begin in range(0, len(made), 30):
            await views[begin // 30 % 2].add(catalog, made[begin : begin + 30], most=100)
    rows = await rows_of(stores[0])
    assert [row[1:] for row in rows if row[0] == "default"] == [row[1:] for row in rows if row[0] == "other"]


async def test_gateways_that_write_at_once_count_right(stores: list[SqlStore]) -> None:
    rng, recount = random.Random(7), Recount()
    views = [SqlPageViews(store) for store in stores]
    batches = [some_views(rng, sessions=3) for _ in range(24)]
    everything = [view for batch in batches for view in batch]
    fates = await asyncio.gather(
        *(views[number % 2].add("default", batch, most=100) for number, batch in enumerate(batches))
    )
    for batch in batches:
        recount.add("default", batch)
    assert sum(len(each) for each in fates) == len(everything)
    # Which views of a session come first is not said, so nothing is left out here.
    assert {id for _, _, id, _ in await rows_of(stores[0])} <= set(PRODUCTS)
    assert await counts_of(stores[0]) == counted(await rows_of(stores[0]))
    latest = {(view.session, view.product_id): 0 for view in everything if view.product_id in PRODUCTS}
    for view in everything:
        key = (view.session, view.product_id)
        if key in latest:
            latest[key] = max(latest[key], view.day)
    assert {(row[1], row[2]): row[3] for row in await rows_of(stores[0])} == latest


def counted(rows: list[tuple[str, bytes, str, int]]) -> list[tuple[str, str, int, int]]:
    numbers = Counter((catalog, id, day) for catalog, _, id, day in rows)
    return sorted((*key, number) for key, number in numbers.items())


async def test_only_the_latest_sessions_and_the_best_products_are_read(stores: list[SqlStore]) -> None:
    views = SqlPageViews(stores[0])
    made = [SessionView(f"{number:02}".encode(), "p0", 110 + number) for number in range(10)]
    made += [SessionView(f"{number:02}".encode(), f"p{1 + number % 2}", 129) for number in range(10)]
    made += [SessionView(b"09", "p3", 129)]
    await views.add("default", made, most=MOST)
    shared = await views.shared("default", "p0", decay=DECAY, sessions=4, least=2, limit=1)
    # Sessions 6 to 9 are read: p1 comes in 6 and 8, p2 in the later 7 and 9, p3 in one alone.
    assert {id: number for id, (number, _) in shared.together.items()} == {"p2": 2}
    assert shared.weight == pytest.approx(sum(DECAY.weight(day) for day in range(116, 120)))
    assert shared.whole == pytest.approx(sum(DECAY.weight(day) for day in range(110, 120)))


async def test_products_are_found_by_filter_and_while_they_exist(stores: list[SqlStore]) -> None:
    views = SqlPageViews(stores[0])
    await stores[0].delete("default", "p1", expected_revision=1)
    assert await views.holding("default", ["p0", "p1", "p2", "unknown"], filter=None) == {"p0", "p2"}
    # Filters hold for garment views, and these products have none.
    assert await views.holding("default", ["p0", "p2"], filter=parse('brand = "p0"')) == set()


async def test_the_first_day_that_fits(stores: list[SqlStore]) -> None:
    views = SqlPageViews(stores[0])
    assert await views.first_day(most=1) == 0
    for day, sessions in ((110, 3), (111, 2), (112, 4)):
        batch = [SessionView(f"{day} {number}".encode(), "p0", day) for number in range(sessions)]
        await views.add("default", batch, most=MOST)
    assert [await views.first_day(most=most) for most in (3, 4, 5, 6, 8, 9)] == [113, 112, 112, 111, 111, 0]


async def test_pruning_goes_on_until_nothing_is_left(stores: list[SqlStore]) -> None:
    views, ids = SqlPageViews(stores[0]), [f"many{number}" for number in range(450)]
    for id in ids:
        await stores[0].write(Product("default", id, revision=1), expected_revision=0, pending=False)
    await views.add("default", [SessionView(id.encode(), id, 100) for id in ids], most=MOST)
    steps = []
    while deleted := await views.prune(before=101):
        steps.append(deleted)
    assert sum(steps) == 450
    assert len(steps) == 3
    assert await counts_of(stores[0]) == []
