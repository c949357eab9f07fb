"""Plain and asynchronous iterables, read the same way, and work on several of their items at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import TypeVar

__all__ = ["each", "in_turn"]

Item = TypeVar("Item")
Result = TypeVar("Result")


async def each(source: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[Item]:
    """The items of either kind; a plain iterator, which may read files, runs beside the event loop."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
        return
    iterator = iter(source)
    end = object()
    while (item_or_end := await asyncio.to_thread(next, iterator, end)) is not end:
        yield item_or_end  # type: ignore[misc]  # the end is the only other object


async def in_turn(
    items: Iterable[Item], work: Callable[[Item], Coroutine[None, None, Result]], *, at_once: int
) -> AsyncGenerator[Result, None]:
    """The results of `work`, in the order of the items, with so many of them under way at once.

    What one of them raises ends it; whoever leaves early closes it (contextlib.aclosing), which cancels the others.
    """
    pending: deque[asyncio.Task[Result]] = deque()
    try:
        for item in items:
            pending.append(asyncio.create_task(work(item)))
            if len(pending) >= at_once:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
