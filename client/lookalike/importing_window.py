"""The products of an import that are under way: what may be sent when, and the order of the answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from lookalike.errors import LookalikeError
from lookalike.v1.product_service_pb2 import ImportProductsRequest, ImportProductsResponse

__all__ = ["Item", "Window"]


@dataclass(slots=True, eq=False)
class Item:
    """A product on its way; times are those of time.monotonic."""

    request: ImportProductsRequest
    name: str
    size: int
    # Why the product cannot be sent; an empty request keeps its place in the stream.
    refusal: LookalikeError | None = None
    attempts: int = 0
    first_sent: float = 0.0
    due: float = 0.0
    under_way: bool = False
    answer: ImportProductsResponse | None = None


class Window:
    """The products that were taken from the source and whose answers are not handed on yet, oldest first.

    `settled` counts the products that have their final answer. `progress` is when the last one got it; times in which
    there was nothing to do are left out by moving it forward.
    """

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._items: deque[Item] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Condition()
        self._position = 0
        self._idle_since: float | None = time.monotonic()
        self.settled = 0
        self.progress = time.monotonic()

    @property
    def empty(self) -> bool:
        return not self._items

    @property
    def done(self) -> bool:
        """Whether every product was answered and the source has no more."""
        return self._ended and not self._items

    def forgive(self, seconds: float) -> None:
        """These seconds do not count as time without progress."""
        self.progress += seconds

    async def add(self, item: Item) -> None:
        """Take the item in as soon as there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(item.size))
            if self._idle_since is not None:
                self.forgive(time.monotonic() - self._idle_since)
                self._idle_since = None
            self._items.append(item)
            self._bytes += item.size
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._items or (len(self._items) < self._most and self._bytes + size <= self._most_bytes)

    async def end(self) -> None:
        """The source has no more."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def begin_again(self) -> None:
        """A new stream: what was under way on the last one has to be sent again."""
        async with self._changed:
            for item in self._items:
                item.under_way = False

    async def claim(self) -> Item | None:
        """The next item to send, marked as under way; None once all are settled and the source has no more."""
        async with self._changed:
            while True:
                now = time.monotonic()
                item, wait = self._sendable(now)
                if item is not None:
                    item.under_way = True
                    item.attempts += 1
                    item.first_sent = item.first_sent or now
                    return item
                if self._ended and all(item.answer is not None for item in self._items):
                    return None
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _sendable(self, now: float) -> tuple[Item | None, float | None]:
        """The first item that may be sent, else the seconds until one may be (None: not before something changes)."""
        wait: float | None = None
        unsettled: set[str] = set()
        for item in self._items:
            if item.answer is not None:
                continue
            # Two products of one name go one after the other: the later one shall win.
            if not item.under_way and item.name not in unsettled:
                if item.due <= now:
                    return item, None
                wait = item.due - now if wait is None else min(wait, item.due - now)
            unsettled.add(item.name)
        return None, wait

    async def postpone(self, item: Item, *, until: float) -> None:
        """The item shall be sent again, not before `until`."""
        async with self._changed:
            item.under_way = False
            item.due = until
            self._changed.notify_all()

    async def settle(self, item: Item, answer: ImportProductsResponse, *, progress: bool) -> None:
        """The answer is final; `progress` is false when the server could not do its work."""
        async with self._changed:
            item.answer = answer
            self.settled += 1
            if progress:
                self.progress = time.monotonic()
            self._changed.notify_all()

    async def pop(self) -> ImportProductsResponse | None:
        """The oldest item's answer, which leaves the window; None while it has none."""
        async with self._changed:
            if not self._items or self._items[0].answer is None:
                return None
            item = self._items.popleft()
            self._bytes -= item.size
            if not self._items:
                self._idle_since = time.monotonic()
            self._changed.notify_all()
            answer = item.answer
            assert answer is not None
            answer.position = self._position
            self._position += 1
            return answer
