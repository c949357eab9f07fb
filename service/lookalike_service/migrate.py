"""The versions of the catalog's tables: made in an empty database, brought up to date, or refused with the remedy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lookalike_service import tables
from lookalike_service.errors import StartupError

__all__ = ["COMMAND", "bring", "newest_version", "prepare", "remake", "upgrade", "version_in"]

logger = logging.getLogger(__name__)
# It says at every look what kind of database it sees.
logging.getLogger("alembic").setLevel(logging.WARNING)

COMMAND: Final = "python -m lookalike_service migrate"
# What 0.1.0 made without writing down a version.
FIRST: Final = "0001"
FIRST_TABLES: Final = frozenset({"products", "images", "views", "outbox"})
# Any number will do, as long as nobody else locks by it.
LOCK: Final = 4_201_926_117


def newest_version() -> str:
    """The version of the tables that this program works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


async def prepare(engine: AsyncEngine) -> None:
    """See to the tables when a gateway starts.

    An empty database gets its tables. A SQLite file, which has one gateway, is brought up to date. A server's
    database may have other gateways of the version before, so there the operator decides when: raises StartupError
    that names the command, and so it does when a newer program made the tables.
    """
    async with engine.begin() as connection:
        found = await connection.run_sync(version_in)
        if found is None or engine.dialect.name == "sqlite":
            await _brought(connection)
        elif found != newest_version():
            raise _outdated(found)


async def upgrade(engine: AsyncEngine) -> tuple[str, str]:
    """Bring the tables up to date and return the version before ("" for none) and after, as the operator asks for.

    All or nothing, also when two processes do it at once. Raises StartupError when a newer program made the tables.
    """
    async with engine.begin() as connection:
        before = await _brought(connection)
    return before, newest_version()


async def remake(connection: AsyncConnection, version: str) -> None:
    """Put empty tables of a version in place of those that are there, as a restore needs them.

    Raises StartupError when this program knows no such version.
    """
    _check_known(version)
    await _alone(connection)
    await connection.run_sync(_dropped)
    await connection.run_sync(_upgraded, None, version)


async def bring(connection: AsyncConnection) -> None:
    """Bring the tables up to date within the caller's transaction."""
    await connection.run_sync(_upgraded, await connection.run_sync(version_in))


def _dropped(connection: Connection) -> None:
    tables.metadata.drop_all(connection)
    connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")


def _outdated(found: str) -> StartupError:
    return StartupError(
        f"the tables of the database are of version {found}, this program needs {newest_version()}; stop the other "
        f"gateways, make a backup, and run: {COMMAND}"
    )


async def _brought(connection: AsyncConnection) -> str:
    await _alone(connection)
    before = await connection.run_sync(version_in)
    await connection.run_sync(_upgraded, before)
    if before != newest_version():
        logger.info("the tables of the database went from version %s to %s", before or "none", newest_version())
    return before or ""


async def _alone(connection: AsyncConnection) -> None:
    """Let no other process change tables until this transaction ends."""
    if connection.dialect.name == "sqlite":
        # A transaction that has begun by reading could not wait for a writer any more.
        await connection.exec_driver_sql("ROLLBACK")
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        # Filling a new column may take longer than any call of the gateway.
        await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")


def version_in(connection: Connection) -> str | None:
    """The version of the tables, None when there are none. Raises StartupError when it is not one of ours."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return _unwritten_version(connection)
    _check_known(found)
    return found


def _check_known(version: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if version not in known:
        raise StartupError(
            f"the tables are of version {version}, and this program knows none newer than {newest_version()}; run the "
            "newer program that made them, or restore a backup from before"
        )


def _unwritten_version(connection: Connection) -> str | None:
    here = FIRST_TABLES & set(inspect(connection).get_table_names())
    if here and here != FIRST_TABLES:
        raise StartupError(
            f"the database has tables named {', '.join(sorted(here))} that this program did not make; give "
            "Lookalike a database of its own"
        )
    if not here:
        return None
    as_today = not compare_metadata(MigrationContext.configure(connection), tables.metadata)
    return newest_version() if as_today else FIRST


def _upgraded(connection: Connection, before: str | None, to: str = "head") -> None:
    config = _config()
    config.attributes["connection"] = connection
    if MigrationContext.configure(connection).get_current_revision() is None and before is not None:
        command.stamp(config, before)
    command.upgrade(config, to)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
