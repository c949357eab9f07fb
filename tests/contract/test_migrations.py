"""The versions of the tables on every database: made, adopted, brought up to date, refused."""

from __future__ import annotations

import asyncio

import pytest

from lookalike_service import tables
from lookalike_service.database import DatabaseOptions, make_engine, open_database
from lookalike_service.errors import StartupError
from lookalike_service.migrate import newest_version, prepare, upgrade
from support_database import differences, made_without_versions, rows_of_products, version_of, write_version


async def test_an_empty_database_gets_the_tables_of_the_program(database: DatabaseOptions) -> None:
    engine = await open_database(database)
    assert await version_of(engine) == newest_version()
    assert await differences(engine) == []
    await engine.dispose()


async def test_preparing_again_changes_nothing(database: DatabaseOptions) -> None:
    for _ in range(2):
        engine = await open_database(database)
        await engine.dispose()
    engine = make_engine(database)
    assert await upgrade(engine) == (newest_version(), newest_version())
    await engine.dispose()


async def test_a_database_of_the_first_release_is_adopted_with_its_products(database: DatabaseOptions) -> None:
    """By a start where there is one gateway, by the operator's command where there may be several."""
    engine = make_engine(database)
    await made_without_versions(engine)
    if engine.dialect.name == "sqlite":
        await prepare(engine)
    else:
        with pytest.raises(StartupError, match=r"are of version 0001.*run: python -m lookalike_service migrate"):
            await prepare(engine)
        assert await upgrade(engine) == ("0001", newest_version())
        await prepare(engine)
    assert await version_of(engine) == newest_version()
    assert await differences(engine) == []
    assert await rows_of_products(engine) == [("default", "p", "a title", False)]
    await engine.dispose()


async def test_tables_of_today_without_a_version_are_adopted_as_they_are(database: DatabaseOptions) -> None:
    engine = make_engine(database)
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    assert await upgrade(engine) == (newest_version(), newest_version())
    assert await version_of(engine) == newest_version()
    await engine.dispose()


async def test_of_two_that_start_at_once_one_makes_the_tables(database: DatabaseOptions) -> None:
    opened = await asyncio.gather(*(open_database(database) for _ in range(4)))
    assert await differences(opened[0]) == []
    for engine in opened:
        await engine.dispose()


async def test_a_database_of_a_newer_program_is_refused(database: DatabaseOptions) -> None:
    engine = await open_database(database)
    await write_version(engine, "9999")
    await engine.dispose()
    with pytest.raises(StartupError, match=r"of version 9999.*run the newer program"):
        await open_database(database)
    engine = make_engine(database)
    with pytest.raises(StartupError, match=r"of version 9999"):
        await upgrade(engine)
    await engine.dispose()


async def test_tables_of_somebody_else_are_left_alone(database: DatabaseOptions) -> None:
    engine = make_engine(database)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE products (id INTEGER)")
    with pytest.raises(StartupError, match="a database of its own"):
        await prepare(engine)
    await engine.dispose()
