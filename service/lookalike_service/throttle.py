"""How many of something may come in a second: those too many wait for a while, and a flood is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lookalike_service.errors import Overloaded

__all__ = ["Throttle"]


class Throttle:
    """Lets whoever comes through in turn, `rate` a second over time (the meter of the leaky bucket, ITU-T I.371).

    The first to come after a pause goes through at once, with all that he brings: it is those after him who wait.
    """

    def __init__(self, rate: float, *, seconds: float, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Whoever would have to wait longer than `seconds` is refused; `what` names them in the error."""
        self._rate = rate
        self._seconds = seconds
        self._what = what
        self._clock = clock
        self._free = 0.0  # when all who have come until now are through

    async def through(self, count: int, *, timeout: float) -> None:
        """Wait for the turn of `count` of them, `timeout` seconds at most.

        Raises Overloaded with the seconds after which it is worth trying again.
        """
        await asyncio.sleep(self._turn(count, timeout=timeout))

    def _turn(self, count: int, *, timeout: float) -> float:
        now = self._clock()
        wait = max(0.0, self._free - now)
        if wait > min(self._seconds, timeout):
            raise Overloaded(
                f"more than {self._rate:g} {self._what} a second have come for a while; send them again later, or "
                "spread over more time",
                retry_after=max(wait - self._seconds, Overloaded.default_retry_after),
            )
        self._free = now + wait + count / self._rate
        return wait
