"""Opens the database of the catalog of record: pool, timeouts, TLS, and the version of its tables."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from lookalike_service.commits import prepare_sqlite
from lookalike_service.errors import StartupError
from lookalike_service.migrate import prepare

__all__ = ["FAILURES", "DatabaseOptions", "make_engine", "open_database"]

# What the drivers raise when a database is away, refuses or takes too long; asyncpg's own errors reach us bare when
# they happen while connecting.
FAILURES: Final = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
# What waiting does not heal.
REFUSALS: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    ssl.SSLError,
)
DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """How to reach the database; Settings documents each."""

    url: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    tls: str = "prefer"
    ca_certificate: str = ""
    connections: int = 10
    pool_seconds: float = 5.0
    connect_seconds: float = 10.0
    call_seconds: float = 15.0


def make_engine(options: DatabaseOptions) -> AsyncEngine:
    """An engine that has not connected yet. Raises StartupError when the options make no sense."""
    try:
        url = make_url(options.url)
        if options.user or options.password:
            url = url.set(username=options.user or url.username, password=options.password or url.password)
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, options)
        return create_async_engine(
            url,
            pool_pre_ping=True,
            # An error's text goes into the log; what the statement was about stays out of it.
            hide_parameters=True,
            pool_size=options.connections,
            max_overflow=0,
            pool_timeout=options.pool_seconds,
            connect_args=_postgres_arguments(options) if url.get_backend_name() == "postgresql" else {},
        )
    except (ArgumentError, NoSuchModuleError, ImportError, OSError, SQLAlchemyError) as error:
        raise _cannot_open(str(error) if isinstance(error, OSError) else type(error).__name__) from error


async def open_database(options: DatabaseOptions, *, timeout: float = 60.0) -> AsyncEngine:
    """Connect, waiting `timeout` seconds at most, and see to the tables (migrate.py). Raises StartupError."""
    engine = make_engine(options)
    deadline = time.monotonic() + timeout
    while True:
        try:
            async with asyncio.timeout(options.connect_seconds), engine.connect():
                break
        except FAILURES as error:
            # A file that another process turns to WAL at this moment is locked whatever the busy timeout says.
            hopeless = engine.dialect.name == "sqlite" and "database is locked" not in str(error)
            if hopeless or _refusal(error) or time.monotonic() >= deadline:
                await engine.dispose()
                raise _cannot_open(_reason(error)) from error
            await asyncio.sleep(0.3)
    try:
        await prepare(engine)
    except FAILURES as error:
        await engine.dispose()
        raise _cannot_open(_reason(error)) from error
    except StartupError:
        await engine.dispose()
        raise
    return engine


def _sqlite(url: URL, options: DatabaseOptions) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).resolve().parent
        if not os.access(folder, os.W_OK):
            raise _cannot_open(f"{folder} is not there or not ours to write")
    pool = {"pool_size": max(2, options.connections), "max_overflow": 0, "pool_timeout": options.pool_seconds}
    engine = create_async_engine(
        url, hide_parameters=True, **(pool if url.database not in (None, "", ":memory:") else {})
    )
    prepare_sqlite(engine.sync_engine)
    return engine


def _postgres_arguments(options: DatabaseOptions) -> dict[str, Any]:
    milliseconds = str(int(options.call_seconds * 1000))
    return {
        "timeout": options.connect_seconds,
        # The server gives up by itself; ours is for when it cannot be heard any more.
        "command_timeout": options.call_seconds + 1,
        "server_settings": {
            "application_name": "lookalike",
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
        },
        "ssl": _tls(options),
    }


def _tls(options: DatabaseOptions) -> str | ssl.SSLContext:
    if options.tls == "verify-full":
        return ssl.create_default_context(cafile=options.ca_certificate or None)
    return options.tls


def _refusal(error: BaseException) -> BaseException | None:
    """What waiting does not heal, wherever in the chain of errors it is."""
    link: BaseException | None = error
    for _ in range(DEEPEST):
        if link is None or isinstance(link, REFUSALS):
            return link
        link = link.__cause__
    return None


def _reason(error: BaseException) -> str:
    """Why, in the driver's words where they hold no address or password."""
    refusal = _refusal(error)
    return str(refusal) if refusal else type(error).__name__


def _cannot_open(why: str) -> StartupError:
    return StartupError(
        f"the database cannot be opened ({why}); check LOOKALIKE_DATABASE_URL, that its folder or "
        "server is there and may be written, its user, password and TLS, and that its driver is installed"
    )
