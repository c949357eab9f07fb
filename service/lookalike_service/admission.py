"""Who may work now, and for how long: permits with a bounded wait, and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final

from lookalike_service import metrics
from lookalike_service.callers import NOBODY, Caller
from lookalike_service.errors import DeadlineExceeded, Overloaded, QuotaExceeded
from lookalike_service.turns import Displaced, Turns

__all__ = ["Deadline", "Pace", "Permits"]

# The weight of the newest: the last dozen or so tell how fast it goes.
_OF_LATE: Final = 0.1
# Photos differ, and who is late keeps the models busy all the same: of those who would be done just in time, half would
# be late, and would make others so. Nothing is lost by it as long as enough are there to keep every core busy.
_CAUTION: Final = 1.4


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


class Pace:
    """How fast work gets done of late, and so how long a newcomer would have to wait for his."""

    def __init__(self) -> None:
        self._interval = 0.0  # seconds between two that are done, while there is work
        self._crowd = 0.0  # the largest of the crowds that this pace was seen in
        self._last = 0.0
        self._known = 0

    def begun(self, crowd: int) -> None:
        """Somebody came; `crowd` were there before."""
        if crowd == 0:
            self._last = time.monotonic()

    def done(self, crowd: int) -> None:
        """One is done, of `crowd` that were there."""
        now = time.monotonic()
        weight = max(_OF_LATE, 1 / (self._known + 1))
        self._interval += weight * (now - self._last - self._interval)
        self._crowd = max(float(crowd), self._crowd * (1 - weight))
        self._last, self._known = now, self._known + 1

    def expected(self, crowd: int) -> float:
        """Seconds until a newcomer behind `crowd` others would be done; 0 while nothing is known.

        In a crowd as large as those of late all wait in turn. What a larger one does to the pace nobody has seen yet: a
        server that works in parallel may serve it as fast, so nobody is refused on suspicion.
        """
        return self._interval * (min(crowd, self._crowd) + 1)


class Permits:
    """At most `limit` at once; `waiters` more wait up to `seconds`, the rest is refused at once.

    So is whoever could not be done in the time he has, going by the pace of late: better an answer now, which lets the
    caller try elsewhere, than work for somebody who has left. Callers take turns, and of a full queue whoever has most
    calls in it gives up the newest of them for somebody with fewer.
    """

    def __init__(self, limit: int, *, waiters: int, seconds: float, work: str) -> None:
        """`work` is what they are for, in one word, for the metrics."""
        self._turns = Turns(limit)
        self._waiters = waiters
        self._seconds = seconds
        self._pace = Pace()
        self._work = work
        metrics.watch_permits(work, limit=limit, taken=lambda: self._turns.taken, waiting=lambda: self._turns.waiting)

    @asynccontextmanager
    async def held(
        self,
        *,
        timeout: float,
        waited: Callable[[], AbstractContextManager[None]] = nullcontext,
        caller: Caller = NOBODY,
        most: int = 0,
    ) -> AsyncIterator[None]:
        """Hold a permit during the block; `timeout` is what the caller has left, `waited` watches the wait.

        `most` is how many permits the caller may hold and wait for at once; 0 is no bound. Raises Overloaded,
        QuotaExceeded.
        """
        if 0 < most <= self._turns.of(caller.name):
            raise QuotaExceeded(
                f"{caller} has {most} {self._work} under way already, which is its quota; wait for one of them",
                retry_after=max(self._pace.expected(0), Overloaded.default_retry_after),
            )
        with waited():
            await self._take(caller.name, timeout=timeout)
        try:
            yield
            # The crowd of now: of those who came into a great one, many are late and never get here.
            self._pace.done(self._turns.taken + self._turns.waiting)
        finally:
            self._turns.give_back(caller.name)

    async def _take(self, name: str, *, timeout: float) -> None:
        late = _CAUTION * self._pace.expected(self._turns.ahead(name)) - timeout
        # Who would be late on an idle server, too, is not refused for want of room: his deadline will say so.
        crowded_out = late > 0 and self._pace.expected(0) <= timeout
        if crowded_out or self._no_room(name):
            metrics.permit_refused(self._work)
            raise Overloaded(
                "the server is at its limit and so is its queue; try again a little later",
                retry_after=max(late, Overloaded.default_retry_after),
            )
        self._pace.begun(self._turns.taken + self._turns.waiting)
        try:
            async with asyncio.timeout(min(timeout, self._seconds)):
                await self._turns.take(name)
        except (TimeoutError, Displaced) as error:
            metrics.permit_refused(self._work)
            raise Overloaded("the server is at its limit; try again a little later") from error

    def _no_room(self, name: str) -> bool:
        full = self._turns.full and self._turns.waiting >= self._waiters
        return full and not self._turns.displace(name)
