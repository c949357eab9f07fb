"""Views of products by session in the catalog's database, and counts per product and day that follow them exactly."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, false, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from lookalike_service import tables
from lookalike_service.companions import Decay, Shared
from lookalike_service.filter import Node
from lookalike_service.page_views import Fate, SessionView
from lookalike_service.reads import MOST_IDS
from lookalike_service.store import SqlStore

__all__ = ["SqlPageViews"]

VIEWS, COUNTS, PRODUCTS = tables.page_views, tables.page_view_counts, tables.products
# Any number will do, as long as nobody else locks by it.
LOCK: Final = 4_201_926_118
# Products whose old views one commit deletes: others wait for it.
PRUNED_AT_ONCE: Final = 200
INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
# Days by session and product, and numbers by product and day.
Days = dict[tuple[bytes, str], int]
Deltas = Counter[tuple[str, int]]


class SqlPageViews:
    """A PageViewStore in the database of a SqlStore."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def add(self, catalog: str, views: Sequence[SessionView], *, most: int) -> list[Fate]:
        """Keep views, in one commit, and say of each what became of it."""

        async def work(connection: AsyncConnection) -> list[Fate]:
            return await connection.run_sync(_added, catalog, views, most)

        return await self._store.commit(work)

    async def shared(
        self, catalog: str, product_id: str, *, decay: Decay, sessions: int, least: int, limit: int
    ) -> Shared:
        """Count the products that the product's latest `sessions` sessions looked at, too."""
        return await self._store.read(
            lambda here: _shared(here, catalog, product_id, decay=decay, sessions=sessions, least=least, limit=limit)
        )

    async def holding(
        self, catalog: str, ids: Collection[str], *, filter: Node | None, embedding_version: int = 0
    ) -> set[str]:
        """Those of the products that exist and for which the filter holds."""
        return await self._store.read(
            lambda here: _existing(here, catalog, ids, filter=filter, embedding_version=embedding_version)
        )

    async def forget(self, catalog: str, session: bytes) -> int:
        """Delete the views of a session and return how many there were."""

        def forgotten(connection: Connection) -> int:
            _alone(connection)
            here = (VIEWS.c.catalog == catalog) & (VIEWS.c.session == session)
            rows = connection.execute(select(VIEWS.c.product_id, VIEWS.c.day).where(here)).all()
            connection.execute(delete(VIEWS).where(here))
            _count(connection, catalog, Counter({(row.product_id, row.day): -1 for row in rows}))
            return len(rows)

        return await self._store.commit(lambda connection: connection.run_sync(forgotten))

    async def prune(self, *, before: int) -> int:
        """Delete some hundred products' views of days before this one; 0 when there are none left."""
        return await self._store.commit(lambda connection: connection.run_sync(_pruned, before))

    async def first_day(self, *, most: int) -> int:
        """The earliest day from which on at most `most` views are kept, 0 when that is all of them."""
        query = select(COUNTS.c.day, func.sum(COUNTS.c.sessions).label("kept")).group_by(COUNTS.c.day)
        rows = await self._store.read(lambda here: here.execute(query.order_by(COUNTS.c.day.desc())).all())
        kept = 0
        for row in rows:
            kept += int(row.kept)
            if kept > most:
                return int(row.day) + 1
        return 0


def _alone(connection: Connection) -> None:
    """Let no other writer of views in until this transaction ends: counts follow from what was read in it."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
    else:
        # A transaction that has begun by reading could not wait for a writer any more.
        connection.execute(update(COUNTS).where(COUNTS.c.catalog == "", COUNTS.c.product_id == "").values(sessions=0))


def _added(connection: Connection, catalog: str, views: Sequence[SessionView], most: int) -> list[Fate]:
    _alone(connection)
    known = _existing(connection, catalog, {view.product_id for view in views}, filter=None)
    held, days = _kept(connection, catalog, [view for view in views if view.product_id in known])
    before = dict(days)
    fates = []
    for view in views:
        key = (view.session, view.product_id)
        if view.product_id not in known:
            fates.append(Fate.UNKNOWN_PRODUCT)
        elif key not in days and held[view.session] >= most:
            fates.append(Fate.OVER_SESSION_LIMIT)
        else:
            fates.append(Fate.ACCEPTED)
            held[view.session] += key not in days
            days[key] = max(view.day, days.get(key, view.day))
    changed = {key: day for key, day in days.items() if day != before.get(key)}
    if changed:
        _write(connection, catalog, changed, before)
    return fates


def _write(connection: Connection, catalog: str, changed: Days, before: Days) -> None:
    """Put these days in the place of those before, where there were any, and let the counts follow."""
    statement = INSERTS[connection.dialect.name](VIEWS)
    statement = statement.on_conflict_do_update(
        index_elements=list(VIEWS.primary_key), set_={"day": statement.excluded.day}
    )
    rows = [
        {"catalog": catalog, "session": session, "product_id": product_id, "day": day}
        for (session, product_id), day in sorted(changed.items())
    ]
    connection.execute(statement, rows)
    deltas: Deltas = Counter((product_id, day) for (_, product_id), day in changed.items())
    deltas.subtract((key[1], before[key]) for key in changed if key in before)
    _count(connection, catalog, deltas)


def _kept(connection: Connection, catalog: str, views: Sequence[SessionView]) -> tuple[Counter[bytes], Days]:
    """How many products each session has looked at already, and the days of those that are viewed again."""
    held: Counter[bytes] = Counter()
    days: Days = {}
    for some in _portions({view.session for view in views}):
        here = (VIEWS.c.catalog == catalog) & VIEWS.c.session.in_(some)
        counted = select(VIEWS.c.session, func.count()).where(here).group_by(VIEWS.c.session)
        held.update({bytes(session): int(number) for session, number in connection.execute(counted)})
    again = {(view.session, view.product_id) for view in views if view.session in held}
    for pairs in _portions(again):
        wanted = tuple_(VIEWS.c.session, VIEWS.c.product_id).in_(pairs)
        query = select(VIEWS.c.session, VIEWS.c.product_id, VIEWS.c.day).where(VIEWS.c.catalog == catalog, wanted)
        days.update({(bytes(session), product_id): day for session, product_id, day in connection.execute(query)})
    return held, days


def _count(connection: Connection, catalog: str, deltas: Deltas) -> None:
    """Let the counts follow; one that comes to nothing goes."""
    rows = [
        {"catalog": catalog, "product_id": product_id, "day": day, "sessions": delta}
        for (product_id, day), delta in sorted(deltas.items())
        if delta
    ]
    if not rows:
        return
    statement = INSERTS[connection.dialect.name](COUNTS)
    statement = statement.on_conflict_do_update(
        index_elements=list(COUNTS.primary_key), set_={"sessions": COUNTS.c.sessions + statement.excluded.sessions}
    )
    connection.execute(statement, rows)
    for some in _portions({product_id for (product_id, _), delta in deltas.items() if delta < 0}):
        nothing = (COUNTS.c.catalog == catalog) & COUNTS.c.product_id.in_(some) & (COUNTS.c.sessions <= 0)
        connection.execute(delete(COUNTS).where(nothing))


def _pruned(connection: Connection, before: int) -> int:
    _alone(connection)
    names = select(COUNTS.c.catalog, COUNTS.c.product_id).where(COUNTS.c.day < before).distinct().limit(PRUNED_AT_ONCE)
    by_catalog: dict[str, list[str]] = defaultdict(list)
    for catalog, product_id in connection.execute(names):
        by_catalog[catalog].append(product_id)
    deleted = 0
    for catalog, ids in by_catalog.items():
        for table in (VIEWS, COUNTS):
            old = (table.c.catalog == catalog) & table.c.product_id.in_(ids) & (table.c.day < before)
            rows = connection.execute(delete(table).where(old)).rowcount
            deleted += rows if table is VIEWS else 0
    return deleted


def _existing(
    connection: Connection,
    catalog: str,
    ids: Collection[str],
    *,
    filter: Node | None,
    embedding_version: int = 0,
) -> set[str]:
    found: set[str] = set()
    for some in _portions(ids):
        query = select(PRODUCTS.c.id).where(
            PRODUCTS.c.catalog == catalog, PRODUCTS.c.id.in_(some), PRODUCTS.c.deleted.is_(false())
        )
        if filter is not None:
            dialect = connection.dialect.name
            query = query.where(tables.condition(filter, dialect=dialect, embedding_version=embedding_version))
        found.update(connection.execute(query).scalars())
    return found


def _shared(
    connection: Connection, catalog: str, product_id: str, *, decay: Decay, sessions: int, least: int, limit: int
) -> Shared:
    weights = dict(decay.weights())
    here = (VIEWS.c.catalog == catalog) & VIEWS.c.day.between(decay.first, decay.last)
    latest = select(VIEWS.c.session, VIEWS.c.day).where(here, VIEWS.c.product_id == product_id)
    latest = latest.order_by(VIEWS.c.day.desc(), VIEWS.c.session).limit(sessions)
    mine = {session: weights[day] for session, day in connection.execute(latest)}
    if not mine:
        return Shared(0.0, 0.0)
    numbers: Counter[str] = Counter()
    roots: dict[str, float] = defaultdict(float)
    # Joined here and not in the database: without statistics SQLite begins at the wrong end, and takes minutes.
    for some in _portions(mine):
        theirs = select(VIEWS.c.session, VIEWS.c.product_id, VIEWS.c.day).where(here, VIEWS.c.session.in_(some))
        for session, other, day in connection.execute(theirs):
            numbers[other] += 1
            roots[other] += math.sqrt(mine[session] * weights[day])
    del numbers[product_id]
    often = sorted((id for id, number in numbers.items() if number >= least), key=lambda id: (-roots[id], id))
    together = {id: (numbers[id], roots[id]) for id in often[:limit]}
    totals = _totals(connection, catalog, [product_id, *together], weights)
    return Shared(sum(mine.values()), totals.pop(product_id, 0.0), together, totals)


def _totals(connection: Connection, catalog: str, ids: Sequence[str], weights: Mapping[int, float]) -> dict[str, float]:
    """W of each product."""
    found: dict[str, float] = defaultdict(float)
    days = COUNTS.c.day.between(min(weights), max(weights))
    for some in _portions(ids):
        query = select(COUNTS.c.product_id, COUNTS.c.day, COUNTS.c.sessions)
        query = query.where(COUNTS.c.catalog == catalog, COUNTS.c.product_id.in_(some), days)
        for product_id, day, sessions in connection.execute(query):
            found[product_id] += sessions * weights[day]
    return found


def _portions(items: Iterable[Any]) -> Iterable[list[Any]]:
    """Sorted, and few enough for one statement each: databases bound the number of values in one."""
    ordered = sorted(items)
    return (ordered[begin : begin + MOST_IDS] for begin in range(0, len(ordered), MOST_IDS))
