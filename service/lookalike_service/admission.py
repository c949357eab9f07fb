"""Who may work now, and for how long: permits with a bounded wait, and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lookalike_service.errors import DeadlineExceeded, Overloaded

__all__ = ["Deadline", "Permits"]


class Deadline:
    """The moment at which the answer is worth nothing any more."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, for the next call. Raises DeadlineExceeded when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the time for this call was over before the answer was ready")
        return left

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """End the block when the time is over. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(self.remaining()) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded("the time for this call was over before the answer was ready") from error


class Permits:
    """At most `limit` at once; `waiters` more wait up to `seconds`, the rest is refused at once."""

    def __init__(self, limit: int, *, waiters: int, seconds: float) -> None:
        self._free = asyncio.Semaphore(limit)
        self._waiters = waiters
        self._seconds = seconds
        self._waiting = 0

    async def take(self, *, timeout: float) -> None:
        """Wait for a permit, to be given back; `timeout` is what the caller has left. Raises Overloaded."""
        if self._free.locked() and self._waiting >= self._waiters:
            raise Overloaded("the server is at its limit and so is its queue; try again a little later")
        self._waiting += 1
        try:
            async with asyncio.timeout(min(timeout, self._seconds)):
                await self._free.acquire()
        except TimeoutError as error:
            raise Overloaded("the server is at its limit; try again a little later") from error
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """End what `take` began."""
        self._free.release()
