"""The database where it can fail: at the start, and under a write."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError

from lookalike_service import database, tables
from lookalike_service.commits import prepare_sqlite
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.errors import StartupError, StoreUnavailable
from lookalike_service.filter import parse
from lookalike_service.model import Product
from support_gateway import open_store


@pytest.mark.parametrize("wrong", ["sqlite+aiosqlite:////nowhere/at/all.db", "nonsense://x", "not a url"])
async def test_a_database_that_cannot_be_opened_is_named(wrong: str) -> None:
    with pytest.raises(StartupError, match="LOOKALIKE_DATABASE_URL"):
        await open_database(DatabaseOptions(wrong))


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.write(Product("default", "p", revision=1), expected_revision=0, pending=True)
    await store.close()
    again = await open_store(tmp_path)
    assert list(await again.products("default", ["p"])) == ["p"]
    assert [entry.product_id for entry in await again.pending(limit=10)] == ["p"]
    await again.close()


async def test_a_broken_database_says_so_without_details(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    async with store.engine.begin() as connection:
        await connection.run_sync(tables.metadata.drop_all)
    with pytest.raises(StoreUnavailable) as caught:
        await store.products("default", ["p"])
    assert "products" not in caught.value.message
    await store.close()


async def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.write(Product("default", "old", revision=1), expected_revision=0, pending=False)
    async with store.engine.begin() as writing:
        await writing.execute(tables.products.delete())
        assert list(await asyncio.wait_for(store.products("default", ["old"]), 2)) == ["old"]
        await writing.rollback()
    await store.close()


def test_filters_compile_for_postgresql() -> None:
    tree = parse('attributes.stock < 5 AND NOT attributes.sale AND category = "top" AND colors : "red"')
    assert tree is not None
    condition = tables.condition(tree, dialect="postgresql")
    sql = str(condition.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert "json_typeof" in sql
    assert "5" not in sql  # values travel beside the statement


async def test_a_file_that_is_locked_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that turn a new file to WAL at once: SQLite refuses one of them without waiting."""
    locked = [OperationalError("PRAGMA journal_mode=WAL", None, sqlite3.OperationalError("database is locked"))]

    def refuse_once(*_: object) -> None:
        if locked:
            raise locked.pop()

    def prepared(engine: Engine) -> None:
        prepare_sqlite(engine)
        event.listen(engine, "connect", refuse_once)

    monkeypatch.setattr(database, "prepare_sqlite", prepared)
    store = await open_store(tmp_path)
    assert await store.products("default", ["p"]) == {}
    assert not locked
    await store.close()
