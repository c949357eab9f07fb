"""Group commit for a database with one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lookalike_service.errors import LookalikeError

__all__ = ["GroupCommit", "prepare_sqlite"]

MOST_WRITES: Final = 256
Work = Callable[[AsyncConnection], Awaitable[Any]]


class GroupCommit:
    """Runs writes one after the other and commits those together that came while the disk was busy.

    A commit waits for the disk, a hundred times longer than a write; each write is acknowledged only after its commit.
    """

    def __init__(self, engine: AsyncEngine, *, seconds: float) -> None:
        """`seconds` bound one commit with everything in it."""
        self._engine = engine
        self._seconds = seconds
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Work) -> Any:  # noqa: ANN401 - whatever the work returns
        """The result of the work once it is committed; its failure undoes itself alone."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await done

    async def finish(self) -> None:
        """Wait until everything that was begun is committed."""
        while self._task and not self._task.done():
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_WRITES], self._waiting[MOST_WRITES:]
            batch = [(work, done) for work, done in batch if not done.cancelled()]
            outcomes: list[Any]
            try:
                async with asyncio.timeout(self._seconds), self._engine.begin() as connection:
                    outcomes = [await _alone(connection, work) for work, _ in batch]
            except Exception as error:
                outcomes = [error] * len(batch)
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if done.cancelled():
                    continue
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)


async def _alone(connection: AsyncConnection, work: Work) -> Any:  # noqa: ANN401 - as `run`
    savepoint = await connection.begin_nested()
    try:
        outcome = await work(connection)
    except LookalikeError as error:
        await savepoint.rollback()
        return error
    # Anything else ends the whole transaction. When its disk is full, SQLite has done so already, savepoints and all.
    await savepoint.commit()
    return outcome


def prepare_sqlite(engine: Engine) -> None:
    """Make SQLite durable, let readers pass the writer, and leave BEGIN to us, without which savepoints are none."""

    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401 - whatever the driver has
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Any) -> None:  # noqa: ANN401
        connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
