"""Plain and asynchronous iterables, read the same way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

__all__ = ["each"]

Item = TypeVar("Item")


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
