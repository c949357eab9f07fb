"""A stream of work: several items at once, answers in the order of the items, bounded reading ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

__all__ = ["in_order"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def in_order(
    items: AsyncIterator[Item], work: Callable[[int, Item], Awaitable[Answer]], *, in_flight: int
) -> AsyncGenerator[Answer, None]:
    """Yield `work(position, item)` for every item, in order.

    An item is read only when fewer than `in_flight` answers are outstanding, which holds the sender back. What is
    under way is cancelled when the reader of the answers goes away, or when reading the items fails.
    """
    slots = asyncio.Semaphore(in_flight)
    started: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    running: set[asyncio.Task[Answer]] = set()

    async def read() -> None:
        try:
            position = 0
            await slots.acquire()
            async for item in items:
                task = asyncio.ensure_future(work(position, item))
                running.add(task)
                started.put_nowait(task)
                position += 1
                await slots.acquire()
        finally:
            started.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await started.get()) is not None:
            yield await task
            running.discard(task)
            slots.release()
        await reader
    finally:
        reader.cancel()
        for task in running:
            task.cancel()
        await asyncio.gather(reader, *running, return_exceptions=True)
