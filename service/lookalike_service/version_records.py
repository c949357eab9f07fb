"""The embedding versions of the catalogs in the database: states, leases, and the views that a filling version gets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import delete, exists, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lookalike_service import tables
from lookalike_service.model import Product, View
from lookalike_service.records import view_rows
from lookalike_service.store import SqlStore
from lookalike_service.version_rules import lock
from lookalike_service.versions import State, VersionRecord

__all__ = ["Lease", "SqlVersions"]

VERSIONS, LEASES, PRODUCTS, VIEWS = tables.embedding_versions, tables.leases, tables.products, tables.views


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may change the versions of a catalog, and until when unless he renews it (seconds since 1970)."""

    holder: str
    until: float


class SqlVersions:
    """Reads and changes them; every method raises StoreUnavailable.

    Those that change something do so for the holder of the catalog's lease only, and say whether they did.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def all(self) -> dict[str, list[VersionRecord]]:
        """The versions of every catalog, by their numbers."""
        rows = await self._store.read(lambda here: here.execute(select(VERSIONS).order_by(VERSIONS.c.version)).all())
        found: dict[str, list[VersionRecord]] = {}
        for row in rows:
            record = VersionRecord(row.catalog, row.version, State(row.state), row.filled_to, row.changed)
            found.setdefault(row.catalog, []).append(record)
        return found

    async def adopt(self, catalogs: Sequence[str], version: int) -> None:
        """Write down what serves a catalog of which nothing is written yet."""
        for catalog in catalogs:
            known = exists().where(VERSIONS.c.catalog == catalog)
            row = _row(catalog, version, State.SERVING)
            values = select(*(literal(value).label(name) for name, value in row.items())).where(~known)
            await self._store.commit(
                partial(_adopted, catalog=catalog, row=insert(VERSIONS).from_select(list(row), values))
            )

    async def lease(self, catalog: str, holder: str, *, seconds: float) -> Lease:
        """Take or renew the lease, and say whose it is now."""
        name, now = _lease_of(catalog), _now()
        wanted = {"holder": holder, "until": now + round(seconds * 1e6)}

        async def work(connection: AsyncConnection) -> None:
            free = (LEASES.c.until < now) | (LEASES.c.holder == holder)
            taken = await connection.execute(update(LEASES).where(LEASES.c.name == name, free).values(wanted))
            if taken.rowcount == 0:
                await _inserted(connection, LEASES, {"name": name, **wanted})

        await self._store.commit(work)
        query = select(LEASES).where(LEASES.c.name == name)
        row = await self._store.read(lambda here: here.execute(query).one())
        return Lease(row.holder, row.until / 1e6)

    async def release(self, catalog: str, holder: str) -> None:
        """Give the lease back, if it is ours."""
        ours = delete(LEASES).where(LEASES.c.name == _lease_of(catalog), LEASES.c.holder == holder)
        await self._store.commit(lambda connection: connection.execute(ours))

    async def begin(self, catalog: str, version: int, *, holder: str) -> bool:
        """Have a version filled from now on, unless the catalog has it already."""

        async def work(connection: AsyncConnection) -> bool:
            if not await _holds(connection, catalog, holder):
                return False
            await _inserted(connection, VERSIONS, _row(catalog, version, State.FILLING))
            return True

        return await self._store.commit(work)

    async def change(self, catalog: str, moves: Mapping[int, State | None], *, holder: str) -> bool:
        """Give versions other states, all at one moment and between any two writes; None takes a version away."""

        async def work(connection: AsyncConnection) -> bool:
            if not await _holds(connection, catalog, holder):
                return False
            await lock(connection, catalog, alone=True)
            for version, state in moves.items():
                here = (VERSIONS.c.catalog == catalog) & (VERSIONS.c.version == version)
                if state is None:
                    await connection.execute(delete(VERSIONS).where(here))
                else:
                    changed = {"state": state.value, "changed": _now()}
                    await connection.execute(update(VERSIONS).where(here).values(changed))
            return True

        return await self._store.commit(work)

    async def save(self, catalog: str, version: int, *, filled_to: str, holder: str) -> bool:
        """Remember how far the filling has come."""

        async def work(connection: AsyncConnection) -> bool:
            if not await _holds(connection, catalog, holder):
                return False
            here = (VERSIONS.c.catalog == catalog) & (VERSIONS.c.version == version)
            await connection.execute(update(VERSIONS).where(here).values(filled_to=filled_to))
            return True

        return await self._store.commit(work)

    async def add_views(self, filled: Sequence[tuple[Product, Sequence[View]]], version: int) -> None:
        """Give products their views of one version, unless they have changed since they were read."""

        async def work(connection: AsyncConnection) -> None:
            for product, views in filled:
                same = (
                    (PRODUCTS.c.catalog == product.catalog)
                    & (PRODUCTS.c.id == product.id)
                    & (PRODUCTS.c.revision == product.revision)
                    & PRODUCTS.c.deleted.is_(False)
                )
                # Not a change: it holds up whoever changes the product until this is committed.
                held = await connection.execute(update(PRODUCTS).where(same).values(revision=product.revision))
                if held.rowcount:
                    here = (VIEWS.c.catalog == product.catalog) & (VIEWS.c.product_id == product.id)
                    await connection.execute(delete(VIEWS).where(here, VIEWS.c.embedding_version == version))
                    await connection.execute(insert(VIEWS), view_rows(replace(product, views=tuple(views))))

        await self._store.commit(work)

    async def lacking(self, catalog: str, version: int, *, after: str = "", limit: int) -> list[str]:
        """The ids of products behind `after` that have no view of a version."""
        here = (VIEWS.c.catalog == PRODUCTS.c.catalog) & (VIEWS.c.product_id == PRODUCTS.c.id)
        has = exists().where(here, VIEWS.c.embedding_version == version).correlate(PRODUCTS)
        query = select(PRODUCTS.c.id).where(_living(catalog), PRODUCTS.c.id > after, ~has)
        return await self._store.read(
            lambda connection: list(connection.execute(query.order_by(PRODUCTS.c.id).limit(limit)).scalars())
        )

    async def count(self, catalog: str, *, until: str | None = None) -> int:
        """How many products there are, as far as an id when one is given."""
        query = select(func.count()).select_from(PRODUCTS).where(_living(catalog))
        if until is not None:
            query = query.where(PRODUCTS.c.id <= until)
        return await self._store.read(lambda here: int(here.execute(query).scalar_one()))

    async def forget_views(self, catalog: str, version: int, *, limit: int = 500) -> int:
        """Delete the views of a version from some products, and say how many views that were."""
        of_it = (VIEWS.c.catalog == catalog) & (VIEWS.c.embedding_version == version)
        some = select(VIEWS.c.product_id).where(of_it).distinct().limit(limit)
        ids = await self._store.read(lambda here: list(here.execute(some).scalars()))
        if not ids:
            return 0
        gone = delete(VIEWS).where(of_it, VIEWS.c.product_id.in_(ids))
        return int((await self._store.commit(lambda connection: connection.execute(gone))).rowcount)


async def _adopted(connection: AsyncConnection, *, catalog: str, row: Any) -> None:  # noqa: ANN401 - SQL
    await lock(connection, catalog, alone=True)
    await connection.execute(row)


async def _inserted(connection: AsyncConnection, table: Any, row: Mapping[str, object]) -> None:  # noqa: ANN401
    """Insert a row unless there is one already."""
    try:
        async with connection.begin_nested():
            await connection.execute(insert(table).values(row))
    except IntegrityError:
        pass


async def _holds(connection: AsyncConnection, catalog: str, holder: str) -> bool:
    """Whether the lease is this holder's; what follows in the transaction happens before anybody else can take it."""
    here = (LEASES.c.name == _lease_of(catalog)) & (LEASES.c.holder == holder)
    return (await connection.execute(update(LEASES).where(here).values(holder=holder))).rowcount > 0


def _living(catalog: str) -> Any:  # noqa: ANN401 - SQL clauses
    return (PRODUCTS.c.catalog == catalog) & PRODUCTS.c.deleted.is_(False)


def _row(catalog: str, version: int, state: State) -> dict[str, object]:
    return {"catalog": catalog, "version": version, "state": state.value, "filled_to": "", "changed": _now()}


def _lease_of(catalog: str) -> str:
    return f"versions of {catalog}"


def _now() -> int:
    return time.time_ns() // 1000
